"""Never refused, never stale: clients that ask all the time, through reloads, broken saves and crashes of a Gin app."""

from __future__ import annotations

import json
import mmap
import struct
import subprocess
from pathlib import Path

import pytest

from goreload_tasks.adopt.scaffold import render
from tests.driver import Driver, alive, free_port, write
from tests.test_serve import status

HAMMER = Path(__file__).parent / "hammer" / "main.go"

GOOD, BROKEN, CRASHES = 0, 1, 2

HANDLERS = """package handlers

import (
	"fmt"
	"io"
	"time"

	"github.com/gin-gonic/gin"
)

func Register(router *gin.Engine) {{
	{extra}
	router.Any("/", func(c *gin.Context) {{
		io.Copy(io.Discard, c.Request.Body)
		c.String(200, fmt.Sprint({number}))
	}})
	_ = time.Now
}}
"""

EXTRA = {GOOD: "", BROKEN: "missing()", CRASHES: 'time.AfterFunc(300*time.Millisecond, func() { panic("on purpose") })'}


class Saver:
    """Saves numbered versions, and tells the hammer of each before it begins and after it has returned."""

    def __init__(self, path: Path, shared: Path, room: int) -> None:
        self._path = path
        shared.write_bytes(bytes(16 + room))
        with open(shared, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 16 + room)
        self.number = 0

    def save(self, kind: int = GOOD) -> int:
        self.number += 1
        self._shared[16 + self.number] = kind
        struct.pack_into("<Q", self._shared, 8, self.number)
        self._path.write_text(HANDLERS.format(number=self.number, extra=EXTRA[kind]))
        struct.pack_into("<Q", self._shared, 0, self.number)
        return self.number

    def close(self) -> None:
        self._shared.close()


@pytest.mark.parametrize(
    ("how", "reloads"),
    [({}, 30), ({"GORELOAD_WATCH_POLL": "on"}, 7), ({"GORELOAD_SERVE_OVERLAP": "true"}, 8)],
    ids=["told", "polling", "overlap"],
)
def test_no_request_is_refused_lost_or_answered_by_old_code(
    tmp_path: Path, driver: Driver, how: dict[str, str], reloads: int
) -> None:
    project = tmp_path / "project"
    render("gin", project)
    hammer = tmp_path / "hammer"
    subprocess.run(["go", "build", "-o", str(hammer), str(HAMMER)], check=True)
    saver = Saver(project / "handlers" / "handlers.go", tmp_path / "shared", 1 + reloads)
    saver.save()
    port = free_port()
    write(project, {"invoke.yaml": "goreload: {env: {GIN_MODE: release}}\n"})
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), **how})
    dev.line(rf"up .*-> http://localhost:{port}")
    with subprocess.Popen(
        [str(hammer), f"127.0.0.1:{port}", str(tmp_path / "shared")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as asking:
        for turn in range(1, reloads):
            kind = BROKEN if turn % 7 == 3 else CRASHES if turn % 7 == 5 else GOOD
            saver.save(kind)
            if kind == BROKEN:
                dev.line("undefined: missing")
                dev.line("1 error")
                assert status(port)[0] == 503
            elif kind == CRASHES:  # on a loaded machine perhaps before it is seen to be up
                dev.line("the app ended by itself")
                assert status(port)[0] == 503
            else:
                dev.line(r"handlers.go.* up .*-> http")
        said = json.loads(asking.communicate(timeout=60)[0])
    saver.close()
    assert said["Mistakes"] is None, said
    assert said["Asked"] > 1000
    assert said["Failed"] > 0
    assert dev.stop() == 130
    assert not alive([str(project)])
