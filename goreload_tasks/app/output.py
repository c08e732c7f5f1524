"""PURE. A byte stream cut into lines that are never torn, in bounded memory."""

from __future__ import annotations

from collections import deque

MAX_LINE = 64 * 1024
"""Bytes after which a line that does not end is passed on in pieces."""

TAIL_LINES = 500
"""The runtime prints up to 100 frames of a goroutine, two lines each, below the reason (src/runtime/traceback.go)."""

TAIL_WIDTH = 2000
"""Bytes kept of a line's end."""


class Lines:
    """Cuts a byte stream at newlines, and where it must cut elsewhere, between UTF-8 characters."""

    def __init__(self) -> None:
        self._rest = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)

    def feed(self, block: bytes) -> bytes:
        """The part of the stream, up to here, that ends with a whole line (or a long line's whole characters)."""
        data = self._rest + block
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > MAX_LINE:
            cut = whole(data)
        return self._take(data, cut)

    def flush(self) -> bytes:
        """What is there of an unfinished line, up to its last whole character: a prompt, say."""
        return self._take(self._rest, whole(self._rest))

    def close(self) -> bytes:
        """All that is left, whole or not."""
        return self._take(self._rest, len(self._rest))

    @property
    def pending(self) -> bool:
        return bool(self._rest)

    @property
    def tail(self) -> list[str]:
        """The last lines."""
        lines = b"".join(self._tail).decode(errors="replace").splitlines()
        return lines[-TAIL_LINES:]

    def _take(self, data: bytes, cut: int) -> bytes:
        block, self._rest = data[:cut], data[cut:]
        for line in block[-TAIL_LINES * TAIL_WIDTH :].splitlines(keepends=True)[-TAIL_LINES:]:
            self._tail.append(line[-TAIL_WIDTH:])
        return block


def whole(data: bytes) -> int:
    """How much of the data ends with a whole UTF-8 character (RFC 3629); broken bytes count as characters."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < need else len(data)
    return len(data)
