"""Question 1. From a save to the first new answer: ours, the bare loop, and everybody else, in turns in one run.

A client asks every 2 ms on a new connection, while fewer than a hundred wait for an answer. What it is refused counts,
what is cut, and what is stale: answered by a program older than the last save that had returned before the request was
sent. It asks from before the save until a moment after the answer. Processor time is that of the tool, its builds and
the app, which answers the client, until they are at rest again.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from goreload_tasks.insight import history
from tests.bench import processes
from tests.bench.apps import make
from tests.bench.lab import CannotMeasureError, Data, Framework, Lab, Table, in_turn, present, ratios, shown
from tests.bench.plots import Canvas
from tests.bench.tools import PEERS, Tool, absent, bare, ours, peers
from tests.bench.turns import Edit, Player, caught, columns, settle

TAG = "nomsgpack"
"""The build tag that `tags` advises for a program with Gin."""

PLAIN, EQUAL, EQUAL_TAG = "bare, plain flags", "bare, our flags", f"bare, our flags, {TAG}"
OURS, OURS_TAG = "ours, proxy", f"ours, proxy, {TAG}"


SINGLE = (Edit("main", "main"), Edit("leaf", "leaf"), Edit("template", "template"))
BURSTS = tuple(Edit(f"burst {apart}", "main", 5, apart / 1000) for apart in (30, 100, 300))


@dataclass(frozen=True, slots=True)
class Course:
    """One program, edited in some ways. others: most of the other tools; tag: with the advised tag, too."""

    framework: Framework
    packages: int
    edits: tuple[Edit, ...]
    turns: int
    others: int = len(PEERS)
    tag: bool = True

    @property
    def name(self) -> str:
        return f"{ {'gin': 'Gin', 'nethttp': 'net/http'}[self.framework] }, {self.packages} packages"


FULL = (
    Course("gin", 20, (*SINGLE, *BURSTS), 15),
    Course("gin", 3, (*SINGLE, BURSTS[0]), 7),
    Course("gin", 200, (*SINGLE, BURSTS[0]), 7),
    *(Course("nethttp", count, (*SINGLE, BURSTS[0]), 7, tag=False) for count in (3, 20, 200)),
)
QUICK = (Course("nethttp", 3, (SINGLE[0], BURSTS[0]), 2, others=1, tag=False),)


def measure(lab: Lab) -> Data:
    """All courses."""
    courses = [_course(lab, course) for course in lab.pick(QUICK, FULL)]
    return {"courses": courses, "absent": absent(), "resolution_ms": 2}


def _course(lab: Lab, course: Course) -> Data:
    with contextlib.ExitStack() as stack:
        players, build = _players(lab, course, stack)
        deadline = lab.pick(10.0, 30.0)
        # Uncounted: what the first time finds out is found out now.
        for edit in lab.pick(course.edits[:1], course.edits):
            for player in players.values():
                player.turn(edit, deadline)
        settle(lab, players.values())
        for number in lab.rounds(course.turns, course.turns, 8):
            lab.say(f"{course.name}: turn {number + 1}")
            for edit in course.edits:
                for name in in_turn(list(players), number):
                    took = players[name].turn(edit, deadline)
                    players[name].took.setdefault(edit.name, []).append(took)
        paths = {name: _path(player) for name, player in players.items() if name.startswith("ours")}
        found = [
            {"tool": name, "edits": {edit: columns(took) for edit, took in player.took.items()}}
            for name, player in players.items()
        ]
    for row in found:
        if row["tool"] in (PLAIN, EQUAL, OURS) and any(None in edit["ms"] for edit in row["edits"].values()):  # type: ignore[attr-defined]
            raise CannotMeasureError(
                f"{course.name}: {row['tool']} did not answer; the machine is too slow for this form"
            )
    return {
        "name": course.name,
        "framework": course.framework,
        "packages": course.packages,
        "edits": [edit.name for edit in course.edits],
        "flags": build.flags,
        "env": [f"{name}={value}" for name, value in build.env.items()],
        "rows": found,
        "paths": paths,
    }


def _path(player: Player) -> Data:
    """The parts of its reloads in ms, as it wrote them down itself."""
    records = [one for file in player.app.folder.glob(".goreload/*/history.jsonl") for one in history.read(str(file))]
    counted = [one["ms"] for one in records if one.get("ms") and "noticed" in one["ms"]]
    found: Data = {
        name: [round(sum(ms[part] for part in parts), 2) for ms in counted if all(part in ms for part in parts)]
        for name, parts in PATH.items()
    }
    return found


PATH = {
    "save to build begun": ("noticed", "decided"),
    "build ended to spawned, but for the old program's end": ("compared", "spawned"),
    "the old program's end": ("old program's end",),
    "accepting to gate open": ("opened",),
}
"""What of a save's path is ours alone, by parts of `insight.timings`."""


def _players(lab: Lab, course: Course, stack: contextlib.ExitStack) -> tuple[dict[str, Player], processes.Build]:
    """All of them, up and settled, and what ours builds with; others that do not come up are named and left out."""
    tools = [bare(PLAIN), ours(OURS), *lab.pick((), (ours("ours, socket", "socket"), ours("ours, direct", "direct")))]
    if course.tag:
        tools.append(ours(OURS_TAG, GORELOAD_BUILD_TAGS=TAG))
    tools += peers()[: course.others]
    players: dict[str, Player] = {}
    place = lab.folder(course.name.replace("/", "").replace(", ", "-").replace(" ", "-"))

    def join(tool: Tool) -> None:
        app = make(place / f"{len(players):02d}", course.framework, course.packages)
        player = Player(lab, tool, app)
        stack.enter_context(player)
        try:
            seconds = player.running.up(lab.pick(60, 300))
        except CannotMeasureError as error:
            if tool in PEERS:
                lab.say(str(error))
                return
            raise
        lab.say(f"{course.name}: {tool.name} is up after {seconds:.1f} s")
        players[tool.name] = player

    for tool in tools:
        join(tool)
    settle(lab, players.values())
    # What ours really builds with, once it is warm; asked of the builds themselves.
    build = caught(players[OURS])
    join(bare(EQUAL, build.flags, build.env))
    if OURS_TAG in players:
        tagged = caught(players[OURS_TAG])
        join(bare(EQUAL_TAG, tagged.flags, tagged.env))
    return players, build


def tables(data: Data) -> list[Table]:
    """One per course and kind of edit."""
    made = []
    for course in data["courses"]:
        made.append(_short(course))
        rows = {row["tool"]: row["edits"] for row in course["rows"]}
        for edit in course["edits"]:
            plain, equal = rows[PLAIN][edit]["ms"], rows[EQUAL][edit]["ms"]
            twins = {OURS_TAG: rows[EQUAL_TAG][edit]["ms"]} if EQUAL_TAG in rows else {}
            ordered = sorted(rows, key=lambda name: _median(rows[name][edit]["ms"]))
            lines = [
                [
                    name,
                    shown(ratios(found["ms"], plain), 2),
                    shown(ratios(found["ms"], twins.get(name, equal)), 2) if name.startswith("ours") else "",
                    shown(ratios(found["ms"], rows[name]["main"]["ms"]), 2) if edit.startswith("burst") else "",
                    shown(present(found["ms"])),
                    str(sum(ms is None for ms in found["ms"])),
                    str(sum(found["refused"])),
                    str(sum(found["stale"])),
                    str(sum(found["cut"]) + sum(found["odd"])),
                    shown(found["cpu"], 2),
                ]
                for name, found in ((name, rows[name][edit]) for name in ordered)
            ]
            head = ["save to first new answer", "to bare, plain", "to bare, equal", "to single", "ms"]
            head += ["never", "refused", "stale", "cut", "CPU s"]
            turns = len(plain)
            notes = [
                f"median (least - most) of {turns} turns; asked every {data['resolution_ms']} ms, counts over all turns"
            ]
            if data["absent"]:
                notes.append(f"not here, and so not measured: {', '.join(data['absent'])}")
            notes.append(f"our flags: {' '.join([*course['env'], *course['flags']])}")
            made.append(Table(f"{course['name']}: {edit}", head, lines, notes))
        parts = [
            [name, *(f"{statistics.median(path[part]):.1f}, {_p90(path[part]):.1f}" for part in PATH)]
            for name, path in course.get("paths", {}).items()
            if all(path.get(part) for part in PATH)
        ]
        made.append(Table(f"{course['name']}: parts of our path, ms: median, p90", ["", *PATH], parts))
    return made


def _p90(values: Sequence[float]) -> float:
    return sorted(values)[int(0.9 * (len(values) - 1) + 0.5)]


def _median(values: Sequence[float | None]) -> float:
    found = sorted(present(values))
    return found[len(found) // 2] if found else float("inf")


def _short(course: Data) -> Table:
    """The first of the edits that a README has room for, in few columns."""
    rows: dict[str, Data] = {row["tool"]: row["edits"] for row in course["rows"]}
    lines = [
        [
            name,
            *(shown(ratios(rows[name][edit]["ms"], rows[PLAIN][edit]["ms"]), 2) for edit in course["edits"][:4]),
            shown(present(rows[name]["main"]["ms"])),
            *(f"{statistics.mean(rows[name]['main'][what]):.0f}" for what in ("refused", "stale")),
        ]
        for name in _ordered(rows)
    ]
    head = ["save to first new answer", *course["edits"][:4], "main, ms", "refused a save", "stale a save"]
    return Table(f"{course['name']}: times the bare loop with plain flags", head, lines)


def _ordered(rows: Data) -> list[str]:
    """The quickest after an edit in package main first."""
    return sorted(rows, key=lambda name: _median(rows[name]["main"]["ms"]))


def draw(data: Data, canvas: Canvas) -> None:
    """Ratios to the bare loop with plain flags, one picture per course; of the first also what a README shows."""
    for course in data["courses"]:
        rows: dict[str, Any] = {row["tool"]: row["edits"] for row in course["rows"]}
        bars = {
            edit: {name: ratios(rows[name][edit]["ms"], rows[PLAIN][edit]["ms"]) for name in _ordered(rows)}
            for edit in course["edits"]
        }
        slug = f"{course['framework']}-{course['packages']}"
        title = f"Save to first new answer, {course['name']}"
        axis = "times the bare loop (write, go build, stop, start) with plain flags; median and range"
        canvas.bars(f"reload-{slug}", title, bars, axis, dict.fromkeys(bars, 1.0))
        if course is data["courses"][0]:
            canvas.note("readme.md", _short(course).markdown)
            wrong = {
                name: [one + other for one, other in zip(main["refused"], main["stale"], strict=True)]
                for name, main in ((name, rows[name]["main"]) for name in _ordered(rows))
            }
            panels = {"edit in package main": bars["main"]}
            if BURSTS[0].name in bars:
                panels["five saves, 30 ms apart"] = bars[BURSTS[0].name]
            asked = "refused or stale answers a save"
            axis += f"; asked every {data['resolution_ms']} ms"
            canvas.bars("readme", title, {**panels, asked: wrong}, axis, dict.fromkeys(panels, 1.0))
