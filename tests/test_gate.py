"""Never refused, never stale: clients that ask all the time, through reloads, broken saves and crashes of a Gin app."""

from __future__ import annotations

from pathlib import Path

import pytest

from goreload_tasks.adopt.scaffold import render
from tests.driver import Driver, alive, free_port, status, write
from tests.hammer import BROKEN, CRASHES, GOOD, Hammer, Saves, build

HANDLERS = """package handlers

import (
	"fmt"
	"io"
	"time"

	"github.com/gin-gonic/gin"
)

func Register(router *gin.Engine) {
	{extra}
	router.Any("/", func(c *gin.Context) {
		io.Copy(io.Discard, c.Request.Body)
		c.String(200, fmt.Sprint({number}))
	})
	_ = time.Now
}
"""

EXTRA = {GOOD: "", BROKEN: "missing()", CRASHES: 'time.AfterFunc(300*time.Millisecond, func() { panic("on purpose") })'}


SOCKET = {"GORELOAD_SERVE_MODE": "socket"}


POSTING = 4
"""Clients of the hammer that post: each may have given one request to a program that crashes."""

ELSEWHERE = {"ELSEWHERE": "1"}

AS_ELSEWHERE = """
import os, sys

if "ELSEWHERE" in os.environ and "dev" in sys.argv:
    from goreload_tasks import engine

    engine.sys = type(sys)("sys")  # the engine alone believes that this is another system
    engine.sys.platform = "darwin"
"""
"""watchfiles tells of changes, where no inotify descriptor of ours can."""


@pytest.mark.parametrize(
    ("how", "reloads"),
    [
        ({}, 44),
        ({"GORELOAD_WATCH_POLL": "on"}, 7),
        (ELSEWHERE, 8),
        ({"GORELOAD_SERVE_OVERLAP": "true"}, 8),
        (SOCKET, 15),
    ],
    ids=["told", "polling", "elsewhere", "overlap", "socket"],
)
def test_no_request_is_refused_lost_or_answered_by_old_code(
    tmp_path: Path, driver: Driver, how: dict[str, str], reloads: int
) -> None:
    project = tmp_path / "project"
    render("gin", project)
    handlers = project / "handlers" / "handlers.go"
    saves = Saves(tmp_path / "shared", reloads)

    def save(kind: int) -> None:
        saves.save(handlers, HANDLERS.replace("{extra}", EXTRA[kind]), kind)

    save(GOOD)
    port = free_port()
    write(project, {"invoke.yaml": "goreload: {env: {GIN_MODE: release}}\n"})
    patient = {"GORELOAD_STOP_GRACE": "60s", "GORELOAD_SERVE_HOLD": "120s"}  # on a loaded machine a swap takes long
    write(tmp_path / "site", {"sitecustomize.py": AS_ELSEWHERE})
    if how is ELSEWHERE:
        patient["PYTHONPATH"] = str(tmp_path / "site")
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), **patient, **how})
    dev.line(rf"up .*-> http://localhost:{port}")
    with Hammer(build(tmp_path), port, saves) as hammer:
        for turn in range(1, reloads):
            kind = BROKEN if turn % 7 == 3 else CRASHES if turn % 7 == 5 else GOOD
            save(kind)
            if kind == BROKEN:
                dev.line("undefined: missing")
                dev.line("1 error")
            elif kind == CRASHES:  # on a loaded machine perhaps before it is seen to be up
                dev.line("the app ended by itself")
            else:
                dev.line(r"handlers.go.* up .*-> http")
            if kind != GOOD:
                assert status(port)[0] == (0 if how is SOCKET else 503)
    saves.close()
    said = hammer.said
    if how is SOCKET:  # what is opaque can only be closed, and is: then clients ask on a new connection
        assert [said["Refused"], said["Stale"], said["Odd"]] == [0, 0, 0], said
        assert said["Cut"] > 0
    else:
        assert said["Mistakes"] is None, said
        assert said["Failed"] > 0
        assert said["Lost"] <= POSTING * sum(turn % 7 == 5 for turn in range(1, reloads)), said
    assert said["Asked"] > 1000
    assert dev.stop() == 130
    assert not alive([str(project)])
