"""The long form: python -m tests.build.direct --edits 500 [--seed N] [--kinds module,vendor] [--mode auto]"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from goreload_tasks.build.command import FAST_LDFLAGS
from tests.build.direct.play import play
from tests.build.direct.rig import FLAGS, always, rig

SETTINGS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "module": ("module", (), {}),
    "vendor": ("vendor", (), {}),
    "workspace": ("workspace", (), {}),
    "replace": ("replace", (), {}),
    "native": ("native", (), {}),
    "trimpath": ("module", ("-trimpath",), {}),
    "symbols": ("module", ("-ldflags=-buildid=",), {}),
    "nodwarf": ("module", ("-gcflags=all=-dwarf=false",), {}),
    "debug": ("module", ("-gcflags=all=-N -l",), {}),
    "race": ("module", ("-race",), {}),
    "pie": ("module", ("-buildmode=pie",), {}),
    "arm64": ("module", (), {"GOARCH": "arm64", "CGO_ENABLED": "0"}),
    "collector": ("module", (), {"GOGC": "off", "GOMEMLIMIT": "2GiB"}),
    "prod": ("module", ("-tags=prod",), {}),
}
"""Kind of program, more flags, variables."""


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.build.direct")
    parser.add_argument("--edits", type=int, default=500, help="in all, spread over the settings")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", default=",".join(SETTINGS), help="settings, separated by commas")
    parser.add_argument("--mode", choices=("exact", "auto"), default="exact")
    line = parser.parse_args()
    if line.mode == "auto":
        always()
    total, wrong = Counter[str](), list[str]()
    names = line.kinds.split(",")
    for number, name in enumerate(names):
        kind, flags, env = SETTINGS[name]
        seed = line.seed + number
        edits = (line.edits + number) // len(names)
        with tempfile.TemporaryDirectory(prefix="goreload-direct-") as folder:
            words = [word for word in FLAGS if not any(word.split("=")[0] == flag.split("=")[0] for flag in flags)]
            began = time.monotonic()
            program, made = rig(Path(folder), seed, kind, line.mode, flags=(*words, *flags), env=env)
            report = await play(program, made, seed, edits, lines=0.5 if line.mode == "auto" else 0.0)
        print(f"{name}, seed {seed}, {time.monotonic() - began:.0f} s\n{report}\n", flush=True)
        total += report.counts
        wrong += [f"{name}: {one}" for one in report.different]
    print("in all")
    print("\n".join(f"{name}: {count}" for name, count in sorted(total.items())))
    print(f"different: {len(wrong)} (defaults: {FAST_LDFLAGS})")
    return 1 if wrong else 0


sys.exit(asyncio.run(main()))
