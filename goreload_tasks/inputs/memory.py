"""What a listing said, kept on disk: the next start watches at once and lists behind.

It is trusted only for the same question: the same go, flags, variables and settings of the go command. What it holds is
compared with the disk like anything else, so an old one costs a look and never an answer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.places import Inputs
from goreload_tasks.inputs.snapshot import Entry, Stamp
from goreload_tasks.kept import keep, recall

FORM = 1
"""Raised when what is written changes its meaning."""

_VARIABLES = ("GO", "CGO_", "CC", "CXX", "FC", "AR", "PKG_CONFIG")

_SPEED = ("GOGC", "GOMEMLIMIT")
"""They say how, not what."""


def key(plan: Plan) -> str:
    """A name for everything beside the files that the answer of `go list` depends on."""
    about = {
        "form": FORM,
        "flags": plan.flags,
        "package": plan.package,
        "cwd": plan.cwd,
        "env": sorted(
            (name, value)
            for name, value in plan.env.items()
            if name.startswith(_VARIABLES) and name not in _SPEED and not name.startswith("GORELOAD_")
        ),
        "go": _identity(plan.go),
        "goenv": _identity(plan.env.get("GOENV") or os.path.join(_config_home(plan.env), "go", "env")),
    }
    return hashlib.blake2b(
        json.dumps(about, sort_keys=True).encode(errors="surrogateescape"), digest_size=16
    ).hexdigest()


def _config_home(env: Mapping[str, str]) -> str:
    return env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", ""), ".config")


def _identity(path: str) -> tuple[str, int, int] | tuple[str]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return (path,)
    return (path, status.st_size, status.st_mtime_ns)


def save(path: str, question: str, inputs: Inputs, entries: Mapping[str, Entry]) -> None:
    """Write it, whole or not at all; where that cannot be, the next start lists first."""
    said = {
        "key": question,
        "build": sorted(inputs.build),
        "left_out": sorted(inputs.left_out),
        "packages": sorted(inputs.packages),
        "embeds": inputs.embeds,
        "entries": {
            name: [*entry.stamp, entry.settled, entry.digest.hex(), entry.shape.hex()]
            for name, entry in entries.items()
            if entry.stamp
        },
    }
    keep(path, said)


def load(path: str, question: str) -> tuple[Inputs, dict[str, Entry]] | None:
    """Read it; None: there is none, it answers another question, or it cannot be read."""
    said = recall(path)
    if said.get("key") != question:
        return None
    try:
        inputs = Inputs(
            frozenset(said["build"]),
            frozenset(said["left_out"]),
            packages=frozenset(said["packages"]),
            embeds=tuple((folder, tuple(patterns)) for folder, patterns in said["embeds"]),
        )
        entries = {
            name: Entry(Stamp(*values[:4]), values[4], bytes.fromhex(values[5]), bytes.fromhex(values[6]))
            for name, values in said["entries"].items()
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    return inputs, entries
