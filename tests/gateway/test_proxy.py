"""What passes the proxy is what passes without it; and it answers itself only where nobody else can."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import re
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goreload_tasks.gateway.gate import Crashed, Failed, Gate, Held, Open
from goreload_tasks.gateway.http import Head, forwarded
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.proxy import KEPT
from goreload_tasks.gateway.sockets import inner
from goreload_tasks.gateway.streams import BLOCK, MAX_HEAD, Source
from tests.driver import DEADLINE, free_port, until
from tests.gateway.hosting import SCRIPT, App, Client, Hosted, build, proxy_before

PAGE = b"<!doctype html><p>hello</p></html>\n"


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def app(binary: Path) -> Iterator[App]:
    """An app for all tests that do not kill it."""
    with App(binary) as made:
        yield made


@pytest.fixture(scope="module")
def hosted(app: App) -> Iterator[Hosted]:
    """A proxy that is open to that app."""
    with Hosted(app.open) as made:
        yield made


def ask(start: str, *lines: str, body: bytes = b"", close: bool = True) -> bytes:
    """A request's bytes."""
    fields = ["Host: localhost", *lines, *(["Connection: close"] if close else [])]
    return "\r\n".join([f"{start} HTTP/1.1", *fields, "", ""]).encode("latin-1") + body


def post(target: str, body: bytes, *lines: str, close: bool = True) -> bytes:
    """A request with a body of a length."""
    return ask(f"POST {target}", f"Content-Length: {len(body)}", *lines, body=body, close=close)


def chunks(*contents: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in contents) + b"0\r\n" + trailers + b"\r\n"


def counts(port: int) -> list[int]:
    """How many requests of the app wait, were cancelled, have panicked."""
    with Client(port) as client:
        client.send(ask("GET /counts"))
        return [int(word) for word in client.answer()[1].split()]


# -- the same bytes, direct and through the proxy ------------------------------------------------------------------

REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "plain": (ask("GET /"), b'GET "/" HTTP/1.1 host "localhost"'),
    "odd target": (ask("GET /a%2Fb/%zz?x=%zz&&y=[]|{}"), b"400 Bad Request"),
    "escaped target": (ask("GET /a%2fb;c/d?x=%zz&&y=[]|{}#f"), b'"/a%2fb;c/d?x=%zz&&y=[]|{}#f"'),
    "raw target": (ask("GET /\xfc~'?\xff"), b'GET "/\\xfc~\'?\\xff"'),
    "path to clean": (ask("GET //a/../b"), b"Location: /b"),
    "star": (ask("OPTIONS *"), b"200 OK"),
    "absolute target": (ask("GET http://localhost:1/abs?x"), b'"http://localhost:1/abs?x" HTTP/1.1 host "localhost:1"'),
    "odd method": (ask("M-SEARCH /x"), b"M-SEARCH"),
    "fields": (
        ask("GET /", "x-ODD:  a\t", "X-Odd: b,c", "X-oDD:", "Cookie: a=1; b", "cookie: c=2", "X-L: \xe9\xff", "TE: x"),
        b'X-Odd: ["a" "b,c" ""]',
    ),
    "long field": (ask("GET /", "X-Long: " + "x" * 200_000), b"xxxx"),
    "many fields": (ask("GET /", *[f"X-{number}: {number}" for number in range(500)]), b'X-499: ["499"]'),
    "folded field": (ask("GET /", "X-Long: one", "\ttwo"), b'X-Long: ["one two"]'),
    "bare LF": (ask("GET /", "X: y").replace(b"\r\n", b"\n"), b'X: ["y"]'),
    "field with NUL": (ask("GET /", "X: a\0b"), b"400 Bad Request"),
    "body": (post("/", b"hello"), b'5 [] "hello"'),
    "large body": (post("/upload", b"x" * 3_000_000), b"3000000 "),
    "body of a GET": (post("/", b"hello").replace(b"POST", b"GET"), b'GET "/"'),
    "chunks": (ask("POST /", "Transfer-Encoding: chunked", body=chunks(b"a", b"bc")), b'-1 [chunked] "abc"'),
    "chunk extensions": (
        ask("POST /", "Transfer-Encoding: chunked", body=b'3;a="b";c\r\nabc\r\n000;x\r\n\r\n'),
        b'[chunked] "abc"',
    ),
    "trailers": (
        ask("POST /trailers", "Transfer-Encoding: chunked", "Trailer: Sum", body=chunks(b"a", trailers=b"Sum: 1\r\n")),
        b"0\r\nDigest: sum\r\nLate: map[Sum:[1]]\r\n\r\n",
    ),
    "answer with chunk extensions": (ask("GET /extensions"), b'5;a="b c";d\r\nhello\r\n0;last\r\nDigest: x\r\n\r\n'),
    "early hints": (ask("GET /hints"), b"103 Early Hints\r\nLink"),
    "HEAD": (ask("HEAD /range"), b"Content-Length: 10\r\n"),
    "HEAD of chunks": (ask("HEAD /download?size=100000"), b"200 OK"),
    "204": (ask("GET /status?code=204"), b"204 No Content"),
    "304": (ask("GET /range", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"), b"304 Not Modified"),
    "range": (ask("GET /range", "Range: bytes=2-5"), b"Content-Range: bytes 2-5/10"),
    "no range": (ask("GET /range", "Range: bytes=20-"), b"416 "),
    "gzip": (ask("GET /gzip", "Accept-Encoding: gzip"), b"Content-Encoding: gzip"),
    "page for no browser": (ask("GET /html?framing=length"), PAGE),
    "large answer": (ask("GET /download?size=3000000"), b"\0\0\0\r\n0\r\n\r\n"),
    "closing answer": (ask("GET /close", close=False), b"\r\n\r\nlast"),
    "relative redirect": (ask("GET /redirect?to=/x"), b"Location: /x\r\n"),
    "foreign redirect": (ask("GET /redirect?to=http://example.com/x"), b"Location: http://example.com/x\r\n"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", b'GET "/" HTTP/1.0 host ""'),
    "HTTP/1.0 body": (b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b'"abc"'),
    "HTTP/1.0 stays": (
        b"GET /?1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /?2 HTTP/1.0\r\n\r\n",
        b'GET "/?2" HTTP/1.0',
    ),
    "HTTP/1.0 answer": (ask("GET /old"), b"HTTP/1.0 200 Fine\nX: y\n\nuntil the end"),
    "length cut off": (ask("GET /cut/length"), b"\r\n\r\nhello"),
    "chunk cut off": (ask("GET /cut/chunk"), b"\r\na\r\nhello"),
    "pipelined": (
        b"".join(
            ask(f"GET /?{number}", close=False)
            + post(f"/?{number}", b"x" * number, close=False)
            + ask("PUT /", "Transfer-Encoding: chunked", body=chunks(b"yz"), close=False)
            + ask("HEAD /range", close=False)
            for number in range(30)
        )
        + ask("GET /?last"),
        b'GET "/?last"',
    ),
    "early CONNECT data": (ask("CONNECT /upgrade", close=False) + b"hello", b"HTTP/1.1 200 OK\r\n\r\nhellobye"),
    "other upgrade": (
        ask("GET /upgrade", "Connection: upgrade", "Upgrade: thing/2", close=False) + b"\0\xff",
        b"Upgrade: thing/2\r\n\r\n\0\xffbye",
    ),
}


def early_answer(client: Client) -> bytes:
    """The answer is there before the body is sent; the connection goes on behind it."""
    client.send(ask("POST /early", "Content-Length: 4", close=False))
    first = client.until(b"early")
    client.send(b"body" + ask("GET /?next"))
    return first + client.rest()


def early_answer_to_chunks(client: Client) -> bytes:
    client.send(ask("POST /early", "Transfer-Encoding: chunked", close=False))
    first = client.until(b"early")
    for byte in chunks(b"body", trailers=b"A: b\r\n") + ask("GET /?next"):
        client.send(bytes([byte]))
    return first + client.rest()


def too_large(client: Client) -> bytes:
    """The app refuses a body while it is being sent, and closes."""
    client.send(ask("POST /limit", "Content-Length: 1000000000", close=False))
    try:
        while not client.answers():
            client.send(bytes(10_000))
    except ConnectionError:
        pass
    return client.until(b"too much\n")


def continued(client: Client) -> bytes:
    client.send(ask("POST /", "Content-Length: 5", "Expect: 100-continue"))
    interim = client.until(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(b"hello")
    return interim + client.rest()


def not_continued(client: Client) -> bytes:
    client.send(ask("POST /refuse", "Content-Length: 5", "Expect: 100-continue", close=False))
    refused = client.until(b"\r\n\r\n")
    client.half_close()
    return refused + client.rest()


def conversation(client: Client) -> bytes:
    """A thousand events, each sent only after the one before has arrived."""
    client.send(ask("POST /events", "Transfer-Encoding: chunked"))
    seen = client.until(b"\r\n\r\n")
    for number in range(1000):
        client.send(b"%x\r\n%d\n\r\n" % (len(str(number)) + 1, number))
        seen += client.until(b"data: %d\n\n\r\n" % number)
    client.send(b"0\r\n\r\n")
    return seen + client.rest()


def half_closed(client: Client) -> bytes:
    client.send(ask("GET /?half", close=False))
    client.half_close()
    return client.rest()


def half_closed_pipeline(client: Client) -> bytes:
    client.send(ask("GET /?1", close=False) + post("/?2", b"abc", close=False))
    client.half_close()
    return client.rest()


def dripping(client: Client) -> bytes:
    for byte in post("/", b"hello", close=False) + b"\r\n" + ask("GET /", "Connection: close"):
        client.send(bytes([byte]))
    return client.rest()


def masked(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """A client's WebSocket frame."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2) if size < 65536 else b""
    key = b"\x01\x02\x03\x04"
    data = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([opcode | 0x80 * final]) + (length or b"\xff" + size.to_bytes(8)) + key + data


MEGABYTE = bytes(range(256)) * 4096


def web_socket(client: Client) -> bytes:
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}")
    protocol = "Sec-WebSocket-Protocol: chat.v2, chat"
    client.send(ask("GET /socket", *lines, "Sec-WebSocket-Version: 13", protocol, close=False))
    seen = client.until(b"\r\n\r\n")
    client.send(masked(1, "grüße".encode()) + masked(9, b"ping"))
    seen += client.until(b"\x8a\x04ping")
    client.send(masked(2, MEGABYTE))
    seen += client.read(10 + len(MEGABYTE))
    client.send(masked(8, (4001).to_bytes(2) + b"enough"))
    return seen + client.rest()


def compressed_web_socket(client: Client) -> bytes:
    """With permessage-deflate (RFC 7692): the first reserved bit says that a message is compressed."""
    packed = zlib.compressobj(wbits=-15)
    message = packed.compress(MEGABYTE) + packed.flush(zlib.Z_SYNC_FLUSH)
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
    extension = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
    client.send(ask("GET /socket", *lines, extension, close=False))
    seen = client.until(b"\r\n\r\n")
    client.send(masked(2 | 0x40, message.removesuffix(b"\0\0\xff\xff")) + masked(8, (1000).to_bytes(2)))
    return seen + client.rest()


def http_2(client: Client) -> bytes:
    """HTTP/2 with prior knowledge (RFC 9113 3.3): one GET; what came as data of its answer."""
    head = b"\x82\x86\x84\x41\x09localhost"
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
    client.send(len(head).to_bytes(3) + b"\x01\x05\0\0\0\x01" + head)
    data = b""
    while True:
        frame = client.read(9)
        payload = client.read(int.from_bytes(frame[:3]))
        if frame[3] == 0:
            data += payload
            if frame[4] & 1:
                return data


def half_closed_tunnel(client: Client) -> bytes:
    client.send(ask("GET /upgrade", "Connection: upgrade", "Upgrade: thing", close=False))
    seen = client.until(b"\r\n\r\n")
    client.send(b"hello")
    seen += client.until(b"hello")
    client.half_close()
    return seen + client.rest()


SCRIPTS: dict[str, tuple[Callable[[Client], bytes], bytes]] = {
    "early answer": (early_answer, b'GET "/?next"'),
    "early answer to chunks": (early_answer_to_chunks, b'GET "/?next"'),
    "413": (too_large, b"413 Request Entity Too Large"),
    "100": (continued, b'"hello"'),
    "no 100": (not_continued, b"417 Expectation Failed"),
    "events": (conversation, b"data: 999\n\n"),
    "half close": (half_closed, b'"/?half"'),
    "half closed pipeline": (half_closed_pipeline, b'"abc"'),
    "byte by byte": (dripping, b'"hello"'),
    "WebSocket": (web_socket, b"\x88\x08\x0f\xa1enough"),
    "compressed WebSocket": (compressed_web_socket, b"permessage-deflate; client_no_context_takeover"),
    "HTTP/2": (http_2, b'GET "/" HTTP/2.0 host "localhost"'),
    "half closed tunnel": (half_closed_tunnel, b"\r\n\r\nhellobye"),
}


def undated(data: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*\r\n", b"", data)


@pytest.mark.parametrize("name", REQUESTS)
def test_answer_is_the_same_as_without_the_proxy(name: str, app: App, hosted: Hosted) -> None:
    request, expected = REQUESTS[name]
    seen = []
    for port in (app.port, hosted.port):
        with Client(port) as client:
            sender = threading.Thread(target=client.send, args=[request])
            sender.start()
            if b"upgrade" in request:
                sender.join(DEADLINE)
                client.half_close()
            seen.append(undated(client.rest()))
            sender.join(DEADLINE)
    direct, proxied = seen
    assert expected in direct
    assert proxied == direct


@pytest.mark.parametrize("name", SCRIPTS)
def test_conversation_is_the_same_as_without_the_proxy(name: str, app: App, hosted: Hosted) -> None:
    script, expected = SCRIPTS[name]
    with Client(app.port) as client:
        direct = undated(script(client))
    with Client(hosted.port) as client:
        proxied = undated(script(client))
    assert expected in direct
    assert proxied == direct


@pytest.mark.parametrize("how", [Client.reset, lambda client: client.socket.close()])
@pytest.mark.parametrize("target", ["/wait", "/wait?first=1"])
@pytest.mark.parametrize("through", [False, True])
def test_client_that_leaves_cancels_the_request(
    through: bool, target: str, how: Callable[[Client], None], app: App, hosted: Hosted
) -> None:
    waiting, cancelled, _ = counts(app.port)
    with Client(hosted.port if through else app.port) as client:
        client.send(ask(f"GET {target}"))
        if "first" in target:
            client.until(b"data: first")
        until(lambda: counts(app.port)[0] == waiting + 1, "the request waits")
        how(client)
    until(lambda: counts(app.port)[:2] == [waiting, cancelled + 1], "the request is cancelled")


# -- what must change ----------------------------------------------------------------------------------------------


def test_app_learns_who_asked_unless_it_was_told(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask("GET /forwarded", close=False))
        assert client.answer() == (200, b'["127.0.0.1"] ["localhost"] ["http"]')
        client.send(ask("GET /forwarded", "x-forwarded-for: a", "X-Forwarded-Host: b", "X-Forwarded-Proto: https"))
        assert client.answer() == (200, b'["a"] ["b"] ["https"]')


def test_redirect_to_the_inner_port_leads_to_the_outer_one(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask("GET /redirect?to=http://localhost:PORT/x?y", close=False))
        assert f"\r\nLocation: http://localhost:{hosted.port}/x?y\r\n".encode() in client.until(b"\r\n\r\n")


def fetched(port: int, target: str, **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    """What a strict client makes of it."""
    connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_page_gets_the_script_behind_its_last_byte(framing: str, hosted: Hosted) -> None:
    answer, body = fetched(hosted.port, f"/html?framing={framing}", Sec_Fetch_Dest="document", Accept_Encoding="gzip")
    assert body == PAGE + SCRIPT
    assert answer.getheader("Content-Length") == (str(len(PAGE + SCRIPT)) if framing == "length" else None)
    assert fetched(hosted.port, f"/html?framing={framing}", Accept="text/html")[1] == PAGE + SCRIPT
    assert fetched(hosted.port, f"/html?framing={framing}", Sec_Fetch_Dest="empty", Accept="text/html")[1] == PAGE


def test_what_is_no_whole_page_gets_no_script(hosted: Hosted) -> None:
    for target, expected in (
        ("/html?framing=gzip", b"\x1f\x8b"),
        ("/html", b""),
        ("/range", b"0123456789"),
    ):
        answer, body = fetched(hosted.port, target, Sec_Fetch_Dest="document")
        assert (answer.status, SCRIPT in body) == (200, False)
        assert body.startswith(expected)
    answer, body = fetched(hosted.port, "/html?framing=partial", Sec_Fetch_Dest="document", Range="bytes=0-4")
    assert (answer.status, body) == (206, PAGE[:5])


def test_request_for_a_page_asks_for_no_compression(hosted: Hosted) -> None:
    page = fetched(hosted.port, "/", Sec_Fetch_Dest="document", Accept_Encoding="gzip, br")[1]
    assert b'Accept-Encoding: ["identity"]' in page
    assert b'Accept-Encoding: ["gzip, br"]' in fetched(hosted.port, "/", Accept_Encoding="gzip, br")[1]


# -- what the proxy answers itself ---------------------------------------------------------------------------------


def test_our_own_paths_are_served_with_what_was_read_too_far(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(post("/.goreload/x?y", b"hello", close=False))
        assert client.answer() == (200, b"own /.goreload/x?y b'hello'\n")
        assert client.rest() == b""
    with Client(hosted.port) as client:
        client.send(ask("POST /.goreload/x", "Content-Length: 5", close=False))
        client.send(b"later")
        assert client.answer() == (200, b"own /.goreload/x b'later'\n")


@pytest.mark.parametrize(
    ("start", "host"),
    [("GET /", "evil.example"), ("GET /.goreload/x", "evil.example"), ("GET http://evil/", "localhost")],
)
def test_other_hosts_are_refused(start: str, host: str, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask(start, close=False).replace(b"Host: localhost", f"Host: {host}".encode()))
        status, text = client.answer()
    assert status == 403
    assert b"is no host of this server" in text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (ask("POST /", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (ask("POST /", "Content-Length: 5", "Content-Length: 6", body=b"hello!"), 400),
        (ask("POST /", "Transfer-Encoding: chunked", body=b"5\nhello\n0\n\n"), 400),
        (ask("POST /upload", "Transfer-Encoding: chunked", body=chunks(b"x" * 300_000)[:-5] + b"zz\r\n"), 400),
        (ask("GET /", "Content-Length : 5"), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (ask("GET /", "X: " + "x" * (MAX_HEAD + BLOCK)), 431),
        (b"\x16\x03\x01\n\n", 400),
    ],
)
def test_malformed_requests_are_answered_and_the_connection_ends(request_: bytes, status: int, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(request_)
        seen = client.rest()
    assert seen.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in seen
    assert seen.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/nonsense", b"no status line"), ("/smuggle", b"together"), ("/cut/head", b"without an answer")],
)
def test_answer_that_is_none_is_an_honest_502(target: str, reason: bytes, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask(f"GET {target}", close=False))
        status, text = client.answer()
        assert status == 502
        assert reason in text
        client.send(ask("GET /"))
        assert b"200 OK" in client.rest()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handler_that_panics_is_not_asked_again(method: str, app: App, hosted: Hosted) -> None:
    before = counts(app.port)[2]
    with Client(hosted.port) as client:
        client.send(ask(f"{method} /panic", close=False))
        status, text = client.answer()
        assert status == 502
        assert text.startswith(
            b"lost: the app closed the connection without an answer; the request may have been acted"
        )
    assert counts(app.port)[2] == before + 1


@pytest.mark.parametrize("state", [Failed((), "go build"), Crashed("exit code 2")])
def test_refused_requests_leave_the_connection_where_they_ended(state: Failed | Crashed) -> None:
    with Hosted(state) as hosted, Client(hosted.port) as client:
        for request in (
            ask("GET /a", close=False),
            post("/a", b"hello", close=False),
            ask("PUT /a", "Transfer-Encoding: chunked", body=chunks(b"x", trailers=b"A: b\r\n"), close=False),
        ):
            client.send(request)
            assert client.answer() == (503, f"/a: {state}\n".encode())
        client.send(ask("HEAD /a", close=False))
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        client.send(ask("POST /b", "Content-Length: 5", close=False))
        assert client.answer()[0] == 503
        client.send(b"hello" + ask("GET /c"))
        assert client.answer() == (503, f"/c: {state}\n".encode())
        assert client.rest() == b""


@pytest.mark.parametrize("lines", [["Content-Length: 100000000"], ["Content-Length: 5", "Expect: 100-continue"]])
def test_refused_large_body_is_not_read(lines: list[str]) -> None:
    with Hosted(Failed(())) as hosted, Client(hosted.port) as client:
        client.send(ask("POST /a", *lines, close=False))
        seen = client.rest()
    assert seen.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in seen


# -- the gate ------------------------------------------------------------------------------------------------------


def test_request_waits_at_the_gate_and_no_longer_than_the_hold(app: App) -> None:
    with Hosted(Held("the build of main.go"), hold=0.2) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /", close=False))
        assert client.answer() == (503, b"/: Held(what='the build of main.go')\n")
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(post("/", b"hello", close=False))
        until(lambda: bool(hosted.proxy._connections), "the request waits")
        hosted.show(app.open)
        status, text = client.answer()
        assert status == 200
        assert b'"hello"' in text


@pytest.mark.parametrize("request_", [ask("GET /"), ask("POST /", "Content-Length: 5")])
def test_client_that_is_reset_at_the_gate_is_let_go(request_: bytes) -> None:
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(request_)
        until(lambda: bool(hosted.proxy._connections), "the request waits")
        client.reset()
        until(lambda: not hosted.proxy._connections, "the request is let go")


def test_half_closed_client_is_half_closed_to_the_app_after_the_gate(app: App) -> None:
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /wait", close=False))
        client.half_close()
        until(lambda: any(one.ended for one in hosted.proxy._connections.values()), "the end is seen")
        hosted.show(app.open)
        assert client.rest().startswith(b"HTTP/1.1 200 OK")


def test_connection_stays_from_launch_to_launch(binary: Path) -> None:
    with App(binary, 1) as one, App(binary, 2) as two, Hosted(one.open) as hosted, Client(hosted.port) as client:
        for app in (one, two, one):
            hosted.show(app.open)
            client.send(post("/launch", b"hello", close=False))
            assert client.answer() == (200, str(app.launch).encode())


def test_requests_are_counted_from_the_gate_to_their_last_byte(app: App) -> None:
    with Hosted(app.open) as hosted:
        count = hosted.gate._under_way
        with (
            Client(hosted.port) as slow,
            Client(hosted.port) as stream,
            Client(hosted.port) as tunnel,
            Client(hosted.port) as answered,
        ):
            slow.send(b"GET / HTTP/1.1\r\nHost:")
            stream.send(ask("GET /wait?first=1"))
            stream.until(b"first")
            tunnel.send(ask("GET /upgrade", "Connection: upgrade", "Upgrade: x", close=False))
            tunnel.until(b"\r\n\r\n")
            until(lambda: not count[app.launch], "what ends only with its reader holds up nobody")
            answered.send(ask("GET /wait"))
            until(lambda: count[app.launch] == 1, "a request is under way")
            hosted.cut(app.launch)
            assert tunnel.rest() == b""
            assert b"first" not in stream.rest()
            until(lambda: not count[app.launch], "nothing is under way")
            assert b" 502 " in answered.rest()
            slow.send(b" localhost\r\n\r\n")
            slow.until(b'GET "/"')
        until(lambda: not hosted.proxy._connections, "no connection is left")


def test_dying_app_loses_no_get(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /launch", close=False))
        assert client.answer() == (200, b"1")
        client.send(ask("GET /exit", close=False))
        assert one.process.wait(DEADLINE) == 3
        hosted.show(Held("the restart"))
        with App(binary, 2) as two:
            hosted.show(two.open)
            assert client.answer() == (200, b"survived")
            client.send(ask("GET /launch", close=False))
            assert client.answer() == (200, b"2")


@pytest.mark.parametrize(
    ("lines", "first", "rest"),
    [
        (["Content-Length: 5"], b"hello", b""),
        (["Content-Length: 8"], b"hello", b"123"),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n3\r\n12", b"3\r\n0\r\n\r\n"),
    ],
)
def test_dying_app_loses_no_put(binary: Path, lines: list[str], first: bytes, rest: bytes) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("PUT /exit", *lines, close=False) + first)
        assert one.process.wait(DEADLINE) == 3
        hosted.show(Held("the restart"))
        with App(binary, 2) as two:
            hosted.show(two.open)
            client.send(rest + ask("GET /launch", close=False))
            assert client.answer() == (200, b"survivedhello")
            assert client.answer() == (200, b"2")


def test_large_put_is_not_kept_to_be_sent_again(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("PUT /exit", f"Content-Length: {KEPT + 1}", close=False) + bytes(KEPT + 1))
        assert one.process.wait(DEADLINE) == 3
        with App(binary, 2) as two:
            hosted.show(two.open)
            status, text = client.answer()
    assert status == 502
    assert b"not sent again" in text


def test_dying_app_loses_a_post_honestly(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(post("/exit", b"hello", close=False))
        status, text = client.answer()
        assert status == 502
        assert text.startswith(b"lost: the app closed the connection")
        hosted.show(Crashed("exit code 3"))
        client.send(ask("GET /exit", close=False))
        assert client.answer() == (503, f"/exit: {Crashed('exit code 3')}\n".encode())


def test_request_that_killed_the_app_is_told_so(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /exit"))
        one.process.wait(DEADLINE)
        hosted.show(Crashed("exit code 3"))
        assert client.answer()[0] == 503


def test_request_that_found_nobody_goes_through_the_gate_again(app: App) -> None:
    with Hosted(Open(1, "127.0.0.1", free_port())) as hosted, Client(hosted.port) as client:
        client.send(post("/", b"hello", close=False))
        until(lambda: bool(hosted.proxy._connections), "the request is under way")
        hosted.show(app.open)
        status, text = client.answer()
        assert status == 200
        assert b'"hello"' in text


def test_app_that_is_never_there_is_an_honest_502() -> None:
    with Hosted(Open(1, "127.0.0.1", free_port())) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /"))
        status, text = client.answer()
    assert status == 502
    assert b"refused" in text.lower()


@contextlib.contextmanager
def scripted(answer: bytes, reset: threading.Event | None = None) -> Iterator[Callable[[], Open]]:
    """An app that answers one POST on each connection, with these bytes, and ends it; called, it takes one more."""
    servers: list[threading.Thread] = []

    def once() -> None:
        connection, _ = listener.accept()
        with connection:
            while not connection.recv(65536).endswith(b"hello"):
                pass
            connection.sendall(answer)
            if reset:
                reset.wait(DEADLINE)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def take() -> Open:
        for server in servers:
            server.join(DEADLINE)
        servers.append(threading.Thread(target=once))
        servers[-1].start()
        return Open(1, "127.0.0.1", listener.getsockname()[1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield take
        for server in servers:
            server.join(DEADLINE)


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"])
def test_idle_connection_that_the_app_closed_or_spoiled_is_replaced(more: bytes) -> None:
    with (
        scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + more) as take,
        Hosted(take()) as hosted,
        Client(hosted.port) as client,
    ):
        for last in (False, False, True):
            client.send(post("/", b"hello", close=False))
            assert client.answer() == (200, b"hi")
            if not last:
                take()  # the app has closed the one before; a round trip of the proxy's loop later the proxy knows
                with Client(hosted.port) as other:
                    other.send(ask("GET /.goreload/"))
                    other.rest()


def test_answer_that_is_reset_is_not_taken_for_a_whole_one() -> None:
    reset = threading.Event()
    with (
        scripted(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset) as take,
        Hosted(take()) as hosted,
        Client(hosted.port) as client,
    ):
        client.send(post("/", b"hello", close=False))
        client.until(b"half")
        reset.set()
        with pytest.raises(ConnectionResetError):
            client.read(1)


def test_close_ends_everything_that_streams(app: App) -> None:
    with Hosted(app.open) as hosted:
        clients = [Client(hosted.port) for _ in range(100)]
        for client in clients:
            client.send(ask("GET /wait?first=1"))
        for client in clients:
            client.until(b"first")
        assert len(hosted.proxy._connections) == 100
        hosted.run(hosted.close())
        assert not hosted.proxy._connections
        for client in clients:
            client.rest()
            client.socket.close()
    until(lambda: counts(app.port)[0] == 0, "the app knows")


HOST = """
import asyncio, sys
from goreload_tasks.gateway.gate import Gate, Open
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.sockets import inner
from goreload_tasks.gateway.streams import BLOCK
from tests.gateway.hosting import proxy_before

async def main():
    gate = Gate(lambda: None, 1)
    gate.show(Open(1, "127.0.0.1", int(sys.argv[1])))
    port = inner()
    listener = Listener([port], proxy_before(gate, 1).serve, BLOCK)
    print(port.getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])

asyncio.run(main())
"""


def test_streams_of_any_size_pass_in_constant_memory(app: App) -> None:
    size, block = 200_000_000, bytes(range(250)) * 4000
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(app.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        port = int(process.stdout.readline())
        with Client(port) as client:
            client.send(ask("POST /upload", f"Content-Length: {size}", close=False))
            digest = hashlib.sha256()
            for _ in range(size // len(block)):
                client.send(block)
                digest.update(block)
            assert client.answer() == (200, f"{size} {digest.hexdigest()} <nil>\n".encode())
        connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
        connection.request("GET", f"/download?size={size}")
        answer, got = connection.getresponse(), 0
        while part := answer.read(1_000_000):
            got += len(part)
        connection.close()
        assert got == size
        peak = int(process.communicate(timeout=DEADLINE)[0])
    assert peak < 60_000, f"{peak} kB"


# -- any message ---------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["X-A", "x-a", "ACCEPT", "Cookie", "x.y!", "Via", "Age", "X-Forwarded-For"])
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(lambda field: f"{field[0]}: {field[1]}\r\n"), max_size=5).map("".join)
TARGETS = st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"]), max_size=30).map("/".__add__)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """The field that frames a body, and the body."""
    contents = draw(st.lists(st.binary(min_size=1, max_size=200), max_size=4))
    if draw(st.booleans()):
        return "Transfer-Encoding: chunked\r\n", chunks(*contents, trailers=draw(st.sampled_from([b"", b"A: b\r\n"])))
    body = b"".join(contents) * draw(st.sampled_from([1, 1, 1, 500]))
    return f"content-length: {len(body)}\r\n", body


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request and its answer; both may have any body that can be framed."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "ODD"]))
    framing, body = draw(st.one_of(st.just(("", b"")), bodies()))
    request = f"{method} {draw(TARGETS)} HTTP/1.1\r\nhost: localhost\r\n{draw(FIELDS)}{framing}\r\n".encode("latin-1")
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"]))
    status = draw(st.sampled_from([200, 204, 304, 404, 500]))
    framing, content = draw(bodies())
    answer = f"HTTP/1.1 {status} {draw(VALUES)}\r\n{draw(FIELDS)}{framing}\r\n".encode("latin-1")
    bodiless = method == "HEAD" or status in (204, 304)
    return request + body, interim + answer + (b"" if bodiless else content)


Cut = Callable[[int, bytes], list[bytes]]
"""The blocks in which message number so and so is sent."""


def each(size: int) -> Cut:
    return lambda _, data: [data[at : at + size] for at in range(0, len(data), size)]


async def write_in_blocks(writer: asyncio.StreamWriter, blocks: list[bytes]) -> None:
    for block in blocks:
        writer.write(block)
        await writer.drain()
        for _ in range(4):  # turns of the loop after which the proxy has read it, by itself
            await asyncio.sleep(0)


async def exchange(messages: list[tuple[bytes, bytes]], cut: Cut) -> tuple[list[bytes], list[bytes]]:
    """What the app got, and what the client got, over one connection of each."""
    got: list[bytes] = []
    expected = []
    for request, _ in messages:
        end = request.index(b"\r\n\r\n") + 4
        expected.append(forwarded(Head.request(request[:end]), "127.0.0.1") + request[end:])

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, request in enumerate(expected):
            got.append(await reader.readexactly(len(request)))
            await write_in_blocks(writer, cut(number, messages[number][1]))
        await reader.read()
        writer.close()

    upstream = await asyncio.start_server(app, "127.0.0.1", 0)
    gate = Gate(lambda: None, DEADLINE)
    gate.show(Open(1, "127.0.0.1", upstream.sockets[0].getsockname()[1]))
    proxy = proxy_before(gate, 1)
    port = inner()
    listener = Listener([port], proxy.serve, BLOCK)
    reader, writer = await asyncio.open_connection(*port.getsockname())
    answers = []
    async with asyncio.timeout(DEADLINE):
        for number, (request, answer) in enumerate(messages):
            sending = asyncio.create_task(write_in_blocks(writer, cut(number, request)))
            answers.append(await reader.readexactly(len(answer)))
            await sending
        writer.close()
        await writer.wait_closed()
        listener.stop()
        upstream.close()
        await asyncio.gather(listener.close(), upstream.wait_closed())
    assert got == expected
    return got, answers


@settings(max_examples=150, deadline=None)
@given(st.lists(exchanges(), min_size=1, max_size=3), st.sampled_from([1, 7, 100, 100_000]))
def test_any_messages_pass_byte_for_byte(messages: list[tuple[bytes, bytes]], cut: int) -> None:
    if max(len(data) for message in messages for data in message) > 10_000:
        cut = max(cut, 100)
    got, answers = asyncio.run(exchange(messages, each(cut)))
    assert answers == [answer for _, answer in messages]
    for (request, _), bytes_ in zip(messages, got, strict=True):
        assert re.sub(rb"X-Forwarded-(For: 127.0.0.1|Host: localhost|Proto: http)\r\n", b"", bytes_) == request


def test_messages_cut_in_two_anywhere_pass_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask("PUT /x?y", "Transfer-Encoding: chunked", close=False) + chunks(b"hello", trailers=b"A: b\r\n")
    request = request.replace(b"5\r\n", b'5;a="b";c\r\n')
    interim = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    answer = interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc", trailers=b"C: d\r\n")
    short = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    seen: set[int] = set()
    fill = Source.fill

    async def filling(source: Source) -> bool:
        more = await fill(source)
        seen.add(len(source.held))
        return more

    monkeypatch.setattr(Source, "fill", filling)
    places = range(1, max(len(request), len(answer), len(short)))
    messages = [(request, one) for _ in places for one in (answer, short)]
    got, answers = asyncio.run(
        exchange(messages, lambda number, data: [data[: number // 2 + 1], data[number // 2 + 1 :]])
    )
    assert answers == [answer for _, answer in messages]
    assert len(got) == len(messages)
    places = range(1, request.index(b"\r\n\r\n"))
    assert len(seen & set(places)) > len(places) // 2  # the cuts were really met
