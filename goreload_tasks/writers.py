"""Which of those that we run writes an input again and again: what `loops` decides, kept and told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from goreload_tasks import loops
from goreload_tasks.build.builder import Job
from goreload_tasks.inputs.snapshot import COARSE_NS
from goreload_tasks.report import Report
from goreload_tasks.settings.schema import Rule


@dataclass(slots=True)
class Flight:
    """A rule's command under way: the number of this run, and when it began, in ns of the wall clock.

    rules: what is to follow, as each of the files that called for it has it.
    """

    rules: frozenset[Rule]
    files: tuple[str, ...]
    job: Job
    run: int
    began_ns: int

    def write(self, path: str) -> loops.Write | None:
        """A change of a file as one that this run may have made; None: it cannot have. Its bytes are not known."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        at = max(status.st_mtime_ns, status.st_ctime_ns)
        if at < self.began_ns - COARSE_NS:
            return None
        return loops.Write(self.run, (at - self.began_ns) / 1e9, status.st_size, status.st_size)


class Writers:
    """The trails of one service's files.

    Args:
        still: called with a file that stands still after changes that did not count; they count now.
    """

    def __init__(self, report: Report, still: Callable[[str], None]) -> None:
        self._report = report
        self._stands_still = still
        self._trails: dict[tuple[str, str], loops.Trail] = {}  # writer and file
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def owe(self) -> bool:
        """Is there a change that did not count?"""
        return any(trail.named or trail.owed for trail in self._trails.values())

    def counts(self, writer: str, file: str, write: loops.Write | None) -> bool:
        """Does a change count? Not that of a file which its writer, one of ours, writes again and again."""
        key = writer, file
        trail, verdict = loops.step(self._trails.pop(key, None), write, time.monotonic())
        if trail:
            self._trails[key] = trail
        if verdict == "named":
            text = (
                f"{file} is written at each start by {writer}: it is ignored until it stands still for "
                f"{loops.STILL:.0f} s; `watch.ignore` takes it out for good"
                if writer == "the app"
                else f"{writer} writes {file}, which calls for {writer}: it is not run again for that"
            )
            self._report.warn("loop", text, writer=writer, file=file)
        if timer := self._timers.pop(file, None):
            timer.cancel()
        if trail and trail.owed:
            self._timers[file] = asyncio.get_running_loop().call_later(loops.STILL, self._still, file)
        return verdict == "counts"

    def _still(self, file: str) -> None:
        del self._timers[file]
        self._stands_still(file)
