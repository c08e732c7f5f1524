"""PURE. What a Go program says when it panics, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


def parse(lines: Sequence[str], root: str) -> Panic | None:
    """The panic in a program's last lines."""
    return None
