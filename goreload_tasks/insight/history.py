"""Past reloads of a service, one JSON object a line, the newest last."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping

LIMIT = 512 * 1024
"""Bytes of the file above which its older half is forgotten."""


def add(path: str, record: Mapping[str, object]) -> None:
    """Write one down. Where that cannot be (a full disk, say) it is not: a reload never waits for its record."""
    with contextlib.suppress(OSError):
        with open(path, "ab", opener=_private) as file:
            file.write(json.dumps(record, ensure_ascii=False, default=str).encode(errors="surrogateescape") + b"\n")
            size = file.tell()
        if size > LIMIT:
            _halve(path)


def read(path: str) -> Iterator[dict[str, object]]:
    """What is written down; lines that are none (a crash cut one short) are passed over."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):
                yield said


def _halve(path: str) -> None:
    with open(path, "rb") as file:
        file.seek(-LIMIT // 2, os.SEEK_END)
        file.readline()  # the rest of a line
        rest = file.read()
    fresh = f"{path}.new"
    with open(fresh, "wb", opener=_private) as file:
        file.write(rest)
    os.replace(fresh, path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
