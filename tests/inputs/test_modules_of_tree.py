"""Modules, workspaces, constraints and rules: what calls for a listing, and what that calls for."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.tree import Finding, Tree
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule, Watch
from tests.driver import write
from tests.inputs.trees import GO, Go, listed

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


def test_sums_and_workspaces_of_a_replaced_module_decide_on_nothing(tmp_path: Path) -> None:
    write(
        tmp_path, {**REPLACED, **B, **X, **USES_X, "b/go.sum": "", "b/go.work": "go 1.23\n", "b/vendor/modules.txt": ""}
    )
    for env, workspaces in (({}, True), ({"GOWORK": "off"}, False)):
        go = Go(tmp_path / "a", [], env)
        assert str(tmp_path / "b" / "go.mod") in go.tree.inputs.build
        assert (
            not {str(tmp_path / "b" / name) for name in ("go.sum", "go.work", "vendor/modules.txt")}
            & go.tree.inputs.build
        )
        assert (str(tmp_path / "go.work") in go.tree.inputs.build) == workspaces


def test_source_that_a_constraint_may_keep_out_is_asked_about_before_anything_is_built(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, GO)
    write(root, {"a/red_test.go": "//go:build red\n\npackage a\n"})
    go = Go(root, [], {})

    def edit(**files: str | None) -> tuple[str | None, str | None]:
        build = time.time_ns()
        for name, text in files.items():
            path = root / "a" / name.replace("__", ".")
            path.unlink() if text is None else path.write_text(text)
        found = go.look()
        assert found.relist
        return found.verdict, listed(go, build).verdict

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
        build = time.time_ns()
        for name, text in files.items():
            path = root / "a" / f"{name}.go"
            path.unlink() if text is None else path.write_text(text)
        found = go.look()
        assert (found.verdict, found.relist) == (None, True)
        found = listed(go, build)
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
    build = time.time_ns()
    write(root, {"c/new.c": "int new;\n"})
    assert (go.look().verdict, listed(go, build).verdict) == (None, "rebuild")
    assert go.would_compile()
    go = Go(root, [], {"CGO_ENABLED": "0"})
    write(root, {"a/c.go": 'package a\n\nimport "C"\n', "a/x.S": ""})
    assert (go.look().verdict, listed(go).verdict) == (None, None)
    assert not go.would_compile()
    build = time.time_ns()
    write(root, {"a/y.s": ""})
    assert (go.look().verdict, listed(go, build).verdict) == (None, "rebuild")
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
    later = time.time_ns() + 10**9  # all of it is older than the newest run

    def look(*paths: Path) -> Finding:
        return tree.look((0, 1), [str(path) for path in paths])

    asyncio.run(tree.list(lambda: later))
    look()
    begun = time.time_ns()
    (tmp_path / "outside").rename(root / "templates" / "in")
    assert look(root / "templates" / "in").relist
    asyncio.run(tree.list(lambda: begun))
    assert (look().verdict, look().verdict) == ("rebuild", None)
    (root / "templates" / "in").rename(tmp_path / "outside")
    look(root / "templates" / "in")
    asyncio.run(tree.list(lambda: later))
    look()
    (tmp_path / "outside").rename(root / "templates" / "in")
    assert look(root / "templates" / "in").relist
    asyncio.run(tree.list(lambda: later))  # another run began behind that look: it has read them
    assert look().verdict is None


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
