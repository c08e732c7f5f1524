"""Who writes an input again and again is named and stopped; a person never is. With real apps, rules and saves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goreload_tasks.loops import ALIKE, STILL, THIRD, WINDOW, Trail, Verdict, Write, step
from tests.driver import MAIN, Driver, answer, free_port, server, status, write
from tests.test_inputs_of_dev import Counted

EMBEDS = """package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"time"
)

//go:embed stamp.txt
var stamp string

func Answer() string { return "one" }

func init() { fmt.Fprint(io.Discard, stamp) }

func note(flags int) {
	file, _ := os.OpenFile("stamp.txt", flags|os.O_CREATE|os.O_WRONLY, 0o644)
	fmt.Fprintln(file, "started at", time.Now())
	file.Close()
}
"""

NAMED = r"stamp.txt is written at each start by the app: it is ignored until it stands still for 10 s; `watch.ignore`"


def starts_with(statement: str) -> str:
    return MAIN.replace("func main() {", f"func main() {{\n\t{statement}")


def mark(dev: Counted, text: str) -> None:
    """A person's save: it must be what answers."""
    source = (dev.project / "answer.go").read_text()
    write(dev.project, {"answer.go": source[: source.index('"one') + 4] + text + source[source.index('" }') :]})
    assert status(int(dev.url.rsplit(":", 1)[1])) == (200, "one" + text)


@pytest.mark.parametrize(
    "statement",
    [
        "note(os.O_TRUNC)",
        "note(os.O_APPEND)",
        'go func() { <-time.After(400 * time.Millisecond); note(os.O_TRUNC) }(); fmt.Sprint("")',
        'exec.Command("sh", "-c", "date +%N%N%N%N%N%N > stamp.txt").Run()',
    ],
    ids=["before it serves", "by a line more", "when it serves", "by a child"],
)
def test_app_that_writes_an_embedded_file_at_each_start_is_named_and_goes_on_serving(
    project: Path, driver: Driver, statement: str
) -> None:
    server(project)
    main = starts_with(statement)
    for package in ("time", "os/exec"):
        if package.split("/")[-1] + "." in statement:
            main = main.replace('"os"\n', f'"os"\n\t"{package}"\n', 1)
    write(project, {"main.go": main, "answer.go": EMBEDS, "stamp.txt": "x" * 500})
    dev = Counted(project, driver, free_port())
    dev.dev.line(NAMED)
    mark(dev, " more")
    builds = dev.builds
    mark(dev, " and more")
    assert dev.builds == builds + 1
    assert dev.dev.text.count("is written at each start by the app") == 1


def test_app_that_writes_what_it_reads_at_each_start_is_named(project: Path, driver: Driver) -> None:
    server(project)
    statement = 'os.WriteFile("conf/state.json", []byte(time.Now().String()), 0o644)'
    write(
        project,
        {
            "main.go": starts_with(statement).replace('"os"\n', '"os"\n\t"time"\n', 1),
            "conf/state.json": "{}",
            "invoke.yaml": "goreload: {watch: {include: ['conf/**']}}\n",
        },
    )
    dev = Counted(project, driver, free_port())
    dev.dev.line("conf/state.json is written at each start by the app")
    mark(dev, " more")
    assert dev.dev.text.count("conf/state.json ->") < 2 * THIRD


@pytest.mark.parametrize("statement", ["", 'os.WriteFile("app.log", make([]byte, 9999), 0o644)'], ids=["quiet", "logs"])
def test_person_who_saves_in_step_with_the_reloads_is_not_suspected(
    project: Path, driver: Driver, statement: str
) -> None:
    server(project)
    write(project, {"main.go": starts_with(statement)})
    dev = Counted(project, driver, free_port())
    for number in range(6):
        mark(dev, f" {number}")
        dev.dev.line(r"answer.go -> built .* up")
    assert "written at each start" not in dev.dev.text


def test_person_who_saves_six_times_before_one_reload_is_done_is_not_suspected(project: Path, driver: Driver) -> None:
    server(project)
    dev = Counted(project, driver, free_port())
    for round_ in range(4):
        for number in range(6):
            write(project, {"answer.go": answer(f"one {round_} {number}")})
        mark(dev, f" {round_}")
    assert "written at each start" not in dev.dev.text


def test_rule_that_writes_its_input_is_named_at_the_third_time_and_runs_for_the_next_save(
    project: Path, driver: Driver
) -> None:
    server(project)
    write(
        project,
        {
            "invoke.yaml": "goreload:\n  rules: [{name: stamp, files: ['*.sql'], run: sh stamp.sh, then: nothing}]\n",
            "stamp.sh": "echo x >> ../runs\necho x >> a.sql\n",  # the second may be its end
            "a.sql": "",
        },
    )
    dev = Counted(project, driver)
    write(project, {"a.sql": "begin\n"})
    dev.dev.line("rule stamp writes a.sql, which calls for rule stamp: it is not run again for that")
    dev.mark()
    runs = project.parent / "runs"
    count = len(runs.read_text().splitlines())
    assert count >= THIRD  # more, where a loaded machine let two of them write at different times
    write(project, {"a.sql": "again\n"})
    dev.dev.line("a.sql -> rule stamp")
    dev.mark()
    assert len(runs.read_text().splitlines()) == count + 1


def test_formatter_that_is_content_with_what_it_wrote_is_no_loop(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "invoke.yaml": "goreload:\n  rules: [{name: fmt, files: ['*.sql'], run: sh fmt.sh, then: nothing}]\n",
            "fmt.sh": "grep -q ';$' a.sql || sed -i 's/$/;/' a.sql\n",
            "a.sql": "",
        },
    )
    dev = Counted(project, driver)
    for number in range(5):
        write(project, {"a.sql": f"select {number}\n"})
        dev.dev.line("a.sql -> rule fmt")
        dev.mark()
        assert (project / "a.sql").read_text() == f"select {number};\n"
    assert "not run again" not in dev.dev.text


# The rule by itself, on values.

USUAL = Write(1, 0.5, 100, 100)


def follow(*writes: Write | None, at: float = 0.0) -> tuple[Trail | None, list[Verdict]]:
    """What becomes of changes one second apart."""
    trail: Trail | None = None
    verdicts: list[Verdict] = []
    for number, one in enumerate(writes):
        trail, verdict = step(trail, one, at + number)
        verdicts.append(verdict)
    return trail, verdicts


def runs(count: int, first: Write = USUAL) -> list[Write]:
    return [replace(first, run=first.run + number) for number in range(count)]


def test_third_run_in_a_row_that_writes_at_its_usual_time_is_named_and_later_ones_are_known() -> None:
    assert follow(*runs(5))[1] == ["counts", "counts", "named", "ignored", "ignored"]


@pytest.mark.parametrize(
    ("second", "third"),
    [
        (USUAL, replace(USUAL, run=3)),
        (replace(USUAL, run=2, after=0.5 + 2 * ALIKE), replace(USUAL, run=3, after=0.5 + 4 * ALIKE)),
        (replace(USUAL, run=2, wrote=99), replace(USUAL, run=3)),
        (replace(USUAL, run=2, wrote=0), replace(USUAL, run=3, wrote=0)),
        (replace(USUAL, run=2), replace(USUAL, run=4)),
        (replace(USUAL, run=2, after=WINDOW + 1), replace(USUAL, run=3)),
        (None, replace(USUAL, run=2)),
        (replace(USUAL, run=2), None),
        (replace(USUAL, run=2, size=200, wrote=99), replace(USUAL, run=3, size=300, wrote=99)),
    ],
)
def test_each_sign_that_is_missing_saves_a_person(second: Write | None, third: Write | None) -> None:
    assert follow(USUAL, second, third)[1] == ["counts"] * 3


def test_file_that_is_seen_empty_half_way_says_nothing_yet() -> None:
    one, two, three = runs(3)
    empty = Write(2, 0.5, 0, 0)
    assert follow(one, empty, two, three)[1] == ["counts", "counts", "counts", "named"]
    trail, _ = follow(one, two, three)
    assert step(trail, replace(empty, run=4), 5.0)[1] == "ignored"


def test_lines_that_are_appended_are_enough() -> None:
    grown = [Write(number, 0.5, 1000 + 50 * number, 50) for number in range(1, 4)]
    assert follow(*grown)[1] == ["counts", "counts", "named"]


def test_save_of_a_named_file_counts_at_once_where_the_run_wrote_nothing_since() -> None:
    trail, _ = follow(*runs(3))
    assert step(trail, Write(3, 2.0, 120, 100), 3.0)[1] == "counts"
    assert step(trail, Write(3, 2.0, 120, 0), 3.0)[1] == "counts"
    assert step(trail, None, 3.0)[1] == "counts"


def test_what_is_kept_back_of_a_named_file_is_owed_until_it_stands_still() -> None:
    trail, _ = follow(*runs(3))
    kept, verdict = step(trail, Write(3, 2.0, 100, 200), 3.0)
    assert (verdict, kept and kept.owed, kept and kept.until) == ("ignored", True, 3.0 + STILL)
    assert step(kept, Write(3, 3.0, 100, 300), 3.0 + STILL)[1] == "counts"
    assert step(trail, Write(3, 3.0, 100, 200), 2.0 + STILL)[1] == "counts"
