"""Many reloads in a row of a small app behind the proxy: does anything of the tool grow?

A table of what the tool holds after some of them, the same as JSON in .bench/, and exit code 1 when something grew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from goreload_tasks.build.toolchain import find_go
from goreload_tasks.insight import history
from tests.bench import processes
from tests.bench.lab import OUT
from tests.driver import Driver, answer, free_port, get, server

MARKS = (10, 100, 250, 500, 750, 1000)
"""Reloads after which it is looked at."""

SETTLED = 100
"""Reloads after which nothing may grow any more; before that caches and pools fill."""

RSS = 10 * 1024 * 1024
"""Bytes of memory by which it may grow all the same: an allocator gives back what it likes."""

STILL = 0.3
"""Seconds for which the figures must be the same before they are taken: the last reload is over then."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the tool holds after so many reloads. rss, bytes: in bytes; files, bytes: those in .goreload/."""

    reload: int
    rss: int
    descriptors: int
    threads: int
    watches: int
    files: int
    bytes: int


def held(pid: int, home: Path, reload: int) -> Held:
    """Count it, from proc(5) and the file system.

    Raises:
        OSError: something went while it was counted.
    """
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files = [path for path in home.rglob("*") if path.is_file()]
    return Held(
        reload,
        int(status["VmRSS"].split()[0]) * 1024,
        len(list((process / "fd").iterdir())),
        int(status["Threads"]),
        len(processes.watched([pid])),
        len(files),
        sum(path.stat().st_size for path in files),
    )


def settled(pid: int, home: Path, reload: int, deadline: float = 30.0) -> Held:
    """What it holds when nothing of it has changed for a moment, memory aside."""
    end = time.monotonic() + deadline
    before: tuple[int, ...] = ()
    since = time.monotonic()
    while True:
        with contextlib.suppress(OSError):
            now = held(pid, home, reload)
            counts = (now.descriptors, now.threads, now.watches, now.files, now.bytes)
            if counts != before:
                before, since = counts, time.monotonic()
            elif time.monotonic() - since > STILL or time.monotonic() > end:
                return now
        time.sleep(0.02)


def grown(found: Sequence[Held]) -> list[str]:
    """What was more at the end than when it had settled, for a person."""
    counted = [one for one in found if one.reload >= SETTLED]
    if len(counted) < 2:
        return []
    first, last = asdict(counted[0]), asdict(counted[-1])
    room = {"reload": last["reload"], "rss": RSS, "bytes": history.LIMIT}  # it grows up to there, and is halved
    return [
        f"{name}: {first[name]} after {first['reload']} reloads, {last[name]} after {last['reload']}"
        for name in first
        if last[name] > first[name] + room.get(name, 0)
    ]


def measure(reloads: int) -> tuple[list[Held], float]:
    """Reload so many times. Returns what was held at each mark, and the seconds of a reload on average."""
    marks = {mark for mark in MARKS if mark <= reloads} | {reloads}
    found: list[Held] = []
    with tempfile.TemporaryDirectory() as scratch, Driver() as driver:
        project = Path(scratch) / "project"
        project.mkdir()
        server(project)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
        dev.url()
        working = 0.0
        for number in range(1, reloads + 1):
            began = time.monotonic()
            text = f"reload {number:06d}"
            (project / "answer.go").write_text(answer(text))
            dev.reload()
            if (said := get(url)) != text:
                raise AssertionError(f"{said!r} instead of {text!r}")
            working += time.monotonic() - began
            if number in marks:
                found.append(settled(dev.process.pid, project / ".goreload", number))
                print(row(found[-1]), flush=True)
        if dev.stop() != 130:
            raise AssertionError(dev.text)
    return found, working / reloads


def row(one: Held) -> str:
    """A line of the table."""
    return (
        f"{one.reload:6d} {one.rss / 1024 / 1024:8.1f} {one.descriptors:11d} {one.threads:7d} {one.watches:7d} "
        f"{one.files:5d} {one.bytes:10d}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    chosen = parser.parse_args()
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(find_go(os.environ)), os.environ["PATH"]])
    print(f"{'reload':>6} {'rss MiB':>8} {'descriptors':>11} threads watches files      bytes", flush=True)
    found, seconds = measure(chosen.reloads)
    more = grown(found)
    said = {"reloads": chosen.reloads, "seconds": round(seconds, 3), "held": [asdict(one) for one in found]}
    OUT.mkdir(exist_ok=True)
    (OUT / "endurance.json").write_text(json.dumps({**said, "grew": more}, indent=2) + "\n")
    print(f"{seconds:.2f} s a reload; in {OUT}/endurance.json as well")
    for line in more:
        print(f"grew: {line}")
    sys.exit(1 if more else 0)


if __name__ == "__main__":
    main()
