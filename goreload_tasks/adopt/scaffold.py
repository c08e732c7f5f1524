"""Renders what the tool writes for a person, from templates/."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from goreload_tasks.errors import GoreloadError

MODULE = "example.com/starter"
"""The module's name in the templates; a person's own takes its place."""


def templates() -> Path:
    """The folder of templates: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def render(starter: Literal["gin", "nethttp"], into: Path, module: str = MODULE) -> None:
    """Write a new project: all of it or nothing, into a folder that is empty or not there yet.

    Raises:
        GoreloadError: there is something in the folder, or it cannot be written.
    """
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise GoreloadError(f"{into} is not empty, and nothing in it is overwritten: choose another folder")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=".new-") as scratch:
            made = Path(scratch) / "project"
            shutil.copytree(templates() / starter, made)
            shutil.copytree(templates() / "project", made, dirs_exist_ok=True)
            (made / "gitignore").rename(made / ".gitignore")
            for path in [*made.rglob("*.go"), made / "go.mod"]:
                path.write_text(path.read_text(encoding="utf-8").replace(MODULE, module), encoding="utf-8")
            if into.exists():
                into.rmdir()
            os.rename(made, into)
    except OSError as error:
        raise GoreloadError(f"cannot write {into}: {error.strerror}; choose another folder") from None
