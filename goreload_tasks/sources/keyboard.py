"""Who is at the other end: single keys at a terminal, and whether anybody reads what we print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

Meaning = Literal["restart", "rebuild", "clear", "quit", "help"]

KEYS: Mapping[str, Meaning] = {"r": "restart", "b": "rebuild", "c": "clear", "q": "quit", "h": "help"}
HELP = "r restart   b rebuild   c clear   q quit   h help"


@contextlib.contextmanager
def keys(told: Callable[[Meaning], None]) -> Iterator[bool]:
    """Tell each known key's meaning while this lasts; yields whether there is a terminal to read from.

    Keys come one by one and are not shown, Ctrl-C stays a signal, and the terminal is put back however this ends.
    """
    fd = _terminal()
    if fd is None:
        yield False
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(fd)

    def read() -> None:
        try:
            typed = os.read(fd, 64).decode(errors="replace")
        except OSError:
            typed = ""
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        for key in typed:
            if meaning := KEYS.get(key.lower()):
                told(meaning)

    def resumed() -> None:
        with contextlib.suppress(termios.error):  # after Ctrl-Z the shell has put its own modes back
            tty.setcbreak(fd, termios.TCSANOW)

    tty.setcbreak(fd, termios.TCSANOW)
    loop.add_reader(fd, read)
    loop.add_signal_handler(signal.SIGCONT, resumed)
    try:
        yield True
    finally:
        loop.remove_reader(fd)
        loop.remove_signal_handler(signal.SIGCONT)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)


def _terminal() -> int | None:
    """stdin, when it is a terminal and we are in its foreground: touching it from the background would stop us."""
    try:
        fd = sys.stdin.fileno()
        return fd if os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp() else None
    except (OSError, ValueError, AttributeError):
        return None


@contextlib.contextmanager
def read(fd: int, gone: Callable[[], None]) -> Iterator[None]:
    """Tell when nobody is left who could read the pipe that we print into: who ran us has ended, without a word.

    The kernel says so without being asked (poll(2), POLLERR); elsewhere than on Linux the next line finds out.
    """
    if sys.platform != "linux" or fd < 0 or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        yield
        return
    loop = asyncio.get_running_loop()

    def told() -> None:
        loop.remove_reader(fd)
        gone()

    loop.add_reader(fd, told)
    try:
        yield
    finally:
        loop.remove_reader(fd)
