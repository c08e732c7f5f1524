"""The long forms: python -m tests.build.direct --edits 500 [--seed N] [--kinds module,vendor] [--mode auto]

--wide ROUNDS measures a save in a wide program, --kills TIMES kills the tool, --clean empties the go command's cache.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from goreload_tasks.build.command import FAST_LDFLAGS
from goreload_tasks.build.direct.ground import Ground
from tests.build.direct.play import play
from tests.build.direct.rig import FLAGS, always, rig
from tests.build.direct.test_faults import clean_cache, kill_at_random
from tests.build.direct.wide import measure

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.build.direct")
    parser.add_argument("--edits", type=int, default=500, help="in all, spread over the settings")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", default=",".join(SETTINGS), help="settings, separated by commas")
    parser.add_argument("--mode", choices=("exact", "auto"), default="exact")
    parser.add_argument("--wide", type=int, metavar="ROUNDS", help="measure the wide program instead")
    parser.add_argument("--kills", type=int, metavar="TIMES", help="kill -9 at random moments instead")
    parser.add_argument("--clean", action="store_true", help="`go clean -cache` between two builds instead")
    line = parser.parse_args()
    if line.wide or line.kills or line.clean:
        with tempfile.TemporaryDirectory(prefix="goreload-direct-") as folder:
            if line.wide:
                print(asyncio.run(measure(Path(folder), line.wide)))
            elif line.kills:
                kill_at_random(Path(folder), line.kills, line.seed)
            else:
                clean_cache(Path(folder))
        print("as it should be")
        return 0
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
            patched = patch.object(Ground, "saving", always) if line.mode == "auto" else contextlib.nullcontext()
            with patched:
                lines = 0.5 if line.mode == "auto" else 0.0
                report = asyncio.run(play(program, made, seed, edits, lines))
        print(f"{name}, seed {seed}, {time.monotonic() - began:.0f} s\n{report}\n", flush=True)
        total += report.counts
        wrong += [f"{name}: {one}" for one in report.different]
    print("in all")
    print("\n".join(f"{name}: {count}" for name, count in sorted(total.items())))
    print(f"different: {len(wrong)} (defaults: {FAST_LDFLAGS})")
    return 1 if wrong else 0


sys.exit(main())
