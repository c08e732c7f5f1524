"""What `//go:embed` patterns take in, and where more could come (package embed; cmd/go, resolveEmbed)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_KEPT = frozenset({".bzr", ".hg", ".git", ".svn"})
"""What version control keeps is never embedded."""


def embedded_by(pattern: str, relative: str) -> str | None:
    """What a `//go:embed` pattern matches in full: the path itself, or a folder above; None: it does not take it in.

    A folder that matches is taken with all below it but names that begin with a dot or an underscore; `all:` takes
    those too (package embed).

    Args:
        relative: to the package's folder, with slashes.
    """
    wanted = steps(pattern)
    parts = relative.split("/")
    if len(parts) < len(wanted) or not all(map(matches, wanted, parts)):
        return None
    below = parts[len(wanted) :]
    if not pattern.startswith("all:") and any(part.startswith((".", "_")) for part in below):
        return None
    if not _KEPT.isdisjoint(below):
        return None
    return "/".join(parts[: len(wanted)])


def leads(patterns: Iterable[str], relative: str) -> bool:
    """Could something in this folder be what a pattern matches?"""
    parts = relative.split("/")
    return any(len(parts) < len(wanted) and all(map(matches, wanted, parts)) for wanted in map(steps, patterns))


def steps(pattern: str) -> list[str]:
    """A `//go:embed` pattern as one pattern for each step down from the package's folder."""
    rest = pattern.removeprefix("all:")
    return [] if rest == "." else rest.split("/")


def matches(step: str, name: str) -> bool:
    """Does one step of a pattern match a name?"""
    try:
        return re.fullmatch(_glob(step), name) is not None
    except re.error:  # `[z-a]`: to the go command it matches nothing
        return False


def embed_folders(patterns: Iterable[str], folder: str) -> frozenset[str]:
    """The folders in which a new file could match: the fixed beginnings of the patterns."""
    found = set()
    for pattern in patterns:
        fixed = []
        for part in pattern.removeprefix("all:").split("/"):
            if set(part) & set("*?[\\"):
                break
            fixed.append(part)
        found.add(os.path.normpath(os.path.join(folder, *fixed)))
    return frozenset(found)


def _glob(pattern: str) -> str:
    """path.Match of Go as a regular expression: `*` and `?` stop at a slash, `[^...]` negates, backslash escapes."""
    out = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            out.append("[" + pattern[at:end].replace("[", "\\[") + "]")
            at = end + 1
        else:
            if char == "\\" and at < len(pattern):
                char = pattern[at]
                at += 1
            out.append(re.escape(char))
    return "".join(out)


def reached(package: str, pattern: str) -> Iterable[str]:
    """The folders in which something new could be embedded: those that lead to a match, and all below a match.

    As cmd/go does (load, resolveEmbed): another module, a symlink and what version control keeps are never entered.
    """
    level = [package]
    for step in steps(pattern):
        yield from level
        level = [path for folder in level for path in _enter(folder, package) if matches(step, os.path.basename(path))]
    hidden = () if pattern.startswith("all:") else (".", "_")
    while level:
        yield from level
        level = [
            path
            for folder in level
            for path in _enter(folder, package)
            if not os.path.basename(path).startswith(hidden) and os.path.basename(path) not in _KEPT
        ]


def embeddable(path: str, package: str, top: str) -> bool:
    """May it be embedded, or break the build? Below a folder that is embedded, another module and a symlink are not.

    Args:
        top: what the pattern matches in full, relative to the package; where that cannot be embedded, go fails.
    """
    first = os.path.normpath(os.path.join(package, top))
    if path == first:
        return True
    folder = os.path.dirname(path)
    if os.path.basename(path) == "go.mod":  # it comes, or goes and lets its folder in
        folder = os.path.dirname(folder)
    while folder.startswith(package + os.sep) and len(folder) >= len(first):
        if os.path.exists(os.path.join(folder, "go.mod")):
            return False
        folder = os.path.dirname(folder)
    return not os.path.lexists(path) or (os.path.exists(path) and not os.path.islink(path))


def _enter(folder: str, package: str) -> Iterable[str]:
    """The folders in a folder, unless it is another module's."""
    if folder != package and os.path.exists(os.path.join(folder, "go.mod")):
        return ()
    try:
        with os.scandir(folder) as found:
            return [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
