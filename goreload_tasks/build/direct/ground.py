"""PURE. What was learned of a program, and what a change of its files calls for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from goreload_tasks.build.direct.recipe import Compile, Link
from goreload_tasks.inputs.embed import embedded_by, leads
from goreload_tasks.inputs.golist import may_be_source, may_be_test

WORTH = 1.0
"""Seconds that positions mode must save, else it is not worth a remark."""

_START, _PER_BYTE = 0.03, 8e-6
"""Seconds for which a compiler occupies a core: to start, and for each byte of source. Measured with 1 to 106 kB."""


class DeclinedError(Exception):
    """This is one for `go build`; the text says why."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was on disk at a moment.

    files: digest and shape of each file that decides the build; an empty digest: it was not there.
    names: what was in each folder in which something new would count. tools: stamps of the toolchain.
    """

    files: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tools: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Ground:
    """A program as the go command would make it.

    compiles: all packages but those of the standard library, each behind what it imports.
    owners: the packages that a file is compiled into. folders: where each package is, and which patterns it embeds.
    left_out: Go files that are in no package as they are now; so are tests, whose headers `go build` reads. within:
    where a go.mod would take packages out of their module. sizes: bytes of source. env: the variables of compilers and
    linker.
    """

    compiles: Mapping[str, Compile]
    link: Link
    owners: Mapping[str, frozenset[str]]
    folders: Mapping[str, str]
    embeds: tuple[tuple[str, tuple[str, ...]], ...] = ()
    left_out: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()
    sizes: Mapping[str, int] = field(default_factory=dict)
    importers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def short(self, path: str) -> str:
        """A path as a person names it."""
        short = os.path.relpath(path, self.cwd)
        return path if short.startswith("..") else short

    def saving(self, path: str, cores: int) -> float:
        """Seconds, at least, that it takes to compile the importers of a package."""
        work = sum(_START + self.sizes.get(one, 0) * _PER_BYTE for one in self.importers.get(path, ()))
        return work / cores


def importers(compiles: Mapping[str, Compile]) -> dict[str, tuple[str, ...]]:
    """For each package those that import it."""
    found: dict[str, list[str]] = {}
    for path, one in compiles.items():
        for imported in one.imports:
            found.setdefault(imported, []).append(path)
    return {path: tuple(those) for path, those in found.items()}


def changed(ground: Ground, before: Sight, now: Sight) -> frozenset[str]:
    """The packages of which a file is another than before.

    Raises:
        DeclinedError: more than the content of known files changed, or it may have.
    """
    if now.tools != before.tools:
        raise DeclinedError("the toolchain changed")
    packages: set[str] = set()
    for path, (digest, shape) in now.files.items():
        then, shape_then = before.files.get(path, (b"", b""))
        if digest == then:
            continue
        if not digest or not then:
            raise DeclinedError(f"{ground.short(path)} {'came' if digest else 'went'}")
        if shape != shape_then:
            raise DeclinedError(f"{ground.short(path)} imports, embeds or asks for something else")
        if path in ground.left_out:
            if not path.endswith(".go"):  # its shape is not known: it may say something else of when it is built
                raise DeclinedError(f"{ground.short(path)} may be in the build now")
            continue
        if path not in ground.owners:
            raise DeclinedError(f"{ground.short(path)} changed")
        packages |= ground.owners[path]
    for folder, names in now.names.items():
        if names != before.names.get(folder, frozenset()):
            _judge(ground, folder, names ^ before.names.get(folder, frozenset()))
    return frozenset(packages)


def still(ground: Ground, before: Sight, now: Sight) -> bool:
    """Is the program on disk the same, whatever else came or went?"""
    try:
        return not changed(ground, before, now)
    except DeclinedError:
        return False


def _judge(ground: Ground, folder: str, names: Iterable[str]) -> None:
    """May a name that came or went put a file into the build, or take one out?"""
    for name in names:
        path = os.path.join(folder, name)
        source = folder in ground.folders.values() and (may_be_source(name) or may_be_test(name))
        module = name == "go.mod" and folder in ground.within
        if source or module or any(_embeds(package, patterns, path) for package, patterns in ground.embeds):
            raise DeclinedError(f"{ground.short(path)} came or went")


def _embeds(package: str, patterns: Sequence[str], path: str) -> bool:
    if not path.startswith(package + os.sep):
        return False
    relative = os.path.relpath(path, package).replace(os.sep, "/")
    return leads(patterns, relative) or any(embedded_by(pattern, relative) is not None for pattern in patterns)


def touched(ground: Ground, packages: Iterable[str]) -> list[str]:
    """The packages and all that import them, by way of others too, each behind what it imports."""
    found = set(packages)
    left = list(found)
    while left:
        for path in ground.importers.get(left.pop(), ()):
            if path not in found:
                found.add(path)
                left.append(path)
    return [path for path in ground.compiles if path in found]


@dataclass(frozen=True, slots=True)
class Lag:
    """A file whose functions, where they were inlined into other packages, still say the lines of before.

    lines: by how many it is longer now; 0: lines moved within it.
    """

    file: str
    lines: int

    def __str__(self) -> str:
        moved = f"{self.lines:+d}" if self.lines else "moved"
        return f"{self.file}: line numbers of inlined functions {moved} until the full build"


def complaint(path: str, folder: str, text: str, names: Mapping[str, str]) -> str:
    """What a compiler says, as `go build` shows it (cmd/go/internal/work, Shell.reportCmd).

    Args:
        names: for each folder above the package, and its own, the shorter name that it has from where go runs.
    """
    text = text if text.endswith("\n") else text + "\n"
    while True:
        if folder in names:
            text = _replaced(text, folder, names[folder])
        above = os.path.dirname(folder)
        if above == folder:
            return f"# {path}\n{text}"
        folder = above


def _replaced(text: str, old: str, new: str) -> str:
    """With a folder's name replaced where a word begins."""
    for before in (" ", "\n", "\n\t"):
        text = text.replace(before + old, before + new)
    return new + text.removeprefix(old) if text.startswith(old) else text


def shorter(folder: str, cwd: str) -> dict[str, str]:
    """The folder and those above it that have a shorter name from `cwd`."""
    names: dict[str, str] = {}
    while True:
        name = os.path.relpath(folder, cwd)
        if len(name) < len(folder):
            names[folder] = name
        above = os.path.dirname(folder)
        if above == folder:
            return names
        folder = above
