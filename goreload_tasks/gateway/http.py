"""PURE. Heads of HTTP/1.1 messages (RFC 9112): read once, passed on as they came, changed only where they must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import Self

from goreload_tasks.gateway.framing import Chunked, Forever, Framing, Length, Malformed

HEAD_END = re.compile(rb"\n\r?\n")
"""The empty line; a bare LF ends a line for net/http too (RFC 9112 2.2)."""

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VERSION = re.compile(r"HTTP/\d\.\d")
STATUS = re.compile(r"[1-9][0-9]{2}(?: |$)")
ABSOLUTE = re.compile(r"(?i)https?://([^/?#]*)")
REPLAYABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Idempotent methods (RFC 9110 9.2.2)."""


SMALL = 2048
"""Bytes of a head up to which what was made of it is remembered."""


@lru_cache(1024)
def _lower(name: str) -> str:
    """A field name as it is looked up; raises Malformed for what is none, `Name :` above all (RFC 9112 5.1)."""
    if not TOKEN.fullmatch(name):
        raise Malformed(f"no field name: {name[:40]!r}")
    return name.lower()


@dataclass(frozen=True)
class Head:
    """The first lines of a request (`status` is 0) or of an answer (`method` and `target` are empty)."""

    raw: bytes
    """As it came, with the empty line."""
    version: str
    fields: dict[str, list[str]]
    """By lower-case name; a list because fields repeat. Bytes are characters (latin-1)."""
    method: str = ""
    target: str = ""
    status: int = 0

    @classmethod
    def request(cls, raw: bytes) -> Head:
        """Raises Malformed."""
        return _request(raw) if len(raw) <= SMALL else cls._request(raw)

    @classmethod
    def answer(cls, raw: bytes) -> Head:
        """Raises Malformed."""
        return _answer(raw) if len(raw) <= SMALL else cls._answer(raw)

    @classmethod
    def _request(cls, raw: bytes) -> Self:
        start, fields = _parse(raw)
        parts = start.split(" ")
        if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not parts[1] or not VERSION.fullmatch(parts[2]):
            raise Malformed(f"no request line: {start[:80]!r}")
        method, target, version = parts
        if not version.startswith("HTTP/1.") and raw[:16] != b"PRI * HTTP/2.0\r\n":
            raise Malformed(f"{version} is not spoken here", 505)
        hosts = len(fields.get("host", ()))
        if hosts > 1 or (hosts < 1 and version == "HTTP/1.1"):  # RFC 9112 3.2
            raise Malformed("a request has one Host field")
        return cls(raw, version, fields, method=method, target=target)

    @classmethod
    def _answer(cls, raw: bytes) -> Self:
        start, fields = _parse(raw)
        version, _, rest = start.partition(" ")
        if not version.startswith("HTTP/1.") or not STATUS.match(rest):
            raise Malformed(f"no status line: {start[:80]!r}")
        return cls(raw, version, fields, status=int(rest[:3]))

    def get(self, name: str) -> str:
        """A field's value, by lower-case name; repeats joined (RFC 9110 5.3), empty when there is none."""
        return ", ".join(self.fields.get(name, ()))

    def tokens(self, name: str) -> list[str]:
        """A field's comma-separated members, in lower case."""
        return [token.strip(" \t") for token in self.get(name).lower().split(",")] if name in self.fields else []

    @cached_property
    def path(self) -> str:
        """The target without authority and query."""
        if self.target[:1] != "/" and (found := ABSOLUTE.match(self.target)):
            return self.target[found.end() :].partition("?")[0] or "/"
        return self.target.partition("?")[0]

    @cached_property
    def host(self) -> str | None:
        """Whom the request is for: net/http, too, believes the target before the Host field (RFC 9112 3.2.2)."""
        if self.target[:1] != "/" and (found := ABSOLUTE.match(self.target)):
            return found[1]
        return self.get("host") if "host" in self.fields else None

    @cached_property
    def persistent(self) -> bool:
        """Its sender wants the connection to stay (RFC 9112 9.3)."""
        if "connection" not in self.fields:
            return self.version != "HTTP/1.0"
        tokens = self.tokens("connection")
        return "close" not in tokens and (self.version != "HTTP/1.0" or "keep-alive" in tokens)

    @cached_property
    def for_a_page(self) -> bool:
        """Of a request: a browser asks for what it will show as a page of its own."""
        if self.method != "GET":
            return False
        if "sec-fetch-dest" in self.fields:
            return self.get("sec-fetch-dest") in ("document", "iframe")
        return "text/html" in self.get("accept").lower()

    @cached_property
    def is_a_page(self) -> bool:
        """Of an answer: HTML that something can be appended to, and that a browser shows. Error pages too."""
        kind = self.get("content-type").lower()
        return (
            kind.startswith("text/html")
            and "utf-16" not in kind
            and "utf-32" not in kind
            and not self.get("content-disposition").lower().startswith("attachment")
            and self.status >= 200
            and self.status != 206
            and not 300 <= self.status < 400
            and "content-encoding" not in self.fields
        )

    @cached_property
    def is_a_stream(self) -> bool:
        """Of an answer: events that end with their reader."""
        return self.get("content-type").startswith("text/event-stream")

    @cached_property
    def length(self) -> int | None:
        """Content-Length; raises Malformed when it is no number or two numbers (RFC 9112 6.3, rule 5)."""
        values = set(self.fields.get("content-length", ()))
        if not values:
            return None
        value = values.pop()
        if values or not (value.isascii() and value.isdigit()) or len(value) > 18:
            raise Malformed(f"Content-Length: {self.get('content-length')[:80]}")
        return int(value)

    @cached_property
    def chunked(self) -> bool | None:
        """Is the last transfer coding chunked? None: there is no coding. Raises Malformed for smuggling shapes."""
        if "transfer-encoding" not in self.fields:
            return None
        codings = self.tokens("transfer-encoding")
        if "content-length" in self.fields:
            raise Malformed("Transfer-Encoding and Content-Length together")
        if self.version == "HTTP/1.0":
            raise Malformed("Transfer-Encoding in HTTP/1.0")
        if "chunked" in codings[:-1]:
            raise Malformed(f"Transfer-Encoding: {self.get('transfer-encoding')[:80]}")
        return codings[-1] == "chunked"


# Who asks again asks in the same words, and within a second is answered in the same ones.
_request = lru_cache(256)(Head._request)  # noqa: SLF001
_answer = lru_cache(256)(Head._answer)  # noqa: SLF001


def _parse(raw: bytes) -> tuple[str, dict[str, list[str]]]:
    """The start line, and the fields by lower-case name."""
    text = raw.decode("latin-1").replace("\r\n", "\n")
    if "\r" in text:
        raise Malformed("a CR without LF in the head")
    lines = text.split("\n")
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    for line in lines[1:-2]:
        if line[0] in " \t":  # a value on two lines (RFC 9112 5.2): net/http joins them, so it means the same here
            if not values:
                raise Malformed("the first field begins with a space")
            values[-1] = f"{values[-1]} {line.strip(' 	')}".strip(" ")
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"no field: {line[:40]!r}")
        name = _lower(name)
        if name in fields:
            values = fields[name]
            values.append(value.strip(" \t"))
        else:
            values = fields[name] = [value.strip(" \t")]
    return lines[0], fields


def upload(head: Head) -> Framing:
    """How a request's body is framed (RFC 9112 6.3); raises Malformed."""
    if head.chunked is False:
        raise Malformed(f"Transfer-Encoding: {head.get('transfer-encoding')[:80]}")
    return Chunked() if head.chunked else Length(head.length or 0)


def download(method: str, answer: Head, tail: bytes = b"") -> Framing:
    """How the body of the answer to such a request is framed (RFC 9112 6.3); raises Malformed."""
    if method == "HEAD" or answer.status < 200 or answer.status in (204, 304) or tunnels(method, answer):
        return Length(0)
    chunked, length = answer.chunked, answer.length
    if chunked:
        return Chunked(tail)
    return Forever(tail) if chunked is False or length is None else Length(length, tail)


def tunnels(method: str, answer: Head) -> bool:
    """After this answer the connection is no longer HTTP/1.1 (RFC 9110 7.8, 9.3.6)."""
    return answer.status == 101 or (method == "CONNECT" and 200 <= answer.status < 300)


def replaced(raw: bytes, name: str, value: str) -> bytes:
    """The head with this field once: where it stood first, or last of all."""
    line = f"{name}: {value}\r\n".encode("latin-1")
    field = _field(name)
    if not (found := field.search(raw)):
        return added(raw, line)
    return raw[: found.start()] + line + field.sub(b"", raw[found.end() :])


def removed(raw: bytes, name: str) -> bytes:
    """The head without this field."""
    return _field(name).sub(b"", raw)


@lru_cache
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?im)^" + re.escape(name.encode()) + rb":[^\n]*\n(?:[ \t][^\n]*\n)*")


def added(raw: bytes, lines: bytes) -> bytes:
    """The head with more lines, each with its CRLF."""
    end = len(raw) - (2 if raw.endswith(b"\r\n") else 1)
    return raw[:end] + lines + raw[end:]


def forwarded(head: Head, peer: str) -> bytes:
    """The request as the app gets it: it learns who asked, and for what, unless a proxy before us has said so."""
    return _forwarded_again(head.raw, peer) if len(head.raw) <= SMALL else _forwarded(head, peer)


@lru_cache(256)
def _forwarded_again(raw: bytes, peer: str) -> bytes:
    return _forwarded(Head.request(raw), peer)


def _forwarded(head: Head, peer: str) -> bytes:
    fields, lines = head.fields, ""
    if "x-forwarded-for" not in fields and peer:
        lines += f"X-Forwarded-For: {peer}\r\n"
    if "x-forwarded-host" not in fields and "host" in fields:
        lines += f"X-Forwarded-Host: {fields['host'][0]}\r\n"
    if "x-forwarded-proto" not in fields:
        lines += "X-Forwarded-Proto: http\r\n"
    raw = added(head.raw, lines.encode("latin-1")) if lines else head.raw
    if not head.for_a_page:
        return raw
    # What the browser has kept may have been made by an older program, and says so in its script: it would ask for
    # ever. And an app that compresses would make bytes that nothing can be appended to.
    for name in ("If-None-Match", "If-Modified-Since"):
        raw = removed(raw, name)
    return replaced(raw, "Accept-Encoding", "identity")


def relocated(answer: Head, hosts: set[str], inner: int, outer: int) -> bytes:
    """The answer's head, a redirect to the app's own port turned to the port that people use."""
    location = answer.get("location")
    found = re.match(r"(?i)(?:https?:)?//(\[[^\]/?#]*\]|[^:/?#]*):(\d+)(?=[/?#]|$)", location)
    if not found or found[1].lower() not in hosts or int(found[2]) != inner:
        return answer.raw
    return replaced(answer.raw, "Location", f"{location[: found.start(2)]}{outer}{location[found.end() :]}")


def plain(status: int, text: str) -> bytes:
    """A whole answer of ours with one line of text."""
    body = f"{text}\n".encode()
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n\r\n"
    ).encode() + body


def fitted(answer: bytes, method: str, keep: bool) -> bytes:
    """A whole answer of ours as this request gets it: HEAD without the body, and told when the connection ends."""
    found = HEAD_END.search(answer)
    end = found.end() if found else len(answer)
    head = answer[:end] if keep else replaced(answer[:end], "Connection", "close")
    return head if method == "HEAD" else head + answer[end:]
