"""Random histories: edits one to three at a time, and after each the binary must be the go command's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.build.direct.program import BREAKS, EDITS, LINES, SHAPES, Program
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


SHAPED, BROKEN = 0.04, 0.05
"""How often an edit is one for the go command, or breaks the program."""


async def play(program: Program, rig: Rig, seed: int, edits: int, lines: float = 0.0) -> Report:
    """Play one.

    Args:
        edits: how many builds. lines: how often an edit does nothing but move lines, beyond the usual.
    """
    report = Report()
    chance = random.Random(seed)
    await rig.begin()
    for _ in range(edits):
        done = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            kinds = sorted(LINES) if chance.random() < lines else list(SHAPES if chance.random() < SHAPED else EDITS)
            kind = chance.choice(kinds)
            done.append(program.edit(kind))
            report.kinds[kind] += 1
        broken = chance.random() < BROKEN
        if broken:
            kind, package = chance.choice(list(BREAKS)), chance.choice(program.packages)
            done.append(program.edit(kind, package))
            report.kinds[kind] += 1
        program.write()
        step = await rig.step()
        judge(report, step, "; ".join(done), rig)
        if broken:
            package.broken, package.renamed = "", False
            program.write()
            judge(report, await rig.step(), f"{'; '.join(done)}, mended", rig)
        # As at rest: after a build of the go command, and now and then, so that many builds stand on one another.
        if chance.random() < (0.8 if step.declined else 0.05):
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
        if rig.outputs(rig.out)[0] != rig.outputs(rig.real_out)[0]:
            report.different.append(f"{done}: it prints something else")
        said = {lag.file for lag in step.built.lags}
        if unsaid := [name for name in rig.lagging() if not any(f"{name}/p.go" in file for file in said)]:
            report.different.append(f"{done}: it says {step.built.remark}, and {unsaid} lag too")
    else:
        report.different.append(f"{done}: compiled {step.built.compiled}")
