"""Everything that is printed: lines, prefixes, colour, progress, JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from colorama import Fore, Style, just_fix_windows_console

STEP = 0.1
"""Seconds between two questions whether the end is wanted, while who reads us does not."""

PREFIXES = (Fore.CYAN, Fore.MAGENTA, Fore.BLUE, Fore.YELLOW, Fore.GREEN)


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """NO_COLOR and FORCE_COLOR (no-color.org, force-color.org) before what the stream is; NO_COLOR wins."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def took(seconds: float) -> str:
    """A time for a person: ms below ten seconds, seconds above."""
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def size(count: int) -> str:
    """Bytes for a person, in binary units."""
    if count < 1024 * 1024:
        return f"{count / 1024:.0f} KiB"
    if count < 1024**3:
        return f"{count / 1024**2:.1f} MiB"
    return f"{count / 1024**3:.1f} GiB"


def dry_line(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> str:
    """A command as a person could type it, with the variables that we add."""
    added = [f"{name}={shlex.quote(value)}" for name, value in env.items() if os.environ.get(name) != value]
    return f"cd {shlex.quote(cwd)} && {' '.join([*added, shlex.join(argv)])}"


class Console:
    """One stream of lines: ours and the apps', never torn, with at most one passing progress line under them.

    Args:
        stream: where everything goes.
        as_json: one JSON object a line instead of text for people.
    """

    def __init__(self, stream: TextIO | None = None, as_json: bool = False) -> None:
        just_fix_windows_console()
        self._stream = stream or sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as we are
        try:
            self.fd = self._stream.fileno()
            """Where it goes; -1: nowhere but into the stream."""
        except (OSError, ValueError):
            self.fd = -1
        self._hurried = False
        self.as_json = as_json
        self.colour = not as_json and wants_colour(self._stream, os.environ)
        self.live = not as_json and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._progress = ""
        self._mid_line = False  # an app's unfinished line stands at the cursor
        self._prefixes: dict[str, str] = {}

    def paint(self, text: str, *codes: str) -> str:
        return f"{''.join(codes)}{text}{Style.RESET_ALL}" if self.colour else text

    def name_services(self, names: list[str]) -> None:
        """With several services each line of an app carries its service's name."""
        width = max(map(len, names))
        if len(names) > 1:
            for index, name in enumerate(names):
                self._prefixes[name] = self.paint(f"{name:{width}} | ", PREFIXES[index % len(PREFIXES)])

    def say(self, event: str, text: str, service: str = "", **fields: object) -> None:
        """One line with the time of day in front; as JSON its event and fields."""
        stamp = self.paint(time.strftime("%H:%M:%S"), Style.DIM)
        self.raw(event, f"{stamp} {self._prefixes.get(service, '')}{text}", service, **fields)

    def raw(self, event: str, line: str, service: str = "", **fields: object) -> None:
        """A line (or several) as they are; as JSON the event and fields."""
        if self.as_json:
            known = {"event": event, **({"service": service} if service else {}), **fields}
            line = json.dumps(known, ensure_ascii=False, default=str)
        self._write((line + "\n").encode(errors="surrogateescape"))

    def output(self, service: str, block: bytes) -> None:
        """What an app printed: whole lines, or (no newline at the end) the beginning of one."""
        if not block:
            return
        if self.as_json:
            for line in block.decode(errors="replace").splitlines():
                self.raw("output", "", service, text=line)
            return
        prefix = self._prefixes.get(service, "").encode()
        if prefix:
            lines = block.split(b"\n")
            block = b"\n".join(prefix + line if line else line for line in lines)
        self._write(block, continues=not prefix)
        self._mid_line = not block.endswith(b"\n")

    def progress(self, text: str) -> None:
        """A passing line that the next one replaces; only on a terminal."""
        if self.live and not self._mid_line and text != self._progress:
            self._put(b"\r\x1b[K" + self.paint(text, Style.DIM).encode())
            self._progress = text

    def clear(self) -> None:
        """Empty the terminal, scroll-back kept."""
        if self.live:
            self._put(b"\x1b[2J\x1b[H")
            self._mid_line = False

    def _write(self, block: bytes, continues: bool = False) -> None:
        if self._progress:
            self._progress = ""
            block = b"\r\x1b[K" + block
        elif self._mid_line and not continues:
            block = b"\n" + block
        self._mid_line = False
        self._put(block)

    def hurry(self) -> None:
        """The end is wanted: who does not read what we print keeps us no longer. May be called by a signal handler."""
        self._hurried = True

    def _put(self, block: bytes) -> None:
        """Write; what cannot be is lost. Nobody reads it, or the disk that it goes to is full: whom could we tell?"""
        if self.fd < 0:  # a stream that a test put in place
            self._stream.write(block.decode(errors="replace"))
            return
        with contextlib.suppress(OSError):
            self._stream.flush()
            while block:
                while not select.select([], [self.fd], [], 0 if self._hurried else STEP)[1]:
                    if self._hurried:
                        return
                with contextlib.suppress(BlockingIOError):
                    block = block[os.write(self.fd, block[: select.PIPE_BUF]) :]
