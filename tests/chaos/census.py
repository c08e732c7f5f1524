"""Who lives of a project: counted in /proc, by the path of the binary and not by what a process says of itself."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

BEAT = 0.05
"""Seconds between two counts of the watch."""

Living = tuple[int, str]
"""A process: its pid and when it began."""


@dataclass(frozen=True, slots=True)
class Census:
    """apps: processes of its binaries. builds: `go build` of it. others: whoever else works in its folder."""

    apps: frozenset[Living] = frozenset()
    builds: frozenset[Living] = frozenset()
    others: frozenset[Living] = frozenset()
    commands: dict[Living, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def all(self) -> frozenset[Living]:
        return self.apps | self.builds | self.others


def take(folder: Path, tool: int = 0) -> Census:
    """Count now.

    Args:
        tool: the pid of the tool, whose guardian counts too; the tool itself does not.
    """
    inside, bins = f"{folder}{os.sep}", f"{folder}/.goreload/"
    guard = f"GORELOAD_MARK={tool}-"
    apps, builds, others = set(), set(), set()
    commands: dict[Living, str] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (tool, os.getpid()):
            continue
        with contextlib.suppress(OSError, IndexError):
            program = os.readlink(f"/proc/{name}/exe")  # a zombie has none
            words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
            line = " ".join(words)
            cwd = os.readlink(f"/proc/{name}/cwd")
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
            one, at_rest = (int(name), fields[19]), fields[16] == "19"  # proc(5): when it began, and how nice it is
            if program.startswith(bins):
                apps.add(one)
            elif os.path.basename(program) == "go" and words[1] == "build" and bins in line and not at_rest:
                builds.add(one)
            elif bins in line or guard in line or f"{cwd}{os.sep}".startswith(inside):
                others.add(one)
            else:
                continue
            commands[one] = line[:200]
    return Census(frozenset(apps), frozenset(builds), frozenset(others), commands)


class Watch:
    """Counts all the time: never two apps, never two builds. Who belonged to a tool that was killed does not count."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.forgiven: frozenset[Living] = frozenset()
        self.counts = 0
        self._folder = folder
        self._tell = tell
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _count(self) -> None:
        before = Census()
        while not self._over.wait(BEAT):
            now = take(self._folder)
            self.counts += 1
            # A count is no instant: only who is in two counts on end lived at the same time as the others there.
            for what, one, other in (("apps", before.apps, now.apps), ("builds", before.builds, now.builds)):
                both = (one & other) - self.forgiven
                if len(both) > 1:
                    self._tell(f"{len(both)} {what} at once: {[now.commands[pid] for pid in both]}")
            before = now
