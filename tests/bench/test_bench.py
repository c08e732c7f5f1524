"""What the figures are made with: a bench that counts wrongly is worse than none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import processes
from tests.bench.apps import App, make
from tests.bench.lab import Lab, Table, in_turn, ratios, shown
from tests.bench.ledger import Builds, Ledger
from tests.bench.tools import Running, Tool, bare
from tests.bench.turns import Edit, Player
from tests.driver import DEADLINE, until
from tests.hammer import Saves


def test_ratios_are_made_within_a_turn_and_only_where_both_were_measured() -> None:
    assert ratios([2.0, None, 6.0], [1.0, 1.0, 4.0]) == [2.0, 1.5]
    assert shown([1.0, 2.0, 4.0], 1) == "2.0 (1.0 - 4.0)"
    assert shown([]) == "-"


def test_every_turn_has_everybody_and_nobody_is_always_first() -> None:
    orders = [in_turn("abc", number) for number in range(6)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert {order[0] for order in orders} == {"a", "b", "c"}


def test_table_reads_as_text_and_as_markdown() -> None:
    table = Table("Title", ["who", "ms"], [["ours", "7"], ["bare", "11"]], ["a note"])
    assert str(table).splitlines() == ["Title", "", "who   ms", "--------", "ours   7", "bare  11", "  a note"]
    assert table.markdown.splitlines() == ["| who | ms |", "| --- | ---: |", "| ours | 7 |", "| bare | 11 |"]


@pytest.fixture
def mark() -> Iterator[str]:
    """The mark of a process that works, and of its child in a session of its own."""
    mark = f"test-{os.getpid()}"
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True)\nwhile True: pass"
    env = {**os.environ, processes.MARK: mark}
    with subprocess.Popen([sys.executable, "-c", code], env=env) as process:
        yield mark
        process.kill()
    processes.stop(mark)


def test_whoever_left_the_tree_is_counted_and_ended_too(mark: str) -> None:
    until(lambda: len(processes.members(mark)) == 2, "both of them")
    until(lambda: processes.cpu(processes.members(mark)) > 0.1, "a tenth of a second of work")
    assert processes.rss(processes.members(mark)) > 1_000_000
    assert not processes.quiet(mark, still=0.3, deadline=0.5)
    processes.stop(mark, grace=1)
    assert not processes.members(mark)
    assert processes.quiet(mark)


def test_mirror_counts_what_the_kernel_queues(tmp_path: Path) -> None:
    closed_after_writing = 0x8
    mirror = processes.Mirror({os.fspath(tmp_path): closed_after_writing})
    for number in range(7):
        (tmp_path / f"{number}").write_text("x")
    assert mirror.count() == 7
    assert mirror.count() == 0
    mirror.close()


def test_ledger_tells_a_build_that_ended_well_from_one_that_did_not(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    env = {**os.environ, **ledger.of(Tool("any", lambda _: [])).env}
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n")
    subprocess.run(["go", "build", "-o", os.devnull, "main.go"], cwd=tmp_path, env=env, check=True)
    subprocess.run(["go", "build", "missing.go"], cwd=tmp_path, env=env, check=False, capture_output=True)
    subprocess.run(["go", "version"], env=env, check=True, capture_output=True)
    assert ledger.take() == Builds(begun=2, well=1)
    assert ledger.take() == Builds(0, 0)


@pytest.mark.parametrize("packages", [3, 8])
def test_program_answers_the_number_of_its_newest_save(tmp_path: Path, packages: int) -> None:
    app = make(tmp_path / "app", "nethttp", packages)
    assert len({path.parent for path in app.folder.rglob("*.go")}) == packages
    lab = Lab(tmp_path / "lab", quick=True)
    lab.scratch.mkdir()
    with Player(lab, bare("bare", ["-buildvcs=false"], {"GOFLAGS": "-trimpath"}), app) as player:
        player.running.up()
        for kind in ("main", "leaf", "template"):
            took = player.turn(Edit(kind, kind), 60)
            assert took.ms is not None
            assert took.cpu > 0
            assert took.odd == 0
    assert not player.running.members


def test_flags_and_variables_are_those_that_a_build_really_has(tmp_path: Path) -> None:
    app = make(tmp_path / "app", "nethttp", 3)
    script = "while :; do GOGC=off go build -o {out} -ldflags=-s .; done"
    tool = Tool("any", lambda app: ["sh", "-c", script.format(out=app.binary)])
    with Running(tool, app) as running:
        end = time.monotonic() + DEADLINE
        while not (found := processes.build_of(running.mark)) and time.monotonic() < end:
            pass
    assert found
    assert found.flags == ("-ldflags=-s",)
    assert found.env == {"GOGC": "off"}


def test_saves_are_numbered_and_dated(tmp_path: Path) -> None:
    app = App(tmp_path, "gin", 3)
    app.path("main").parent.mkdir(exist_ok=True)
    saves = Saves(tmp_path / "saves", 3)
    before = time.time_ns()
    at = app.save(saves, "main")
    assert before <= at <= time.time_ns()
    assert "handlers.Main = 1 " in app.path("main").read_text()
    saves.close()
