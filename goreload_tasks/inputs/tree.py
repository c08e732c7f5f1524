"""What one service depends on: which folders to watch, and what a change there calls for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from goreload_tasks.app.process import Capture
from goreload_tasks.build.command import Plan, value
from goreload_tasks.inputs import memory
from goreload_tasks.inputs.golist import Listing, command, may_be_source, may_be_test, parse, replaced
from goreload_tasks.inputs.headers import unseen
from goreload_tasks.inputs.ignore import Ignore, repository
from goreload_tasks.inputs.listing import ask, unkilled
from goreload_tasks.inputs.modules import only_adds, sums
from goreload_tasks.inputs.news import Found, Noted, sift
from goreload_tasks.inputs.places import Inputs, Places, links, way
from goreload_tasks.inputs.selection import ENV, counts, selections
from goreload_tasks.inputs.snapshot import ABSENT, COARSE_NS, Entry, Look, Snapshot, gone, upwards
from goreload_tasks.inputs.verdict import Verdict, explain
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule

Window = tuple[int, int]
"""When the newest build read the files: its begin and its end (0: not yet), in ns of the wall clock."""


HALF_NS = 1_000_000_000
"""A new file that is noticed so soon after a build has ended may have been there, half-written, when the build read."""

FEW = 100
"""Hints up to which only their paths are looked at; a larger batch may have lost some."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What changed, and what it calls for.

    rules: commands to run first, each with the files that called for it. relist: the inputs may be others now.
    mended: files that are not in the build, but whose header the go command reads; were a mistake in one of them, a
    build failed, and would not now.
    """

    verdict: Literal["rebuild", "restart", "refresh"] | None = None
    files: tuple[str, ...] = ()
    rules: Mapping[Rule, tuple[str, ...]] = field(default_factory=dict)
    relist: bool = False
    mended: tuple[str, ...] = ()


class Tree:
    """The inputs of a service.

    Args:
        plan: how the Go program is built; None: there is none, and every file that is not ignored (or that
            `watch.include` selects) calls for a new run (`watch --run`).
        remember: a file to keep the listing in, for the next start.
        contents: see `Snapshot`.

    Raises:
        GoreloadError: a bad pattern in the settings.
    """

    def __init__(
        self,
        root: str,
        settings: Settings,
        capture: Capture,
        plan: Plan | None = None,
        remember: str = "",
        contents: dict[str, Entry] | None = None,
    ) -> None:
        self.folders: frozenset[str] = frozenset()
        self.inputs = Inputs()
        self.listing = Listing()
        self.headers: Mapping[str, frozenset[str]] = {}
        self._readers: frozenset[str] = frozenset()
        self._root = root
        self._settings = settings
        self._plan = plan
        self._capture = capture
        self._memory = remember
        self._rules = selections(settings, plan is None)
        self._ignore = Ignore(root, None, settings.watch.ignore, "watch.ignore")
        self._snapshot = Snapshot(contents)
        self._noted = Noted()
        self._found = Found()
        self._since = 0  # the first listing counts what was written from then on
        self._sure = False  # all that the build reads is known
        self._sums: dict[str, frozenset[tuple[str, ...]]] = {}  # what go.work.sum said
        self._places = Places(root, self.inputs, self._rules, self._ignore, {})

    def matters(self, paths: Sequence[str]) -> bool:
        """Could something at one of these paths matter? No paths: look everywhere."""
        return not paths or any(map(self._places.matters, paths))

    def holds(self, folder: str) -> bool:
        """Are inputs in this folder itself, or may they come there?"""
        return self._places.holds(folder)

    def still(self) -> bool:
        """Has no input been written since the last look, and none come or gone?"""
        news = self._snapshot.news(self.folders)
        return self._snapshot.still(self.inputs.files) and not any(map(self._places.may_come, news))

    @property
    def fingerprint(self) -> str:
        """A name for all that the build reads, as it was at the last look; empty: not all of that is known."""
        if not self._sure:
            return ""
        hashed = hashlib.blake2b(digest_size=16)
        for path in sorted(self.inputs.build):
            entry = self._snapshot.entries.get(path, ABSENT)
            hashed.update(os.fsencode(path) + b"\0" + entry.digest + bytes([entry.stamp is not None]))
        return hashed.hexdigest()

    def look(self, window: Window, paths: Sequence[str] = ()) -> Finding:
        """Compare the inputs with what they were.

        Args:
            paths: only there, as a small batch of hints says; nothing, or many: everywhere.
        """
        inputs = self.inputs
        files: Iterable[str] = inputs.files
        folders: Iterable[str] = self.folders
        if 0 < len(paths) <= FEW:
            files = [
                known for path in paths for known in (path, *self._places.links.get(path, ())) if known in inputs.files
            ]
            folders = {os.path.dirname(path) for path in paths} & self.folders
            if tops := tuple(os.path.join(path, "") for path in paths if path in self._places.above):
                # A folder went, came or is another: its files did so too, and nobody need have said so of each.
                files += [path for path in inputs.files if path.startswith(tops)]
                files += [
                    path for place, paths in self._places.links.items() if place.startswith(tops) for path in paths
                ]
                folders |= {folder for folder in self.folders if os.path.join(folder, "").startswith(tops)}
        found = self._edits(self._snapshot.look(files, folders))
        # Of what is not Go only the go command reads the constraints.
        foreign = {path for path in found.changed if _is_foreign(path) and not self._places.embedder(path)}
        found = replace(found, shapes=found.shapes | foreign)
        begun, ended = window
        # Written while a build was reading: that build may have seen other content. Stamps lag, never lead.
        torn = [path for path, at in found.touched.items() if begun - COARSE_NS <= at <= (ended or at)]
        news, self._found = self._found, Found()
        appeared = news.appeared
        named = [os.path.join(folder, name) for folder, names in found.names.items() for name in names]
        new = [path for path in named if path not in inputs.files and self._places.may_come(path)]
        touched = [*found.changed, *torn, *appeared]
        rebuild = [path for path in touched if path in inputs.build and path not in inputs.read]
        # Whatever is called for begins after this: only what is written from now on is news to it.
        noticed = time.time_ns()
        self._snapshot.take(path for path in new if not os.path.isdir(path))
        doubtful = {path for path in (*new, *appeared) if path not in inputs.files and self._places.doubtful(path)}
        wrong = found.shapes & inputs.left_out
        if not ended or noticed - ended < HALF_NS:
            wrong |= doubtful
        unsure = dict.fromkeys(doubtful | wrong, noticed)
        self._noted |= Noted(dict.fromkeys((*new, *appeared), noticed), unsure, wrong)
        rebuild += news.entered
        built = {path for path in (*new, *appeared) if path not in doubtful and self._places.builds(path)}
        ruled = {path: inputs.read[path] for path in touched if path in inputs.read}
        ruled |= {
            path: rule for path in new if (of := self._places.selected(path)) and (rule := counts(of, path in built))
        }
        rebuild += [path for path in dict.fromkeys((*new, *appeared)) if path in built and path not in ruled]
        relist = news.again or bool(new or appeared or found.replaced)
        relist |= any(path not in inputs.read for path in found.shapes)
        decide = (inputs.rules, self.listing.extra, self._readers)
        relist |= any(path in those for path in found.changed for those in decide)
        relist |= not self._places.above.isdisjoint(named)
        relist |= any(self._leads_elsewhere(path) for path in (*found.changed, *found.touched))
        return replace(self._finding(rebuild, ruled, relist), mended=tuple(map(self._short, news.mended)))

    def _leads_elsewhere(self, path: str) -> bool:
        """Has a file become a symlink, or is it none any more, or one to another file?"""
        return {place for place, paths in self._places.links.items() if path in paths} != set(way(path))

    def _edits(self, found: Look) -> Look:
        """Without what the go command added to go.work.sum: where all could be listed, no line was missing."""
        own = set()
        for path in found.changed:
            if path in self._sums:
                before, self._sums[path] = self._sums[path], sums(path)
                if self.listing.clean and only_adds(before, self._sums[path]):
                    own.add(path)
        changed = tuple(path for path in found.changed if path not in own)
        return replace(found, changed=changed, shapes=found.shapes - own) if own else found

    def _finding(self, rebuild: Sequence[str], ruled: Mapping[str, Rule], relist: bool) -> Finding:
        first: dict[Rule, tuple[str, ...]] = {}
        called: dict[str, list[str]] = {"rebuild": list(rebuild), "restart": [], "refresh": [], "nothing": []}
        for path, rule in ruled.items():
            if rule.command:
                first[rule] = (*first.get(rule, ()), self._short(path))
            else:
                called[rule.then].append(path)
        verdict: Literal["rebuild", "restart", "refresh"] | None = None
        if called["rebuild"]:
            verdict = "rebuild"
        elif called["restart"]:
            verdict = "restart"
        elif called["refresh"]:
            verdict = "refresh"
        files = [path for name in ("rebuild", "restart", "refresh") for path in called[name]]
        return Finding(verdict, tuple(dict.fromkeys(map(self._short, files))), first, relist)

    async def why(self, path: str) -> Verdict:
        """The verdict on a path, now.

        Raises:
            OSError: the go command cannot be started.
        """
        self.recall(time.time_ns())  # where the go command fails now, what it said last is still in force
        await self._list(time.time_ns)
        return await self.verdict(path)

    async def verdict(self, path: str) -> Verdict:
        """The verdict on a path, by the newest listing."""
        watch = self._settings.watch
        git = await repository(self._root, dict(os.environ), self._capture) if watch.gitignore else None
        ignore = Ignore(self._root, git, watch.ignore, "watch.ignore")
        doubtful = not os.path.lexists(path) and self._places.doubtful(path)
        comes = await self._would_be_built(path) if doubtful else True
        return explain(path, self._root, self.inputs, self.listing, ignore, self._places, comes)

    async def _would_be_built(self, path: str) -> bool:
        """Would a source of this name be in the build, had it no constraint of its own? The go command says."""
        plan = self._plan
        if plan is None:
            return True
        folder = os.path.dirname(path)
        name = next((one.name for one in self.listing.packages.values() if one.folder == folder), "")
        with tempfile.TemporaryDirectory() as scratch:
            text = f"package {name}\n" if path.endswith(".go") else ""
            overlay = _overlay(path, text, scratch, replaced(plan.overlay))
            argv = command(plan.go, [*plan.flags, f"-overlay={overlay}"], [plan.package])
            said = parse(*await unkilled(argv, plan, self._capture), {}, (), plan.cwd)
        return any(path in package.files for package in said.packages.values())

    def _short(self, path: str) -> str:
        short = os.path.relpath(path, self._root)
        return path if short.startswith("..") else short

    def path(self, short: str) -> str:
        """The path of a file as a finding names it."""
        return os.path.join(self._root, short)

    # Finding out what the inputs are.

    def recall(self, since: int) -> bool:
        """Take up what the last run knew, until `list` has asked anew.

        False: it knew nothing, or other files may be in the build by now. Where those are nobody watches yet.
        """
        found = memory.load(self._memory, memory.key(self._plan)) if self._plan and self._memory else None
        if found is None:
            return False
        self.inputs, before = found
        entries = self._snapshot.prime(self.inputs.files, before)
        self._since = since
        written = self._snapshot.adopt(entries)
        self._found += Found(tuple(path for path, at in written.items() if at >= since - COARSE_NS))
        self._settle({})
        plan = self._plan
        named = {os.path.join(plan.cwd, value(plan.flags, name)) for name in ("modfile", "overlay")} if plan else set()
        self._sure = not any(
            _differs(path, entry, before.get(path, ABSENT), named) for path, entry in entries.items()
        ) and not any(
            path not in entries
            and path not in self._places.above
            and self._places.may_come(path)
            and not may_be_test(name)
            for folder in self.folders
            for name in self._snapshot.names(folder)
            for path in (os.path.join(folder, name),)
        )
        return self._sure

    def _settle(self, linked: Mapping[str, tuple[str, ...]]) -> None:
        self._places = Places(self._root, self.inputs, self._rules, self._ignore, linked)
        self.folders = self._places.folders

    async def list(self, since: Callable[[], int]) -> None:
        """Find out anew, and keep it for the next start. Arguments and errors as of `_list`."""
        await self._list(since)
        if self._plan and self._memory and self.listing.clean:
            known = {path: entry for path, entry in self._snapshot.entries.items() if path in self.inputs.files}
            await asyncio.to_thread(memory.save, self._memory, memory.key(self._plan), self.inputs, known)

    async def _list(self, since: Callable[[], int]) -> None:
        """Find out anew. What the go command said last stays in force beside the new until it finds nothing wrong.

        Args:
            since: when the newest build began, in ns; an input written after that may be news to it.

        Raises:
            OSError: the go command cannot be started, is killed again and again, or does not answer.
        """
        began, self._since = self._since or time.time_ns(), 0
        folders, were = self.folders, self.inputs
        noted, self._noted = self._noted, Noted()
        try:
            listing, inputs = await self._listed()
        except OSError:
            self._noted, self._since = noted | self._noted, began
            self._settle(self._places.links)  # what is missing may come back in a folder that is not watched yet
            raise
        headers, missing, readers = await asyncio.to_thread(unseen, listing)
        strange = frozenset[str]().union(*headers.values())
        # The first build cannot know of them, and what the go command has cached may be stale already.
        news = strange - frozenset().union(*self.headers.values())
        read, scanned, rules = await self._scanned()
        if self._plan:
            read |= {os.path.join(self._root, name): ENV for name in self._settings.env_files}
        beside = strange | missing
        taken = {path for path in inputs.build | inputs.left_out | beside if self._ignore.by_setting(path)}
        inputs = Inputs(
            (inputs.build | beside) - taken,
            inputs.left_out - taken,
            {path: rule for path, of in read.items() if (rule := counts(of, path in inputs.build))},
            rules,
            inputs.packages,
            inputs.embeds,
            listing.wanted,
            scanned,
        )
        entries = await asyncio.to_thread(self._snapshot.prime, inputs.files)
        linked = await asyncio.to_thread(links, inputs.files)
        # Who was an input and comes back is new then: what is built from then on has read it.
        self._snapshot.forget(were.files - inputs.files)
        self.listing, self.headers, self._readers = listing, headers, readers
        self._sure = listing.clean and not taken and not strange
        self.inputs = inputs
        self._settle(linked)
        written = self._snapshot.adopt(entries)
        workspaces = {path for path in listing.extra if path.endswith(".sum") and path[: -len(".sum")] in listing.extra}
        fresh = (workspaces & inputs.build) - self._sums.keys()
        self._sums |= {path: sums(path) for path in fresh}
        none = inputs.rules | fresh if listing.clean else inputs.rules  # the listing itself may have written it
        written = {path: at for path, at in written.items() if path not in none}
        # A folder that came while the listing ran may have been read by it already.
        found = sift(inputs, listing.clean, written, noted | Noted(self._noted.came), began, since())
        never = listing.extra | missing | (replaced(self._plan.overlay).keys() if self._plan else set())
        named = inputs.files - never - {path for path, rule in inputs.read.items() if rule == ENV}
        absent = [path for path, entry in entries.items() if entry.stamp is None and path in named]
        self._found += found + Found((*news, *self._unlisted(folders, were), *gone(absent, min(began, since()))))

    async def _listed(self) -> tuple[Listing, Inputs]:
        plan, before = self._plan, self.inputs
        if plan is None:
            return Listing(), Inputs()
        listing = await ask(plan, self._capture)
        packages = listing.packages.values()
        build = listing.extra.union(*(package.files for package in packages))
        left_out = frozenset[str]().union(*(package.left_out | package.tests for package in packages))
        folders = frozenset(package.folder for package in packages if package.folder)
        embedding = tuple((package.folder, package.embeds) for package in packages if package.embeds)
        if not listing.clean:
            build, folders = build | before.build, folders | before.packages
            left_out = (left_out | before.left_out) - build
            embedding = tuple(dict.fromkeys(embedding + before.embeds))
        return listing, Inputs(build, left_out, packages=folders, embeds=embedding)

    async def _scanned(self) -> tuple[dict[str, Rule], frozenset[str], frozenset[str]]:
        """The files that rules select, the folders looked into, and the ignore files that decided."""
        if not self._rules:
            return {}, frozenset(), frozenset()
        watch = self._settings.watch
        git = await repository(self._root, dict(os.environ), self._capture) if watch.gitignore else None
        ignore = Ignore(self._root, git, watch.ignore, "watch.ignore")

        def scan() -> tuple[dict[str, Rule], frozenset[str]]:
            walked = dict(ignore.walk())
            files = {file: rule for found in walked.values() for file in found if (rule := self._places.rule(file))}
            return files, frozenset(walked)

        files, folders = await asyncio.to_thread(scan)
        self._ignore = ignore
        return files, folders, ignore.files

    def _unlisted(self, folders: frozenset[str], were: Inputs) -> Iterator[str]:
        """What came while the listing ran into places that mattered to nobody, and the listing does not know.

        At the start only sources count, and what rules select: all else that is there was there before, and is known
        or of no use. An input that is there and was not while its folder was listed came back.
        """
        inputs = self.inputs
        fresh = inputs.places - were.places | (self.folders - folders if folders else frozenset())
        known = inputs.files | upwards(self.folders)
        named = (
            os.path.join(folder, name)
            for folder in fresh
            for name in self._snapshot.names(folder)
            if folders or folder in inputs.scanned or may_be_source(name)
        )
        came = (path for path in named if path not in known and self._places.may_come(path))
        back = (path for path in were.files - inputs.files if os.path.lexists(path) and self._places.may_come(path))
        return chain(came, back)


def _overlay(path: str, text: str, scratch: str, more: Mapping[str, str]) -> str:
    """Write an overlay in which a file is there, and more; returns its path."""
    source, overlay = os.path.join(scratch, "source"), os.path.join(scratch, "overlay.json")
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    with open(overlay, "w", encoding="utf-8") as file:
        json.dump({"Replace": {**more, path: source}}, file)
    return overlay


def _is_foreign(path: str) -> bool:
    """Is it a source in another language than Go?"""
    return not path.endswith(".go") and may_be_source(os.path.basename(path))


def _differs(path: str, now: Entry, before: Entry, named: Iterable[str]) -> bool:
    """May a file that is another now put other files into the build?

    Args:
        named: those of which the flags say that they decide.
    """
    if may_be_test(os.path.basename(path)):
        return False
    if path.endswith(".go"):
        return now.shape != before.shape
    if _is_foreign(path):
        return now.digest != before.digest
    decides = os.path.basename(path) in ("go.mod", "go.work", "modules.txt") or path in named
    return decides and now.digest != before.digest
