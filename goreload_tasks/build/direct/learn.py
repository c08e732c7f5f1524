"""What the go command says of a program, asked at rest: how it compiles, what it links, which files it reads."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan, split_flags
from goreload_tasks.build.direct.disk import Disk
from goreload_tasks.build.direct.ground import DeclinedError, Ground, Sight, importers, still
from goreload_tasks.build.direct.recipe import Link, Script, UnreadableError, read
from goreload_tasks.inputs import golist
from goreload_tasks.inputs.embed import reached
from goreload_tasks.inputs.golist import Listing
from goreload_tasks.inputs.modules import within
from goreload_tasks.inputs.spelling import LOST_IN_JSON

TRIES = 3
"""How often the go command is asked again when the tree was written meanwhile."""

_KNOWN = ("GOMOD", "GOWORK", "GOENV", "GOMODCACHE", "GOROOT", "GOTOOLDIR", "GOFLAGS", "GOCACHEPROG")

_REFUSED = frozenset(
    ("a", "n", "x", "v", "work", "json", "C", "o", "cover", "covermode", "coverpkg", "overlay", "toolexec", "compiler")
) | {"linkshared", "asan", "msan"}
"""Flags with which the go command does more than compile and link, or says more."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A program, the disk that it is made from, and what was on it. known: what the go command says of itself."""

    ground: Ground
    listing: Listing
    known: Mapping[str, str]
    disk: Disk
    sight: Sight


async def learn(plan: Plan, absent: str, before: Learned | None = None) -> Learned:
    """Ask the go command.

    Args:
        absent: a path at which there is nothing.
        before: the last time; where nothing changed in what is listed, one round is enough.

    Raises:
        DeclinedError: the program is not one for direct building, or is being written; the text says why.
        OSError: the go command cannot be started.
    """
    listing, known = (before.listing, before.known) if before else await _list(plan)
    cwd = working_folder(plan)
    for _ in range(TRIES):
        disk = Disk(*_places(listing), _tools(plan, known))
        sight = await asyncio.to_thread(disk.see)
        whole, rest, now = await asyncio.gather(
            _script(plan, cwd, ["-a"], absent), _script(plan, cwd, [], absent), _list(plan)
        )
        if now == (listing, known):
            ground = await asyncio.to_thread(_ground, plan, cwd, known, listing, whole, rest)
            if still(ground, sight, await asyncio.to_thread(disk.see)):
                return Learned(ground, listing, known, disk, sight)
        listing, known = now
    raise DeclinedError("the files are being written")


def working_folder(plan: Plan) -> str:
    """The working directory as the go command sees it (package os, Getwd)."""
    said = plan.env.get("PWD", "")
    try:
        same = os.path.isabs(said) and os.path.samefile(said, plan.cwd)
    except OSError:
        same = False
    return said if same else os.path.realpath(plan.cwd)


def refusal(flags: Sequence[str], goflags: Sequence[str]) -> str:
    """PURE. Why a build with these flags is not one for direct building; empty: it is."""
    vcs = ""
    for word in (*goflags, *flags):
        name, _, value = word.lstrip("-").partition("=")
        if not word.startswith("-"):
            continue
        if name in _REFUSED or (name == "pgo" and value not in ("auto", "off")):
            return f"built with -{name}"
        if name == "buildvcs":
            vcs = value
    return "" if vcs == "false" else "the state of the repository is in the binary (no -buildvcs=false)"


async def _list(plan: Plan) -> tuple[Listing, dict[str, str]]:
    (code, out, err), (failed, said, _) = await asyncio.gather(
        capture(golist.command(plan.go, plan.flags, [plan.package]), plan.cwd, plan.env),
        capture([plan.go, "env", "-json", *_KNOWN], plan.cwd, plan.env),
    )
    if failed or LOST_IN_JSON in out + said:
        raise DeclinedError("the go command does not say what is in the build")
    known: dict[str, str] = json.loads(said)
    if why := refusal(plan.flags, split_flags(known["GOFLAGS"])):
        raise DeclinedError(why)
    if known["GOCACHEPROG"]:
        raise DeclinedError("the build cache is a program (GOCACHEPROG)")
    listing = await asyncio.to_thread(golist.parse, code, out, err, known, plan.flags, plan.cwd)
    if not listing.clean:
        raise DeclinedError("the go command finds something wrong with the packages")
    return listing, known


async def _script(plan: Plan, cwd: str, flags: Sequence[str], absent: str) -> Script:
    code, _, err = await capture(plan.build(absent, "-n", *flags), plan.cwd, plan.env)
    if code:
        raise DeclinedError("`go build -n` failed")
    return await asyncio.to_thread(_read, err, cwd)


def _read(text: bytes, cwd: str) -> Script:
    try:
        return read(os.fsdecode(text), cwd)
    except UnreadableError as error:
        raise DeclinedError(f"`go build -n` prints what is not understood: {error}") from None


def _tools(plan: Plan, known: Mapping[str, str]) -> tuple[str, ...]:
    """What the toolchain is made of.

    Raises:
        DeclinedError: another program stands before the go command, and may choose another each time.
    """
    go = os.path.realpath(plan.go)
    version = os.path.join(os.path.dirname(os.path.dirname(go)), "VERSION")
    if not os.path.isfile(version):
        raise DeclinedError(f"{plan.go} is not in a Go distribution, and may start another go each time")
    marks = (os.path.join(known["GOROOT"], name) for name in ("VERSION", "go.env"))
    return (go, version, *marks, *(os.path.join(known["GOTOOLDIR"], name) for name in ("compile", "link")))


def _places(listing: Listing) -> tuple[frozenset[str], frozenset[str]]:
    """The files that decide the build, and the folders in which a new name would."""
    packages = listing.packages.values()
    files = listing.extra.union(*(one.files | one.left_out | one.tests for one in packages))
    folders = {one.folder for one in packages}
    embedding = {folder for one in packages for pattern in one.embeds for folder in reached(one.folder, pattern)}
    return files, frozenset(folders | embedding | _within(listing))


def _within(listing: Listing) -> frozenset[str]:
    homes = {os.path.dirname(path) for path in listing.extra if os.path.basename(path) == "go.mod"}
    return within({one.folder for one in listing.packages.values()}, homes)


def _ground(plan: Plan, cwd: str, known: Mapping[str, str], listing: Listing, whole: Script, rest: Script) -> Ground:
    """Put together what was said.

    Raises:
        DeclinedError: it does not fit together, or is not one for direct building.
    """
    if rest.compiles:
        raise DeclinedError(f"{next(iter(rest.compiles))} is not built yet")
    if rest.link is None or any("$WORK" in path for path in rest.link.archives.values()):
        raise DeclinedError("not all of it is built yet")
    if why := _unlinkable(rest.link):
        raise DeclinedError(why)
    compiles = {path: one for path, one in whole.compiles.items() if "-std" not in one.argv}
    if missing := next(
        (one for recipe in compiles.values() for one in recipe.imports if one not in rest.link.archives), ""
    ):
        raise DeclinedError(f"{missing} is compiled and not linked")
    owners: dict[str, set[str]] = {}
    for path, package in listing.packages.items():
        one = compiles.get(path)
        if one is None:
            raise DeclinedError(f"{path} is in the list and not in the build")
        sources = frozenset(one.files)
        if not one.unfit and not (_go(package.files) <= sources | one.embeds and sources | one.embeds <= package.files):
            raise DeclinedError(f"the list and the build name other files for {path}")
        for file in package.files if one.unfit else sources | one.embeds:
            owners.setdefault(file, set()).add(path)
    packages = listing.packages.values()
    return Ground(
        compiles,
        rest.link,
        {file: frozenset(paths) for file, paths in owners.items()},
        {path: package.folder for path, package in listing.packages.items()},
        tuple((package.folder, package.embeds) for package in packages if package.embeds),
        frozenset[str]().union(*(package.left_out | package.tests for package in packages)) - owners.keys(),
        _within(listing),
        {path: sum(map(_size, one.files)) for path, one in compiles.items()},
        importers(compiles),
        cwd,
        {**plan.env, "GOROOT": known["GOROOT"], "PWD": cwd},
    )


def _unlinkable(link: Link) -> str:
    """Why a program linked in this way cannot be linked by us to the same bytes."""
    ids = [word for word in link.argv if word.startswith("-buildid=")]
    if not ids or ids[-1] != "-buildid=":
        return "a build id is in the binary (no -ldflags=-buildid=)"
    if not {"-buildmode=exe", "-buildmode=pie"} & set(link.argv):
        return "it is built in another mode than exe or pie"
    if any(not note.startswith("modinfo ") for note in link.notes):
        return "it is linked with more than packages"
    return ""


def _go(files: Iterable[str]) -> frozenset[str]:
    return frozenset(path for path in files if path.endswith(".go"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
