"""PURE. What a Go program says when it panics, as values.

The forms are those of the runtime's own printing: printpanics and printpanicval, throw and fatal, traceback
(src/runtime/panic.go, error.go and traceback.go of Go 1.18 to 1.26).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_BEGINS = re.compile(r"panic: |fatal error: |SIG(?!QUIT)[A-Z]+: ")
"""The first line; SIGQUIT is left out, as it is how a person asks a living program for its stacks."""

_GOROUTINE = re.compile(r"goroutine ([1-9]\d*) .*\[.*\]:$")
_PLACE = re.compile(r"\t(.+):(\d+)(?: \+0x[0-9a-f]+.*)?$")
_CALL = re.compile(r"(.+)\(.*\)$")
_RUNTIME = ("runtime.", "runtime/", "internal/runtime/")


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on the stack. `own`: it is the project's, not a library's."""

    function: str
    file: str
    line: int
    own: bool


@dataclass(frozen=True, slots=True)
class Panic:
    """Why the program ended (`panic: ...`, `fatal error: ...`), and the stack of the goroutine that did it."""

    message: str
    frames: tuple[Frame, ...]


def parse(lines: Sequence[str], root: str, exists: Callable[[str], bool] = os.path.isfile) -> Panic | None:
    """The panic that ended a program; None: its last output shows none.

    A panic that was caught and only written about (`http: panic serving`, a printed debug.Stack) is none.

    Args:
        lines: the program's last output.
        root: the project's folder, absolute.
        exists: is there such a file? Asked only for names without a folder, as `-trimpath` leaves them.
    """
    lines = [line.rstrip("\r") for line in lines]
    for at in reversed([number for number, line in enumerate(lines) if _BEGINS.match(line)]):
        end = next((number for number in range(at, len(lines)) if _ends(lines[number])), len(lines))
        stack = next((number for number in range(end, len(lines)) if _GOROUTINE.match(lines[number])), None)
        if stack is None:
            if not any(lines[end:]):  # GOTRACEBACK=none
                return Panic(_message(lines[at:end]), ())
            continue
        frames = _frames(lines[stack + 1 :], root, exists)
        if frames and frames[0].function.startswith("runtime/debug."):
            continue
        top = next((number for number, frame in enumerate(frames) if not _of_runtime(frame)), len(frames))
        return Panic(_message(lines[at:end]), tuple(frames[top:]))
    return None


def first(panic: Panic) -> Frame | None:
    """The first frame of the project's own code: where to look."""
    return next((frame for frame in panic.frames if frame.own), None)


def _ends(line: str) -> bool:
    """Is the message over? A line break inside it is followed by a tab."""
    return not line or line == "runtime stack:" or bool(_GOROUTINE.match(line))


def _message(lines: Sequence[str]) -> str:
    """The message without its indentation; what signal it was stands behind the line that it explains."""
    text = "\n".join(line.removeprefix("\t") for line in lines)
    return re.sub(r"\n(?=\[signal SIG)", " ", text)


def _of_runtime(frame: Frame) -> bool:
    return frame.function == "panic" or frame.function.startswith(_RUNTIME)


def _frames(lines: Sequence[str], root: str, exists: Callable[[str], bool]) -> list[Frame]:
    """A frame is two lines: the call, and below it, indented, the place. Who began the goroutine is the last."""
    frames = []
    for call, below in itertools.pairwise(lines):
        if not call:
            break
        if not (place := _PLACE.match(below)):
            continue
        if call.startswith("created by "):
            function = re.sub(r" in goroutine \d+$", "", call)
        elif named := _CALL.match(call):
            function = named[1]
        else:
            continue
        file = _own(function.removeprefix("created by "), place[1], root, exists)
        frames.append(Frame(function, file or place[1], int(place[2]), file is not None))
    return frames


def _own(function: str, file: str, root: str, exists: Callable[[str], bool]) -> str | None:
    """The path of a file of the project; None: it is a library's."""
    parts = file.split("/")
    if os.path.isabs(file):
        inside = file.removeprefix(root.rstrip("/") + "/")
        return None if inside == file or _foreign(inside) else file
    if _foreign(file) or not ("." in parts[0] or function.startswith("main.")):  # the standard library has no dot
        return None
    tails = (os.path.join(root, *parts[cut:]) for cut in range(1, len(parts)))
    return next((path for path in tails if exists(path)), None)


def _foreign(path: str) -> bool:
    """In a vendor folder, or in a module cache that lies in the project: only there a folder's name has an `@`."""
    return any(part == "vendor" or "@" in part for part in path.split("/")[:-1])
