"""What is done for a Go service while nobody wants anything: at the lowest priority, and ended by the next save."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from goreload_tasks.build.builder import Job
from goreload_tasks.build.command import LEAN, LEAST_MEMORY
from goreload_tasks.build.toolchain import available_memory
from goreload_tasks.errors import GoreloadError
from goreload_tasks.report import Report
from goreload_tasks.work import GoWork

LOWEST = 19
"""The priority furthest back (nice(1))."""


class Chores:
    """One service's chores, in their order. Each is ended by cancelling it, and goes on where it was the next time.

    Args:
        turn: entered for each: one at a time, over all services.
    """

    def __init__(self, work: GoWork, report: Report, turn: contextlib.AbstractAsyncContextManager[None]) -> None:
        self._work = work
        self._report = report
        self._turn = turn

    async def __call__(self) -> None:
        """Do what is left to do. What cannot be done now is tried at the next rest."""
        for chore in (self._warm, self._advise):
            async with self._turn:
                with contextlib.suppress(GoreloadError, OSError):
                    await chore()

    async def _warm(self) -> None:
        """Compile everything without DWARF once; from then on builds link what has none."""
        work = self._work
        if not work.plan.may_be_lean or work.learned.lean or available_memory() < LEAST_MEMORY:
            return
        plan = dataclasses.replace(work.plan, nice=LOWEST)
        result = await Job(plan.build(os.path.join(work.scratch, "lean"), LEAN), plan.cwd, work.env).run()
        if result.code == 0:
            work.learned.learn(lean=True)
            self._report.detail("lean", "everything is compiled without DWARF now: links are faster from here on")

    async def _advise(self) -> None:
        """Offer once what would make every build faster, with what it was measured to save."""
        work = self._work
        if not work.plan.may_be_lean:  # a fast build is not wanted
            return
        from goreload_tasks.insight.tags import measured

        flags = (*work.plan.flags, *([LEAN] if work.learned.lean else []))
        plan = dataclasses.replace(work.plan, flags=flags, nice=LOWEST)
        found = await measured(plan, work.target, work.scratch, work.learned.offered)
        for line in filter(None, found.values()):
            self._report.say("advice", line)
        if found:
            work.learned.learn(offered=found)
