"""What is kept in a project belongs to its owner, and a pid that was written down is trusted only with its time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from goreload_tasks.app import strays
from goreload_tasks.errors import GoreloadError
from goreload_tasks.insight import history
from goreload_tasks.kept import keep, recall
from goreload_tasks.store import MARK, Store, TakenError, found, holder, remove
from tests.driver import Driver, server, write


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


# Links: a repository may bring them, and nothing behind one is ours.


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the person's with what must stay as it is."""
    folder = tmp_path / "outside"
    names = ("a.txt", "1/app", "2/app", "3/app", "4/app", "5/app", "dev/app", "app/bin/1/x", "app/tmp/1-1/x")
    write(folder, dict.fromkeys(names, "precious"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """All that is in a folder, with its modes."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(path): (path.lstat().st_mode, path.read_text() if path.is_file() else "") for path in paths}


KEPT = ("target.json", "listing.json", "learned.json", "history.jsonl")
"""What is kept of a service as a file."""

PLACES = {
    "all": [""],
    "service": ["app"],
    "tmp": ["app/tmp"],
    "lock": ["app/lock"],
    "parts": ["app/bin", "app/out", "app/direct", *(f"app/{name}{end}" for name in KEPT for end in ("", ".new"))],
    "below": ["app/out/dev", "app/direct/archives", "app/direct/work", "app/bin/1"],
}


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("to", [".", "a.txt"])
def test_no_task_makes_changes_or_removes_anything_behind_a_link(
    project: Path, driver: Driver, outside: Path, places: str, to: str
) -> None:
    server(project)
    if places != "all":
        write(project, {".goreload/.gitignore": MARK})
    for place in PLACES[places]:
        link = project / ".goreload" / place if place else project / ".goreload"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside / to)
    before = state(outside)
    assert driver.run(project, "build").returncode == (0 if places == "lock" else 2)
    dev = driver.start(project, "dev")
    dev.line(r"-> http://localhost" if places in ("parts", "below") else r"^goreload: .* link")
    if dev.process.poll() is None:
        dev.stop()
    assert driver.run(project, "history").returncode == 0
    assert driver.run(project, "clean").returncode == (2 if places == "all" else 0)
    assert state(outside) == before


def test_folder_that_becomes_a_link_while_we_have_the_lock_is_left_alone(project: Path, outside: Path) -> None:
    store = Store(str(project), "app")
    before = state(outside)
    for name in (".goreload", ".goreload/app", ".goreload/app/bin", ".goreload/app/tmp"):
        with store.lock(), store.scratch():
            store.empty()
            shutil.rmtree(project / name)
            (project / name).symlink_to(outside)
            assert not store.whole
            with pytest.raises(GoreloadError, match="is a link, and nothing behind it is ours: remove the link"):
                store.renew()
            store.forget(set())
            store.sweep()
            for path in (store.target, store.history):
                keep(path, {})
                history.add(path, {})
                assert recall(path) == {}
        assert state(outside) == before
        (project / name).unlink()


def test_clean_takes_a_service_of_any_name_for_one(project: Path) -> None:
    for name in ("bin", "tmp"):
        with Store(str(project), name).lock():
            pass
        (project / ".goreload" / name / "mine.txt").touch()
    remove(found(str(project)))
    assert sorted(path.parent.name for path in project.rglob("mine.txt")) == ["bin", "tmp"]


# The lock.


def test_who_only_looks_does_not_keep_a_start_away(project: Path) -> None:
    Store(str(project), "app").make()
    path = project / ".goreload" / "app" / "lock"
    path.write_text("1")  # of a run that was killed
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        with Store(str(project), "app").lock():
            assert holder(str(project), "app") == os.getpid()
            with pytest.raises(TakenError, match=f"already being run by pid {os.getpid()}: "):
                Store(str(project), "app")._take_lock()
        timer.join()


def test_clean_waits_for_no_build_and_refuses(project: Path, driver: Driver) -> None:
    server(project)
    with subprocess.Popen(["sleep", "98765"]) as builder:
        (project / ".goreload" / "app" / "tmp" / strays.name(builder.pid)).mkdir(parents=True)
        Store(str(project), "app").make()
        refused = driver.run(project, "clean")
        assert refused.returncode == 2
        assert f"app is being built by pid {builder.pid}: wait for its end" in refused.stderr
        builder.terminate()
    assert driver.run(project, "clean").returncode == 0
    assert not (project / ".goreload").exists()
