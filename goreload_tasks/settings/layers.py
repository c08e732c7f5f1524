"""Where values come from: Invoke's configuration, `GORELOAD_*` variables, .air.toml."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings.merge import VARIABLES, Layer, unknown, wrong
from goreload_tasks.settings.schema import DEFAULTS, Settings

PREFIX = "GORELOAD_"
RESERVED = ("TEST_", "MARK")
"""Variables of the tool, or of its tests, that are no settings."""

_LEVELS = ("system", "user", "project", "runtime", "collection", "env", "overrides", "modifications")
"""Invoke's configuration levels, reordered: what a collection says wins over the files (the design's order)."""


def variables(environ: Mapping[str, str]) -> Layer:
    """The settings that variables name: `GORELOAD_BUILD_TAGS=a,b`, `GORELOAD_ENVIRONMENTS_PROD_TAGS=...`.

    Raises:
        GoreloadError: a variable that names no setting.
    """
    values: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        tail = name.removeprefix(PREFIX)
        if tail == name or tail.startswith(RESERVED):
            continue
        path = _resolve(_Root, tail)
        if path is None:
            raise unknown("variable", name, "environment", (PREFIX + known for known in _names(Settings)))
        section = values
        for depth, part in enumerate(path[:-1], 1):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise wrong(".".join(path[:depth]), VARIABLES, section, f"no value of its own beside {name}")
        section[path[-1]] = value
    return Layer(VARIABLES, values, final=True)


@dataclasses.dataclass(frozen=True, slots=True)
class _Root(Settings):
    services: Mapping[str, Settings] = dataclasses.field(default_factory=dict)


def _resolve(kind: Any, tail: str) -> tuple[str, ...] | None:
    """The path below a section of type `kind` that the rest of a variable's name spells."""
    if dataclasses.is_dataclass(kind):
        types_ = typing.get_type_hints(kind)
        for name in types_:
            if tail == name.upper():
                return (name,)
        for name, part in types_.items():
            if tail.startswith(name.upper() + "_") and (rest := _resolve(part, tail[len(name) + 1 :])):
                return (name, *rest)
    elif typing.get_origin(kind) is Mapping:
        inner = typing.get_args(kind)[1]
        if not dataclasses.is_dataclass(inner):
            return (tail,)
        parts = tail.split("_")
        for cut in range(1, len(parts)):
            if rest := _resolve(inner, "_".join(parts[cut:])):
                return ("_".join(parts[:cut]).lower(), *rest)
    return None


def _names(kind: Any) -> Iterable[str]:
    for name, part in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(part):
            yield from (f"{name.upper()}_{rest}" for rest in _names(part))
        else:
            yield name.upper()


def invoke(config: Any) -> list[Layer]:
    """What Invoke's configuration says under `goreload`, level by level.

    Invoke merges collections shallowly and its merged tree does not say where a value came from; its levels do.
    They are private attributes: where one is missing, as in a stand-in configuration, it says nothing.
    """
    layers = []
    for level in _LEVELS:
        values = getattr(config, f"_{level}", None)
        section = values.get("goreload") if isinstance(values, Mapping) else None
        if section is not None:
            path = getattr(config, f"_{level}_path", None)
            source = os.path.basename(path) if path else _SOURCES.get(level, f"Invoke's {level} configuration")
            final, personal = level in {"env", "overrides", "modifications"}, level in {"system", "user"}
            layers.append(Layer(source, section, final, personal))
    return layers


_SOURCES = {
    "collection": "the collection's configure()",
    "env": "INVOKE_GORELOAD_* variables",
    "modifications": "set by a task",
}


def gather(
    config: Any, own: Mapping[str, object], line: Mapping[str, object], environ: Mapping[str, str]
) -> list[Layer]:
    """Every layer in rising order: defaults, Invoke's files, the collection's own, variables, the command line.

    Raises:
        GoreloadError: a variable that names no setting.
    """
    files = invoke(config)
    return [
        Layer("default", DEFAULTS),
        *(layer for layer in files if not layer.final),
        Layer("collection()", own),
        *(layer for layer in files if layer.final),
        variables(environ),
        Layer("--env", line, final=True),
    ]


def root_of(config: Any, start: str) -> str:
    """The project's folder: the one of tasks.py when Invoke found one, else the nearest with a sign of a project."""
    prefix = getattr(config, "_project_prefix", None)
    if prefix:
        return os.path.abspath(str(prefix))
    signs = ("invoke.yaml", "invoke.yml", ".air.toml", "go.mod", "go.work")
    folder = os.path.abspath(start)
    while True:
        if any(os.path.exists(os.path.join(folder, sign)) for sign in signs):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            raise GoreloadError(f"no go.mod in {start} or a folder above it; run `go mod init NAME` there first")
        folder = parent
