"""Git at work: while it writes the tree, what is there is neither the old state nor the new.

What git 2.39 does, as inotify and strace show it: each command that writes the tree (checkout, switch, restore, reset,
merge, rebase, am, cherry-pick, stash, bisect, pull) first creates `index.lock`, empty, in the git folder of its
worktree; then writes all files; then the index into the lock, which it renames. So an empty lock is git at work, and
the tree is whole once it goes. A lock with content is none: the tree is done, or it is a `git commit -a` whose editor
is open. `git status` holds an empty lock too, for some milliseconds, and writes no file. The other locks (HEAD.lock,
packed-refs.lock, config.lock) come when the tree is whole. A worktree's and a submodule's lock and rebase folder are
in a git folder of their own, so the common one is not asked for.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence

LOCK = "index.lock"

SERIES = ("rebase-merge", "rebase-apply", "sequencer")
"""Folders in the git folder while commits are taken one by one; they stay when that stops on a conflict."""

GAP = 0.5
"""Seconds after git wrote files in which the next commit of a series may follow. Measured: 15 to 130 ms, under load.
After that the series has stopped: the person is to mend a conflict, and sees what the compiler says of it."""

REST = 0.03
"""Seconds after which it is looked at what git wrote. A file is stamped up to a tick late, so a build begun at once
could not be told to have read the last ones (see COARSE_NS), and would be made again. Nobody is let in meanwhile."""

PATIENCE = 10.0
"""Seconds after which a lock that no process has open is taken for one that a git left which was killed."""


class Repository:
    """What is known of one git folder.

    Args:
        left: told the path of a lock that is waited for no more.
    """

    def __init__(self, folder: str, left: Callable[[str], None]) -> None:
        self._folder = folder
        self._path = os.path.join(folder, LOCK)
        self._left = left
        self._lock: tuple[int, int] | None = None
        self._ignored: tuple[int, int] | None = None
        self._patient_until = 0.0
        self._locked = float("-inf")  # when the lock was last seen, or told to have been there
        self._wrote = False  # files, under the lock
        self._done = float("-inf")  # when that lock was seen to be gone

    def busy(self, paths: Sequence[str], changed: bool, now: float) -> float | None:
        """Is git writing the tree? None: no; else the seconds after which to ask again if nothing is told before.

        Args:
            paths: where something happened, in any order; none: it may be anywhere.
            changed: files that matter may be among them.
            now: seconds, monotonic.
        """
        lock = self._look(now)
        if lock or self._path in paths:
            self._locked = now
        if changed and now - self._locked <= REST:
            self._wrote = True
        if lock:
            return max(self._patient_until - now, 0.0)
        if self._wrote:
            self._wrote, self._done = False, now
        goes_on = any(os.path.isdir(os.path.join(self._folder, name)) for name in SERIES)
        left = self._done + (GAP if goes_on else REST) - now
        return left if left > 0 else None

    def _look(self, now: float) -> tuple[int, int] | None:
        """Which lock says now that git writes the tree."""
        try:
            status = os.stat(self._path)
        except OSError:
            self._lock = None
            return None
        lock = (status.st_ino, status.st_mtime_ns)
        if status.st_size or lock == self._ignored:
            return None
        if lock != self._lock:
            self._lock = lock
            self._patient_until = now + PATIENCE - max(time.time() - status.st_mtime, 0.0)
        if now >= self._patient_until:
            if not _is_open(self._path):
                self._ignored = lock
                self._left(self._path)
                return None
            self._patient_until = now + PATIENCE
        return lock


class Git:
    """The repositories that watched folders are in.

    Args:
        left: told the path of a lock that is waited for no more.
    """

    def __init__(self, left: Callable[[str], None]) -> None:
        self._left = left
        self._found: Iterable[str] = ()
        self._known: dict[str, Repository] = {}

    @property
    def folders(self) -> frozenset[str]:
        """Where their locks come and go: what else to watch."""
        return frozenset(self._known)

    def find(self, folders: Iterable[str]) -> None:
        """From now on it is about these folders' repositories."""
        if folders == self._found:
            return
        self._found = folders
        known: dict[str, str] = {}
        found = {place for folder in folders if (place := git_folder(os.path.realpath(folder), known))}
        self._known = {place: self._known.get(place) or Repository(place, self._left) for place in sorted(found)}

    def busy(self, paths: Sequence[str], changed: bool, now: float) -> float | None:
        """Is git writing one of the trees? See `Repository.busy`."""
        waits = [wait for one in self._known.values() if (wait := one.busy(paths, changed, now)) is not None]
        return min(waits, default=None)


def git_folder(folder: str, known: dict[str, str] | None = None) -> str:
    """The git folder of the worktree that a folder is in, as gitrepository-layout(5) has it; empty: it is in none.

    Args:
        known: answers of before, also for the folders above.
    """
    known = {} if known is None else known
    if folder not in known:
        above = os.path.dirname(folder)
        known[folder] = _own(folder) or (git_folder(above, known) if above != folder else "")
    return known[folder]


def _own(folder: str) -> str:
    """The git folder of a folder that is the top of a worktree."""
    path = os.path.join(folder, ".git")
    if os.path.isdir(path):
        return path
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # a worktree, or a submodule
            text = file.read()
    except OSError:
        return ""
    if not text.startswith("gitdir: "):
        return ""
    return os.path.normpath(os.path.join(folder, text.removeprefix("gitdir: ").rstrip("\n")))


def _is_open(path: str) -> bool:
    """Has a process this file open, as far as we may know? Where there is no /proc nobody is known to."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return False
    real = os.path.realpath(path)
    return any(real in _open_files(f"/proc/{pid}/fd") for pid in pids)


def _open_files(folder: str) -> Iterable[str]:
    with contextlib.suppress(OSError):  # it ended, or is another person's
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):  # closed meanwhile, as ours is that the names were read from
                yield os.readlink(os.path.join(folder, name))
