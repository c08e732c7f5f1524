"""Random histories: edits one to three at a time, and after each the binary must be the go command's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.build.direct.program import BREAKS, EDITS, SHAPES, Program
from tests.build.direct.rig import Rig, Step

DECLINES = ("imports, embeds or asks for something else", "came", "went", "came or went", "go.mod changed")
"""How each reason ends for which a build may be declined in a history."""


@dataclass
class Report:
    """What became of a history. different: what led to each binary that was not the go command's."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [f"{name}: {count}" for name, count in sorted(self.counts.items())]
            + [f"{len(self.kinds)} kinds of edits"]
            + self.different
        )


async def play(program: Program, rig: Rig, seed: int, edits: int, shapes: float = 0.06, breaks: float = 0.05) -> Report:
    """Play one.

    Args:
        edits: how many builds. shapes, breaks: how often an edit is one for the go command, or breaks the program.
    """
    report = Report()
    chance = random.Random(seed)
    await rig.begin()
    for _ in range(edits):
        done = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            kind = chance.choice(list(SHAPES if chance.random() < shapes else EDITS))
            done.append(program.edit(kind))
            report.kinds[kind] += 1
        broken = chance.random() < breaks
        if broken:
            kind, package = chance.choice(list(BREAKS)), chance.choice(program.packages)
            done.append(program.edit(kind, package))
            report.kinds[kind] += 1
        program.write()
        judge(report, await rig.step(), "; ".join(done), rig)
        if broken:
            package.broken, package.renamed = "", False
            program.write()
            judge(report, await rig.step(), f"{'; '.join(done)}, mended", rig)
        if report.counts["declined"] and chance.random() < 0.7 or chance.random() < 0.05:
            await rig.direct.prime()
    return report


def judge(report: Report, step: Step, done: str, rig: Rig) -> None:
    """Count what a step was, and remember it when we were wrong."""
    if step.declined:
        report.counts[f"declined: {step.declined.split(' ', 1)[-1]}"] += 1
        report.counts["declined"] += 1
        if not step.declined.endswith(DECLINES):
            report.different.append(f"{done}: declined: {step.declined}")
        return
    if step.result.code or step.real.code:
        report.counts["the same complaint"] += 1
        if (step.result.code, sorted(step.result.text.splitlines())) != (
            step.real.code,
            sorted(step.real.text.splitlines()),
        ):
            report.different.append(f"{done}: {step.result.text!r} and not {step.real.text!r}")
        return
    assert step.built
    report.counts["compiled"] += len(step.built.compiled)
    if step.equal:
        report.counts["equal"] += 1
    elif step.built.lags:
        report.counts["lines lag"] += 1
        ours, real = rig.output(rig.out), rig.output(rig.real_out)
        if ours != real:
            report.different.append(f"{done}: it prints {ours} and not {real}")
    else:
        report.different.append(f"{done}: compiled {step.built.compiled}")
