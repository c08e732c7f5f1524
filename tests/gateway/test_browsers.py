"""What a browser is told, over real sockets, and what it is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from goreload_tasks.app.panic import Frame, Panic
from goreload_tasks.build.diagnostics import Problem
from goreload_tasks.gateway import browser
from goreload_tasks.gateway.browser import REMEMBERED, Browsers, permission, same_origin
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.page import MOST
from goreload_tasks.gateway.sockets import inner
from goreload_tasks.gateway.streams import Wire
from tests.driver import DEADLINE


@pytest.mark.parametrize(
    ("csp", "nonce"),
    [
        ([], ""),
        (["img-src 'none'"], ""),
        (["default-src 'self'"], ""),
        (["default-src *"], ""),
        (["DEFAULT-SRC 'SELF'"], ""),
        (["default-src 'none'"], None),
        (["default-src"], None),
        (["default-src 'none'; script-src 'self'; connect-src 'self'"], ""),
        (["default-src 'none'; script-src 'self'"], None),  # it could run, but not ask
        (["script-src 'self'; connect-src https://api.example.org"], None),
        (["script-src 'none'"], None),
        (["script-src https://cdn.example.org"], None),
        (["script-src https:"], None),
        (["script-src 'nonce-aB3+/_-='"], "aB3+/_-="),
        (["script-src 'self' 'nonce-abc'"], "abc"),
        (["default-src 'self' 'nonce-abc'"], "abc"),
        (["default-src 'self'; script-src 'nonce-abc' 'strict-dynamic'"], "abc"),
        (["script-src 'self' 'strict-dynamic'"], None),
        (["script-src 'strict-dynamic' 'sha256-abc' 'unsafe-inline'"], None),
        (["script-src 'none'; script-src-elem 'self'"], ""),
        (["script-src 'self'; script-src 'none'"], ""),  # the first counts
        (["default-src 'self'", "script-src 'nonce-abc'"], "abc"),
        (["default-src 'self', script-src 'none'"], None),
        (["script-src 'nonce-abc'", "script-src 'nonce-xyz'"], None),
        (["script-src 'nonce-abc' 'nonce-xyz'", "script-src 'nonce-xyz'"], "xyz"),
        (["script-src 'nonce-\"><script>'"], None),
        (["sandbox"], None),
        (["sandbox allow-scripts"], None),
        (["sandbox allow-scripts allow-same-origin"], ""),
        (["require-trusted-types-for 'script'; trusted-types 'none'"], ""),
        ([";; ,,;"], ""),
    ],
)
def test_the_script_runs_where_a_policy_lets_it(csp: list[str], nonce: str | None) -> None:
    assert permission(csp) == nonce
    tag = Browsers("/").tag(csp)
    assert tag.startswith(b"<script ") == (nonce is not None)
    assert (f'nonce="{nonce}"'.encode() in tag) == bool(nonce)


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://localhost:8080", "host": "localhost:8080"}, True),
        ({"origin": "http://LOCALHOST:8080", "host": "localhost:8080"}, True),
        ({"origin": "http://localhost:3000", "host": "localhost:8080"}, False),
        ({"origin": "null", "host": "localhost:8080"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin", "host": "localhost"}, False),
    ],
)
def test_only_this_origin_may_ask(headers: dict[str, str], fine: bool) -> None:
    assert same_origin(headers) is fine


def test_a_stamp_tells_runs_launches_and_refreshes_apart() -> None:
    browsers = Browsers("/")
    stamps = [browsers.stamp(), Browsers("/").stamp()]
    browsers.show(Open(7, "h", 1))
    stamps.append(browsers.stamp())
    browsers.show(Held("the build"))
    assert browsers.stamp() == stamps[-1]  # what a held page shows was made by the launch before
    browsers.refresh(["a.css"])
    stamps.append(browsers.stamp())
    assert len(set(stamps)) == 4
    assert stamps[0].encode() in browsers.tag([], stamps[0])
    assert stamps[-1].encode() in browsers.tag([])


# Over real sockets.


@contextlib.asynccontextmanager
async def serving(browsers: Browsers) -> AsyncIterator[int]:
    """A server that hands every request to the browsers; its port."""

    async def handle(client: Wire) -> None:
        if not (raw := await client.head()):
            return
        first, *lines = raw.decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        method, path, _ = first.split()
        await browsers.control(path, method, headers, client)

    server = inner()
    listener = Listener([server], handle)
    try:
        yield server.getsockname()[1]
    finally:
        browsers.close()
        listener.stop()
        await listener.close()


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, path: str, method: str = "GET", head: str = "", body: str = "") -> tuple[str, dict[str, str]]:
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}".encode())
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    async def events(self) -> Client:
        status, headers = await self.ask("/.goreload/events", head="Sec-Fetch-Site: same-origin\r\n")
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == "text/event-stream"
        assert (await self.reader.readuntil(b"\n\n")).startswith(b"retry: ")
        return self

    async def event(self) -> dict[str, Any]:
        block = await self.reader.readuntil(b"\n\n")
        assert block.startswith(b"data: ")
        found: dict[str, Any] = json.loads(block[6:])
        return found


Connect = Callable[[], Awaitable[Client]]


def run(browsers: Browsers, test: Callable[[Connect], Awaitable[None]]) -> None:
    """Run the test beside a server."""

    async def all_of_it() -> None:
        async with asyncio.timeout(DEADLINE), serving(browsers) as port:
            clients: list[Client] = []

            async def connect() -> Client:
                clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
                return clients[-1]

            try:
                await test(connect)
            finally:
                for client in clients:
                    client.writer.close()

    asyncio.run(all_of_it())


def test_files_are_served_and_each_answer_says_that_it_ends_the_connection() -> None:
    async def test(connect: Connect) -> None:
        for path, method, code, kind in [
            ("/.goreload/client.js", "GET", 200, "text/javascript"),
            ("/.goreload/look.css?again=1", "GET", 200, "text/css"),
            ("/.goreload/client.js", "HEAD", 200, "text/javascript"),
            ("/.goreload/overlay.js", "GET", 200, "text/javascript"),
            ("/.goreload/stream.js?1", "GET", 200, "text/javascript"),
            ("/.goreload/refresh.js", "GET", 200, "text/javascript"),
            ("/.goreload/client.js", "POST", 405, "text/plain"),
            ("/.goreload/events", "HEAD", 405, "text/plain"),
            ("/.goreload/", "GET", 404, "text/plain"),
            ("/.goreload/../page.py", "GET", 404, "text/plain"),
            ("/.goreload/page.py", "GET", 404, "text/plain"),
        ]:
            client = await connect()
            status, headers = await client.ask(path, method)
            assert status.startswith(f"HTTP/1.1 {code} "), path
            assert headers["content-type"].startswith(kind)
            assert headers["cache-control"] == "no-store"
            assert headers["connection"] == "close"
            assert len(await client.reader.read()) == (int(headers["content-length"]) if method != "HEAD" else 0)
        client = await connect()
        status, headers = await client.ask("/.goreload/look.css")
        look = await client.reader.readexactly(int(headers["content-length"]))
        assert look == Path(browser.__file__).with_name("look.css").read_bytes()

    run(Browsers("/"), test)


def test_other_origins_learn_nothing() -> None:
    async def test(connect: Connect) -> None:
        for path in ("events", "client.js", "nothing"):
            for head in ("Sec-Fetch-Site: cross-site\r\n", "Origin: http://localhost:3000\r\n"):
                status, headers = await (await connect()).ask(f"/.goreload/{path}", head=head)
                assert status == "HTTP/1.1 403 Forbidden"
                assert "access-control-allow-origin" not in headers

    run(Browsers("/"), test)


def test_a_body_ends_the_connection() -> None:
    async def test(connect: Connect) -> None:
        for head in ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"):
            client = await connect()
            status, headers = await client.ask("/.goreload/client.js", "POST", head, "GET /")
            assert status == "HTTP/1.1 413 Content Too Large"
            assert headers["connection"] == "close"
            await client.reader.readexactly(int(headers["content-length"]))
            with contextlib.suppress(ConnectionError):
                assert await client.reader.read() == b""

    run(Browsers("/"), test)


def test_the_stream_tells_what_is_so_and_each_change(project: Path) -> None:
    (project / "main.go").write_text("package main\n\nfunc main() { wrong() }\n")
    browsers = Browsers(str(project))

    async def test(connect: Connect) -> None:
        one = await (await connect()).events()
        first = await one.event()
        assert (first["kind"], first["what"]) == ("held", "the first build")
        browsers.show(Open(1, "h", 1))
        opened = await one.event()
        assert (opened["kind"], opened["launch"], opened["run"]) == ("open", 1, first["run"])
        assert browsers.stamp() == f"{opened['run']} 1 0"
        two = await (await connect()).events()
        assert await two.event() == opened

        browsers.show(Failed((Problem("main.go", 3, 15, "undefined: wrong"),)))
        failed = await one.event()
        assert failed == await two.event()
        assert failed["kind"] == "failed"
        assert failed["problems"][0]["source"][2] == {"line": 3, "text": "func main() { wrong() }"}
        assert failed["view"][0] == "main"

        (project / "main.go").write_text("package main\n\n// new\n")
        late = await (await connect()).events()
        assert (await late.event())["problems"][0]["source"][2]["text"] == "// new"  # as it is now

        browsers.show(Crashed("exit code 2", ("tail",), Panic("panic: x", (Frame("main.main", "main.go", 3, True),))))
        crashed = await one.event()
        assert (crashed["kind"], crashed["message"], crashed["output"]) == ("crashed", "panic: x", ["tail"])
        assert crashed["frames"][0]["own"] is True

        browsers.show(Open(2, "h", 1))
        assert (await one.event())["launch"] == 2
        browsers.show(Open(2, "h", 1))  # nothing new
        browsers.refresh(["/static/a.css", "b.html"])
        refreshed = await one.event()
        assert refreshed["refreshes"] == 1
        assert refreshed["refreshed"] == [[1, ["/static/a.css", "b.html"]]]

    run(browsers, test)


def test_what_is_remembered_of_refreshes_is_bounded() -> None:
    browsers = Browsers("/")
    for number in range(3 * REMEMBERED):
        browsers.refresh([f"{number}.css"])

    async def test(connect: Connect) -> None:
        event = await (await (await connect()).events()).event()
        assert event["refreshes"] == 3 * REMEMBERED
        assert [number for number, _ in event["refreshed"]] == list(range(2 * REMEMBERED + 1, 3 * REMEMBERED + 1))

    run(browsers, test)


def test_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "HEARTBEAT", 0.01)

    async def test(connect: Connect) -> None:
        client = await (await connect()).events()
        await client.event()
        assert await client.reader.readuntil(b"\n\n") == b":\n\n"
        assert await client.reader.readuntil(b"\n\n") == b":\n\n"

    run(Browsers("/"), test)


def test_a_client_that_leaves_is_forgotten() -> None:
    browsers = Browsers("/")

    async def test(connect: Connect) -> None:
        client = await (await connect()).events()
        await client.event()
        assert len(browsers._streams) == 1
        client.writer.close()
        await settled(browsers)

    run(browsers, test)


def test_close_ends_all_streams_even_one_that_takes_nothing() -> None:
    browsers = Browsers("/")

    async def test(connect: Connect) -> None:
        stalled, listening = await (await connect()).events(), await (await connect()).events()
        await listening.event()
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket reads too
        stream = next(iter(browsers._streams))
        number = 0
        while not stream.full:
            number += 1
            browsers.show(Failed((Problem("", 0, 0, f"{number} " + "x" * 4000),) * MOST))
            await asyncio.sleep(0)
        browsers.close()
        await settled(browsers)
        with contextlib.suppress(ConnectionError):
            while await listening.reader.read(1 << 16):
                pass
        late = await (await connect()).events()
        assert await late.reader.read() == b""

    run(browsers, test)


async def settled(browsers: Browsers) -> None:
    """Wait until nobody follows."""
    while browsers._streams:  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0.001)
