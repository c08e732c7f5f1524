"""A command that has the person's terminal, as if it had been typed instead of us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from goreload_tasks.app import guardian, strays
from goreload_tasks.app.process import ending

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def foreground(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> int:
    """Run a command as if it had been typed instead of us: terminal, stdin, signals and exit code are its own.

    As a shell does (POSIX 2.9.3.1, job control), the terminal is handed to its group: Ctrl-C and Ctrl-Z reach the
    command alone, and what reaches us is passed on.

    Returns:
        Its exit code; 128 + number when a signal ended it.

    Raises:
        OSError: the command cannot be started.
    """
    waiting: list[int] = []
    child: list[int] = []

    def forward(number: int, _frame: object) -> None:
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child[0], number)
        else:
            waiting.append(number)  # arrived before there was anybody to pass it on to

    numbers = (number for number in PASSED_ON if number != signal.SIGHUP or number in ending())
    before = {number: signal.signal(number, forward) for number in numbers}
    terminal = _own_terminal()
    try:
        marked = {**env, strays.MARK: strays.new_mark()}
        process = subprocess.Popen(argv, cwd=cwd, env=marked, process_group=0)
        guardian.begun(process.pid, adopt=False)
        child.append(process.pid)
        _hand(terminal, process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)  # it may have asked for the terminal before it had it
        for number in waiting:
            forward(number, None)
        return _follow(process, terminal)
    finally:
        _hand(terminal, os.getpgrp())
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow(process: subprocess.Popen[bytes], terminal: int | None) -> int:
    while True:
        pid, status = os.waitpid(process.pid, os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            # Ctrl-Z: stop where the person's shell sees it, and go on together.
            _hand(terminal, os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
            _hand(terminal, process.pid)
            os.killpg(process.pid, signal.SIGCONT)
            continue
        code = os.waitstatus_to_exitcode(status)
        process.returncode = code  # it is reaped: Popen must not try again
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind in its group
        guardian.ended(process.pid)
        return code if code >= 0 else 128 - code


def _own_terminal() -> int | None:
    """The terminal at stdin, when we are in its foreground."""
    try:
        return 0 if os.tcgetpgrp(0) == os.getpgrp() else None
    except OSError:
        return None


def _hand(terminal: int | None, group: int) -> None:
    if terminal is None:
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else a background group that hands it over is stopped
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)
    signal.signal(signal.SIGTTOU, before)
