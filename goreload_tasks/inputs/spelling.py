"""Names that are not UTF-8: the go command's JSON has U+FFFD for each byte of them that is not (encoding/json)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from goreload_tasks.inputs.golist import Listing

LOST = "\ufffd"
LOST_IN_JSON = rb"\ufffd"
"""As the go command writes it: escaped."""

_BYTE = re.compile("[\udc80-\udcff]")  # PEP 383: what such a byte is to us


def spelled(listing: Listing) -> Listing:
    """The same with the paths that are really there."""
    packages = {
        path: replace(
            package,
            folder=next(_real(package.folder)),
            files=_all(package.files),
            left_out=_all(package.left_out),
            tests=_all(package.tests),
        )
        for path, package in listing.packages.items()
    }
    return replace(listing, packages=packages, extra=_all(listing.extra), wanted=_all(listing.wanted))


def _all(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(real for path in paths for real in _real(path))


def _real(path: str) -> Iterator[str]:
    """The paths that may be meant; the path itself when none is there."""
    found = [""]
    for part in path.split(os.sep):
        names = _named(part, found) if LOST in part else ((folder, part) for folder in found)
        found = [f"{folder}{os.sep}{name}" for folder, name in names]
    return iter([one[1:] for one in found] or [path])


def _named(part: str, folders: Iterable[str]) -> Iterable[tuple[str, str]]:
    for folder in folders:
        try:
            names = os.listdir(folder[1:] or os.sep)
        except OSError:
            continue
        yield from ((folder, name) for name in names if _BYTE.sub(LOST, name) == part)
