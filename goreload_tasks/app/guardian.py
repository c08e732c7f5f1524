"""Ends what we started when we cannot: after a kill -9 of the tool nothing stays behind.

A small shell holds the read end of a pipe whose write end only we hold. It is told each process group that begins and
ends; at the end of the file, which the kernel makes however we end, it ends the groups that are left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

GRACE = 0.3
"""Seconds between SIGTERM and SIGKILL: nobody is there to wait for more."""

_SCRIPT = f"""
groups=" "
while read -r what id; do
    case $what in
        +) groups="$groups$id " ;;
        -) case $groups in *" $id "*) groups="${{groups%% $id *}} ${{groups#* $id }}" ;; esac ;;
    esac
done
for id in $groups; do kill -s TERM -- "-$id" 2>/dev/null; done
[ "$groups" = " " ] || sleep {GRACE}
for id in $groups; do kill -s KILL -- "-$id" 2>/dev/null; done
"""

_pipe = -1


@contextlib.contextmanager
def guard() -> Iterator[None]:
    """While this lasts, every group that `begun` names is ended with us, however we end."""
    global _pipe  # noqa: PLW0603 - one tool, one guardian, as there is one table of processes
    read, write = os.pipe()  # neither is inherited: a child that held the write end would keep the guardian waiting
    guardian = subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT],
        stdin=read,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    os.close(read)
    _pipe = write
    try:
        yield
    finally:
        _pipe = -1
        os.close(write)
        guardian.wait()


def begun(group: int) -> None:
    """A group of ours began."""
    _tell(f"+ {group}\n")


def ended(group: int) -> None:
    """It is gone; its number may be somebody else's from now on."""
    _tell(f"- {group}\n")


def _tell(line: str) -> None:
    if _pipe >= 0:
        with contextlib.suppress(OSError):  # the guardian was killed: we go on without it
            os.write(_pipe, line.encode())
