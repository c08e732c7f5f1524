"""The development proxy: HTTP/1.1 passed on as it was read, through the gate, to the launch that serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from goreload_tasks.gateway.connection import Connection
from goreload_tasks.gateway.gate import Gate, State
from goreload_tasks.gateway.http import Head
from goreload_tasks.gateway.streams import Wire

SOON = 0.05
"""Seconds before the client of a request is watched: most answers are there before that is worth a task."""


class Proxy:
    """Serves client connections.

    Args:
        gate: says which launch a request goes to, and counts what is under way.
        port: the port that people use; redirects to the app's own one are turned to it.
        refuse: the whole answer to a request that no launch serves. Its body is left out for HEAD.
        lost: the whole answer, for a reason, when the app broke off a request that must not be sent twice.
        mark: of the moment in which a page's request goes to the app; `tag` gets it.
        tag: given the head of an answer with HTML and that mark, what to append to the page; empty: it stays as it is.
        control: serves a request whose path begins with `/.goreload/`; its body is still to be read.
        hosts: is this value of Host one of ours? Any other page could be reading us (DNS rebinding).
    """

    def __init__(
        self,
        gate: Gate,
        *,
        port: Callable[[], int],
        refuse: Callable[[State, Head], bytes],
        lost: Callable[[str], bytes],
        mark: Callable[[], str],
        tag: Callable[[Head, str], bytes],
        control: Callable[[Head, Wire], Awaitable[None]],
        hosts: Callable[[str], bool],
    ) -> None:
        self.gate = gate
        self.port = port
        self.refuse = refuse
        self.lost = lost
        self.mark = mark
        self.tag = tag
        self.control = control
        self.hosts = hosts
        # The loop holds a task that waits on a half-closed connection weakly, so it could be collected.
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._round: asyncio.TimerHandle | None = None

    async def serve(self, client: Wire) -> None:
        """One client connection; for a `Listener`."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task
        self._connections[task] = connection = Connection(self, task, client)
        try:
            await connection.run()
        finally:
            connection.drop()
            del self._connections[task]

    def cut(self, launch: int) -> None:
        """End what is still connected to a launch: idle connections, and streams that would never end by themselves."""
        for connection in self._connections.values():
            if connection.upstream and connection.upstream.to.launch == launch:
                connection.upstream.wire.abort()

    def look_after(self) -> None:
        """Have the clients watched whose answers are not there soon; one timer does for all of them."""
        if not self._round:
            self._round = asyncio.get_running_loop().call_later(SOON, self._look)

    def _look(self) -> None:
        self._round = None
        due = time.monotonic() - SOON
        for connection in self._connections.values():
            if connection.asked is None:
                continue
            if connection.asked <= due:
                connection.watch()
            else:
                self.look_after()
