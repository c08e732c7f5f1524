"""Question 2. The price of watching, and whether a save costs more in a larger repository.

What a tool watches is read from the kernel's own account of its inotify descriptors; the events that a busy
node_modules sends it are counted on a twin of them. What a save costs is measured beside 1,200, 50,000 and 500,000
files that are no inputs, in programs of up to 2,000 packages, and in a repository of ten services.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from goreload_tasks.inputs.snapshot import Snapshot
from tests.bench import processes
from tests.bench.apps import App, litter, make, repository
from tests.bench.lab import CannotMeasureError, Data, Lab, Table, in_turn, present, ratios, shown, timed, until
from tests.bench.ledger import Ledger
from tests.bench.plots import Canvas
from tests.bench.tools import PEERS, Running, Tool, bare, ours, peers
from tests.bench.turns import Edit, Player, caught, settle
from tests.driver import MAIN, free_port, get, write

BARE = "bare, plain flags"

NARROW = 1200
"""Files in the folders that a person would name."""

EVERYTHING = {
    "GORELOAD_WATCH_INCLUDE": "**",
    "GORELOAD_WATCH_GITIGNORE": "false",
    "GORELOAD_WATCH_IGNORE": "!node_modules/",
}

MAIN_EDIT = Edit("main", "main")


def measure(lab: Lab) -> Data:
    """Each part on its own."""
    return {
        "price": _price(lab),
        "beside": _beside(lab),
        "own": _own(lab),
        "services": _services(lab),
        "look": _look(lab),
    }


# What is watched, and what that costs.


def _price(lab: Lab) -> Data:
    """Everybody in one project full of files that are no inputs: starts in turns, then what each holds."""
    many = lab.pick(5_000, 50_000)
    app = make(lab.folder("price") / "app", lab.framework, 3)
    litter(app.folder, many)
    for number in range(NARROW):
        write(app.folder, {f"web/part{number // 40}/{number}.ts": "export {}\n"})
    repository(app.folder)
    known = _inodes(app.folder)
    tools = [
        bare(BARE),
        ours("ours, inputs", GORELOAD_WATCH_INCLUDE=""),
        ours("ours, narrow paths", GORELOAD_WATCH_INCLUDE="web/**"),
        ours("ours, everything", **EVERYTHING),
        *peers()[: lab.pick(1, None)],
    ]
    held = {}
    for tool in tools:  # before the starts are counted: the first one finds the inputs out
        try:
            held[tool.name] = _weigh(lab, tool, app, known)
        except CannotMeasureError as error:
            if tool not in PEERS:
                raise
            lab.say(str(error))
    # In the quick form those first starts have to do.
    starts: dict[str, list[float]] = {name: [found.pop("first_s")][: lab.pick(1, 0)] for name, found in held.items()}
    for number in lab.rounds(5, 0, 0):
        for tool in in_turn([tool for tool in tools if tool.name in held], number):
            app.binary.unlink(missing_ok=True)
            with Running(tool, app) as running:
                starts[tool.name].append(running.up(lab.pick(60, 300)))
    rows = [{"tool": name, "start_s": starts[name], **found} for name, found in held.items()]
    return {"files": many, "narrow": NARROW, "saved": _busy_saves(lab), "rows": rows}


def _busy_saves(lab: Lab) -> int:
    return int(lab.pick(500, 2000))


def _inodes(folder: Path) -> dict[int, tuple[str, int]]:
    """Each folder and each file: its path, and how many files it is or holds."""
    found = {}
    for where, _, names in os.walk(folder):
        found[os.stat(where).st_ino] = (where, len(names))
        found.update({os.stat(path).st_ino: (path, 1) for path in (os.path.join(where, name) for name in names)})
    return found


def _weigh(lab: Lab, tool: Tool, app: App, known: Mapping[int, tuple[str, int]]) -> Data:
    """What it holds at rest, and what comes to it when a package manager is busy beside it."""
    with Running(tool, app) as running:
        first = running.up(lab.pick(60, 300))
        _rest(lab, running)
        watches = processes.watched(running.own)
        held = {known[inode][0]: mask for inode, mask in watches if inode in known}
        files = sum(known[inode][1] for inode in {inode for inode, _ in watches} if inode in known)
        memory = processes.rss(running.own)
        began = running.text.count("listening on")
        mirror = processes.Mirror(held)
        before = processes.cpu(running.members)
        _busy(app.folder / "node_modules", _busy_saves(lab))
        processes.quiet(running.mark, 0.5, lab.pick(5, 60))
        used = processes.cpu(running.members) - before
        events = mirror.count()
        mirror.close()
        restarts = running.text.count("listening on") - began
    lab.say(f"{tool.name}: {len(watches)} watches, {events} events")
    return {
        "first_s": first,
        "watches": len(watches),
        "files": files,
        "rss_mb": memory / 1e6,
        "events": events,
        "cpu_s": used,
        "restarts": restarts,
    }


def _rest(lab: Lab, running: Running) -> None:
    """Wait until what is done at rest is done: it is not what is asked about here. Longer than `build.verify_after`."""
    processes.quiet(running.mark, lab.pick(0.5, 3.0), lab.pick(5, 300))


def _busy(folder: Path, saves: int) -> None:
    """As a package manager: files written anew, and a package put there and taken away again."""
    fresh = folder / "fresh"
    fresh.mkdir()
    for number in range(saves):
        path = folder / f"module{number // 500}" / f"lib{number // 10 * 10}" / f"{number}.js"
        path.write_text(f"module.exports = {time.monotonic()}\n")
        if number % 10 == 0:
            (fresh / f"{number}.js").write_text("module.exports = {}\n")
    for path in fresh.iterdir():
        path.unlink()
    fresh.rmdir()


# Whether a save costs more in a larger repository.


def _compare(lab: Lab, players: Mapping[str, Player], turns: int, seconds: float) -> dict[str, list[float | None]]:
    """A save in each, in turns; milliseconds."""
    found: dict[str, list[float | None]] = {name: [] for name in players}
    for player in players.values():
        player.turn(MAIN_EDIT, 60)
    for number in lab.rounds(turns, 1, seconds):
        for name in in_turn(list(players), number):
            found[name].append(players[name].turn(MAIN_EDIT, 60).ms)
    return found


def _beside(lab: Lab) -> Data:
    """The same program beside few and many files."""
    counts = lab.pick((1_200, 12_000), (1_200, 50_000, 500_000))
    place = lab.folder("beside")
    with contextlib.ExitStack() as stack:
        players = {}
        for count in counts:
            app = make(place / f"{count}", lab.framework, 3)
            litter(app.folder, count)
            repository(app.folder)
            players[f"{count}"] = stack.enter_context(Player(lab, ours("ours"), app))
            players[f"{count}"].running.up()
            lab.say(f"a program beside {count} files is up")
        settle(lab, players.values())
        found = _compare(lab, players, 11, 12)
        for player in players.values():
            _rest(lab, player.running)
        rss = {name: processes.rss(player.running.own) / 1e6 for name, player in players.items()}
    return {"ms": found, "rss_mb": rss}


def _own(lab: Lab) -> Data:
    """Programs of few and many packages of one's own, each against the bare loop with the same flags."""
    rows = []
    place = lab.folder("own")
    for count in lab.pick((3,), (20, 200, 2_000)):
        with contextlib.ExitStack() as stack:
            one = Player(lab, ours("ours"), make(place / f"ours{count}", "nethttp", count))
            stack.enter_context(one).running.up(900)
            settle(lab, [one])
            build = caught(one)
            loop = bare("bare, our flags", build.flags, build.env)
            other = Player(lab, loop, make(place / f"bare{count}", "nethttp", count))
            stack.enter_context(other).running.up(900)
            lab.say(f"programs of {count} packages are up")
            found = _compare(lab, {"ours": one, "bare": other}, 9, 8)
            _rest(lab, one.running)
            rss = processes.rss(one.running.own) / 1e6
        rows.append({"packages": count, **found, "rss_mb": rss})
    return {"rows": rows}


ANSWER = """package main

import (
	"fmt"

	"example.com/app/shared"
)

func Answer() string {{ return fmt.Sprint(max({number}, shared.Version())) }}
"""

SHARED = "package shared\n\n//go:noinline\nfunc Version() int {{ return {number} }}\n"


def _services(lab: Lab) -> Data:
    """One repository with many services: a save of one's own, and a save in what all of them import."""
    count = lab.pick(3, 10)
    folder = lab.folder("services") / "app"
    names = [f"s{number}" for number in range(count)]
    ports = {name: free_port() for name in names}
    files = {"go.mod": "module example.com/app\n\ngo 1.23\n", "shared/shared.go": SHARED.format(number=0)}
    for name in names:
        files |= {f"cmd/{name}/main.go": MAIN, f"cmd/{name}/answer.go": ANSWER.format(number=0)}
    lines = [f"    {name}: {{main: ./cmd/{name}, serve: {{port: {ports[name]}}}}}" for name in names]
    files |= {
        "tasks.py": "from goreload_tasks import ns  # noqa: F401\n",
        "invoke.yaml": "\n".join(["goreload:", "  services:", *lines, ""]),
    }
    write(folder, files)
    ledger = Ledger(lab.folder("services/ledger"))
    tool = Tool("ours", ours("ours").start, port="UNUSED")
    found: dict[str, list[float]] = {"one": [], "all": []}
    builds: dict[str, list[int]] = {"one": [], "all": []}
    with Running(ledger.of(tool), App(folder, "nethttp", 0)) as running:
        for name in names:
            running.until(lambda name=name: get(f"http://127.0.0.1:{ports[name]}"), f"an answer of {name}", 120)  # type: ignore[misc]
        processes.quiet(running.mark, 1.0, lab.pick(3, 120))
        instances = sum(
            "inotify" in os.readlink(fd)
            for pid in running.own
            for fd in Path(f"/proc/{pid}/fd").iterdir()
            if fd.is_symlink()
        )
        number = 0
        for _ in lab.rounds(9, 1, 0):
            for what, path, text, asked in (
                ("one", folder / "cmd/s1/answer.go", ANSWER, ["s1"]),
                ("all", folder / "shared/shared.go", SHARED, names),
            ):
                number += 1
                ledger.take()
                began = time.perf_counter()
                path.write_text(text.format(number=number))
                for name in asked:
                    _answers(ports[name], number, name)
                found[what].append(1000 * (time.perf_counter() - began))
                processes.quiet(running.mark, deadline=lab.pick(2, 10))
                builds[what].append(ledger.take().begun)
        rss = processes.rss(running.own) / 1e6
    return {"services": count, "ms": found, "builds": builds, "rss_mb": rss, "inotify_descriptors": instances}


def _answers(port: int, number: int, name: str) -> None:
    """Wait until a service answers with this version or a newer one."""

    def new() -> bool:
        said = get(f"http://127.0.0.1:{port}").strip()
        return said.isdigit() and int(said) >= number

    until(new, f"version {number} from {name}", 60, 0.005)


def _look(lab: Lab) -> Data:
    """A full look at 5,000 settled inputs against as many bare calls of stat, in this process."""
    place = lab.folder("look")
    files = [str(place / f"package{number % 100}" / f"file{number}.go") for number in range(5000)]
    for number, file in enumerate(files):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(f"package p\n\nvar V{number} = {number}\n")
        os.utime(file, (1, 1))
    snapshot = Snapshot()
    for _ in range(2):
        snapshot.look(files, ())

    def stat() -> None:
        for file in files:
            os.stat(file)

    works: Sequence[tuple[str, Callable[[], object]]] = (("look", lambda: snapshot.look(files, ())), ("stat", stat))
    found: dict[str, list[float]] = {"look": [], "stat": []}
    for number in lab.rounds(15, 7, 5):
        for name, work in works if number % 2 else reversed(works):
            found[name].append(1000 * timed(work))
    return {"files": len(files), "ms": found}


def tables(data: Data) -> list[Table]:
    """One per part."""
    price = data["price"]
    plain = price["rows"][0]["start_s"]
    rows = [
        [
            row["tool"],
            shown(ratios(row["start_s"], plain), 2),
            shown(row["start_s"], 2),
            str(row["watches"]),
            str(row["files"]),
            f"{row['rss_mb']:.0f}",
            str(row["events"]),
            f"{row['cpu_s']:.2f}",
            str(row["restarts"]),
        ]
        for row in price["rows"]
    ]
    head = [
        "the price of watching",
        "start to bare",
        "start s",
        "watches",
        "files under watch",
        "MB",
        "events",
        "CPU s",
    ]
    notes = [
        f"{price['files']} files in node_modules, {price['narrow']} in folders that a person would name",
        f"events, CPU s, restarts: while a package manager writes {price['saved']} files in node_modules",
        "known claim to check: 50,000 files, 800 MB, 12 s against 1,200 files, 80 MB, 1.2 s",
    ]
    made = [Table("What is watched", [*head, "restarts"], rows, notes)]

    beside = data["beside"]
    least = next(iter(beside["ms"].values()))
    rows = [
        [name, shown(ratios(ms, least), 2), shown(present(ms)), f"{beside['rss_mb'][name]:.0f}"]
        for name, ms in beside["ms"].items()
    ]
    made.append(Table("Save to answer beside files that are no inputs", ["files", "to the least", "ms", "MB"], rows))

    rows = [
        [
            f"{row['packages']}",
            shown(ratios(row["ours"], row["bare"]), 2),
            shown(present(row["ours"])),
            shown(present(row["bare"])),
            f"{row['rss_mb']:.0f}",
        ]
        for row in data["own"]["rows"]
    ]
    head = ["own packages", "to bare, equal flags", "ms", "bare ms", "MB"]
    made.append(Table("Save to answer in programs of many packages (net/http, main edit)", head, rows))

    services = data["services"]
    rows = [
        [what, shown(services["ms"][key]), shown([float(count) for count in services["builds"][key]])]
        for key, what in (("one", "a file of one service"), ("all", "a file that all import"))
    ]
    notes = [f"inotify descriptors: {services['inotify_descriptors']}; memory: {services['rss_mb']:.0f} MB"]
    made.append(
        Table(
            f"{services['services']} services in one repository", ["save", "ms to all answers", "builds"], rows, notes
        )
    )

    look = data["look"]
    rows = [[f"{look['files']}", shown(ratios(look["ms"]["look"], look["ms"]["stat"]), 2), shown(look["ms"]["look"], 1),
             shown(look["ms"]["stat"], 1)]]  # fmt: skip
    made.append(Table("A full look at settled inputs", ["files", "to stat alone", "ms", "stat ms"], rows))
    return made


def draw(data: Data, canvas: Canvas) -> None:
    """The price side by side; the course of a save's time over what lies beside it."""
    rows = data["price"]["rows"]
    panels = {
        "start, s": {row["tool"]: row["start_s"] for row in rows},
        "files under watch": {row["tool"]: [row["files"]] for row in rows},
        "memory, MB": {row["tool"]: [row["rss_mb"]] for row in rows},
        "events, node_modules busy": {row["tool"]: [row["events"]] for row in rows},
    }
    canvas.bars("watch-price", f"The price of watching beside {data['price']['files']:,} files", panels)
    beside = {"save to answer, ms": {"ours": [(float(name), present(ms)) for name, ms in data["beside"]["ms"].items()]}}
    canvas.lines("watch-beside", "A save beside files that are no inputs", beside, "files", log=True)
    own = data["own"]["rows"]
    if len(own) > 1:
        series = {
            name: [(float(row["packages"]), present(row[key])) for row in own]
            for name, key in (("ours", "ours"), ("bare, our flags", "bare"))
        }
        canvas.lines(
            "watch-own", "A save in programs of many packages", {"save to answer, ms": series}, "own packages", log=True
        )
