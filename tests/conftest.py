"""What every test may use: a Go on PATH, a quiet environment, small Go projects, and `dev` as a real process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from goreload_tasks.adopt.scaffold import render
from goreload_tasks.build.command import LEAN
from goreload_tasks.build.toolchain import find_go
from tests.driver import Driver

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")  # the machine may stand still for a moment

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def environment() -> None:
    """The machine's own settings must not decide a test; the wheel's Go serves where there is none on PATH."""
    for name in list(os.environ):
        if name.startswith(("GORELOAD_", "INVOKE_")) or name in ("NO_COLOR", "FORCE_COLOR", "GOFLAGS"):
            del os.environ[name]
    go = find_go(os.environ)
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(go), os.environ["PATH"]])


@pytest.fixture(scope="session", autouse=True)
def warm(environment: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gin and net/http are compiled before any test waits for a build: in both ways a fresh machine takes minutes."""
    del environment
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    with open(shared / "warm", "a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (shared / "gin").exists():
            return  # another worker did it
        render("gin", shared / "gin")
        with contextlib.suppress(subprocess.CalledProcessError):  # no modules, no Gin: the tests of it will say so
            for how in ([], [LEAN]):
                subprocess.run(["go", "build", "-o", os.devnull, *how, "."], cwd=shared / "gin", check=True)


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Held by who sets the machine's clock: there is one."""
    with open(tmp_path_factory.getbasetemp().parent / "clock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty folder for a Go project."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Starts tasks as processes, and ends those that a failed test left."""
    with Driver() as made:
        yield made
