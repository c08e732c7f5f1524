"""What is kept in a project belongs to its owner, and a pid that was written down is trusted only with its time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from goreload_tasks.app import strays
from goreload_tasks.store import Store, holder


@pytest.fixture(params=[0o000, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_mode & 0o777 for path in root.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_what_is_made_is_its_owners_alone_whatever_the_umask(project: Path) -> None:
    store = Store(str(project), "app")
    with store.lock(), store.scratch() as scratch:
        store.empty()
        assert modes(project) == {
            ".goreload": 0o700,
            ".goreload/.gitignore": 0o600,
            ".goreload/app": 0o700,
            ".goreload/app/bin": 0o700,
            ".goreload/app/lock": 0o600,
            ".goreload/app/tmp": 0o700,
            os.path.relpath(scratch, project): 0o700,
        }
        assert holder(str(project), "app") == os.getpid()


def test_folder_of_an_earlier_version_is_closed_to_others(project: Path) -> None:
    for folder in (".goreload", ".goreload/app", ".goreload/app/bin", ".goreload/app/tmp"):
        (project / folder).mkdir(mode=0o755)
    (project / ".goreload" / "app" / "lock").touch(0o644)
    store = Store(str(project), "app")
    with store.lock(), store.scratch():
        store.empty()
        assert {mode & 0o077 for name, mode in modes(project).items() if name != ".goreload/.gitignore"} == {0}


def test_scratch_of_a_process_that_lives_is_kept_and_that_of_a_recycled_pid_is_not(project: Path) -> None:
    store = Store(str(project), "app")
    store.make()
    tmp = Path(store.folder) / "tmp"
    with subprocess.Popen(["sleep", "98765"]) as beside:
        living = strays.name(beside.pid)
        pid, began = living.split("-")
        for name in (living, f"{pid}-{int(began) - 1}", pid, f"{pid}-0", "0-0", "x", "²-1"):
            (tmp / name / "go-build1").mkdir(parents=True)
        with store.lock(), store.scratch() as own:
            store.empty()
            assert {path.name for path in tmp.iterdir()} == {living, os.path.basename(own)}
        beside.terminate()
    with store.lock():
        store.empty()
        assert not list(tmp.iterdir())
