"""PURE. Reads an .air.toml as settings of ours, for a project that has no others.

Its keys and what they mean are air's own (its air_example.toml); flags are those of `go help build`.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings.merge import wrong
from goreload_tasks.settings.schema import DEFAULTS

HONOURED = ("root", "tmp_dir", "build.bin", "build.cmd", "build.delay")

VALUED = frozenset(
    (
        *("C", "asmflags", "buildmode", "compiler", "covermode", "coverpkg", "gccgoflags", "gcflags", "installsuffix"),
        *("ldflags", "mod", "modfile", "o", "overlay", "p", "pgo", "pkgdir", "tags", "toolexec"),
    )
)
"""Flags of `go build` that take a value: the next word, unless an equals sign joins it."""

_PLAIN = re.compile(
    r"""(?: '[^']*' | "(?: [^"\\$`] | \\[^\n$`] )*" | \\[^\n] | [^'"\\$`;&|<>(){}~\#\n] )*""",
    re.VERBOSE,
)
"""Words that a shell would only split and unquote (POSIX, Shell Command Language, 2.2). Its patterns are let through:
they only ever stand for .go files here, and a file stands for its folder."""

_MEND = "write invoke.yaml with `goreload: {main: ./FOLDER}`"


@dataclass(frozen=True, slots=True)
class Air:
    """What an .air.toml says.

    root: relative to the folder that air is started in, also when the file is .config/air.toml.
    not_honoured: what else it says, as dotted names in the file's order.
    """

    settings: Mapping[str, object]
    root: str
    not_honoured: tuple[str, ...]


def read(text: str, name: str) -> Air:
    """Read the file.

    Args:
        name: what to call it in a complaint.

    Raises:
        GoreloadError: it is no TOML, a value has the wrong type, or `build.cmd` is more than one plain `go build`.
    """
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number with thousands of digits
        raise GoreloadError(f"{name}: {error}; mend the file") from None
    build = said.get("build", {})
    if not isinstance(build, Mapping):
        raise wrong("build", name, build, "a table")
    binary = _text(build, "bin", "build.bin", name)
    settings = _command(_text(build, "cmd", "build.cmd", name) or "go build .", name)
    delay = build.get("delay")
    if delay is not None:
        if not isinstance(delay, int) or isinstance(delay, bool) or delay < 0:
            raise wrong("build.delay", name, delay, "a whole number of ms, 0 or more")
        settings["reload"] = {"debounce": f"{delay}ms"}
    scratch = posixpath.normpath(_text(said, "tmp_dir", "tmp_dir", name) or ".")
    if scratch != "." and not scratch.startswith(("../", "/")):
        escaped = re.sub(r"([\\*?[])", r"\\\1", scratch)
        settings["watch"] = {"ignore": [f"/{escaped}/"]}
    root = _text(said, "root", "root", name) or "."
    return Air(settings, root, tuple(_not_honoured(said, binary)))


def line(air: Air, name: str) -> str | None:
    """The one line that names what is not honoured yet; None: all of it is."""
    return f"{name}: not honoured yet: {', '.join(air.not_honoured)}" if air.not_honoured else None


def _command(command: str, name: str) -> dict[str, Any]:
    """`NAME=value go build FLAGS PACKAGE` as settings.

    Where -o puts the binary is air's affair: ours has a file of its own for each generation.
    """
    go_env, words = _words(command, name)
    folder, build, packages = _flags(words, name, command)
    settings: dict[str, Any] = {"main": posixpath.join(folder, _package(packages, name, command))}
    if build:
        settings["build"] = build
    # The command is read as it stands: no tag of our dev environment joins it, and its variables hold in every one.
    environments: dict[str, dict[str, Any]] = {"dev": {"tags": []}}
    if go_env:
        for environment in cast("Mapping[str, object]", DEFAULTS["environments"]):
            environments.setdefault(environment, {})["go_env"] = go_env
    settings["environments"] = environments
    return settings


def _words(command: str, name: str) -> tuple[dict[str, str], list[str]]:
    """The variables set in front, and the words behind `go build`."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise wrong("build.cmd", name, command, "quotes that close") from None
    go_env: dict[str, str] = {}
    while words and re.match(r"[A-Za-z_]\w*=", words[0], re.ASCII):
        variable, _, value = words.pop(0).partition("=")
        go_env[variable] = value
    if words[:2] != ["go", "build"] or not _PLAIN.fullmatch(command.strip()):
        raise wrong("build.cmd", name, command, f"one `go build` that needs no shell; {_MEND}, run other steps by hand")
    return go_env, words[2:]


def _flags(left: list[str], name: str, command: str) -> tuple[str, dict[str, Any], list[str]]:
    """The folder that -C names, our `build` section, and the packages."""
    folder = ""
    build: dict[str, Any] = {}
    flags: list[str] = []
    while left and left[0].startswith("-"):
        flag, equals, value = re.sub("^--?", "", left.pop(0)).partition("=")
        if flag in VALUED and not equals:
            if not left:
                raise wrong("build.cmd", name, command, f"a value after -{flag}")
            equals, value = "=", left.pop(0)
        match flag:
            case "o":
                pass
            case "C":
                folder = value
            case "tags":
                build["tags"] = value.replace(",", " ").split()
            case "ldflags" if value.strip()[:1] in ("", "-"):  # else they are for a pattern of packages
                build["ldflags"] = value.strip()
            case _:
                flags.append(f"-{flag}{equals}{value}")
    return folder, build | ({"flags": flags} if flags else {}), left


def _package(packages: list[str], name: str, command: str) -> str:
    if packages and all(package.endswith(".go") for package in packages):
        return posixpath.dirname(packages[0]) or "."  # files of one folder (`go help packages`): we build the folder
    if len(packages) > 1 or any("..." in package for package in packages):
        raise wrong("build.cmd", name, command, f"one package; {_MEND}")
    return packages[0] if packages else "."


def _not_honoured(said: Mapping[str, Any], binary: str | None) -> Iterator[str]:
    for key in _keys(said):
        if key not in HONOURED:
            yield key
        elif key == "build.bin" and len((binary or "").split()) > 1:
            yield "build.bin (beside the program)"  # air gives it to a shell, with arguments and variables


def _keys(said: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in said.items():
        key = before + (name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name))
        if isinstance(value, Mapping):
            yield from _keys(value, f"{key}.")
        else:
            yield key


def _text(table: Mapping[str, Any], name: str, key: str, file: str) -> str | None:
    value = table.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(key, file, value, "a text")
    return value
