"""The starters are what we say: they build as they are, answer, stop, and take an inherited socket."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from invoke.config import Config

from goreload_tasks.adopt.scaffold import render, templates
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Layer, gather, merge
from goreload_tasks.settings.schema import DEFAULTS
from tests.driver import Driver, free_port, get, until

Starter = Literal["gin", "nethttp"]
STARTERS: list[Starter] = ["gin", "nethttp"]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("starter", STARTERS)
def test_starter_builds_answers_ends_well_and_takes_a_socket(tmp_path: Path, starter: Starter) -> None:
    folder = tmp_path / "shop"
    written = render(starter, folder, "example.com/shop")
    assert set(written) == {path for path in folder.rglob("*") if path.is_file()}
    before = {path: path.read_bytes() for path in written}
    subprocess.run(["go", "vet", "./..."], cwd=folder, check=True)
    binary = tmp_path / "binary"
    subprocess.run(["go", "build", "-o", binary, "."], cwd=folder, check=True)
    listed = subprocess.run(["go", "list", "./..."], cwd=folder, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["example.com/shop", "example.com/shop/handlers"]
    assert {path: path.read_bytes() for path in written} == before, "go.mod and go.sum were complete"

    port = free_port()
    with subprocess.Popen([binary], env={**os.environ, "PORT": str(port)}) as app:
        _answers_and_ends(app, port)
    with socket.create_server(("127.0.0.1", 0)) as ours:
        inherit = ["sh", "-c", 'exec "$0" 3<&0 0</dev/null', str(binary)]
        env = {**os.environ, "LISTEN_FDS": "1", "PORT": "must not be opened"}
        with subprocess.Popen(inherit, env=env, stdin=ours.fileno()) as app:
            _answers_and_ends(app, ours.getsockname()[1])


def _answers_and_ends(app: subprocess.Popen[bytes], port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: app.poll() is not None or get(url).startswith("Hello from"), "an answer")
        assert app.poll() is None
        assert "time" in json.loads(get(url, "/api/time"))
        assert get(url, "/healthz") == ""
        assert "404" in get(url, "/nothing")
        app.send_signal(signal.SIGTERM)
        assert app.wait(30) == 0
    finally:
        app.kill()


@pytest.mark.parametrize("starter", STARTERS)
def test_starter_is_written_as_gofmt_writes(starter: Starter) -> None:
    gofmt = shutil.which("gofmt") or str(Path(shutil.which("go") or "go").resolve().parent / "gofmt")
    assert subprocess.run([gofmt, "-l", "."], cwd=templates() / starter, capture_output=True, check=True).stdout == b""


def test_a_new_project_has_its_tasks(tmp_path: Path, driver: Driver) -> None:
    folder = tmp_path / "shop"
    render("nethttp", folder)
    listed = driver.run(folder, "--list").stdout
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == ["build", "clean", "dev", "run", "watch", "why"]
    built = driver.run(folder, "build")
    assert (built.returncode, built.stderr) == (0, "")
    assert (folder / ".gitignore").read_text() == ".goreload/\n"


def test_what_is_commented_out_in_its_settings_is_the_default(tmp_path: Path) -> None:
    said = (templates() / "project" / "invoke.yaml").read_text()
    (tmp_path / "invoke.yaml").write_text(re.sub(r"(?m)^  # (\w+:)", r"  \1", said))
    config = Config(project_location=tmp_path, lazy=True)
    config.load_project()
    layers = gather(config, {}, {}, {})
    section = next(layer.values for layer in layers if layer.source == "invoke.yaml")
    assert len(section) == len(re.findall(r"(?m)^  (?:# )?\w+:", said)) > 1
    assert merge(layers)[0].settings == merge([Layer("default", DEFAULTS), Layer("ours", PORT)])[0].settings


PORT = {"serve": {"port": 8080}}
"""What a new project has beside the defaults."""


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_folder_or_one_to_be_made_is_filled(
    tmp_path: Path, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep" / "shop"
    if made:
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
    render("nethttp", Path() if made else folder)
    assert (folder / "handlers" / "handlers.go").is_file()
    if made:
        assert os.path.samefile(Path(), folder), "the folder that a person stands in is still that folder"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").write_text("keep")
    for taken in ("shop", "shop/mine"):
        with pytest.raises(GoreloadError, match=r"is not an empty folder, .*; choose another folder"):
            render("gin", tmp_path / taken)
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "mine"]
    with pytest.raises(GoreloadError, match=r"cannot write .*: Not a directory; choose"):
        render("gin", tmp_path / "shop" / "mine" / "new")


FULL = """
import resource, sys
from pathlib import Path
from goreload_tasks.adopt.scaffold import render
from goreload_tasks.errors import GoreloadError
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # go.sum is longer
try:
    render("gin", Path(sys.argv[1]))
except GoreloadError as error:
    print(error)
"""


@pytest.mark.parametrize("made", [True, False])
def test_a_failure_leaves_nothing_half_done(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "deep" / "shop"
    if made:
        folder.mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", FULL, folder], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {folder}: File too large; choose another folder\n"
    assert list(tmp_path.rglob("*")) == ([folder.parent, folder] if made else [])


@pytest.mark.parametrize("module", ["", "my shop", "/shop", "shop/", "a//b", "../shop", "shop.", 'x"', "x\n"])
def test_a_name_that_is_no_module_path_is_refused(tmp_path: Path, module: str) -> None:
    with pytest.raises(GoreloadError, match=r"is no module path; write one such as example\.com/shop"):
        render("nethttp", tmp_path / "shop", module)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["shop", "example.com/me/shop/v2", "github.com/My-Team/shop_2"])
def test_a_module_path_that_go_takes_is_taken(tmp_path: Path, module: str) -> None:
    render("nethttp", tmp_path / "shop", module)
    subprocess.run(["go", "vet", "./..."], cwd=tmp_path / "shop", check=True)


def test_wheel_carries_the_templates_and_renders_them(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=CHECKOUT, check=True
    )
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    script = (
        "import sys; from pathlib import Path; from goreload_tasks.adopt.scaffold import render, templates\n"
        "print(templates())\n"
        "for starter in ('gin', 'nethttp'): render(starter, Path(sys.argv[1], starter))"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    made = tmp_path / "wheel"
    argv = [sys.executable, "-c", script, str(made)]
    # Not in the checkout: `-c` looks for modules in the working folder first.
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{site / 'goreload_tasks' / 'templates'}\n"
    ours = tmp_path / "ours"
    for starter in STARTERS:
        render(starter, ours / starter)
    assert _tree(made) == _tree(ours)


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
