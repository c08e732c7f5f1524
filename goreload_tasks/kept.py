"""What one run keeps for the next: what was asked of the go command, what was found out at rest, the binary."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from goreload_tasks.store import FRESH, discard, entered, private


class Learned:
    """What was found out at rest about building a service, kept for the next start.

    Args:
        path: of the file that keeps it.
        key: a name for the way of building: toolchain, flags, variables. What was learned of another is forgotten.
    """

    def __init__(self, path: str, key: str) -> None:
        self._path = path
        self._key = key
        said = recall(path)
        if said.get("key") != key:
            said = {}
        self.lean: bool = said.get("lean") is True
        """Everything has been compiled without DWARF: see `command.LEAN`."""
        self.offered = frozenset(map(str, offered if isinstance(offered := said.get("offered"), list) else ()))
        """Tags that were offered to the person, or are not worth it."""
        self.verified = _count(said, "verified")
        """Direct builds that `go build` has proved right."""
        self.lagging = _count(said, "lagging")
        """Those whose lines lagged, as was said: another binary was expected, and they are neither."""
        self.different = _count(said, "different")
        """Those that were wrong."""

    def learn(self, *, lean: bool = False, offered: Iterable[str] = (), outcome: str = "") -> None:
        """Know more from now on. `outcome`: of `Verified`."""
        self.lean |= lean
        self.offered |= frozenset(offered)
        self.verified += outcome == "equal"
        self.lagging += outcome == "expected"
        self.different += outcome == "different"
        said = {"lean": self.lean, "offered": sorted(self.offered)}
        counts = {"verified": self.verified, "lagging": self.lagging, "different": self.different}
        keep(self._path, {"key": self._key, **said, **counts})


class Last:
    """A binary that is kept for the next start, under a name for all that it was made of.

    Args:
        path: where it is kept; what it was made of is written beside it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._note = f"{path}.json"

    def keep(self, binary: str, about: str) -> None:
        """Keep a binary that is never written again: another name for the same file.

        Raises:
            OSError: that cannot be, on this file system say. Then none is kept.
        """
        fresh = self._path + FRESH
        discard(fresh)
        _link(binary, fresh)
        with open(fresh, "rb", opener=private) as file:
            os.fsync(file.fileno())  # the note must not outlive it where the machine loses power
            status = os.fstat(file.fileno())
        self.forget()  # the note first: it must never speak of another
        with entered(os.path.dirname(fresh)) as at:
            os.replace(os.path.basename(fresh), os.path.basename(self._path), src_dir_fd=at, dst_dir_fd=at)
        keep(self._note, {"about": about, "file": _file(status)})

    def forget(self) -> None:
        """Keep none."""
        discard(self._note)
        discard(self._path)

    def take(self, about: str, out: str) -> bool:
        """Put it where a build would, if it was made of just this. Not the one that a repository brings as a link."""
        said = recall(self._note)
        try:
            with entered(os.path.dirname(self._path)) as at:
                status = os.stat(os.path.basename(self._path), dir_fd=at, follow_symlinks=False)
            if said.get("about") != about or not stat.S_ISREG(status.st_mode) or said.get("file") != _file(status):
                return False
            _link(self._path, out)
        except OSError:
            return False
        return True


def _link(path: str, to: str) -> None:
    """Give a file of ours another name in a folder of ours."""
    with entered(os.path.dirname(path)) as one, entered(os.path.dirname(to)) as other:
        os.link(os.path.basename(path), os.path.basename(to), src_dir_fd=one, dst_dir_fd=other, follow_symlinks=False)


def _file(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _count(said: Mapping[str, Any], name: str) -> int:
    return value if isinstance(value := said.get(name), int) else 0


def keep(path: str, said: Mapping[str, object]) -> None:
    """Write what we know for the next run, whole or not at all; what cannot be written is found out again.

    Only into a folder of ours that is there already.
    """
    fresh = path + FRESH
    with contextlib.suppress(OSError):
        try:
            with open(fresh, "w", encoding="utf-8", errors="surrogateescape", opener=private) as stream:
                json.dump(said, stream, ensure_ascii=False)
            os.replace(fresh, path)
        except OSError:
            discard(fresh)  # half written: the disk is full


def recall(path: str) -> dict[str, Any]:
    """What an earlier run has kept; empty: nothing that can be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=private) as stream:
            said = json.load(stream)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
