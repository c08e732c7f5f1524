"""What a service makes of its sources, by which command, and how its app is started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from goreload_tasks.build.builder import Job, Result
from goreload_tasks.build.command import LEAN, Plan
from goreload_tasks.build.diagnostics import hindrance
from goreload_tasks.build.toolchain import Target
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs import memory
from goreload_tasks.inputs.headers import overlay
from goreload_tasks.kept import Last, Learned
from goreload_tasks.settings import Settings
from goreload_tasks.store import Store

if TYPE_CHECKING:
    from goreload_tasks.build.direct import Direct, DirectJob


class Build(Protocol):
    """A build that can be ended."""

    async def run(self) -> Result: ...

    def cancel(self) -> None: ...

    def kill(self) -> None: ...


class Unchanged:
    """The build of what an earlier run has built: there is nothing to do."""

    async def run(self) -> Result:
        detail = "nothing has changed since it was built"
        return Result(0, "", 0.0, began=time.monotonic(), detail=detail, unchanged=True)

    def cancel(self) -> None:
        """It has ended."""

    def kill(self) -> None:
        """It has ended."""


class Begun:
    """A build that runs already."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._running = asyncio.ensure_future(build.run())

    async def run(self) -> Result:
        return await self._running

    def cancel(self) -> None:
        self._build.cancel()

    def kill(self) -> None:
        self._build.kill()

    def end(self) -> Awaitable[object]:
        """End it for good, also where it still waits for its turn; done when nothing of it is left."""
        self._build.kill()
        self._running.cancel()
        return asyncio.gather(self._running, return_exceptions=True)


class Work(Protocol):
    """What a generation is made into, and by which command."""

    @property
    def whole(self) -> bool:
        """Are the places that a build needs there?"""
        ...

    def renew(self) -> None:
        """Make them anew.

        Raises:
            TakenError: another process runs the service meanwhile.
            GoreloadError: they cannot be made.
        """
        ...

    def job(self, generation: int) -> Build: ...

    def binary(self, generation: int) -> str | None: ...

    def twin(self, generation: int) -> str | None:
        """Where the same program is as builds with other flags make it from now on, if it was made."""
        ...

    def hindered(self, result: Result) -> Literal["killed", "full"] | None:
        """Why a failure says nothing about the sources."""
        ...

    def room(self) -> int:
        """Bytes that are free where the least are."""
        ...

    def sweep(self) -> None:
        """Remove what a build that was killed left behind."""
        ...

    def forget(self, running: set[int]) -> None:
        """Remove old binaries, but for those of generations that run."""
        ...


def tidy(scratch: str) -> dict[str, str]:
    """Variables by which the go command, and C compilers that it runs, leave there what is left when they are killed.

    GOTMPDIR is for the go command's own work; cgo and C compilers know TMPDIR alone.
    """
    return {"GOTMPDIR": scratch, "TMPDIR": scratch}


class GoWork:
    """`go build`, or the same done directly; one file per generation.

    Args:
        scratch: GOTMPDIR.
        headers: those that the go command does not watch.
        fingerprint: of all that a build reads; empty: it is not known.
        learned: what is known of building this service.
        direct: as `build.direct` says.
        turn: what a build waits for.
    """

    def __init__(
        self,
        plan: Plan,
        target: Target,
        store: Store,
        scratch: str,
        headers: Callable[[], Mapping[str, frozenset[str]]],
        fingerprint: Callable[[], str],
        learned: Learned,
        direct: Literal["auto", "exact", "off"] = "off",
        turn: contextlib.AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        self.target = target
        self.store = store
        self.scratch = scratch
        self.learned = learned
        self.made = 0
        """The generation of the newest build."""
        self.newest: DirectJob | None = None
        """That build, if it was to be direct, until it is proved."""
        self.unchanged = False
        """That build was an earlier run's, and is not proved."""
        self.last = Last(store.last)
        self._made_by = plan
        self._begun: Begun | None = None
        self._plan = plan
        self._headers = headers
        self._fingerprint = fingerprint
        self._mode = direct
        self._turn = turn
        self._direct: tuple[Plan, Direct] | None = None

    @property
    def plan(self) -> Plan:
        """How it is built now."""
        more = (LEAN,) if self.learned.lean else ()
        return replace(self._plan, flags=(*self._plan.flags, *more))

    @property
    def env(self) -> dict[str, str]:
        """The variables of a build."""
        return {**self._plan.env, **tidy(self.scratch)}

    def direct(self) -> Direct | None:
        """What builds directly in the way that it is built now; None: that is not wanted, or cannot be."""
        if self._mode == "off" or not self._plan.fast or self._overlay():
            return None
        if self._direct is None or self._direct[0] != self.plan:
            from goreload_tasks.build.direct import Direct  # at rest: the first build starts without it

            # What is killed at rest leaves its work where we remove it.
            plan = replace(self.plan, env=self.env)
            self._direct = self.plan, Direct(plan, self.store.direct, self._mode, self._turn)
        return self._direct[1]

    @property
    def whole(self) -> bool:
        return self.store.whole

    def renew(self) -> None:
        """Make them anew; not in a project that is being removed with them, which could not be emptied then.

        Raises:
            TakenError, GoreloadError: see `Work`; or there is nothing left to build.
        """
        if not _has_source(self.target.folder):
            raise GoreloadError(f"no Go file is left in {self.target.folder}: nothing is built until one is back")
        self.store.renew()

    @property
    def about(self) -> str:
        """A name for all that a binary is made of now; empty: not all of that is known."""
        fingerprint = self._fingerprint()
        return f"{memory.key(self.plan)} {fingerprint}" if fingerprint else ""

    @property
    def as_built_now(self) -> str:
        """The newest program, if it was made as builds make it from now on; else empty."""
        twin = self.twin(self.made)
        if os.path.exists(twin):
            return twin
        return self.binary(self.made) if self._made_by == self.plan else ""

    async def begin(self) -> None:
        """Start the first build; `job` then hands it over. Where it cannot be started, `job` says why."""
        with contextlib.suppress(OSError, GoreloadError):
            self._begun = Begun(self.job(1))
            await asyncio.sleep(0)  # until it is spawned

    async def close(self) -> None:
        """End a first build that nobody asked for."""
        if begun := self._begun:
            await begun.end()

    def job(self, generation: int) -> Build:
        begun, self._begun = self._begun, None
        if begun and generation == 1:
            return begun
        if begun:
            begun.end()
        first, self.made, self.newest = not self.made, generation, None
        self._made_by = self.plan
        self.unchanged = first and self._take(generation)
        return Unchanged() if self.unchanged else self._job(generation)

    def _take(self, generation: int) -> bool:
        """Need the first build not be, since the last run has left just this one?"""
        if self._mode == "off" or not self._plan.fast or not (about := self.about):
            return False
        self.store.prepare(os.path.dirname(self.binary(generation)))
        return self.last.take(about, self.binary(generation))

    def _job(self, generation: int) -> Job | DirectJob:
        overlaid, out = self._overlay(), self.binary(generation)
        argv = self.plan.build(out, *([f"-overlay={overlaid}"] if overlaid else []))
        known = self._direct and self._direct[0] == self.plan
        why = "an overlay" if overlaid else self._direct[1].reason if self._direct and known else "not known yet"
        said = f"go build: {why}" if why and self._mode != "off" and self._plan.fast else ""
        job = Job(argv, self._plan.cwd, self.env, turn=self._turn, detail=said)
        if self._direct is None or why:
            return job
        self.newest = self._direct[1].job(out, job)
        return self.newest

    @property
    def overlaid(self) -> bool:
        """Does a build need an overlay of ours?"""
        return bool(self._headers())

    def _overlay(self) -> str | None:
        return overlay(self._headers(), self.scratch, self._plan.overlay)

    def binary(self, generation: int) -> str:
        return self.store.binary(generation, self.target.name)

    def twin(self, generation: int) -> str:
        return f"{self.binary(generation)}.twin"

    def forget(self, running: set[int]) -> None:
        self.store.forget(running)

    def sweep(self) -> None:
        self.store.sweep()

    def hindered(self, result: Result) -> Literal["killed", "full"] | None:
        return hindrance(result.code, result.text)

    def room(self) -> int:
        env = self._plan.env
        cache = env.get("GOCACHE") or env.get("XDG_CACHE_HOME") or env.get("HOME") or self.store.home
        return min(map(_free, (self.store.home, cache)))


@dataclass(frozen=True, slots=True)
class Command:
    """Any command: `watch --run` and `watch --task`. Its output goes straight to the person."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    show: Callable[[bytes], None]

    @property
    def whole(self) -> bool:
        return True

    def renew(self) -> None:
        """It needs none."""

    def job(self, generation: int) -> Job:
        del generation
        return Job(self.argv, self.cwd, self.env, self.show)

    def binary(self, generation: int) -> None:
        del generation

    def twin(self, generation: int) -> None:
        del generation

    def sweep(self) -> None:
        """Nothing is known of what it makes."""

    def forget(self, running: set[int]) -> None:
        """Nothing is kept."""

    def hindered(self, result: Result) -> None:
        """What became of a command is the person's to judge."""

    def room(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class App:
    """How the app of a service is started and stopped.

    variables: read anew at each start. proxied: people ask a port of ours, and each launch has one of its own.
    inherits: each launch finds a socket that listens as descriptor 3.
    """

    cwd: str
    args: tuple[str, ...]
    settings: Settings
    variables: Callable[[], Mapping[str, str]]
    proxied: bool = False
    inherits: bool = False

    def env(self, port: int | None) -> dict[str, str]:
        """Its variables now; a launch behind the proxy has a PORT of its own."""
        return {**self.variables(), **({} if port is None else {"PORT": str(port)})}


def _has_source(folder: str) -> bool:
    try:
        return any(name.endswith(".go") for name in os.listdir(folder))
    except OSError:
        return False


def _free(path: str) -> int:
    """Bytes that are free for us at a path, or above it if it is not there."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free
