"""Save -> first new answer, against the bare loop: write, `go build` with the same flags, stop, start.

Pairs are interleaved in one run, so that a slow moment of the machine hits both; medians, ranges and ratios are
printed. In both a client asks all the time, every 5 ms, from the save on: what it costs, it costs both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from goreload_tasks.adopt.scaffold import render
from tests.driver import Driver, free_port, get

RESOLUTION = 0.005
"""Seconds between two questions of the client."""

Starter = Literal["gin", "nethttp"]


def edit(folder: Path, text: str) -> None:
    """Change the greeting."""
    handlers = folder / "handlers" / "handlers.go"
    lines = handlers.read_text().splitlines(keepends=True)
    lines = [f'const Greeting = "{text}"\n' if line.startswith("const Greeting") else line for line in lines]
    handlers.write_text("".join(lines))


def answered(port: int, text: str) -> None:
    """Wait for the answer, asking all the time."""
    end = time.monotonic() + 60
    while get(f"http://127.0.0.1:{port}").strip() != text:
        if time.monotonic() > end:
            raise AssertionError(f"{text} never came")
        time.sleep(RESOLUTION)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Bare:
    """The loop without a tool."""

    def __init__(self, folder: Path, argv: Sequence[str]) -> None:
        self.folder, self.argv, self.port = folder, argv, free_port()
        self.binary = folder / "bare.bin"
        self.app: subprocess.Popen[bytes] | None = None

    def save(self, text: str) -> None:
        client = threading.Thread(target=answered, args=(self.port, text))
        client.start()
        edit(self.folder, text)
        subprocess.run([*self.argv[:3], str(self.binary), *self.argv[4:]], cwd=self.folder, check=True)
        self.stop()
        env = {**os.environ, "PORT": str(self.port), "GIN_MODE": "release"}
        self.app = subprocess.Popen([self.binary], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client.join()

    def stop(self) -> None:
        if self.app:
            self.app.terminate()
            self.app.wait()


def build_argv(driver: Driver, folder: Path) -> list[str]:
    """The build that `dev` would run, its flags for the bare loop."""
    said = driver.run(folder, "--dry", "dev", "--json", program="goreload").stdout.splitlines()[0]
    return list(json.loads(said)["argv"])


def measure(starter: Starter, runs: int, direct: bool) -> dict[str, object]:
    """Medians of both, in ms, and the ratios pair by pair. `direct`: without the gate."""
    with tempfile.TemporaryDirectory() as scratch, Driver() as driver:
        ours_folder, bare_folder = Path(scratch) / "ours", Path(scratch) / "bare"
        render(starter, ours_folder)
        render(starter, bare_folder)
        argv = build_argv(driver, ours_folder)
        bare = Bare(bare_folder, argv)
        port = free_port()
        told = {"PORT": str(port), "GORELOAD_SERVE_PORT": ""} if direct else {"GORELOAD_SERVE_PORT": str(port)}
        driver.start(ours_folder, "dev", program="goreload", env={**told, "GIN_MODE": "release"})
        answered(port, {"gin": "Hello from Gin", "nethttp": "Hello from net/http"}[starter])

        def ours(text: str) -> None:
            edit(ours_folder, text)
            answered(port, text)

        times: dict[str, list[float]] = {"bare": [], "ours": []}
        for number in range(runs + 1):
            pair = [("bare", bare.save), ("ours", ours)]
            for name, save in pair if number % 2 else reversed(pair):
                text = f"{name} {number}"
                took = timed(lambda save=save, text=text: save(text))  # type: ignore[misc]
                if number:  # the first pair warms up
                    times[name].append(took)
                time.sleep(0.3)  # between two saves a person breathes
        bare.stop()
    ratios = [one / other for one, other in zip(times["ours"], times["bare"], strict=True)]
    return {
        "starter": starter,
        "mode": "direct" if direct else "proxy",
        "flags": argv[4:-1],
        "runs": runs,
        **{f"{name}_ms": [round(1000 * value) for value in spread(values)] for name, values in times.items()},
        "ratio": [round(value, 3) for value in spread(ratios)],
        "resolution_ms": 1000 * RESOLUTION,
    }


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median, most."""
    return min(values), statistics.median(values), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--starter", choices=["gin", "nethttp"], default="gin")
    parser.add_argument("--direct", action="store_true")
    chosen = parser.parse_args()
    json.dump(measure(chosen.starter, chosen.runs, chosen.direct), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
