"""What is on disk, looked at as a whole: never what somebody says has changed."""

from __future__ import annotations

import os
from collections.abc import Iterable

from goreload_tasks.build.direct.ground import Sight
from goreload_tasks.inputs.snapshot import Snapshot


class Disk:
    """The files that decide a build, and the folders in which a new name would.

    Args:
        tools: what the toolchain is made of; their stamps say enough.
    """

    def __init__(self, files: Iterable[str], folders: Iterable[str], tools: Iterable[str]) -> None:
        self._files = frozenset(files)
        self._folders = frozenset(folders)
        self._tools = tuple(tools)
        self._snapshot = Snapshot()

    def see(self) -> Sight:
        """What is there now; read again is only what may be another."""
        self._snapshot.look(self._files, self._folders)
        entries = self._snapshot.entries
        return Sight(
            {path: (entries[path].digest, entries[path].shape) for path in self._files},
            {folder: self._snapshot.names(folder) for folder in self._folders},
            tuple(map(_stamp, self._tools)),
        )


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino
