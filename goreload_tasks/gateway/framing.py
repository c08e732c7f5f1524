"""PURE. Where the body of an HTTP/1.1 message ends (RFC 9112 sections 6 and 7), found without taking it apart."""

from __future__ import annotations

import re
from typing import Protocol

MAX_LINE = 16 * 1024
"""Bytes of a chunk-size or trailer line; the longest that is held back."""

SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class Malformed(Exception):  # noqa: N818 - a word for the message, not for what we do about it
    """The bytes are no message, or two readers could disagree where it ends (request smuggling, RFC 9112 11.2).

    Args:
        reason: for a person.
        status: what a client that sent it is answered.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Framing(Protocol):
    """One body on its way. Its `tail`, where it has one, goes behind the last byte of a body that is not empty."""

    done: bool
    """All of it was fed."""
    rest: bytes
    """What of the last block comes after the body."""

    def feed(self, block: bytes) -> bytes:
        """What may be passed on now; raises Malformed."""

    def end(self) -> bytes:
        """The connection ended: what is still to be passed on. The body was cut off unless it is `done` now."""


class Length:
    """A body of so many bytes (RFC 9112 6.2)."""

    def __init__(self, length: int, tail: bytes = b"") -> None:
        self.left = length
        self.done = not length
        self.rest = b""
        self._tail = tail

    def feed(self, block: bytes) -> bytes:
        if len(block) < self.left:
            self.left -= len(block)
            return block
        mine, self.rest = block[: self.left], block[self.left :]
        if not self.done:
            mine += self._tail
        self.left, self.done = 0, True
        return mine

    def end(self) -> bytes:
        return b""


class Forever:
    """A body that ends with the connection (RFC 9112 6.3, rule 8)."""

    def __init__(self, tail: bytes = b"") -> None:
        self.done = False
        self.rest = b""
        self._tail = tail
        self._empty = True

    def feed(self, block: bytes) -> bytes:
        self._empty = self._empty and not block
        return block

    def end(self) -> bytes:
        self.done = True
        return b"" if self._empty else self._tail


class Chunked:
    """A body in chunks, with their extensions and trailers (RFC 9112 7.1).

    A line that has not ended yet is held back: only a whole line says whether the chunk is the last one, and the tail
    has to go before that.
    """

    def __init__(self, tail: bytes = b"") -> None:
        self.done = False
        self.rest = b""
        self._tail = b"%x\r\n%b\r\n" % (len(tail), tail) if tail else b""
        self._held = b""
        self._left = 0
        self._line = self._size
        self._empty = True

    def feed(self, block: bytes) -> bytes:
        data, self._held = self._held + block, b""
        at, last = 0, -1
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            if (end or len(data)) - at > MAX_LINE:
                raise Malformed("a line between chunks is too long")
            if not end:
                self._held = data[at:]
                break
            if self._line(data[at:end]):
                last = at
            at = end
        self.rest = data[at:] if self.done else b""
        if last < 0 or self._empty:
            return data[:at]
        return data[:last] + self._tail + data[last:at]

    def end(self) -> bytes:
        return self._held

    def _size(self, line: bytes) -> bool:
        """Begin a chunk. True: it is the last one."""
        if not (found := SIZE.fullmatch(line)):
            raise Malformed(f"no chunk size: {line[:40]!r}")
        self._left = int(found[1], 16)
        self._line = self._after if self._left else self._trailer
        self._empty = self._empty and not self._left
        return not self._left

    def _after(self, line: bytes) -> bool:
        if line != b"\r\n":
            raise Malformed(f"a chunk is longer than its size: {line[:40]!r}")
        self._line = self._size
        return False

    def _trailer(self, line: bytes) -> bool:
        # net/http also ends the trailers at a bare LF, others do not.
        if not line.endswith(b"\r\n"):
            raise Malformed(f"a trailer ends with a bare LF: {line[:40]!r}")
        self.done = line == b"\r\n"
        return False
