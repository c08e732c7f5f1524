"""PURE. What `go build` is asked for: one service in one environment as argv and variables."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from goreload_tasks.build.tags import check, compose, split
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Service, unknown
from goreload_tasks.settings.merge import VARIABLES

FAST_LDFLAGS = "-s -w -buildid="
"""No symbol table and no DWARF (linking is most of a reload), and no build id: equal code is then an equal binary.
Panics, pprof and runtime.Caller read their names and lines from pclntab, which stays."""


LEAN = "-gcflags=all=-dwarf=false"
"""No DWARF in the archives either, so that the linker reads less of each: a fifth off every link. It costs one rebuild
of everything, the standard library too, so it is used once that has been done at rest."""
NAMING = ("modfile", "overlay", "pgo")
"""Flags whose value is a file that decides on the build."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one service is built: by which go, where, with what.

    fast: as `is_fast` says. may_be_lean: it is, and nothing that the person said is against `LEAN`.
    """

    go: str
    cwd: str
    package: str
    flags: tuple[str, ...]
    tags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    fast: bool = False
    may_be_lean: bool = False

    def build(self, out: str, *more: str) -> list[str]:
        """The argv of the build into `out`, with more flags if need be."""
        first = ["nice", "-n", str(self.nice)] if self.nice else []
        return [*first, self.go, "build", "-o", out, *self.flags, *more, self.package]

    @property
    def overlay(self) -> str:
        """The overlay that a flag of the person's names; empty: none. The last one on a command line counts alone."""
        named = value(self.flags, "overlay")
        return os.path.join(self.cwd, named) if named else ""


def value(flags: Sequence[str], name: str) -> str:
    """What a flag is set to, as one word or as two, the last time; empty: it is not there."""
    found = ""
    for flag, after in itertools.zip_longest(flags, flags[1:], fillvalue=""):
        key, equals, said = flag.lstrip("-").partition("=")
        if flag.startswith("-") and key == name:
            found = said if equals else after
    return found


_SPACES = " \t\r\n"


def split_flags(text: str) -> list[str]:
    """The words of GOFLAGS, by the go command's own rule (cmd/internal/quoted): a quote counts where a word begins.

    Raises:
        GoreloadError: one does not close.
    """
    found = []
    text = text.strip(_SPACES)
    while text:
        if text[0] in ("'", '"'):
            word, closed, text = text[1:].partition(text[0])
            if not closed:
                raise GoreloadError(f"GOFLAGS: the quotes around {word} do not close; mend it, with `go env -w` maybe")
        else:
            word = re.split(f"[{_SPACES}]", text, maxsplit=1)[0]
            text = text[len(word) :]
        found.append(word)
        text = text.lstrip(_SPACES)
    return found


def flags(
    service: Service, line_tags: Sequence[str], goflags: Sequence[str], dev: bool
) -> tuple[list[str], tuple[str, ...]]:
    """The flags of the build and its tags: settings, environment and command line merged into one -tags, one -ldflags.

    Args:
        line_tags: `--tags` as given.
        goflags: the words of GOFLAGS; its tags and -ldflags join ours, which would otherwise replace them, and the
            files that it names are in our flags too, so that all know of them.
        dev: built for `dev`, where the fast build is the default.

    Raises:
        GoreloadError: unknown environment, bad tag.
    """
    settings, sources = service.settings, service.sources
    if settings.environment not in settings.environments:
        raise unknown("environment", settings.environment, sources.get("environment", "default"), settings.environments)
    environment = settings.environments[settings.environment]
    words, flag_tags, flag_ld = _extract([*settings.build.flags, *environment.flags])
    check(settings.build.tags, sources.get("build.tags", "build.tags"))
    check(environment.tags, f"environments.{settings.environment}.tags")
    check(split(line_tags), "--tags")
    others, go_tags, go_ld = _extract(goflags)
    named = [f"-{name}={said}" for name in NAMING if (said := value(others, name))]
    words = [*named, *(word for word in others if word.startswith("-ldflags=")), *words]
    tags = compose(go_tags, settings.build.tags, flag_tags, environment.tags, split(line_tags))
    fast = is_fast(service, dev)
    if fast and not any(word.startswith(("-buildvcs", "--buildvcs")) for word in words):
        words.insert(0, "-buildvcs=false")
    # The last one wins in the linker, so what a person says comes after what is fast.
    linker = " ".join(
        part
        for part in (FAST_LDFLAGS if fast else "", *go_ld, settings.build.ldflags, *flag_ld, environment.ldflags)
        if part
    )
    if tags:
        words.append(f"-tags={','.join(tags)}")
    if linker:
        # Of several -ldflags that fit a package the last one counts: those for a pattern stay behind ours.
        patterns = [word for word in words if word.startswith("-ldflags=")]
        words = [*(word for word in words if word not in patterns), f"-ldflags={linker}", *patterns]
    return words, tags


def is_fast(service: Service, dev: bool) -> bool:
    """Is the fast build wanted? `auto`: in dev and watch, never for prod."""
    build = service.settings.build
    return build.fast == "on" or (build.fast == "auto" and dev and service.settings.environment != "prod")


def may_be_lean(service: Service, words: Sequence[str], goflags: Sequence[str], dev: bool) -> bool:
    """May a build leave DWARF out of its archives: is it fast, and has the person said nothing of compiling or DWARF?

    Args:
        words: the flags of the build, as `flags` gives them.
        goflags: the words of GOFLAGS.
    """
    said = {word.lstrip("-").partition("=")[0] for word in (*words, *goflags) if word.startswith("-")}
    linker = " ".join(word for word in words if word.lstrip("-").startswith("ldflags="))
    return is_fast(service, dev) and "gcflags" not in said and not _WANTS_DWARF.search(linker)


_WANTS_DWARF = re.compile(r"-[ws]=(?:0|f|F|false|FALSE|False)\b")

LEAST_MEMORY = 2 << 30
"""Bytes of free memory below which the toolchain keeps its garbage collector."""


def collector(environ: Mapping[str, str], available: int, processes: int) -> dict[str, str]:
    """Variables that turn the toolchain's garbage collector off (package runtime, GOGC and GOMEMLIMIT).

    A compiler or linker ends before collecting pays off. The memory limit brings the collector back for one that
    grows, so that all of them together stay within half of what is free.

    Args:
        available: bytes of memory that are free now.
        processes: how many compilers run at a time.
    """
    if available < LEAST_MEMORY or "GOGC" in environ or "GOMEMLIMIT" in environ:
        return {}
    return {"GOGC": "off", "GOMEMLIMIT": f"{available // (2 * processes) >> 20}MiB"}


def _extract(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Flags without -tags and -ldflags, and the values of those two. A pattern's -ldflags (`pkg=...`) stays a flag."""
    rest: list[str] = []
    tags: list[str] = []
    linker: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in ("tags", "ldflags"):
            rest.append(word)
            continue
        if not equals:
            value = left.pop(0) if left else ""
        if name == "tags":
            tags += value.replace(",", " ").split()
        elif value and not value.startswith("-"):
            rest.append(f"-ldflags={value}")
        else:
            linker.append(value)
    return rest, tags, linker


def build_env(service: Service, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of the go command."""
    environment = service.settings.environments[service.settings.environment]
    return {**environ, **environment.go_env}


def app_env(
    service: Service, environ: Mapping[str, str], files: Sequence[tuple[str, str]], shown: bool = False
) -> dict[str, str]:
    """The variables of the app, in rising order: env files, ours, PORT, the settings', the environment's, the caller's.

    Args:
        files: name and text of each env file that exists.
        shown: to be printed: what an env file says is not, but for the name of the file.
    """
    settings = service.settings
    env: dict[str, str] = {}
    for name, text in files:
        values = dotenv(text, name)
        env.update(dict.fromkeys(values, f"<{name}>") if shown else values)
    env |= environ
    if settings.serve.port is not None:
        env["PORT"] = str(settings.serve.port)
    chosen = f"environments.{settings.environment}.env"
    own = {
        name: said
        for name, said in settings.env.items()
        if service.sources.get(f"env.{name}") == VARIABLES != service.sources.get(f"{chosen}.{name}")
    }
    return {**env, **settings.env, **settings.environments[settings.environment].env, **own}


def dotenv(text: str, name: str) -> dict[str, str]:
    """NAME=VALUE lines: `export` allowed, quotes as in a shell, `#` starts a comment after white space.

    Raises:
        GoreloadError: a line that is none; its value is not shown.
    """
    values = {}
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        key, written = key.strip(), value
        value = value.strip()
        if not equals or not key or any(char.isspace() for char in key):
            raise GoreloadError(f"{name}, line {number}: expected NAME=VALUE; mend or remove the line")
        try:
            if value[:1] in ("'", '"'):
                value = shlex.split(value, comments=True)[0]
            else:
                value = re.split(r"\s#", written, maxsplit=1)[0].strip()
        except (ValueError, IndexError):
            raise GoreloadError(f"{name}, line {number}: the quotes around {key}'s value do not close") from None
        values[key] = value
    return values
