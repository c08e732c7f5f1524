"""Each fault is real and is said in one line; once it is over, what answers is what is on disk, with no new start."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.driver import BIN, DEADLINE, Driver, Task, free_port, get, server, until, write

NOT_UTF8 = os.fsdecode(b"caf\xe9")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the fault is made as Linux makes it")


def answers(url: str, text: str, deadline: float = DEADLINE) -> None:
    until(lambda: get(url).strip() == text, f"{text!r} from {url}; it says {get(url)!r}", deadline)


def started(driver: Driver, project: Path, *before: str, env: dict[str, str] | None = None) -> tuple[Task, str]:
    """`dev` with its app on one port for good, and where that is.

    Args:
        before: words of a command that runs `dev`.
    """
    port = str(free_port())
    words = [*before, str(BIN / "invoke"), "dev"]
    dev = driver.start(project, *words[1:], program=shutil.which(words[0]) or "", env={**(env or {}), "PORT": port})
    dev.url()
    return dev, f"http://127.0.0.1:{port}"


def go_first(project: Path, script: str) -> dict[str, str]:
    """A `go` before the real one on PATH; `$GO` in its shell script is the real one."""
    shim = project.parent / "shim"
    write(shim, {"go": f"#!/bin/sh\nGO={shutil.which('go')}\n{script}\n"})
    (shim / "go").chmod(0o755)
    return {"PATH": f"{shim}:{os.environ['PATH']}"}


def lines(dev: Task, pattern: str) -> list[str]:
    """The lines so far in which a pattern is found."""
    return [line for line in dev.text.splitlines() if re.search(pattern, line)]


def named(dev: Task, pattern: str) -> dict[str, str]:
    """What the next such line of each of two services says in the group of the pattern."""
    found = (dev.line(rf"(api|web) +\| {pattern}") for _ in range(2))
    return {match[1]: match[2] for match in found}


def reading(folder: Path, **parts: str) -> None:
    """A server whose answer is that of its packages: each name a package, each value what it says."""
    server(folder)
    imports = "".join(f'\t"example.com/app/{name}"\n' for name in parts)
    calls = ' + " " + '.join(f"{name}.Text" for name in parts)
    text = f"package main\n\nimport (\n{imports})\n\nfunc Answer() string {{ return {calls} }}\n"
    write(folder, {"answer.go": text, **{f"{name}/{name}.go": says(name, text) for name, text in parts.items()}})


def says(name: str, text: str) -> str:
    return f'package {name}\n\nconst Text = "{text}"\n'


def removed(project: Path) -> None:
    """Remove it as a person does beside a `dev` that may be writing a binary there: again, until it is gone."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            shutil.rmtree(project)
        return not project.exists()

    until(gone, "the project is removed")
