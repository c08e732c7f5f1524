"""Is everything there that `dev` needs? Each finding says what is so, and what mends it where something is wrong."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from goreload_tasks import store
from goreload_tasks.app import readiness
from goreload_tasks.app.process import capture
from goreload_tasks.build.command import LEAST_MEMORY, Plan
from goreload_tasks.build.toolchain import available_memory, find_go
from goreload_tasks.console import size
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs import memory
from goreload_tasks.inputs.ignore import Ignore, repository
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.insight import history
from goreload_tasks.kept import Learned
from goreload_tasks.project import Project
from goreload_tasks.settings import Service
from goreload_tasks.sources.mounts import mountinfo, silent

FEW_WATCHES = 1000
"""inotify watches that should be left beside our own: an editor wants some too."""

NAMED = 5
"""Files that a finding names at most."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`: as it should be; `note`: worth knowing; `wrong`: `dev` cannot work so. mend: what to do about it."""

    about: str
    how: Literal["ok", "note", "wrong"]
    text: str
    mend: str = ""


async def examine(project: Project, service: Service) -> list[Finding]:
    """All findings on one service; nothing is started that stays, and nothing of the project is changed."""
    try:
        found = [await _toolchain(project)]
        plan, target = await project.plan(service, dev=True)
    except GoreloadError as error:
        what, _, mend = str(error).partition("; ")
        return [Finding("toolchain and module", "wrong", what, mend)]
    found.append(Finding("main package", "ok", f"{target.path} in {target.folder}"))
    tree = Tree(project.root, service.settings, capture, plan)
    try:
        await tree.list(lambda: 0)
    except OSError as error:
        return [*found, Finding("inputs", "wrong", f"cannot be listed: {error}", "run `go list` and mend what it says")]
    found += _inputs(tree)
    found += await _ignored(tree, project, service)
    found += _watching(tree)
    found += _ports(project, service)
    found.append(_memory())
    found.append(_building(project, service, plan))
    return found


def settled(service: Service) -> list[tuple[str, object, str]]:
    """Each setting with its value and where that came from. What an env file or variable holds is not shown."""
    return list(_leaves(service.settings, "", service.sources))


def _leaves(value: Any, path: str, sources: Mapping[str, str]) -> Iterable[tuple[str, object, str]]:
    parts: Iterable[tuple[str, object]]
    if dataclasses.is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping) and value:
        parts = list(value.items())
    else:
        hidden = re.search(r"(^|\.)(env|go_env)\.", path) is not None
        yield path, "(not shown)" if hidden else value, sources.get(path, "default")
        return
    for name, part in parts:
        yield from _leaves(part, f"{path}.{name}" if path else name, sources)


async def _toolchain(project: Project) -> Finding:
    go = find_go(os.environ)
    try:
        code, out, err = await capture([go, "version"], project.root, os.environ)
    except OSError as error:
        return Finding("toolchain", "wrong", f"cannot run {go}: {error.strerror}", "install Go for this machine")
    if code:
        return Finding("toolchain", "wrong", f"{go} fails: {os.fsdecode(err).strip()}", "install Go again")
    return Finding("toolchain", "ok", f"{os.fsdecode(out).strip()} at {go}")


def _inputs(tree: Tree) -> Iterable[Finding]:
    listing, inputs = tree.listing, tree.inputs
    if listing.failed:
        yield Finding("inputs", "wrong", " ".join(listing.failed.split()), "mend that; `dev` waits for it too")
        return
    own = len(listing.packages)
    read = f", {len(inputs.read)} that the running program reads" if inputs.read else ""
    text = f"{len(inputs.build)} files of {own} packages decide the binary{read}; {len(tree.folders)} folders watched"
    yield Finding("inputs", "ok", text)
    for package in listing.packages.values():
        if package.error:
            yield Finding(
                "inputs", "note", f"{package.path}: {' '.join(package.error.split())}", "the build will say so"
            )


async def _ignored(tree: Tree, project: Project, service: Service) -> Iterable[Finding]:
    """Files that the build reads and that an ignore file or setting names: people wonder why they count, or do not."""
    root, watch = project.root, service.settings.watch
    git = await repository(root, dict(os.environ), capture) if watch.gitignore else None
    ignore = Ignore(root, git, watch.ignore, "watch.ignore")
    built = [path for package in tree.listing.packages.values() for path in package.files]
    taken = [path for path in built if ignore.by_setting(path)]
    ignored = [path for path in built if path not in taken and ignore.ignored(path, False)]
    found = []
    if taken:
        text = f"{_names(taken, root)}: the build reads it, but a change does nothing"
        found.append(Finding("watch.ignore", "note", text, "remove the pattern if it should rebuild"))
    if ignored:
        text = f"{_names(ignored, root)}: git ignores it, but the build reads it, so a change rebuilds"
        found.append(Finding("git", "note", text, "name it in watch.ignore if it should not"))
    return found


def _names(paths: Iterable[str], root: str) -> str:
    names = sorted(os.path.relpath(path, root) for path in paths)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _watching(tree: Tree) -> Iterable[Finding]:
    limit = _number("/proc/sys/fs/inotify/max_user_watches")
    if limit is None:
        yield Finding("watching", "note", "not Linux: watchfiles watches", "")
        return
    wanted = len(tree.folders)
    if limit < wanted + FEW_WATCHES:
        mend = f"sudo sysctl fs.inotify.max_user_watches={max(65536, 4 * wanted)}"
        yield Finding("watching", "note", f"the limit of {limit} watches is near what {wanted} folders need", mend)
    else:
        yield Finding("watching", "ok", f"{wanted} of {limit} watches")
    for folder, kind in sorted(silent(mountinfo(), map(os.path.realpath, tree.folders)).items())[:1]:
        text = f"{folder} is on {kind}, which does not tell of every change: the inputs are looked at every half second"
        yield Finding(
            "file system", "note", text, "keep the project on a local disk, or set watch.poll: off if it does"
        )


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _ports(project: Project, service: Service) -> Iterable[Finding]:
    holder = store.holder(project.root, service.name)
    if holder is not None:
        yield Finding("dev", "note", f"is running as pid {holder}")
    port = service.settings.serve.port
    if port is None:
        yield Finding("port", "note", "serve.port is not set: the program has its own port", "set it for the gate")
    elif holder is None and (who := readiness.owner(port)):
        yield Finding("port", "wrong", f"serve.port = {port} is used by {who}", "stop it or choose another port")
    else:
        yield Finding("port", "ok", f"serve.port = {port}")


def _memory() -> Finding:
    available = available_memory()
    if not available:
        return Finding("memory", "note", "not known, or the machine swaps: the toolchain keeps its garbage collector")
    if available < LEAST_MEMORY:
        return Finding("memory", "note", f"{size(available)} free: too little for builds without garbage collection")
    return Finding("memory", "ok", f"{size(available)} free")


def _building(project: Project, service: Service, plan: Plan) -> Finding:
    place = project.store(service)
    learned = Learned(place.learned, memory.key(plan))
    reloads = sum(1 for _ in history.read(place.history))
    how = "links without DWARF" if learned.lean else "will link without DWARF after a rest of `dev`"
    if not plan.may_be_lean:
        how = "is as the settings say, not the fast one"
    lagging = f", {learned.lagging} with line numbers that lagged" if learned.lagging else ""
    proved = f"{learned.verified} direct builds equal to the go command's{lagging}, {learned.different} different"
    text = f"the build of `dev` {how}; {proved}; {reloads} reloads in the history"
    return Finding("building", "note" if learned.different else "ok", text)
