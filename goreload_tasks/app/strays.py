"""Those who left the group: found, told from everybody else, ended.

A child of the app that calls setsid, or forks twice, is out of reach of a signal to the group. Three things find it:
the tree below the app; the mark in the environment that every child of ours is given and its children inherit; and the
rule that orphans come to us, because we are a child subreaper (prctl(2)). A pid alone is never trusted: a process is
its pid and the time it began. All this is Linux; elsewhere nobody is found, and a stop ends the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import weakref
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MARK = "GORELOAD_MARK"
"""The variable that only children of ours have: RUN:N, and for each of them another N."""

_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Process(NamedTuple):
    """A process as /proc/PID/stat describes it (proc(5)). `began`: clock ticks since the system's start."""

    pid: int
    began: int
    parent: int
    group: int
    session: int
    state: str

    @property
    def ended(self) -> bool:
        """Only its exit status is left."""
        return self.state in "ZX"


own: weakref.WeakValueDictionary[int, asyncio.subprocess.Process] = weakref.WeakValueDictionary()
"""The children that asyncio waits for, by pid."""

_starting = 0
_numbers = itertools.count(1)


@functools.cache
def run() -> str:
    """A name for this run of the tool that no other has: its pid and when it began."""
    return name(os.getpid())


def name(pid: int) -> str:
    """PID-BEGAN: what a process is called where its pid may have gone to another one meanwhile."""
    process = look(pid)
    return f"{pid}-{process.began if process else 0}"


def living(named: str) -> bool:
    """Is the process of this name alive?"""
    pid = named.partition("-")[0]
    return pid.isascii() and pid.isdigit() and name(int(pid)) == named and look(int(pid)) is not None


def new_mark() -> str:
    """The mark of the next child."""
    return f"{run()}:{next(_numbers)}"


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """While a child is being started: it is ours before we know its pid."""
    global _starting  # noqa: PLW0603 - one process has one set of children
    _starting += 1
    try:
        yield
    finally:
        _starting -= 1


@functools.cache
def adopt() -> None:
    """Have orphans of our children come to us instead of to init."""
    import ctypes  # 7 ms: while the first child is at work already

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def look(pid: int) -> Process | None:
    """The process that has this pid now."""
    try:
        # The name in parentheses may hold anything, parentheses and line breaks too.
        fields = _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
        return Process(pid, int(fields[19]), int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode())
    except (OSError, IndexError):
        return None


def send(process: Process, number: signal.Signals) -> bool:
    """Signal this very process: not another one that has its pid now. False: it is gone, or not ours to signal."""
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        return False
    try:
        now = look(process.pid)
        if now is None or now.began != process.began or now.ended:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def gone(process: Process) -> bool:
    """Has this very process ended? If it came to us as an orphan, its exit status is taken."""
    now = look(process.pid)
    if now and now.began == process.began and now.ended and now.parent == os.getpid() and now.pid not in own:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
    return now is None or now.began != process.began or now.ended


def reap(group: int) -> None:
    """Take the exit statuses of orphans that came to us from a group of ours; never that of its leader."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == group or ended.si_pid in own:  # asyncio waits for that one
                break
            os.waitpid(ended.si_pid, os.WNOHANG)


def reap_all() -> None:
    """The same for every group of ours."""
    for group in list(own):
        reap(group)


def find(leader: Process, mark: str, known: Iterable[Process] = ()) -> list[Process]:
    """Everybody who came from a child of ours and is not in its group.

    Args:
        leader: the child, as it was when it began.
        mark: its mark.
        known: those of its strays that were found before.
    """
    table = tree(os.getpid())
    roots = {process[:2] for process in (leader, *known)}
    found = _below([one for one in table.values() if one[:2] in roots or _came_from(one, leader, mark)], table)
    # Who forked in order to leave has often ended, and nothing but the session that it made says whose it was.
    sessions = {leader.pid, *(process.session for process in found)}
    for process in table.values():
        if process.ended and process.session in sessions:
            gone(process)
    return [process for process in found if process.group != leader.pid]


def left() -> list[Process]:
    """The orphans that are with us still and whose environment does not say whose they are."""
    pids = _children(os.getpid()) if _kernel_names_children() else tree(os.getpid())
    found = [child for pid in pids if pid not in own and (child := look(pid)) and child.parent == os.getpid()]
    mine = _names(os.getpid()) if found else frozenset()
    return [child for child in found if not child.ended and _cleared(child, mine)]


def _came_from(process: Process, leader: Process, mark: str) -> bool:
    """Is this an orphan that came to us from that leader?"""
    if process.parent != os.getpid() or process.pid in own or process.began < leader.began:
        return False
    if process.session == leader.pid:
        return True
    theirs = _mark_of(process.pid)
    if theirs is not None:
        return theirs == mark
    # Whose environment was cleared can only be known by leaving out everybody else.
    others = [look(pid) for pid, child in own.items() if pid != leader.pid and child.returncode is None]
    doubt = _starting or any(other and other.began <= process.began for other in others)
    return not doubt and _cleared(process, _names(os.getpid()))


def _cleared(process: Process, mine: frozenset[bytes]) -> bool:
    """Does it lack most of our variables?

    Who was started by us in any other way, a browser or something of a person's tasks.py, has them, or is still in
    our session.
    """
    if process.session == os.getsid(0):
        return False
    try:
        if not _read(f"/proc/{process.pid}/cmdline"):  # just being born: it has no environment yet
            return False
        return len(_names(process.pid) & mine) * 2 < len(mine)
    except OSError:  # another user's: it is not ours to signal
        return False


def _mark_of(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        for word in _read(f"/proc/{pid}/environ").split(b"\0"):
            if word.startswith(f"{MARK}={run()}:".encode()):
                return word.partition(b"=")[2].decode(errors="replace")
    return None


def _names(pid: int) -> frozenset[bytes]:
    return frozenset(word.partition(b"=")[0] for word in _read(f"/proc/{pid}/environ").split(b"\0") if word)


def tree(root: int) -> dict[int, Process]:
    """All that descend from a process, by pid. Costs about 20 us for each of their threads."""
    if not _kernel_names_children():
        return _slow_tree(root)
    found: dict[int, Process] = {}
    waiting = _children(root)
    while waiting:
        pid = waiting.pop()
        if pid not in found and (process := look(pid)):
            found[pid] = process
            waiting += _children(pid)
    return found


@functools.cache
def _kernel_names_children() -> bool:
    """Most do: CONFIG_PROC_CHILDREN."""
    return os.path.exists("/proc/thread-self/children")


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def _slow_tree(root: int) -> dict[int, Process]:
    """The same from a look at every process: about 1 ms for a hundred."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()] if os.path.isdir("/proc") else []
    table = {pid: process for pid in pids if (process := look(pid))}
    roots = [process for process in table.values() if process.parent == root]
    return {process.pid: process for process in _below(roots, table)}


def _below(roots: Iterable[Process], table: dict[int, Process]) -> list[Process]:
    """The roots and their descendants."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process.pid not in found:
            found[process.pid] = process
            waiting += children.get(process.pid, ())
    return list(found.values())


def _read(path: str) -> bytes:
    """A file of /proc, whole."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        blocks = []
        while block := os.read(file, 64 * 1024):
            blocks.append(block)
        return b"".join(blocks)
    finally:
        os.close(file)
