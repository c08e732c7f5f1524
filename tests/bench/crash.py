"""Question 5. Services that crash together: started again at once, against a delay with jitter.

Each works for a while before it listens, as one does that fills caches and opens connections. All are killed at one
moment; the peak is of the half second in which they took most processor time, with the tool that starts them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from tests.bench import processes
from tests.bench.apps import App
from tests.bench.lab import Data, Lab, Table, in_turn, ratios, shown, until
from tests.bench.plots import Canvas
from tests.bench.tools import Running, Tool, ours
from tests.driver import free_port, write

MAIN = """package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	sum := sha256.Sum256([]byte(os.Args[0]))
	for range ROUNDS {
		sum = sha256.Sum256(sum[:])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%x", sum) })
	http.Serve(listener, nil)
}
"""

ROUNDS = 1_000_000
"""Of work before it listens: a tenth of a second of processor time or so."""

WAYS = {
    "at once": ("0s", "0"),
    "1 s": ("1s", "0"),
    "1 s, jitter 0.5": ("1s", "0.5"),
    "1 s, jitter 2": ("1s", "2"),
}
"""Delay and jitter of `crash`; with jitter the delay is longer by up to that share of it."""


def measure(lab: Lab) -> Data:
    count = lab.pick(4, 20)
    place = lab.folder("crash")
    ways = {name: WAYS[name] for name in lab.pick(("at once", "1 s, jitter 0.5"), WAYS)}
    found: dict[str, Data] = {name: {"peak_cores": [], "healthy_s": [], "cpu_s": []} for name in ways}
    for number in lab.rounds(7, 1, 25):
        for name in in_turn(list(ways), number):
            peak, seconds, used = _crash(place / f"{number}-{name.replace(' ', '')}", count, *ways[name])
            lab.say(f"{count} services, {name}: all healthy after {seconds:.2f} s")
            found[name]["peak_cores"].append(peak)
            found[name]["healthy_s"].append(seconds)
            found[name]["cpu_s"].append(used)
    return {"services": count, "ways": found}


def _crash(place: Path, count: int, delay: str, jitter: str) -> tuple[float, float, float]:
    """Cores at the peak, seconds until all are healthy, seconds of processor time."""
    folder = place / "app"
    ports = [free_port() for _ in range(count)]
    files = {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": MAIN.replace("ROUNDS", f"{ROUNDS}")}
    lines = [f"    s{at}: {{env: {{PORT: '{port}'}}}}" for at, port in enumerate(ports)]
    files["invoke.yaml"] = "\n".join(["goreload:", "  services:", *lines, ""])
    files["tasks.py"] = "from goreload_tasks import ns  # noqa: F401\n"
    write(folder, files)
    env = {
        "GORELOAD_CRASH_RESTART": "backoff",
        "GORELOAD_CRASH_DELAY": delay,
        "GORELOAD_CRASH_JITTER": jitter,
    }
    with Running(Tool("ours", ours("ours").start, env=env, port="UNUSED"), App(folder, "nethttp", 0)) as running:
        running.until(lambda: all(map(_listens, ports)), f"{count} services", 120, 0.05)
        processes.quiet(running.mark, 0.5, 30)
        with processes.Meter(running.mark) as meter:
            own = set(running.own)
            apps = [pid for pid in running.members if pid not in own]
            began = time.monotonic()
            for pid in apps:
                os.kill(pid, signal.SIGKILL)
            # Gone first, or the old ones would be taken for new ones.
            until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in apps), "the end of the old ones", 30)
            waiting = set(ports)

            def healthy() -> bool:
                waiting.difference_update({port for port in waiting if _listens(port)})
                return not waiting

            running.until(healthy, "all services after the crash", 120)
            seconds = time.monotonic() - began
    return meter.peak_cores, seconds, meter.cpu


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def tables(data: Data) -> list[Table]:
    first = next(iter(data["ways"].values()))
    rows = [
        [
            name,
            shown(ratios(found["healthy_s"], first["healthy_s"]), 2),
            shown(ratios(found["peak_cores"], first["peak_cores"]), 2),
            shown(found["healthy_s"], 2),
            shown(found["peak_cores"], 2),
            shown(found["cpu_s"], 2),
        ]
        for name, found in data["ways"].items()
    ]
    head = ["started again", "healthy, to at once", "peak, to at once", "s to all healthy", "peak, cores", "CPU s"]
    return [Table(f"{data['services']} services that crash together", head, rows)]


def draw(data: Data, canvas: Canvas) -> None:
    panels = {
        "s to all healthy": {name: found["healthy_s"] for name, found in data["ways"].items()},
        "peak, cores": {name: found["peak_cores"] for name, found in data["ways"].items()},
    }
    canvas.bars("crash", f"{data['services']} services that crash together", panels)
