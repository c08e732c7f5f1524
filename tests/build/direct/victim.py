"""Direct building in a process of its own, for somebody who kills it: python -m tests.build.direct.victim CWD FOLDER

It builds and learns, says so, and makes one build of ours for each line that it is given.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.build.direct.rig import Rig


async def main(cwd: str, folder: str, package: str) -> None:
    made = Rig(Path(cwd), Path(folder), package)
    await made.begin()
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        job = made.direct.job(made.out, made.job(made.plan.build(made.out)))
        result = await job.run()
        print(result.code, job.declined or "built", flush=True)


asyncio.run(main(*sys.argv[1:]))
