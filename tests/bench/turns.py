"""One tool, one save, one answer: what the questions about reloads are made of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.apps import App, Kind
from tests.bench.lab import Data, Lab, until
from tests.bench.tools import Running, Tool
from tests.hammer import Hammer, Saves

REST = 20.0
"""Seconds after which work that waits for rest has begun."""

ASKING = ("0", "2ms", "100")
"""How the client asks (tests/hammer): every 2 ms on a new connection while fewer than a hundred wait for an answer."""

AFTER = 0.05
"""Seconds that the client goes on asking after the answer."""


@dataclass(frozen=True, slots=True)
class Edit:
    """How it is saved: so many times, so many seconds apart, each in a place of this kind."""

    name: str
    kind: Kind
    saves: int = 1
    apart: float = 0.0


@dataclass(frozen=True, slots=True)
class Took:
    """One turn: milliseconds (None: never answered), what the client met, and seconds of processor time."""

    ms: float | None
    refused: int
    stale: int
    cut: int
    odd: int
    cpu: float


class Player:
    """A tool at work on its own copy of the program, with what it took so far."""

    def __init__(self, lab: Lab, tool: Tool, app: App) -> None:
        self.lab, self.app = lab, app
        self.saves = Saves(app.folder.with_suffix(".saves"), 10_000)
        self.running = Running(tool, app)
        self.took: dict[str, list[Took]] = {}

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.__exit__(kind, error, trace)
        self.saves.close()

    def turn(self, edit: Edit, deadline: float) -> Took:
        """Save, wait for the answer, wait until all is at rest."""
        mark = self.running.mark
        with Hammer(self.lab.hammer, self.running.port, self.saves, *ASKING) as client:
            client.wait(0, 10)
            before = processes.cpu(self.running.members)
            for number in range(edit.saves):
                if number:
                    time.sleep(edit.apart)
                began = self.app.save(self.saves, edit.kind)
            self.running.tell()
            at = client.wait(self.saves.number, deadline)
            time.sleep(AFTER)
        processes.quiet(mark, deadline=self.lab.pick(2, 10))
        used = processes.cpu(self.running.members) - before
        said = client.said
        ms = (at - began) / 1e6 if at else None
        return Took(ms, said["Refused"], said["Stale"], said["Cut"], said["Odd"], used)


def settle(lab: Lab, players: Iterable[Player]) -> None:
    """Wait until what a tool does at rest is done too, such as warming what later builds use."""
    for again in (False, True):
        for player in players:
            processes.quiet(player.running.mark, lab.pick(0.5, 1.0), lab.pick(3, 300))
        if again or lab.quick:
            return
        time.sleep(REST)


def columns(took: Sequence[Took]) -> Data:
    """Turn by turn, by what was measured."""
    return {name: [getattr(one, name) for one in took] for name in Took.__slots__}


def caught(player: Player) -> processes.Build:
    """The build that a save leads to, seen while it runs.

    Raises:
        CannotMeasureError: there was none.
    """
    seen: list[processes.Build] = []

    def look() -> bool:
        found = processes.build_of(player.running.mark)
        seen.extend([found] if found else [])
        return bool(found)

    player.app.save(player.saves, "main")
    until(look, "the build of a save by ours", 30)
    processes.quiet(player.running.mark)
    return seen[0]
