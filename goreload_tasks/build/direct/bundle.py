"""What is kept of a difference, for a bug report."""

from __future__ import annotations

from collections.abc import Iterable

from goreload_tasks.build.builder import Result
from goreload_tasks.build.command import Plan
from goreload_tasks.build.direct.ground import Ground
from goreload_tasks.inputs.headers import contents


def text(plan: Plan, ground: Ground, trail: Iterable[str], result: Result, real: str, ours: str) -> str:
    """What somebody needs who looks for the reason: no sources, and no variables but the toolchain's.

    Args:
        trail: one line for each build of ours since the last that was verified.
        result: of the real build. real, ours: the binaries.
    """
    link, told = ground.link, "\n".join(trail)
    lines = [
        f"built by {plan.build('OUT')} in {plan.cwd}",
        *(f"{name}={value}" for name, value in sorted(plan.env.items()) if name.startswith(("GO", "CGO_"))),
        "builds of ours since the last that was verified:",
        told,
        f"the real build: exit code {result.code} {result.text}",
        _difference(real, ours),
        f"link: {link.argv} {dict(link.env)} {link.notes}",
        *(f"compile: {one.argv} {dict(one.env)}" for path, one in ground.compiles.items() if f"'{path}'" in told),
    ]
    return "\n".join(lines) + "\n"


def _difference(real: str, ours: str) -> str:
    """Where two files begin to differ, and their sizes."""
    left, right = contents(real), contents(ours)
    at = next((index for index, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), "the end")
    return f"{len(left)} bytes, ours {len(right)}, first difference at {at}"
