"""PURE. Reads an .air.toml as settings of ours, for a project that has no others."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goreload_tasks.errors import GoreloadError

HONOURED = ("root", "tmp_dir", "build.bin", "build.cmd", "build.delay")

VALUED = frozenset(
    f"-{name}"
    for name in (
        *("C", "o", "p", "asmflags", "buildmode", "compiler", "covermode", "coverpkg", "gccgoflags", "gcflags"),
        *("installsuffix", "ldflags", "mod", "modfile", "overlay", "pgo", "pkgdir", "tags", "toolexec"),
    )
)
"""Flags of `go build` that take a value, as the next word unless it follows an equals sign (`go help build`)."""


@dataclass(frozen=True, slots=True)
class Air:
    """What an .air.toml says. `root` is relative to the file's project; `not_honoured` are its other keys."""

    settings: Mapping[str, object]
    root: str
    not_honoured: tuple[str, ...]


def read(text: str, name: str) -> Air:
    """Read the file.

    Args:
        name: what to call it in a complaint.

    Raises:
        GoreloadError: it is no TOML, a value has the wrong type, or `build.cmd` is no plain `go build`.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GoreloadError(f"{name}: {error}; mend the file") from None
    root = _text(said, "root", name) or "."
    tmp = _text(said, "tmp_dir", name)
    _text(said, "build.bin", name)  # where air keeps the binary; ours has a file of its own per generation
    settings: dict[str, Any] = _command(_text(said, "build.cmd", name) or "go build .", name)
    delay = _value(said, "build.delay")
    if delay is not None:
        if not isinstance(delay, int) or isinstance(delay, bool) or delay < 0:
            raise GoreloadError(f"{name}: build.delay = {delay!r}: expected a whole number of ms")
        settings["reload"] = {"debounce": f"{delay}ms" if delay else "0"}
    if tmp and tmp.strip("./"):
        settings["watch"] = {"ignore": [f"/{tmp.strip('/').removeprefix('./')}/"]}
    others = tuple(key for key in _keys(said) if key not in HONOURED)
    return Air(settings, root, others)


def line(air: Air, name: str) -> str | None:
    """The one line that names what is not honoured yet."""
    return f"{name}: not honoured yet: {', '.join(air.not_honoured)}" if air.not_honoured else None


def _command(command: str, name: str) -> dict[str, Any]:
    """`NAME=value go build FLAGS PACKAGE` as settings."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise GoreloadError(f'{name}: build.cmd = "{command}": {str(error).lower()}; mend the quotes') from None
    env: dict[str, str] = {}
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        key, _, value = words.pop(0).partition("=")
        env[key] = value
    if words[:2] != ["go", "build"] or any(word in ("&&", "||", ";", "|", "&", ">") for word in words):
        raise GoreloadError(
            f'{name}: build.cmd = "{command}" is no plain `go build`; write invoke.yaml with `goreload: {{main: ...}}`'
        )
    flags, packages = _split(words[2:])
    if len(packages) > 1 and not all(package.endswith(".go") for package in packages):
        raise GoreloadError(
            f'{name}: build.cmd = "{command}" builds several packages; choose one with `main` in invoke.yaml'
        )
    settings: dict[str, Any] = {"main": packages[0] if packages else "."}
    if flags:
        settings["build"] = {"flags": flags}
    if env:
        settings["environments"] = {"dev": {"go_env": env}}
    return settings


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags without -o (and -C's kind), and packages."""
    flags: list[str] = []
    left = list(words)
    while left and left[0].startswith("-"):
        word = left.pop(0)
        flag = word if not word.startswith("--") else word[1:]
        if flag.partition("=")[0] in VALUED and "=" not in flag:
            flag = f"{flag}={left.pop(0)}" if left else flag
        if not flag.startswith("-o="):
            flags.append(flag)
    return flags, left


def _keys(said: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for key, value in said.items():
        found += _keys(value, f"{before}{key}.") if isinstance(value, Mapping) else [before + key]
    return found


def _value(said: Mapping[str, Any], key: str) -> Any:
    part: Any = said
    for name in key.split("."):
        part = part.get(name) if isinstance(part, Mapping) else None
    return part


def _text(said: Mapping[str, Any], key: str, name: str) -> str | None:
    value = _value(said, key)
    if value is not None and not isinstance(value, str):
        raise GoreloadError(f"{name}: {key} = {value!r}: expected a text")
    return value
