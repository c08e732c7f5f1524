"""PURE. The go command's complaints as values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_POSITION = re.compile(r"(?P<file>(?:[A-Za-z]:)?[^\s:][^:]*):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<message>.*)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint: where (line and column count from 1; 0: not known) and what, in one line or several."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        if not self.file:
            return self.message
        place = f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


def parse(output: str) -> tuple[Problem, ...]:
    """The problems in the output of `go build`: those with a place first, each once, in the order given.

    `# package` headers are dropped (the path says it), indented lines belong to the problem above them.
    """
    found: list[Problem] = []
    for line in output.splitlines():
        if not line.strip() or line.startswith("# "):
            continue
        match = _POSITION.fullmatch(line)
        if line[0] in " \t" and found:
            last = found[-1]
            found[-1] = Problem(last.file, last.line, last.column, f"{last.message}\n{line}")
        elif match and not line.startswith("go: "):
            file = match["file"].removeprefix("./")
            found.append(Problem(file, int(match["line"]), int(match["column"] or 0), match["message"]))
        else:
            found.append(Problem("", 0, 0, line))
    once = list(dict.fromkeys(found))
    return tuple([one for one in once if one.file] + [one for one in once if not one.file])


_KILLED = re.compile(r": signal: (?:killed|terminated)$", re.MULTILINE)
_FULL = re.compile(r"^(?!\S+\.go:\d).*(?:no space left on device|disk quota exceeded)$", re.MULTILINE | re.IGNORECASE)


def hindrance(code: int, output: str) -> Literal["killed", "full"] | None:
    """Why a failed build says nothing about the sources: somebody ended it or a tool of it, or a disk is full.

    Args:
        code: its exit code, negative for a signal.
    """
    if not code:
        return None
    if _FULL.search(output):
        return "full"
    return "killed" if code < 0 or _KILLED.search(output) else None


HINDRANCES = {
    "killed": "the build was killed from outside (out of memory?)",
    "full": "no space left on device: free some, and it is built again",
}


def summary(problems: Sequence[Problem]) -> str:
    """`1 error` or `3 errors in 2 files`."""
    files = len({problem.file for problem in problems if problem.file})
    count = len([problem for problem in problems if problem.message != "too many errors"])
    return f"{count} error{'s' * (count != 1)}" + (f" in {files} files" if files > 1 else "")
