"""One end of a connection: what came in is held until somebody wants it, and ends are told apart from breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import cast

from goreload_tasks.gateway.framing import Malformed
from goreload_tasks.gateway.http import HEAD_END

BLOCK = 64 * 1024
"""Bytes that come in unasked before no more are taken from the system."""
RECEIVED = 256 * 1024
"""Bytes that are received at once at most."""
LINGER = 0.5
"""Seconds that a client may go on sending before we close; closing at once would reset it under our answer."""
MAX_HEAD = 1024 * 1024


class _Inbox(threading.local):
    """Where a loop's thread receives, whatever the connection: to make room for each time costs more than to copy."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(RECEIVED))


_inbox = _Inbox()


class Wire(asyncio.BufferedProtocol):
    """One end of a connection; one at a time may read it, and one write to it.

    asyncio's own pair of streams does as much with twice the calls, and calls are what an open gate costs.
    """

    def __init__(self) -> None:
        self.held = b""
        """What was read too far, for the next who reads."""
        self.full = False
        """What was written waits for the other side, or is lost: whoever writes more calls `drain`."""
        self.peer = ("", 0)
        """Who is at the other end."""
        self.write: Callable[[bytes], None]
        """Send this, at once or when there is room."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._came = b""
        self._paused = False
        self._closing = False  # nothing more comes
        self._lost = False  # and nothing more goes
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # -- what asyncio tells --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write
        self.peer = (transport.get_extra_info("peername") or self.peer)[:2]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - there is as much room as there is
        return _inbox.view

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_inbox.view[:nbytes])
        self._came = self._came + data if self._came else data
        if len(self._came) > BLOCK and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._closing = True
        _wake(self._reader)
        return True  # what it asked for can still be sent

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = self._lost = True
        self._error = exc
        self.full = True
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        _wake(self._writer)

    # -- what comes in -------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """The next block; empty at the end. Raises OSError when the connection was reset."""
        if not self.held:
            await self.fill()
        return self.take()

    async def fill(self) -> bool:
        """Hold another block; false at the end. Raises OSError when the connection was reset."""
        while not self._came:
            if self._error:
                raise self._error
            if self._closing:
                return False
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        block, self._came = self._came, b""
        self.held = self.held + block if self.held else block
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return True

    async def head(self) -> bytes:
        """Up to and with the empty line; empty at the end. Raises OSError, and Malformed when it is too long."""
        seen = 0
        while True:
            if self.held[:1] in (b"\r", b"\n"):  # RFC 9112 2.2
                self.held = self.held.lstrip(b"\r\n")
            if found := HEAD_END.search(self.held, seen):
                head, self.held = self.held[: found.end()], self.held[found.end() :]
                return head
            if len(self.held) > MAX_HEAD:
                raise Malformed("the head is too long", 431)
            seen = max(0, len(self.held) - 2)
            if not await self.fill():
                return b""

    def take(self) -> bytes:
        """What is held, now the caller's."""
        block, self.held = self.held, b""
        return block

    @property
    def quiet(self) -> bool:
        """Nothing came that nobody has read, not even the end."""
        return not (self.held or self._came or self._closing)

    @property
    def ended(self) -> bool:
        """There is nothing more to read."""
        return self._closing and not self.held and not self._came

    @property
    def broken(self) -> bool:
        """The other side broke off; what came before can be read still."""
        return self._error is not None

    # -- what goes out -------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """Something that was written is not with the system yet."""
        return bool(self._transport.get_write_buffer_size())

    async def drain(self) -> None:
        """Wait until there is room; raises OSError when the connection is gone, or breaks meanwhile."""
        if self._lost:
            raise self._error or ConnectionResetError("the connection is gone")
        while self.full and not self._lost:
            await self._room()
        if self._error:
            raise self._error

    async def _room(self) -> None:
        """Wait until there is room, or the connection is gone."""
        self._writer = self._loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None

    def half_close(self) -> None:
        """Send nothing more; go on reading."""
        with contextlib.suppress(OSError):  # the peer is gone already
            self._transport.write_eof()

    async def farewell(self) -> None:
        """Close a client's connection; raises OSError when it is gone.

        Not at once: what the client still sends would reset it under our answer.
        """
        self.half_close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self.read():
                    pass
        self._transport.close()
        while not self._lost:
            await self._room()

    def abort(self) -> None:
        """Close it at once; what is unsent is lost."""
        self._transport.abort()

    def reset(self) -> None:
        """Break off, so that the peer cannot take what it has for all there is."""
        with contextlib.suppress(OSError):
            one = self._transport.get_extra_info("socket")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter and not waiter.done():
        waiter.set_result(None)


async def connect(host: str, port: int) -> Wire:
    """To an address, not a name: to look that up takes as long again. Raises OSError."""
    loop = asyncio.get_running_loop()
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    one.setblocking(False)
    try:
        await loop.sock_connect(one, (host, port))
    except BaseException:
        one.close()
        raise
    _, wire = await loop.create_connection(Wire, sock=one)
    return wire


async def pump(source: Wire, to: Wire) -> None:
    """All that comes from one goes to the other, and its end too; raises OSError when one of them breaks off."""
    while block := await source.read():
        to.write(block)
        await to.drain()
    to.half_close()


def text(error: OSError) -> str:
    """The system's own words."""
    return os.strerror(error.errno) if error.errno else str(error)
