"""What does not compile or link is complained of in the words of `go build`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.build.direct.rig import put, small

FILES = {
    "main.go": """package main

import (
	"fmt"

	"small.example/a"
	"small.example/b"
)

func main() { fmt.Println(a.A(1), b.B(2)) }
""",
    "low/low.go": """package low

import "strings"

type T struct{ X int }

type I interface{ M() }

func (T) M() {}

func Low(x int) int { return x + len(strings.ToUpper("x")) }

func Generic[N int | string](n N) N { return n }
""",
    "low/second.go": 'package low\n\nimport _ "unsafe"\n\nfunc second() int { return 2 }\n',
    "a/a.go": """package a

import "small.example/low"

var _ low.I = low.T{}

func A(x int) int { return low.Low(x) + low.Generic(1) + low.T{X: 1}.X }
""",
    "b/b.go": """package b

import "small.example/low"

func B(x int) int { return low.Low(x) }
""",
    "deep/er/in/side/in.go": "package side\n",
}

LOW = FILES["low/low.go"]
LINKNAME = "//go:linkname f nowhere.f\nfunc f()\n\nfunc init() { f() }\n"
CASES: dict[str, dict[str, str]] = {
    "an unknown name": {"low/low.go": LOW + "var x = nothing\n"},
    "a wrong type": {"low/low.go": LOW + 'var x int = "text"\n'},
    "an unused variable": {"low/low.go": LOW + "func f() {\n\tx := 1\n}\n"},
    "an unused import": {"low/low.go": LOW.replace('len(strings.ToUpper("x"))', "1")},
    "a missing return": {"low/low.go": LOW + "func f() int {\n}\n"},
    "a syntax error": {"low/low.go": LOW + "func f() {\n\tif {\n}\n"},
    "a text without an end": {"low/low.go": LOW + 'var x = "open\n'},
    "a name twice, in two files": {"low/second.go": FILES["low/second.go"] + "func Low() {}\n"},
    "more errors than are shown": {"low/low.go": LOW + "".join(f"var x{n} = nothing{n}\n" for n in range(15))},
    "a constant that is too large": {"low/low.go": LOW + "const c int8 = 1000\n"},
    "a method that is missing": {"low/low.go": LOW.replace("func (T) M() {}", "func (T) N() {}")},
    "a type that a generic function does not take": {"low/low.go": LOW + "var x = Generic(1.5)\n"},
    "initialisation in a circle": {"low/low.go": LOW + "var x = y\nvar y = x\n"},
    "a function without a body": {"low/low.go": LOW + "func f()\n"},
    "a line directive": {"low/low.go": LOW + "//line other.tmpl:7\nvar x = nothing\n"},
    "an absolute line directive": {"low/low.go": LOW + "//line /somewhere/else.go:7\nvar x = nothing\n"},
    "two importers that fail": {"low/low.go": LOW.replace("Low(x int)", "Low(x, y int)")},
    "two packages that have nothing to do with each other": {
        "a/a.go": FILES["a/a.go"] + "var x = nothing\n",
        "b/b.go": FILES["b/b.go"] + "var x = nothing\n",
    },
    "an importer and what it imports": {
        "low/low.go": LOW + "var x = nothing\n",
        "a/a.go": FILES["a/a.go"] + "var x = nothing\n",
    },
    "package main": {"main.go": FILES["main.go"] + "var x = nothing\n"},
    "a linkname to nothing": {"low/second.go": FILES["low/second.go"] + LINKNAME},
    "no function main": {"main.go": FILES["main.go"].replace("func main()", "func other()")},
    "an import in a circle": {"low/low.go": LOW.replace("import", 'import _ "small.example/a"\nimport')},
    "an import of nothing": {"low/low.go": LOW.replace("import", 'import _ "small.example/nothing"\nimport')},
    "another package clause": {"low/second.go": "package other\n"},
    "a file that is not there": {
        "low/second.go": 'package low\n\nimport _ "embed"\n\n//go:embed nothing.txt\nvar x string\n'
    },
}

BY_THE_GO_COMMAND = {
    *("no function main", "a linkname to nothing", "a file that is not there", "another package clause"),
    *("an import in a circle", "an import of nothing"),
}
"""Those that are declined: they come from the linker, or before anything is compiled."""


def blocks(text: str) -> list[str]:
    """What is said of each package: which of two comes first is not decided."""
    return sorted(block.strip() for block in f"\n{text}".split("\n# "))


def test_each_complaint_is_that_of_go_build(tmp_path: Path) -> None:
    made = small(tmp_path, FILES)
    wrong = []

    async def go() -> None:
        await made.begin()
        for name, files in CASES.items():
            put(made.cwd, {**FILES, **files})
            step = await made.step()
            assert step.real.code == 1, name
            if (step.result.code, blocks(step.result.text)) != (
                1,
                blocks(step.real.text),
            ):
                wrong.append(f"{name}: {step.result.text}\nand not\n{step.real.text}")
            if bool(step.declined) is not (name in BY_THE_GO_COMMAND):
                wrong.append(f"{name}: declined {step.declined!r}")
        put(made.cwd, FILES)
        step = await made.step()
        assert step.equal
        assert not step.declined

    asyncio.run(go())
    assert not wrong, "\n\n".join(wrong)


def test_files_outside_the_working_directory_are_named_as_go_build_names_them(tmp_path: Path) -> None:
    """A sibling is shorter when it is relative, what is far away is not."""
    far = tmp_path / "far" / "away" / "low"
    put(far, {"go.mod": "module low.example\n\ngo 1.24\n", "low.go": "package low\n\nfunc Low() int { return 1 }\n"})
    gomod = f"module small.example\n\ngo 1.24\n\nrequire low.example v0.0.0\n\nreplace low.example => {far}\n"
    main = 'package main\n\nimport "low.example"\n\nfunc main() { println(low.Low()) }\n'
    made = small(tmp_path, {"go.mod": gomod, "main.go": main})

    async def go() -> None:
        await made.begin()
        put(far, {"low.go": "package low\n\nfunc Low() int { return nothing }\n"})
        step = await made.step()
        assert not step.declined
        assert step.result.text == step.real.text
        assert "low.go:3:" in step.result.text

    asyncio.run(go())
