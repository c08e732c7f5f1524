"""Asks the go command what the inputs are."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Sequence

from goreload_tasks.app.process import Capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.golist import KNOWN, Listing, command, parse
from goreload_tasks.inputs.spelling import LOST_IN_JSON, spelled

LIMIT = 60.0
"""Seconds after which the go command has not said what the inputs are."""


async def ask(plan: Plan, capture: Capture) -> Listing:
    """What it says of a program now.

    Raises:
        OSError: it cannot be started, is killed again and again, or does not answer.
    """
    (code, out, err), (_, known, _) = await asyncio.gather(
        unkilled(command(plan.go, plan.flags, [plan.package]), plan, capture),
        unkilled([plan.go, "env", "-json", *KNOWN], plan, capture),
    )
    listing = parse(code, out, err, json.loads(known or b"{}"), plan.flags, plan.cwd)
    return await asyncio.to_thread(spelled, listing) if LOST_IN_JSON in out + known else listing


async def unkilled(argv: Sequence[str], plan: Plan, capture: Capture) -> tuple[int, bytes, bytes]:
    """What a command says; once more if somebody ends it before its time. Errors as of `ask`."""
    for _ in range(2):
        try:
            async with asyncio.timeout(LIMIT):
                code, out, err = await capture(argv, plan.cwd, plan.env)
        except TimeoutError:  # it reads a FIFO, or waits for a module from a network that is not there
            raise TimeoutError(errno.ETIMEDOUT, f"no answer in {LIMIT:.0f} s", " ".join(argv[:2])) from None
        if code >= 0:
            return code, out, err
    raise InterruptedError(errno.EINTR, "killed from outside", " ".join(argv[:2]))
