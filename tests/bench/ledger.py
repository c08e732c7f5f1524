"""Counts the builds of any tool: a `go` before the real one on PATH writes down each that begins, and how it ends."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.bench.tools import Tool

SCRIPT = """#!/bin/sh
if [ "$1" != build ]; then exec {go} "$@"; fi
echo "begin $$" >> {log}
{go} "$@"
code=$?
echo "end $$ $code" >> {log}
exit $code
"""
"""A build that is cancelled takes the script with it: one that began and never ended."""


@dataclass(frozen=True, slots=True)
class Builds:
    """Builds that began, and those of them that ended well."""

    begun: int
    well: int


class Ledger:
    """Writes in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "builds"
        self._log.touch()
        go = shutil.which("go")
        assert go
        script = folder / "go"
        script.write_text(SCRIPT.format(go=shlex.quote(go), log=shlex.quote(os.fspath(self._log))))
        script.chmod(0o755)

    def of(self, tool: Tool) -> Tool:
        """The same tool, with its builds written down."""
        path = os.pathsep.join([os.fspath(self._folder), os.environ["PATH"]])
        return dataclasses.replace(tool, env={**tool.env, "PATH": path})

    def take(self) -> Builds:
        """What was written since the last time."""
        lines = [line.split() for line in self._log.read_text().splitlines()]
        self._log.write_text("")
        return Builds(
            sum(line[0] == "begin" for line in lines), sum(line[0] == "end" and line[2] == "0" for line in lines)
        )
