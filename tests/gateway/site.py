"""A small server in a thread, as the gate stands before an app: pages with the script, error pages, and the streams."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from goreload_tasks.gateway.browser import Browsers
from goreload_tasks.gateway.gate import Held, Open, State
from goreload_tasks.gateway.http import plain
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.page import answer
from goreload_tasks.gateway.streams import Wire
from tests.driver import DEADLINE

PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>app</title>
<link rel="stylesheet" href="/style.css"><link rel="stylesheet" href="/other.css"></head>
<body><h1>launch {launch}</h1><p id="template">{template}</p><textarea></textarea><a href="/else">else</a>
<div style="height: 4000px"></div></body></html>
"""

POLICIES = {
    "/self": "default-src 'self'",
    "/nonce": "script-src 'nonce-abc123' 'strict-dynamic'; style-src 'nonce-abc123'; base-uri 'none'",
    "/trusted": "default-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
    "/nothing": "default-src 'none'",
}
"""Pages with a strict Content-Security-Policy."""


class Site:
    """Serves on `port` until left. `files` are what the app serves, `hits` counts requests by path."""

    def __init__(self, root: str, port: int = 0) -> None:
        self.files: dict[str, str] = {"/style.css": "h1 { color: rgb(1, 2, 3) }", "/other.css": "p { margin: 0 }"}
        self.template = "one"
        self.missing: set[str] = set()
        self.hits: Counter[str] = Counter()
        self.streams = 0
        self.port = port
        self._root = root
        self._state: State = Held("the first build")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._browsers = Browsers(self._root)
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(DEADLINE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def show(self, state: State) -> None:
        """From now on this is so."""

        def both() -> None:
            self._state = state
            self._browsers.show(state)

        self._call(both)

    def open(self, launch: int) -> None:
        self.show(Open(launch, "localhost", self.port))

    def refresh(self, *files: str) -> None:
        """These files are new."""
        self._call(lambda: self._browsers.refresh(files))

    def _call(self, function: Callable[[], None]) -> None:
        async def called() -> None:
            function()

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(DEADLINE)

    async def _begin(self) -> None:
        one = socket.create_server(("127.0.0.1", self.port))
        self.port = one.getsockname()[1]
        self._listener = Listener([one], self._serve)

    async def _end(self) -> None:
        self._browsers.close()
        self._listener.stop()
        await self._listener.close()

    async def _serve(self, client: Wire) -> None:
        while raw := await client.head():
            first, *lines = raw.decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            method, path, _ = first.split()
            if path.startswith("/.goreload/"):
                await self._control(method, path, headers, client)
                return
            await self._answer(method, path, headers, client)

    async def _control(self, method: str, path: str, headers: Mapping[str, str], client: Wire) -> None:
        self.hits[path] += 1
        streaming = path.endswith("/events")
        self.streams += streaming
        try:
            await self._browsers.control(path, method, headers, client)
        finally:
            self.streams -= streaming

    async def _answer(self, method: str, path: str, headers: Mapping[str, str], client: Wire) -> None:
        file = path.partition("?")[0]
        self.hits[file] += 1
        left = int(headers.get("content-length", "0"))
        while left > 0 and (block := await client.read()):
            left -= len(block)
        if not isinstance(self._state, Open):
            client.write(answer(self._state, headers.get("accept", ""), method, self._root))
        elif file in self.missing:
            client.write(plain(404, "it is missing"))
        elif file in self.files:
            kind = "text/css" if file.endswith(".css") else "text/plain"
            client.write(_whole(kind, self.files[file].encode(), "Cache-Control: max-age=3600\r\n"))
        else:
            policy = POLICIES.get(file)
            page = PAGE.format(launch=self._state.launch, template=self.template).encode()
            tag = self._browsers.tag([policy] if policy else [])
            more = f"Content-Security-Policy: {policy}\r\n" if policy else ""
            client.write(_whole("text/html", page + tag, more))
        await client.drain()


def _whole(kind: str, content: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    return head.encode() + content
