"""Against the go command: a file is an input exactly when go rebuilds for its edit."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.driver import write
from tests.inputs.trees import GO, MORE, Go, listed


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
