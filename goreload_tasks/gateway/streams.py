"""Both ends of a connection: what was read too far is held, and ends are told apart from breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct

from goreload_tasks.gateway.framing import Malformed
from goreload_tasks.gateway.http import HEAD_END

BLOCK = 64 * 1024
"""Bytes read at once; the stream limit that a listener must give its readers, too."""
LINGER = 0.5
"""Seconds that a client may go on sending before we close; closing at once would reset it under our answer."""
MAX_HEAD = 1024 * 1024


class Source:
    """What comes in on a connection; what was read too far is held for the next who reads."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.held = b""
        self._reader = reader

    async def read(self) -> bytes:
        """The next block; empty at the end. Raises OSError when the connection was reset."""
        if self.held:
            return self.take()
        return await self._reader.read(BLOCK)

    async def fill(self) -> bool:
        """Hold another block; false at the end."""
        block = await self._reader.read(BLOCK)
        self.held += block
        return bool(block)

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
    def ended(self) -> bool:
        """There is nothing more to read."""
        return not self.held and (self._reader.at_eof() or self._reader.exception() is not None)


def text(error: OSError) -> str:
    """The system's own words."""
    return os.strerror(error.errno) if error.errno else str(error)


async def pump(source: Source, writer: asyncio.StreamWriter) -> None:
    while block := await source.read():
        writer.write(block)
        await writer.drain()
    half_close(writer)


async def feed(source: Source, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while block := await source.read():
            reader.feed_data(block)
    reader.feed_eof()


def half_close(writer: asyncio.StreamWriter) -> None:
    """Send nothing more; go on reading."""
    with contextlib.suppress(OSError):  # the peer is gone already
        writer.write_eof()


async def farewell(client: Source, writer: asyncio.StreamWriter) -> None:
    """Close a client's connection; raises OSError when it is gone. At once, and what it still sends would reset it."""
    half_close(writer)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await client.read():
                pass
    writer.close()
    await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break off, so that the peer cannot take what it has for all there is."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
