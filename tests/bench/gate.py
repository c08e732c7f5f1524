"""What the open gate costs: requests straight to the app and through the proxy, in pairs, asked by wrk.

And what the hold costs: from the moment in which the gate opens to the first byte at a client that waited.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from goreload_tasks.adopt.scaffold import render
from goreload_tasks.gateway.gate import Held, Open
from tests.bench.reload import spread
from tests.driver import Driver, free_port, write
from tests.gateway.hosting import Client, Hosted

SECONDS = 3

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask(port: int, connections: int) -> tuple[float, float]:
    """Requests per second, and the median latency in ms."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    half = re.search(r"50% +([\d.]+)(us|ms|s)", said)
    assert rate
    assert half
    return float(rate[1]), float(half[1]) * {"us": 0.001, "ms": 1, "s": 1000}[half[2]]


def held(port: int, times: int) -> list[float]:
    """Milliseconds from the opening of the gate to the first byte, for a client that waits at it."""
    found = []
    with Hosted(Held("the bench")) as hosted:
        for _ in range(times):
            hosted.show(Held("the bench"))
            with Client(hosted.port) as client:
                client.send(REQUEST)
                time.sleep(0.1)  # the request is at the gate long before that
                began = time.perf_counter()
                hosted.show(Open(1, "127.0.0.1", port))
                client.socket.recv(1)
                found.append(1000 * (time.perf_counter() - began))
    return found


def measure(runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch, Driver() as driver:
        folder = Path(scratch) / "app"
        render("gin", folder)
        # Without the line that gin.Default() logs for each request: this is about the proxy, not about a terminal.
        main = folder / "main.go"
        write(folder, {"main.go": main.read_text().replace("gin.Default()", "gin.New()")})
        port = free_port()
        told = {"GORELOAD_SERVE_PORT": str(port), "GIN_MODE": "release"}
        dev = driver.start(folder, "dev", program="goreload", env=told)
        dev.url()
        inner = next(
            one.laddr.port
            for process in psutil.Process(dev.process.pid).children(recursive=True)
            for one in process.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        )
        found: dict[str, object] = {"runs": runs, "seconds": SECONDS}
        for connections in (1, 32):
            ratios, added = [], []
            for number in range(runs):
                ports = [inner, port] if number % 2 else [port, inner]
                seen = {one: ask(one, connections) for one in ports}
                ratios.append(seen[port][0] / seen[inner][0])
                added.append(seen[port][1] - seen[inner][1])
            found[f"rate_ratio_{connections}"] = [round(value, 3) for value in spread(ratios)]
            found[f"p50_added_ms_{connections}"] = [round(value, 3) for value in spread(added)]
        waits = held(inner, 10 * runs)
        found["opened_to_first_byte_ms"] = [
            round(min(waits), 3),
            round(statistics.median(waits), 3),
            round(max(waits), 3),
        ]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    json.dump(measure(parser.parse_args().runs), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
