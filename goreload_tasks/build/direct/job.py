"""One build of ours as a job, with `go build` behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from goreload_tasks.build.builder import Job, Result
from goreload_tasks.build.direct.ground import DeclinedError, Lag
from goreload_tasks.build.direct.make import Crew, StoppedError


@dataclass(frozen=True, slots=True)
class Built:
    """A build of ours.

    compiled: the packages compiled. kept: those whose importers stayed although positions moved.
    lags: the files of which some lines are those of an earlier version now.
    """

    compiled: tuple[str, ...]
    kept: tuple[str, ...]
    lags: tuple[Lag, ...]

    @property
    def remark(self) -> str:
        """What the reload's line must say; empty: the binary is the one that `go build` makes, byte for byte."""
        return "; ".join(map(str, self.lags))


Build = Callable[[str, Crew], Awaitable[tuple[str, Built]]]
"""Builds into a path: the compiler's complaint, empty when there is a new binary, and how it went."""


class DirectJob:
    """A build of ours with the surface of `builder.Job`; it runs `go build` itself when it is not one for us.

    built: how our build went, whether it compiles or not. declined: why it was none of ours.
    """

    def __init__(
        self, build: Build, out: str, otherwise: Job, turn: contextlib.AbstractAsyncContextManager[None]
    ) -> None:
        self.built: Built | None = None
        self.declined = ""
        self._build = build
        self._out = out
        self._otherwise = otherwise
        self._turn = turn
        self._crew = Crew()

    async def run(self) -> Result:
        """Build, and wait for its end.

        Raises:
            GoreloadError: the go command was needed, and cannot be started.
        """
        began = time.monotonic()
        try:
            async with self._turn:
                text, self.built = await self._build(self._out, self._crew)
        except DeclinedError as why:
            self.declined = str(why)
            result = await self._otherwise.run()
            return replace(result, seconds=time.monotonic() - began, began=began, detail=f"go build: {self.declined}")
        except StoppedError:
            return Result(0, "", time.monotonic() - began, cancelled=True)
        seconds, built = time.monotonic() - began, self.built
        detail = f"direct: {', '.join(built.compiled) or 'nothing'} compiled"
        return Result(1 if text else 0, text, seconds, self._crew.stopped, began, built.remark, detail)

    def cancel(self) -> None:
        """End it at once: SIGTERM to each compiler. Nothing half written is ever linked."""
        self._crew.cancel()
        self._otherwise.cancel()

    def kill(self) -> None:
        """End it without asking."""
        self._crew.kill()
        self._otherwise.kill()
