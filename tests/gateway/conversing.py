"""What clients say in the tests of the gateway."""

from __future__ import annotations

import http.client

from tests.driver import DEADLINE
from tests.gateway.hosting import Client

PAGE = b"<!doctype html><p>hello</p></html>\n"


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


def fetched(port: int, target: str, **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    """What a strict client makes of it."""
    connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()
