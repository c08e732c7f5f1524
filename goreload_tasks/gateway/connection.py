"""One client's connection through the development proxy: request after request, each to the launch that serves then.

One upstream connection belongs to each client connection, so a connection means to the app what it means directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec

from goreload_tasks.gateway.framing import Forever, Framing, Length, Malformed
from goreload_tasks.gateway.gate import Open
from goreload_tasks.gateway.http import (
    REPLAYABLE,
    Head,
    download,
    fitted,
    forwarded,
    plain,
    relocated,
    replaced,
    tunnels,
    upload,
)
from goreload_tasks.gateway.http_2 import Streams
from goreload_tasks.gateway.streams import BLOCK, Wire, connect, pump, text

if TYPE_CHECKING:
    from goreload_tasks.gateway.proxy import Proxy

P = ParamSpec("P")

OWN = "/.goreload/"
"""Paths that are ours."""

TRIES = 3
"""Launches that one request is given to at most."""
STANDS = 0.1
"""Seconds after which a new connection is to a process that lives."""
KEPT = 64 * 1024
"""Bytes of a body that are kept, so that an idempotent request can be sent again."""


class Gone(Exception):  # noqa: N818 - it is the app that is gone
    """The app closed the connection, or refused it, and nothing of its answer was passed on.

    Args:
        reason: for a person.
        sent: the app may have acted on the request.
        stale: the connection had served before, so the app may have closed it for being idle.
    """

    def __init__(self, reason: str, sent: bool = True, stale: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.stale = stale


@dataclass(slots=True)
class Upstream:
    """A connection to the app."""

    to: Open
    wire: Wire
    used: bool = False


class Connection:
    """One client's connection: request after request."""

    def __init__(self, proxy: Proxy, task: asyncio.Task[None], client: Wire) -> None:
        self.proxy = proxy
        self.task = task
        self.client = client
        self.upstream: Upstream | None = None
        self.kept: bytes | None = b""  # of the body, what has been sent; None: it cannot be sent again
        self.counted: int | None = None  # the launch that has a request of ours under way
        self.sent: Wire | None = None  # who has the whole request, and learns that the client ended
        self.ended = False  # the client sends nothing more; it may still listen
        self.malformed: Malformed | None = None  # what the helper found in the body
        # The only other one who reads the client: it sends the body, then sees whether the client goes away.
        self.helper: asyncio.Task[None] | None = None
        self.asked: float | None = None  # when the request came that nobody watches the client of yet

    async def run(self) -> None:
        """Until one side ends it; raises OSError when the client is gone."""
        try:
            while await self._turn():
                pass
        except Malformed as error:
            self._malformed(error)
        self.drop()

    def drop(self) -> None:
        """Leave the app; a request under way is cancelled there."""
        if self.upstream:
            self.upstream.wire.abort()
            self.upstream = None

    # -- one request ---------------------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """One request and its answer. False: the connection is at its end."""
        raw = await self.client.head()
        if not raw:
            return False
        head = Head.request(raw)
        body = upload(head)
        if head.host is not None and not self.proxy.hosts(head.host):
            return await self._reply(
                plain(403, f"{head.host} is no host of this server: add it to serve.allowed_hosts"), head, body
            )
        if head.path.startswith(OWN):
            await self.proxy.control(head, self.client)
            return False
        try:
            return await self._forward(head, body)
        finally:
            self.sent = self.asked = None
            if self.helper:
                await self._alone()

    async def _forward(self, head: Head, body: Framing) -> bool:
        """Through the gate, as often as it takes."""
        self.kept = b"" if body.done or head.method in REPLAYABLE else None
        reason = ""
        for _ in range(TRIES):
            self.asked = time.monotonic()
            self.proxy.look_after()
            found = self.proxy.gate.at_once()
            state = found if isinstance(found, Open) else await found
            if not isinstance(state, Open):
                return await self._reply(self.proxy.refuse(state, head), head, body)
            try:
                # Counted before the connection is there: between the two the gate could see nobody and stop the app.
                self._begin(state.launch)
                return await self._exchange(head, body, self._reached(state) or await self._reach(state))
            except Gone as gone:
                self._end()
                self.drop()
                await self._alone()
                if self.malformed:
                    raise self.malformed from None
                sent = (
                    "the request may have been acted on, so it was not sent again" if gone.sent else "nothing was sent"
                )
                reason = f"{gone}; {sent}"
                if not await self._again(state, gone, head.method in REPLAYABLE and self.kept is not None):
                    break
            finally:
                self._end()
        return await self._reply(self.proxy.lost(reason), head, body)

    def _begin(self, launch: int) -> None:
        self.counted = launch
        self.proxy.gate.begin(launch)

    def _end(self) -> None:
        """No swap waits for this request from here on."""
        if self.counted is not None:
            self.proxy.gate.end(self.counted)
            self.counted = None

    async def _again(self, state: Open, gone: Gone, replayable: bool) -> bool:
        """May the request go through the gate again? Waits until the gate knows of a death."""
        if gone.sent and not replayable:
            return False
        if gone.stale:
            return True
        if gone.sent and self.proxy.gate.state == state and await self._lives(state):
            return False  # a handler that panics closes its connection too, and would only panic again
        await self.proxy.gate.left(state)
        return True

    async def _lives(self, state: Open) -> bool:
        """Does the app accept a connection that stands? A dying process may lose its listener last."""
        try:
            upstream = self._reached(state) or await self._reach(state)
            async with asyncio.timeout(STANDS):
                await upstream.wire.fill()
        except TimeoutError:
            return True
        except (Gone, OSError):
            pass
        return False

    def _reached(self, state: Open) -> Upstream | None:
        """The connection to this launch, if there is one that can be used again."""
        upstream = self.upstream
        # What came since its last answer, nobody asked for: it must not be the next answer.
        return upstream if upstream and upstream.to == state and upstream.wire.quiet else None

    async def _reach(self, state: Open) -> Upstream:
        """A new connection to this launch; raises Gone."""
        self.drop()
        try:
            wire = await connect(state.host, state.port)
        except OSError as error:
            raise Gone(f"{state.host}:{state.port}: {text(error)}", sent=False) from None
        self.upstream = Upstream(state, wire)
        return self.upstream

    async def _exchange(self, head: Head, body: Framing, upstream: Upstream) -> bool:
        """The request to the app and its answer back; raises Gone, and Malformed for the request."""
        stale, upstream.used = upstream.used, True
        mark = self.proxy.mark() if head.for_a_page else ""
        if head.method == "PRI":  # HTTP/2 without an upgrade (RFC 9113 3.3)
            self._end()
            await self._alone()
            upstream.wire.write(head.raw)
            await Streams(self.proxy.gate, self.client, upstream.wire, upstream.to).run()
            return False
        if self.helper and not body.done:
            await self._alone()
        self._send(head, body, upstream)
        try:
            answer = await self._final(upstream, stale)
            self.proxy.gate.answered(upstream.to.launch)
            tail = self.proxy.tag(answer, mark) if mark and answer.is_a_page else b""
            framing = download(head.method, answer, tail)
        except Malformed as error:
            self.drop()
            return await self._reply(self.proxy.lost(f"the app's answer is not HTTP/1.1: {error}"), head, body)
        tunnel = tunnels(head.method, answer)
        if tunnel or answer.is_a_stream:
            self._end()  # that ends only with its reader
        await self._pass(self._head(head, answer, framing, tail), framing, upstream)
        if tunnel:
            return await self._tunnel(upstream)
        if not framing.done or isinstance(framing, Forever) or not (answer.persistent and head.persistent):
            return False
        if not body.done:  # an early answer; the connection goes on behind the rest of the request
            await self._alone()
            if self.malformed:
                raise self.malformed
            await self._push(body, upstream)
        if upstream.wire.held:  # nobody asked for that
            self.drop()
        return body.done

    def _send(self, head: Head, body: Framing, upstream: Upstream) -> None:
        """The head and what is here of the body; the helper sends the rest."""
        first = forwarded(head, self.client.peer[0]) + (self.kept or b"")
        if not body.done:
            first += self._part(body, self.client.take())
        upstream.wire.write(first)
        self.sent = upstream.wire
        if not body.done:
            self.asked = None
            self._help(self._upload, body, upstream)
        elif self.ended:
            upstream.wire.half_close()
        elif self.helper is None or self.helper.done():  # it saw no more than the body, while that waited at the gate
            self.asked = time.monotonic()
            self.proxy.look_after()

    async def _final(self, upstream: Upstream, stale: bool) -> Head:
        """The answer that is not interim (RFC 9110 15.2); those are passed on. Raises Gone and Malformed."""
        while True:
            try:
                raw = await upstream.wire.head()
            except OSError as error:
                raise Gone(f"the app closed the connection: {text(error)}", stale=stale) from None
            if not raw:
                raise Gone("the app closed the connection without an answer", stale=stale)
            answer = Head.answer(raw)
            if answer.status >= 200 or answer.status == 101:
                return answer
            self.client.write(raw)
            await self.client.drain()

    def _head(self, head: Head, answer: Head, framing: Framing, tail: bytes) -> bytes:
        """The answer's head as the client gets it."""
        raw = answer.raw
        if "location" in answer.fields and self.upstream:
            host, inner = self.upstream.wire.peer
            asked = (head.host or "").rpartition(":")[0] or head.host or ""
            names = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]", asked.lower()}
            raw = relocated(answer, names, inner, self.proxy.port())
        if tail and isinstance(framing, Length) and framing.left:
            raw = replaced(raw, "Content-Length", str(framing.left + len(tail)))
        return raw

    async def _pass(self, head: bytes, framing: Framing, upstream: Upstream) -> None:
        """The answer to the client, as it comes. The framing is not done afterwards if the app broke off."""
        try:
            self.client.write(head + framing.feed(upstream.wire.take()))
            while not framing.done:
                await self.client.drain()
                try:
                    block = await upstream.wire.read()
                except OSError:
                    self.client.reset()
                    return
                if not block:
                    self.client.write(framing.end())
                    return
                self.client.write(framing.feed(block))
        except Malformed:  # too late for words
            self.client.reset()
            return
        upstream.wire.held = framing.rest
        if self.client.full:
            await self.client.drain()

    # -- while the app answers -----------------------------------------------------------------------------------

    def _help(self, work: Callable[P, Coroutine[None, None, None]], *args: P.args, **named: P.kwargs) -> None:
        self.helper = asyncio.get_running_loop().create_task(work(*args, **named))

    def watch(self) -> None:
        """From here on see the client go away."""
        self.asked = None
        self._help(self._watch)

    async def _alone(self) -> None:
        """From here on nobody else reads the client."""
        self.asked = None
        if self.helper:
            self.helper.cancel()
            await asyncio.wait([self.helper])
            self.helper = None

    async def _watch(self) -> None:
        """See the client go away. When it sent the next request already, not before that one's turn, like net/http."""
        try:
            if self.client.held:
                return
            if not await self.client.fill():
                self.ended = True
                if self.sent:
                    self.sent.half_close()
            elif self.client.broken:
                self.task.cancel()
        except OSError:
            self.task.cancel()

    async def _upload(self, body: Framing, upstream: Upstream) -> None:
        """Send the request's body, then watch."""
        try:
            await self._push(body, upstream)
        except OSError:
            self.task.cancel()
        except Malformed as error:
            self.malformed = error
            upstream.wire.abort()
        else:
            await self._watch()

    async def _push(self, body: Framing, upstream: Upstream) -> None:
        """The body to the app, until one of them ends; raises OSError when the client is gone, and Malformed."""
        while not body.done and (block := await self.client.read()):
            upstream.wire.write(self._part(body, block))
            try:
                await upstream.wire.drain()
            except OSError:  # whoever reads the answer sees it too
                return

    def _part(self, body: Framing, block: bytes) -> bytes:
        """What of a block is the body's; raises Malformed."""
        part = body.feed(block)
        self.client.held = body.rest
        if self.kept is not None:
            self.kept = self.kept + part if len(self.kept) + len(part) <= KEPT else None
        return part

    async def _tunnel(self, upstream: Upstream) -> bool:
        """Bytes both ways until both ended; one that breaks off breaks the other."""
        await self._alone()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(self.client, upstream.wire))
                both.create_task(pump(upstream.wire, self.client))
        except* OSError:
            self.client.reset()
            upstream.wire.reset()
        return False

    # -- what we answer ourselves --------------------------------------------------------------------------------

    async def _reply(self, answer: bytes, head: Head, body: Framing) -> bool:
        """An answer of ours. The connection stays if what is left of the request is small and sure to come."""
        await self._alone()
        if not body.done:
            body.feed(self.client.take())
            self.client.held = body.rest
        small = body.done or (isinstance(body, Length) and body.left <= BLOCK and "expect" not in head.fields)
        keep = small and head.persistent and head.version == "HTTP/1.1"
        self.client.write(fitted(answer, head.method, keep))
        await self.client.drain()
        while keep and not body.done and (block := await self.client.read()):
            body.feed(block)
            self.client.held = body.rest
        return keep and body.done

    def _malformed(self, error: Malformed) -> None:
        """Nobody knows where the next request begins, so this is the last answer."""
        self.client.write(fitted(plain(error.status, str(error)), "", keep=False))
