"""Question 6. What a start costs over the bare build and start, and what is held at rest.

Starts: a program with Gin and 20 packages beside 50,000 files that git ignores, the build cache warm, in turns with the
bare loop's, as `go build` comes and with our flags: as it was when the last run rested, and after an edit. At rest
everybody waits through the same quiet minute; an app is not counted with its tool. Wake-ups are the voluntary context
switches of all threads: each is a sleep that ended.
"""

from __future__ import annotations

import contextlib
import time

from tests.bench import processes
from tests.bench.apps import litter, make, repository
from tests.bench.lab import CannotMeasureError, Data, Lab, Table, in_turn, shown
from tests.bench.plots import Canvas
from tests.bench.tools import PEERS, Running, bare, ours, peers
from tests.bench.turns import Player, caught, settle
from tests.hammer import Saves

MODES = ("proxy", "socket", "direct")

PLAIN, EQUAL = "bare, plain flags", "bare, our flags"

KINDS = ("after an edit", "as it was")
"""What a start finds: sources that nobody has built yet, or those of the last run."""


def measure(lab: Lab) -> Data:
    return {"starts": _starts(lab), **_rest(lab)}


def _starts(lab: Lab) -> Data:
    """Seconds to the first answer, in turns."""
    place = lab.folder("starts")
    app = make(place / "ours", lab.framework, lab.pick(3, 20))
    litter(app.folder, lab.pick(5_000, 50_000))
    repository(app.folder)
    with Player(lab, ours("ours"), app) as player:
        player.running.up()
        settle(lab, [player])
        build = caught(player)
    players = {tool.name: tool for tool in (bare(PLAIN), bare(EQUAL, build.flags, build.env))}
    players |= {f"ours, {mode}": ours(f"ours, {mode}", mode) for mode in lab.pick(MODES[:1], MODES)}
    kinds = lab.pick(KINDS[:1], KINDS)
    found: Data = {kind: {name: [] for name in players} for kind in kinds}
    with contextlib.closing(Saves(place / "saves", 1000)) as saves:

        def start(name: str, kind: str) -> float:
            app.binary.unlink(missing_ok=True)  # or the bare build might find that there is nothing to link
            if kind == "after an edit":
                app.save(saves, "main")
            with Running(players[name], app) as running:
                took = running.up()
                # Longer than `build.verify_after`, so that what is done at rest is done, too.
                processes.quiet(running.mark, lab.pick(0.3, 3.0), lab.pick(1, 30))
            return took

        for name in players:
            start(name, kinds[0])
        for number in lab.rounds(9, 1, 8):
            for name in in_turn(list(players), number):
                for kind in kinds:
                    found[kind][name].append(start(name, kind))
    return found


def _rest(lab: Lab) -> Data:
    """Everybody in one quiet minute."""
    place = lab.folder("rest")
    seconds = lab.pick(3, 60)
    tools = [*(ours(f"ours, {mode}", mode) for mode in lab.pick(MODES[:1], MODES)), *peers()[: lab.pick(1, None)]]
    with contextlib.ExitStack() as stack:
        running: dict[str, Running] = {}
        for number, tool in enumerate(tools):
            app = make(place / f"{number}", lab.framework, 3)
            litter(app.folder, lab.pick(1_000, 5_000))
            repository(app.folder)
            one = stack.enter_context(Running(tool, app))
            try:
                one.up(lab.pick(60, 300))
            except CannotMeasureError as error:
                if tool not in PEERS:
                    raise
                lab.say(str(error))
                continue
            running[tool.name] = one
        for one in running.values():
            processes.quiet(one.mark, 1.0, lab.pick(3, 300))
        own = {name: one.own for name, one in running.items()}
        before = {name: (processes.cpu(pids), processes.wakeups(pids)) for name, pids in own.items()}
        lab.say(f"{seconds} s of rest")
        began = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - began
        rows = [
            {
                "tool": name,
                "cpu_percent": 100 * (processes.cpu(pids) - before[name][0]) / lasted,
                "wakeups_per_s": (processes.wakeups(pids) - before[name][1]) / lasted,
                "rss_mb": processes.rss(pids) / 1e6,
                "watches": len(processes.watched(pids)),
                "descriptors": processes.descriptors(pids),
                "processes": len(pids),
            }
            for name, pids in own.items()
        ]
    return {"rest": rows, "seconds_of_rest": lasted, "files": lab.pick(1_000, 5_000)}


def tables(data: Data) -> list[Table]:
    rows = []
    for kind, starts in data["starts"].items():
        for name, took in starts.items():
            over = ([one - other for one, other in zip(took, starts[to], strict=True)] for to in (PLAIN, EQUAL))
            rows.append([f"{name}, {kind}", *(shown(those, 2) for those in over), shown(took, 2)])
    head = ["", "s over bare, plain flags", "s over bare, our flags", "s"]
    made = [Table("Start to first answer, caches warm", head, rows)]
    rows = [
        [
            row["tool"],
            f"{row['cpu_percent']:.2f}",
            f"{row['wakeups_per_s']:.2f}",
            f"{row['rss_mb']:.1f}",
            str(row["watches"]),
            str(row["descriptors"]),
            str(row["processes"]),
        ]
        for row in data["rest"]
    ]
    head = ["at rest", "CPU, % of a core", "wake-ups a s", "MB", "watches", "descriptors", "processes"]
    notes = [f"over {data['seconds_of_rest']:.0f} s, beside {data['files']} files; the app is not counted"]
    notes += [f"one tick of processor time is {100 / processes.TICK / data['seconds_of_rest']:.2f} % here"]
    return [*made, Table("At rest", head, rows, notes)]


def draw(data: Data, canvas: Canvas) -> None:
    starts = {f"{kind}, s": starts for kind, starts in data["starts"].items()}
    canvas.bars("rest-start", "Start to first answer, caches warm", starts)
    panels = {
        "memory, MB": {row["tool"]: [row["rss_mb"]] for row in data["rest"]},
        "CPU, % of a core": {row["tool"]: [row["cpu_percent"]] for row in data["rest"]},
        "wake-ups a second": {row["tool"]: [row["wakeups_per_s"]] for row in data["rest"]},
    }
    canvas.bars("rest", "At rest", panels)
