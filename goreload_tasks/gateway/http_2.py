"""HTTP/2 without an upgrade (RFC 9113 3.3), passed on as it came: only where frames begin is looked at.

A connection carries many requests, and headers are compressed against those before them, so none can be moved to
another app. What does not go to the app that the connection began with is given back by GOAWAY, which says that it was
not acted on: the client asks again, on a new connection, and that waits at the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from goreload_tasks.gateway.gate import Gate, Open
from goreload_tasks.gateway.streams import Wire

PREFACE = len(b"SM\r\n\r\n")
"""Bytes of the client's preface after what reads as a head of HTTP/1 (RFC 9113 3.4)."""

HEAD = 9
DATA, HEADERS, RST_STREAM, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x7, 0x9
END_STREAM = 0x1


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a frame, with what the frame's head says (RFC 9113 4.1). `first`, `last`: it begins or ends there."""

    kind: int
    flags: int
    stream: int
    data: bytes
    first: bool
    last: bool


class Frames:
    """One direction of a connection.

    Args:
        before: bytes before its first frame.
    """

    def __init__(self, before: int = 0) -> None:
        self._left = before
        self._held = b""
        self._now = (-1, 0, 0)

    @property
    def between(self) -> bool:
        """Nothing of a frame has been given yet that is not whole."""
        return not self._left

    def cut(self, block: bytes) -> Iterator[Piece]:
        """What may be passed on now; the head of a frame comes in one piece."""
        data, self._held = self._held + block, b""
        at = 0
        while at < len(data):
            first = not self._left
            if first:
                if len(data) - at < HEAD:
                    self._held = data[at:]
                    return
                self._left = HEAD + int.from_bytes(data[at : at + 3], "big")
                stream = int.from_bytes(data[at + 5 : at + HEAD], "big") & 0x7FFFFFFF
                self._now = (data[at + 3], data[at + 4], stream)
            step = min(self._left, len(data) - at)
            self._left -= step
            yield Piece(*self._now, data[at : at + step], first, not self._left)
            at += step


def goaway(last: int) -> bytes:
    """Nothing was wrong, and no stream after this one was acted on (RFC 9113 6.8)."""
    return (8).to_bytes(3, "big") + bytes([GOAWAY, 0]) + bytes(4) + last.to_bytes(4, "big") + bytes(4)


class Streams:
    """A connection of HTTP/2 between a client and one launch of the app.

    Args:
        gate: is asked for each request, and counts it until it is answered.
    """

    def __init__(self, gate: Gate, client: Wire, app: Wire, to: Open) -> None:
        self._gate = gate
        self._client = client
        self._app = app
        self._to = to
        self._answers = Frames()
        self._newest = 0  # the last stream that the app got
        self._open: set[int] = set()  # those that it has not answered yet
        self._leaving = False
        self._told = False

    async def run(self) -> None:
        """Until one side ended, or all is answered that the app was asked before it was not to be asked any more."""
        asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            await self._answer()
        except OSError:
            pass
        finally:
            asking.cancel()
            await asyncio.wait([asking])
            for stream in tuple(self._open):
                self._end(stream)
        self._leave()

    async def _ask(self) -> None:
        """The client's frames to the app."""
        frames, passing = Frames(PREFACE), True
        try:
            while block := await self._client.read():
                for piece in frames.cut(block):
                    if piece.first:
                        passing = await self._may_pass(piece)
                    if passing:
                        self._app.write(piece.data)
                    if piece.kind == RST_STREAM and piece.last:
                        self._end(piece.stream)
                await self._app.drain()
            self._app.half_close()
        except OSError:
            self._app.abort()

    async def _may_pass(self, piece: Piece) -> bool:
        if piece.kind == HEADERS and piece.stream > self._newest and not self._leaving:
            if await self._gate.now() != self._to:
                self._leave()
                return False
            self._newest = piece.stream
            self._open.add(piece.stream)
            self._gate.begin(self._to.launch)
        # Headers that the app did not get are missing in its table for those after them (RFC 7541 2.3.2).
        return not self._leaving or (piece.stream <= self._newest and piece.kind not in (HEADERS, CONTINUATION))

    async def _answer(self) -> None:
        """The app's frames to the client."""
        while not (self._leaving and not self._open) and (block := await self._app.read()):
            for piece in self._answers.cut(block):
                if piece.first and self._leaving:
                    self._tell()
                self._client.write(piece.data)
                if piece.last and (piece.kind == RST_STREAM or self._ends(piece)):
                    self._end(piece.stream)
            await self._client.drain()

    def _ends(self, piece: Piece) -> bool:
        return piece.kind in (DATA, HEADERS) and bool(piece.flags & END_STREAM)

    def _end(self, stream: int) -> None:
        if stream in self._open:
            self._open.remove(stream)
            self._gate.end(self._to.launch)

    def _leave(self) -> None:
        """Ask this app nothing more."""
        self._leaving = True
        if self._answers.between:
            self._tell()
        if not self._open:
            self._app.abort()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._client.write(goaway(self._newest))
