"""`why` against what happens: its verdict on a path is what a change of that path then calls for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.tree import Finding, Tree
from goreload_tasks.inputs.verdict import sentence
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule, Watch
from tests.driver import write

FILES = {
    ".gitignore": "/gen/\n*.log\n",
    "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/other v0.0.0\n\n"
    "replace example.com/other => ../other\n",
    "main.go": 'package main\n\nimport (\n\t_ "example.com/app/gen"\n\t_ "example.com/app/in/store"\n'
    '\t_ "example.com/other"\n)\n\nfunc main() {}\n',
    "main_test.go": "package main\n",
    "gen/gen.go": "package gen\n",
    "in/store/store.go": 'package store\n\nimport "embed"\n\n//go:embed sql/*.sql all:web\nvar f embed.FS\n',
    "in/store/store_windows.go": "package store\n",
    "in/store/prod.go": "//go:build prod\n\npackage store\n",
    "in/store/sql/a.sql": "x\n",
    "in/store/sql/notes.txt": "x\n",
    "in/store/web/.x": "x\n",
    "in/store/web/_d/y.css": "x\n",
    "in/store/web/part/go.mod": "module example.com/part\n",
    "in/store/web/part/x": "x\n",
    "lone/lone.go": "package lone\n",
    "tools/gen.go": "//go:build ignore\n\npackage main\n",
    "views/a.html": "x\n",
    "views/x.log": "x\n",
    "views/part/b.html": "x\n",
    "style.css": "x\n",
    "api.proto": "x\n",
    "../other/go.mod": "module example.com/other\n\ngo 1.23\n",
    "../other/other.go": "package other\n",
    "../other/sub/sub.go": "package sub\n",
    "../elsewhere.go": "package main\n",
}

RULES = (
    Rule("css", ("*.css",), then="refresh"),
    Rule("proto", ("*.proto",), run="true", then="nothing"),
    Rule("sql", ("*.sql",), run="true", then="nothing"),
)

ROWS = {
    # there
    "main.go": "rebuild",
    "main_test.go": "nothing",
    "gen/gen.go": "rebuild",
    "in/store/store_windows.go": "nothing",
    "in/store/prod.go": "nothing",
    "in/store/sql/a.sql": "rebuild",
    "in/store/sql/notes.txt": "nothing",
    "in/store/web/.x": "rebuild",
    "in/store/web/_d/y.css": "rebuild",
    "in/store/web/part/x": "nothing",
    "lone/lone.go": "nothing",
    "tools/gen.go": "nothing",
    "views/a.html": "restart",
    "views/x.log": "nothing",
    "views/part/b.html": "nothing",
    "style.css": "refresh",
    "api.proto": "nothing",
    "go.mod": "rebuild",
    ".gitignore": "nothing",
    "../other/other.go": "rebuild",
    "../other/go.mod": "rebuild",
    "../other/sub/sub.go": "nothing",
    "../elsewhere.go": "rebuild",
    # not there
    "new.go": "rebuild",
    "new_test.go": "nothing",
    "new_windows.go": "nothing",
    "new_windows_amd64.s": "nothing",
    "new_linux.go": "rebuild",
    "_new.go": "nothing",
    "gen/new.go": "rebuild",
    "gen/new.txt": "nothing",
    "in/go.mod": "rebuild",
    "lone/go.mod": "nothing",
    "in/store/sql/b.sql": "rebuild",
    "in/store/sql/b.txt": "nothing",
    "in/store/web/x_test.go": "rebuild",
    "in/store/web/new/z": "rebuild",
    "in/store/web/part/z": "nothing",
    "in/store/web/.git/HEAD": "nothing",
    "views/new.html": "restart",
    "views/new/deep/x.html": "restart",
    "views/new.log": "nothing",
    "views/part/new.html": "nothing",
    "db/new.css": "refresh",
    "vendor/modules.txt": "rebuild",
    "go.sum": "rebuild",
    "go.work": "rebuild",
    "../go.work": "rebuild",
    "default.pgo": "rebuild",
    "../new.go": "nothing",
    "notes/new.txt": "nothing",
    ".env": "restart",
    # folders, moved away
    "gen": "rebuild",
    "in": "rebuild",
    "in/store/sql": "rebuild",
    "lone": "nothing",
    "views": "restart",
}

ORDER = ("rebuild", "restart", "refresh", "nothing")


def changed(path: Path) -> Callable[[], object]:
    """Change what is there, or make what is not; returns how to undo it."""
    if path.is_dir():
        away = path.with_name("zz_away")
        path.rename(away)
        return lambda: away.rename(path)
    if path.exists():
        before = path.read_bytes()
        path.write_bytes(before + (b"\nvar X = 1\n" if path.suffix == ".go" else b"\n// more\n"))
        return lambda: path.write_bytes(before)
    made = next(above for above in reversed([path, *path.parents]) if not above.exists())
    path.parent.mkdir(parents=True, exist_ok=True)
    package = "main" if path.parent.name == "app" else path.parent.name
    texts = {".go": f"package {package}\n", ".s": "", ".mod": "module example.com/new\n", ".work": "go 1.23\n\nuse .\n"}
    path.write_text(texts.get(path.suffix, "x\n"))
    return lambda: subprocess.run(["rm", "-r", str(made)], check=True)


def called(*findings: Finding) -> str:
    calls = {found.verdict for found in findings} | {rule.then for found in findings for rule in found.rules}
    return next((call for call in ORDER if call in calls), "nothing")


def test_verdict_is_what_a_change_calls_for(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, FILES)
    (root / "linked.go").symlink_to("../elsewhere.go")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    settings = Settings(watch=Watch(include=("views/**",), ignore=("part/",)), rules=RULES)
    # A `watch.ignore` speaks of what is below the root; the embedded part/ is another module either way.
    env = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    tree = Tree(str(root), settings, capture, Plan("go", str(root), ".", (), (), env))
    later = time.time_ns() + 10**12  # another build has begun

    def settle(build: int = later) -> Finding:
        asyncio.run(tree.list(lambda: build))
        return tree.look((0, 1))

    settle()
    assert settle() == Finding()
    assert tree.listing.clean
    wrong = []
    for name, expected in ROWS.items():
        path = Path(os.path.normpath(root / name))
        verdict = asyncio.run(tree.verdict(str(path)))
        build, undo = time.time_ns(), changed(path)
        found = tree.look((0, 1))
        happened = called(found, *([settle(build)] if found.relist else []))
        if not expected == verdict.calls_for == happened:
            wrong.append(f"{sentence(verdict, str(root))}\n  but what happened is: {happened}, expected {expected}")
        undo()
        tree.look((0, 1))
        settle()
        settle()
    assert wrong == [], "\n".join(wrong)


def test_tree_that_is_broken_keeps_what_was_known_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, FILES)
    plan = Plan("go", str(root), ".", (), (), {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"})
    asyncio.run(Tree(str(root), Settings(), capture, plan, str(tmp_path / "listing.json")).list(time.time_ns))
    write(root, {"main.go": "package main\n\nimport (\n"})

    def why(name: str, memory: str) -> tuple[str, ...]:
        tree = Tree(str(root), Settings(), capture, plan, str(tmp_path / memory))
        verdict = asyncio.run(tree.why(str(root / name)))
        return verdict.calls_for, *verdict.reasons

    mistake = "main.go:3:10: expected ')', found 'EOF'"
    known = f"it was in the build when the go command last saw all; now it says {mistake}"
    assert why("in/store/store.go", "listing.json") == ("rebuild", known)
    lost = ("nothing that is built imports the package in in/store", f"the go command may not see all: {mistake}")
    assert why("in/store/store.go", "none.json") == ("nothing", *lost)
    assert not (tmp_path / "none.json").exists(), "to ask makes nothing"


def test_reason_names_what_really_decides(tmp_path: Path) -> None:
    root = tmp_path / "app"
    write(root, {"go.mod": "module example.com/app\n\ngo 1.23\n", "a.s": "//go:build !linux && !darwin\n"})
    write(root, {"main.go": 'package main\n\nimport _ "example.com/app/gen"\n\nfunc main() {}\n'})
    write(root, {"gen/x.go": "package gen\n", "gen/x.pb.go": "package gen\n"})
    write(root, {".gitignore": "gen/\nnode_modules/\n"})
    (root / "node_modules").symlink_to(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    plan = Plan("go", str(root), ".", (), (), {**os.environ, "GOFLAGS": ""})

    def why(name: str, *ignore: str) -> str:
        tree = Tree(str(root), Settings(watch=Watch(ignore=ignore)), capture, plan)
        return sentence(asyncio.run(tree.why(str(root / name))), str(root))

    assert "nothing happens\n  ignored by `gen/` (watch.ignore, line 1)" in why("gen", "gen/")
    assert "nothing happens\n  ignored by `*.pb.go` (watch.ignore, line 1)" in why("gen/x.pb.go", "*.pb.go")
    assert "a change rebuilds" in why("gen/x.go", "*.pb.go")
    assert "by its constraint `//go:build !linux && !darwin`" in why("a.s")
    assert "ignored" not in why("node_modules")
