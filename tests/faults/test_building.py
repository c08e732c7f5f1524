"""Builds that are killed, a go that disappears, turns and priorities."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.driver import Driver, alive, answer, get, server, until, write
from tests.faults import answers, go_first, lines, named, reading, says, started


@pytest.mark.parametrize("who", ["go", "compile"])
def test_build_that_is_killed_is_no_compile_error_and_is_tried_once_more(
    project: Path, driver: Driver, who: str
) -> None:
    server(project)
    flags = [project.parent / "once", project.parent / "again"]
    kill = f'for flag in {flags[0]} {flags[1]}; do rm "$flag" 2>/dev/null && kill -9 $$; done'
    env = {}
    if who == "go":
        env = go_first(project, f'[ "$1" = build ] && {kill}\nexec "$GO" "$@"')
    else:
        tool = project.parent / "tool"
        tool.write_text(f'#!/bin/sh\ncase "$1 $2" in *"/compile -V"*) ;; *"/compile "*) {kill} ;; esac\nexec "$@"\n')
        tool.chmod(0o755)
        write(project, {"invoke.yaml": f"goreload: {{build: {{flags: [-toolexec={tool}]}}}}\n"})
    dev, url = started(driver, project, env=env)
    answers(url, "one")
    two, three = (f"{word} {time.time_ns()}" for word in ("two", "three"))  # what is cached is not compiled
    flags[0].touch()
    (project / "answer.go").write_text(answer(two))
    dev.line(r"the build was killed from outside \(out of memory\?\); it is built again")
    answers(url, two)
    assert not lines(dev, "error")
    for flag in flags:
        flag.touch()
    (project / "answer.go").write_text(answer(three))
    dev.line(r"^the build was killed from outside \(out of memory\?\)$")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == two
    assert not lines(dev, r"signal: killed|answer\.go:\d")
    (project / "answer.go").write_text(answer("four"))
    answers(url, "four")


def test_go_that_disappears_and_comes_back(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project, env=go_first(project, 'exec "$GO" "$@"'))
    answers(url, "one")
    go = project.parent / "shim" / "go"
    go.rename(go.with_name("gone"))
    reading(project, new="two")
    dev.line("^cannot start .*/go in .*: No such file or directory")
    dev.line("-> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    go.with_name("gone").rename(go)
    answers(url, "two")
    (project / "new" / "new.go").write_text(says("new", "three"))
    answers(url, "three")
    assert len(lines(dev, "cannot list the inputs: No such file or directory: .*/go; tried again every")) == 1
    assert "Traceback" not in dev.text


def test_listing_that_is_killed_is_asked_for_again(project: Path, driver: Driver) -> None:
    server(project)
    flags = [project.parent / name for name in ("once", "again")]
    kill = (
        f'case "$*" in *-deps*) for flag in {flags[0]} {flags[1]}; do rm $flag 2>/dev/null && kill -9 $$; done ;; esac'
    )
    dev, url = started(driver, project, env=go_first(project, f'{kill}\nexec "$GO" "$@"'))
    answers(url, "one")
    flags[0].touch()
    reading(project, new="two")
    answers(url, "two")
    (project / "new" / "new.go").write_text(says("new", "three"))
    answers(url, "three")
    assert not flags[0].exists()
    assert not lines(dev, "cannot list")
    for flag in flags:
        flag.touch()
    reading(project, other="four")
    dev.line("cannot list the inputs: killed from outside: .*go list")
    answers(url, "four")
    (project / "other" / "other.go").write_text(says("other", "five"))
    answers(url, "five")


def test_binary_that_was_removed_is_built_again_for_a_restart(project: Path, driver: Driver) -> None:
    server(project)
    word = 'package main\n\nimport "os"\n\nfunc Answer() string { return os.Getenv("WORD") }\n'
    write(project, {"answer.go": word, ".env": "WORD=one\n"})
    dev, url = started(driver, project)
    answers(url, "one")
    shutil.rmtree(project / ".goreload" / "app" / "bin")
    write(project, {".env": "WORD=two\n"})
    dev.line("cannot start .*: No such file or directory")
    answers(url, "two")
    assert "Traceback" not in dev.text


def test_mistake_in_an_env_file_is_told_and_mending_it_starts_the_app(project: Path, driver: Driver) -> None:
    server(project)
    word = 'package main\n\nimport "os"\n\nfunc Answer() string { return os.Getenv("WORD") }\n'
    write(project, {"answer.go": word, ".env": "WORD=one\n"})
    dev, url = started(driver, project)
    answers(url, "one")
    write(project, {".env": "WORD two\n"})
    dev.line(r"\.env, line 1: expected NAME=VALUE; mend or remove the line")
    write(project, {".env": "WORD=two\n"})
    answers(url, "two")


# Crashes, kills.


def services(project: Path, settings: str) -> None:
    """Two services, api and web."""
    server(project)
    for name in ("api", "web"):
        write(project, {f"cmd/{name}/{file}": (project / file).read_text() for file in ("main.go", "answer.go")})
    for file in ("main.go", "answer.go"):
        (project / file).unlink()
    listed = "services: {api: {main: ./cmd/api}, web: {main: ./cmd/web}}"
    write(project, {"invoke.yaml": f"goreload: {{{settings}, {listed}}}\n"})


def test_builds_stand_back_as_far_as_is_asked_and_the_app_does_not(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"invoke.yaml": "goreload: {build: {nice: 7}}\n"})
    log = project.parent / "log"
    dev, url = started(driver, project, env=go_first(project, f'[ "$1" = build ] && nice >> {log}\nexec "$GO" "$@"'))
    answers(url, "one")
    own = os.getpriority(os.PRIO_PROCESS, dev.process.pid)
    assert log.read_text().split() == [str(own + 7)]
    (app,) = alive([str(project), ".goreload", "/bin/"])
    assert os.getpriority(os.PRIO_PROCESS, app) == own


@pytest.mark.parametrize("parallel", [0, 1])
def test_so_many_builds_run_at_once_over_all_services(project: Path, driver: Driver, parallel: int) -> None:
    services(project, f"build: {{parallel: {parallel}}}")
    log = project.parent / "log"
    # Without a limit each build waits for the other one; with it, it leaves time for another one to begin.
    wait = f"until [ $(wc -l < {log}) -ge 2 ]; do sleep 0.01; done" if parallel == 0 else "sleep 0.5"
    script = f'[ "$1" = build ] || exec "$GO" "$@"\necho + >> {log}\n{wait}\n'
    script += f'"$GO" "$@"; code=$?\necho - >> {log}\nexit $code'
    later = {"GORELOAD_BUILD_VERIFY_AFTER": "1h"}  # builds at rest are others
    dev = driver.start(project, "dev", env=go_first(project, script) | later)
    for url in (dev.url(), dev.url()):
        answers(url, "one")
    assert log.read_text().split() == (["+", "-", "+", "-"] if parallel else ["+", "+", "-", "-"])


def test_build_that_waits_for_its_turn_can_be_given_up(project: Path, driver: Driver) -> None:
    services(project, "build: {parallel: 1}")
    log, flag = project.parent / "log", project.parent / "flag"
    hold = f"while [ -e {flag} ]; do sleep 0.01; done"
    env = go_first(project, f'[ "$1" = build ] && {{ echo $* >> {log}; {hold}; }}\nexec "$GO" "$@"')
    dev = driver.start(project, "dev", env=env | {"GORELOAD_BUILD_VERIFY_AFTER": "1h"})
    urls = named(dev, r".* -> (http\S+)")
    flag.touch()
    (project / "cmd" / "api" / "answer.go").write_text(answer("two"))
    until(lambda: len(log.read_text().splitlines()) == 3, "the build of one service")
    for text in ("never", "three"):
        (project / "cmd" / "web" / "answer.go").write_text(answer(text))
    flag.unlink()
    urls |= named(dev, r".* -> (http\S+)")
    answers(urls["api"], "two")
    answers(urls["web"], "three")
    assert dev.stop() == 130
    assert not alive([str(project)])
