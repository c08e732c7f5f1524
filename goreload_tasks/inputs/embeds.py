"""Where `//go:embed` patterns look: the folders in which something new could be embedded."""

from __future__ import annotations

import os
from collections.abc import Iterable

from goreload_tasks.inputs.golist import matches, steps


def reach(package: str, pattern: str) -> Iterable[str]:
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


_KEPT = frozenset({".bzr", ".hg", ".git", ".svn"})


def _enter(folder: str, package: str) -> Iterable[str]:
    """The folders in a folder, unless it is another module's."""
    if folder != package and os.path.exists(os.path.join(folder, "go.mod")):
        return ()
    try:
        with os.scandir(folder) as found:
            return [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
