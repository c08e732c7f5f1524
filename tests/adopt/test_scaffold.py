"""The starters are what we say: they build, answer, stop, and inherit a socket."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from goreload_tasks.adopt.scaffold import render, templates
from goreload_tasks.errors import GoreloadError
from tests.driver import free_port, get, until

Starter = Literal["gin", "nethttp"]
STARTERS: list[Starter] = ["gin", "nethttp"]


@pytest.mark.parametrize("starter", STARTERS)
def test_starter_builds_answers_and_ends_well(tmp_path: Path, starter: Starter) -> None:
    folder = tmp_path / "shop"
    render(starter, folder, "example.com/shop")
    binary = tmp_path / "binary"
    subprocess.run(["go", "vet", "./..."], cwd=folder, check=True)
    subprocess.run(["go", "build", "-o", binary, "."], cwd=folder, check=True)
    assert (
        subprocess.run(["go", "list", "-m"], cwd=folder, capture_output=True, text=True, check=True).stdout
        == "example.com/shop\n"
    )
    port = free_port()
    env = {**os.environ, "PORT": str(port)}
    with subprocess.Popen([binary], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as app:
        until(lambda: get(f"http://127.0.0.1:{port}").startswith("Hello from"), "an answer")
        app.send_signal(signal.SIGTERM)
        assert app.wait(10) == 0


def test_starter_takes_an_inherited_socket(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    render("nethttp", folder)
    binary = tmp_path / "binary"
    subprocess.run(["go", "build", "-o", binary, "."], cwd=folder, check=True)
    with socket.create_server(("127.0.0.1", 0)) as ours:
        inherit = ["sh", "-c", 'exec "$0" 3<&0 0</dev/null', str(binary)]
        with subprocess.Popen(inherit, env={**os.environ, "LISTEN_FDS": "1"}, stdin=ours.fileno()) as app:
            port = ours.getsockname()[1]
            until(lambda: get(f"http://127.0.0.1:{port}").startswith("Hello"), "an answer")
            app.terminate()


@pytest.mark.parametrize("starter", STARTERS)
def test_starter_is_written_as_gofmt_writes(starter: Starter) -> None:
    gofmt = shutil.which("gofmt") or str(Path(shutil.which("go") or "go").resolve().parent / "gofmt")
    assert subprocess.run([gofmt, "-l", "."], cwd=templates() / starter, capture_output=True, check=True).stdout == b""


def test_nothing_is_overwritten_and_nothing_is_left_half_done(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").write_text("keep")
    with pytest.raises(GoreloadError, match="not empty"):
        render("gin", tmp_path / "shop")
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "mine"]


def test_wheel_carries_the_templates(tmp_path: Path) -> None:
    checkout = Path(__file__).resolve().parents[2]
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    for path in templates().rglob("*"):
        if path.is_file():
            assert f"goreload_tasks/templates/{path.relative_to(templates())}" in names
