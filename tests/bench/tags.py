"""Question 4. What build tags leave out, and what that saves.

Two programs: the Gin starter with and without the advised tag, which leaves a dependency out; and 120 files of one's
own of which 22 are behind a tag, which leaves out nothing else. A build after an edit is measured in turns in a warm
cache; the full form also asks `goreload tags --time`, for builds with an empty cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.apps import App, make
from tests.bench.lab import CannotMeasureError, Data, Lab, Table, in_turn, ratios, shown, timed
from tests.bench.plots import Canvas
from tests.driver import write
from tests.hammer import Saves

BEHIND, FILES = 22, 120


@dataclass(frozen=True, slots=True)
class Case:
    """A program, and the tags of each of its environments."""

    name: str
    app: App
    environments: Mapping[str, Sequence[str]]


def measure(lab: Lab) -> Data:
    place = lab.folder("tags")
    gin = make(place / "gin", "gin", 3)
    own = make(place / "own", "gin", 3)
    for number in range(FILES - len(list(own.folder.rglob("*.go")))):
        first = "//go:build full\n\n" if number < BEHIND else ""
        body = f"package handlers\n\n// Count{number} counts.\nfunc Count{number}(to int) (sum int) {{\n"
        body += "\tfor at := range to {\n\t\tsum += at\n\t}\n\treturn sum\n}\n"
        write(own.folder, {f"handlers/count{number}.go": first + body})
    cases = [
        Case("Gin, without its MsgPack codec", gin, {"with": [], "without": ["nomsgpack"]}),
        Case(f"{FILES} files, {BEHIND} behind a tag", own, {"with": ["full"], "without": []}),
    ]
    return {"cases": [_case(lab, case) for case in cases]}


def _case(lab: Lab, case: Case) -> Data:
    app = case.app
    environments = {name: {"tags": list(tags)} for name, tags in case.environments.items()}
    (app.folder / "invoke.yaml").write_text(
        json.dumps({"goreload": {"environment": "with", "environments": environments}})  # JSON is YAML
    )
    surveyed = _survey(app.folder, timed=not lab.quick)
    saves = Saves(app.folder.with_suffix(".saves"), 1000)
    seconds: dict[str, list[float]] = {name: [] for name in environments}
    sizes = {}

    def build(name: str) -> float:
        argv = ["go", "build", "-buildvcs=false", "-ldflags=-s -w", f"-tags={','.join(case.environments[name])}"]
        argv += ["-o", f"{app.binary}-{name}", "."]
        app.save(saves, "main")
        took = timed(lambda: subprocess.run(argv, cwd=app.folder, check=True))
        sizes[name] = Path(f"{app.binary}-{name}").stat().st_size
        return took

    for name in environments:
        build(name)  # it compiles what differs
    for number in lab.rounds(15, 1, 6):
        for name in in_turn(list(environments), number):
            seconds[name].append(build(name))
    saves.close()
    lab.say(f"{case.name}: built")
    rows = [
        {
            "environment": name,
            "tags": tags,
            "files": len(surveyed[name]["files"]),
            "packages": surveyed[name]["packages"],
            "modules": surveyed[name]["modules"],
            "bytes": sizes[name],
            "cold_ms": surveyed[name].get("cold_ms"),
            "ms": [1000 * took for took in seconds[name]],
        }
        for name, tags in case.environments.items()
    ]
    return {"name": case.name, "rows": rows}


def _survey(folder: Path, timed: bool) -> dict[str, Data]:
    """What `goreload tags` says of each environment.

    Raises:
        CannotMeasureError: it failed.
    """
    argv = [sys.executable, "-m", "goreload_tasks.program", "tags", "--json", *(["--time"] if timed else [])]
    done = subprocess.run(argv, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasureError(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["environment"]: line for line in lines if line["event"] == "tags"}


def tables(data: Data) -> list[Table]:
    made = []
    for case in data["cases"]:
        before = case["rows"][0]
        rows = [
            [
                f"{row['environment']} ({','.join(row['tags']) or 'no tags'})",
                shown(ratios(row["ms"], before["ms"]), 2),
                f"{row['bytes'] / before['bytes']:.2f}",
                shown(row["ms"]),
                f"{row['cold_ms'] / 1000:.1f}" if row["cold_ms"] else "-",
                f"{row['bytes'] / 2**20:.1f}",
                str(row["files"]),
                str(row["packages"]),
                str(row["modules"]),
            ]
            for row in case["rows"]
        ]
        head = ["build tags", "time", "size", "ms after an edit", "cold s", "MiB", "own files", "packages", "modules"]
        made.append(Table(case["name"], head, rows, ["known claim to check: 120 -> 98 files, 8.2 -> 6.1 s"]))
    return made


def draw(data: Data, canvas: Canvas) -> None:
    panels = {
        case["name"]: {
            f"{row['environment']} ({','.join(row['tags']) or 'no tags'})": row["ms"] for row in case["rows"]
        }
        for case in data["cases"]
    }
    for at, (name, bars) in enumerate(panels.items()):
        canvas.bars(f"tags-{at}", "Build after an edit, ms", {name: bars})
