"""Where the inputs of a service are or may come, and what a name there means when it comes or goes."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from goreload_tasks.inputs.embed import embed_folders, embeddable, embedded_by, leads, reached
from goreload_tasks.inputs.golist import for_a_system, may_be_source, may_be_test
from goreload_tasks.inputs.ignore import Ignore, Patterns
from goreload_tasks.inputs.modules import within
from goreload_tasks.inputs.shape import constraint
from goreload_tasks.inputs.snapshot import upwards
from goreload_tasks.settings.schema import Rule

HEADER = 64 * 1024
"""Bytes of a file within which a build constraint is looked for."""


@dataclass(frozen=True)
class Inputs:
    """The inputs by what their change means, and where new ones can appear.

    build: the content decides the binary. left_out: in a package's folder, tests too, but not in the build; the shape
    may bring it in, or make the go command refuse the package. read: what `rules` and `watch.include` select and env
    files, each with its rule; of what is in the build too, that which a command goes before. rules: ignore files.
    packages: folders of packages. embeds: folder and patterns of packages that embed. scanned: folders in which any
    new file may be one that a rule selects.
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

    @functools.cached_property
    def places(self) -> frozenset[str]:
        """Folders in which any new name may be one of them."""
        return self.packages | self.scanned | self.wanted


class Places:
    """The places of a service's inputs.

    Args:
        rules: those that select files, with their patterns. ignore: for what they select, and `watch.ignore` for all.
        links: what symlinked inputs lead through, and what they really are -> those inputs.
    """

    def __init__(
        self,
        root: str,
        inputs: Inputs,
        rules: Sequence[tuple[Rule, Patterns]],
        ignore: Ignore,
        links: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.links = links
        self._root = root
        self._inputs = inputs
        self._rules = rules
        self._ignore = ignore
        tops = {top for folder, patterns in inputs.embeds for top in embed_folders(patterns, folder)}
        homes = {os.path.dirname(path) for path in inputs.build if os.path.basename(path) == "go.mod"}
        self.within = within(inputs.packages, homes)
        """Where a go.mod would take packages out of their module."""
        places = {root, *_places(inputs, tops), *map(os.path.dirname, links), *self.within}
        self.folders = frozenset(filter(None, map(_nearest, places)))
        """What there is to watch."""
        self.above = upwards(places)
        """Where inputs are or may come, and all folders above."""
        self._awaited = upwards({*inputs.wanted, *tops})
        """Where there must be something to build, and all folders above."""

    def matters(self, path: str) -> bool:
        """Could something at this path matter?"""
        return path in self.above or path in self._inputs.files or path in self.links or self.may_come(path)

    def holds(self, folder: str) -> bool:
        """Are inputs in this folder itself, or may they come there?"""
        inputs = self._inputs
        return folder in inputs.places or any(os.path.dirname(path) == folder for path in inputs.files)

    def may_come(self, path: str) -> bool:
        """May a name that came or went change what the inputs are?"""
        if self.builds(path) or self.selected(path) is not None or self._scannable(path) or self._leads(path):
            return True
        return self._tests(path) and not self._ignore.by_setting(path)

    def _tests(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return folder in self._inputs.packages and may_be_test(name)

    def builds(self, path: str) -> bool:
        """May it decide which files are in the build?"""
        if self._ignore.by_setting(path):
            return False
        folder, name = os.path.split(path)
        if name == "go.mod" and folder in self.within:
            return True
        if folder in self._inputs.packages and may_be_source(name):
            return not os.path.isdir(path)
        return self.embedder(path) is not None or self._is_awaited(path)

    def doubtful(self, path: str) -> bool:
        """Is it a source that may be left out, as cgo and tests are? Then the go command is asked before any build."""
        folder, name = os.path.split(path)
        inputs = self._inputs
        if self._tests(path):
            return self.embedder(path) is None
        if folder not in inputs.packages | inputs.wanted or not may_be_source(name) or self.embedder(path):
            return False
        if for_a_system(name) or not name.endswith(".go"):
            return True
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                head = file.read(HEADER)
                return not head or bool(constraint(head)) or b'"C"' in head  # empty: about to be written
        except OSError:
            return False

    def embedder(self, path: str) -> tuple[str, str] | None:
        """The folder of a package that takes a path in, and the pattern that does."""
        return next(self._embedders(path), None)

    def _embedders(self, path: str) -> Iterator[tuple[str, str]]:
        for folder, patterns in self._inputs.embeds:
            if path.startswith(folder + os.sep):
                relative = os.path.relpath(path, folder).replace(os.sep, "/")
                for pattern in patterns:
                    top = embedded_by(pattern, relative)
                    if top is not None and embeddable(path, folder, top):
                        yield folder, pattern

    def _leads(self, path: str) -> bool:
        """Is it a folder in which something could be embedded?"""
        return any(
            path.startswith(folder + os.sep)
            and leads(patterns, os.path.relpath(path, folder).replace(os.sep, "/"))
            and os.path.isdir(path)
            for folder, patterns in self._inputs.embeds
        )

    def _is_awaited(self, path: str) -> bool:
        """Is it a folder that the build cannot do without, or above it, or a source in a missing package?"""
        folder, name = os.path.split(path)
        return path in self._awaited or (folder in self._inputs.wanted and may_be_source(name))

    def selected(self, path: str) -> Rule | None:
        """The rule that selects a file in a folder that is looked into."""
        if not self._rules or os.path.dirname(path) not in self._inputs.scanned or os.path.isdir(path):
            return None
        return None if self._ignore.ignored(path, False) else self.rule(path)

    def rule(self, path: str) -> Rule | None:
        """The first rule that selects a file, by itself or by a folder above it, as in an ignore file."""
        parts = os.path.relpath(path, self._root).split(os.sep)
        for rule, patterns in self._rules:
            for depth in range(len(parts), 0, -1):
                if reason := patterns.match(os.sep.join(parts[:depth]), depth < len(parts)):
                    if reason.ignored:
                        return rule
                    break
        return None

    def _scannable(self, path: str) -> bool:
        """Is it a folder, new or gone, in which selected files may be? No link to one: it is not looked into."""
        if not self._rules or os.path.dirname(path) not in self._inputs.scanned:
            return False
        if path in self._inputs.scanned:
            return True
        return os.path.isdir(path) and not os.path.islink(path) and not self._ignore.ignored(path, True)


def links(files: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The inputs that are symlinks, by each of the places that they lead through and to."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(files):
        for place in way(path):
            found[place] = (*found.get(place, ()), path)
    return found


def way(path: str) -> tuple[str, ...]:
    """The symlinks that one leads through, files and folders, each as its real folder has it, and what it really is.

    Empty: it is none.
    """
    if not os.path.islink(path):
        return ()
    at, left = os.path.realpath(os.path.dirname(path)), [os.path.basename(path)]
    met: list[str] = []
    while left and len(met) <= _MOST:
        part = left.pop(0)
        above, at = at, os.path.normpath(os.path.join(at, part))
        with contextlib.suppress(OSError):  # it is none
            left = [*os.readlink(at).split(os.sep), *left]
            met.append(at)
            at = os.sep if left[0] == "" else above
    return (*met[1:], at)


_MOST = 40
"""Symlinks that the kernel follows (path_resolution(7)); after that they go round in a circle."""


def _places(inputs: Inputs, tops: Iterable[str]) -> Iterable[str]:
    """The folders in which inputs are or may come, there or not.

    Args:
        tops: those that `//go:embed` patterns name.
    """
    yield from inputs.packages | inputs.scanned | inputs.wanted
    yield from map(os.path.dirname, inputs.files)
    yield from map(os.path.dirname, inputs.packages)  # a package that goes, or comes back
    yield from tops
    for folder, patterns in inputs.embeds:
        for pattern in patterns:
            yield from reached(folder, pattern)


def _nearest(folder: str) -> str:
    """The folder, or the nearest one above it that is there."""
    while folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent
    return folder


def _without_waiting(path: str, flags: int) -> int:
    """Open a file that may be a FIFO: one that nobody writes to is empty."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
