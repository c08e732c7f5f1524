"""PURE. Who writes an input again and again: the app at each of its starts, or a rule in each of its runs.

Nobody can ask the kernel who wrote a file without being root, so several signs must come together, three runs in a row:
the file changed as long after the start as the time before, and the run has written at least as many bytes as that
takes. A loop goes on until it is found, so a sign that is missing by chance costs one more round. A person who is
suspected loses a save, so no sign is enough alone: who saves in step with the reloads has an app that wrote nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

THIRD = 3
"""Runs in a row after which it is a loop."""

WINDOW = 10.0
"""Seconds after the start of a run in which a change may be its own."""

ALIKE = 0.2
"""Seconds by which two runs may differ in when they write: a loaded machine's, while a person's differ by more."""

STILL = 10.0
"""Seconds without a change after which a file that was ignored counts again."""


@dataclass(frozen=True, slots=True)
class Write:
    """An input that changed while a run of ours was under way.

    run: its number; those that follow each other are one apart. after: seconds since its start. size: bytes of the file
    since. wrote: bytes that this run may have put into files up to now.
    """

    run: int
    after: float
    size: int
    wrote: int


@dataclass(frozen=True, slots=True)
class Trail:
    """What is known of one file. `until`: it is ignored up to then. `owed`: it then calls for what was kept back."""

    last: Write
    runs: int = 1
    named: bool = False
    until: float = float("-inf")
    owed: bool = False


Verdict = Literal["counts", "named", "ignored"]


def step(trail: Trail | None, write: Write | None, now: float) -> tuple[Trail | None, Verdict]:
    """A file changed: does that count, or is it a loop, to be named now or known already?

    Args:
        trail: what was known of the file; None: nothing.
        write: None: no run of ours was under way.
        now: seconds, monotonic.
    """
    if write is None or write.after > WINDOW or not _own(write, trail):
        return (replace(trail, until=now, owed=False) if trail and trail.named else None), "counts"
    if not write.size and not (trail and trail.named):  # seen half-way: what it is, the other half says
        return trail, "counts"
    if trail is None:
        return Trail(write), "counts"
    usual = write.run != trail.last.run and abs(write.after - trail.last.after) <= ALIKE
    if trail.named:
        return _known(trail, write, usual, now)
    if write.run == trail.last.run:  # the first one says when it writes
        return replace(trail, last=replace(write, after=trail.last.after)), "counts"
    if not usual or write.run != trail.last.run + 1:
        return Trail(write), "counts"
    if trail.runs + 1 < THIRD:
        return Trail(write, trail.runs + 1), "counts"
    return Trail(write, named=True, until=now + STILL), "named"


def _known(trail: Trail, write: Write, usual: bool, now: float) -> tuple[Trail, Verdict]:
    last = write if usual else replace(write, after=trail.last.after)
    if usual:
        return replace(trail, last=last, until=now + STILL, owed=False), "ignored"
    if now < trail.until:
        return replace(trail, last=last, until=now + STILL, owed=True), "ignored"
    return replace(trail, last=last), "counts"


def _own(write: Write, trail: Trail | None) -> bool:
    """Has the run written as many bytes as this takes at least: all of the file, or what it has grown by?"""
    if not write.size:
        return True
    if trail is None:
        return write.wrote > 0
    wrote = write.wrote - (trail.last.wrote if write.run == trail.last.run else 0)
    grown = write.size - trail.last.size
    return wrote >= (grown if grown > 0 else write.size)
