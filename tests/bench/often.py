"""Question 3. How often to build: saves in a steady beat and in bursts, with each debounce and cooldown.

Without the gate, so that no request waits for a cooldown; asked every 20 ms. Builds are counted by a `go` of ours
before the real one; one that began and did not end well was cancelled (none of these fails to compile).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.bench import processes
from tests.bench.apps import make
from tests.bench.lab import CannotMeasureError, Data, Lab, Table, shown
from tests.bench.ledger import Builds, Ledger
from tests.bench.plots import Canvas
from tests.bench.tools import Running, ours
from tests.hammer import Hammer, Saves


@dataclass(frozen=True, slots=True)
class Pattern:
    """So many saves, `apart` seconds apart, begin every `every` seconds."""

    name: str
    every: float
    saves: int = 1
    apart: float = 0.0


BURST = Pattern("burst", 5.0, 5, 0.25)
"""Five saves within a second, as an editor with a formatter and a person with second thoughts."""

PATTERNS = (*(Pattern(f"every {every} s", every) for every in (1, 3, 10, 30)), BURST)

SETTINGS = (*((debounce, 0) for debounce in (0, 150, 300, 600)), (150, 5), (150, 30))
"""Debounce in ms and cooldown in s: one is changed while the other is what it is by default."""


def measure(lab: Lab) -> Data:
    """Every setting with every pattern."""
    patterns = lab.pick((Pattern("every 1 s", 1), BURST), PATTERNS)
    settings = lab.pick(((150, 5),), SETTINGS)
    place = lab.folder("often")
    ledger = Ledger(lab.folder("often/ledger"))
    app = make(place / "app", lab.framework, 3)
    rows: list[Data] = []
    for debounce, cooldown in settings:
        tool = ours("ours", "direct", GORELOAD_RELOAD_DEBOUNCE=f"{debounce}ms", GORELOAD_RELOAD_COOLDOWN=f"{cooldown}s")
        saves = Saves(place / "saves", 10_000)
        app.save(saves, "main")
        with Running(ledger.of(tool), app) as running:
            running.up(lab.pick(60, 300))
            processes.quiet(running.mark, 1.0, lab.pick(3, 300))
            for pattern in patterns:
                lab.say(f"debounce {debounce} ms, cooldown {cooldown} s, {pattern.name}")
                found = _pattern(lab, running, saves, ledger, pattern, cooldown)
                rows.append({"pattern": pattern.name, "debounce_ms": debounce, "cooldown_s": cooldown, **found})
        saves.close()
    return {"rows": rows, "resolution_ms": 20}


def _pattern(lab: Lab, running: Running, saves: Saves, ledger: Ledger, pattern: Pattern, cooldown: float) -> Data:
    """Save in this pattern for a while, and wait for the last answer."""
    ledger.take()
    begun: dict[int, int] = {}
    rounds = max(lab.pick(4, 60) / pattern.every, lab.pick(1, 3))
    with Hammer(lab.hammer, running.port, saves, "0", "20ms", "100") as client:
        client.wait(0, 10)
        with processes.Meter(running.mark) as meter:
            start = time.monotonic()
            for turn in range(round(rounds)):
                for number in range(pattern.saves):
                    time.sleep(max(0.0, start + turn * pattern.every + number * pattern.apart - time.monotonic()))
                    at = running.app.save(saves, "main")
                    begun[saves.number] = at
            if client.wait(saves.number, cooldown + 30) is None:
                raise CannotMeasureError(f"no answer to save {saves.number} ({pattern.name}, cooldown {cooldown} s)")
            processes.quiet(running.mark, 0.3, 3)
        answered = [client.wait(number, 0) or 0 for number in begun]
    builds: Builds = ledger.take()
    return {
        "saves": len(begun),
        "seconds": meter.seconds,
        "cpu_percent": 100 * meter.cpu / meter.seconds,
        "peak_rss_mb": meter.peak_rss / 1e6,
        "builds": builds.begun,
        "well": builds.well,
        "ms": [(at - began) / 1e6 for at, began in zip(answered, begun.values(), strict=True)],
    }


def tables(data: Data) -> list[Table]:
    """One per pattern."""
    made = []
    for pattern in dict.fromkeys(row["pattern"] for row in data["rows"]):
        rows = [
            [
                f"{row['debounce_ms']} ms, {row['cooldown_s']} s",
                f"{row['well'] / row['builds']:.0%}" if row["builds"] else "-",
                f"{row['builds'] / row['saves']:.2f}",
                str(row["builds"]),
                f"{row['cpu_percent']:.0f}",
                f"{row['peak_rss_mb']:.0f}",
                shown(row["ms"]),
            ]
            for row in data["rows"]
            if row["pattern"] == pattern
        ]
        head = ["debounce, cooldown", "ended well", "builds a save", "builds", "CPU %", "peak MB", "ms to answer"]
        made.append(Table(f"How often to build: {pattern}", head, rows, ["100 % is one core"]))
    made[-1] = Table(made[-1].title, made[-1].head, made[-1].rows, [
        *made[-1].notes, f"asked every {data['resolution_ms']} ms; a save counts as answered when it or a newer one is",
        "known claim to check: every 10, 30, 60 s: 78, 65, 54 % CPU, 3.2, 2.5, 2.1 GB, 82, 91, 95 % end well",
    ])  # fmt: skip
    return made


def draw(data: Data, canvas: Canvas) -> None:
    """A panel per measure, a bar per setting, one picture per pattern."""
    for pattern in dict.fromkeys(row["pattern"] for row in data["rows"]):
        rows = {
            f"debounce {row['debounce_ms']} ms, cooldown {row['cooldown_s']} s": row
            for row in data["rows"]
            if row["pattern"] == pattern
        }
        panels = {
            "ms to answer": {name: row["ms"] for name, row in rows.items()},
            "builds a save": {name: [row["builds"] / row["saves"]] for name, row in rows.items()},
            "CPU, % of a core": {name: [row["cpu_percent"]] for name, row in rows.items()},
            "peak memory, MB": {name: [row["peak_rss_mb"]] for name, row in rows.items()},
        }
        canvas.bars(f"often-{pattern.replace(' ', '-')}", f"How often to build: {pattern}", panels)
