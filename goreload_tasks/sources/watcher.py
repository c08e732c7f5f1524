"""Where files change, from any operating system: the only user of watchfiles.

What it tells is a hint: the snapshot says what really changed. So a new set of folders needs no care about events lost
in between; whoever changes the set looks once more afterwards.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from goreload_tasks.errors import GoreloadError

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

STEP_MS = 5
"""The backend sleeps this long, then reports once nothing new came: latency is one to two steps, at 0.7 % of a core."""

BATCH_MS = 50
"""Longest time that a batch may grow; the quiet window is the cycle's, not the watcher's."""

TIMEOUT_MS = 60_000


class Watcher:
    """Watches folders, not what is below them.

    Args:
        hint: called in another thread with paths at which something happened; nothing: look everywhere.
    """

    exact = False

    def __init__(self, hint: Callable[[Iterable[str]], None]) -> None:
        self.refused: frozenset[str] = frozenset()
        self._hint = hint
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._seen: dict[str, tuple[int, int]] = {}

    def watch(self, folders: frozenset[str]) -> None:
        """Watch these folders from now on; the old watch ends when the new one stands. Absent ones are left out.

        A folder that was made anew in the place of another is another: the backend would stay with the old one.

        Raises:
            GoreloadError: the limit of watches is reached.
        """
        seen = {folder: identity for folder in folders if (identity := _identity(folder))}
        if seen == self._seen:
            return
        self.refused = frozenset()
        notify = self._notify(seen)
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(notify, stop), name="watcher", daemon=True)
        thread.start()
        if self._stop:
            self._stop.set()
        self._stop, self._thread, self._seen = stop, thread, seen

    def read(self) -> None:
        """What was reported is told from the thread; whoever must know more looks."""

    def close(self) -> None:
        if self._stop and self._thread:
            self._stop.set()
            self._thread.join()

    def _notify(self, folders: Iterable[str]) -> RustNotify:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # while the first build runs

        left = sorted(folders)
        while True:
            try:
                return RustNotify(left, False, False, 0, False, False)
            except FileNotFoundError:  # a folder went while the watch was being set up
                left = [folder for folder in left if os.path.isdir(folder)]
            except PermissionError as error:
                unreadable = next((folder for folder in left if folder in str(error)), None)
                if unreadable is None:
                    raise GoreloadError(f"cannot watch: {error}; make the folder readable or ignore it") from None
                left.remove(unreadable)
                self.refused |= {unreadable}
            except (OSError, WatchfilesRustInternalError) as error:
                raise GoreloadError(
                    f"cannot watch {len(left)} folders: {error}; raise fs.inotify.max_user_watches and "
                    "max_user_instances (sysctl), or set watch.poll: on"
                ) from None

    def _run(self, notify: RustNotify, stop: threading.Event) -> None:
        with notify:
            while not stop.is_set():
                try:
                    found = notify.watch(BATCH_MS, STEP_MS, TIMEOUT_MS, stop)
                except RuntimeError:  # a name that is not UTF-8 ends this backend for good: look, and start anew
                    self._hint(())
                    self._renew(stop)
                    return
                if isinstance(found, set):
                    self._hint([path for _, path in found])

    def _renew(self, stop: threading.Event) -> None:
        if not stop.is_set():
            self._run(self._notify(self._seen), stop)


def _identity(folder: str) -> tuple[int, int] | None:
    """Which folder it is, whatever it is called; None: it is not there."""
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
