"""This project's own tasks; it uses goreload_tasks as any team would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

import goreload_tasks
from goreload_tasks.adopt.scaffold import render
from goreload_tasks.app.foreground import foreground
from goreload_tasks.build.toolchain import find_go

HERE = Path(__file__).resolve().parent
DEMO = HERE / ".demo"
GORELOAD = [sys.executable, "-m", "goreload_tasks.program"]


@task(help={"once": "edit a handler by itself, show the reload and both answers, and end"})
def demo(_: Context, once: bool = False) -> None:
    """Write the Gin starter into .demo/ and run `dev` on it."""
    folder = _starter(DEMO / "once" if once else DEMO)
    env = {**os.environ, "GORELOAD_SERVE_PORT": str(_port())}
    if once:
        _show(folder, env)
        return
    print(f"edit {folder.relative_to(HERE)}/handlers/handlers.go and save; Ctrl-C ends it", flush=True)
    if code := foreground([*GORELOAD, "dev"], str(folder), env):
        raise Exit(code=code)


def _starter(home: Path) -> Path:
    """The folder of a starter; what a person has edited there stays, but for `--once`, which begins anew."""
    if home.name == "once":
        shutil.rmtree(home, ignore_errors=True)
    gin = home / "gin"
    if not gin.exists():
        render("gin", gin)
    why = _no_modules(gin)
    if why is None:
        return gin
    print(f"Go modules cannot be had ({why}): this is the net/http starter instead of the Gin one", flush=True)
    nethttp = home / "nethttp"
    if not nethttp.exists():
        render("nethttp", nethttp)
    return nethttp


def _no_modules(folder: Path) -> str | None:
    """Why the modules of a project cannot be had; None: they are here."""
    argv = [find_go(os.environ), "mod", "download"]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "no answer in two minutes"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def _port() -> int:
    """8080, or another when it is taken."""
    for port in (8080, 0):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("", port))
            except OSError:
                continue
            return int(one.getsockname()[1])
    raise Exit("no free port", 2)


def _show(folder: Path, env: dict[str, str]) -> None:
    """One reload from outside, as a person sees it."""
    handlers = folder / "handlers" / "handlers.go"
    argv = [*GORELOAD, "dev"]
    with subprocess.Popen(
        argv, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ) as dev:
        try:
            url = _next_url(dev)
            _say(f"GET {url} -> {_get(url)}")
            source = handlers.read_text(encoding="utf-8")
            handlers.write_text(source.replace("Hello from", "Hello again from"), encoding="utf-8")
            _say(f"saved {handlers.relative_to(HERE)}")
            url = _next_url(dev)
            answer = _get(url)
            _say(f"GET {url} -> {answer}")
        finally:
            dev.send_signal(signal.SIGINT)
            dev.communicate(timeout=30)
    if "again" not in answer:
        raise Exit("the answer is not the new one", 1)


def _next_url(dev: subprocess.Popen[str]) -> str:
    assert dev.stdout
    for line in dev.stdout:
        _say(line.rstrip("\n"))
        if found := re.search(r"-> (http://localhost:\d+)", line):
            return found[1]
    raise Exit("`dev` ended before the app was up", 1)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode().strip())


def _say(text: str) -> None:
    print(text, flush=True)


@task
def check(c: Context) -> None:
    """Everything that must be true of a commit: ruff, mypy, the tests."""
    for command in ("ruff check .", "ruff format --check .", "mypy"):
        _python(c, command)
    test(c)


@task(help={"args": "for pytest"})
def test(c: Context, args: str = "") -> None:
    """The tests, in parallel."""
    _python(c, f"pytest -n auto {args}")


@task(
    help={
        "only": "of reload, watch, often, tags, crash, rest, gate (reload,watch: both); default: all",
        "quick": "each in a bounded form, all together in three minutes; fails only when it cannot measure",
        "runs": "counted turns of each question; default: as many as it wants",
        "shown": "measure nothing: tables and pictures of the last results",
    }
)
def bench(c: Context, only: str = "", quick: bool = False, runs: int = 0, shown: bool = False) -> None:
    """What it costs, against the bare loop and every other tool on PATH: tables here, JSON and plots in .bench/.

    Bring others with their ordinary clients; the first lines name those that are not there, and what brings them. wrk
    is wanted for the gate. The full form takes hours, so name the questions: --only reload.
    """
    words = [f"--only {only}" * bool(only), "--quick" * quick, f"--runs {runs}" * bool(runs), "--shown" * shown]
    _python(c, " ".join(["tests.bench", *filter(None, words)]))


@task(help={"reloads": "in a row"})
def endurance(c: Context, reloads: int = 1000) -> None:
    """Many reloads in a row: memory, open files, threads, watches and .goreload/ must not grow."""
    _python(c, f"tests.bench.endurance --reloads {reloads}")


@task(
    help={
        "seconds": "in all",
        "seed": "of the first world; default: the time",
        "mode": "direct, proxy or socket; default: all by turns",
    }
)
def chaos(c: Context, seconds: float = 600, seed: int = 0, mode: str = "") -> None:
    """Edits, faults and crashes in random order, each followed by the question whether all is right."""
    words = [f"--seconds {seconds}", f"--seed {seed}" if seed else "", f"--mode {mode}" if mode else ""]
    _python(c, f"tests.chaos {' '.join(filter(None, words))}")


def _python(c: Context, command: str) -> None:
    """Run a module of this environment; it need not be activated."""
    c.run(f"{sys.executable} -m {command}", in_stream=False)


ns = Collection(demo, check, test, bench, endurance, chaos)
ns.add_collection(goreload_tasks.ns, name="go")
