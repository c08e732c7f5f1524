"""PURE. Layers of values in, the frozen tree out, or one line that says which value is wrong, where, and the mend."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import shlex
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings.schema import DEBOUNCE, Duration, Nice, Port, Settings, Word, duration

VARIABLES = "GORELOAD_* variables"
"""The layer of variables; a complaint names the one that it is about."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place, named so that an error can point at it."""

    source: str
    values: Mapping[str, object]
    final: bool = False
    """Set by the person who runs the command (variables, command line): wins over what `services` says."""
    personal: bool = False
    """Of a person or a machine, whatever the project is."""


@dataclass(frozen=True, slots=True)
class Service:
    """One main package with its settings, and where each value that is not a default came from."""

    name: str
    settings: Settings
    sources: Mapping[str, str]


_Placed = tuple[str, object]  # (source, value)


def merge(layers: Sequence[Layer]) -> tuple[Service, ...]:
    """The services that the layers describe, in the order given; one named `app` when none are named.

    Later layers win; sections and mappings merge key by key, lists and single values are replaced.

    Raises:
        GoreloadError: unknown name (the nearest is offered), wrong type, value out of range.
    """
    layers = [dataclasses.replace(layer, values=_section(layer)) for layer in layers]
    beside = [(layer, {name: value for name, value in layer.values.items() if name != "services"}) for layer in layers]
    base: list[_Placed] = [(layer.source, values) for layer, values in beside if not layer.final]
    final: list[_Placed] = [(layer.source, values) for layer, values in beside if layer.final]
    named: dict[str, list[_Placed]] = {}
    for layer in layers:
        services = layer.values.get("services")
        if services is None:
            continue
        for name, values in _mapping(services, "services", layer.source).items():
            if name in ("", ".", "..") or "/" in name or name.startswith(".git"):  # it is the name of a folder
                raise wrong("services", layer.source, name, "a name that its folder in .goreload can have")
            named.setdefault(name, []).append((layer.source, values))
    if not named:
        return (_service("app", "", [*base, *final]),)
    # The whole is checked once without the services, so that a mistake beside them names no service.
    _service("app", "", [*base, *final])
    return tuple(_service(name, f"services.{name}.", base, own, final) for name, own in named.items())


def _service(
    name: str, prefix: str, base: list[_Placed], own: Sequence[_Placed] = (), final: Sequence[_Placed] = ()
) -> Service:
    if own:  # a mistake in the service's own part is reported under its own name
        _Reader(prefix).read(Settings, "", [*own])
    reader = _Reader("")
    settings = typing.cast(Settings, reader.read(Settings, "", [*base, *own, *final]))
    return Service(name, settings, reader.sources)


def _section(layer: Layer) -> Mapping[str, object]:
    # PyYAML reads an empty section as None: it says nothing, and that is no error.
    return {} if not layer.values else _mapping(layer.values, "goreload", layer.source)


def _mapping(value: object, path: str, source: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise wrong(path, source, value, "a section with names and values")
    for key in value:
        if not isinstance(key, str):
            raise GoreloadError(f"{path}: the name {key!r} ({source}) is not a text; put it in quotes")
    return value


def wrong(path: str, source: str, value: object, expected: str) -> GoreloadError:
    """The one form of every complaint about a value."""
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    if source == VARIABLES:
        source = "GORELOAD_" + path.upper().replace(".", "_")
    return GoreloadError(f"{path} = {shown} ({source}): expected {expected}")


def unknown(kind: str, name: str, source: str, known: Iterable[str]) -> GoreloadError:
    """The one form of every complaint about a name, with the nearest known one."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, 1, 0.5)
    mend = f"did you mean {by_lower[near[0]]}?" if near else f"known: {', '.join(by_lower.values())}"
    return GoreloadError(f"unknown {kind} {' '.join(name.split())} ({source}): {mend}")


class _Reader:
    """Reads values of a type out of layers and notes where each came from."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.sources: dict[str, str] = {}

    def read(self, kind: Any, path: str, placed: Sequence[_Placed]) -> object:
        placed = [(source, value) for source, value in placed if value is not None or _optional(kind)]
        if dataclasses.is_dataclass(kind):
            return self._tree(typing.cast(type, kind), path, placed)
        if typing.get_origin(kind) is Mapping:
            return self._names(typing.get_args(kind)[1], path, placed)
        source, value = placed[-1]
        self.sources[path] = source
        item = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
        if item is not None and dataclasses.is_dataclass(item):
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise wrong(self.prefix + path, source, value, "a list of sections")
            return tuple(self.read(item, f"{path}[{index}]", [(source, part)]) for index, part in enumerate(value))
        return _leaf(kind, self.prefix + path, source, value)

    def _tree(self, kind: type, path: str, placed: Sequence[_Placed]) -> object:
        types_ = typing.get_type_hints(kind)
        fields: dict[str, list[_Placed]] = {}
        for source, value in placed:
            for name, part in _mapping(value, self.prefix + path or "goreload", source).items():
                at = f"{path}.{name}" if path else name
                if name not in types_:
                    raise unknown(
                        "setting",
                        self.prefix + at,
                        source,
                        [self.prefix + (f"{path}.{n}" if path else n) for n in types_],
                    )
                fields.setdefault(name, []).append((source, part))
        given = {
            name: self.read(types_[name], f"{path}.{name}" if path else name, parts)
            for name, parts in fields.items()
            if any(value is not None for _, value in parts) or _optional(types_[name])
        }
        return kind(**given)

    def _names(self, kind: Any, path: str, placed: Sequence[_Placed]) -> Mapping[str, object]:
        names: dict[str, list[_Placed]] = {}
        for source, value in placed:
            for name, part in _mapping(value, self.prefix + path, source).items():
                names.setdefault(name, []).append((source, part))
        # A name that is null last is taken back; an empty section still is one.
        kept = {
            name: parts for name, parts in names.items() if parts[-1][1] is not None or dataclasses.is_dataclass(kind)
        }
        return {name: self.read(kind, f"{path}.{name}", parts) for name, parts in kept.items()}


def _optional(kind: Any) -> bool:
    return typing.get_origin(kind) in (types.UnionType, typing.Union) and type(None) in typing.get_args(kind)


def _leaf(kind: Any, path: str, source: str, value: object) -> object:
    if _optional(kind):
        if value is None or (value == "" and kind != str | None):
            return None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        return _choice(typing.get_args(kind), path, source, value)
    if typing.get_origin(kind) is tuple:
        return _words(path, source, value) if Word in typing.get_args(kind) else _texts(path, source, value)
    parse, expected = _LEAVES[kind]
    if kind is Duration and path.endswith("reload.debounce"):
        expected += f", or one of {', '.join(DEBOUNCE)}"
        if isinstance(value, str) and value in DEBOUNCE:
            return DEBOUNCE[value]
    try:
        return parse(value)
    except (ValueError, TypeError):
        raise wrong(path, source, value, expected) from None


def _choice(choices: tuple[str, ...], path: str, source: str, value: object) -> str:
    # YAML reads a bare `on` or `off` as a boolean.
    said = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else value
    if said in choices:
        return said
    raise wrong(path, source, value, "one of " + ", ".join(choices))


def _texts(path: str, source: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        # From a variable or a person in a hurry: one text is a list of one; commas separate.
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, Sequence):
        raise wrong(path, source, value, "a list of texts")
    for part in value:
        if isinstance(part, bool) or not isinstance(part, (str, int, float)):
            raise wrong(path, source, part, "a list of texts")
    return tuple(str(part) for part in value)


def _words(path: str, source: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        return _texts(path, source, value)
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise wrong(path, source, value, f"words as in a shell ({str(error).lower()})") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(value)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
        "": False,
    }
    return words[str(value).lower()] if str(value).lower() in words else _refuse(value)


def _refuse(value: object) -> typing.NoReturn:
    raise ValueError(value)


def _whole(value: object) -> int:
    number = int(value) if isinstance(value, str) else value
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else _refuse(value)


def _number(value: object) -> float:
    number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else _refuse(value)
    return number if math.isfinite(number) and number >= 0 else _refuse(value)


def _port(value: object) -> int:
    number = _whole(value)
    return number if 1 <= number <= 65535 else _refuse(value)


def _nice(value: object) -> int:
    number = _whole(value)
    return number if number <= 19 else _refuse(value)


def _seconds(value: object) -> Duration:
    return (
        duration(value)
        if isinstance(value, str)
        else Duration(0.0)
        if value == 0 and not isinstance(value, bool)
        else _refuse(value)
    )


_LEAVES: Mapping[Any, tuple[Callable[[object], object], str]] = {
    str: (_text, "a text"),
    bool: (_flag, "true or false"),
    int: (_whole, "a whole number, 0 or more"),
    float: (_number, "a number, 0 or more"),
    Port: (_port, "a port from 1 to 65535"),
    Nice: (_nice, "a whole number from 0 to 19"),
    Duration: (_seconds, "a duration such as 150ms, 2s or 1m30s"),
}
