"""Headers that the go command does not watch: found, and built in as a clean build would."""

from __future__ import annotations

import asyncio
import json
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
    unique = f"-DX={time.time_ns()}"  # what an earlier run left in the cache is as stale as what is shown here
    write(root, {**SOURCES, "p/p.go": SOURCES["p/p.go"].replace("-DX", unique)})
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


def test_library_that_a_cgo_line_links_is_built_in_as_a_clean_build_would(tmp_path: Path) -> None:
    root, scratch = tmp_path / "app", tmp_path / "scratch"
    scratch.mkdir()
    cgo = """package main

// #cgo LDFLAGS: -L${SRCDIR}/lib -lnumber ${SRCDIR}/lib/more.o
// int number(void);
// int more(void);
import "C"

func main() { println(C.number(), C.more()) }
"""
    write(root, {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": cgo, "lib/notes.txt": ""})
    plan = Plan("go", str(root), ".", FLAGS, (), {**os.environ, "CGO_ENABLED": "1"})
    tree = Tree(str(root), Settings(), capture, plan)
    names = {"number": "libnumber.a", "more": "more.o"}

    def compile_c(name: str, value: int) -> None:
        write(scratch, {f"{name}.c": f"int {name}(void) {{ return {value}; }}\n"})
        made = root / "lib" / names[name]
        made.unlink(missing_ok=True)
        subprocess.run(["cc", "-c", "-o", str(scratch / f"{name}.o"), str(scratch / f"{name}.c")], check=True)
        if made.suffix == ".a":
            subprocess.run(["ar", "rcsD", str(made), str(scratch / f"{name}.o")], check=True)
        else:
            (scratch / f"{name}.o").rename(made)

    def build() -> str:
        path = overlay(tree.headers, str(scratch))
        out = tmp_path / "binary"
        subprocess.run(plan.build(str(out), f"-overlay={path}"), cwd=root, env=plan.env, check=True)
        return subprocess.run([out], capture_output=True, text=True, check=True).stderr.strip()

    compile_c("number", 1)
    compile_c("more", 2)
    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))
    assert tree.headers == {str(root): {str(root / "lib" / name) for name in names.values()}}
    assert build() == "1 2"
    for name, expected in {"number": "3 2", "more": "3 3"}.items():
        compile_c(name, 3)
        found = tree.look((0, 1))
        assert (found.verdict, found.files) == ("rebuild", (f"lib/{names[name]}",))
        assert build() == expected


def test_overlay_of_a_persons_own_is_kept_in_ours(tmp_path: Path) -> None:
    root, scratch = tmp_path / "app", tmp_path / "scratch"
    scratch.mkdir()
    cgo = 'package main\n\n// #include "../number.h"\nimport "C"\n\nvar word = ""\n\n'
    cgo += "func main() { println(C.NUMBER, word) }\n"
    write(root, {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": cgo})
    write(tmp_path, {"number.h": "#define NUMBER 1\n", "word": 'package main\n\nfunc init() { word = "own" }\n'})
    write(tmp_path, {"own.json": json.dumps({"Replace": {"word.go": "../word"}})})  # relative to where go runs
    plan = Plan("go", str(root), ".", (*FLAGS, "-overlay", "../own.json"), (), {**os.environ, "CGO_ENABLED": "1"})
    tree = Tree(str(root), Settings(), capture, plan)

    def said() -> str:
        path = overlay(tree.headers, str(scratch), plan.overlay)
        out = tmp_path / "binary"
        more = [f"-overlay={path}"] if path else []
        subprocess.run(plan.build(str(out), *more), cwd=root, env=plan.env, check=True)
        return subprocess.run([out], capture_output=True, text=True, check=True).stderr.strip()

    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))
    assert said() == "1 own"
    for name, text, expected in (
        ("number.h", "#define NUMBER 2\n", "2 own"),
        ("word", 'package main\n\nfunc init() { word = "other" }\n', "2 other"),
        ("own.json", '{"Replace": {}}', "2"),
    ):
        write(tmp_path, {name: text})
        assert tree.look((0, 1)).verdict == "rebuild"
        assert said() == expected
    assert overlay(tree.headers, str(scratch), str(tmp_path / "none.json")) is None, "the go command is to complain"


def test_header_that_comes_while_it_runs_counts(tmp_path: Path) -> None:
    """Missing at first, or included only by a later edit: of the Go file, or of a header that is included already."""
    root = tmp_path / "app"
    cgo = 'package main\n\n// #cgo CFLAGS: -include ../forced.h\n// #include "../outer.h"\n{}import "C"\n\n'
    cgo += "func main() {{}}\n"
    write(root, {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": cgo.format("")})
    write(tmp_path, {"later.h": "", "latest.h": ""})
    tree = Tree(str(root), Settings(), capture, Plan("go", str(root), ".", (), (), {**os.environ, "CGO_ENABLED": "1"}))

    def edited(name: str, text: str) -> tuple[str | None, bool]:
        write(tmp_path, {name: text})
        found = tree.look((0, 1))
        asyncio.run(tree.list(time.time_ns))
        tree.look((0, 1))
        return found.verdict, found.relist

    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))
    assert edited("forced.h", "// came\n")[0] == "rebuild"
    assert edited("outer.h", "// came\n")[0] == "rebuild"
    assert edited("later.h", "// nobody includes it\n") == (None, False)
    assert edited("app/main.go", cgo.format('// #include "../later.h"\n')) == ("rebuild", True)
    assert edited("later.h", "// edited\n")[0] == "rebuild"
    assert edited("later.h", '#include "latest.h"\n') == ("rebuild", True)
    assert edited("latest.h", "// edited\n")[0] == "rebuild"
