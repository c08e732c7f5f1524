"""What requests wait on: open, held, failed or crashed, and who is under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from goreload_tasks.app.panic import Panic
from goreload_tasks.build.diagnostics import Problem

DEATH = 1.0
"""Seconds in which we learn that a launch has died."""


@dataclass(frozen=True, slots=True)
class Open:
    """This launch of the app serves what is on disk, at this place."""

    launch: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Held:
    """A newer generation is coming. `what`: for a person, what is waited for (`the build of main.go`, say)."""

    what: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It does not compile, or a rule's command failed (`what` says which; then its output is in the problems)."""

    problems: tuple[Problem, ...]
    what: str = ""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The app ended by itself.

    how: for a person (`exit code 2`, `SIGSEGV`). tail: its last lines of output. remark: on the lines of its panic.
    for_good: no change starts it again, only the person does.
    """

    how: str
    tail: tuple[str, ...] = ()
    panic: Panic | None = None
    remark: str = ""
    for_good: bool = False


State = Open | Held | Failed | Crashed


class Gate:
    """Lets requests through to the launch that serves what is on disk.

    Args:
        catch_up: makes sure that every save which returned before now has been seen, and has been shown here; what
            it cannot do at once it gives back to be awaited.
        hold: seconds that a request waits at most.
        first: told of the first byte of the first answer of each launch.
    """

    def __init__(
        self,
        catch_up: Callable[[], Awaitable[None] | None],
        hold: float,
        first: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.state: State = Held("the first build")
        self.waiting = 0  # requests that are held now
        self._first = first
        self._answered = 0  # the newest launch that answered
        self._catch_up = catch_up
        self._hold = hold
        self._changed = asyncio.Event()
        self._under_way: Counter[int] = Counter()  # requests, by launch
        self._ended = asyncio.Event()

    def show(self, state: State) -> None:
        """From now on this is so."""
        if state != self.state:
            self.state = state
            self._changed.set()
            self._changed = asyncio.Event()

    async def now(self) -> State:
        """What is so once every save that returned before has been seen."""
        if (seen := self._catch_up()) is not None:
            await seen
        return self.state

    def at_once(self) -> Open | Awaitable[State]:
        """The launch that serves, for the many that need not wait; else what `enter` waits for."""
        seen = self._catch_up()
        return self.state if seen is None and isinstance(self.state, Open) else self._wait(seen)

    async def enter(self) -> State:
        """Wait for a state that is not `Held`, but no longer than the hold; then the `Held` that it still waits for."""
        return await self._wait(self._catch_up())

    async def _wait(self, seen: Awaitable[None] | None) -> State:
        if seen is not None:
            await seen
        if isinstance(self.state, Held):
            self.waiting += 1
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._hold):
                    while isinstance(self.state, Held):
                        await self._changed.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
        return self.state

    async def left(self, state: State) -> bool:
        """A launch seems to have died: wait until something else is so; False: nothing is, in the time that takes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEATH):
                while self.state == state:
                    await self._changed.wait()
        return self.state != state

    def answered(self, launch: int) -> None:
        """The first byte of an answer of this launch is here."""
        if launch > self._answered:
            self._answered = launch
            self._first(launch)

    def begin(self, launch: int) -> None:
        """A request is being answered by this launch."""
        self._under_way[launch] += 1

    def end(self, launch: int) -> None:
        """It is answered."""
        self._under_way[launch] -= 1
        if not self._under_way[launch]:
            del self._under_way[launch]
            self._ended.set()

    async def drained(self, launch: int, patience: float) -> None:
        """Wait until this launch has nothing to answer any more, but no longer than `patience` seconds."""
        end = time.monotonic() + patience
        while self._under_way[launch] and (left := end - time.monotonic()) > 0:
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ended.wait()
