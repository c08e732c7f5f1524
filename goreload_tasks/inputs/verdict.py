"""Why a path matters or does not: the verdict with the rule that decided, for a person."""

from __future__ import annotations

import functools
import os
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from goreload_tasks.inputs.golist import Listing, Package, may_be_source
from goreload_tasks.inputs.ignore import Ignore, Reason
from goreload_tasks.settings.schema import Rule

_CONSTRAINT = re.compile(rb"^//\s*(go:build .*|\+build .*)$", re.MULTILINE)

_EXTRA = {
    "go.mod": "it decides which modules are in the build",
    "go.sum": "it decides whether the modules may be used",
    "go.work": "a workspace decides which modules are in the build",
    "modules.txt": "it decides which vendored modules are in the build",
    "default.pgo": "a profile beside the main package decides how it is optimized",
    "env": "`go env -w` writes the settings of the go command there",
}


@dataclass(frozen=True)
class Inputs:
    """The inputs by what their change means, and where new ones can appear.

    build: the content decides the binary. left_out: in a package's folder, but not in the build; the shape may bring
    it in. read: what `rules` and `watch.include` select and env files, each with its rule. rules: ignore files.
    packages: folders of packages. embeds: folder and patterns of packages that embed. scanned: folders in which any
    new file may be one that `watch.include` selects.
    """

    build: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    read: Mapping[str, Rule] = field(default_factory=dict)
    rules: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    embeds: tuple[tuple[str, tuple[str, ...]], ...] = ()
    wanted: frozenset[str] = frozenset()
    scanned: frozenset[str] = frozenset()

    @functools.cached_property
    def files(self) -> frozenset[str]:
        return self.build | self.left_out | self.read.keys() | self.rules


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a change of a path calls for, and the reasons, the deciding one first."""

    path: str
    calls_for: Literal["rebuild", "restart", "refresh", "nothing"]
    reasons: tuple[str, ...]


def explain(path: str, root: str, inputs: Inputs, listing: Listing, ignore: Ignore) -> Verdict:
    """The verdict on any path, there or not.

    Args:
        path: absolute.
        listing: what the go command said last; empty where there is no Go program.
        ignore: with git's files, where they count.
    """
    is_dir = os.path.isdir(path)
    by = ignore.reason(path, is_dir)
    if ignore.by_setting(path) and by:
        return Verdict(path, "nothing", (_line(by, root),))
    if path in inputs.build:
        also = (f"{_line(by, root)}; the build reads it all the same",) if by and by.ignored else ()
        return Verdict(path, "rebuild", (*_in_build(path, listing), *also))
    if path in inputs.read:
        rule = inputs.read[path]
        first = f"`{rule.command}` runs first" if rule.command else ""
        return Verdict(path, rule.then, tuple(filter(None, (f"{rule.name} selects it", first))))
    if is_dir:
        return Verdict(path, "nothing", (_folder(path, inputs, listing, by, root),))
    return Verdict(path, *_left_out(path, root, inputs, listing, by))


def _in_build(path: str, listing: Listing) -> tuple[str, ...]:
    owner = next((package for package in listing.packages.values() if path in package.files), None)
    if owner is None:
        why = _EXTRA.get(os.path.basename(path), "a flag of the build names it")
        if path.endswith((".h", ".inc", ".hpp", ".hh", ".hxx")):
            why = "C code of the build includes it from elsewhere; the go command does not watch it, we do"
        return (why if os.path.exists(path) else f"it is not there; if it comes: {why}",)
    kind = "in" if may_be_source(os.path.basename(path)) else "embedded by"
    links = chain(owner, listing)
    through = " -> ".join(links)
    return (
        f"{kind} package {owner.path}",
        f"imported through {through}" if len(links) > 1 else "the main package itself",
    )


def chain(package: Package, listing: Listing) -> tuple[str, ...]:
    """A shortest chain of imports from a main package to this one."""
    before: dict[str, str] = {}
    queue = deque(sorted(name for name, one in listing.packages.items() if one.name == "main"))
    seen = set(queue)
    while queue:
        name = queue.popleft()
        if name == package.path:
            links = [name]
            while name in before:
                name = before[name]
                links.append(name)
            return tuple(reversed(links))
        for imported in listing.packages[name].imports:
            if imported in listing.packages and imported not in seen:
                seen.add(imported)
                before[imported] = name
                queue.append(imported)
    return (package.path,)


def _left_out(
    path: str, root: str, inputs: Inputs, listing: Listing, by: Reason | None
) -> tuple[Literal["rebuild", "nothing"], tuple[str, ...]]:
    folder, name = os.path.split(path)
    here = next((package for package in listing.packages.values() if package.folder == folder), None)
    missing = () if os.path.lexists(path) else ("it is not there",)
    if path in inputs.left_out:
        return "nothing", (constraint(path, name), "a change of its constraint would be noticed")
    if name.endswith("_test.go"):
        return "nothing", ("a test: `go test` reads it, `go build` does not", *missing)
    if name.endswith(".go") and name.startswith(("_", ".")):
        return "nothing", ("the go command passes over names that begin with `_` or `.`", *missing)
    if by and by.ignored:
        return "nothing", (_line(by, root), *missing)
    if here and may_be_source(name):
        return "rebuild", (*missing, f"a new source in package {here.path}: the go command is asked what it is")
    if folder in listing.wanted and may_be_source(name):
        return "rebuild", (*missing, "a package that the build misses would be in this folder")
    parts = os.path.relpath(path, root).split(os.sep)
    if "testdata" in parts:
        return "nothing", ("the go command passes over folders named testdata", *missing)
    if may_be_source(name):
        why = f"nothing that is built imports the package in {os.path.relpath(folder, root)}"
        return "nothing", (f"it is outside {root}" if parts[0] == ".." else why, *missing)
    if name.endswith(".go~") or not name.endswith(".go"):
        return "nothing", ("no source of the build, not embedded, and `watch.include` does not select it", *missing)
    return "nothing", ("it is not in the build", *missing)


def constraint(path: str, name: str) -> str:
    try:
        with open(path, "rb") as file:
            found = _CONSTRAINT.search(file.read(64 * 1024))
    except OSError:
        found = None
    if found:
        return f"left out of this build by its constraint `//{found[1].decode(errors='replace').strip()}`"
    return f"left out of this build by its name ({name}): it is for another system or architecture"


def _folder(path: str, inputs: Inputs, listing: Listing, by: Reason | None, root: str) -> str:
    package = next((one for one in listing.packages.values() if one.folder == path), None)
    if package:
        return f"a folder; it holds package {package.path}, of the build: its files matter"
    if by and by.ignored:
        return _line(by, root)
    return "a folder; new files in it are looked at" if path in inputs.scanned else "a folder with nothing of the build"


def _line(reason: Reason, root: str) -> str:
    source = os.path.relpath(reason.source, root) if os.path.isabs(reason.source) else reason.source
    place = "a default of this tool" if source == "default" else f"{source}, line {reason.line}"
    return f"ignored by `{reason.text}` ({place})"


_SHOWN: Mapping[str, str] = {
    "rebuild": "a change rebuilds",
    "restart": "a change restarts the app",
    "refresh": "a change refreshes the browser",
    "nothing": "nothing happens",
}


def sentence(verdict: Verdict, root: str) -> str:
    """The verdict as a person reads it."""
    short = os.path.relpath(verdict.path, root)
    return "\n".join([f"{short}: {_SHOWN[verdict.calls_for]}", *(f"  {reason}" for reason in verdict.reasons)])
