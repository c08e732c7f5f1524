"""Makes the binary of each generation, whatever hinders it, and knows whether it is the one that runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from goreload_tasks.build.builder import Result, difference
from goreload_tasks.build.diagnostics import HINDRANCES
from goreload_tasks.errors import GoreloadError
from goreload_tasks.report import Report
from goreload_tasks.store import TakenError
from goreload_tasks.work import Build, Work

if TYPE_CHECKING:
    from goreload_tasks import cycle

ROOM = 1024 * 1024
"""Bytes more on a full disk after which a build is tried again."""

ROOM_BEAT = 1.0
"""Seconds between two looks at a full disk."""


class Making:
    """One build at a time of one service."""

    def __init__(self, work: Work, report: Report) -> None:
        self._work = work
        self._report = report
        self._job: Build | None = None
        self._remarks: dict[int, str] = {}
        self._differed = 0  # where the newest two binaries did: the next edit is often beside the last

    async def run(self, generation: int, unwanted: Callable[[], bool]) -> Result:
        """Build; once more where that failed for a reason that is not the sources.

        Args:
            unwanted: nobody wants it any more, though nobody could cancel it yet.

        Raises:
            TakenError: another process runs the service meanwhile.
        """
        result = await self._once(generation, unwanted)
        hindered = self._work.hindered(result)
        if result.code and not result.cancelled and (hindered == "killed" or not self._work.whole):
            if hindered == "killed":
                self._report.warn(hindered, f"{HINDRANCES[hindered]}; it is built again")
            result = await self._once(generation, unwanted)
        if result.cancelled or hindered == "killed":
            self._work.sweep()
        self._report.mark("begun", result.began)
        self._report.mark("built", result.began + result.seconds)
        self._remarks[generation] = result.remark
        return result

    async def _once(self, generation: int, unwanted: Callable[[], bool]) -> Result:
        """One run of the build; what hinders its start fails it, and does not end the session."""
        try:
            if not self._work.whole:
                self._work.renew()
                text = "its folder in .goreload was removed: made anew, the binaries that were kept there are gone"
                self._report.warn("removed", text)
            if unwanted():
                return Result(0, "", 0.0, True)
            self._job = job = self._work.job(generation)
            return await job.run()
        except TakenError:
            raise
        except GoreloadError as error:
            return Result(1, str(error), 0.0)
        except OSError as error:
            return Result(1, f"cannot write {error.filename}: {error.strerror}", 0.0)
        finally:
            self._job = None

    def cancel(self) -> None:
        """End the build under way; its group is gone when `run` returns."""
        if self._job:
            self._job.cancel()

    def kill(self) -> None:
        """End it without asking."""
        if self._job:
            self._job.kill()

    async def room(self, unwanted: Callable[[], bool]) -> bool:
        """A disk was full: wait until there is more room. False: nobody wants that build any more."""
        least = self._work.room()
        while (room := self._work.room()) < least + ROOM:
            least = min(least, room)
            await asyncio.sleep(ROOM_BEAT)
            if unwanted():
                return False
        return True

    def identify(self, generation: int, running: cycle.App | None) -> str:
        """A name for the content of a binary: that of the running one where they are equal, else its own."""
        self._remarks = {known: remark for known, remark in self._remarks.items() if self._exists(known)}
        binary = self._work.binary(generation)
        if binary is None or running is None:
            return str(generation)
        for path in (self._work.binary(running.generation), self._work.twin(running.generation)):
            if path and os.path.exists(path):
                found = difference(binary, path, self._differed)
                if found is None:
                    return running.digest
                self._differed = found
        return str(generation)

    def remark(self, generation: int) -> str:
        """What the person must know of a binary."""
        return self._remarks.get(generation, "")

    def _exists(self, generation: int) -> bool:
        path = self._work.binary(generation)
        return path is not None and os.path.exists(path)
