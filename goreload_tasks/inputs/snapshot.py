"""What every input contained when last looked at: events are hints, this is the truth."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from goreload_tasks.inputs.shape import shape

BLOCK = 1024 * 1024

COARSE_NS = 20_000_000
"""Files are stamped with the kernel's tick, up to 10 ms behind the clock: a stamp this close to another moment says
nothing about which came first, so the content is read again (git calls such an entry racy)."""


class Stamp(NamedTuple):
    """What the file system says of a file without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Entry(NamedTuple):
    """A file as it was. `stamp` None: it was not there, or is nothing that can be read.

    settled: it was read long enough after it was written for its stamp to be trusted.
    """

    stamp: Stamp | None
    settled: bool = False
    digest: bytes = b""
    shape: bytes = b""


@dataclass(frozen=True, slots=True)
class Look:
    """What differs from the time before.

    touched: the file was written (its ctime is given) and its content is as before.
    names: folders in which names came or went: all names that did. replaced: folders that went, came back, or are
    others now under the same path.
    """

    changed: tuple[str, ...] = ()
    shapes: frozenset[str] = frozenset()
    touched: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()


ABSENT = Entry(None)


def read(path: str, entry: Entry = ABSENT) -> Entry:
    """Look at one file, reading it only when its stamp differs or is too young to trust."""
    now = time.time_ns()
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    if not stat.S_ISREG(status.st_mode):  # a FIFO or a device must never be opened: it would hang
        return ABSENT
    stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    if stamp == entry.stamp and entry.settled:
        return entry
    hashed = hashlib.blake2b(digest_size=16)
    source = b""
    try:
        with open(path, "rb", buffering=0) as file:
            if path.endswith(".go"):
                source = file.read()
                hashed.update(source)
            else:
                while block := file.read(BLOCK):
                    hashed.update(block)
    except OSError:
        return ABSENT
    digest = hashed.digest()
    settled = now - max(stamp.mtime_ns, stamp.ctime_ns) > COARSE_NS
    if digest == entry.digest:
        return Entry(stamp, settled, digest, entry.shape)
    return Entry(stamp, settled, digest, shape(source) if path.endswith(".go") else b"")


class Snapshot:
    """Remembers files and the names in folders.

    Args:
        contents: what all who look at the same files have read of them, so that each file is read once.
    """

    def __init__(self, contents: dict[str, Entry] | None = None) -> None:
        self._contents = contents
        self._files: dict[str, Entry] = {}
        self._asked: Iterable[str] = ()
        self._groups: dict[str, list[str]] = {}
        self._expected: dict[str, list[tuple[str, int, int, str]]] = {}
        self._folders: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}

    def prime(self, files: Iterable[str], before: Mapping[str, Entry] | None = None) -> dict[str, Entry]:
        """Read files that are not known yet; safe beside `look` in another thread: nothing is remembered.

        Args:
            before: how an earlier run knew them; one whose stamp is the same is not read again.
        """
        earlier = before or {}
        return {path: self._read(path, earlier.get(path, ABSENT)) for path in files if path not in self._files}

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is known of each file."""
        return self._files

    def adopt(self, entries: Mapping[str, Entry]) -> dict[str, int]:
        """Remember what `prime` read. Returns when files that were not known were written last, in ns."""
        fresh = {path: entry for path, entry in entries.items() if path not in self._files}
        for path, entry in fresh.items():
            self._know(path, entry)
        return {path: max(entry.stamp.ctime_ns, entry.stamp.mtime_ns) for path, entry in fresh.items() if entry.stamp}

    def take(self, files: Iterable[str]) -> None:
        """Remember files as they are now, whatever was known of them."""
        for path in files:
            self._know(path, self._read(path))

    def forget(self, files: Iterable[str]) -> None:
        """Know no more of files: the next time that one of them is looked at is the first."""
        for path in files:
            self._files.pop(path, None)
            self._expected.pop(os.path.dirname(path), None)

    def look(self, files: Iterable[str], folders: Iterable[str]) -> Look:
        """Compare with the time before. A file or folder seen for the first time is remembered and is no change."""
        changed: list[str] = []
        shapes: set[str] = set()
        touched: dict[str, int] = {}
        known = self._files
        for path in self._restless(files):
            before = known.get(path)
            entry = self._read(path, before or ABSENT)
            if entry is before:
                continue
            self._know(path, entry)
            if before is None:
                continue
            if entry.digest != before.digest:
                changed.append(path)
                if entry.shape != before.shape or not (entry.digest and before.digest):
                    shapes.add(path)
            elif entry.stamp and entry.stamp != before.stamp:
                touched[path] = max(entry.stamp.ctime_ns, entry.stamp.mtime_ns)
        return Look(tuple(changed), frozenset(shapes), touched, *self._look_into(folders))

    def _read(self, path: str, entry: Entry = ABSENT) -> Entry:
        if self._contents is None:
            return read(path, entry)
        found = self._contents[path] = read(path, self._contents.get(path, entry))
        return found

    def still(self, files: Iterable[str]) -> bool:
        """Has none of them been written since the last look, whatever its content? Nothing is remembered."""
        known = ((self._files.get(path, ABSENT), path) for path in self._restless(files))
        return all(_same(read(path, entry), entry) for entry, path in known)

    def news(self, folders: Iterable[str]) -> Iterator[str]:
        """What came or went there since the last look. Nothing is remembered."""
        for folder in folders:
            before = self._folders.get(folder)
            if before is None or not _settled(before[0], _stamp(folder)):
                names = before[1] if before else frozenset()
                yield from (os.path.join(folder, name) for name in names ^ _names(folder))

    def _restless(self, files: Iterable[str]) -> list[str]:
        """Those that are not settled, or whose stamp is another: the few that are worth a closer look.

        Thousands of files are asked about each time: a path is walked once per folder, what is compared lies together
        in memory, and nothing is made. Whatever changes a file changes its ctime (POSIX, 4.9).
        """
        if files is not self._asked:
            self._asked, self._groups, self._expected = files, _by_folder(files), {}
        restless: list[str] = []
        stat_of = os.stat
        for folder, paths in self._groups.items():
            expected = self._expected.get(folder)
            if expected is None:
                expected = self._expected[folder] = [self._expect(path) for path in paths]
            try:
                at = os.open(folder, _ENTER)
            except (OSError, ValueError):
                restless += paths
                continue
            for name, ctime_ns, inode, path in expected:
                try:
                    now = stat_of(name, dir_fd=at)
                    if now.st_ctime_ns == ctime_ns and now.st_ino == inode:
                        continue
                except (OSError, ValueError):
                    pass
                restless.append(path)
            os.close(at)
        return restless

    def _expect(self, path: str) -> tuple[str, int, int, str]:
        """A file's name, and the ctime and inode that it has unless something happened; -1: look closer anyway."""
        entry = self._files.get(path, ABSENT)
        at = (entry.stamp.ctime_ns, entry.stamp.inode) if entry.stamp and entry.settled else (-1, -1)
        return os.path.basename(path), *at, path

    def _know(self, path: str, entry: Entry) -> None:
        self._files[path] = entry
        self._expected.pop(os.path.dirname(path), None)

    def _look_into(self, folders: Iterable[str]) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """The names that came or went, by folder, and the folders that are others now."""
        found = {folder: self._differ(folder) for folder in folders}
        names = {folder: names for folder, (names, _) in found.items() if names}
        return names, frozenset(folder for folder, (_, another) in found.items() if another)

    def names(self, folder: str) -> frozenset[str]:
        """The names in a folder when it was last looked at, or now."""
        if folder not in self._folders:
            self._differ(folder)
        return self._folders[folder][1]

    def _differ(self, folder: str) -> tuple[frozenset[str], bool]:
        """The names that came or went in a folder, read again only when it was written, and whether it is another."""
        stamp = (*_stamp(folder), time.time_ns())
        before = self._folders.get(folder)
        if before and _settled(before[0], stamp[:2]):
            return frozenset(), False
        names = _names(folder)
        self._folders[folder] = (stamp, names)
        return (names ^ before[1], stamp[1] != before[0][1]) if before else (frozenset(), False)


_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""To stand in a folder; O_PATH needs no right to list it (open(2), Linux)."""


def _stamp(folder: str) -> tuple[int, int]:
    """Its ctime and inode; not mtime: it may have become readable."""
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return 0, 0
    return status.st_ctime_ns, status.st_ino


def gone(absent: Iterable[str], since_ns: int) -> list[str]:
    """Those that may have left their folder since: it was written, and they are not there, readable or not."""
    written = (path for path in absent if _stamp(os.path.dirname(path))[0] >= since_ns - COARSE_NS)
    return [path for path in written if not os.path.lexists(path)]


def _same(one: Entry, other: Entry) -> bool:
    return one.stamp == other.stamp and one.digest == other.digest


def _settled(before: tuple[int, int, int], now: tuple[int, int]) -> bool:
    """Is it the same folder still, with the same names, seen long enough after it was written?"""
    return before[:2] == now and before[2] - now[0] > COARSE_NS


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _by_folder(files: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in sorted(files):
        groups.setdefault(os.path.dirname(path), []).append(path)
    return groups


def upwards(paths: Iterable[str]) -> frozenset[str]:
    """The paths and all folders above them."""
    found: set[str] = set()
    for path in paths:
        above = path
        while above not in found:
            found.add(above)
            above = os.path.dirname(above)
    return frozenset(found)
