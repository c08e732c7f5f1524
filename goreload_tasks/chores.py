"""What is done for a Go service while nobody wants anything: at the lowest priority, and ended by the next save."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable

from goreload_tasks.build.builder import Job, same_file
from goreload_tasks.build.command import LEAN, LEAST_MEMORY, Plan
from goreload_tasks.build.toolchain import available_memory
from goreload_tasks.errors import GoreloadError
from goreload_tasks.report import Report
from goreload_tasks.work import GoWork, tidy

LOWEST = 19
"""The priority furthest back (nice(1))."""


class Chores:
    """One service's chores, in their order. Each is ended by cancelling it, and goes on where it was the next time.

    Args:
        turn: entered for each: one at a time, over all services.
        quiet: seconds of rest before they begin.
    """

    def __init__(
        self,
        work: GoWork,
        report: Report,
        turn: contextlib.AbstractAsyncContextManager[None],
        quiet: float,
    ) -> None:
        self._work = work
        self._report = report
        self._turn = turn
        self._quiet = quiet
        self._settled: Callable[[], bool] = lambda: False
        self._learned_from: tuple[int, Plan] | None = None  # the build after which the program was learned
        self._lagging = 0  # the newest build of which some lines were not those of its sources
        self._kept = ""  # what the binary is made of that is kept for the next start

    async def __call__(self, settled: Callable[[], bool]) -> bool:
        """Do what is left to do. What cannot be done now is tried at the next rest.

        Args:
            settled: is the newest binary what the sources call for, as they are?

        Returns:
            It is not, as was found out: it must be built again.
        """
        self._settled = settled
        await asyncio.sleep(self._quiet)
        try:
            return await self._each()
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    async def _each(self) -> bool:
        for chore in (self._verify, self._warm, self._prime, self._keep, self._advise):
            async with self._turn:
                if not self._work.whole:  # somebody removed our folder: the next build makes it anew
                    return False
                with contextlib.suppress(GoreloadError, OSError):
                    os.makedirs(self._place, 0o700, exist_ok=True)
                    if await chore():
                        return True
        return False

    @property
    def _place(self) -> str:
        """A folder that a build which interrupts us has nothing in."""
        return os.path.join(self._work.scratch, "rest")

    async def _verify(self) -> bool:
        """Prove by `go build` that what was made without it is right. True: it is not."""
        work, direct, newest = self._work, self._work.direct(), self._work.newest
        if work.unchanged:
            return await self._verify_unchanged()
        if direct is None or newest is None or newest.built is None:
            return False
        verified = await direct.verify(work.binary(work.made))
        if verified.outcome == "discarded":
            return False
        work.newest = None
        self._learned_from = work.made, work.plan
        self._lagging = work.made if verified.outcome == "expected" else 0
        work.learned.learn(outcome=verified.outcome)
        self._report.verified(verified.outcome, verified.bundle)
        return verified.outcome == "different"

    async def _verify_unchanged(self) -> bool:
        """Does `go build` make what was taken over from an earlier run? True: it does not."""
        work = self._work
        plan, real = dataclasses.replace(work.plan, nice=LOWEST), os.path.join(self._place, "real")
        result = await Job(plan.build(real), plan.cwd, {**work.env, **tidy(self._place)}).run()
        if work.hindered(result) or not self._settled():
            return False
        work.unchanged = False
        if result.code == 0 and await asyncio.to_thread(same_file, real, work.binary(work.made)):
            self._kept = work.about
            return False
        work.last.forget()
        self._report.warn("unchanged", "the binary of the last run is not what `go build` makes: it is built again")
        return True

    async def _warm(self) -> bool:
        """Compile everything without DWARF once; from then on builds link what has none."""
        work = self._work
        if not work.plan.may_be_lean or work.learned.lean or available_memory() < LEAST_MEMORY:
            return False
        plan = dataclasses.replace(work.plan, nice=LOWEST)
        env = {**work.env, **tidy(self._place)}
        made, generation = os.path.join(self._place, "lean"), work.made
        result = await Job(plan.build(made, LEAN), plan.cwd, env).run()
        if result.code == 0:
            # The flags are written into a binary: without a twin the next one would be another, whatever was saved.
            if not work.overlaid and self._settled():
                os.replace(made, work.twin(generation))
            work.learned.learn(lean=True)
            self._report.detail("lean", "everything is compiled without DWARF now: links are faster from here on")
        return False

    async def _prime(self) -> bool:
        """Learn from the go command how it builds this program, so that the next builds need not ask it."""
        work, direct = self._work, self._work.direct()
        up_to_date = work.newest is not None and work.newest.built is not None
        if direct is None or up_to_date or self._learned_from == (work.made, work.plan):
            return False
        before = direct.reason
        await direct.prime()
        self._learned_from = work.made, work.plan
        if direct.reason != before:
            said = f"builds ask the go command: {direct.reason}" if direct.reason else "builds are direct from here on"
            self._report.detail("direct", said)
        return False

    async def _keep(self) -> bool:
        """Keep the binary, so that a start before which nothing changes need not build: see `kept.Last`.

        Only where it is known what it is made of, and by which go, as it must be for direct building.
        """
        work, direct, about = self._work, self._work.direct(), self._work.about
        unproved = work.unchanged or (work.newest is not None and work.newest.built is not None)
        if direct is None or not direct.known or unproved or self._lagging == work.made:
            return False
        if about and about != self._kept and (binary := work.as_built_now) and self._settled():
            await asyncio.to_thread(work.last.keep, binary, about)  # of this moment, whatever is saved meanwhile
            self._kept = about
        return False

    async def _advise(self) -> bool:
        """Offer once what would make every build faster, with what it was measured to save."""
        work = self._work
        if not work.plan.may_be_lean:  # a fast build is not wanted
            return False
        from goreload_tasks.insight.tags import measured

        plan = dataclasses.replace(work.plan, nice=LOWEST, env={**work.env, **tidy(self._place)})
        found = await measured(plan, work.target, self._place, work.learned.offered)
        for line in filter(None, found.values()):
            self._report.say("advice", line)
        if found:
            work.learned.learn(offered=found)
        return False
