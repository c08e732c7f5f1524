"""What `doctor` finds, on real projects."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

from tests.driver import Driver, answer, free_port, server, write


def found(driver: Driver, project: Path, code: int, **env: str) -> dict[str, tuple[str, str, str]]:
    """The findings by what they are about."""
    done = driver.run(project, "doctor", "--json", program="goreload", env=env)
    assert done.returncode == code, done.stdout + done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["about"]: (row["how"], row["text"], row["mend"]) for row in rows}


def test_healthy_project_has_nothing_wrong(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    said = found(driver, project, 0, GORELOAD_SERVE_PORT=str(free_port()))
    well = {about for about, (how, _, _) in said.items() if how == "ok"}
    assert well >= {"toolchain", "main package", "inputs", "port"}
    assert said["main package"][1] == f"example.com/app in {project}"
    assert "files of 1 packages decide the binary" in said["inputs"][1]
    assert not (project / ".goreload").exists(), "to look makes nothing"


def test_who_has_the_port_is_named(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        how, text, mend = found(driver, project, 1, GORELOAD_SERVE_PORT=str(port))["port"]
    assert (how, mend) == ("wrong", "stop it or choose another port")
    assert text.startswith(f"serve.port = {port} is used by pid {os.getpid()} (")


def test_missing_module_and_broken_one_are_told_with_the_mend(project: Path, driver: Driver) -> None:
    write(project, {"invoke.yaml": "goreload: {}\n"})
    how, text, mend = found(driver, project, 1)["toolchain and module"]
    assert (how, mend) == ("wrong", "run `go mod init NAME` there first")
    assert "no go.mod" in text
    server(project, tasks=False)
    write(project, {"answer.go": 'package main\n\nimport "example.com/app/missing"\n'})
    assert any("missing" in text for _, text, _ in found(driver, project, 0).values())


def test_files_that_git_or_the_setting_ignores_are_named_when_the_build_reads_them(
    project: Path, driver: Driver
) -> None:
    server(project, tasks=False, **{"kept.go": "package main\n", "generated.go": "package main\n"})
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    write(project, {".gitignore": "generated.go\n"})
    said = found(driver, project, 0, GORELOAD_WATCH_IGNORE="kept.go")
    assert said["git"][1] == "generated.go: git ignores it, but the build reads it, so a change rebuilds"
    assert said["watch.ignore"][1] == "kept.go: the build reads it, but a change does nothing"


def test_settings_are_shown_with_their_sources_and_without_secrets(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    write(project, {"invoke.yaml": "goreload: {build: {tags: [a]}, env: {TOKEN: hidden}, stop: {grace: 2s}}\n"})
    told = {"GORELOAD_ARGS": "--verbose"}
    done = driver.run(project, "doctor", "--settings", "--env", "prod", program="goreload", env=told)
    lines = done.stdout.splitlines()
    assert 'build.tags = ["a"]  (invoke.yaml)' in lines
    assert "stop.grace = 2.0  (invoke.yaml)" in lines
    assert 'args = ["--verbose"]  (GORELOAD_* variables)' in lines
    assert 'environment = "prod"  (--env)' in lines
    assert "serve.port = null  (default)" in lines
    assert "hidden" not in done.stdout
    assert any(line.startswith("env.TOKEN = ") for line in lines)


def test_running_dev_is_named_and_its_reloads_are_counted(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    dev = driver.start(project, "dev", program="goreload")
    dev.url()
    write(project, {"answer.go": answer("two")})
    dev.reload()
    said = found(driver, project, 0)
    assert said["dev"][1] == f"is running as pid {dev.process.pid}"
    dev.stop()
    assert "2 reloads in the history" in found(driver, project, 0)["building"][1]


def test_settings_are_shown_with_their_rules(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    write(project, {"invoke.yaml": "goreload: {rules: [{files: ['*.sql'], then: restart}]}\n"})
    done = driver.run(project, "doctor", "--settings", program="goreload")
    assert done.returncode == 0, done.stderr
    assert '"files": ["*.sql"]' in done.stdout
    row = next(
        row
        for row in map(
            json.loads, driver.run(project, "doctor", "--settings", "--json", program="goreload").stdout.splitlines()
        )
        if row["path"] == "rules"
    )
    assert row["value"][0]["then"] == "restart"
