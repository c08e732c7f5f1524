"""What one service depends on: which folders to watch, and what a change there calls for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from goreload_tasks.app.process import Capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.golist import Listing, command, embed_folders, embeds, may_be_source, parse
from goreload_tasks.inputs.snapshot import COARSE_NS, Snapshot
from goreload_tasks.settings import Settings

Window = tuple[int, int]
"""When the newest build read the files: its begin and its end (0: not yet), in ns of the wall clock."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What changed, and what it calls for. `relist`: the set of inputs may be another now."""

    verdict: Literal["rebuild", "restart"] | None = None
    files: tuple[str, ...] = ()
    relist: bool = False


class Tree(Protocol):
    """The inputs of a service."""

    folders: frozenset[str]

    def matters(self, paths: Sequence[str]) -> bool:
        """Could something at one of these paths matter? No paths: look everywhere."""

    def look(self, window: Window) -> Finding:
        """Compare the inputs with what they were."""

    async def list(self, since: Callable[[], int]) -> None:
        """Find out anew what the inputs are.

        Args:
            since: when the newest build began, in ns; an input written after that may be news to it.
        """


class GoTree:
    """The inputs of a Go program, as the go command names them, and its env files, which only a start reads."""

    def __init__(self, root: str, plan: Plan, settings: Settings, capture: Capture) -> None:
        self.folders: frozenset[str] = frozenset()
        self._root = root
        self._plan = plan
        self._capture = capture
        self._listing = Listing()
        self._files: frozenset[str] = frozenset()  # a change rebuilds
        self._left_out: frozenset[str] = frozenset()  # a change of their shape may bring them in
        self._read = frozenset(os.path.join(root, name) for name in settings.env_files)  # a change restarts
        self._embeds: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self._packages: frozenset[str] = frozenset()
        self._appeared: tuple[str, ...] = ()  # inputs that a listing or a build may have missed
        self._passed: set[str] = set()
        self._snapshot = Snapshot()

    def matters(self, paths: Sequence[str]) -> bool:
        return not paths or any(self._matters(path) for path in paths)

    def _matters(self, path: str) -> bool:
        if path in self._files or path in self._left_out or path in self._read or path in self.folders:
            return True
        folder, name = os.path.split(path)
        return (folder in self._packages and may_be_source(name)) or self._embedded(path) or self._awaited(path)

    def look(self, window: Window) -> Finding:
        found = self._snapshot.look(self._files | self._left_out | self._read, self.folders)
        begun, ended = window
        # Written while a build was reading: that build may have seen another content in between.
        torn = [path for path, at in found.touched.items() if begun - COARSE_NS <= at <= (ended or at) + COARSE_NS]
        rebuild = [path for path in found.changed if path in self._files]
        rebuild += [path for path in torn if path in self._files]
        rebuild += self._appeared
        shaped = [path for path in found.shapes if path not in self._read]
        rebuild += [path for path in shaped if path in self._left_out]
        named = [os.path.join(folder, name) for folder, names in found.names.items() for name in names]
        new = [path for path in named if path not in self._files and path not in self._left_out and self._new(path)]
        restart = [path for path in (*found.changed, *torn) if path in self._read]
        appeared, self._appeared = self._appeared, ()
        verdict: Literal["rebuild", "restart"] | None = "rebuild" if rebuild or new else "restart" if restart else None
        files = tuple(dict.fromkeys(self._short(path) for path in (*rebuild, *new, *restart)))
        return Finding(verdict, files, bool(shaped or new or appeared))

    def _new(self, path: str) -> bool:
        """Does a name that came or went decide which files are in the build?"""
        folder, name = os.path.split(path)
        if folder in self._packages and may_be_source(name):
            return not os.path.isdir(path)
        return self._embedded(path) or self._awaited(path)

    def _embedded(self, path: str) -> bool:
        return any(
            path.startswith(folder + os.sep) and embeds(patterns, os.path.relpath(path, folder).replace(os.sep, "/"))
            for folder, patterns in self._embeds
        )

    def _awaited(self, path: str) -> bool:
        """Is it, or is it above or in, the folder of a package that is missing?"""
        return any(
            path == folder
            or folder.startswith(path + os.sep)
            or (os.path.dirname(path) == folder and may_be_source(os.path.basename(path)))
            for folder in self._listing.wanted
        )

    def _short(self, path: str) -> str:
        short = os.path.relpath(path, self._root)
        return path if short.startswith("..") else short

    async def list(self, since: Callable[[], int]) -> None:
        """Ask the go command. What it said last stays in force beside the new until it finds nothing wrong.

        Raises:
            OSError: the go command cannot be started.
        """
        plan = self._plan
        names = ("GOMOD", "GOWORK", "GOENV", "GOMODCACHE")
        (code, out, err), (_, known, _) = await asyncio.gather(
            self._capture(command(plan.go, plan.flags, [plan.package]), plan.cwd, plan.env),
            self._capture([plan.go, "env", "-json", *names], plan.cwd, plan.env),
        )
        listing = parse(code, out, err, json.loads(known or b"{}"), plan.flags, plan.cwd)
        packages = listing.packages.values()
        files = listing.extra.union(*(package.files for package in packages))
        left_out = frozenset().union(*(package.left_out for package in packages))
        embedding = tuple((package.folder, package.embeds) for package in packages if package.embeds)
        homes = frozenset(package.folder for package in packages if package.folder)
        if not listing.clean:
            files, homes = files | self._files, homes | self._packages
            left_out, embedding = (left_out | self._left_out) - files, tuple(dict.fromkeys(embedding + self._embeds))
        entries = await asyncio.to_thread(self._snapshot.prime, [*files, *left_out, *self._read])
        self._listing, self._files, self._left_out = listing, files, left_out
        self._packages, self._embeds = homes, embedding
        self.folders = self._to_watch()
        self._appeared += self._snapshot.adopt(entries, since()) + self._unlisted()

    def _unlisted(self) -> tuple[str, ...]:
        """Sources that the listing does not know: they came while it ran. Told once: a folder x.go, say, never is."""
        found = {
            os.path.join(folder, name) for folder in self._packages for name in _names(folder) if may_be_source(name)
        }
        unlisted = found - self._files - self._left_out
        news = unlisted - self._passed
        self._passed = unlisted
        return tuple(news)

    def _to_watch(self) -> frozenset[str]:
        folders = set(self._packages) | {os.path.dirname(path) for path in (*self._files, *self._read)}
        for folder, patterns in self._embeds:
            for top in embed_folders(patterns, folder):
                folders |= set(_folders_below(top))
        folders |= {os.path.dirname(folder) for folder in self._packages}  # a package that goes, or comes back
        folders |= {folder for folder in self._listing.wanted if os.path.isdir(folder)}
        return frozenset(filter(None, (_nearest(folder) for folder in folders | self._listing.wanted)))


def _nearest(folder: str) -> str:
    """The folder, or the nearest one above it that is there."""
    while folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent
    return folder


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _folders_below(top: str) -> Iterable[str]:
    if os.path.isdir(top):
        for folder, names, _ in os.walk(top):
            names[:] = [name for name in names if name != ".git"]
            yield folder


class FileTree:
    """Every file of a project that git does not ignore, for `watch --run` and `watch --task`."""
