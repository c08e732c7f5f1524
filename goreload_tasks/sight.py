"""What one service sees of its inputs: it looks, has them listed, and says what that calls for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol

from goreload_tasks import cycle
from goreload_tasks.build.builder import Job
from goreload_tasks.gateway.front import Front
from goreload_tasks.gateway.gate import Held, State
from goreload_tasks.inputs.tree import Tree, Window
from goreload_tasks.launch import Launch
from goreload_tasks.report import Report
from goreload_tasks.rules import Rules
from goreload_tasks.settings.schema import Rule
from goreload_tasks.writers import Writers

LIST_BEAT = 2.0
"""Seconds after which a listing that could not be asked for is asked for again."""

VERDICTS: tuple[Literal["rebuild", "restart"], ...] = ("rebuild", "restart")


class Owner(Protocol):
    """The service whose inputs these are."""

    @property
    def window(self) -> Window:
        """When its newest build read them."""
        ...

    @property
    def running(self) -> Launch | None:
        """The newest launch of its app."""
        ...

    def handle(self, event: cycle.Event) -> None: ...

    def mended(self, files: tuple[str, ...]) -> None:
        """A build that failed, or will, may have done so for a header that was wrong in these files."""
        ...

    def show(self) -> None:
        """What `Sight.waits` says is another."""
        ...

    def rest(self) -> None:
        """There may be nothing left to do."""
        ...


class Sight:
    """The eyes of one service.

    Args:
        command: makes the job of a rule.
        front: the port that people know, where it is ours.
        known: the inputs are, from an earlier run.
    """

    def __init__(
        self,
        owner: Owner,
        tree: Tree,
        report: Report,
        command: Callable[[Rule], Job],
        front: Front | None,
        known: bool,
    ) -> None:
        self._owner = owner
        self._tree = tree
        self._report = report
        self._front = front
        self._listed = self._listing = not known
        self._unlisted = False  # the newest listing could not be asked for
        self._waits_for = ""
        self._free = asyncio.Event()  # `_waits_for` is empty, or nobody wants to know
        self._free.set()
        self._over = False  # nobody wants to know any more
        self._writers = Writers(report, self._stands_still)
        self._rules = Rules(
            command,
            tree,
            self._writers,
            report,
            start=self._beside,
            look=self._look_when_free,
            then=self._after_rule,
            show=owner.show,
        )

    def begin(
        self,
        tell: Callable[[cycle.Event], None],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        relist: Callable[[], None],
        git_works: Callable[[], bool],
    ) -> None:
        """Begin to see; the arguments are those of `Service.begin`."""
        self._tell, self._start, self._relist, self._git_works = tell, start, relist, git_works
        if self._listed:  # until then nobody watches all that may matter
            relist()

    @property
    def waits(self) -> State | None:
        """What whoever is at the gate waits for, or is told; None: nothing of the inputs."""
        if self._waits_for:
            return Held(self._waits_for)
        if ruled := self._rules.state:
            return ruled
        return Held("the list of its inputs") if self._listing else None

    def settled(self) -> bool:
        """Are the inputs as the newest look found them, with nothing to follow from that?"""
        owed = self._rules.state or self._writers.owe or self._listing or self._waits_for
        return not owed and self._tree.still()

    async def free(self) -> None:
        """Wait while git writes the inputs."""
        await self._free.wait()

    def again(self) -> None:
        """Run once more the commands of rules that ended badly."""
        self._rules.again()

    def end(self) -> None:
        """Nothing is waited for any more."""
        self._over = True
        self._free.set()

    def kill(self) -> None:
        """End the commands of rules, without grace."""
        self._rules.kill()

    # Listing.

    async def list(self) -> None:
        """Find out anew what the inputs are."""
        began = time.monotonic()
        before = self._tree.listing.goflags
        try:
            await self._tree.list(lambda: self._owner.window[0])
        except OSError as error:
            if not self._unlisted:
                why = f"cannot list the inputs: {error.strerror}: {error.filename}"
                self._report.warn("list", f"{why}; tried again every {LIST_BEAT:.0f} s")
            self._unlisted = True
            self._start(self._list_later())
        else:
            self._report.listed(time.monotonic() - began)
            now = self._tree.listing.goflags
            if before is not None and now != before:
                self._report.warn("goflags", f"GOFLAGS is {now or 'empty'} now: start again for all of it to count")
            if self._unlisted:  # nor could it be built
                self._unlisted = False
                self._report.about(["go"])
                self._owner.handle(cycle.Changed("rebuild"))

    async def _list_later(self) -> None:
        await asyncio.sleep(LIST_BEAT)
        self._relist()

    def list_at_last(self) -> None:
        """What was recalled for the start is asked for again beside the running app."""
        if not self._listed and not self._over:
            self._listed = True
            self._relist()

    def listed(self, again: bool) -> bool:
        """The new inputs are watched: look for what happened before. True: list them again.

        Args:
            again: it was asked for meanwhile.
        """
        self._listing = again
        again |= self.look()
        self._owner.show()
        return again

    # Looking.

    def hold(self, what: str) -> None:
        """Look at nothing and let nobody in until `resume`. `what`: is waited for, as in `Held`."""
        self._waits_for = what
        if not self._over:
            self._free.clear()
        self._owner.show()

    def resume(self) -> bool:
        """Look once at all that was kept back. True: list the inputs again."""
        self._waits_for = ""
        again = self.look()  # before anything that waits is told of what was there before
        if not self._waits_for:
            self._free.set()
        self._owner.show()
        return again

    def look(self, paths: Sequence[str] = ()) -> bool:
        """Compare the inputs with what they were, at the paths of a hint or everywhere. True: list them again."""
        if self._waits_for or self._git_works():
            return False
        finding = self._tree.look(self._owner.window, paths)
        self._rules.begin({rule: left for rule, files in finding.rules.items() if (left := self._without_loops(files))})
        if finding.verdict == "refresh":
            self._report.refresh(finding.files, self._front is not None and not self._front.whole)
            if self._front:
                self._front.refresh(finding.files)
        elif finding.verdict and (files := self._without_loops(finding.files)):
            self._report.about(files)
            self._report.noticed(_age(self._tree.path(files[0])))
            self._owner.handle(cycle.Changed(finding.verdict))
        if finding.mended:
            self._owner.mended(finding.mended)
        if finding.relist:  # until it is known what the new names mean, nothing is known to be up to date
            self._listing = True
            self._owner.show()
        return finding.relist

    def _without_loops(self, files: tuple[str, ...]) -> tuple[str, ...]:
        """The files that changed, without those that the app writes at each of its starts."""
        if (launch := self._owner.running) is None:
            return files
        return tuple(
            file for file in files if self._writers.counts("the app", file, launch.write(self._tree.path(file)))
        )

    def _stands_still(self, file: str) -> None:
        """What was kept back of a file that was ignored counts now, whoever wrote it."""
        self._report.about([file])
        self._tell(cycle.Changed("rebuild"))
        self._tell(cycle.Changed("restart"))

    def _after_rule(self, then: set[str], files: tuple[str, ...]) -> None:
        """The command of a rule has run: do what follows."""
        if "refresh" in then and self._front:
            self._front.refresh(files)
        for verdict in VERDICTS:
            if verdict in then:
                self._report.about(files)
                self._owner.handle(cycle.Changed(verdict))
        self._owner.rest()

    def _beside(self, run: Coroutine[Any, Any, None]) -> None:
        self._start(run)

    def look_again(self) -> None:
        """Look everywhere, and list where that calls for it."""
        if self.look():
            self._relist()

    async def _look_when_free(self) -> None:
        while True:
            await self._free.wait()
            self.look_again()
            if self._free.is_set():  # else the look met git at work
                return


def _age(path: str) -> float | None:
    """Seconds since a file was written or came to where it is; None: it is gone."""
    try:
        return max(0.0, time.time() - os.stat(path).st_ctime_ns / 1e9)
    except (OSError, ValueError):
        return None
