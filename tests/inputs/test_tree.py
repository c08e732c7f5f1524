"""Against the go command: a file is an input exactly when go rebuilds for its edit."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.tree import Finding, Tree
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule, Watch
from tests.driver import write

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


def arranged(root: Path, variant: str) -> dict[str, str]:
    """The module with its other module replaced, in a workspace, or vendored; returns all files an edit is tried on."""
    write(root, GO)
    if variant == "workspace":
        write(root, {"go.work": "go 1.23\n\nuse (\n\t.\n\t./other\n)\n"})
        write(root, {"go.mod": "module example.com/app\n\ngo 1.23\n"})
    if variant == "vendor":
        subprocess.run(["go", "mod", "vendor"], cwd=root, check=True, capture_output=True)
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".mod", ".work") and path.name not in ("modules.txt", "go.sum")
    }


@pytest.mark.parametrize("variant", ["replace", "workspace", "vendor"])
@pytest.mark.parametrize(("tags", "cgo"), [("", "0"), ("red", "1"), ("red,blue", "0"), ("blue", "1")])
def test_an_edit_rebuilds_exactly_when_go_would(tmp_path: Path, tags: str, cgo: str, variant: str) -> None:
    root = tmp_path / "app"
    files = arranged(root, variant)
    go = Go(root, [f"-tags={tags}"] if tags else [], {"CGO_ENABLED": cgo})
    luck = random.Random(f"{tags} {cgo} {variant}")
    wrong = []
    for name in luck.sample(sorted(files), 16):
        path = root / name
        before = path.read_bytes()
        assert not go.look().verdict
        path.write_bytes(before + MORE.get(path.suffix, "more\n").encode())
        ours = go.look().verdict == "rebuild"
        theirs = go.would_compile()
        if ours != theirs:
            wrong.append(f"{name}: go {theirs}, we {ours}")
        path.write_bytes(before)
        go.look()
    assert wrong == []


@pytest.mark.parametrize("name", ["go.mod", "go.work", "vendor/modules.txt", "default.pgo", "other/go.mod"])
def test_what_the_go_command_never_names_is_an_input_too(tmp_path: Path, name: str) -> None:
    root = tmp_path / "app"
    arranged(root, "vendor" if "vendor" in name else "workspace" if name == "go.work" else "replace")
    go = Go(root, [], {})
    path = root / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n// more\n")
    found = go.look()
    assert (found.verdict, found.relist) == ("rebuild", True)


def test_new_and_gone_names_count_when_they_may_be_in_the_build(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    rows = {
        "a/new.go": True,
        "a/new_test.go": False,
        "a/_new.go": False,
        "a/.new.go": False,
        "a/new.go~": False,
        "a/new.txt": False,
        "a/b/tree/.new": True,
        "a/b/pages/new.html": True,
        "a/b/pages/new.css": False,
        "a/b/three.txt": False,
        "d/new.go": False,
        "go.work": True,
        "a/b/tree/more/z": True,
    }
    wrong = {}
    for name, expected in rows.items():
        write(root, {name: "package a\n"})
        found = go.look()
        if (found.verdict == "rebuild") != expected:
            wrong[name] = found
        path = root / name
        path.unlink()
        if name.endswith("more/z"):
            path.parent.rmdir()
        go.look()
    assert wrong == {}


def test_go_mod_edit_lists_again(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    write(root, {"go.mod": GO["go.mod"].replace("go 1.23", "go 1.24")})
    assert (go.look().verdict, go.look().relist) == ("rebuild", False)
    write(root, {"go.mod": GO["go.mod"]})
    assert go.look().relist


def test_broken_package_keeps_its_last_known_inputs(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    known = go.tree.inputs.build
    write(root, {"a/a.go": "package a\n\nimport (\n"})
    assert go.look().relist
    asyncio.run(go.tree.list(time.time_ns))
    assert known <= go.tree.inputs.build
    write(root, {"a/b/one.txt": "edited"})
    assert go.look().verdict == "rebuild"
    write(root, {"a/a.go": "package a\n"})
    assert go.look().relist
    asyncio.run(go.tree.list(time.time_ns))
    assert str(root / "a" / "b" / "one.txt") not in go.tree.inputs.build


def test_workspace_and_vendor_and_flags_that_name_files(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(tmp_path, {"go.work": "go 1.23\n\nuse (\n\t./app\n\t./app/other\n)\n", "overlay.json": "{}", "my.pgo": ""})
    go = Go(root, [f"-overlay={tmp_path}/overlay.json"], {})
    assert {str(tmp_path / name) for name in ("go.work", "overlay.json")} <= go.tree.inputs.build
    assert str(root / "other" / "o.go") in go.tree.inputs.build
    assert str(root / "default.pgo") in go.tree.inputs.build


def test_profile_that_a_flag_names_is_an_input(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"profiles/my.pgo": "", "profiles/other.pgo": ""})
    go = Go(root, ["-pgo=profiles/my.pgo"], {})
    write(root, {"profiles/other.pgo": "x", "default.pgo": "x"})
    assert go.look().verdict is None
    write(root, {"profiles/my.pgo": "x"})
    assert go.look().verdict == "rebuild"


def test_other_go_mod_that_a_flag_names_has_sums_and_replacements_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"alt/my.mod": GO["go.mod"].replace("./other", "./another"), "go.mod": "module example.com/app\n"})
    (root / "other").rename(root / "another")
    go = Go(root, ["-modfile", "alt/my.mod"], {})
    assert go.tree.listing.clean
    for name, text in {"alt/my.sum": "x\n", "another/go.mod": "// more\n", "alt/my.mod": "// more\n"}.items():
        with (root / name).open("a") as file:
            file.write(text)
        found = go.look()
        assert (found.verdict, found.files, found.relist) == ("rebuild", (name,), True)
    assert listed(go).verdict is None
    assert str(root / "other" / "go.mod") not in go.tree.inputs.build


def test_five_thousand_inputs_are_looked_at_without_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from goreload_tasks.inputs import snapshot

    write(tmp_path, {f"{folder}/{name}.go": "package x\n" for folder in range(50) for name in range(100)})
    files = [str(path) for path in tmp_path.rglob("*.go")]
    seen = snapshot.Snapshot()
    seen.look(files, [])
    deadline = time.monotonic() + 10
    while seen.look(files, []) == snapshot.Look() and not all(seen._files[path].settled for path in files):
        assert time.monotonic() < deadline
    monkeypatch.setattr(snapshot, "read", lambda *_: pytest.fail("a settled file was read"))
    assert seen.look(files, []) == snapshot.Look()


def test_hint_narrows_the_look_and_a_look_everywhere_finds_what_no_hint_told(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    write(
        root,
        {"main.go": GO["main.go"] + "var a = 1\n", "a/a.go": GO["a/a.go"] + "var a = 1\n", "a/new.go": "package a\n"},
    )
    assert go.tree.look((0, 1), [str(root / "main.go")]).files == ("main.go",)
    assert go.tree.look((0, 1), [str(root / "a" / "new.go")]).files == ("a/new.go",)
    assert go.tree.look((0, 1)).files == ("a/a.go",)


def listed(go: Go) -> Finding:
    """What is found once the inputs are listed anew and the new folders are watched; the newest build began just now."""
    now = time.time_ns() + 10**9
    asyncio.run(go.tree.list(lambda: now))
    return go.look()


def told(go: Go, *names: str) -> Finding | None:
    """What a hint of these paths finds; None: it matters to nobody."""
    paths = [str(go.root / name) for name in names]
    return go.tree.look((0, 1), paths) if go.tree.matters(paths) else None


@pytest.mark.parametrize(
    ("folder", "names", "files"),
    [
        ("a", ["a"], {"a/a.go", "a/b/b.go", "a/b/tree/x", "a/b/one.txt"}),  # a package, and one below it
        ("a/b", ["a/b"], {"a/b/b.go", "a/b/tree/x", "a/b/pages/a.html"}),
        ("a/b/tree", ["a/b/tree"], {"a/b/tree/x", "a/b/tree/_under/y"}),  # embedded
        ("other", ["other"], {"other/go.mod", "other/o.go"}),
    ],
)
def test_folder_moved_away_and_back_takes_its_inputs_with_it(
    tmp_path: Path, folder: str, names: list[str], files: set[str]
) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    (root / folder).rename(root / "away")
    gone = told(go, *names, "away")
    assert gone
    assert (gone.verdict, gone.relist) == ("rebuild", True)
    assert files <= set(gone.files)
    listed(go)
    (root / "away").rename(root / folder)
    back = told(go, *names, "away")
    assert back
    assert (back.verdict, back.relist) == ("rebuild", True)
    listed(go)
    write(root, {min(files): "edited"})
    edited = told(go, min(files))
    assert edited
    assert (edited.verdict, edited.files) == ("rebuild", (min(files),))


def test_folder_between_takes_packages_with_it(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"between/x/deep/d.go": "package deep\n"})
    write(root, {"main.go": GO["main.go"].replace("import (", 'import (\n\t_ "example.com/app/between/x/deep"')})
    go = Go(root, [], {})
    (root / "between").rename(root / "away")
    found = told(go, "between", "away")
    assert found
    assert (found.verdict, found.relist, found.files) == ("rebuild", True, ("between/x/deep/d.go",))


def test_missing_package_made_and_filled_in_one_go(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    write(root, {"main.go": GO["main.go"].replace("import (", 'import (\n\t_ "example.com/app/new/deep/pkg"')})
    assert told(go, "main.go") == go.tree._finding([str(root / "main.go")], {}, True)
    listed(go)
    write(root, {"new/deep/pkg/p.go": "package pkg\n"})
    found = told(go, "new")
    assert found
    assert (found.verdict, found.relist) == ("rebuild", True)
    listed(go)
    assert str(root / "new" / "deep" / "pkg" / "p.go") in go.tree.inputs.build


def test_missing_embedded_folder_made_and_filled_in_one_go(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"c/assets/static/x": "x\n"})
    write(root, {"c/e.go": 'package c\n\nimport "embed"\n\n//go:embed assets/static/*\nvar e embed.FS\n'})
    go = Go(root, [], {})
    (root / "c" / "assets").rename(root / "away")
    assert told(go, "c/assets", "away") is not None
    listed(go)
    (root / "away" / "static" / "x").rename(root / "away" / "static" / "y")
    (root / "away").rename(root / "c" / "assets")  # what is in it is as old as the build, and nobody has seen it
    found = told(go, "c/assets", "away")
    assert found
    assert (found.verdict, found.relist) == ("rebuild", True)
    listed(go)
    assert str(root / "c" / "assets" / "static" / "y") in go.tree.inputs.build


def test_what_comes_into_a_folder_before_it_is_watched_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    (root / "a" / "b" / "tree" / "new").mkdir()
    assert told(go, "a/b/tree/new") is not None
    real = go.tree._listed

    async def slow() -> Any:
        answer = await real()
        write(root, {"a/b/tree/new/late.txt": "x\n"})  # the go command has looked there already
        return answer

    monkeypatch.setattr(go.tree, "_listed", slow)
    found = listed(go)
    assert (found.verdict, found.files, found.relist) == ("rebuild", ("a/b/tree/new/late.txt",), True)
    monkeypatch.undo()
    assert not listed(go).verdict
    assert str(root / "a" / "b" / "tree" / "new" / "late.txt") in go.tree.inputs.build


def test_only_folders_that_a_pattern_can_reach_are_watched(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(
        root,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n",
            "main.go": 'package main\n\nimport "embed"\n\n//go:embed *.html web/*/*.css kit docs[1]\nvar files embed.FS\n\n'
            "func main() {}\n",
            "a.html": "x\n",
            "node_modules/one/deep/x.js": "x\n",
            "web/one/a.css": "x\n",
            "web/one/deep/x.js": "x\n",
            "kit/deep/_no/x": "x\n",
            "kit/module/go.mod": "module example.com/kit\n",
            "kit/module/deep/x": "x\n",
            "kit/x": "x\n",
            "docs1/more.html/x": "x\n",
        },
    )
    (root / "kit" / "link").symlink_to(root / "node_modules")
    go = Go(root, [], {})
    assert go.tree.listing.clean
    watched = {os.path.relpath(folder, root) for folder in go.tree.folders if folder.startswith(f"{root}{os.sep}")}
    assert watched == {"web", "web/one", "kit", "kit/deep", "kit/module", "docs1", "docs1/more.html"}
    write(root, {"web/two/b.css": "x\n"})
    assert told(go, "web/two")
    listed(go)
    write(root, {"web/two/c.css": "x\n", "node_modules/two.html": "x\n"})
    assert (found := told(go, "web/two/c.css", "node_modules/two.html"))
    assert found.files == ("web/two/c.css",)


def test_what_an_embedded_folder_cannot_take_in_builds_nothing(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"a/b/tree/module/x": "x\n"})
    go = Go(root, [], {})
    known = root / "a" / "b" / "tree" / "module" / "x"
    assert str(known) in go.tree.inputs.build
    write(root, {"a/b/tree/module/go.mod": "module example.com/module\n"})
    assert (go.look().verdict, go.would_compile()) == ("rebuild", True)
    go.build()
    listed(go)
    assert str(known) not in go.tree.inputs.build
    write(root, {"a/b/tree/module/y": "y\n"})
    (root / "a" / "b" / "tree" / "link").symlink_to(root / "a")
    assert (go.look().verdict, go.would_compile()) == (None, False)
    (root / "a" / "b" / "tree" / "module" / "go.mod").unlink()
    assert (go.look().verdict, go.would_compile()) == ("rebuild", True)
    listed(go)
    assert {str(known), str(known.with_name("y"))} <= go.tree.inputs.build


MEMBERS = {
    "go.work": 'go 1.23\n\nuse (\n\t./a // the app\n\t"./b"\n)\n',
    "a/go.mod": "module ex.com/a\n\ngo 1.23\n",
    "a/main.go": "package main\n\nfunc main() {}\n",
    "b/go.mod": "module ex.com/b\n\ngo 1.23\n",
}
REPLACED = {
    "a/go.mod": "module ex.com/a\n\ngo 1.23\n\nrequire ex.com/b v0.0.0\n\nreplace (\n\tex.com/b v0.0.0 => ../b\n)\n",
    "a/main.go": MEMBERS["a/main.go"],
}
USES_X = {"a/main.go": 'package main\n\nimport _ "ex.com/b/x"\n\nfunc main() {}\n'}
B = {"b/go.mod": MEMBERS["b/go.mod"]}
X = {"b/x/x.go": "package x\n"}


@pytest.mark.parametrize(
    ("files", "edit"),
    [
        (MEMBERS, {"b/go.mod": MEMBERS["b/go.mod"] + "\nrequire ex.com/c v0.0.0\n"}),  # it changes the versions
        (MEMBERS | {"b/go.mod": "nonsense"}, B),
        (MEMBERS | USES_X, X),
        (REPLACED | B | USES_X, X),
        (REPLACED | USES_X, X | B),  # its folder is not there
        (REPLACED | X | USES_X, B),
        (REPLACED | B, {"go.work": "go 1.23\n\nuse ./a\n"}),
        (MEMBERS | {"a/c/d/d.go": "package d\n"} | {"a/main.go": 'package main\n\nimport _ "ex.com/a/c/d"\n\nfunc main() {}\n'},
         {"a/c/go.mod": "module ex.com/a/c\n"}),
    ],
)  # fmt: skip
def test_what_decides_on_modules_is_an_input_where_none_of_their_packages_is_listed(
    tmp_path: Path, files: dict[str, str], edit: dict[str, str]
) -> None:
    write(tmp_path, {"a/go.mod": ""} | files)
    tree = Tree(
        str(tmp_path / "a"),
        Settings(),
        capture,
        Plan("go", str(tmp_path / "a"), ".", (), (), {**os.environ, "GOFLAGS": "", "GOPROXY": "off"}),
    )
    asyncio.run(tree.list(lambda: time.time_ns() + 10**9))
    tree.look((0, 1))
    assert tree.look((0, 1)).verdict is None
    before = {path: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    write(tmp_path, edit)
    paths = {str(path) for name in edit for path in (tmp_path / name, *(tmp_path / name).parents)}
    assert tree.matters(sorted(paths))
    found = tree.look((0, 1))
    assert (found.verdict, found.relist) == ("rebuild", True)
    asyncio.run(tree.list(lambda: time.time_ns() + 10**9))
    tree.look((0, 1))
    for name in edit:
        path = tmp_path / name
        path.write_text(before[path]) if path in before else path.unlink()
    assert tree.look((0, 1)).verdict == "rebuild"


def test_sums_of_the_workspace_count_but_for_what_go_adds(tmp_path: Path) -> None:
    write(tmp_path, MEMBERS)
    plan = Plan("go", str(tmp_path / "a"), ".", (), (), {**os.environ, "GOFLAGS": "", "GOPROXY": "off"})
    tree = Tree(str(tmp_path / "a"), Settings(), capture, plan)
    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))

    def look(*lines: str) -> str | None:
        write(tmp_path, {"go.work.sum": "".join(f"ex.com/{line}=\n" for line in lines)})
        return tree.look((0, 1)).verdict

    assert look("c v1.0.0 h1:aaaa") is None
    assert look("c v1.0.0 h1:aaaa", "c v1.0.0/go.mod h1:aaaa") is None
    assert look("c v1.0.0 h1:bbbb", "c v1.0.0/go.mod h1:aaaa") == "rebuild"
    assert look("c v1.0.0 h1:bbbb") == "rebuild"
    write(tmp_path, {"b/go.mod": "nonsense"})
    assert tree.look((0, 1)).relist
    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))
    assert look("c v1.0.0 h1:bbbb", "d v1.0.0 h1:bbbb") == "rebuild"


def test_source_that_a_constraint_may_keep_out_is_asked_about_before_anything_is_built(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"a/red_test.go": "//go:build red\n\npackage a\n"})
    go = Go(root, [], {})

    def edit(**files: str | None) -> tuple[str | None, str | None]:
        for name, text in files.items():
            path = root / "a" / name.replace("__", ".")
            path.unlink() if text is None else path.write_text(text)
        found = go.look()
        assert found.relist
        return found.verdict, listed(go).verdict

    imports = 'package a\n\nimport _ "fmt"\n'
    assert edit(red_test__go="//go:build red\n\n" + imports) == (None, None)
    assert edit(a_windows__go=imports) == (None, None)
    assert edit(a_windows__go=None) == (None, None)
    assert edit(new_windows__go="package a\n", x_windows__s="", ignored__go="//go:build ignore\n\npackage main\n") == (
        None,
        None,
    )
    assert not go.would_compile()
    assert edit(ignored__go="package a\n") == (None, "rebuild")
    assert edit(red__go="//go:build linux\n\npackage a\n") == (None, "rebuild")
    assert edit(new_linux__go="package a\n") == (None, "rebuild")
    assert edit(wrong__go="//go:build linux\n\npackage wrong\n") == (None, "rebuild")
    assert go.would_compile()
    assert edit(wrong__go=None) == ("rebuild", None)


def test_header_of_a_test_that_the_go_command_cannot_read_hinders_no_build_after_it_is_mended(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})

    def edit(**files: str | None) -> tuple[str | None, tuple[str, ...], bool]:
        for name, text in files.items():
            path = root / "a" / f"{name}.go"
            path.unlink() if text is None else path.write_text(text)
        found = go.look()
        assert (found.verdict, found.relist) == (None, True)
        found = listed(go)
        return found.verdict, found.mended, go.would_compile()

    assert edit(x_test='package a_test\n\nimport "testing"\n') == (None, ("a/x_test.go",), False)
    assert edit(x_test="") == (None, (), True)
    assert edit(x_test="package a\n") == (None, ("a/x_test.go",), False)
    assert edit(new_test="") == (None, (), True)
    assert edit(new_test=None) == (None, ("a/new_test.go",), False)
    assert edit(new_test="package b\n") == (None, (), True)
    assert edit(new_test="package a\n") == (None, ("a/new_test.go",), False)
    write(root, {"a/new_test.go": "package a\n\nfunc broken( {\n"})
    assert (go.look(), go.would_compile()) == (Finding(), False)
    assert edit(red="//go:build (red\n\npackage a\n")[::2] == ("rebuild", True)
    assert edit(red="//go:build red\n\npackage a\n") == (None, ("a/red.go",), False)


def test_new_source_calls_for_one_build_and_one_listing(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    begun = time.time_ns()  # of a build before the file
    write(root, {"a/new.go": "package a\n"})
    found = go.tree.look((begun, begun + 1))
    assert (found.verdict, found.relist) == ("rebuild", True)
    asyncio.run(go.tree.list(lambda: begun))  # the build that was called for has not begun yet
    assert go.tree.look((begun, begun + 1)) == Finding()
    write(root, {"a/newer.go": "package a\n"})
    assert go.look().verdict == "rebuild"
    write(root, {"a/newer.go": "package a\n\nvar N = 1\n"})  # before it is known to be an input
    assert listed(go).files == ("a/newer.go",)
    (root / "a" / "newer.go").unlink()
    assert go.look().verdict == "rebuild"
    listed(go)
    write(root, {"a/newer.go": "package a\n\nvar N = 2\n"})  # it was known once, and is another now
    assert go.look().verdict == "rebuild"
    assert listed(go).verdict is None


def test_new_source_of_cgo_is_asked_about_too(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {"CGO_ENABLED": "1"})
    write(root, {"c/new.c": "int new;\n"})
    assert (go.look().verdict, listed(go).verdict) == (None, "rebuild")
    assert go.would_compile()
    go = Go(root, [], {"CGO_ENABLED": "0"})
    write(root, {"a/c.go": 'package a\n\nimport "C"\n', "a/x.S": ""})
    assert (go.look().verdict, listed(go).verdict) == (None, None)
    assert not go.would_compile()
    write(root, {"a/y.s": ""})
    assert (go.look().verdict, listed(go).verdict) == (None, "rebuild")
    assert go.would_compile()


def test_command_of_a_rule_goes_before_the_build_of_what_is_in_it_too(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    rules = tuple(Rule(name, (f"*.{name}",), run="true", then="nothing") for name in ("txt", "go"))
    settings = Settings(rules=(*rules, Rule("html", ("*.html",), then="nothing")))
    tree = Tree(str(root), settings, capture, Plan("go", str(root), ".", (), (), {**os.environ, "GOFLAGS": ""}))
    asyncio.run(tree.list(time.time_ns))
    tree.look((0, 1))

    def look(name: str, text: str) -> tuple[str | None, list[tuple[str, str]]]:
        write(root, {name: text})
        found = tree.look((0, 1))
        return found.verdict, [(rule.name, rule.then) for rule in found.rules]

    assert look("a/b/one.txt", "edited") == (None, [("rule txt", "rebuild")])
    assert look("a/notes.txt", "edited") == (None, [("rule txt", "nothing")])
    assert look("a/a.go", "package a\n") == (None, [("rule go", "rebuild")])
    assert look("a/new.go", "package a\n") == (None, [("rule go", "rebuild")])
    assert look("a/b/pages/a.html", "edited") == ("rebuild", [])
    assert look("a/b/pages/new.html", "new") == ("rebuild", [])


def test_folder_of_selected_files_moved_in_calls_for_what_they_call_for(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, {"templates/a.html": "x\n"})
    write(tmp_path, {"outside/b.html": "x\n"})
    tree = Tree(str(root), Settings(watch=Watch(include=("*.html",), gitignore=False)), capture)
    now = time.time_ns() + 10**9  # all of it is older than the newest run

    def look(*paths: Path) -> Finding:
        return tree.look((0, 1), [str(path) for path in paths])

    asyncio.run(tree.list(lambda: now))
    look()
    (tmp_path / "outside").rename(root / "templates" / "in")
    assert look(root / "templates" / "in").relist
    asyncio.run(tree.list(lambda: now))
    assert (look().verdict, look().verdict) == ("rebuild", None)


def test_project_that_went_and_came_back_is_found_from_the_folder_above(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, {"a.html": "x\n"})
    tree = Tree(str(root), Settings(watch=Watch(include=("*.html",), gitignore=False)), capture)

    def look(*paths: Path) -> Finding:
        assert tree.matters([str(path) for path in paths])
        return tree.look((0, 1), [str(path) for path in paths])

    asyncio.run(tree.list(time.time_ns))
    look()
    shutil.rmtree(root)
    assert look(root).relist
    asyncio.run(tree.list(time.time_ns))
    look()
    assert tree.folders == {str(tmp_path)}
    write(root, {"sub/a.html": "x\n"})
    assert look(root).relist
    asyncio.run(tree.list(time.time_ns))
    assert tree.folders == {str(root), str(root / "sub")}


def test_same_size_and_same_time_do_not_hide_an_edit(tmp_path: Path) -> None:
    from goreload_tasks.inputs.snapshot import Snapshot

    path = tmp_path / "a.go"
    path.write_text("package a // 1\n")
    seen = Snapshot()
    seen.look([str(path)], [])
    for number in range(2, 9):
        status = path.stat()
        path.write_text(f"package a // {number}\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert seen.look([str(path)], []).changed == (str(path),)


def test_fifo_and_folder_in_the_place_of_a_source_do_not_hang(tmp_path: Path) -> None:
    from goreload_tasks.inputs.snapshot import Snapshot

    os.mkfifo(tmp_path / "a.go")
    (tmp_path / "b.go").mkdir()
    assert Snapshot().look([str(tmp_path / "a.go"), str(tmp_path / "b.go")], [str(tmp_path)]).changed == ()


def remembered(go: Go, **env: str) -> Tree:
    """The tree of a second start."""
    plan = replace(go.plan, env={**go.plan.env, **env})
    return Tree(str(go.root), Settings(), capture, plan, str(go.root.parent / "listing.json"))


def test_second_start_knows_the_inputs_before_it_has_asked(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    first = remembered(go)
    assert not first.recall(time.time_ns())
    asyncio.run(first.list(time.time_ns))
    second = remembered(go)
    assert second.recall(time.time_ns())
    assert (second.inputs.build, second.folders) == (first.inputs.build, first.folders)
    second.look((0, 1))
    write(root, {"a/b/one.txt": "edited"})
    assert second.look((0, 1)).verdict == "rebuild"
    third = remembered(go)
    assert third.recall(time.time_ns() + 10**9)
    assert third.look((0, 1)).verdict is None, "what was edited before the start, the first build reads"


@pytest.mark.parametrize(
    ("name", "text", "known"),
    [
        ("main.go", "package main\n\nfunc main() { println(1) }\n", True),
        ("notes.txt", "a note", True),
        ("main_test.go", "package main\n", True),
        ("main.go", 'package main\n\nimport _ "example.com/app/x"\n\nfunc main() {}\n', False),
        ("more.go", "package main\n", False),
        ("go.mod", "module example.com/app\n\ngo 1.23\n\nreplace example.com/x => ../x\n", False),
        ("more.go", None, False),
        ("my.mod", "module example.com/app\n\ngo 1.24\n", False),
    ],
)
def test_second_start_asks_first_when_other_files_may_be_in_the_build(
    tmp_path: Path, name: str, text: str | None, known: bool
) -> None:
    root = tmp_path / "app"
    mod = "module example.com/app\n\ngo 1.23\n"
    files = {"go.mod": mod, "my.mod": mod, "main.go": "package main\n\nfunc main() {}\n"}
    write(root, files if text else {**files, name: "package main\n"})
    go = Go(root, ["-modfile=my.mod"] if name == "my.mod" else [], {})
    asyncio.run(remembered(go).list(time.time_ns))
    if text:
        write(root, {name: text})
    else:
        (root / name).unlink()
    assert remembered(go).recall(time.time_ns()) is known


@pytest.mark.parametrize("env", [{"GOFLAGS": "-tags=x"}, {"CGO_ENABLED": "0"}, {"GOARCH": "arm64"}, {"GOENV": "off"}])
def test_other_settings_of_the_go_command_are_another_question(tmp_path: Path, env: dict[str, str]) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    asyncio.run(remembered(go).list(time.time_ns))
    assert not remembered(go, **env).recall(time.time_ns())


def test_go_env_w_between_two_starts_is_another_question(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {"GOENV": str(tmp_path / "goenv")})
    asyncio.run(remembered(go).list(time.time_ns))
    assert remembered(go).recall(time.time_ns())
    subprocess.run(
        ["go", "env", "-w", "GOFLAGS=-trimpath"], env={**os.environ, "GOENV": str(tmp_path / "goenv")}, check=True
    )
    assert not remembered(go).recall(time.time_ns())


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense"])
def test_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(tmp_path, {"listing.json": text})
    assert not remembered(Go(root, [], {})).recall(time.time_ns())


def test_go_command_that_never_answers_is_given_up_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "app"
    write(root, GO)
    go = Go(root, [], {})
    os.mkfifo(root / "a" / "pipe.go")  # the go command opens it, and waits for a writer
    assert go.look().relist
    monkeypatch.setattr("goreload_tasks.inputs.listing.LIMIT", 1.0)
    with pytest.raises(TimeoutError, match="no answer in 1 s"):
        listed(go)
    (root / "a" / "pipe.go").unlink()
    monkeypatch.undo()
    assert go.look().relist
    listed(go)
    assert go.tree.listing.clean
