"""Where files change, from the Linux kernel itself, through a descriptor of our own (inotify(7)).

The kernel queues an event before the call that caused it returns. So `read` tells every save that was made before it,
which nothing that runs in a thread of its own or sleeps in steps can promise, and the loop wakes without looking.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs.snapshot import upwards

if TYPE_CHECKING:
    import ctypes

SETTLE = 0.02
"""Seconds that half a save is kept back. An editor that renames, creates, writes and syncs a file is soon done, and a
build begun before would read one that is absent or empty. What is whole (closed, or renamed to) is told at once."""

REST = 0.005
"""Least seconds between two hints: a checkout of thousands of files becomes some hundred hints, each of many paths."""

BLOCK = 64 * 1024
LARGEST = 16 + 256
"""Bytes of the largest event: a read that leaves less room than this may have left some behind."""

HEAD = struct.Struct("iIII")

MODIFIED_ATTRIBUTES = 0x4
CLOSED_WRITTEN = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATED = 0x100
DELETED = 0x200
SELF_DELETED = 0x400
SELF_MOVED = 0x800
UNMOUNTED = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
FOLDER = 0x40000000
ONLY_FOLDERS = 0x01000000
NO_UNLINKED = 0x04000000

# IN_MODIFY is left out. It comes for the O_TRUNC of every save: in 84 of 300 saves we woke to an empty file, and would
# have begun a build of it. It comes for every block of a long copy, hashing each time what is there by then. And it
# comes for every line of a log in a watched folder, to be found to matter to nobody: 7 % of a core at 1,000 lines a
# second, 18 % at 5,000, where it is 0.1 % without. A writer is done when it closes, and each close is told. What
# changes a file and does not close it (truncate(2), a descriptor held open, a mapping) is found by the next look
# everywhere. IN_DONT_FOLLOW is left out since a folder is watched where its path leads.
MASK = (
    MODIFIED_ATTRIBUTES | CLOSED_WRITTEN | MOVED_FROM | MOVED_TO | CREATED | DELETED | SELF_DELETED | SELF_MOVED
    | ONLY_FOLDERS | NO_UNLINKED
)  # fmt: skip

WHOLE = CLOSED_WRITTEN | MOVED_TO | OVERFLOW
"""After these there is nothing to wait for."""

GONE = SELF_DELETED | UNMOUNTED | IGNORED
"""The kernel has dropped the watch."""

ELSEWHERE = MOVED_FROM | MOVED_TO | CREATED | DELETED
"""A name leads somewhere else from now on: a folder, or a symlink to one."""

ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class LimitError(GoreloadError):
    """No more can be watched until the person raises a limit of the kernel."""


class Inotify:
    """Watches folders, not what is below them. All of it belongs to the thread of the running loop.

    Args:
        hint: called with paths at which something happened; nothing: look everywhere. A watched folder that went, or
            whose path leads elsewhere now, is among them; its watch is set anew by the next `watch`.
    """

    exact = True

    def __init__(self, hint: Callable[[Iterable[str]], None]) -> None:
        self.folders: frozenset[str] = frozenset()
        """What is really watched."""
        self.refused: frozenset[str] = frozenset()
        """What is there but may not be watched, at the last `watch`."""
        self._hint = hint
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._watches: dict[str, int] = {}  # folder -> watch; also those whose path may lead elsewhere by now
        self._paths: dict[int, tuple[str, ...]] = {}  # watch -> folder; several paths may lead to one
        self._above: frozenset[str] = frozenset()  # the folders and all that is above them
        self._pending: dict[str, None] = {}
        self._everywhere = False
        self._told = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, folders: frozenset[str]) -> None:
        """Watch exactly these folders from now on. Absent ones are left out, and tried again the next time.

        Raises:
            LimitError: no more watches, or no descriptor; what could be watched is. The next call tries again.
        """
        if folders == self.folders == self._watches.keys():
            return
        if self._fd < 0:
            self._fd = _open()
            self._loop.add_reader(self._fd, self._woken)
        for folder in self._watches.keys() - folders:
            self._leave(folder)
        kept = self.folders & folders
        added: set[str] = set()
        refused: set[str] = set()
        try:
            for folder in sorted(folders - kept):
                code = self._add(folder)
                if not code:
                    added.add(folder)
                elif code not in ABSENT:
                    refused.add(folder)
        finally:
            self.folders = kept | added
            self.refused = frozenset(refused)
            self._above = upwards(self.folders)

    def read(self) -> None:
        """Tell what the kernel has queued up to now; nothing queued costs one system call."""
        if self._fd < 0:
            return
        try:
            block = os.read(self._fd, BLOCK)
        except BlockingIOError:
            pass
        else:
            self._take(block)
        if self._pending or self._everywhere:
            self._tell()

    def close(self) -> None:
        """End all watches."""
        if self._timer:
            self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _woken(self) -> None:
        """Something came: tell it now, or when it is likely to be whole."""
        try:
            block = os.read(self._fd, BLOCK)
        except BlockingIOError:  # `read` was quicker
            return
        whole = self._take(block)
        now = self._loop.time()
        at = max(now, self._told + REST) if whole else now + SETTLE
        if at <= now:
            self._tell()
        elif (self._pending or self._everywhere) and (self._timer is None or self._timer.when() > at):
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._tell)

    def _tell(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._told = self._loop.time()
        paths, everywhere = tuple(self._pending), self._everywhere
        self._pending, self._everywhere = {}, False
        if everywhere:
            self._hint(())
        elif paths:
            self._hint(paths)

    def _take(self, block: bytes) -> bool:
        """Note what is in a block and whatever follows it. Returns whether something in it is whole."""
        merged: dict[tuple[int, bytes], int] = {}
        while True:
            for watch, mask, name in _events(block):
                merged[watch, name] = merged.get((watch, name), 0) | mask
            if len(block) < BLOCK - LARGEST:
                break
            try:
                block = os.read(self._fd, BLOCK)
            except BlockingIOError:
                break
        seen = 0
        lost: set[str] = set()
        moved: set[str] = set()
        for (watch, name), mask in merged.items():
            seen |= mask
            self._note(watch, name, mask, lost, moved)
        if moved:
            below = tuple(os.path.join(path, "") for path in moved)
            moved |= {folder for folder in self.folders if folder.startswith(below)}
        if gone := self.folders & (lost | moved):
            self.folders -= gone
            self._pending |= dict.fromkeys(sorted(gone))
        return bool(seen & WHOLE)

    def _note(self, watch: int, name: bytes, mask: int, lost: set[str], moved: set[str]) -> None:
        """Note one event; gather the paths that lead elsewhere now.

        Args:
            moved: those that took with them what is below; no event says so of that.
        """
        if mask & OVERFLOW:
            # Which watches went is lost too: the next `watch` makes sure of each.
            self._everywhere = True
            self.folders = frozenset()
            return
        folders = self._paths.get(watch, ())  # none: it was left, these are the last events
        paths = [os.path.join(folder, os.fsdecode(name)) for folder in folders] if name else folders
        self._pending |= dict.fromkeys(paths)
        if mask & GONE:
            self._paths.pop(watch, None)
            for folder in folders:
                del self._watches[folder]
            lost.update(folders)
        elif mask & SELF_MOVED:
            moved.update(folders)
        elif mask & ELSEWHERE:
            # A folder that was made or deleted was empty; one that was moved, and a symlink, may lead to anything.
            empty = mask & FOLDER and not mask & (MOVED_FROM | MOVED_TO)
            (lost if empty else moved).update(path for path in paths if path in self._above)

    def _add(self, folder: str) -> int:
        """Watch a folder. Returns 0, or why it cannot be.

        Raises:
            LimitError: no more watches.
        """
        import ctypes

        watch = _libc().inotify_add_watch(self._fd, os.fsencode(folder), MASK)
        code = ctypes.get_errno() if watch < 0 else 0
        if self._watches.get(folder, watch) != watch:
            self._leave(folder)
        if code in (errno.ENOSPC, errno.ENOMEM):
            raise LimitError(
                f"cannot watch {folder}: the limit of watches is reached; "
                "raise it: sysctl fs.inotify.max_user_watches=524288"
            )
        if not code:
            self._watches[folder] = watch
            paths = self._paths.get(watch, ())
            self._paths[watch] = paths if folder in paths else (*paths, folder)
        return code

    def _leave(self, folder: str) -> None:
        """Watch a folder no more."""
        watch = self._watches.pop(folder)
        left = tuple(path for path in self._paths[watch] if path != folder)
        if left:
            self._paths[watch] = left
        else:
            del self._paths[watch]
            _libc().inotify_rm_watch(self._fd, watch)


def _open() -> int:
    """A new inotify descriptor.

    Raises:
        LimitError: there are too many.
    """
    import ctypes

    fd = int(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    raise LimitError(
        f"cannot watch: {os.strerror(code)}; raise the limit: "
        + ("ulimit -n, or " if code == errno.EMFILE else "")
        + "sysctl fs.inotify.max_user_instances=512"
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    import ctypes  # while the first build runs

    libc = ctypes.CDLL(None, use_errno=True)
    libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    libc.inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]
    libc.inotify_init1.argtypes = [ctypes.c_int]
    return libc


def _events(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The events in a block: watch, mask and name (empty: the folder itself)."""
    at = 0
    while at < len(block):
        watch, mask, _, length = HEAD.unpack_from(block, at)
        at += HEAD.size
        yield watch, mask, block[at : at + length].rstrip(b"\0")
        at += length
