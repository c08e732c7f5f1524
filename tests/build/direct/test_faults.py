"""Whatever happens to the tool, the toolchain, the cache or the project: the next answer is right."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from goreload_tasks.build.direct import archive
from tests.build.direct import rig as rigs
from tests.build.direct.rig import Rig, Step, put, small

LOW = "package low\n\nvar X = 1\n\nfunc Low(x int) int { return x + %d }\n"
MAIN = 'package main\n\nimport "small.example/low"\n\nfunc main() { println(low.Low(%d)) }\n'
FILES = {"main.go": MAIN % 1, "low/low.go": LOW % 1}


async def save(made: Rig, number: int) -> Step:
    """Save both files, and build."""
    put(made.cwd, {"main.go": MAIN % number, "low/low.go": LOW % number})
    return await made.step()


def is_built(step: Step) -> bool:
    assert step.equal, step.result.text
    return not step.declined


async def declined_once(made: Rig, why: str) -> None:
    """The next build is declined and right; when it was learned anew, building goes on."""
    step = await save(made, 5)
    assert why in step.declined
    assert step.equal
    await made.direct.prime()
    assert is_built(await save(made, 6))


def test_archive_that_is_gone_from_the_go_commands_cache_declines(tmp_path: Path) -> None:
    made = small(tmp_path, FILES)

    async def go() -> None:
        await made.begin()
        assert made.direct._base
        os.unlink(made.direct._base.archives["small.example/low"].link)
        put(made.cwd, {"main.go": MAIN % 5})
        step = await made.step()
        assert "no such file" in step.declined
        assert step.equal
        await made.direct.prime()
        assert is_built(await save(made, 6))

    asyncio.run(go())


def test_forgotten_importer_cannot_be_linked(tmp_path: Path) -> None:
    """Were the rule of what to compile wrong, the linker would say so."""
    made = small(tmp_path, FILES)

    async def go() -> None:
        await made.begin()
        assert made.direct._base
        assert made.direct._learned
        importers = made.direct._learned.ground.importers
        assert isinstance(importers, dict)
        assert importers.pop("small.example/low")
        put(made.cwd, {"low/low.go": LOW % 5 + "\nfunc More() {}\n"})
        step = await made.step()
        assert "fingerprint mismatch" in step.declined
        assert step.equal
        await made.direct.prime()
        assert is_built(await save(made, 6))

    asyncio.run(go())


def test_importer_with_assembly_is_for_the_go_command_when_it_must_be_compiled(tmp_path: Path) -> None:
    asm = 'package asm\n\nimport "small.example/low"\n\nfunc Asm() int { return low.Low(1) }\n'
    main = 'package main\n\nimport "small.example/asm"\n\nfunc main() { println(asm.Asm()) }\n'
    low = "package low\n\nfunc Low(x int) int { return x + %d }\n\n//go:noinline\nfunc big() int { return %d }\n"
    made = small(
        tmp_path, {"main.go": main, "low/low.go": low % (1, 1), "asm/asm.go": asm, "asm/none.s": "// Nothing.\n"}
    )

    async def go() -> None:
        await made.begin()
        put(made.cwd, {"low/low.go": low % (1, 2)})
        assert is_built(await made.step())
        put(made.cwd, {"low/low.go": low % (2, 2)})
        step = await made.step()
        assert step.declined == "small.example/asm: it is not made of Go files alone"
        assert step.equal
        await made.direct.prime()
        put(made.cwd, {"asm/none.s": "// Nothing at all.\n"})
        step = await made.step()
        assert step.declined == "small.example/asm: it is not made of Go files alone"

    asyncio.run(go())


def test_archive_of_another_form_declines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small(tmp_path, FILES)

    async def go() -> None:
        await made.begin()
        monkeypatch.setattr(archive, "_BEGIN", b"\n$$C\n")
        step = await save(made, 5)
        assert "no export data" in step.declined
        assert step.equal

    asyncio.run(go())


def test_edited_go_mod_and_a_new_file_are_for_the_go_command(tmp_path: Path) -> None:
    made = small(tmp_path, FILES)

    async def go() -> None:
        await made.begin()
        put(made.cwd, {"go.mod": "module small.example\n\ngo 1.25\n"})
        await declined_once(made, "go.mod changed")
        put(made.cwd, {"low/new.go": "package low\n\nfunc init() { X++ }\n"})
        await declined_once(made, "low/new.go came or went")
        os.unlink(made.cwd / "low" / "new.go")
        await declined_once(made, "low/new.go went")
        put(made.cwd, {"low/go.mod": "module small.example/low\n"})
        step = await made.step()
        assert step.declined == "low/go.mod came or went"
        assert step.result.code == step.real.code == 1
        os.unlink(made.cwd / "low" / "go.mod")
        await made.direct.prime()
        assert is_built(await save(made, 6))

    asyncio.run(go())


def test_go_get_meanwhile_counts(tmp_path: Path) -> None:
    mod = "module small.example\n\ngo 1.24\n\nrequire example.com/other v1.0.0\n\n"
    mod += "".join(f"replace example.com/other v1.{n}.0 => ../other{n}\n" for n in (0, 1))
    main = 'package main\n\nimport "example.com/other"\n\nfunc main() { println(other.Text, %d) }\n'
    for number in (0, 1):
        other = {"go.mod": "module example.com/other\n", "other.go": f'package other\n\nvar Text = "v1.{number}"\n'}
        put(tmp_path / f"other{number}", other)
    made = small(tmp_path, {"go.mod": mod, "main.go": main % 1}, env={"GOPROXY": "off", "GOFLAGS": ""})

    async def go() -> None:
        await made.begin()
        getting = asyncio.create_task(made.job([made.plan.go, "get", "example.com/other@v1.1.0"]).run())
        number = 1
        while not getting.done():  # whichever it is, it must be one of both
            number += 1
            put(made.cwd, {"main.go": main % number})
            await made.step()
        assert not (await getting).code, (await getting).text
        put(made.cwd, {"main.go": main % 1000})
        assert (await made.step()).equal
        assert (await made.job([made.out]).run()).text == "v1.1 1000\n"
        await made.direct.prime()
        put(made.cwd, {"main.go": main % 1001})
        assert is_built(await made.step())

    asyncio.run(go())


def test_changed_toolchain_is_learned_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip())
    ours = tmp_path / "go"
    ours.mkdir()
    for name in os.listdir(root):
        (ours / name).symlink_to(root / name)
    for name in ("bin", "VERSION"):
        (ours / name).unlink()
    (ours / "bin").mkdir()
    shutil.copy(root / "bin" / "go", ours / "bin" / "go")
    shutil.copy(root / "VERSION", ours / "VERSION")
    monkeypatch.setattr(rigs, "find_go", lambda: str(ours / "bin" / "go"))
    made = small(tmp_path, FILES, env={"GOROOT": str(ours)})

    async def go() -> None:
        await made.begin()
        assert is_built(await save(made, 4))
        os.utime(ours / "VERSION")
        await declined_once(made, "the toolchain changed")
        (ours / "VERSION").unlink()
        step = await save(made, 7)
        assert step.declined == "the toolchain changed"

    asyncio.run(go())


def test_program_that_is_none_for_direct_building_is_declined_with_the_reason(tmp_path: Path) -> None:
    async def reason(number: int, flags: tuple[str, ...], files: dict[str, str]) -> str:
        made = small(tmp_path / str(number), {**FILES, **files}, flags=flags, env={"GOENV": "off"})
        if number == 2:
            assert not (await made.real()).code
        await made.direct.prime()
        step = await made.step()
        assert step.declined == made.direct.reason
        return step.declined

    async def go() -> None:
        fast = rigs.FLAGS
        assert "no -buildvcs=false" in await reason(1, (), {})
        assert "no -ldflags=-buildid=" in await reason(2, ("-buildvcs=false",), {})
        assert await reason(3, (*fast, "-cover"), {}) == "built with -cover"
        assert (
            await reason(4, fast, {"low/low.go": "package"}) == "the go command finds something wrong with the packages"
        )
        assert "not built yet" in await reason(5, fast, {"low/low.go": LOW % os.getpid()})

    asyncio.run(go())


def test_a_folder_that_is_a_link_or_gone_is_left_alone(tmp_path: Path) -> None:
    made = small(tmp_path, FILES)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "archives").mkdir(parents=True)
    (elsewhere / "archives" / "1.a").touch()
    (made.folder / "direct").symlink_to(elsewhere)

    async def go() -> None:
        assert not (await made.real()).code
        await made.direct.prime()
        assert "is a link" in made.direct.reason
        assert (await save(made, 4)).equal
        (made.folder / "direct").unlink()
        await made.direct.prime()
        assert is_built(await save(made, 5))
        shutil.rmtree(made.folder / "direct")
        await declined_once(made, "No such file")

    asyncio.run(go())
    assert list((elsewhere / "archives").iterdir())


def test_builds_cancelled_at_random_moments_leave_the_next_right(tmp_path: Path) -> None:
    made = small(tmp_path, FILES)
    chance = random.Random(1)

    async def go() -> None:
        await made.begin()
        for number in range(12):
            put(made.cwd, {"low/low.go": LOW % (100 + number)})
            job = made.direct.job(made.out, made.job(["false"]))
            running = asyncio.create_task(job.run())
            await asyncio.sleep(chance.random() * 0.4)
            if number % 3 == 2:
                running.cancel()
                await asyncio.wait({running})
            else:
                (job.cancel, job.kill)[number % 3]()
                result = await running
                assert result.cancelled or not result.code
            assert not os.listdir(made.folder / "direct" / "work")
        assert is_built(await save(made, 7))
        assert len(os.listdir(made.folder / "direct" / "archives")) <= 2

    asyncio.run(go())


def kill_at_random(root: Path, times: int, seed: int) -> None:
    """Kill the tool itself in the middle of a build, and build with a new one."""
    chance = random.Random(seed)
    made = small(root, FILES)
    argv = [sys.executable, "-m", "tests.build.direct.victim", str(made.cwd), str(made.folder), made.package]
    for number in range(times):
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdin
            assert victim.stdout
            assert victim.stdout.readline() == "ready\n"
            put(made.cwd, {"main.go": MAIN % number, "low/low.go": LOW % number})
            victim.stdin.write("\n")
            victim.stdin.flush()
            try:
                victim.wait(chance.random() * 0.6)
            except subprocess.TimeoutExpired:
                victim.kill()
        if os.path.exists(made.out):
            subprocess.run([made.out], check=True, capture_output=True)  # whole, whichever it is

        async def go(made: Rig, number: int) -> None:
            await made.begin()
            assert is_built(await save(made, 1000 + number))
            assert len(os.listdir(made.folder / "direct" / "archives")) <= 2

        asyncio.run(go(Rig(made.cwd, made.folder, made.package), number))


def test_killed_at_random_moments_the_next_run_is_right(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 3, 1)


def clean_cache(root: Path) -> None:
    """`go clean -cache` between two builds, with a cache of its own; it takes a while to fill."""
    made = small(root, FILES, env={"GOCACHE": str(root / "cache")})

    async def go() -> None:
        await made.begin()
        assert is_built(await save(made, 4))
        assert not (await made.job([made.plan.go, "clean", "-cache"]).run()).code
        await declined_once(made, "No such file")

    asyncio.run(go())
