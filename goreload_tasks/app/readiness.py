"""Does the app serve yet? Found by looking, so no setting is needed."""

from __future__ import annotations

import asyncio
import contextlib
import time

PATIENCE = 1.0
"""Seconds after which an app that listens on nothing is taken for one that never will, a worker say."""

LATE = 30.0
"""Seconds for which its port is still looked for after that, calmly."""


def listening(pid: int) -> tuple[int, ...]:
    """The TCP ports on which a process or one of its descendants listens, lowest first."""
    import psutil  # while the first build runs

    ports: set[int] = set()
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        ports.add(connection.laddr.port)
    return tuple(sorted(ports))


async def accepts(pid: int, patience: float, wanted: int | None = None) -> int | None:
    """The port on which the app accepts connections; None when there is none after `patience` seconds.

    A socket that listens accepts: the kernel completes connections before the app has asked for them (listen(2)).

    Args:
        wanted: this port, when the app listens on several.
    """
    deadline = time.monotonic() + patience
    pause = 0.001
    while True:
        ports = listening(pid)
        if wanted in ports:
            return wanted
        if ports:
            return ports[0]
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.25 if patience > PATIENCE else 0.02)


async def answers(port: int, path: str) -> None:
    """Wait until GET `path` is answered with a 2xx status."""
    pause = 0.005
    while not await _asked(port, path):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)


async def _asked(port: int, path: str) -> bool:
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("localhost", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
                return 200 <= int(status.split()[1]) < 300
            finally:
                writer.close()
    return False
