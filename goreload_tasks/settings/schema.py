"""Every setting, its type and its default: one frozen tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType

Duration = NewType("Duration", float)
"""Seconds, written by a person as numbers with units: `150ms`, `2s`, `1m30s`."""

Port = NewType("Port", int)
"""A TCP port, 1 to 65535."""

DEBOUNCE = {"reload": Duration(0.15), "dev": Duration(0.3), "large": Duration(0.6)}
"""Names for the usual quiet windows."""

Nice = NewType("Nice", int)
"""How far a process stands back for others, 0 to 19 (nice(1))."""

Word = NewType("Word", str)
"""One word of a command line; a whole text is split into words as a shell would."""

Tristate = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Environment:
    """A named set of tags, flags and variables."""

    tags: tuple[str, ...] = ()
    flags: tuple[Word, ...] = ()
    ldflags: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    go_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Build:
    """How a binary is made.

    direct: compile and link without the go command where that gives the same binary; exact: to the last byte, auto: but
    for line numbers, where that saves much. verify_after: rest after which `go build` proves a direct build. parallel:
    most builds at once, over all services; 0: no limit.
    """

    tags: tuple[str, ...] = ()
    flags: tuple[Word, ...] = ()
    ldflags: str = ""
    fast: Tristate = "auto"
    direct: Literal["auto", "exact", "off"] = "auto"
    verify_after: Duration = Duration(2.0)
    nice: Nice = Nice(0)
    parallel: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    include: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    gitignore: bool = True
    poll: Tristate = "auto"


@dataclass(frozen=True, slots=True)
class Reload:
    debounce: Duration = DEBOUNCE["reload"]
    cooldown: Duration = Duration(0.0)
    on_failure: Literal["keep", "stop"] = "keep"


@dataclass(frozen=True, slots=True)
class Stop:
    signal: Literal["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"] = "TERM"
    grace: Duration = Duration(5.0)


@dataclass(frozen=True, slots=True)
class Crash:
    restart: Literal["on-change", "backoff", "never"] = "on-change"
    delay: Duration = Duration(1.0)
    jitter: float = 0.5
    limit: int = 5


@dataclass(frozen=True, slots=True)
class Serve:
    """How the app is reached.

    mode: auto is proxy when a port is set, else direct. overlap: the new app starts beside the old one (proxy only).
    hold: the longest wait of a request for a newer generation. bind: addresses to listen on. allowed_hosts: names
    beside the local ones that a Host header may have; `*` is any.
    """

    mode: Literal["auto", "proxy", "socket", "direct"] = "auto"
    port: Port | None = None
    ready: str | None = None
    overlap: bool = False
    open: bool = False
    hold: Duration = Duration(30.0)
    bind: tuple[str, ...] = ("127.0.0.1", "::1")
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What a change of some files calls for: a task or a command first, if any, then a verdict."""

    name: str = ""
    files: tuple[str, ...] = ()
    task: str = ""
    run: str = ""
    then: Literal["rebuild", "restart", "refresh", "nothing"] = "restart"

    @property
    def command(self) -> str:
        """What runs first, as a person wrote it."""
        return f"invoke {self.task}" if self.task else self.run


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service."""

    main: str | None = None
    args: tuple[Word, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_files: tuple[str, ...] = (".env",)
    environment: str = "dev"
    environments: Mapping[str, Environment] = field(default_factory=dict)
    build: Build = Build()
    watch: Watch = Watch()
    reload: Reload = Reload()
    stop: Stop = Stop()
    crash: Crash = Crash()
    serve: Serve = Serve()
    rules: tuple[Rule, ...] = ()
    editor: str = "vscode://file/{path}:{line}:{column}"
    """A link to a place in a file, for the error pages."""


DEFAULTS: Mapping[str, object] = {
    "environments": {"dev": {"tags": ["dev"]}, "test": {"tags": ["test"]}, "prod": {"tags": ["prod"]}},
}
"""What the tree's own field defaults cannot say: the environments that every project has."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS = (3600.0, 60.0, 1.0, 0.001)


def duration(text: str) -> Duration:
    """Seconds from numbers with units, largest unit first.

    >>> duration("1m30s")
    90.0

    Raises:
        ValueError: not such a text; a bare number has no unit and is refused too (except `0`).
    """
    if text == "0":
        return Duration(0.0)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"no duration: {text!r}")
    return Duration(sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part))
