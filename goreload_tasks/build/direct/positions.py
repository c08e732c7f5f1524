"""Proving that two versions of a package differ in positions only, so that its importers may stay.

The compiler itself says where the positions are: with markers it writes one before each value of the export data.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from goreload_tasks.build.builder import Result
from goreload_tasks.build.direct import archive
from goreload_tasks.build.direct.ground import WORTH, Ground
from goreload_tasks.build.direct.recipe import HERE, Compile
from goreload_tasks.inputs.headers import contents

Run = Callable[[Sequence[str], str, Mapping[str, str]], Awaitable[Result]]
"""Runs a command: argv, working directory, variables."""

MARKERS = "-d=syncframes=0"
"""Makes cmd/compile put a marker before each value of the export data (internal/pkgbits)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The sources from which the export data that importers know was made: its digest without positions, and of each
    file its digest and how many lines it had."""

    digest: bytes
    files: Mapping[str, tuple[bytes, int]]


OBJECT = "_pkg_.a"


def prepare(
    recipe: Compile, known: Mapping[str, str], here: str, first: Sequence[str], env: Mapping[str, str], *more: str
) -> tuple[list[str], str, Mapping[str, str]]:
    """Write what a compiler reads beside the sources; returns its argv, its working directory and its variables.

    Args:
        known: the archive of each package that it imports. here: a folder to make for it.
        first: what stands before the command.

    Raises:
        OSError: it cannot be written.
    """
    os.makedirs(here)
    write(os.path.join(here, "importcfg"), recipe.config(known))
    if recipe.embedcfg is not None:
        write(os.path.join(here, "embedcfg"), recipe.embedcfg)
    return [*first, *recipe.words(here, *more)], env["PWD"], {**env, **recipe.env}


async def prove(
    recipe: Compile,
    known: Mapping[str, str],
    here: str,
    first: Sequence[str],
    env: Mapping[str, str],
    run: Callable[[Sequence[str], str, Mapping[str, str]], Awaitable[Result]],
) -> Proof | None:
    """Compile a package with markers; None: it cannot be, or the export data is of a form that is not known."""
    files = lines(recipe)
    result = await run(*prepare(recipe, known, here, first, env, MARKERS))
    if result.code or result.text:
        return None
    try:
        return Proof(archive.without_positions(head(os.path.join(here, OBJECT))), files)
    except archive.FormError:
        return None


def lines(recipe: Compile) -> dict[str, tuple[bytes, int]]:
    """Of each source file a digest and how many lines it has."""
    found = {}
    for path in recipe.files:
        source = contents(path)
        found[path] = (hashlib.blake2b(source, digest_size=16).digest(), source.count(b"\n"))
    return found


def head(path: str) -> bytes:
    """The export data of an archive, which is the whole of its first member.

    Raises:
        FormError: there is none. OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        begin = file.read(68)
        size = archive.first(begin)
        return archive.export(begin + file.read(size))


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


_PROBE = "package probe\n%sfunc F(x int) int { return x + %d }\n"


async def probe(compiler: str, here: str, env: Mapping[str, str], run: Run) -> bool:
    """Does this toolchain write export data of which the digest is blind for lines, and for nothing else?

    Args:
        here: a folder to make for it.
    """
    source = os.path.join(here, "probe.go")
    argv = (compiler, "-o", f"{HERE}/{OBJECT}", "-p", "probe", "-complete", "-importcfg", f"{HERE}/importcfg", "-pack")
    recipe = Compile("probe", (*argv, source), (source,))
    found = []
    os.makedirs(here)
    for name, before, constant in (("old", "", 1), ("moved", "\n\n", 1), ("other", "", 2)):
        write(source, _PROBE % (before, constant))
        proof = await prove(recipe, {}, os.path.join(here, name), (), env, run)
        if proof is None:
            return False
        found.append(proof.digest)
    old, moved, other = found
    return old == moved != other


def candidates(ground: Ground, proven: Iterable[str], cores: int) -> list[str]:
    """PURE. The packages of one's own of which a proof would save enough, the most imported first."""
    known = frozenset(proven)
    own = (path for path, one in ground.compiles.items() if path in ground.folders and not one.unfit)
    worth = [path for path in own if path not in known and ground.saving(path, cores) >= WORTH]
    return sorted(worth, key=lambda path: -len(ground.importers[path]))
