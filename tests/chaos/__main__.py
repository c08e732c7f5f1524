"""Worlds of chaos one after the other, each replayable by its own seed.

`python -m tests.chaos --mode proxy --seed 7 --seconds 25` is one; with more seconds than `--world` there are several,
with the seeds that follow, in all modes by turns unless one is named. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import get_args

from goreload_tasks.build.toolchain import find_go
from tests.chaos.world import Mode, Report, World, own_disk
from tests.driver import Driver


def one(mode: Mode, seed: int, seconds: float) -> Report:
    """A world from its begin to its end."""
    with tempfile.TemporaryDirectory() as scratch, Driver() as driver:
        (folder := Path(scratch) / "project").mkdir()
        small = own_disk(folder)
        try:
            return World(mode, seed, Path(scratch), small, driver).live(seconds)
        finally:
            if small:
                driver.__exit__(None, None, None)
                subprocess.run(["umount", "-l", folder], check=False)


def told(report: Report) -> None:
    """A world that found something: how to have it again, what was done, what the tool said."""
    print(f"\n--- {report.mode}, seed {report.seed}: {report.finding}")
    print("\n".join(report.log))
    print(f"--- the tool said\n{report.output}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=get_args(Mode))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--world", type=float, default=60.0, help="seconds of one world")
    chosen = parser.parse_args()
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(find_go(os.environ)), os.environ["PATH"]])
    modes: list[Mode] = [chosen.mode] if chosen.mode else list(get_args(Mode))
    steps: Counter[str] = Counter()
    found: list[Report] = []
    end = time.monotonic() + chosen.seconds
    worlds = quiet = restarts = asked = counts = 0
    while (left := end - time.monotonic()) > 1 or not worlds:
        report = one(modes[worlds % len(modes)], chosen.seed + worlds // len(modes), min(left, chosen.world))
        worlds += 1
        steps += report.steps
        quiet, restarts = quiet + report.quiet, restarts + report.restarts
        asked, counts = asked + report.asked, counts + report.counts
        if report.finding:
            found.append(report)
            told(report)
    for name, times in steps.most_common():
        print(f"{times:7d} {name}")
    print(
        f"{steps.total()} steps in {worlds} worlds from seed {chosen.seed}; {quiet} quiet points, {restarts} restarts "
        f"of the tool, {asked} answers, {counts} counts of processes"
    )
    if not steps["full disk"]:
        print("no full disk: none was drawn, or mounting is not permitted here")
    for report in found:
        print(f"found: --mode {report.mode} --seed {report.seed}: {report.finding}")
    print(f"{len(found)} findings")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
