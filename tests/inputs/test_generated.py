"""Against the go command, on generated modules: what it would build again is built, and nothing else is.

Any edit, new name, removal or renaming of any file in the tree. For a long run set GORELOAD_TEST_MODULES to 200, and
GORELOAD_TEST_SEED to where it begins.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.driver import write
from tests.inputs.trees import Go, listed

MODULES = int(os.environ.get("GORELOAD_TEST_MODULES", "2"))
"""How many modules, each with some 80 files; EDITS of them are tried, in a long run all."""
FIRST = int(os.environ.get("GORELOAD_TEST_SEED", "0"))
EDITS = 8

DIFFERED: tuple[int, ...] = ()
"""Seeds on which we and the go command once differed."""

SUFFIXES = (
    *("", "", "_linux", "_windows", "_amd64", "_arm64", "_linux_arm64", "_linux_amd64", "_unix", "_test", "_js_wasm"),
)
CONSTRAINTS = (
    *("", "", "", "//go:build red", "//go:build !red", "//go:build red && linux", "//go:build blue || windows"),
    *("//go:build ignore", "//go:build cgo", "//go:build !cgo", "//go:build unix", "//go:build go1.18"),
    *("//go:build go1.99", "// +build red", "// Copyright\n\n//go:build (red || blue) && !windows"),
)
PATTERNS = ("static", "all:static", "static/*", "static/*.txt", "*.html", "static/[ab]*", "static/deep", "data.json")
STATIC = (
    *("a.txt", "b.css", ".hidden", "_under", "deep/c.txt", "deep/.dot/d", "deep/_no/e", "deep/x_test.go", "Ünï.txt"),
    *("deep/mod/go.mod", "deep/mod/x"),
)
FLAGS: tuple[list[str], ...] = ([], ["-tags=red"], ["-tags=red,blue"], ["-tags=blue"], ["-race"], ["-trimpath"])
NEW = (
    *("new.go", "new_test.go", "new_windows.go", "new_linux.go", "_new.go", ".new.go", "new.txt", "new.html", "new.s"),
    *("new_arm64.s", "new.h", "static/new.txt", "static/deep/new", "static/.new", "static/more/new/x", "data.json~"),
    *("testdata/new.go", "sub/new.go", "new.GO", "new.go~"),
)


def package(luck: random.Random, folder: str, name: str, imports: list[str]) -> Iterator[tuple[str, str]]:
    """The files of a package: any of them may be in the build or not, and it compiles all the same."""
    embeds = luck.sample(PATTERNS, luck.randint(0, 2)) if luck.random() < 0.5 else []
    lines = [f'import _ "{path}"' for path in imports]
    lines += ['import "embed"', "", f"//go:embed {' '.join(embeds)}", "var files embed.FS"] if embeds else []
    body = "\n\nfunc main() {}\n" if name == "main" else ""
    yield f"{folder}{name}.go", f"package {name}\n\n" + "\n".join(lines) + body + "\n"
    for number in range(luck.randint(0, 4)):
        file = f"f{number}{luck.choice(SUFFIXES)}"
        head = luck.choice(CONSTRAINTS)
        yield f"{folder}{file}.go", f"{head}\n\npackage {name}\n\nvar v{number}{luck.randint(0, 999)} = 1\n"
    for number, ending in enumerate(luck.sample(("_amd64.s", "_arm64.s", ".h", ".txt", ".md", "_windows.h"), 2)):
        yield f"{folder}g{number}{ending}", "// x\n"
    for file in (*luck.sample(STATIC, 6), "a.txt"):
        yield f"{folder}static/{file}", "module example.com/inner\n" if file.endswith("go.mod") else "x\n"
    yield f"{folder}static/deep/always.txt", "x\n"
    yield f"{folder}data.json", "{}"
    yield f"{folder}page.html", "x\n"
    yield f"{folder}testdata/t.go", "package t\n"
    if luck.random() < 0.3:
        yield f"{folder}cg.go", f'package {name}\n\n// #include "cg.h"\nimport "C"\n\nvar c = int(C.ONE)\n'
        yield f"{folder}cg.h", "#define ONE 1\n"
        yield f"{folder}cg.c", '#include "cg.h"\n'
        yield f"{folder}cg_windows.c", "int w;\n"


def module(luck: random.Random, top: str, path: str, others: list[str], main: bool) -> Iterator[tuple[str, str]]:
    """A module of several packages, each of which may import those after it; some are imported by nobody."""
    folders = ["a/", "a/deep/", "b/", "internal/c/", "d/"]
    imported = [f"{path}/{folder.rstrip('/')}" for folder in folders]
    for at, folder in enumerate(folders):
        after = [one for one in imported[at + 1 :] if luck.random() < 0.3] + [
            one for one in others if luck.random() < 0.2
        ]
        yield from package(luck, f"{top}{folder}", folder.rstrip("/").split("/")[-1], after)
    if main:
        yield from package(luck, top, "main", [one for one in imported if luck.random() < 0.5] + others[:1])


def generated(root: Path, luck: random.Random) -> None:
    layout = luck.choice(("alone", "replace", "workspace", "vendor"))
    others = [] if layout == "alone" else ["example.com/other/a", "example.com/other/d"]
    files = dict(module(luck, "", "example.com/app", others, True))
    uses = "\nrequire example.com/other v0.0.0\n\nreplace example.com/other => ../other\n"
    files["go.mod"] = "module example.com/app\n\ngo 1.23\n" + (uses if layout in ("replace", "vendor") else "")
    if others:
        files |= dict(module(luck, "../other/", "example.com/other", [], False))
        files["../other/go.mod"] = "module example.com/other\n\ngo 1.23\n"
    if layout == "workspace":
        files["../go.work"] = "go 1.23\n\nuse (\n\t./app\n\t./other\n)\n"
    write(root, files)
    if layout == "vendor":
        subprocess.run(["go", "mod", "vendor"], cwd=root, check=True, capture_output=True)


def everything(top: Path) -> list[Path]:
    """All files whose edit says nothing about modules."""
    found = sorted(path for path in top.rglob("*") if path.is_file() and path.name not in ("modules.txt", "go.sum"))
    return [path for path in found if path.suffix not in (".mod", ".work") and path != top / "binary"]


def attempts(luck: random.Random, top: Path, long: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Things that a person does, and how to undo them; each is done when it is asked for."""
    files = everything(top)
    for path in files if long else luck.sample(files, EDITS):
        before = path.read_bytes()
        more = {".go": b"\nvar _ = 1\n", ".c": b"\nint more;\n"}.get(path.suffix, b"\n// more\n")
        path.write_bytes(before + more)
        yield f"edit {path.relative_to(top)}", partial(path.write_bytes, before)
        if luck.random() < 0.3:
            path.unlink()
            yield f"remove {path.relative_to(top)}", partial(path.write_bytes, before)
        if luck.random() < 0.3:
            to = path.with_name(luck.choice(NEW).split("/")[-1])
            broken = to.name.endswith("_test.go") and path.suffix != ".go"  # go refuses it, and we wait for the mend
            if not to.exists() and not broken:
                path.rename(to)
                yield f"rename {path.relative_to(top)} {to.name}", partial(to.rename, path)
    folders = sorted({path.parent for path in files if path.parent.name != "deep"} | {top / "app"})
    for _ in range(40 if long else EDITS):
        path = luck.choice(folders) / luck.choice(NEW)
        if path.exists():
            continue
        made = next(above for above in reversed([path, *path.parents]) if not above.exists())
        sources = [one for one in path.parent.glob("*.go") if not one.name.startswith(("_", ".", "f"))]
        name = sources[0].stem if sources else "x"
        write(path.parent, {path.name: f"package {name}\n" if path.suffix == ".go" else ""})
        yield f"new {path.relative_to(top)}", partial(shutil.rmtree, made) if made.is_dir() else made.unlink


@pytest.mark.parametrize("seed", [*DIFFERED, *range(FIRST, FIRST + MODULES)])
def test_go_builds_again_exactly_when_we_do(tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    root = tmp_path / "app"
    generated(root, luck)
    flags = luck.choice(FLAGS)
    env = {"CGO_ENABLED": "1" if "-race" in flags else luck.choice("01"), "GOPROXY": "off"}
    try:
        go = Go(root, [*flags, "-buildvcs=false"], env)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"seed {seed}: the generated module does not build: {error.stderr.decode()}")
    assert go.tree.listing.clean, go.tree.listing.error
    wrong = []
    for what, undo in attempts(luck, tmp_path, MODULES > 10):
        found = go.look()
        ours = found.verdict == "rebuild" or (found.relist and listed(go).verdict == "rebuild")
        theirs = go.would_compile()
        if ours != theirs:
            wrong.append(f"{what}: go {theirs}, we {ours}")
        undo()
        if go.look().relist or found.relist:
            listed(go)
    assert wrong == [], f"seed {seed}, {flags}, {env}"
    if MODULES > 10:
        assert as_built(go, luck) == clean(go, tmp_path / "cache"), f"seed {seed}: not what a clean build makes"


STRIPPED = "-ldflags=-s -w -buildid="


def as_built(go: Go, luck: random.Random) -> bytes:
    """The binary after some edits of inputs, as it is built again and again in a cache that knows much."""
    sources = sorted(path for path in go.tree.inputs.build if path.endswith(".go") and os.path.isfile(path))
    for path in luck.sample(sources, min(5, len(sources))):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"\nvar _ = {luck.randint(0, 9)}\n")
        assert go.look().verdict == "rebuild"
        subprocess.run(go.plan.build(str(go.root / "out"), STRIPPED), cwd=go.root, env=go.env, check=True)
    return (go.root / "out").read_bytes()


def clean(go: Go, cache: Path) -> bytes:
    """What an empty cache makes of the same tree."""
    env = {**go.env, "GOCACHE": str(cache)}
    subprocess.run(go.plan.build(str(go.root / "out"), STRIPPED), cwd=go.root, env=env, check=True)
    shutil.rmtree(cache)
    return (go.root / "out").read_bytes()
