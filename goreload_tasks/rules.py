"""The commands of one service's rules: one at a time each, never begun by their own output, and what they hold up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from goreload_tasks.build.builder import Job, Result
from goreload_tasks.build.diagnostics import Problem
from goreload_tasks.errors import GoreloadError
from goreload_tasks.gateway.gate import Failed, Held, State
from goreload_tasks.inputs.selection import same
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.report import Report, exit_name
from goreload_tasks.settings.schema import Rule
from goreload_tasks.writers import Flight, Writers


class Rules:
    """The commands that are under way, and those that ended badly.

    Args:
        command: makes the job of a rule.
        start: runs a coroutine beside the loop.
        look: finds what a command wrote, as soon as that may be looked at.
        then: a command ended well: what follows, and the files that called for it.
        show: what `state` says is another.
    """

    def __init__(
        self,
        command: Callable[[Rule], Job],
        tree: Tree,
        writers: Writers,
        report: Report,
        start: Callable[[Coroutine[Any, Any, None]], object],
        look: Callable[[], Awaitable[None]],
        then: Callable[[set[str], tuple[str, ...]], None],
        show: Callable[[], None],
    ) -> None:
        self._command = command
        self._tree = tree
        self._writers = writers
        self._report = report
        self._start = start
        self._look = look
        self._then = then
        self._show = show
        # All by `same`: what follows a command depends on the file.
        self._under_way: dict[Rule, Flight] = {}
        self._refused: dict[Rule, tuple[Flight, Result]] = {}
        self._runs: Counter[Rule] = Counter()

    @property
    def state(self) -> State | None:
        """What whoever is at the gate waits for, or is told; None: nothing of rules."""
        if self._refused:
            rule, (_, result) = next(iter(self._refused.items()))
            return Failed((Problem("", 0, 0, result.text.strip() or exit_name(result.code)),), rule.name)
        return Held(next(iter(self._under_way)).name) if self._under_way else None

    def begin(self, called: Mapping[Rule, tuple[str, ...]]) -> None:
        """Run the commands of these rules for these files, each once."""
        for key in dict.fromkeys(map(same, called)):
            rules = frozenset(rule for rule in called if same(rule) == key)
            self._begin(key, rules, tuple(file for rule in called if rule in rules for file in called[rule]))

    def _begin(self, key: Rule, rules: frozenset[Rule], files: tuple[str, ...]) -> None:
        """Run one; that of it which is under way is cancelled, since it may have read what was there before."""
        if before := self._under_way.get(key):
            count = [self._writers.counts(key.name, file, before.write(self._tree.path(file))) for file in files]
            if not any(count):
                return
            before.job.cancel()
        for owed in (before, self._refused.get(key, (None,))[0]):
            if owed:
                rules, files = rules | owed.rules, tuple(dict.fromkeys((*owed.files, *files)))
        self._runs[key] += 1
        self._under_way[key] = flight = Flight(rules, files, self._command(key), self._runs[key], time.time_ns())
        self._start(self._run(key, flight, before))
        self._show()

    def again(self) -> None:
        """Run once more what ended badly."""
        for key, (flight, _) in list(self._refused.items()):
            self._begin(key, flight.rules, flight.files)

    def kill(self) -> None:
        """End what is under way, without grace."""
        for flight in self._under_way.values():
            flight.job.kill()

    async def _run(self, key: Rule, flight: Flight, before: Flight | None) -> None:
        if before:  # one at a time: what is cancelled may take a moment to end
            await before.job.gone.wait()
            flight.began_ns = time.time_ns()
        try:
            result = await flight.job.run()
        except GoreloadError as error:  # it was there at the start
            result = Result(1, str(error), 0.0)
        if result.cancelled:
            return
        self._report.rule(key.name, flight.files, result)
        await self._look()  # what it wrote is news; while it counts as under way, to itself it is an echo
        if self._under_way.get(key) is flight:
            del self._under_way[key]
            self._refused.pop(key, None)
            if result.code:
                self._refused[key] = (flight, result)
            else:
                self._then({rule.then for rule in flight.rules}, flight.files)
        self._show()
