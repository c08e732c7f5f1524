"""Direct building with real Go: the binary is the go command's, or it is said which lines lag, or it is declined."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from goreload_tasks.build.direct.ground import Ground
from tests.build.direct.play import play
from tests.build.direct.program import EDITS, Package, Program
from tests.build.direct.rig import Rig, always, rig


def test_there_are_edits_of_many_kinds_and_each_builds(tmp_path: Path) -> None:
    """A kind that broke the program would be compared with nothing."""
    assert len(EDITS) >= 34
    program, made = rig(tmp_path, 1)

    async def go() -> None:
        for kind in EDITS:
            program.edit(kind)
        program.write()
        result = await made.real()
        assert not result.code, result.text

    asyncio.run(go())


@pytest.mark.parametrize(
    ("kind", "seed", "edits"),
    [("module", 1, 6), ("vendor", 2, 2), ("workspace", 3, 2), ("native", 5, 2)],
)
def test_after_random_edits_the_binary_is_the_go_commands(tmp_path: Path, kind: str, seed: int, edits: int) -> None:
    program, made = rig(tmp_path, seed, kind)
    report = asyncio.run(play(program, made, seed, edits))
    assert not report.different
    assert report.counts["equal"] >= edits // 2


def test_where_only_positions_moved_importers_stay_and_the_program_prints_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ground, "saving", always)
    program, made = rig(tmp_path, 6, mode="auto")
    report = asyncio.run(play(program, made, 6, 6, lines=0.7))
    assert not report.different
    assert report.counts["lines lag"] >= 2


async def moved(made: Rig, program: Program, one: Package, kind: str) -> tuple[str, ...]:
    program.edit(kind, one)
    program.write()
    step = await made.step()
    assert step.built, step.declined
    return step.built.compiled


def test_which_lines_lag_is_said_exactly_until_a_build_makes_them_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ground, "saving", always)
    program, made = rig(tmp_path, 7, mode="auto")
    low, other = program.packages[0], program.packages[1]
    low.doc = other.doc = 4
    program.write()

    async def go() -> None:
        await made.begin()
        low.doc += 3
        program.write()
        step = await made.step()
        assert step.built
        assert step.built.compiled == step.built.kept == (low.path,)
        assert (
            step.built.remark == f"internal/{low.name}/p.go: line numbers of inlined functions +3 until the full build"
        )
        assert made.lagging() == {low.name: 3}
        # One more file: both are said. Then the first grows on.
        other.doc -= 2
        program.write()
        step = await made.step()
        assert step.built
        assert made.lagging() == {low.name: 3, other.name: -2}
        assert [(lag.file, lag.lines) for lag in step.built.lags] == [
            (f"internal/{one.name}/p.go", lines) for one, lines in ((low, 3), (other, -2))
        ]
        low.inside += 1
        program.write()
        step = await made.step()
        assert step.built
        assert {lag.lines for lag in step.built.lags} == {4, -2}
        # An importer that is compiled anew still reads the lines of before.
        assert await moved(made, program, program.packages[-1], "a string")
        assert made.lagging() == {low.name: 4, other.name: -2}
        # What is really another repairs its own lines; the full build repairs all.
        assert len(await moved(made, program, other, "an exported constant")) > 1
        assert made.lagging() == {low.name: 4}
        assert (await made.direct.verify(made.out)).outcome == "expected"
        assert await moved(made, program, other, "what a variable starts with")
        assert made.lagging() == {}

    asyncio.run(go())


def test_exact_mode_lets_no_line_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ground, "saving", always)
    program, made = rig(tmp_path, 8)

    async def go() -> None:
        await made.begin()
        assert len(await moved(made, program, program.packages[0], "comments above the exported")) > 1

    asyncio.run(go())


def test_in_a_small_program_positions_mode_is_not_worth_a_remark(tmp_path: Path) -> None:
    program, made = rig(tmp_path, 9, mode="auto")

    async def go() -> None:
        await made.begin()
        assert len(await moved(made, program, program.packages[0], "comments above the exported")) > 1

    asyncio.run(go())


def test_importers_stay_where_their_imports_are_to_them_the_same(tmp_path: Path) -> None:
    program, made = rig(tmp_path, 10)
    low = program.packages[0]

    async def go() -> None:
        await made.begin()
        assert await moved(made, program, low, "a body that is not inlined") == (low.path,)
        assert await moved(made, program, low, "an embedded file") == (low.path,)
        assert await moved(made, program, low, "only the time") == ()
        everybody = await moved(made, program, low, "an exported constant")
        assert low.path in everybody
        assert len(everybody) > 2
        assert everybody[-1] == made.package

    asyncio.run(go())


def test_verifying_compares_with_the_real_build_and_gives_way_to_a_save(tmp_path: Path) -> None:
    program, made = rig(tmp_path, 11)
    work = Path(made.direct._folder) / "work"

    async def go() -> None:
        await made.begin()
        await moved(made, program, program.packages[0], "a body that is not inlined")
        assert (await made.direct.verify(made.out)).outcome == "equal"
        assert made.direct.verified == 1
        # There is nothing of ours now; what is asked about must be what was built last.
        assert (await made.direct.verify(made.out)).outcome == "discarded"
        await moved(made, program, program.packages[0], "a body that is not inlined")
        assert (await made.direct.verify(made.out + "2")).outcome == "discarded"
        # A save meanwhile: it cannot say anything of what was built.
        verifying = asyncio.create_task(made.direct.verify(made.out))
        await until(lambda: any(work.iterdir()))
        program.edit("a string")
        program.write()
        assert (await verifying).outcome == "discarded"
        # A build meanwhile: it ends at once.
        await made.direct.prime()
        step = await made.step()
        assert step.built, step.declined
        verifying = asyncio.create_task(made.direct.verify(made.out))
        await until(lambda: any(work.iterdir()))
        assert (await made.direct.job(made.out, made.job(["false"])).run()).code == 0
        assert (await verifying).outcome == "discarded"

    asyncio.run(go())


def test_a_difference_is_reported_and_turns_direct_building_off(tmp_path: Path) -> None:
    program, made = rig(tmp_path, 12)

    async def go() -> None:
        await made.begin()
        low = program.packages[0]
        await moved(made, program, low, "a body that is not inlined")
        # Somebody else's archive in place of ours: what is linked is no longer what is on disk.
        assert made.direct._base
        ours = made.direct._base.archives[low.path].link
        before = Path(ours).read_bytes()
        await moved(made, program, low, "a body that is not inlined")
        Path(made.direct._base.archives[low.path].link).write_bytes(before)
        step = await made.step()
        assert step.built
        assert not step.equal
        verified = await made.direct.verify(made.out)
        assert verified.outcome == "different"
        assert Path(verified.binary).read_bytes() == Path(made.real_out).read_bytes()
        told = Path(verified.bundle).read_text()
        assert low.path in told
        assert "first difference at " in told
        assert os.path.getsize(verified.bundle) < 50_000
        step = await made.step()
        assert step.declined == "a binary of ours was not that of `go build`"
        assert step.equal
        await made.direct.prime()
        assert (await made.step()).declined

    asyncio.run(go())


def test_files_that_are_saved_while_they_are_compiled_are_compiled_again(tmp_path: Path) -> None:
    program, made = rig(tmp_path, 13)
    low = program.packages[0]

    async def go() -> None:
        await made.begin()
        program.edit("a body that is not inlined", low)
        program.write()
        job = made.direct.job(made.out, made.job(["false"]))
        running = asyncio.create_task(job.run())
        archives = Path(made.direct._folder) / "archives"
        await until(lambda: any(archives.iterdir()))  # the package is compiled, the link begins
        program.edit("a body that is not inlined", low)
        program.write()
        assert (await running).code == 0, job.declined
        assert not (await made.real()).code
        assert Path(made.out).read_bytes() == Path(made.real_out).read_bytes()

    asyncio.run(go())


async def until(true: Callable[[], bool], deadline: float = 60.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)
