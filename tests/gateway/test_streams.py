"""One end of a connection, over a real one: what comes is found whole, wherever it is cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.sockets import inner
from goreload_tasks.gateway.streams import Wire
from tests.driver import DEADLINE

HEAD = b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: \n y\r\n\r\n"


def on_a_wire(work: Callable[[Wire, socket.socket], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            _, wire = await asyncio.get_running_loop().create_connection(Wire, sock=ours)
            async with asyncio.timeout(DEADLINE):
                await work(wire, theirs)
            wire.abort()

    asyncio.run(run())


def test_a_head_is_found_wherever_it_is_cut() -> None:
    async def work(wire: Wire, theirs: socket.socket) -> None:
        for at in range(len(HEAD) + 1):
            theirs.sendall(HEAD[:at])
            while len(wire._came) < at:  # noqa: ASYNC110 - a turn of the loop at a time
                await asyncio.sleep(0)
            head = asyncio.create_task(wire.head())
            await asyncio.sleep(0)  # it has what there is
            theirs.sendall(HEAD[at:] + b"rest")
            assert await head == HEAD
            while wire.held != b"rest":
                await wire.fill()
            assert wire.take() == b"rest"

    on_a_wire(work)


def test_what_came_before_a_break_is_read_first() -> None:
    async def work(wire: Wire, theirs: socket.socket) -> None:
        theirs.sendall(b"last words")
        while wire.quiet:  # noqa: ASYNC110 - a turn of the loop at a time
            await asyncio.sleep(0)
        wire.connection_lost(ConnectionResetError())
        assert wire.broken
        assert wire.full
        assert await wire.read() == b"last words"
        for step in (wire.read(), wire.drain()):
            with pytest.raises(ConnectionResetError):
                await step

    on_a_wire(work)


def test_a_connection_accepted_as_the_listener_closes_is_closed_too() -> None:
    async def run() -> None:
        async def serve(_: Wire) -> None:
            raise AssertionError("it never begins")

        one = inner()
        listener = Listener([one], serve)
        with socket.create_connection(one.getsockname(), DEADLINE) as client:
            while not listener._accepted:  # noqa: ASYNC110 - a turn of the loop at a time
                await asyncio.sleep(0)
            listener.stop()
            await listener.close()
            assert client.recv(1) == b""

    asyncio.run(run())
