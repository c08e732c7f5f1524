"""What a start knows from the one before, and a go command that does not answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.settings import Settings
from tests.driver import write
from tests.inputs.trees import GO, Go, listed


def remembered(go: Go, **env: str) -> Tree:
    """The tree of a second start."""
    plan = replace(go.plan, env={**go.plan.env, **env})
    return Tree(str(go.root), Settings(), capture, plan, str(go.root.parent / "listing.json"))


def test_second_start_knows_the_inputs_before_it_has_asked(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    first = remembered(go)
    assert not first.recall(time.time_ns())
    asyncio.run(first.list(time.time_ns))
    second = remembered(go)
    assert second.recall(time.time_ns())
    assert (second.inputs.build, second.folders) == (first.inputs.build, first.folders)
    second.look((0, 1))
    write(root, {"a/b/one.txt": "edited"})
    assert second.look((0, 1)).verdict == "rebuild"
    third = remembered(go)
    assert third.recall(time.time_ns() + 10**9)
    assert third.look((0, 1)).verdict is None, "what was edited before the start, the first build reads"


@pytest.mark.parametrize(
    ("name", "text", "known"),
    [
        ("main.go", "package main\n\nfunc main() { println(1) }\n", True),
        ("notes.txt", "a note", True),
        ("main_test.go", "package main\n", True),
        ("main.go", 'package main\n\nimport _ "example.com/app/x"\n\nfunc main() {}\n', False),
        ("more.go", "package main\n", False),
        ("go.mod", "module example.com/app\n\ngo 1.23\n\nreplace example.com/x => ../x\n", False),
        ("more.go", None, False),
        ("my.mod", "module example.com/app\n\ngo 1.24\n", False),
    ],
)
def test_second_start_asks_first_when_other_files_may_be_in_the_build(
    tmp_path: Path, name: str, text: str | None, known: bool
) -> None:
    root = tmp_path / "app"
    mod = "module example.com/app\n\ngo 1.23\n"
    files = {"go.mod": mod, "my.mod": mod, "main.go": "package main\n\nfunc main() {}\n"}
    write(root, files if text else {**files, name: "package main\n"})
    go = Go(root, ["-modfile=my.mod"] if name == "my.mod" else [], {})
    asyncio.run(remembered(go).list(time.time_ns))
    if text:
        write(root, {name: text})
    else:
        (root / name).unlink()
    assert remembered(go).recall(time.time_ns()) is known


@pytest.mark.parametrize(
    "env",
    [
        {"GOFLAGS": "-tags=x"},
        {"CGO_ENABLED": "0"},
        {"GOARCH": "arm64"},
        {"GOENV": "off"},
        {"GOTOOLCHAIN": "local"},
        {"CC": "clang"},
        {"CGO_CFLAGS": "-O1"},
    ],
)
def test_other_settings_of_the_go_command_are_another_question(tmp_path: Path, env: dict[str, str]) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    asyncio.run(remembered(go).list(time.time_ns))
    assert not remembered(go, **env).recall(time.time_ns())


def test_go_env_w_between_two_starts_is_another_question(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {"GOENV": str(tmp_path / "goenv")})
    asyncio.run(remembered(go).list(time.time_ns))
    assert remembered(go).recall(time.time_ns())
    subprocess.run(
        ["go", "env", "-w", "GOFLAGS=-trimpath"], env={**os.environ, "GOENV": str(tmp_path / "goenv")}, check=True
    )
    assert not remembered(go).recall(time.time_ns())


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense"])
def test_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(tmp_path, {"listing.json": text})
    assert not remembered(Go(root, [], {})).recall(time.time_ns())


def test_go_command_that_never_answers_is_given_up_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    os.mkfifo(root / "a" / "pipe.go")  # the go command opens it, and waits for a writer
    assert go.look().relist
    monkeypatch.setattr("goreload_tasks.inputs.listing.LIMIT", 1.0)
    with pytest.raises(TimeoutError, match="no answer in 1 s"):
        listed(go)
    (root / "a" / "pipe.go").unlink()
    monkeypatch.undo()
    assert go.look().relist
    listed(go)
    assert go.tree.listing.clean
