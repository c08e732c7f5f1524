"""Which modules of one's own a build may use, also where none of their packages is listed.

Read from go.mod and go.work as far as they can be read: the go command says nothing at all when one of them is broken.
The grammar is the "go.mod files" section of the Go modules reference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from goreload_tasks.inputs.snapshot import upwards

_TOKEN = re.compile(r'//.*|"((?:[^"\\]|\\.)*)"|`([^`]*)`|([()]|(?:(?!//)[^\s()"`])+)')


def directives(text: str) -> Iterable[tuple[str, ...]]:
    """The words of each directive; those in a block begin with the block's verb."""
    verb: tuple[str, ...] = ()
    for line in text.splitlines():
        words = [match for match in _TOKEN.finditer(line) if not match[0].startswith("//")]
        said = tuple(next(filter(None, match.groups()), "") for match in words)
        if said == (")",):
            verb = ()
        elif said[1:] == ("(",):
            verb = said[:1]
        elif said:
            yield (*verb, *said)


def own(gomod: str, gowork: str, modfile: str = "") -> dict[str, str]:
    """The folders of the main modules and of those that a replace points to, there or not, each with its module's path.

    Args:
        gomod, gowork: the files; empty: there is none. modfile: is read instead of gomod (-modfile).
    """
    found: dict[str, str] = {}
    mains = [gomod] if gomod else []
    if gowork:
        folder = os.path.dirname(gowork)
        said = _read(gowork)
        mains = [os.path.join(_join(folder, words[1]), "go.mod") for words in said if _is(words, "use", 2)]
        found |= _replaced(folder, said)
    for main in mains:
        folder = os.path.dirname(main)
        said = _read(modfile if modfile and main == gomod else main)
        found[folder] = next((words[1] for words in said if _is(words, "module", 2)), "")
        found |= {place: path for place, path in _replaced(folder, said).items() if place not in found}
    return found


def mains(gomod: str, gowork: str) -> frozenset[str]:
    """The folders of the main modules: the ones that go.work uses, or else the one of go.mod. Arguments as of `own`."""
    folder = os.path.dirname(gowork)
    used = {_join(folder, words[1]) for words in _read(gowork) if _is(words, "use", 2)} if gowork else set()
    return frozenset(used | ({os.path.dirname(gomod)} if gomod else set()))


def decide(cwd: str, gomod: str, gowork: str, workspaces: bool = True) -> frozenset[str]:
    """The files that would make another go.mod or go.work count, were they there: the nearest one above does.

    Args:
        workspaces: a go.work is looked for; not where GOWORK is off.

    A folder that one may not list cannot be watched, and would be looked into at a beat: it is left out.
    """
    here = frozenset(folder for folder in upwards([cwd]) if os.access(folder, os.R_OK))
    inside = here - upwards([os.path.dirname(os.path.dirname(gomod))]) if gomod else here
    nearer = here - upwards([os.path.dirname(os.path.dirname(gowork))]) if gowork else here
    nearer = nearer if workspaces else frozenset()
    return frozenset(
        {os.path.join(folder, "go.mod") for folder in inside} | {os.path.join(folder, "go.work") for folder in nearer}
    )


def within(packages: Iterable[str], homes: Iterable[str]) -> frozenset[str]:
    """The folders of packages and those between them and their module's, in which a go.mod would take them out."""
    found: set[str] = set()
    ends = frozenset(homes)
    for package in packages:
        climbed = []
        folder = package
        while folder not in ends and folder not in found and folder != os.path.dirname(folder):
            climbed.append(folder)
            folder = os.path.dirname(folder)
        if folder in ends or folder in found:
            found.update(climbed)
    return frozenset(found)


def sums(path: str) -> frozenset[tuple[str, ...]]:
    """The lines of a go.sum or go.work.sum, as words."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return frozenset(tuple(line.split()) for line in file if line.strip())
    except OSError:
        return frozenset()


def only_adds(before: frozenset[tuple[str, ...]], after: frozenset[tuple[str, ...]]) -> bool:
    """Are there only lines more, on versions of which nothing was said? The go command adds such to go.work.sum."""
    said = {line[:2] for line in before}
    return before <= after and not any(line[:2] in said for line in after - before)


def _read(path: str) -> list[tuple[str, ...]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return list(directives(file.read()))
    except OSError:
        return []


def _replaced(folder: str, said: Iterable[Sequence[str]]) -> Mapping[str, str]:
    """A replacement that begins with a dot or a slash is a folder."""
    local = [words for words in said if _is(words, "replace", 4) and words[-2] == "=>" and _is_folder(words[-1])]
    return {_join(folder, words[-1]): words[1] for words in local}


def _is(words: Sequence[str], verb: str, least: int) -> bool:
    return len(words) >= least and words[0] == verb


def _is_folder(path: str) -> bool:
    return path in (".", "..") or path.startswith(("./", "../", "/"))


def _join(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))
