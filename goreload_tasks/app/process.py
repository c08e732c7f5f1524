"""Processes that are started and stopped with all that comes of them; those of the foreground: see `foreground`.

Every child leads a session, and so a process group, of its own: a Ctrl-C at the terminal reaches us alone, and whatever
the child starts can be ended with it; `strays` finds what left the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from goreload_tasks.app import guardian, strays
from goreload_tasks.app.output import Lines

if TYPE_CHECKING:
    import psutil

PARTIAL_AFTER = 0.1
"""Seconds after which the beginning of a line that does not end is shown: a prompt, say."""

LAST = 3.0
"""Seconds after SIGKILL in which all must be gone. Who is not hangs in the kernel, or is another user's by now."""

DUMP_TIME = 1.0
"""Seconds that an app which ignored its stop signal has for writing out its goroutines."""


class Group:
    """A process group that we started, from its spawn until every member is gone.

    Args:
        mark: what the environment of its members says.
        began: when its leader was there, on the monotonic clock.
    """

    def __init__(self, process: asyncio.subprocess.Process, reader: _Reader, mark: str, began: float) -> None:
        self.began = began
        self._process = process
        self._reader = reader
        self._mark = mark
        self._strays: list[strays.Process] = []
        self.left: list[int] = []
        """Who could not be ended."""
        self.pid = process.pid
        # Where it cannot be looked at any more it has ended already: whatever came of it began later.
        self._leader = strays.look(self.pid) or strays.Process(self.pid, 0, os.getpid(), self.pid, self.pid, "X")

    async def wait(self) -> int:
        """The exit code of its leader, negative for a signal; its output up to then has been passed on."""
        code = await self._process.wait()
        self._reader.drain()
        return code

    @property
    def tail(self) -> list[str]:
        """Its last lines of output."""
        return self._reader.lines.tail

    async def stop(self, how: signal.Signals, grace: float, dump: bool = False) -> int:
        """End the whole group and who left it: `how`, `grace` seconds, then SIGKILL. Returns the leader's exit code.

        Args:
            dump: before SIGKILL send SIGQUIT, which makes a Go program write where its goroutines hang
                (package os/signal of Go's standard library).
        """
        steps = [(how, grace), *([(signal.SIGQUIT, DUMP_TIME)] if dump else []), (signal.SIGKILL, LAST)]
        for step, patience in steps:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while (signalled := self._signal_all(step)) is not None:
                        await self._gone(signalled)  # and then who was born meanwhile
                break
        else:
            all_of_it = [*strays.tree(os.getpid()).values(), *self._strays]
            found = {one.pid for one in all_of_it if one.group == self.pid or one in self._strays}
            self.left = sorted(pid for pid in found if (one := strays.look(pid)) and not one.ended)
        code = await self.wait()
        self.close()
        return code

    def _signal_all(self, number: signal.Signals) -> list[strays.Process] | None:
        """Signal the group and who left it. Returns those who left it; None: nobody is left anywhere.

        They are looked for first, as an app that ends takes with it what says whose its children are.
        """
        self._strays = strays.find(self._leader, self._mark, self._strays)
        signalled = [one for one in self._strays if strays.send(one, number)]
        left = self.signal(number)
        if number != signal.SIGKILL:  # who is stopped (SIGSTOP) must go on, else it could not end
            self.signal(signal.SIGCONT)
            for one in signalled:
                strays.send(one, signal.SIGCONT)
        return signalled if left or signalled else None

    async def _gone(self, others: Sequence[strays.Process]) -> None:
        await self._process.wait()
        pause = 0.002
        while self.alive() or not all(map(strays.gone, others)):
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    def alive(self) -> bool:
        """Is any member of the group left? A zombie that its new parent has not reaped is not."""
        if self._process.returncode is not None:
            strays.reap(self.pid)
        if not self._exists():
            return False
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS, when only zombies are left
            pass
        import psutil  # only when a group outlives its leader: the first build starts without it

        return any(_in_group(process, self.pid) for process in psutil.process_iter())

    def _exists(self) -> bool:
        """Is the number still that of this group? The kernel gives it to nobody else while there is any member."""
        now = strays.look(self.pid)
        return now is None or self._leader.began in (0, now.began)

    def close(self) -> None:
        """The group is gone: read no further."""
        self._reader.close()
        guardian.ended(self.pid)

    def drain(self) -> None:
        """Pass on what it has printed up to now."""
        self._reader.drain()

    def written(self) -> tuple[int, int]:
        """What its leader and those below it wrote up to now, at most: bytes beyond what we have read of it, and bytes
        of file pages, where the file system counts them (proc(5), /proc/PID/io). Zeros where nobody says so.
        """
        self.drain()
        # The leader last: it takes over what a child wrote when the child ends.
        counted = [_counters(pid) for pid in (*strays.tree(self.pid).keys() - {self.pid}, self.pid)]
        return sum(bytes_ for bytes_, _ in counted) - self._reader.taken, sum(pages for _, pages in counted)

    def signal(self, number: signal.Signals) -> bool:
        """Signal the whole group; SIGKILL, also who is known to have left it. False: nobody is left in the group."""
        if number == signal.SIGKILL:
            for one in self._strays:
                strays.send(one, number)
        if not self._exists():
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return self.alive()
        return True


def _counters(pid: int) -> tuple[int, int]:
    """Bytes that a process wrote to anything, and bytes of file pages that it made dirty."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            said = dict(line.split(": ") for line in file)
    except OSError:
        return 0, 0
    return int(said["wchar"]), int(said["write_bytes"])


def _in_group(process: psutil.Process, group: int) -> bool:
    import psutil

    with contextlib.suppress(psutil.Error, ProcessLookupError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


class _Reader:
    """Passes on what a child prints, without a thread and in bounded memory."""

    def __init__(self, fd: int, sink: Callable[[bytes], None], partial: bool) -> None:
        self.lines = Lines()
        self.taken = 0  # bytes
        self._fd = fd
        self._sink = sink
        self._partial = partial
        self._flush: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def _read(self) -> bool:
        """One block at a time, so that a chatty app does not hold up the loop. False: nothing more for now."""
        try:
            block = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return False
        except OSError:  # a pty says EIO where a pipe says end of file
            block = b""
        if not block:
            self.close()
            return False
        self.taken += len(block)
        self._sink(self.lines.feed(block))
        if self._flush:
            self._flush.cancel()
        if self._partial and self.lines.pending:
            self._flush = self._loop.call_later(PARTIAL_AFTER, lambda: self._sink(self.lines.flush()))
        return True

    def drain(self) -> None:
        """Read what is there. Somebody may hold the other end for ever, or write for ever: do not wait for its end."""
        if self._fd < 0:
            return
        there = self.taken + int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4), sys.byteorder)
        while self._fd >= 0 and self._read() and self.taken <= there:
            pass

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            if self._flush:
                self._flush.cancel()
            self._sink(self.lines.close())


_INHERIT = ("/bin/sh", "-c", 'LISTEN_PID=$$; export LISTEN_PID; exec "$@" 3<&0 0</dev/null', "sh")
"""Only the process itself knows its pid before it runs, so a shell sets LISTEN_PID and becomes the app."""


async def spawn(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    sink: Callable[[bytes], None],
    terminal: bool = False,
    partial: bool = False,
    listen: socket.socket | None = None,
) -> Group:
    """Start a command in a group of its own; stdin is empty, stdout and stderr go to `sink` in blocks of whole lines.

    Args:
        terminal: it finds a terminal at its stdout, so that it colours as it would without us.
        partial: lines that do not end are passed on after a moment too.
        listen: a socket that it inherits as descriptor 3 (LISTEN_FDS, sd_listen_fds(3)).

    Raises:
        OSError: the command cannot be started.
    """
    if listen is not None:
        argv, env = [*_INHERIT, *argv], {**env, "LISTEN_FDS": "1"}
    ours, theirs = _terminal_pair() if terminal else os.pipe()
    try:
        stdin = subprocess.DEVNULL if listen is None else listen.fileno()
        process, mark = await _start(argv, cwd, env, theirs, theirs, stdin)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    began = time.monotonic()
    guardian.begun(process.pid)
    return Group(process, _Reader(ours, sink, partial), mark, began)


async def _start(
    argv: Sequence[str], cwd: str, env: Mapping[str, str], out: int, err: int, stdin: int = subprocess.DEVNULL
) -> tuple[asyncio.subprocess.Process, str]:
    """Start a child that leads a session and has a mark of its own.

    A program that is told of another way to its folder (PWD, when a person came through a link) names files by that.
    """
    mark = strays.new_mark()
    with strays.starting():
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={**env, "PWD": cwd, strays.MARK: mark},
            stdin=stdin,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        strays.own[process.pid] = process
    return process, mark


def _terminal_pair() -> tuple[int, int]:
    """A pseudo terminal that passes bytes on as they are, as wide as ours."""
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    return ours, theirs


Capture = Callable[[Sequence[str], str, Mapping[str, str]], Awaitable[tuple[int, bytes, bytes]]]


async def capture(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Run a command to its end: exit code, stdout, stderr. Cancelled, it takes its whole group with it.

    Raises:
        OSError: the command cannot be started.
    """
    process, _ = await _start(argv, cwd, env, subprocess.PIPE, subprocess.PIPE)
    try:
        out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return process.returncode or 0, out, err


def ending() -> tuple[signal.Signals, ...]:
    """The signals that end us. A SIGHUP that is ignored from the start stays so: that is what nohup(1) is for.

    A SIGINT is not left ignored, as it is for what a script starts with `&`: a Ctrl-C would end all but us.
    """
    ours = (signal.SIGINT, signal.SIGTERM)
    return ours if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (*ours, signal.SIGHUP)
