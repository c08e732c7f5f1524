"""PURE. What a listing brings to light that no look could tell, and what looks have noted for it.

A look compares what is known; a listing makes more known, and takes its time. In between the build may have begun anew,
and read what the listing is about: then there is nothing to tell. All moments are ns of the wall clock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from goreload_tasks.inputs.golist import may_be_test
from goreload_tasks.inputs.places import Inputs
from goreload_tasks.inputs.snapshot import COARSE_NS
from goreload_tasks.settings.schema import Rule


@dataclass(frozen=True, slots=True)
class Noted:
    """By looks, for the next listing: paths, and when each was noticed.

    came: they called for it. doubtful: sources of which it is to say whether the build reads them. wrong: those of them
    that a build may have found a mistake in before.
    """

    came: Mapping[str, int] = field(default_factory=dict)
    doubtful: Mapping[str, int] = field(default_factory=dict)
    wrong: frozenset[str] = frozenset()

    def __or__(self, more: Noted) -> Noted:
        return Noted({**self.came, **more.came}, {**self.doubtful, **more.doubtful}, self.wrong | more.wrong)


@dataclass(frozen=True, slots=True)
class Found:
    """By listings, for the next look.

    appeared: inputs that a listing or a build may have missed. entered: doubtful ones that the build reads, or is to
    refuse. mended: those that it does not read, and in which there may have been a mistake. again: list once more.
    """

    appeared: tuple[str, ...] = ()
    entered: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    again: bool = False

    def __add__(self, more: Found) -> Found:
        return Found(
            self.appeared + more.appeared,
            self.entered + more.entered,
            self.mended + more.mended,
            self.again or more.again,
        )


def sift(inputs: Inputs, clean: bool, written: Mapping[str, int], noted: Noted, began: int, build: int) -> Found:
    """What the next look is to count.

    Args:
        clean: the go command finds nothing wrong.
        written: those that are known from now on, and when each was written last.
        began: when the listing did.
        build: when the newest build did.
    """
    unread = [path for path, noticed in sorted(noted.doubtful.items()) if build <= noticed]
    # Where the listing went wrong, the build is to say why; but not of a test, without which the program is right.
    told = {path for path in unread if not clean and not may_be_test(os.path.basename(path))}
    entered = tuple(path for path in unread if path in inputs.build or path in told)
    mended = tuple(path for path in unread if path in noted.wrong and path not in inputs.build) if clean else ()
    first = min(began, build)
    fresh = {path: at for path, at in written.items() if at >= first - COARSE_NS}
    late = {path for path, at in fresh.items() if at < build - COARSE_NS and _only_builds(inputs.read.get(path))}
    # What was moved here with its folder is new, however old it is.
    moved = (path for path in sorted(written.keys() & inputs.read) if _moved(path, inputs.read[path], noted, build))
    appeared = dict.fromkeys(chain((path for path in fresh if path not in late), moved))
    # The build has read what was written before it began; the listing need not have.
    return Found(tuple(appeared), entered, mended, bool(late))


def _moved(path: str, rule: Rule, noted: Noted, build: int) -> bool:
    """Did a file come with a folder that was noticed, and has nobody read it since?"""
    above = (noticed for place, noticed in noted.came.items() if path.startswith(os.path.join(place, "")))
    return any(build <= noticed or not _only_builds(rule) for noticed in above)


def _only_builds(rule: Rule | None) -> bool:
    """Has whoever began a build after a change done all that it calls for?"""
    return rule is None or (rule.then == "rebuild" and not rule.command)
