"""Accepts connections on the sockets of a port while there is room, and ends each of them."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence

from goreload_tasks.gateway.streams import Wire

FILES = 65536
"""Open files that are asked of the system. A client that asks every 2 ms through a build of 10 s needs 5,000."""

SPARED = 128
"""Open files that are left for everything but connections: builds, the app, what watches."""

AT_ONCE = 100
"""Connections accepted before others have their turn again."""

PAUSE = 0.05
"""Seconds without accepting when the system has no room for one more."""


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
        serve: one connection, until nothing more is to be said on it. Raises OSError when the client is gone.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        serve: Callable[[Wire], Awaitable[None]],
    ) -> None:
        self._sockets = sockets
        self._serve = serve
        self._room = room()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted: set[socket.socket] = set()  # those whose task has not begun: cancelled now, it never does
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
        for connection in self._accepted:
            connection.close()

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
            self._accepted.add(connection)
            task = self._loop.create_task(self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if len(self._tasks) >= self._room:
            self._pause()

    async def _take(self, connection: socket.socket) -> None:
        self._accepted.discard(connection)
        _, client = await self._loop.connect_accepted_socket(Wire, connection)
        try:
            await self._serve(client)
            await client.farewell()
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone, or we are: nobody to tell (and asyncio 3.11 logs a cancelled task as an error)
        finally:
            client.abort()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._go_on()
