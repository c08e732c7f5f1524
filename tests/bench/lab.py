"""What the questions share: the workshop, figures and tables."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from goreload_tasks.build.toolchain import find_go
from tests import hammer

T = TypeVar("T")

Framework = Literal["gin", "nethttp"]

Data = dict[str, Any]
"""What a question found: plain values, as they stand in the JSON."""


OUT = Path(".bench")
"""Where results go; git ignores it."""


class CannotMeasureError(Exception):
    """Something that must be there to be measured is not."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title. notes: what must be known to read it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        widths = [max(len(row[at]) for row in (self.head, *self.rows)) for at in range(len(self.head))]
        lines = [
            "  ".join(text.ljust(width) if not at else text.rjust(width) for at, (text, width) in enumerate(pairs))
            for pairs in (list(zip(row, widths, strict=True)) for row in (self.head, *self.rows))
        ]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), *(f"  {note}" for note in self.notes)])

    @property
    def markdown(self) -> str:
        """The same for a README."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows))


@dataclass(frozen=True)
class Lab:
    """Where it is measured.

    Args:
        scratch: a folder for everything that is made; it goes when all is over.
        quick: every question in a bounded form.
        runs: counted turns; None: as many as the question wants.
    """

    scratch: Path
    quick: bool
    runs: int | None = None
    began: float = field(default_factory=time.monotonic)

    def pick(self, quick: Any, full: Any) -> Any:
        """One or the other, as the form is."""
        return quick if self.quick else full

    @property
    def framework(self) -> Framework:
        """Of the programs: Gin, or in the quick form net/http alone, which links in half the time."""
        return "nethttp" if self.quick else "gin"

    def rounds(self, full: int, quick: int, seconds: float) -> Iterator[int]:
        """Numbers of turns. A quick form ends after so many seconds, but not before the first turn."""
        end = time.monotonic() + seconds
        for number in range(self.runs or self.pick(quick, full)):
            if number and self.quick and time.monotonic() > end:
                return
            yield number

    def folder(self, name: str) -> Path:
        """A new folder."""
        path = self.scratch / name
        path.mkdir(parents=True)
        return path

    @cached_property
    def hammer(self) -> Path:
        """The clients' program."""
        return hammer.build(self.scratch)

    def say(self, text: str) -> None:
        """What goes on, for a person who waits."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)


def spread(values: Sequence[float]) -> list[float]:
    """Least, median, most."""
    return [min(values), statistics.median(values), max(values)] if values else []


def ratios(ones: Sequence[float | None], others: Sequence[float | None]) -> list[float]:
    """Turn by turn, where both were measured."""
    return [one / other for one, other in zip(ones, others, strict=True) if one is not None and other]


def shown(values: Sequence[float], digits: int = 0, factor: float = 1.0) -> str:
    """A median with its range, or that there is none."""
    if not values:
        return "-"
    least, median, most = (f"{factor * value:.{digits}f}" for value in spread(values))
    return median if least == most else f"{median} ({least} - {most})"


def present(values: Sequence[float | None]) -> list[float]:
    """Those that were measured."""
    return [value for value in values if value is not None]


def in_turn(names: Sequence[T], number: int) -> list[T]:
    """The order of this turn: nobody is always first, and nobody always follows the same one."""
    at = number % len(names)
    order = [*names[at:], *names[:at]]
    return order if number % 2 else order[::-1]


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def until(true: Callable[[], object], what: str, deadline: float = 120.0, pause: float = 0.002) -> float:
    """Seconds until a condition holds.

    Raises:
        CannotMeasureError: it never did; `what` it was.
    """
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > deadline:
            raise CannotMeasureError(f"never came: {what}")
        time.sleep(pause)
    return time.perf_counter() - began


def machine(lab: Lab) -> Mapping[str, object]:
    """On what it was measured, and when."""
    go = subprocess.run([find_go(os.environ), "version"], capture_output=True, text=True, check=True).stdout.split()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "form": "quick" if lab.quick else "full",
        "processor": _first(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo")) or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": [round(load, 1) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "go": go[2].removeprefix("go"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("goreload-tasks", "invoke", "watchfiles")},
    }


def about(found: Mapping[str, Any]) -> str:
    """The same in a few words."""
    return (
        f"{found['date']}, {found['form']} form; {found['processor']}, {found['cores']} cores, "
        f"{found['memory_gib']} GiB, load {found['load'][0]} before; {found['system']}, Go {found['go']}, "
        f"Python {found['python']}, "
        f"goreload-tasks {found['goreload-tasks']}, invoke {found['invoke']}, watchfiles {found['watchfiles']}; "
        "processor time in ticks of 10 ms"
    )


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found[1] if found else ""
