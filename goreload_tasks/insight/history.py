"""Past reloads of a service, one JSON object a line, the newest last."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from goreload_tasks.insight import timings
from goreload_tasks.store import FRESH, private

LIMIT = 128 * 1024
"""Bytes of the file above which its older half is forgotten."""


def add(path: str, record: Mapping[str, object]) -> None:
    """Write one down. Where that cannot be (a full disk, say) it is not: a reload never waits for its record."""
    with contextlib.suppress(OSError):
        with open(path, "ab", opener=private) as file:
            file.write(json.dumps(record, ensure_ascii=False, default=str).encode(errors="surrogateescape") + b"\n")
            size = file.tell()
        if size > LIMIT:
            _halve(path)


def read(path: str) -> Iterator[dict[str, Any]]:
    """What is written down; lines that are none (a crash cut one short) are passed over."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=private) as file:
            lines = file.readlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):
                yield said


def line(record: Mapping[str, Any]) -> str:
    """One reload for a person: when, what changed, what was done, and how long its parts took."""
    changed = record.get("changed") or [""]
    what = f"{changed[0]}{f' +{len(changed) - 1}' if len(changed) > 1 else ''}"
    known = {name: ms / 1000 for name, ms in (record.get("ms") or {}).items()}
    listed = record.get("listed_ms")
    took = f"  {timings.line(known, None if listed is None else listed / 1000)}" if known else ""
    return f"{str(record.get('at', ''))[:19].replace('T', ' ')}  {what} -> {record.get('did', '')}{took}"


def _halve(path: str) -> None:
    with open(path, "rb", opener=private) as file:
        file.seek(-LIMIT // 2, os.SEEK_END)
        file.readline()  # the rest of a line
        rest = file.read()
    fresh = path + FRESH
    with open(fresh, "wb", opener=private) as file:
        file.write(rest)
    os.replace(fresh, path)
