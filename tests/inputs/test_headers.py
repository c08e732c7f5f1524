"""Headers that the go command does not watch: found, and built in as a clean build would."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.headers import overlay
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.settings import Settings
from tests.driver import write

SOURCES = {
    "go.mod": "module example.com/app\n\ngo 1.23\n",
    "main.go": 'package main\n\nimport "example.com/app/p"\n\nfunc main() { println(p.V()) }\n',
    "p/p.go": """package p

// #cgo CFLAGS: -I${SRCDIR}/../inc -isystem ${SRCDIR}/../sys -DX
// #include <stdlib.h>
// #include <a/angled.h>
// #include <flagged.h>
// #include "own.h"
// #include "v.h"
import "C"

func V() int { return int(C.V) }
""",
    "p/own.h": "#define OWN 1\n",
    "p/more.c": '#include "../c/table.inc"\n',
    "inc/v.h": '#include "w.h"\n',
    "inc/w.h": "#define V 1\n",
    "sys/a/angled.h": '#include "beside.h"\n',
    "sys/a/beside.h": "#define BESIDE 1\n",
    "flags/flagged.h": "#define FLAGGED 1\n",
    "inc/unused.h": "#define W 1\n",
    "c/table.inc": "int table = 1;\n",
}
FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")


def test_edited_header_from_elsewhere_is_built_in_as_a_clean_build_would(tmp_path: Path) -> None:
    root, scratch = tmp_path / "app", tmp_path / "scratch"
    write(root, SOURCES)
    scratch.mkdir()
    plan = Plan(
        "go", str(root), ".", FLAGS, (), {**os.environ, "CGO_ENABLED": "1", "CGO_CFLAGS": f"-O1 -I{root}/flags"}
    )
    tree = Tree(str(root), Settings(), capture, plan)

    def build(*more: str) -> bytes:
        out = tmp_path / "binary"
        subprocess.run(plan.build(str(out), *more), cwd=root, env=plan.env, check=True)
        return out.read_bytes()

    first = build()
    asyncio.run(tree.list(time.time_ns))
    names = ("inc/v.h", "inc/w.h", "c/table.inc", "sys/a/angled.h", "sys/a/beside.h", "flags/flagged.h")
    expected = {str(root / name) for name in names}
    assert tree.headers == {str(root / "p"): expected}
    assert expected <= tree.inputs.build
    write(root, {"inc/w.h": "#define V 2\n"})
    assert build() == first, "the go command does not see it: were it to learn, this room could go"
    path = overlay(tree.headers, str(scratch))
    second = build(f"-overlay={path}")
    assert second != first
    assert second == build("-a")


def test_program_without_c_needs_no_overlay(tmp_path: Path) -> None:
    assert overlay({}, str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
