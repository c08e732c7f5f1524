"""A Go project and its tree, for the tests of what a change calls for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.tree import Finding, Tree
from goreload_tasks.settings import Settings

GO = {
    "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/other v0.0.0\n\nreplace example.com/other => ./other\n",
    "main.go": 'package main\n\nimport (\n\t_ "example.com/app/a"\n\t_ "example.com/app/c"\n\t_ "example.com/other"\n)\n\n'
    f"func main() {{}}\n\n// {uuid4()}: an earlier run under the same path may have compiled all of this already\n",
    "main_test.go": "package main\n",
    "a/a.go": 'package a\n\nimport _ "example.com/app/a/b"\n',
    "a/a_windows.go": "package a\n",
    "a/a_linux.go": "package a\n",
    "a/a_arm64.go": "package a\n",
    "a/red.go": "//go:build red\n\npackage a\n",
    "a/notred.go": "//go:build !red\n\npackage a\n",
    "a/blue.go": "//go:build blue && linux\n\npackage a\n",
    "a/_hidden.go": "package a\n",
    "a/.dot.go": "package a\n",
    "a/x_test.go": "package a_test\n",
    "a/notes.txt": "x\n",
    "a/testdata/t.go": "package t\n",
    "a/b/b.go": 'package b\n\nimport "embed"\n\n//go:embed all:tree one.txt pages/*.html "with space.txt"\nvar files embed.FS\n',
    "a/b/one.txt": "x\n",
    "a/b/two.txt": "x\n",
    "a/b/with space.txt": "x\n",
    "a/b/tree/x": "x\n",
    "a/b/tree/.dot": "x\n",
    "a/b/tree/_under/y": "x\n",
    "a/b/pages/a.html": "x\n",
    "a/b/pages/a.css": "x\n",
    "a/b/pages/deep/b.html": "x\n",
    "c/c.go": "package c\n\nvar C = c()\n",
    "c/cgo.go": 'package c\n\n// #include "c.h"\nimport "C"\n\nfunc c() int { return int(C.one()) }\n',
    "c/nocgo.go": "//go:build !cgo\n\npackage c\n\nfunc c() int { return 0 }\n",
    "c/c.h": "int one(void);\n",
    "c/c.c": '#include "c.h"\nint one(void) { return 1; }\n',
    "c/c_windows.c": "int two(void) { return 2; }\n",
    "d/d.go": "package d\n",
    "other/go.mod": "module example.com/other\n\ngo 1.23\n",
    "other/o.go": "package other\n\nfunc add(a, b int64) int64\n",
    "other/add_amd64.s": "TEXT ·add(SB),4,$0-24\n\tMOVQ a+0(FP), AX\n\tADDQ b+8(FP), AX\n\tMOVQ AX, ret+16(FP)\n\tRET\n",
    "other/add_arm64.s": "TEXT ·add(SB),4,$0-24\n\tMOVD a+0(FP), R0\n\tMOVD b+8(FP), R1\n\tADD R1, R0\n\tMOVD R0, ret+16(FP)\n\tRET\n",
    "other/unused/u.go": "package unused\n",
    "vendor.txt": "no\n",
}  # fmt: skip


MORE = {
    ".go": "\nvar _ = 1\n",
    ".c": "\nint more;\n",
    ".h": "\nint more;\n",
    ".s": "\n// more\n",
    ".mod": "\n// more\n",
}


class Go:
    """A module, a tree of ours over it, and the go command's own opinion."""

    def __init__(self, root: Path, flags: list[str], env: Mapping[str, str]) -> None:
        self.root, self.flags, self.env = root, flags, {**os.environ, "GOFLAGS": "", **env}
        self.plan = Plan("go", str(root), ".", tuple(flags), (), self.env)
        self.tree = Tree(str(root), Settings(), capture, self.plan)
        self.build()
        asyncio.run(self.tree.list(time.time_ns))
        self.tree.look((0, 1))

    def build(self) -> None:
        out = self.root.parent / "binary"
        subprocess.run(
            ["go", "build", "-o", out, *self.flags, "."], cwd=self.root, env=self.env, check=True, capture_output=True
        )

    def would_compile(self) -> bool:
        """Does the go command want to compile anything of the module?"""
        words = ["go", "build", "-n", "-o", os.devnull, *self.flags, "."]
        done = subprocess.run(words, cwd=self.root, env=self.env, capture_output=True, text=True, check=False)
        sections = done.stderr.replace("\n#\n", "\n").splitlines()
        return done.returncode != 0 or any(line.startswith("# example.com/") for line in sections)

    def look(self) -> Finding:
        return self.tree.look((0, 1))


def listed(go: Go, build: int = 0) -> Finding:
    """What is found once the inputs are listed anew and new folders are watched.

    Args:
        build: when the newest build began, in ns; else just now.
    """
    build = build or time.time_ns() + 10**9
    asyncio.run(go.tree.list(lambda: build))
    return go.look()


def told(go: Go, *names: str) -> Finding | None:
    """What a hint of these paths finds; None: it matters to nobody."""
    paths = [str(go.root / name) for name in names]
    return go.tree.look((0, 1), paths) if go.tree.matters(paths) else None
