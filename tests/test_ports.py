"""Ports: the one that people know, those of launches, and whoever else has them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.driver import MAIN, Driver, answer, free_port, server, status, write


def test_app_that_hard_codes_its_port_is_served_all_the_same_with_one_line_of_advice(
    project: Path, driver: Driver
) -> None:
    own, port = free_port(), free_port()
    server(project)
    write(project, {"main.go": MAIN.replace('"127.0.0.1:"+os.Getenv("PORT")', f'"127.0.0.1:{own}"')})
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.line(f"listens on {own} and not on its PORT")
    assert status(port) == (200, "one")
    (project / "answer.go").write_text(answer("two"))
    assert status(port) == (200, "two")
    assert dev.text.count("not on its PORT") == 1


def test_app_that_wants_the_port_that_we_hold_is_told_what_to_do(project: Path, driver: Driver) -> None:
    port = free_port()
    server(project)
    write(project, {"main.go": MAIN.replace('"127.0.0.1:"+os.Getenv("PORT")', f'"127.0.0.1:{port}"')})
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.line(f"port {port} is serve.port, where requests wait: let the app read PORT, or set serve.mode: direct")


@pytest.mark.parametrize("mode", ["proxy", "socket"])
def test_port_that_somebody_has_is_named_with_its_owner_and_nothing_is_started(
    project: Path, driver: Driver, mode: str
) -> None:
    server(project)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = driver.run(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_MODE": mode})
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"goreload: serve.port = {port}: that port of 127.0.0.1 is used by pid {os.getpid()} ("
    )
    assert refused.stderr.count("\n") == 1
    assert not list(project.glob(".goreload/app/bin/*"))


def test_owner_of_the_app_s_own_port_is_named(project: Path, driver: Driver) -> None:
    server(project)
    script = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        dev = driver.start(project, "dev", env={"PORT": str(port)})
        dev.line(rf"port {port} is used by pid {other.pid} \(.*python")
        other.communicate()


SILENT = """package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	fmt.Println(err != nil, listener)
	%s
}
"""


@pytest.mark.parametrize("then", ["os.Exit(1)", "select {}"])
def test_owner_of_the_port_is_named_though_the_app_does_not_say_what_is_wrong(
    project: Path, driver: Driver, then: str
) -> None:
    server(project)
    write(project, {"main.go": SILENT % then})
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_MODE": "direct", "PORT": str(port)}
        dev = driver.start(project, "dev", env=env)
        dev.line(rf"port {port} is used by pid {os.getpid()} \(")


PPROF_FIRST = MAIN.replace(
    "listener, err",
    """go http.ListenAndServe("127.0.0.1:"+os.Getenv("PPROF"), nil)
	for _, err := os.Stat("go on"); err != nil; _, err = os.Stat("go on") {
		time.Sleep(10 * time.Millisecond)
	}
	listener, err""",
    1,
).replace('"os"\n', '"os"\n\t"time"\n')


def test_port_that_comes_last_gets_the_requests_in_the_end(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"main.go": PPROF_FIRST.replace('HandleFunc("/",', 'HandleFunc("/main",')})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "PPROF": str(free_port())})
    dev.line("not on its PORT")
    write(project, {"go on": ""})
    dev.line("the app listens on its PORT now: requests go there")
    assert status(port, "/main") == (200, "one")


def test_two_services_with_one_port_are_named(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"invoke.yaml": "goreload: {services: {a: {main: .}, b: {main: .}}}\n"})
    refused = driver.run(project, "dev", env={"GORELOAD_SERVE_PORT": str(free_port())})
    assert refused.returncode == 2
    assert "services.a and services.b have the same serve.port" in refused.stderr
