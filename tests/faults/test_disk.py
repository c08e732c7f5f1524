"""A full disk, and a folder of ours that is removed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from goreload_tasks.inputs import memory
from goreload_tasks.inputs.places import Inputs
from goreload_tasks.inputs.snapshot import Entry, Stamp
from goreload_tasks.kept import keep
from goreload_tasks.store import PARTS
from tests.driver import Driver, alive, answer, get, server
from tests.faults import LINUX, answers, go_first, lines, removed, started


@pytest.fixture
def small(project: Path) -> Iterator[Path]:
    """A project on a disk of its own, of 64 MiB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "small", str(project)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield project
    finally:
        subprocess.run(["umount", "--lazy", str(project)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    """A save that needs no room."""
    with path.open("r+b") as file:
        file.seek(file.read().index(old))
        file.write(new)


@LINUX
def test_full_disk_fails_the_build_and_room_mends_it(small: Path, driver: Driver) -> None:
    server(small)
    dev, url = started(driver, small)
    answers(url, "one")
    fill(small / "filler")
    overwrite(small / "answer.go", b"one", b"two")
    dev.line("^no space left on device: free some, and it is built again")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    overwrite(small / "answer.go", b"two", b"six")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    (small / "filler").unlink()
    answers(url, "six")
    assert {path.name for path in (small / ".goreload" / "app").iterdir()} <= set(PARTS)
    assert dev.stop() == 130
    assert driver.run(small, "clean").returncode == 0
    assert not (small / ".goreload").exists()


@LINUX
def test_dev_on_a_full_disk_says_so_and_leaves_nothing_that_hinders_the_next(small: Path, driver: Driver) -> None:
    server(small)
    fill(small / "filler")
    refused = driver.run(small, "dev")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.endswith("No space left on device; free some space\n")
    (small / "filler").unlink()
    dev, url = started(driver, small)
    answers(url, "one")
    assert dev.stop() == 130
    assert driver.run(small, "clean").returncode == 0
    assert not (small / ".goreload").exists()


@LINUX
def test_what_is_kept_for_the_next_start_is_whole_or_not_there(small: Path) -> None:
    fill(small / "filler")
    entries = {str(small / "a.go"): Entry(Stamp(1, 2, 3, 4), True, b"x" * 16)}
    memory.save(str(small / "listing.json"), "question", Inputs(), entries)
    keep(str(small / "target.json"), {"question": "x" * 100})
    assert [path.name for path in small.iterdir()] == ["filler"]
    (small / "filler").unlink()
    memory.save(str(small / "listing.json"), "question", Inputs(), entries)
    assert memory.load(str(small / "listing.json"), "question") == (Inputs(), entries)


def test_removed_folder_of_ours_is_made_anew_and_nobody_else_comes_in(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    for text in ("two", "three"):
        removed(project / ".goreload")
        (project / "answer.go").write_text(answer(text))
        dev.line("its folder in .goreload was removed: made anew")
        answers(url, text)
    refused = driver.run(project, "dev")
    assert refused.returncode == 2
    assert f"already being run by pid {dev.process.pid}" in refused.stderr
    (project / "answer.go").write_text(answer("four"))
    answers(url, "four")
    assert dev.stop() == 130
    assert driver.run(project, "clean").returncode == 0
    assert not (project / ".goreload").exists()


def test_folder_of_ours_removed_while_a_build_runs(project: Path, driver: Driver) -> None:
    server(project)
    flag = project.parent / "flag"
    removes = f'if [ "$1" = build ] && rm {flag} 2>/dev/null; then rm -rf {project}/.goreload; fi'
    dev, url = started(driver, project, env=go_first(project, f'{removes}\nexec "$GO" "$@"'))
    answers(url, "one")
    flag.touch()
    (project / "answer.go").write_text(answer("two"))
    answers(url, "two")
    assert len(lines(dev, "was removed: made anew")) == 1
    assert not lines(dev, "error")


def test_first_dev_ends_when_a_second_took_the_removed_folder(project: Path, driver: Driver) -> None:
    server(project)
    first, _ = started(driver, project)
    removed(project / ".goreload")
    second, url = started(driver, project)
    (project / "answer.go").write_text(answer("two"))
    first.line(f"app is already being run by pid {second.process.pid}: stop it first")
    assert first.wait() == 2
    answers(url, "two")
    assert second.stop() == 130
    assert not alive([str(project)])
