"""What tools and their children take, read from proc(5): it costs them nothing and needs no help of theirs.

A tool and all that came of it are known by a variable in their environment, so that what left the tree is counted, and
ended, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

MARK = "BENCH_OF"
"""The variable that says whose a process is."""

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

BEAT = 0.1
"""Seconds between two looks of a meter."""


def members(mark: str) -> list[int]:
    """The processes that are of this mark, oldest first."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return sorted(found)


def own(pids: Iterable[int], project: Path) -> list[int]:
    """Those that are not the app: their program is not one that was built in the project (or beside it)."""
    return [pid for pid in pids if (program := _program(pid)) and not program.is_relative_to(project)]


def _program(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
    except OSError:
        return None


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time, their children's that ended included."""
    return sum(sum(map(int, fields[11:15])) for fields in _stats(pids)) / TICK


def rss(pids: Iterable[int]) -> int:
    """Bytes that are resident; pages that several share count for each."""
    return sum(int(fields[21]) for fields in _stats(pids)) * PAGE


def _stats(pids: Iterable[int]) -> Iterable[Sequence[str]]:
    for pid in pids:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def wakeups(pids: Iterable[int]) -> int:
    """How often one of their threads went to sleep of its own will: each is a wake-up before it."""
    count = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", path.read_text(), re.MULTILINE)
                count += int(found[1]) if found else 0
    return count


def watched(pids: Iterable[int]) -> list[tuple[int, int]]:
    """The watches of their inotify descriptors: inode and mask of each."""
    found = []
    for pid in pids:
        for path in Path(f"/proc/{pid}/fdinfo").glob("*"):
            with contextlib.suppress(OSError):
                for inode, mask in re.findall(
                    r"^inotify wd:\S+ ino:(\S+) .*? mask:(\S+)", path.read_text(), re.MULTILINE
                ):
                    found.append((int(inode, 16), int(mask, 16)))
    return found


def descriptors(pids: Iterable[int]) -> int:
    """The open files of those that are still there."""
    count = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            count += len(os.listdir(f"/proc/{pid}/fd"))
    return count


def quiet(mark: str, still: float = 0.3, deadline: float = 10.0) -> bool:
    """Wait until they have used no processor time to speak of for so many seconds; False: they never ceased."""
    end = time.monotonic() + deadline
    since, before = time.monotonic(), cpu(members(mark))
    while time.monotonic() - since < still:
        if time.monotonic() > end:
            return False
        time.sleep(BEAT)
        if (now := cpu(members(mark))) > before + 1.5 / TICK:
            since, before = time.monotonic(), now
    return True


def stop(mark: str, first: signal.Signals = signal.SIGINT, grace: float = 10.0) -> list[int]:
    """End them: the oldest is asked first, what is left after the grace period is killed. Returns what had to be."""
    started = members(mark)
    if not started:
        return []
    with contextlib.suppress(ProcessLookupError):
        os.kill(started[0], first)
    end = time.monotonic() + grace
    while (left := members(mark)) and time.monotonic() < end and started[0] in left:
        time.sleep(0.02)
    killed = left
    while left := members(mark):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return killed


@dataclass(frozen=True, slots=True)
class Build:
    """A build as a tool really runs it: the words between `-o OUT` and the package, and the variables that it adds."""

    flags: tuple[str, ...]
    env: Mapping[str, str]


def build_of(mark: str) -> Build | None:
    """The `go build` of a program that is under way right now: that of a save, or the one that proves it."""
    for pid in members(mark):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if len(words) > 4 and os.path.basename(words[0]) == "go" and words[1:3] == ["build", "-o"]:
                if f"{os.sep}rest{os.sep}" in words[3]:  # nobody's: it warms or measures something at rest
                    continue
                pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
                env = dict(pair.split("=", 1) for pair in pairs if pair.startswith("GO") and "=" in pair)
                new = {name: value for name, value in env.items() if os.environ.get(name) != value}
                return Build(
                    tuple(word for word in words[4:-1] if word != "-p=1"),  # that only keeps a proof at rest small
                    {
                        name: new[name]
                        for name in new
                        if name not in (MARK, "GOTMPDIR") and not name.startswith("GORELOAD_")
                    },
                )
    return None


class Meter:
    """Looks at them all the time while the block runs.

    Args:
        window: seconds over which the peak of processor time is taken.
    """

    def __init__(self, mark: str, window: float = 0.5) -> None:
        self.peak_rss = 0
        self.peak_cores = 0.0
        self.seconds = 0.0
        self.cpu = 0.0
        self._mark = mark
        self._window = window
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        looks = [(time.monotonic(), cpu(members(self._mark)))]
        while not self._over.wait(BEAT):
            pids = members(self._mark)
            looks.append((time.monotonic(), cpu(pids)))
            self.peak_rss = max(self.peak_rss, rss(pids))
        for at, (then, used) in enumerate(looks):
            later = next(((time, cpu) for time, cpu in looks[at:] if time - then >= self._window), None)
            if later:
                self.peak_cores = max(self.peak_cores, (later[1] - used) / (later[0] - then))
        self.seconds = looks[-1][0] - looks[0][0]
        self.cpu = looks[-1][1] - looks[0][1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


class Mirror:
    """An inotify descriptor with the folders and masks of a tool's: the kernel queues for both alike."""

    EVENT = struct.Struct("iIII")
    KINDS = 0xFFF
    """The bits of a mask that are events (inotify(7)); the others are flags."""

    def __init__(self, folders: Mapping[str, int]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or any(
            libc.inotify_add_watch(self._fd, os.fsencode(path), mask & self.KINDS) < 0 for path, mask in folders.items()
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def count(self) -> int:
        """Events since the last time."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._fd, 1024 * 1024):
                at = 0
                while at < len(block):
                    count += 1
                    at += self.EVENT.size + self.EVENT.unpack_from(block, at)[3]
        return count

    def close(self) -> None:
        os.close(self._fd)
