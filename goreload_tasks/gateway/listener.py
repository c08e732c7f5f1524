"""The sockets of a port, and the connections that are accepted on them while there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence

from goreload_tasks.app import readiness
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Settings

BACKLOG = 1024
"""Connections that wait while nobody accepts; the kernel's own limit is often 4096 (net.core.somaxconn)."""

FILES = 65536
"""Open files that are asked of the system. A client that asks every 2 ms through a build of 10 s needs 5,000."""

SPARED = 128
"""Open files that are left for everything but connections: builds, the app, what watches."""

AT_ONCE = 100
"""Connections accepted before others have their turn again."""

PAUSE = 0.05
"""Seconds without accepting when the system has no room for one more."""


def bind(settings: Settings, addresses: Sequence[str]) -> list[socket.socket]:
    """Listening sockets on `serve.port`, one per address.

    Raises:
        GoreloadError: a port that somebody has (who is said), or an address that is not ours.
    """
    serve = settings.serve
    assert serve.port is not None
    made: list[socket.socket] = []
    for address in dict.fromkeys(addresses):
        try:
            made.append(_listen(address, serve.port))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and address == "::1" and made:
                continue  # a machine without IPv6
            who = readiness.owner(serve.port) if error.errno == errno.EADDRINUSE else None
            for one in made:
                one.close()
            if error.errno == errno.EADDRINUSE:
                if who and who.startswith(f"pid {os.getpid()} "):
                    raise GoreloadError(f"serve.bind: {address} is part of another address there; remove it") from None
                by = f" by {who}" if who else ""
                said = f"serve.port = {serve.port}: that port of {address} is used{by}"
                raise GoreloadError(f"{said}; stop it or choose another port") from None
            why = error.strerror or str(error)
            raise GoreloadError(f"serve.bind: cannot listen on {address} port {serve.port}: {why}") from None
    return made


def inner() -> socket.socket:
    """A listening socket on a free port of this machine, for one launch to inherit."""
    return _listen("127.0.0.1", 0)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def room() -> int:
    """How many connections may be open at once: each has one to the app. Raises the soft limit of open files first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):  # macOS knows a lower one that it does not tell
            pass
    most = wanted if soft == resource.RLIM_INFINITY else soft
    return max((most - SPARED) // 2, 16)


class Listener:
    """Accepts connections as long as there is room; what comes after waits in the backlog, and is not refused.

    `asyncio.start_server` accepts until no file is left, and then neither an app nor a build can be started.

    Args:
        sockets: that listen.
        serve: one connection.
        limit: of its reader, in bytes.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        limit: int,
    ) -> None:
        self._sockets = sockets
        self._serve = serve
        self._limit = limit
        self._room = room()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._stopped = False
        for one in sockets:
            one.setblocking(False)
        self._go_on()

    def stop(self) -> None:
        """Accept nothing more."""
        self._stopped = True
        self._pause()
        for one in self._sockets:
            one.close()

    async def close(self) -> None:
        """End what was accepted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go_on(self) -> None:
        if not self._accepting and not self._stopped and len(self._tasks) < self._room:
            self._accepting = True
            for one in self._sockets:
                self._loop.add_reader(one, self._accept, one)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for one in self._sockets:
                self._loop.remove_reader(one)

    def _accept(self, one: socket.socket) -> None:
        for _ in range(min(AT_ONCE, self._room - len(self._tasks))):
            try:
                connection, _ = one.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no room after all: somebody else has it
                self._pause()
                self._loop.call_later(PAUSE, self._go_on)
                return
            task = self._loop.create_task(self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if len(self._tasks) >= self._room:
            self._pause()

    async def _take(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader(self._limit, self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, connection)
        await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, self._loop))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._go_on()
