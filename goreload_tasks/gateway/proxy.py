"""The development proxy: HTTP/1.1 passed on as it was read, through the gate, to the launch that serves.

One upstream connection belongs to each client connection, so a connection means to the app what it means directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import ParamSpec

from goreload_tasks.gateway.framing import Forever, Framing, Length, Malformed
from goreload_tasks.gateway.gate import Gate, Open, State
from goreload_tasks.gateway.http import (
    REPLAYABLE,
    Head,
    download,
    fitted,
    for_a_page,
    forwarded,
    is_a_page,
    plain,
    relocated,
    replaced,
    tunnels,
    upload,
)
from goreload_tasks.gateway.http_2 import Streams
from goreload_tasks.gateway.streams import BLOCK, Source, feed, half_close, pump, reset, text

P = ParamSpec("P")

OWN = "/.goreload/"
"""Paths that are ours."""

TRIES = 3
"""Launches that one request is given to at most."""
STANDS = 0.1
"""Seconds after which a new connection is to a process that lives."""
KEPT = 64 * 1024
"""Bytes of a body that are kept, so that an idempotent request can be sent again."""
SOON = 0.05
"""Seconds before the client of a request is watched: most answers are there before that is worth a task."""


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
    source: Source
    writer: asyncio.StreamWriter
    used: bool = False


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
        control: Callable[[Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
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

    async def serve(self, client: Source, writer: asyncio.StreamWriter) -> None:
        """One client connection; for a `Listener`."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task
        self._connections[task] = connection = Connection(self, task, client, writer)
        try:
            await connection.run()
        finally:
            connection.drop()
            del self._connections[task]

    def cut(self, launch: int) -> None:
        """End what is still connected to a launch: idle connections, and streams that would never end by themselves."""
        for connection in self._connections.values():
            if connection.upstream and connection.upstream.to.launch == launch:
                connection.upstream.writer.transport.abort()


class Connection:
    """One client's connection: request after request."""

    def __init__(self, proxy: Proxy, task: asyncio.Task[None], client: Source, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.task = task
        self.client = client
        self.writer = writer
        peer = writer.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        self.upstream: Upstream | None = None
        self.kept: bytes | None = b""  # of the body, what has been sent; None: it cannot be sent again
        self.counted: int | None = None  # the launch that has a request of ours under way
        self.sent: asyncio.StreamWriter | None = None  # who has the whole request, and learns that the client ended
        self.ended = False  # the client sends nothing more; it may still listen
        self.malformed: Malformed | None = None  # what the helper found in the body
        # The only other one who reads the client: it sends the body, then sees whether the client goes away.
        self.helper: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

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
            self.upstream.writer.transport.abort()
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
            await self._control(head)
            return False
        try:
            return await self._forward(head, body)
        finally:
            await self._alone()
            self.sent = None

    async def _forward(self, head: Head, body: Framing) -> bool:
        """Through the gate, as often as it takes."""
        self.kept = b"" if body.done or head.method in REPLAYABLE else None
        reason = ""
        for _ in range(TRIES):
            self.timer = asyncio.get_running_loop().call_later(SOON, self._help, self._watch)
            state = await self.proxy.gate.enter()
            if not isinstance(state, Open):
                return await self._reply(self.proxy.refuse(state, head), head, body)
            try:
                # Counted before the connection is there: between the two the gate could see nobody and stop the app.
                self._begin(state.launch)
                return await self._exchange(head, body, await self._reach(state))
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
            upstream = await self._reach(state)
            async with asyncio.timeout(STANDS):
                await upstream.source.fill()
        except TimeoutError:
            return True
        except (Gone, OSError):
            pass
        return False

    async def _reach(self, state: Open) -> Upstream:
        """The connection to this launch, a new one if need be; raises Gone."""
        upstream = self.upstream
        if upstream and upstream.to == state and not upstream.source.ended:
            return upstream
        self.drop()
        try:
            reader, writer = await asyncio.open_connection(state.host, state.port, limit=BLOCK)
        except OSError as error:
            raise Gone(f"{state.host}:{state.port}: {text(error)}", sent=False) from None
        self.upstream = Upstream(state, Source(reader), writer)
        return self.upstream

    async def _exchange(self, head: Head, body: Framing, upstream: Upstream) -> bool:
        """The request to the app and its answer back; raises Gone, and Malformed for the request."""
        stale, upstream.used = upstream.used, True
        mark = self.proxy.mark() if for_a_page(head) else ""
        if head.method == "PRI":  # HTTP/2 without an upgrade (RFC 9113 3.3)
            self._end()
            await self._alone()
            upstream.writer.write(head.raw)
            ends = (self.client, self.writer), (upstream.source, upstream.writer)
            await Streams(self.proxy.gate, *ends, upstream.to).run()
            return False
        await self._send(head, body, upstream)
        try:
            answer = await self._final(upstream, stale)
            self.proxy.gate.answered(upstream.to.launch)
            tail = self.proxy.tag(answer, mark) if mark and is_a_page(answer) else b""
            framing = download(head.method, answer, tail)
        except Malformed as error:
            self.drop()
            return await self._reply(self.proxy.lost(f"the app's answer is not HTTP/1.1: {error}"), head, body)
        if tunnels(head.method, answer) or answer.get("content-type").startswith("text/event-stream"):
            self._end()  # that ends only with its reader
        await self._pass(self._head(head, answer, framing, tail), framing, upstream)
        if tunnels(head.method, answer):
            return await self._tunnel(upstream)
        if not framing.done or isinstance(framing, Forever) or not (answer.persistent and head.persistent):
            return False
        if not body.done:  # an early answer; the connection goes on behind the rest of the request
            await self._alone()
            if self.malformed:
                raise self.malformed
            await self._push(body, upstream)
        if upstream.source.held:  # nobody asked for that, so it must not be the next answer
            self.drop()
        return body.done

    async def _send(self, head: Head, body: Framing, upstream: Upstream) -> None:
        """The head and what is here of the body; the helper sends the rest."""
        first = forwarded(head, self.peer) + (self.kept or b"")
        if not body.done:
            await self._alone()
            first += self._part(body, self.client.take())
        upstream.writer.write(first)
        self.sent = upstream.writer
        if not body.done:
            self._help(self._upload, body, upstream)
        elif self.ended:
            half_close(upstream.writer)

    async def _final(self, upstream: Upstream, stale: bool) -> Head:
        """The answer that is not interim (RFC 9110 15.2); those are passed on. Raises Gone and Malformed."""
        while True:
            try:
                raw = await upstream.source.head()
            except OSError as error:
                raise Gone(f"the app closed the connection: {text(error)}", stale=stale) from None
            if not raw:
                raise Gone("the app closed the connection without an answer", stale=stale)
            answer = Head.answer(raw)
            if answer.status >= 200 or answer.status == 101:
                return answer
            self.writer.write(raw)
            await self.writer.drain()

    def _head(self, head: Head, answer: Head, framing: Framing, tail: bytes) -> bytes:
        """The answer's head as the client gets it."""
        raw = answer.raw
        if "location" in answer.fields and self.upstream:
            host, inner = self.upstream.writer.get_extra_info("peername")[:2]
            asked = (head.host or "").rpartition(":")[0] or head.host or ""
            names = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]", asked.lower()}
            raw = relocated(answer, names, inner, self.proxy.port())
        if tail and isinstance(framing, Length) and framing.left:
            raw = replaced(raw, "Content-Length", str(framing.left + len(tail)))
        return raw

    async def _pass(self, head: bytes, framing: Framing, upstream: Upstream) -> None:
        """The answer to the client, as it comes. The framing is not done afterwards if the app broke off."""
        try:
            self.writer.write(head + framing.feed(upstream.source.take()))
            while not framing.done:
                await self.writer.drain()
                try:
                    block = await upstream.source.read()
                except OSError:
                    reset(self.writer)
                    return
                if not block:
                    self.writer.write(framing.end())
                    return
                self.writer.write(framing.feed(block))
        except Malformed:  # too late for words
            reset(self.writer)
            return
        upstream.source.held = framing.rest
        await self.writer.drain()

    # -- while the app answers -----------------------------------------------------------------------------------

    def _help(self, work: Callable[P, Coroutine[None, None, None]], *args: P.args, **named: P.kwargs) -> None:
        self.helper = asyncio.get_running_loop().create_task(work(*args, **named))

    async def _alone(self) -> None:
        """From here on nobody else reads the client."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if self.helper:
            self.helper.cancel()
            await asyncio.wait([self.helper])
            self.helper = None

    async def _watch(self) -> None:
        """See the client go away. When it sent the next request already, not before that one's turn, like net/http."""
        try:
            if not self.client.held and not await self.client.fill():
                self.ended = True
                if self.sent:
                    half_close(self.sent)
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
            upstream.writer.transport.abort()
        else:
            await self._watch()

    async def _push(self, body: Framing, upstream: Upstream) -> None:
        """The body to the app, until one of them ends; raises OSError when the client is gone, and Malformed."""
        while not body.done and (block := await self.client.read()):
            upstream.writer.write(self._part(body, block))
            try:
                await upstream.writer.drain()
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
                both.create_task(pump(self.client, upstream.writer))
                both.create_task(pump(upstream.source, self.writer))
        except* OSError:
            reset(self.writer)
            reset(upstream.writer)
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
        self.writer.write(fitted(answer, head.method, keep))
        await self.writer.drain()
        while keep and not body.done and (block := await self.client.read()):
            body.feed(block)
            self.client.held = body.rest
        return keep and body.done

    def _malformed(self, error: Malformed) -> None:
        """Nobody knows where the next request begins, so this is the last answer."""
        self.writer.write(fitted(plain(error.status, str(error)), "", keep=False))

    async def _control(self, head: Head) -> None:
        """A request for us, with a reader that has what we have read too far."""
        reader = asyncio.StreamReader(limit=BLOCK)
        feeder = asyncio.get_running_loop().create_task(feed(self.client, reader))
        try:
            await self.proxy.control(head, reader, self.writer)
        finally:
            feeder.cancel()
            await asyncio.wait([feeder])
