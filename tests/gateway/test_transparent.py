"""The same requests with and without the proxy find the same bytes."""

from __future__ import annotations

import base64
import re
import threading
import zlib
from collections.abc import Callable

import pytest

from tests.driver import DEADLINE
from tests.gateway.conversing import PAGE, ask, chunks, post
from tests.gateway.hosting import App, Client, Hosted

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
