"""Ends what we started when we cannot: after a kill -9 of the tool nothing stays behind.

A small shell holds the read end of a pipe whose write end only we hold. It is told each process group that begins and
ends, and who came to us since as an orphan without an environment that says whose it is. At the end of the file,
which the kernel makes however we end, it ends the groups that are left and those orphans, and on Linux everybody below
them and everybody whose environment has the mark of this run. A scan costs it about 10 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from goreload_tasks.app import strays

GRACE = 0.3
"""Seconds between SIGTERM and SIGKILL: nobody is there to wait for more."""

FIRST_LOOK = 1.0
"""Seconds from the begin of a group to a look at the orphans that are with us; to each next one it is twice as long.

Nothing tells that one came. A look takes about 0.1 ms; a program that leaves daemons behind does so when it starts.
"""

# Only the beginning of a variable is compared, and /proc/PID/status escapes a line break in a name: nothing that a
# process chose is taken for a mark or a number. Signals are ignored: a tool of this kind above us ends its whole tree,
# and we must do our work all the same.
_SCRIPT = rf"""
trap '' HUP INT QUIT TERM
groups=" "
orphans=
while read -r what id; do
    case $what in
        +) groups="$groups$id " ;;
        o) orphans="$orphans $id" ;;
        .) exit ;; # nobody is left: it need not look
        -) case $groups in *" $id "*) groups="${{groups%% $id *}} ${{groups#* $id }}" ;; esac ;;
    esac
done
began() {{
    read -r line <"/proc/$1/stat" || return
    set -- ${{line##*) }}
    echo "${{20}}"
}} 2>/dev/null
lives() {{
    [ "$(began "${{1%:*}}")" = "${{1#*:}}" ]
}}
everybody() {{
    known=" "
    for one in $orphans; do lives "$one" && known="$known${{one%:*}} "; done
    {{ grep -lsz "^$1:" /proc/[0-9]*/environ; cat /proc/[0-9]*/status; }} 2>/dev/null |
    awk -v groups="$groups" -v known="$known" '
        /^\/proc\// {{ split($0, part, "/"); ours[part[3]] = 1 }}
        $1 == "State:" {{ state = $2 }}
        $1 == "Pid:" {{ pid = $2; living[pid] = state != "Z" && state != "X" }}
        $1 == "Pid:" && index(known, " " pid " ") {{ ours[pid] = 1 }}
        $1 == "PPid:" {{ parent[pid] = $2 }}
        $1 == "NSpgid:" && index(groups, " " $2 " ") {{ ours[pid] = 1 }}
        END {{
            do {{
                more = 0
                for (pid in parent) if (!(pid in ours) && (parent[pid] in ours)) more = ours[pid] = 1
            }} while (more)
            for (pid in ours) if (living[pid]) printf "%s ", pid
        }}'
}}
each() {{
    for id in $groups; do kill -s "$1" -- "-$id"; done
    for id in $found; do kill -s "$1" "$id"; done
}} 2>/dev/null
found=$(everybody "$1")
[ "$groups$found" = " " ] && exit
first=
for id in $found; do first="$first $id:$(began "$id")"; done
each TERM
each CONT
sleep {GRACE}
for one in $first; do  # whose parent ended meanwhile has nothing left that says whose it is
    lives "$one" && kill -s KILL "${{one%:*}}"
done
for round in 1 2 3 4 5; do
    found=$(everybody "$1")
    each KILL
    [ "$found" ] || break
    groups=" "
done
"""

_pipe = -1
_orphans: set[tuple[int, int]] = set()
"""Those that it was told, by pid and beginning."""
_next_look: asyncio.TimerHandle | None = None


@contextlib.contextmanager
def guard() -> Iterator[None]:
    """While this lasts, every group that `begun` names, and who left it, is ended with us, however we end."""
    global _pipe  # noqa: PLW0603 - one tool, one guardian, as there is one table of processes
    read, write = os.pipe()  # neither is inherited: a child that held the write end would keep the guardian waiting
    guardian = subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT, "guardian", f"{strays.MARK}={strays.run()}"],
        stdin=read,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        # Where we are a child of such a tool ourselves, its guardian leaves ours alone.
        env={**{name: value for name, value in os.environ.items() if name != strays.MARK}, "LC_ALL": "C"},
    )
    os.close(read)
    _pipe = write
    try:
        with _reaping():
            yield
    finally:
        _look()
        _orphans.clear()
        if not strays.tree(os.getpid()).keys() - {guardian.pid}:
            _tell(". .\n")
        _pipe = -1
        os.close(write)
        guardian.wait()


@contextlib.contextmanager
def _reaping() -> Iterator[None]:
    """Orphans that came to us are looked at, and when they end not left as zombies."""
    try:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, strays.reap_all)
    except (RuntimeError, ValueError):  # there is no loop, or it is not the main thread's
        yield
        return
    try:
        yield
    finally:
        if _next_look:
            _next_look.cancel()
        loop.remove_signal_handler(signal.SIGCHLD)


def _look() -> None:
    """Tell of the orphans that only we can know."""
    for orphan in strays.left():
        if orphan[:2] not in _orphans:
            _orphans.add(orphan[:2])
            _tell(f"o {orphan.pid}:{orphan.began}\n")


def _look_in(seconds: float) -> None:
    global _next_look  # noqa: PLW0603 - as above

    def look() -> None:
        _look()
        _look_in(2 * seconds)

    if _next_look:
        _next_look.cancel()
    _next_look = asyncio.get_running_loop().call_later(seconds, look)


def begun(group: int, adopt: bool = True) -> None:
    """A group of ours began.

    Args:
        adopt: we wait for any child of ours, and so for orphans that come to us.
    """
    if _pipe >= 0 and adopt:
        strays.adopt()
        _look_in(FIRST_LOOK)
    _tell(f"+ {group}\n")


def ended(group: int) -> None:
    """It is gone; its number may be somebody else's from now on."""
    _tell(f"- {group}\n")


def _tell(line: str) -> None:
    if _pipe >= 0:
        with contextlib.suppress(OSError):  # the guardian was killed: we go on without it
            os.write(_pipe, line.encode())
