"""The browsers that show pages of the app: told what is so, over one stream of events each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from goreload_tasks.gateway import page
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open, State
from goreload_tasks.gateway.streams import Wire

HEARTBEAT = 15.0
"""Seconds after which a silent stream sends a comment, so that nothing between takes it for dead."""

RETRY = 1000
"""Milliseconds after which a browser asks again when its stream broke."""

REMEMBERED = 16
"""Refreshes that a browser may have missed and still make up for without a reload."""

FILES = {
    "client.js": "text/javascript",
    "stream.js": "text/javascript",
    "refresh.js": "text/javascript",
    "overlay.js": "text/javascript",
    "look.css": "text/css",
}

_FREE = ("allow-scripts", "allow-same-origin")

_NONCE = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)


class Browsers:
    """Follows the gate for the pages. All calls come from the loop's thread.

    Args:
        root: the project's folder.
        editor: the URL that opens a file, see `page.answer`.
    """

    def __init__(self, root: str, editor: str = page.EDITOR) -> None:
        self._root = root
        self._editor = editor
        self._run = secrets.token_hex(8)
        self._state: State = Held("the first build")
        self._launch = 0
        self._refreshes: deque[tuple[int, tuple[str, ...]]] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._streams: dict[Wire, asyncio.Event] = {}
        self._closed = False

    def show(self, state: State) -> None:
        """From now on this is so."""
        if state != self._state:
            self._state = state
            if isinstance(state, Open):
                self._launch = state.launch
            self._tell()

    def refresh(self, files: Sequence[str]) -> None:
        """These files of the running app are new: URL paths, or names of files; style sheets need no reload."""
        self._count += 1
        self._refreshes.append((self._count, tuple(files)))
        self._tell()

    def stamp(self) -> str:
        """What a page is made by, taken when its request goes to the app: what is newer must reload it."""
        return f"{self._run} {self._launch} {self._count}"

    def tag(self, csp: Sequence[str], stamp: str | None = None) -> bytes:
        """The script element for a page, or nothing where its Content-Security-Policy forbids what it does.

        Args:
            csp: the page's headers of that name.
            stamp: of the page's request; None: of now.
        """
        nonce = permission(csp)
        if nonce is None:
            return b""
        inside = f' nonce="{nonce}"' if nonce else ""
        return (
            f'<script src="/.goreload/client.js" data-made="{stamp or self.stamp()}"{inside} async></script>'.encode()
        )

    def event(self) -> dict[str, object]:
        """What a page must know, as JSON holds it."""
        event: dict[str, object] = {"run": self._run, "refreshes": self._count, "refreshed": list(self._refreshes)}
        match self._state:
            case Open(launch):
                event |= {"kind": "open", "launch": launch}
            case Held(what):
                event |= {"kind": "held", "what": page.clean(what)}
            case Failed() | Crashed():
                report = page.report(self._state, self._root)
                event |= {"kind": type(self._state).__name__.lower(), "view": page.view(report, self._editor)}
                event |= page.values(report)
        return event

    async def control(
        self,
        path: str,
        method: str,
        headers: Mapping[str, str],
        client: Wire,
    ) -> None:
        """Answer a request for `/.goreload/...`; the connection is of no more use then, and the answer says so.

        Args:
            headers: their names in lower case.
        """
        name = urlsplit(path).path.removeprefix("/.goreload/")
        if _has_body(headers):  # nothing here takes one
            client.write(_plain("413 Content Too Large", method))
        elif not same_origin(headers):
            client.write(_plain("403 Forbidden", method))
        elif name != "events" and name not in FILES:
            client.write(_plain("404 Not Found", method))
        elif method not in ("GET", "HEAD") or (name == "events" and method != "GET"):
            client.write(_plain("405 Method Not Allowed", method))
        elif name == "events":
            await self._follow(client)
        else:
            content = Path(__file__).with_name(name).read_bytes()
            client.write(_answer("200 OK", FILES[name], content, method))
        with contextlib.suppress(ConnectionError):
            await client.drain()

    async def _follow(self, client: Wire) -> None:
        """Send what is so, and what changes, until one side leaves. Of changes that come at once the last is sent."""
        news = asyncio.Event()
        news.set()
        gone = asyncio.ensure_future(_leaves(client))
        gone.add_done_callback(lambda _: news.set())
        self._streams[client] = news
        try:
            client.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n" + f"retry: {RETRY}\n\n".encode()
            )
            while not (gone.done() or self._closed):
                if news.is_set():
                    news.clear()
                    client.write(f"data: {json.dumps(self.event())}\n\n".encode())
                else:
                    client.write(b":\n\n")
                await client.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):
                        await news.wait()
        except ConnectionError:
            pass
        finally:
            del self._streams[client]
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)  # two may not read one stream

    def close(self) -> None:
        """End all streams at once."""
        self._closed = True
        for client in self._streams:
            if client.unsent:
                client.abort()  # it may never take what it was sent
        self._tell()

    def _tell(self) -> None:
        for news in self._streams.values():
            news.set()


async def _leaves(client: Wire) -> None:
    with contextlib.suppress(OSError):
        while await client.read():
            pass


def same_origin(headers: Mapping[str, str]) -> bool:
    """Is it a page of this origin that asks, or a person? Others may not read source lines (RFC 6454)."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def permission(csp: Sequence[str]) -> str | None:
    """The nonce with which policies (CSP 3) let our script run and ask this origin; "": none needed; None: they do not.

    Hosts that a policy names are not looked at: a page that lists its own in place of 'self' goes without.
    """
    needed: list[set[str]] = []
    offered: set[str] = set()
    for policy in (_directives(policy) for header in csp for policy in header.split(",")):
        if not set(policy.get("sandbox", _FREE)) >= set(_FREE) or not _names_us(
            _first(policy, "connect-src", "default-src")
        ):
            return None
        sources = _first(policy, "script-src-elem", "script-src", "default-src")
        nonces = {match[1] for match in map(_NONCE.fullmatch, sources) if match}
        offered |= nonces
        if "'strict-dynamic'" in map(str.lower, sources) or not _names_us(sources):
            needed.append(nonces)
    return min(set.intersection(*needed), default=None) if needed else min(offered, default="")


def _directives(policy: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        name, *values = directive.split() or [""]
        found.setdefault(name.lower(), values)  # CSP 3, 2.2.1: of two with one name the first counts
    return found


def _first(policy: Mapping[str, Sequence[str]], *names: str) -> Sequence[str]:
    """The first of these directives that is there; without any, everything is allowed."""
    return next((policy[name] for name in names if name in policy), ["*"])


def _names_us(sources: Sequence[str]) -> bool:
    return not {"'self'", "*", "http:"}.isdisjoint(map(str.lower, sources))


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0"


def _plain(status: str, method: str) -> bytes:
    return _answer(status, "text/plain", f"{status}\n".encode(), method)


def _answer(status: str, kind: str, content: bytes, method: str) -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + (b"" if method == "HEAD" else content)
