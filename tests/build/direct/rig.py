"""A program, direct building of it, and the go command beside it as the judge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from goreload_tasks.build.builder import Job, Result, same_file
from goreload_tasks.build.command import FAST_LDFLAGS, Plan
from goreload_tasks.build.direct import Built, Direct
from goreload_tasks.build.direct.direct import Mode
from goreload_tasks.build.direct.ground import Ground
from tests.build.direct.program import MAIN, Program

FLAGS = ("-buildvcs=false", "-tags=dev", f"-ldflags={FAST_LDFLAGS}")


@dataclass
class Step:
    """What became of one build of ours, and what the go command said of the same tree."""

    result: Result
    built: Built | None
    declined: str
    real: Result
    equal: bool


def find_go() -> str:
    found = shutil.which("go")
    assert found
    return os.path.realpath(found)


@dataclass
class Rig:
    """A tree with its plan.

    counts: what became of the builds. folder: where direct building keeps its archives.
    """

    cwd: Path
    folder: Path
    package: str = MAIN
    flags: Sequence[str] = FLAGS
    env: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "exact"
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.plan = Plan(find_go(), str(self.cwd), self.package, tuple(self.flags), (), {**os.environ, **self.env})
        self.out = str(self.folder / "ours")
        self.real_out = str(self.folder / "real")
        self.direct = Direct(self.plan, str(self.folder / "direct"), self.mode)

    def job(self, argv: Sequence[str]) -> Job:
        return Job(argv, self.plan.cwd, self.plan.env)

    async def real(self) -> Result:
        """What the go command makes of the tree."""
        return await self.job(self.plan.build(self.real_out)).run()

    async def begin(self) -> None:
        """Build once, and learn; direct building must be ready then."""
        result = await self.real()
        assert not result.code, result.text
        await self.direct.prime()
        assert not self.direct.reason, self.direct.reason

    async def step(self) -> Step:
        """One build of ours, then the judge."""
        job = self.direct.job(self.out, self.job(self.plan.build(self.out)))
        result = await job.run()
        real = await self.real()
        equal = not result.code and not real.code and same_file(self.out, self.real_out)
        if job.declined:
            self.counts[f"declined: {job.declined}"] += 1
        else:
            self.counts["built" if not result.code else "refused"] += 1
        return Step(result, job.built, job.declined, real, equal)

    def outputs(self, path: str) -> tuple[str, dict[str, int]]:
        """What a program prints, and for each package on which line of it a function is that is inlined into main."""
        said = subprocess.run([path], check=True, capture_output=True, text=True, timeout=60)
        return said.stdout, {name: int(line) for name, line in map(str.split, said.stderr.splitlines())}

    def lagging(self) -> dict[str, int]:
        """The packages of which a line is another in our binary than in the go command's, and by how much."""
        ours, real = self.outputs(self.out)[1], self.outputs(self.real_out)[1]
        return {name: real[name] - ours[name] for name in real if real[name] != ours[name]}


def always(ground: Ground, path: str, cores: int) -> float:
    """In place of Ground.saving: positions mode is used where it saves next to nothing too, as in a small program."""
    return 1e9 * cores * len(ground.importers.get(path, ()))


def small(
    root: Path,
    files: Mapping[str, str],
    *,
    flags: Sequence[str] = FLAGS,
    env: Mapping[str, str] | None = None,
    mode: Mode = "exact",
) -> Rig:
    """A tree of just these files, with its rig."""
    put(root / "tree", {"go.mod": "module small.example\n\ngo 1.24\n", **files})
    return Rig(root / "tree", root / "made", "small.example", flags, env or {}, mode)


def put(folder: Path, files: Mapping[str, str]) -> None:
    """Write files as editors do: new ones, moved into place."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text)
        os.replace(fresh, path)


def rig(
    root: Path,
    seed: int,
    kind: str = "module",
    mode: Mode = "exact",
    *,
    flags: Sequence[str] = FLAGS,
    env: Mapping[str, str] | None = None,
) -> tuple[Program, Rig]:
    """A generated program and its rig."""
    program = Program(root / "tree", seed, kind=kind)
    return program, Rig(program.cwd, root / "made", MAIN, flags, env or {}, mode)
