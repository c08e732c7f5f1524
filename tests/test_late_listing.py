"""What is not listed yet is no news to the next request."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from tests.driver import Driver, answer, free_port, server, status, until, write

SLOW_LIST = """#!/bin/sh
case "$*" in *"list "*-deps*) while [ -e "$0.wait" ]; do sleep 0.01; done ;; esac
exec "{go}" "$@"
"""


def slow_list(folder: Path) -> Path:
    """A go whose listing of a build's files waits while the returned file is there."""
    shim = folder / "bin" / "go"
    shim.parent.mkdir()
    shim.write_text(SLOW_LIST.format(go=shutil.which("go")))
    shim.chmod(0o755)
    (wait := shim.with_name("go.wait")).touch()
    return wait


def asked_while(wait: Path, port: int) -> tuple[int, str]:
    """The answer to a request that is made while the listing waits."""
    said: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: said.append(status(port)))
    asking.start()
    asking.join(0.3)  # a gate that does not wait answers at once
    wait.unlink()
    asking.join()
    return said[0]


def test_save_before_the_inputs_are_known_is_no_news_to_the_next_request(
    tmp_path: Path, project: Path, driver: Driver
) -> None:
    server(project)
    (project / "answer.go").write_text(answer("one").replace("return", "retrun"))
    wait = slow_list(tmp_path)
    port = free_port()
    path = os.pathsep.join([str(wait.parent), os.environ["PATH"]])
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "PATH": path})
    dev.line("1 error")
    (project / "answer.go").write_text(answer("two"))
    assert asked_while(wait, port) == (200, "two")


def test_save_to_a_package_imported_while_nobody_watched_is_no_news_to_the_next_request(
    tmp_path: Path, project: Path, driver: Driver
) -> None:
    server(project)
    wait = slow_list(tmp_path)
    wait.unlink()
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "PATH": os.pathsep.join([str(wait.parent), os.environ["PATH"]])}
    dev = driver.start(project, "dev", env=env)
    dev.url()
    until((project / ".goreload" / "app" / "listing.json").exists, "a listing that is kept")
    dev.stop()
    package = 'package x\n\nfunc Text() string { return "one" }\n'
    imported = 'package main\n\nimport "example.com/app/x"\n\nfunc Answer() string { return x.Text() }\n'
    write(project, {"x/x.go": package, "answer.go": imported})
    wait.touch()
    dev = driver.start(project, "dev", env=env)
    dev.line("up .* ->")
    write(project, {"x/x.go": package.replace("one", "two")})
    assert asked_while(wait, port) == (200, "two")


def test_source_that_a_constraint_may_keep_out_holds_requests_until_it_is_known(
    tmp_path: Path, project: Path, driver: Driver
) -> None:
    server(project)
    write(project, {"answer.go": 'package main\n\nvar text = "one"\n\nfunc Answer() string { return text }\n'})
    wait = slow_list(tmp_path)
    wait.unlink()
    port = free_port()
    path = os.pathsep.join([str(wait.parent), os.environ["PATH"]])
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "PATH": path})
    dev.url()
    until((project / ".goreload" / "app" / "listing.json").exists, "a listing")
    wait.touch()
    write(project, {"text_windows.go": "package main\n"})
    assert asked_while(wait, port) == (200, "one")
    wait.touch()
    write(project, {"text_linux.go": 'package main\n\nfunc init() { text = "two" }\n'})
    assert asked_while(wait, port) == (200, "two")
    assert "text_windows.go" not in dev.text
