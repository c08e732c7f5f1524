"""What is written down of reloads, and how it is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goreload_tasks.insight import history, timings


def test_parts_are_what_lies_between_known_moments() -> None:
    moments = {"saved": 10.0, "noticed": 10.002, "begun": 10.01, "built": 10.5, "spawned": 10.52, "accepting": 10.53}
    known = {name: round(seconds, 3) for name, seconds in timings.parts(moments).items()}
    assert known == {"noticed": 0.002, "decided": 0.008, "built": 0.49, "spawned": 0.02, "accepting": 0.01}
    swap = {"built": 1.0, "stopping": 1.25, "gone": 1.5, "spawned": 2.0}
    assert timings.parts(swap) == {"compared": 0.25, "old program's end": 0.25, "spawned": 0.5}
    restart = {name: at for name, at in swap.items() if name != "built"}
    assert timings.parts(restart) == {"old program's end": 0.25, "spawned": 0.5}
    assert timings.parts({**swap, "stopping": 3.0, "gone": 3.5}) == {"spawned": 1.0}, "beside the new one"
    assert timings.parts({**swap, "gone": 0.5}) == {"spawned": 1.0}, "before the build"
    assert timings.parts({"begun": 1.0, "built": 2.0}) == {"built": 1.0}
    assert timings.parts({}) == {}
    assert timings.parts({"saved": 2.0, "noticed": 1.9}) == {"noticed": 0.0}, "the file's clock is coarse"


def test_history_is_read_as_it_was_written_but_for_torn_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "history.jsonl")
    assert list(history.read(path)) == []
    history.add(path, {"did": "built", "changed": ["a.go", "b\udcff.go"]})
    with open(path, "a") as file:
        file.write('{"did": "bui\n[]\n')
    history.add(path, {"did": "kept"})
    assert [record["did"] for record in history.read(path)] == ["built", "kept"]
    assert next(history.read(path))["changed"] == ["a.go", "b\udcff.go"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_history_forgets_its_older_half_and_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LIMIT", 1000)
    path = tmp_path / "history.jsonl"
    for number in range(200):
        history.add(str(path), {"number": number})
        assert path.stat().st_size <= 1100
    numbers = [record["number"] for record in history.read(str(path))]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 20
    assert [one.name for one in tmp_path.iterdir()] == ["history.jsonl"]


def test_history_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    history.add(str(tmp_path / "missing" / "history.jsonl"), {"did": "built"})
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    history.add(str(tmp_path / "link"), {"did": "built"})
    assert not (tmp_path / "elsewhere").exists()


def test_line_says_when_what_and_how_long() -> None:
    record = {"at": "2026-11-26T10:00:00+0000", "changed": ["a.go", "b.go"], "did": "built 500 ms", "result": "x"}
    assert history.line(record) == "2026-11-26 10:00:00  a.go +1 -> built 500 ms"
    assert history.line({**record, "ms": {"built": 500.0}, "listed_ms": 60.0}).endswith(
        "built 500.0, listed 60.0 beside (ms)"
    )
