"""The environments side by side: what their build tags put into a build, leave out of it, and cost."""

from __future__ import annotations

import difflib
import json
import os
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from goreload_tasks.app.process import capture
from goreload_tasks.build.builder import Job
from goreload_tasks.build.command import Plan
from goreload_tasks.build.diagnostics import hindrance
from goreload_tasks.build.tags import compose
from goreload_tasks.build.toolchain import Target
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs.golist import CONSTRAINED, Listing, command, may_be_test, objects, parse, replaced
from goreload_tasks.inputs.headers import contents
from goreload_tasks.inputs.verdict import constraint
from goreload_tasks.project import Project
from goreload_tasks.settings import Service

EDITS = 3
"""Builds after an edit that a time is the median of."""

WORTH = 0.95
"""Tags that save less than this share leaves are not offered by themselves."""

_CONSTRAINT = re.compile(rb"^//\s*(?:go:build|\+build)\s(.*)$", re.MULTILINE)
_WORD = re.compile(r"[\w.]+")

GIN = "github.com/gin-gonic/gin"


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of the binary; seconds of a build with an empty cache, and after an edit of the main package."""

    size: int
    cold: float
    edit: float


@dataclass(frozen=True, slots=True)
class Offer:
    """Tags that leave packages out of this very program. `note`: why they may, and what is different then."""

    tags: str
    fewer: int
    note: str
    plan: Plan

    def __str__(self) -> str:
        packages = "1 package" if self.fewer == 1 else f"{self.fewer} packages"
        return f"--tags={self.tags} leaves {packages} out; {self.note}"


@dataclass(frozen=True, slots=True)
class Row:
    """One environment. `files` are those of the project; packages and modules are all that the build is made of."""

    environment: str
    tags: tuple[str, ...]
    files: frozenset[str]
    left_out: Mapping[str, str]
    packages: int
    modules: int
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """All environments of a service, and what can be said of them."""

    rows: tuple[Row, ...]
    advice: tuple[str, ...]


async def survey(
    project: Project, service: Service, *, timed: bool, progress: Callable[[str], None] = lambda _: None
) -> Survey:
    """Ask the go command about each environment; build each, when timed, without touching a file of the project.

    Args:
        progress: told what is being measured; it takes minutes.

    Raises:
        GoreloadError: as `build`; an environment does not compile.
    """
    rows, advice = [], []
    known: set[str] = set()
    tags: list[str] = []
    for name in service.settings.environments:
        settled = replace(service, settings=replace(service.settings, environment=name))
        plan, target = await project.plan(settled, dev=True)
        items, listing = await _list(plan)
        if timed:
            progress(f"measuring {name}: a build with an empty cache, then {EDITS + 1} after an edit ...")
        cost = await _cost(project, service, plan, target, listing) if timed else None
        rows.append(_row(name, plan, items, listing, project.root, cost))
        known |= _named(items)
        tags += plan.tags
        if name == service.settings.environment:
            advice += await _advise(project, service, plan, target, items, listing, cost, progress)
    unused = _unused(dict.fromkeys(tags), known, set(service.settings.environments))
    return Survey(tuple(rows), tuple(dict.fromkeys((*unused, *advice))))


async def _list(plan: Plan) -> tuple[list[dict[str, object]], Listing]:
    argv = command(plan.go, plan.flags, [plan.package])
    code, out, err = await capture(argv, plan.cwd, plan.env)
    _, known, _ = await capture([plan.go, "env", "-json", "GOMOD", "GOMODCACHE"], plan.cwd, plan.env)
    listing = parse(code, out, err, json.loads(known or b"{}"), plan.flags, plan.cwd)
    if listing.failed:
        raise GoreloadError(" ".join(listing.failed.split()))
    return list(objects(os.fsdecode(out))), listing


def _row(
    name: str, plan: Plan, items: Sequence[Mapping[str, object]], listing: Listing, root: str, cost: Cost | None
) -> Row:
    own = listing.packages.values()
    names = {path: os.path.basename(path) for package in own for path in sorted(package.left_out)}
    left_out = {path: constraint(path, name) for path, name in names.items() if not may_be_test(name)}
    modules = {str(module["Path"]) for item in items if isinstance(module := item.get("Module"), Mapping)}
    return Row(
        name,
        plan.tags,
        frozenset().union(*(package.files for package in own)),
        {os.path.relpath(path, root): why for path, why in left_out.items()},
        len(items),
        len(modules),
        cost,
    )


def _unused(tags: Iterable[str], known: set[str], names: set[str]) -> list[str]:
    """Tags that no constraint of any file in reach names; those that every project has by default are let be."""
    found = []
    for tag in tags:
        if tag not in known and tag not in names:
            near = difflib.get_close_matches(tag, known, 1, 0.6)
            found.append(f"no file asks for the tag {tag}" + (f"; did you mean {near[0]}?" if near else ""))
    return found


def _named(items: Iterable[Mapping[str, object]]) -> set[str]:
    """The words of all build constraints; the standard library has some too (netgo)."""
    words: set[str] = set()
    for item in items:
        for field in CONSTRAINED:
            for name in _texts(item.get(field)):
                words |= _words(os.path.join(str(item.get("Dir", "")), name))
    return words


def _words(path: str) -> set[str]:
    lines = _CONSTRAINT.findall(contents(path)[:8192])
    return {word for line in lines for word in _WORD.findall(line.decode(errors="replace"))}


def _texts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []


async def _advise(
    project: Project,
    service: Service,
    plan: Plan,
    target: Target,
    items: Sequence[Mapping[str, object]],
    listing: Listing,
    cost: Cost | None,
    progress: Callable[[str], None],
) -> list[str]:
    """What is worth a try; built when times are asked for."""
    advice = []
    for offer in await _offers(plan, items, listing):
        if cost:
            progress(f"measuring with {offer.tags} ...")
            less = await _cost(project, service, offer.plan, target, listing)
            advice.append(f"{offer}: {_saved(less.edit / cost.edit, less.size / cost.size)}")
        else:
            advice.append(f"{offer}; --time measures what it saves")
    return advice


class _DoesNotCompileError(GoreloadError):
    """The sources are to blame."""


async def measured(plan: Plan, target: Target, scratch: str, known: Iterable[str]) -> dict[str, str]:
    """Tags that make builds after an edit faster, each with the line that offers it; built to prove it.

    Nothing of the project is touched, and what is compiled stays in the go command's cache.

    Args:
        known: offered already.

    Raises:
        GoreloadError: something does not compile.
        OSError: the scratch folder cannot be written.
    """
    items, listing = await _list(plan)
    offers = [offer for offer in await _offers(plan, items, listing) if offer.tags not in known]
    found: dict[str, str] = {}
    env = {**plan.env, "GOTMPDIR": scratch}
    for offer in offers:
        size, seconds = await _edits(plan, target, listing, scratch, env)
        try:
            less_size, less = await _edits(offer.plan, target, listing, scratch, env)
        except _DoesNotCompileError:  # a module of somebody else's needs what the tag takes away
            found[offer.tags] = ""
            continue
        worth = less < WORTH * seconds
        found[offer.tags] = f"{offer}: {_saved(less / seconds, less_size / size)}" if worth else ""
    return found


def _saved(time: float, size: float) -> str:
    return f"{time:.2f} of the build after an edit, {size:.2f} of the size, measured now"


async def _offers(plan: Plan, items: Sequence[Mapping[str, object]], listing: Listing) -> list[Offer]:
    """Tags of which it is proved, by a listing, that they leave packages out."""
    names = {str(item["ImportPath"]) for item in items}
    own = [path for package in listing.packages.values() for path in package.files]
    candidates = []
    if GIN in names and not any(b"msgpack" in contents(path).lower() for path in own):
        candidates.append(("nomsgpack", "nothing of yours uses MsgPack (Gin would read no such body)"))
    cgo = {str(item["ImportPath"]) for item in items if item.get("CgoFiles") and not item.get("Standard")}
    if "runtime/cgo" in names and not cgo:
        candidates.append(("netgo,osusergo", "names and users are then looked up by Go itself, without C"))
    offers = []
    for tags, note in candidates:
        together = compose(plan.tags, tags.split(","))
        flags = [flag for flag in plan.flags if not flag.startswith("-tags=")]
        leaner = replace(plan, flags=(*flags, f"-tags={','.join(together)}"), tags=together)
        fewer = names - {str(item["ImportPath"]) for item in (await _list(leaner))[0]}
        if fewer and together != plan.tags:
            offers.append(Offer(tags, len(fewer), note, leaner))
    return offers


async def _cost(project: Project, service: Service, plan: Plan, target: Target, listing: Listing) -> Cost:
    """Build with an empty cache, then after edits.

    Raises:
        GoreloadError: it does not compile.
    """
    with project.store(service).scratch() as scratch:
        env = {**plan.env, "GOTMPDIR": scratch, "GOCACHE": os.path.join(scratch, "cache")}
        cold = await _timed(plan.build(os.path.join(scratch, "binary")), plan.cwd, env)
        size, edit = await _edits(plan, target, listing, scratch, env)
        return Cost(size, cold, edit)


async def _edits(
    plan: Plan, target: Target, listing: Listing, scratch: str, env: Mapping[str, str]
) -> tuple[int, float]:
    """Bytes of the binary, and median seconds of a build after an edit of the main package; overlays pretend edits.

    Raises:
        GoreloadError: it does not compile.
    """
    out, edited, overlay = (os.path.join(scratch, name) for name in ("binary", "edited.go", "overlay.json"))
    main = [package.files for package in listing.packages.values() if package.folder == target.folder]
    source = min(path for files in main for path in files if path.endswith(".go"))
    _write(overlay, json.dumps({"Replace": {**replaced(plan.overlay), source: edited}}).encode())
    times = []
    for number in range(EDITS + 1):
        _write(edited, contents(source) + b"\nvar goreload_%d = %d\n" % (number, number))
        times.append(await _timed(plan.build(out, f"-overlay={overlay}"), plan.cwd, env))
    return os.stat(out).st_size, statistics.median(times[1:])


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


async def _timed(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> float:
    result = await Job(argv, cwd, env).run()
    if result.code:
        kind = GoreloadError if hindrance(result.code, result.text) else _DoesNotCompileError
        raise kind(f"it does not compile: {result.problems[0]}", code=1)
    return result.seconds
