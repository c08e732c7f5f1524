"""Why a path matters or does not: the verdict with the rule that decided, for a person."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from goreload_tasks.inputs.golist import Listing, Package, below, for_a_system, may_be_source, may_be_test
from goreload_tasks.inputs.headers import contents
from goreload_tasks.inputs.ignore import Ignore, Reason
from goreload_tasks.inputs.places import Inputs, Places
from goreload_tasks.inputs.shape import constraint as constraint_in
from goreload_tasks.settings.schema import Rule

Call = Literal["rebuild", "restart", "refresh", "nothing"]

_EXTRA = {
    "go.mod": "it decides which modules are in the build",
    "go.sum": "it decides whether the modules may be used",
    "go.work": "a workspace decides which modules are in the build",
    "modules.txt": "it decides which vendored modules are in the build",
    "go.work.sum": "it decides whether the modules may be used",
    "default.pgo": "a profile beside the main package decides how it is optimized",
    "env": "`go env -w` writes the settings of the go command there",
}


_SETTINGS = ("tasks.py", "invoke.yaml", "invoke.yml", "invoke.json", "invoke.py", ".air.toml")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a change of a path calls for, and the reasons, the deciding one first."""

    path: str
    calls_for: Call
    reasons: tuple[str, ...]


def explain(
    path: str, root: str, inputs: Inputs, listing: Listing, ignore: Ignore, places: Places, comes: bool = True
) -> Verdict:
    """The verdict on any path, there or not.

    Args:
        path: absolute.
        listing: what the go command said last; empty where there is no Go program.
        ignore: with git's files, where they count.
        comes: a source that is not there would be in the build, as the go command says of its name.
    """
    is_dir = os.path.isdir(path)
    if by_setting := ignore.by_setting(path, is_dir and not os.path.islink(path)):
        return Verdict(path, "nothing", (_line(by_setting, root),))
    by = ignore.reason(path, is_dir and not os.path.islink(path))  # to git a link to a folder is none
    ignored = (_line(by, root),) if by and by.ignored else ()
    if path in inputs.build:
        also = tuple(f"{line}; the build reads it all the same" for line in ignored)
        first = tuple(
            f"{rule.name} selects it: `{rule.command}` runs first" for rule in [inputs.read.get(path)] if rule
        )
        return Verdict(path, "rebuild", (*_in_build(path, listing), *also, *first))
    if path in inputs.read:
        rule = inputs.read[path]
        first = (f"`{rule.command}` runs first",) if rule.command else ()
        return Verdict(path, rule.then, (f"{rule.name} selects it", *first))
    if path in places.links:
        link = explain(places.links[path][0], root, inputs, listing, ignore, places)
        return Verdict(path, link.calls_for, (f"{_short(link.path, root)} is a link to it", *link.reasons))
    if is_dir:
        return Verdict(path, *_folder(path, inputs, listing, ignored))
    if not os.path.lexists(path):
        calls_for, reasons = _absent(path, root, inputs, listing, ignore, places, comes) or (
            "nothing",
            _nothing(path, root, inputs, listing, ignored),
        )
        return Verdict(path, calls_for, (f"it is not there; if it comes: {reasons[0]}", *reasons[1:]))
    return Verdict(path, "nothing", _nothing(path, root, inputs, listing, ignored))


def _in_build(path: str, listing: Listing) -> tuple[str, ...]:
    owner = next((package for package in listing.packages.values() if path in package.files), None)
    if owner is None:
        why = _EXTRA.get(os.path.basename(path), "a flag or a variable of the build names it")
        linked = path.endswith((".a", ".o"))
        included = path.endswith((".h", ".inc", ".hpp", ".hh", ".hxx"))
        if included or (listing.clean and path not in listing.extra and not linked):
            why = "C code of the build includes it from elsewhere; the go command does not watch it, we do"
        elif linked:
            why = "a #cgo line of the build links it; the go command does not watch it, we do"
        elif path not in listing.extra:
            why = f"it was in the build when the go command last saw all; now it says {_first(listing.error)}"
        return (why if os.path.exists(path) else f"it is not there; if it comes: {why}",)
    in_it = may_be_source(os.path.basename(path)) and os.path.dirname(path) == owner.folder
    kind = "in" if in_it else "embedded by"
    links = chain(owner, listing)
    through = " -> ".join(links)
    if len(links) > 1:
        return f"{kind} package {owner.path}", f"imported through {through}"
    itself = "the main package itself" if owner.name in ("main", "") else "a downloaded module of the build imports it"
    return f"{kind} package {owner.path}", itself


def _first(text: str) -> str:
    return next(iter(text.splitlines()), "")


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


def _absent(
    path: str, root: str, inputs: Inputs, listing: Listing, ignore: Ignore, places: Places, comes: bool
) -> tuple[Call, tuple[str, ...]] | None:
    """What a file that is not there would be; None: nothing of ours."""
    if places.builds(path):
        folder, name = os.path.split(path)
        if found := places.embedder(path):
            return "rebuild", (f"`//go:embed {found[1]}` of {_package(found[0], listing)} takes it in",)
        if name == "go.mod":
            return "rebuild", (f"it takes {_short(folder, root)} out of its module",)
        if folder not in inputs.packages:
            return "rebuild", ("the build misses a package or an embedded file there",)
        if not comes:
            return "nothing", (constraint(path, name),)
        return "rebuild", (f"a new source in {_package(folder, listing)}, unless a constraint in it keeps it out",)
    anchor = os.path.dirname(path)
    while not os.path.isdir(anchor):
        anchor = os.path.dirname(anchor)
    if anchor in inputs.scanned and not ignore.ignored(path, False) and (rule := places.rule(path)):
        return rule.then, _selected(rule)
    return None


def _selected(rule: Rule) -> tuple[str, ...]:
    first = (f"`{rule.command}` runs first",) if rule.command else ()
    return (f"{rule.name} selects it", *first)


def _package(folder: str, listing: Listing) -> str:
    found = next((package.path for package in listing.packages.values() if package.folder == folder), folder)
    return f"package {found}"


def _nothing(path: str, root: str, inputs: Inputs, listing: Listing, ignored: tuple[str, ...]) -> tuple[str, ...]:
    """Why nothing happens."""
    name = os.path.basename(path)
    parts = os.path.relpath(path, root).split(os.sep)
    if path in inputs.left_out and not may_be_test(name):
        return constraint(path, name), "a change of its constraint would be noticed"
    if path in inputs.rules:
        return ("it decides what is ignored: the files that rules select are found anew at once",)
    if may_be_test(name):
        return ("a test: `go test` reads it, `go build` does not",)
    if name.endswith(".go") and name.startswith(("_", ".")):
        return ("the go command passes over names that begin with `_` or `.`",)
    if ignored:
        return ignored
    if below(path, listing.fixed[0]):
        return ("it is part of Go itself, which is taken as it is",)
    if below(path, listing.fixed[1]):
        return ("it is a downloaded module, which is taken as it is; go.mod says which; `replace` it to edit a copy",)
    if parts[0] == "..":
        return (f"it is outside {root}, and nothing that is built is there",)
    if may_be_source(name):
        where = "." if len(parts) == 1 else os.sep.join(parts[:-1])
        why = f"nothing that is built imports the package in {where}"
        if "testdata" in parts:
            why = "the go command passes over folders named testdata"
        said = _said(path)
        unseen = (f"the go command may not see all: {_first(listing.error)}",) if listing.error else ()
        return (why, *((f"and its constraint `{said}` may keep it out anyway",) if said else ()), *unseen)
    if len(parts) == 1 and name in _SETTINGS:
        return ("`dev` reads it when it starts: start it again after a change",)
    return ("no source of the build, not embedded, and no rule and no `watch.include` selects it",)


def _said(path: str) -> str:
    """The constraint in a source."""
    return "" if path.endswith(".syso") or not os.path.isfile(path) else constraint_in(contents(path))


def constraint(path: str, name: str) -> str:
    """Why a source of a package is left out of the build."""
    said = _said(path)
    causes = [f"its constraint `{said}`"] if said else []
    causes += [f"its name ({name}): it is for another system or architecture"] if for_a_system(name) else []
    if causes:
        return f"left out of this build by {' or '.join(causes)}"
    if not path.endswith(".go"):
        return "left out of this build: only cgo would use it"
    if b'"C"' in (contents(path) if os.path.isfile(path) else b""):
        return "left out of this build: it uses cgo, which is off"
    return "left out of this build: the go command cannot use it as it is"


def _folder(path: str, inputs: Inputs, listing: Listing, ignored: tuple[str, ...]) -> tuple[Call, tuple[str, ...]]:
    """What would happen were the folder to go."""
    also = tuple(f"{line}; the build reads it all the same" for line in ignored)
    package = next((one for one in listing.packages.values() if one.folder == path), None)
    if package:
        return "rebuild", (f"a folder; it holds package {package.path} of the build: its files matter", *also)
    count = sum(below(file, path) and os.path.exists(file) for file in inputs.build)
    if count:
        return "rebuild", (f"a folder; {_files(count)} in the build", *also)
    if ignored:
        return "nothing", ignored
    called = [rule.then for file, rule in inputs.read.items() if below(file, path)]
    for then in ("rebuild", "restart", "refresh"):
        if then in called:
            return then, (f"a folder; rules or `watch.include` select {_files(len(called))} in it",)
    return "nothing", (
        "a folder with nothing of the build" + "; new files in it are looked at" * (path in inputs.scanned),
    )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _short(path: str, root: str) -> str:
    """As a person reads it: relative to the project where that is shorter."""
    return min(os.path.relpath(path, root), path, key=len)


def _line(reason: Reason, root: str) -> str:
    source = _short(reason.source, root) if os.path.isabs(reason.source) else reason.source
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
    return "\n".join(
        [f"{_short(verdict.path, root)}: {_SHOWN[verdict.calls_for]}", *(f"  {reason}" for reason in verdict.reasons)]
    )
