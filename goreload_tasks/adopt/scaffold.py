"""Renders what the tool writes for a person, from templates/."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from goreload_tasks.errors import GoreloadError

MODULE = "example.com/starter"
"""The module's name in the templates; a person's own takes its place."""

_ELEMENT = r"[A-Za-z0-9_~-](?:[A-Za-z0-9._~-]*[A-Za-z0-9_~-])?"
_MODULE_PATH = re.compile(rf"{_ELEMENT}(?:/{_ELEMENT})*")


def templates() -> Path:
    """The folder of templates: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def render(starter: Literal["gin", "nethttp"], into: Path, module: str = MODULE) -> tuple[Path, ...]:
    """Write a new project: all of it or nothing, into a folder that is empty or not there yet.

    Args:
        module: its module path (Go Modules Reference, "Module paths").

    Returns:
        The files written.

    Raises:
        GoreloadError: no such module path can be, there is something in the folder, or it cannot be written.
    """
    if not _MODULE_PATH.fullmatch(module):
        raise GoreloadError(f'"{module}" is no module path; write one such as example.com/shop')
    files = dict(_files(starter, module))
    made: list[Path] = []
    try:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise GoreloadError(f"{into} is not an empty folder, and nothing is overwritten; choose another folder")
        for name, content in files.items():
            _write(into / name, content, made)
    except BaseException as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise GoreloadError(f"cannot write {into}: {error.strerror}; choose another folder") from None
        raise
    return tuple(into / name for name in files)


def _files(starter: str, module: str) -> Iterator[tuple[str, bytes]]:
    """Every file of the new project by its name there."""
    for part in (starter, "project"):
        home = templates() / part
        if not home.is_dir():
            raise GoreloadError(f"the templates are not in {home}; install goreload-tasks anew")
        for path in sorted(home.rglob("*")):
            name = path.relative_to(home).as_posix()
            if name == "go.mod" or path.suffix == ".go":
                yield name, path.read_bytes().replace(MODULE.encode(), module.encode())
            elif path.is_file():
                # Without its dot in templates/, where git and the packager would obey it.
                yield ".gitignore" if name == "gitignore" else name, path.read_bytes()


def _write(path: Path, content: bytes, made: list[Path]) -> None:
    """Write a file that must not be there yet, and note it and each folder made for it."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    with path.open("xb") as file:
        made.append(path)
        file.write(content)
