"""Question 7. What the gate costs an open road, asked by wrk in pairs: straight to the app, and through the proxy.

And what the hold costs: from the moment in which the gate opens to the first byte at a client that waited.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import psutil

from goreload_tasks.gateway.gate import Held, Open
from tests.bench.apps import make
from tests.bench.lab import CannotMeasureError, Data, Lab, Table, in_turn, ratios, shown
from tests.bench.plots import Canvas
from tests.bench.tools import Running, ours
from tests.gateway.hosting import Client, Hosted

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

CONNECTIONS = (1, 32)


def measure(lab: Lab) -> Data:
    rates: dict[str, dict[str, list[float]]] = {}
    app = make(lab.folder("gate") / "app", "gin", 3)
    with Running(ours("ours"), app) as running:
        running.up()
        inner = next(
            one.laddr.port
            for process in psutil.Process(running.process.pid).children(recursive=True)
            for one in process.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        )
        ports = {"app": inner, "proxy": running.port}
        for connections in CONNECTIONS if shutil.which("wrk") else ():
            found = rates[f"{connections}"] = {f"{name}_{what}": [] for name in ports for what in ("rate", "p50_ms")}
            for number in lab.rounds(10, 1, 6):
                for name in in_turn(list(ports), number):
                    rate, half = _ask(ports[name], connections, lab.pick(1, 3))
                    found[f"{name}_rate"].append(rate)
                    found[f"{name}_p50_ms"].append(half)
        opened = _held(inner, lab.pick(10, 100))
    return {"wrk": bool(rates), "rates": rates, "opened_ms": opened}


def _ask(port: int, connections: int, seconds: int) -> tuple[float, float]:
    """Requests per second, and the median latency in ms."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    half = re.search(r"50% +([\d.]+)(us|ms|s)", said)
    if not rate or not half or "Non-2xx" in said or "Socket errors" in said:
        raise CannotMeasureError(f"wrk said: {said}")
    return float(rate[1]), float(half[1]) * {"us": 0.001, "ms": 1, "s": 1000}[half[2]]


def _held(port: int, times: int) -> list[float]:
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


def tables(data: Data) -> list[Table]:
    rows = [
        [
            connections,
            shown(ratios(found["proxy_rate"], found["app_rate"]), 2),
            shown([one - other for one, other in zip(found["proxy_p50_ms"], found["app_p50_ms"], strict=True)], 2),
            shown(found["proxy_rate"]),
            shown(found["app_rate"]),
        ]
        for connections, found in data["rates"].items()
    ]
    head = ["connections", "rate to the app's own", "p50 added, ms", "requests/s", "of the app alone"]
    made = [Table("Through the gate", head, rows, [] if data["wrk"] else ["wrk is not on PATH: apt-get install wrk"])]
    opened = [[shown(data["opened_ms"], 2)]]
    return [*made, Table("From the opening of the gate to the first byte", ["ms"], opened)]


def draw(data: Data, canvas: Canvas) -> None:
    bars = {
        f"{name} connections": ratios(found["proxy_rate"], found["app_rate"]) for name, found in data["rates"].items()
    }
    group = "times the app alone"
    canvas.bars("gate", "Requests a second through the gate", {group: bars}, lines={group: 1.0})
