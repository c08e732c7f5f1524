"""What a start costs, and the rest after it, with 50,000 ignored files in 5,000 folders beside the program.

Pairs of the bare `go build`, start and first answer with `dev` to the first answer; then what `dev` holds at rest:
watches, memory, CPU and wake-ups. And how long one look at 5,000 settled inputs takes, against as many bare stat calls.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from goreload_tasks.adopt.scaffold import render
from goreload_tasks.inputs.snapshot import Snapshot
from tests.bench.reload import build_argv, spread
from tests.driver import Driver, free_port, get

REST = 10


def until_answered(port: int) -> None:
    while not get(f"http://127.0.0.1:{port}"):
        time.sleep(0.002)


def bare(folder: Path, argv: list[str]) -> float:
    port = free_port()
    binary = folder.parent / "bare.bin"
    began = time.perf_counter()
    subprocess.run([*argv[:3], str(binary), *argv[4:]], cwd=folder, check=True)
    env = {**os.environ, "PORT": str(port), "GIN_MODE": "release"}
    with subprocess.Popen([binary], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as app:
        until_answered(port)
        took = time.perf_counter() - began
        app.terminate()
    return took


def ours(driver: Driver, folder: Path) -> tuple[float, psutil.Process]:
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GIN_MODE": "release"}
    began = time.perf_counter()
    dev = driver.start(folder, "dev", program="goreload", env=env)
    until_answered(port)
    return time.perf_counter() - began, psutil.Process(dev.process.pid)


def watches(process: psutil.Process) -> int:
    """The watches of its inotify descriptors (proc(5), fdinfo)."""
    infos = Path(f"/proc/{process.pid}/fdinfo")
    return sum(len(re.findall(r"^inotify ", path.read_text(), re.MULTILINE)) for path in infos.iterdir())


def look(scratch: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of looks at 5,000 settled inputs, and of as many bare calls of stat."""
    files = []
    for number in range(5000):
        path = scratch / f"package{number % 100}" / f"file{number}.go"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package p\n\nvar V{number} = {number}\n")
        os.utime(path, (1, 1))
        files.append(str(path))
    time.sleep(0.1)
    snapshot = Snapshot()
    snapshot.look(files, ())
    snapshot.look(files, ())
    looks, stats = [], []
    for _ in range(15):
        began = time.perf_counter()
        snapshot.look(files, ())
        looks.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        for one in files:
            os.stat(one)
        stats.append(1000 * (time.perf_counter() - began))
    return looks, stats


def measure(runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch, Driver() as driver:
        folder = Path(scratch) / "app"
        render("gin", folder)
        with (folder / ".gitignore").open("a") as file:
            file.write("/assets/\n")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        for number in range(5000):
            (folder / "assets" / f"{number % 50}" / f"{number}").mkdir(parents=True)
            for name in range(10):
                (folder / "assets" / f"{number % 50}" / f"{number}" / f"{name}.json").write_text("{}")
        argv = build_argv(driver, folder)
        more = []
        for number in range(runs + 1):
            plain = bare(folder, argv)
            took, process = ours(driver, folder)
            if number:  # the first one finds the inputs out
                more.append(took - plain)
            if number < runs:
                process.send_signal(2)
                process.wait(30)
        time.sleep(2)
        before, switches = process.cpu_times(), process.num_ctx_switches()
        time.sleep(REST)
        after = process.cpu_times()
        looks, stats = look(Path(scratch) / "inputs")
        return {
            "runs": runs,
            "over_bare_s": [round(value, 3) for value in spread(more)],
            "watches": watches(process),
            "rss_mb": round(process.memory_info().rss / 1e6, 1),
            "idle_cpu_percent": round(100 * (after.user + after.system - before.user - before.system) / REST, 2),
            "idle_wakeups_per_s": (process.num_ctx_switches().voluntary - switches.voluntary) / REST,
            "look_5000_ms": [round(value, 1) for value in spread(looks)],
            "stat_5000_ms": [round(value, 1) for value in spread(stats)],
            "look_to_stat": round(statistics.median(a / b for a, b in zip(looks, stats, strict=True)), 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    json.dump(measure(parser.parse_args().runs), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
