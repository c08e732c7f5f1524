"""The environments side by side, on real programs."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from goreload_tasks.adopt.scaffold import render
from goreload_tasks.insight import tags as room
from goreload_tasks.insight.tags import survey
from goreload_tasks.project import Project
from goreload_tasks.settings import Layer, merge
from goreload_tasks.settings.schema import DEFAULTS
from tests.driver import Driver, server, write

SMALL = {
    "go.mod": "module example.com/app\n\ngo 1.23\n",
    "main.go": "package main\n\nfunc main() { println(word) }\n",
    "word.go": "//go:build !prod\n\npackage main\n\nconst word = `dev`\n",
    "word_for_prod.go": "//go:build prod\n\npackage main\n\nconst word = `prod`\n",
    "x_windows.go": "package main\n",
}


def test_environments_stand_side_by_side_with_what_they_leave_out(project: Path, driver: Driver) -> None:
    write(project, {**SMALL, "invoke.yaml": "goreload: {build: {tags: [wrod, prdo]}}\n"})
    shown = driver.run(project, "tags", program="goreload")
    assert shown.returncode == 0, shown.stderr
    assert "  word_for_prod.go: not in dev, test: by its constraint `//go:build prod`" in shown.stdout
    assert "  x_windows.go: not in dev, test, prod: by its name" in shown.stdout
    assert "no file asks for the tag prdo; did you mean prod?" in shown.stdout
    rows = [json.loads(line) for line in driver.run(project, "tags", "--json", program="goreload").stdout.splitlines()]
    by_name = {row["environment"]: row for row in rows if row["event"] == "tags"}
    assert by_name["prod"]["tags"] == ["wrod", "prdo", "prod"]
    assert [Path(path).name for path in by_name["prod"]["files"]] == ["main.go", "word_for_prod.go"]
    assert by_name["dev"]["modules"] == 1


def test_tag_that_only_the_standard_library_asks_for_is_used_and_tests_are_left_out_of_nothing(
    project: Path, driver: Driver
) -> None:
    files = {**SMALL, "main.go": 'package main\n\nimport _ "net"\n\nfunc main() { println(word) }\n'}
    settings = "goreload: {build: {tags: [netgo, nonsense]}}\n"
    write(project, {**files, "in_test.go": "//go:build prod\n\npackage main\n", "invoke.yaml": settings})
    shown = driver.run(project, "tags", program="goreload").stdout
    assert "no file asks for the tag nonsense" in shown
    assert "the tag netgo" not in shown
    assert "in_test.go" not in shown


def test_nomsgpack_is_advised_to_a_gin_program_that_uses_none(project: Path, driver: Driver) -> None:
    project.rmdir()
    render("gin", project)
    shown = driver.run(project, "tags", program="goreload").stdout
    assert "--tags=nomsgpack leaves " in shown
    with (project / "main.go").open("a") as file:
        file.write("\n// MsgPack is used here.\n")
    assert "nomsgpack" not in driver.run(project, "tags", program="goreload").stdout


def test_tags_are_offered_with_what_they_were_measured_to_save(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.rmdir()
    render("gin", project)
    (service,) = merge([Layer("default", DEFAULTS)])
    monkeypatch.setattr(room, "WORTH", 100.0)  # no test depends on a time: whatever it saves is worth it

    async def found() -> dict[str, str]:
        plan, target = await Project(str(project), (service,), ()).plan(service, dev=True)
        return await room.measured(plan, target, str(tmp_path), ["netgo,osusergo"])

    offers = asyncio.run(found())
    assert list(offers) == ["nomsgpack"]
    assert re.search(
        r"--tags=nomsgpack leaves .*: [\d.]+ of the build after an edit, 0\.\d+ of the size", offers["nomsgpack"]
    )


def test_pure_go_lookups_are_advised_where_only_the_standard_library_uses_c(project: Path, driver: Driver) -> None:
    server(project)
    shown = driver.run(project, "tags", program="goreload", env={"CGO_ENABLED": "1"}).stdout
    assert "--tags=netgo,osusergo leaves " in shown
    assert "netgo" not in driver.run(project, "tags", program="goreload", env={"CGO_ENABLED": "0"}).stdout


def test_measuring_builds_for_real_and_touches_no_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {**SMALL, "invoke.yaml": "", "a.go": "//go:build ignore\n\npackage nonsense\n\nbroken\n"})
    before = {path.name: path.read_bytes() for path in project.iterdir()}
    (service,) = merge([Layer("default", DEFAULTS)])
    alone = replace(
        service, settings=replace(service.settings, environments={"dev": service.settings.environments["dev"]})
    )
    told: list[str] = []
    written: list[bytes] = []
    real = room._write

    def write_and_keep(path: str, data: bytes) -> None:
        written.append(data)
        real(path, data)

    monkeypatch.setattr(room, "_write", write_and_keep)
    seen = asyncio.run(survey(Project(str(project), (alone,), ()), alone, timed=True, progress=told.append))
    assert "measuring dev" in told[0]
    assert list(json.loads(written[0])["Replace"]) == [str(project / "main.go")], "the edited source is in the build"
    cost = seen.rows[0].cost
    assert cost
    assert cost.cold > 0
    assert cost.edit > 0
    assert cost.size > 100_000
    assert {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()} == before
