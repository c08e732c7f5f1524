"""Compile what changed, and of its importers those that could notice, on all cores; then link."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from goreload_tasks.build.builder import Job, Result
from goreload_tasks.build.diagnostics import hindrance
from goreload_tasks.build.direct import archive
from goreload_tasks.build.direct.ground import WORTH, DeclinedError, Ground, Lag, Sight, complaint, shorter, touched
from goreload_tasks.build.direct.positions import OBJECT, Proof, head, lines, prepare, prove, write
from goreload_tasks.errors import GoreloadError

CORES = os.cpu_count() or 1

_PLACED = re.compile(r"\S.*?:\d+(?::\d+)?: ")
_INTERNAL = ("internal compiler error", "could not import", "\ngoroutine ")
"""What a compiler says of itself or of what we gave it to read, not of the sources."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A compiled package: what is linked, and what its importers read. They are one but in positions mode."""

    link: str
    iface: str
    proof: Proof | None = None
    lags: tuple[Lag, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """What is built: what was on disk, and the archives made of that."""

    sight: Sight
    archives: Mapping[str, Archive]

    @property
    def lags(self) -> tuple[Lag, ...]:
        return tuple(lag for one in self.archives.values() for lag in one.lags)


class StoppedError(Exception):
    """Somebody wants no result any more."""


class Crew:
    """The commands of one build, which can be ended together."""

    def __init__(self) -> None:
        self.stopped = False
        self._jobs: set[Job] = set()

    async def run(self, argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> Result:
        """Run one to its end.

        Raises:
            DeclinedError: it cannot be started.
            StoppedError: they were ended.
        """
        if self.stopped:
            raise StoppedError
        job = Job(argv, cwd, env)
        self._jobs.add(job)
        try:
            result = await job.run()
        except GoreloadError as error:
            raise DeclinedError(str(error)) from None
        finally:
            self._jobs.discard(job)
        if self.stopped:
            raise StoppedError
        return result

    def cancel(self) -> None:
        self.stopped = True
        for job in self._jobs:
            job.cancel()

    def kill(self) -> None:
        self.stopped = True
        for job in self._jobs:
            job.kill()


Settled = Literal["same", "other", "failed"]
"""What a package is to its importers when all is done for it."""


class Making:
    """One build of a program of which some packages changed.

    Args:
        changed: the packages whose own files are others than in `base`.
        archives: the folder where archives stay. work: a folder that is this build's alone.
        positions: may importers stay when only positions moved?
    """

    def __init__(
        self,
        ground: Ground,
        base: Base,
        changed: frozenset[str],
        archives: str,
        work: str,
        crew: Crew,
        *,
        positions: bool = False,
        nice: int = 0,
    ) -> None:
        self.compiled: list[str] = []
        self.kept: list[str] = []
        self._ground = ground
        self._changed = changed
        self._folder = archives
        self._work = work
        self._crew = crew
        self._positions = positions
        self._first = ["nice", "-n", str(nice)] if nice else []
        self._archives = dict(base.archives)
        self._texts: dict[str, str] = {}
        self._cores = asyncio.Semaphore(CORES)
        self._tasks: dict[str, asyncio.Task[Settled]] = {}

    async def compile(self) -> tuple[Mapping[str, Archive], str]:
        """The archives of all packages, and what the compiler complained of, as `go build` shows it.

        Raises:
            DeclinedError: something that is no error of the sources.
            StoppedError: the crew was ended.
        """
        paths = touched(self._ground, self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                for path in paths:  # what a package imports stands before it
                    self._tasks[path] = group.create_task(self._settle(path))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return self._archives, "".join(self._texts[path] for path in paths if path in self._texts)

    async def _settle(self, path: str) -> Settled:
        imported = self._ground.compiles[path].imports
        settled = await asyncio.gather(*(self._tasks[one] for one in imported if one in self._tasks))
        if "failed" in settled:
            return "failed"
        moved = "other" in settled
        if not moved and path not in self._changed:
            return "same"
        async with self._cores:
            return await self._compile(path, may_stay=self._positions and not moved)

    async def _compile(self, path: str, *, may_stay: bool) -> Settled:
        recipe = self._ground.compiles[path]
        if recipe.unfit:
            raise DeclinedError(f"{path}: {recipe.unfit}")
        before = self._archives[path]
        here = os.path.join(self._work, str(len(self.compiled)))
        self.compiled.append(path)
        known = {name: self._archives[name].iface for name in recipe.imports}
        proving = None
        if may_stay and before.proof and self._ground.saving(path, CORES) >= WORTH:
            proving = asyncio.create_task(prove(recipe, known, f"{here}-proof", self._first, self._env, self._crew.run))
        try:
            result = await self._crew.run(*prepare(recipe, known, here, self._first, self._env))
            if result.code or result.text:
                self._texts[path] = self._complaint(path, result)
                return "failed"
            made = _place(f"{here}/{OBJECT}", self._folder)
            try:
                section, old = head(made), head(before.iface)
                if section == old:
                    proof = before.proof and Proof(before.proof.digest, lines(recipe))
                    self._archives[path] = Archive(made, made, proof)
                    return "same"
                proof = await proving if proving else None
                if proof and before.proof and proof.digest == before.proof.digest:
                    _rewrite(made, lambda content: archive.posing(content, old))
                    self.kept.append(path)
                    self._archives[path] = Archive(made, before.iface, before.proof, self._lags(before.proof, proof))
                    return "same"
            except archive.FormError as error:
                raise DeclinedError(f"{path}: {error}") from None
            self._archives[path] = Archive(made, made, proof)
            return "other"
        except OSError as error:
            raise DeclinedError(f"{error.filename}: {error.strerror}") from None
        finally:
            if proving:
                proving.cancel()
                await asyncio.gather(proving, return_exceptions=True)

    @property
    def _env(self) -> Mapping[str, str]:
        return {**self._ground.env, "TMPDIR": self._work}

    def _lags(self, old: Proof, new: Proof) -> tuple[Lag, ...]:
        return tuple(
            Lag(self._ground.short(file), count - old.files[file][1])
            for file, (digest, count) in new.files.items()
            if file in old.files and digest != old.files[file][0]
        )

    def _complaint(self, path: str, result: Result) -> str:
        """A compiler's complaint of the sources.

        Raises:
            DeclinedError: it is about something else.
        """
        text = result.text
        first = text.partition("\n")[0]
        if hindrance(result.code, text) or any(word in text for word in _INTERNAL):
            raise DeclinedError(f"{path}: the compiler failed: {first}")
        if result.code != 2 or not _PLACED.match(first):
            raise DeclinedError(f"{path}: the compiler ended with exit code {result.code}: {first}")
        folder = self._ground.folders.get(path)
        if folder is None:
            raise DeclinedError(f"{path}: it no longer compiles: {first}")
        return complaint(path, folder, text, shorter(folder, self._ground.cwd))

    async def link(self, archives: Mapping[str, Archive]) -> str:
        """Link the program; returns the path of the binary in the work folder.

        Raises:
            DeclinedError: the linker has something to say, or an archive is not there.
            StoppedError: the crew was ended.
        """
        link = self._ground.link
        objects = {path: archives[path].link for path in link.archives}
        here = os.path.join(self._work, "link")
        try:
            for path in objects.values():
                os.stat(path)
            os.makedirs(os.path.join(here, "exe"))
            write(os.path.join(here, "importcfg.link"), link.config(objects))
        except OSError as error:
            raise DeclinedError(f"{error.filename}: {error.strerror}") from None
        argv = [*self._first, *link.words(here, objects[link.main])]
        result = await self._crew.run(argv, self._ground.cwd, {**self._env, **link.env})
        if result.code or result.text:
            said = result.text.partition("\n")[0] or f"exit code {result.code}"
            raise DeclinedError(f"the linker says: {said}")
        return os.path.join(here, "exe", "a.out")


def _place(path: str, folder: str) -> str:
    """Move an archive to where it stays, under a name that no other ever had."""
    place = os.path.join(folder, f"{next(_NUMBERS)}.a")
    os.rename(path, place)
    return place


_NUMBERS = itertools.count()


def _rewrite(path: str, change: Callable[[bytes], bytes]) -> None:
    with open(path, "rb") as file:
        content = change(file.read())
    with open(f"{path}.new", "wb") as file:
        file.write(content)
    os.rename(f"{path}.new", path)
