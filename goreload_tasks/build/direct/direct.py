"""Building without the go command: its own compile and link, of what changed alone.

direct = Direct(plan, folder)
await direct.prime()                           # at rest, after a `go build`
job = direct.job(out, otherwise)               # in place of the Job of a `go build`, which is `otherwise`
result = await job.run()                       # job.built or job.declined says how it went
verified = await direct.verify(out)            # at rest, after a build of ours
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from goreload_tasks.build.builder import Job, Result, same_file
from goreload_tasks.build.command import Plan
from goreload_tasks.build.diagnostics import hindrance
from goreload_tasks.build.direct import archive, bundle
from goreload_tasks.build.direct.ground import DeclinedError, Sight, changed, still
from goreload_tasks.build.direct.job import Built, DirectJob
from goreload_tasks.build.direct.learn import TRIES, Learned, learn
from goreload_tasks.build.direct.make import CORES, Archive, Base, Crew, Making
from goreload_tasks.build.direct.positions import Proof, candidates, head, lines, probe, prove

T = TypeVar("T")

Mode = Literal["auto", "exact"]

QUIET = 19
"""The priority of what is done at rest (nice(1))."""


TRAIL = 50
"""Builds that a report of a difference tells of, the newest."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the real build said of the binary that we made.

    outcome: equal, byte for byte; expected: lines lag in ours, as was said; different; discarded: it was interrupted,
    or the files changed meanwhile. binary: the real one, when it is to be run instead. bundle: for a bug report.
    """

    outcome: Literal["equal", "expected", "different", "discarded"]
    binary: str = ""
    bundle: str = ""


class Direct:
    """Builds one program directly, once it knows it. It never trusts what somebody says has changed.

    Args:
        folder: ours alone; what an earlier run left there is removed.
        mode: exact: each binary is byte for byte that of `go build`. auto: where it saves more than a second, line
            numbers of functions that are inlined into other packages may lag behind.
        turn: what a build waits for.
    """

    def __init__(
        self,
        plan: Plan,
        folder: str,
        mode: Mode = "auto",
        turn: contextlib.AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        self.reason = "the program is not known yet"
        self.verified = 0
        self.different = 0
        self._plan = plan
        self._folder = folder
        self._mode = mode
        self._turn = turn or contextlib.nullcontext()
        self._learned: Learned | None = None
        self._base: Base | None = None
        self._out = ""  # where the binary of that is, when it is one of ours
        self._blind: bool | None = None  # for lines, as the proof needs it: does the toolchain pass the probe?
        self._trail = deque[str](maxlen=TRAIL)
        self._off = False
        self._fresh = True
        self._one = asyncio.Lock()
        self._resting: asyncio.Task[Any] | None = None

    @property
    def known(self) -> bool:
        """Is all that the program is made of known? What a C compiler finds by its own paths is not."""
        return not self.reason and not (
            self._learned and any(one.cgo for one in self._learned.ground.compiles.values())
        )

    # What is done at rest, and gives way to a build.

    async def prime(self) -> None:
        """Learn the program as it is now, after a `go build` of it; then what positions mode needs.

        An unfit program is no error: `reason` says why, and each build is declined.
        """
        await self._at_rest(self._prime())

    async def verify(self, out: str) -> Verified:
        """Have `go build` make the newest program and compare it with what we made of it; then prime.

        A difference turns direct building off for good.

        Args:
            out: what the last build of ours made. Another, and it is discarded.
        """
        return await self._at_rest(self._verify(out)) or Verified("discarded")

    async def _at_rest(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something that a build interrupts; None: one did."""
        await self._interrupt()
        task = self._resting = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await self._interrupt()
            raise
        return None if task.cancelled() else task.result()

    async def _interrupt(self) -> None:
        if self._resting and not self._resting.done():
            self._resting.cancel()
            await asyncio.wait({self._resting})

    async def _prime(self) -> None:
        async with self._one:
            if self._off:
                return
            try:
                self._make_places()
                absent = os.path.join(self._folder, "absent")
                learned = await learn(replace(self._plan, nice=QUIET), absent, self._learned)
                proofs = await asyncio.to_thread(self._proofs, learned)
            except DeclinedError as why:
                self._unready(str(why))
                return
            except OSError as error:
                self._unready(f"{error.filename}: {error.strerror}")
                return
            kept = {
                path: Archive(place, place, proofs.get(path)) for path, place in learned.ground.link.archives.items()
            }
            self._learned, self._base, self.reason = learned, Base(learned.sight, kept), ""
            self._out = ""
            self._trail.clear()
            self._sweep()
            if self._mode == "auto":
                with contextlib.suppress(DeclinedError, OSError):
                    await self._prove(learned)

    def _unready(self, why: str) -> None:
        """What is known of an earlier state stays in force."""
        if self._base is None:
            self.reason = why

    def _proofs(self, learned: Learned) -> dict[str, Proof]:
        """The proofs that are good still: those of packages whose export data is the same."""
        found: dict[str, Proof] = {}
        before = self._base.archives if self._base else {}
        for path, place in learned.ground.link.archives.items():
            one = before.get(path)
            if one and one.proof and path in learned.ground.compiles:
                with contextlib.suppress(archive.FormError, OSError):
                    if head(one.iface) == head(place):
                        found[path] = Proof(one.proof.digest, lines(learned.ground.compiles[path]))
        return found

    async def _prove(self, learned: Learned) -> None:
        """Get the proof of each package where one may save enough."""
        ground = learned.ground
        assert self._base
        proven = (path for path, one in self._base.archives.items() if one.proof)
        for number, path in enumerate(candidates(ground, proven, CORES)):
            with self._workplace() as work:
                env = {**ground.env, "TMPDIR": work}
                if self._blind is None:
                    self._blind = await probe(ground.compiles[path].argv[0], f"{work}/probe", env, _quietly)
                if not self._blind:
                    return
                known = {one: kept.iface for one, kept in self._base.archives.items()}
                first = ["nice", "-n", str(QUIET)]
                proof = await prove(ground.compiles[path], known, f"{work}/{number}", first, env, _quietly)
            if not still(ground, self._base.sight, learned.disk.see()):
                return
            if proof:
                one = replace(self._base.archives[path], proof=proof)
                self._base = Base(self._base.sight, {**self._base.archives, path: one})

    async def _verify(self, out: str) -> Verified:
        verified = await self._compare(out)
        self.verified += verified.outcome == "equal"
        self.different += verified.outcome == "different"
        if verified.outcome in ("equal", "expected"):
            await self._prime()
        return verified

    async def _compare(self, out: str) -> Verified:
        async with self._one:
            learned, base = self._learned, self._base
            if learned is None or base is None or out != self._out:
                return Verified("discarded")
            if not still(learned.ground, base.sight, learned.disk.see()):
                return Verified("discarded")
            with self._workplace() as work:
                real = os.path.join(work, "real")
                quiet = replace(self._plan, nice=QUIET)
                env = {**quiet.env, "GOTMPDIR": work}
                result = await Job(quiet.build(real, "-p=1"), quiet.cwd, env).run()
                same = still(learned.ground, base.sight, learned.disk.see())
                if hindrance(result.code, result.text) or not same or not os.path.isfile(out):
                    return Verified("discarded")
                if not result.code and await asyncio.to_thread(same_file, real, out):
                    return Verified("equal")
                if not result.code and base.lags:
                    return Verified("expected")
                return self._differs(learned, result, real, out)

    def _differs(self, learned: Learned, result: Result, real: str, out: str) -> Verified:
        """We were wrong: never again in this run."""
        self._off, self._base = True, None
        self.reason = "a binary of ours was not that of `go build`"
        kept = os.path.join(self._folder, "verified")
        # Beside what is discarded with the session: it is for a report.
        told = os.path.join(os.path.dirname(self._folder), f"difference-{int(time.time())}.txt")
        try:
            with open(told, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(bundle.text(self._plan, learned.ground, self._trail, result, real, out))
            if result.code:
                return Verified("different", "", told)
            os.replace(real, kept)
        except OSError:  # the disk is full: what matters is that it is known
            return Verified("different")
        return Verified("different", kept, told)

    # A build.

    def job(self, out: str, otherwise: Job) -> DirectJob:
        """A build into `out`; `otherwise` is run instead when this is not one for us."""
        return DirectJob(self.build, out, otherwise, self._turn)

    async def build(self, out: str, crew: Crew) -> tuple[str, Built]:
        """Build; returns the compiler's complaint, empty when there is a new binary, and how it went.

        Raises:
            DeclinedError: this is one for `go build`.
            StoppedError: the crew was ended.
        """
        await self._interrupt()
        async with self._one:
            learned, base = self._learned, self._base
            if learned is None or base is None:
                raise DeclinedError(self.reason)
            try:
                for _ in range(TRIES):
                    sight = learned.disk.see()
                    with self._workplace() as work:
                        if built := await self._build(learned, base, sight, work, out, crew):
                            return built
            except OSError as error:
                raise DeclinedError(f"{error.filename}: {error.strerror}") from None
            finally:
                self._sweep()
        raise DeclinedError("the files are being written")

    async def _build(
        self, learned: Learned, base: Base, sight: Sight, work: str, out: str, crew: Crew
    ) -> tuple[str, Built] | None:
        """One try; None: a file that was compiled was written meanwhile."""
        ground = learned.ground
        packages = changed(ground, base.sight, sight)
        places = os.path.join(self._folder, "archives"), work
        auto = self._mode == "auto" and bool(self._blind)
        making = Making(ground, base, packages, *places, crew, positions=auto, nice=self._plan.nice)
        archives, text = await making.compile()
        binary = "" if text else await making.link(archives)
        now = learned.disk.see()
        if now.tools != sight.tools:
            raise DeclinedError("the toolchain changed")
        compiled = frozenset(making.compiled)
        if any(now.files[file] != sight.files[file] for file, owners in ground.owners.items() if owners & compiled):
            return None
        new = Base(sight, archives)
        built = Built(tuple(making.compiled), tuple(making.kept), new.lags)
        if not text:
            os.makedirs(os.path.dirname(out), exist_ok=True)
            os.replace(binary, out)
            self._base, self._out = new, out
            names = [file for file in sight.files if sight.files[file] != base.sight.files[file]]
            self._trail.append(f"changed {names}, compiled {making.compiled}, kept {making.kept}")
        return text, built

    # The folder.

    def _make_places(self) -> None:
        """Make what is needed below our folder, empty when this run begins.

        Raises:
            DeclinedError: a link stands in its place. OSError: it cannot be made.
        """
        places = [self._folder, *(os.path.join(self._folder, name) for name in ("archives", "work"))]
        for place in places:
            if os.path.islink(place):
                raise DeclinedError(f"{place} is a link, and nothing behind it is ours")
            if self._fresh and place != self._folder:
                shutil.rmtree(place, ignore_errors=True)
            os.makedirs(place, 0o700, exist_ok=True)
        self._fresh = False

    @contextlib.contextmanager
    def _workplace(self) -> Iterator[str]:
        """A folder that is gone afterwards, with what a killed command left in it."""
        place = tempfile.mkdtemp(dir=os.path.join(self._folder, "work"))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove the archives that nothing is linked from any more."""
        archives = self._base.archives.values() if self._base else ()
        used = {path for one in archives for path in (one.link, one.iface)}
        place = os.path.join(self._folder, "archives")
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if (path := os.path.join(place, name)) not in used:
                    os.unlink(path)


async def _quietly(argv: Any, cwd: str, env: Mapping[str, str]) -> Result:
    return await Job(argv, cwd, env).run()
