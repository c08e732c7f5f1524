"""Does the app serve yet? Found by looking, so no setting is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

PATIENCE = 1.0
"""Seconds after which an app that listens on nothing is taken for one that never will, a worker say."""

LATE = 30.0
"""Seconds for which its port is still looked for after that, calmly."""


OTHER = 2.0
"""Seconds that an app which listens elsewhere has for listening on its PORT too, before it is taken at its word."""

LOOPBACKS = ("127.0.0.1", "::1")


_LISTEN = re.compile(r"listen tcp[46]? \S*:(\d+): bind")


class Place(NamedTuple):
    """Where a server is reached from this machine."""

    host: str
    port: int


def reached(ip: str, port: int) -> Place:
    """How a listening address is reached: one that stands for all (unspecified) by the loopback."""
    if ip in ("", "0.0.0.0", "::", "::ffff:0.0.0.0"):  # `::` takes IPv4 too, or not (IPV6_V6ONLY)
        place = Place("127.0.0.1", port)
        return place if ip != "::" or accepting(place) else Place("::1", port)
    return Place(ip.removeprefix("::ffff:"), port)


def listening(pid: int) -> tuple[Place, ...]:
    """Where a process or one of its descendants listens on TCP: its own places first, then by port."""
    import psutil  # while the first build runs

    places: dict[Place, None] = {}
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                listens = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
                for one in sorted(listens, key=lambda one: one.laddr[1]):
                    places[reached(str(one.laddr[0]), int(one.laddr[1]))] = None
    return tuple(places)


def owner(port: int, app: int | None = None) -> str | None:
    """Who listens on a port, for a person: its pid and command; None: nobody, or somebody we may not see.

    Args:
        app: the pid of an app that is not meant, nor is what it started.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        if app and any(place.port == port for place in listening(app)):
            return None
        for connection in psutil.net_connections("tcp"):
            if not connection.pid or connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"pid {connection.pid} ({command[:100]})"
    return None


def port_in_use(lines: Sequence[str]) -> int | None:
    """The port that an app could not have, from what Go says of it (package net: `listen tcp :8080: bind: ...`)."""
    for line in lines:
        if "address already in use" in line and (match := _LISTEN.search(line)):
            return int(match[1])
    return None


async def found(pid: int, wanted: int, known: int | None, path: str | None) -> Place:
    """Wait until the app listens on its PORT; one that listens elsewhere only is found there after a moment.

    Args:
        known: where it listened the last time, when that was elsewhere.
        path: where it answers 2xx when it is ready; elsewhere is only where it does.
    """
    elsewhere = asyncio.ensure_future(_elsewhere(pid, wanted, known, path))
    try:
        return await first(on(wanted), elsewhere)
    finally:
        elsewhere.cancel()


async def first(one: Awaitable[Place], other: Awaitable[Place]) -> Place:
    """What comes first."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()


async def comes(pid: int, port: int) -> Place:
    """Wait until the app listens on a port, it and nobody else; asked ever more seldom, in the end almost never."""
    pause = 0.1
    while True:
        for place in await asyncio.to_thread(listening, pid):
            if place.port == port:
                return place
        await asyncio.sleep(pause)
        pause *= 1.2


async def on(port: int) -> Place:
    """Wait until somebody listens on a port of this machine."""
    pause = 0.001
    while True:
        for host in LOOPBACKS:
            if accepting(place := Place(host, port)):
                return place
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, 0.005)


async def _elsewhere(pid: int, wanted: int, known: int | None, path: str | None) -> Place:
    """Look where it listens, which costs more than to ask one port: not before that had its time."""
    since = 0.0
    await asyncio.sleep(OTHER / 8 if known is None else 0.0)
    while True:
        places = await asyncio.to_thread(listening, pid)
        now = time.monotonic()
        since = since or (now if places else 0.0)
        sure = places and now - since > OTHER
        for place in places:
            if place.port in (wanted, known) or (sure and (path is None or await _asked(place, path))):
                return place
        await asyncio.sleep(0.1 if known is None else 0.02)


def accepting(place: Place) -> bool:
    """Does somebody listen there?"""
    try:
        with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as one:
            one.settimeout(0.2)
            return one.connect_ex((place.host, place.port)) == 0
    except OSError:  # no IPv6 here
        return False


async def taken(pid: int, listen: socket.socket) -> None:
    """Wait until a process of the app polls the socket that it inherited: what its runtime does before it accepts."""
    number = os.fstat(listen.fileno()).st_ino
    pause = 0.001
    while not await asyncio.to_thread(_polls, pid, number):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _polls(pid: int, inode: int) -> bool:
    """Is the socket of this inode registered with an epoll descriptor of the process (proc(5), fdinfo)? Linux."""
    import psutil

    if not os.path.isdir("/proc/self/fdinfo"):
        return True  # elsewhere it cannot be seen; connections wait in the backlog
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(OSError, psutil.Error):
                base = f"/proc/{process.pid}"
                for fd in os.listdir(f"{base}/fd"):
                    if os.readlink(f"{base}/fd/{fd}") == "anon_inode:[eventpoll]":
                        with open(f"{base}/fdinfo/{fd}", encoding="ascii") as file:
                            watched = [line.split()[1] for line in file if line.startswith("tfd:")]
                        if any(os.readlink(f"{base}/fd/{one}") == f"socket:[{inode}]" for one in watched):
                            return True
    return False


async def accepts(pid: int, patience: float, wanted: int | None = None) -> Place | None:
    """Where the app accepts connections; None when nowhere after `patience` seconds.

    A socket that listens accepts: the kernel completes connections before the app has asked for them (listen(2)).

    Args:
        wanted: this port, when the app listens on several.
    """
    deadline = time.monotonic() + patience
    pause = 0.001
    while True:
        places = listening(pid)
        if places:
            return next((place for place in places if place.port == wanted), places[0])
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.25 if patience > PATIENCE else 0.02)


async def answers(place: Place, path: str) -> None:
    """Wait until GET `path` is answered with a 2xx status."""
    pause = 0.005
    while not await _asked(place, path):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)


async def _asked(place: Place, path: str) -> bool:
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*place)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: localhost:{place.port}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                status = await reader.readline()
                return 200 <= int(status.split()[1]) < 300
            finally:
                writer.close()
    return False
