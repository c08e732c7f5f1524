"""All questions, or those named: python -m tests.bench [--quick] [--only reload,watch] [--runs N]."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from goreload_tasks.build.toolchain import find_go
from tests.bench.lab import OUT, CannotMeasureError, Data, Lab, Table, about, machine
from tests.bench.plots import Canvas
from tests.bench.tools import absent

QUESTIONS = {
    "reload": "save to first new answer, against the bare loop and everybody else",
    "watch": "the price of watching, and whether a save costs more in a larger repository",
    "often": "how often to build",
    "tags": "what build tags leave out, and what that saves",
    "crash": "twenty services that crash together",
    "rest": "start, memory, processor time and wake-ups at rest, watches",
    "gate": "what the gate costs an open road",
}


class Question(Protocol):
    """A module of this package."""

    def measure(self, lab: Lab) -> Data: ...
    def tables(self, data: Data) -> list[Table]: ...
    def draw(self, data: Data, canvas: Canvas) -> None: ...


def question(name: str) -> Question:
    return cast(Question, import_module(f"tests.bench.{name}"))


def ask(names: Iterable[str], lab: Lab) -> bool:
    """Measure, and write what was found as JSON as soon as it is known; False: something could not be measured."""
    OUT.mkdir(exist_ok=True)
    well = True
    for name in names:
        lab.say(f"{name}: {QUESTIONS[name]}")
        on = machine(lab)
        began = time.monotonic()
        try:
            found = question(name).measure(lab)
        except CannotMeasureError as error:
            print(f"{name}: cannot measure: {error}", flush=True)
            well = False
            continue
        seconds = round(time.monotonic() - began, 1)
        written = json.dumps({"question": name, "machine": on, "seconds": seconds, **found}, indent=1)
        (OUT / f"{name}.json").write_text(written + "\n")
        show(name)
    return well


def show(name: str) -> None:
    """The tables and the pictures of what was found."""
    data = json.loads((OUT / f"{name}.json").read_text())
    for table in question(name).tables(data):
        print(f"\n{table}")
    print(f"\n  {about(data['machine'])}; took {data['seconds']:.0f} s")
    canvas = Canvas(OUT, about(data["machine"]).partition(";")[0] + f"; {picture_foot(data['machine'])}")
    question(name).draw(data, canvas)
    print(f"  {OUT / f'{name}.json'}" + "".join(f", {path}" for path in canvas.drawn) + "\n", flush=True)


def picture_foot(on: Mapping[str, object]) -> str:
    return f"{on['processor']}, {on['cores']} cores; {on['system']}; Go {on['go']}; Python {on['python']}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="each in a bounded form: all together in three minutes")
    parser.add_argument("--runs", type=int, default=0, help="counted turns; default: as the question wants")
    parser.add_argument("--shown", action="store_true", help="measure nothing; tables and pictures of the last results")
    chosen = parser.parse_args()
    names = [name.strip() for name in chosen.only.split(",") if name.strip()] or list(QUESTIONS)
    if unknown := [name for name in names if name not in QUESTIONS]:
        parser.error(f"no question is named {unknown[0]}; there are {', '.join(QUESTIONS)}")
    if chosen.shown:
        for name in names:
            show(name)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    for name in list(os.environ):  # a person's own settings must not decide what is measured
        if name.startswith(("GORELOAD_", "INVOKE_")) or name == "GOFLAGS":
            del os.environ[name]
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(find_go(os.environ)), os.environ["PATH"]])
    for name, how in absent().items():
        print(f"not on PATH: {name} ({how})")
    with tempfile.TemporaryDirectory(prefix="goreload-bench-") as scratch:
        lab = Lab(Path(scratch), chosen.quick, chosen.runs or None)
        well = ask(names, lab)
        lab.say("done")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
