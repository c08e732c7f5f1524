"""One cancellable build of one generation into a file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from goreload_tasks.app.process import Group, spawn
from goreload_tasks.build.diagnostics import HINDRANCES, Problem, hindrance, parse
from goreload_tasks.errors import GoreloadError

BLOCK = 128 * 1024
"""Bytes compared at once: they stay in the processor's cache, and in memory that the allocator keeps at hand."""

PATIENCE = 2.0
"""Seconds that a command which is cancelled has for its end, before SIGKILL."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: exit code, what it printed, seconds it took, and the monotonic time at which it ran.

    remark: what the person must know of the binary. detail: how it was made, for who asks. unchanged: it was made
    before, of the same sources.
    """

    code: int
    text: str
    seconds: float
    cancelled: bool = False
    began: float = 0.0
    remark: str = ""
    detail: str = ""
    unchanged: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the sources, or what hindered the build."""
        if hindered := hindrance(self.code, self.text):
            return (Problem("", 0, 0, HINDRANCES[hindered]),)
        return parse(self.text) or (Problem("", 0, 0, f"it ended with exit code {self.code} and no message"),)


class Job:
    """A command that can be cancelled with its whole group; its output is kept, or passed on to `show`.

    Args:
        turn: entered before it starts and left when it is gone: so many at once, and no more.
        detail: see `Result`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        show: Callable[[bytes], None] | None = None,
        turn: contextlib.AbstractAsyncContextManager[None] | None = None,
        detail: str = "",
    ) -> None:
        self._detail = detail
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._blocks: list[bytes] = []
        self._sink = show or self._blocks.append
        self._group: Group | None = None
        self._turn = turn or contextlib.nullcontext()
        self._cancelled = False
        self._last: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()
        """`run` has returned: nothing of it is left."""

    async def run(self) -> Result:
        """Start it and wait for its end.

        Raises:
            GoreloadError: it cannot be started.
        """
        try:
            async with self._turn:
                return Result(0, "", 0.0, True) if self._cancelled else await self._run()
        finally:
            if self._last:
                self._last.cancel()
            self.gone.set()

    async def _run(self) -> Result:
        try:
            self._group = await spawn(self._argv, cwd=self._cwd, env=self._env, sink=self._sink)
        except OSError as error:
            raise GoreloadError(f"cannot start {self._argv[0]} in {self._cwd}: {error.strerror}") from None
        began = self._group.began
        if self._cancelled:  # while it was being spawned
            self.cancel()
        try:
            code = await self._group.wait()
        except asyncio.CancelledError:
            self._cancelled = True
            await self._group.stop(signal.SIGKILL, 1.0)
            raise
        if self._cancelled or self._group.alive():
            # compile and link run on when only their parent ends: the group is gone before anyone hears of the end
            code = await self._group.stop(signal.SIGKILL, 1.0)
        else:
            self._group.close()
        text = b"".join(self._blocks).decode(errors="replace")
        return Result(code, text, time.monotonic() - began, self._cancelled, began, detail=self._detail)

    def cancel(self) -> None:
        """End it: SIGTERM to the group, which the build cache survives at any moment; SIGKILL to who ignores that."""
        self._end(signal.SIGTERM)
        if self._group and not self._last and not self.gone.is_set():
            self._last = asyncio.get_running_loop().call_later(PATIENCE, self.kill)

    def kill(self) -> None:
        """End it without asking."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._cancelled = True
        if self._group:
            self._group.signal(how)


def same_file(one: str, other: str) -> bool:
    """Do two files hold the same bytes?"""
    return difference(one, other) is None


def difference(one: str, other: str, start: int = 0) -> int | None:
    """Where two files differ: the offset of a block, the first that is found; None: they hold the same bytes.

    Args:
        start: the offset at which to begin; what lies before it comes last.
    """
    try:
        with open(one, "rb", buffering=0) as left, open(other, "rb", buffering=0) as right:
            size = os.fstat(left.fileno()).st_size
            if size != os.fstat(right.fileno()).st_size:
                return 0
            for offset in chain(range(start, size, BLOCK), range(0, min(start, size), BLOCK)):
                if os.pread(left.fileno(), BLOCK, offset) != os.pread(right.fileno(), BLOCK, offset):
                    return offset
    except OSError:
        return 0
    return None
