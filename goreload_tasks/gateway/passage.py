"""Connections passed on whole, whatever is spoken on them: TLS, gRPC, HTTP/2, a protocol of the app's own.

A connection belongs to the launch that it was made to. What its client sends after a save never reaches an older
program: where nothing was said on it yet, the connection goes to the next launch, else it is closed, so that the client
asks again on a new one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from goreload_tasks.gateway.gate import Gate, Open, State
from goreload_tasks.gateway.streams import Wire, connect, pump

LAST = 0.5
"""Seconds in which an answer under way may still come when the client says more, which need be no more than a PING."""


class _Outdated(Exception):  # noqa: N818 - it is the launch that is
    """The client said something to a launch that is not the one for it any more."""


class Passage:
    """Serves client connections without a look at what is said.

    Args:
        gate: says which launch a connection goes to.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ways: set[_Way] = set()

    async def serve(self, client: Wire) -> None:
        """One client connection. It is closed where nothing serves it: there is no word that all clients know."""
        while isinstance(state := await self._enter(client), Open):
            way = _Way(self._gate, state, client)
            self._ways.add(way)
            try:
                await way.go()
            finally:
                self._ways.remove(way)
            if way.used or client.ended or not await self._gate.left(state):
                break

    def cut(self, launch: int) -> None:
        """Let go of a launch that is to end: it would wait for what it will not get, and for a first word."""
        for way in self._ways:
            if way.to.launch == launch:
                way.over = True
                if way.used and way.client.held:
                    asyncio.get_running_loop().call_later(LAST, way.break_off)
                elif not way.used and (way.client.held or not way.client.ended):
                    way.end()

    async def _enter(self, client: Wire) -> State | None:
        """Wait at the gate; None: the client has ended meanwhile, without a word."""
        entering, filling = asyncio.ensure_future(self._gate.enter()), asyncio.ensure_future(client.fill())
        try:
            await asyncio.wait({entering, filling}, return_when=asyncio.FIRST_COMPLETED)
            gone = filling.done() and not filling.result() and not client.held
            return None if gone else await entering
        finally:
            entering.cancel()
            filling.cancel()
            await asyncio.wait({entering, filling})


@dataclass(slots=True, eq=False)
class _Way:
    """A connection to one launch."""

    gate: Gate
    to: Open
    client: Wire
    used: bool = field(default=False, init=False)
    """Something was said on it, by either."""
    over: bool = field(default=False, init=False)
    """The launch is to end: what the client says from here on is not for it."""
    app: Wire | None = field(default=None, init=False)

    def end(self) -> None:
        """Let go of the launch."""
        if self.app:
            self.app.abort()
            self.app = None

    def break_off(self) -> None:
        """End it, whatever is under way: nobody must take what there is of an answer for all."""
        if self.app:
            self.client.reset()
            self.end()

    async def go(self) -> None:
        """Pass bytes both ways until both ended, or the launch is outdated; what breaks one end breaks the other."""
        try:
            app = await connect(self.to.host, self.to.port)
        except OSError:  # it is dying
            return
        self.app = app
        if self.over:
            self.end()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._up(app))
                both.create_task(self._down(app))
        except* (_Outdated, OSError):
            if self.used:  # an answer may be under way: nobody must take what there is of it for all
                self.client.reset()
        finally:
            self.end()

    async def _up(self, app: Wire) -> None:
        while self.client.held or await self.client.fill():
            if self.over:
                await asyncio.sleep(LAST)
                raise _Outdated
            if await self.gate.enter() != self.to:  # where nothing came of the save, it goes on
                raise _Outdated
            self.used = True
            app.write(self.client.take())
            await app.drain()
        app.half_close()

    async def _down(self, app: Wire) -> None:
        if await app.fill():
            self.used = True
            self.gate.answered(self.to.launch)
        elif not self.used:  # it ended before a word
            raise _Outdated
        await pump(app, self.client)
