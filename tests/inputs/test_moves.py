"""Folders that come, go and move with inputs in them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.inputs.snapshot import COARSE_NS, Entry, Snapshot
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.settings import Settings
from tests.driver import until, write
from tests.inputs.trees import GO, Go, listed, told


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


@pytest.mark.parametrize("name", ["new.txt", "deep/new.txt", "made/new.txt", ""])
def test_what_comes_behind_the_first_listing_and_before_the_first_look_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As with `watch`: its first run may have read what was there before."""
    write(tmp_path, {"old.txt": "x", "deep/old.txt": "x"})
    (tmp_path / "link").symlink_to(tmp_path / "deep")  # is not entered
    written = time.time_ns()
    until(lambda: time.time_ns() > written + 2 * COARSE_NS, "the next tick")
    tree, begun = Tree(str(tmp_path), Settings(), capture), time.time_ns()
    prime = Snapshot.prime

    def late(self: Snapshot, files: Iterable[str]) -> dict[str, Entry]:
        write(tmp_path, {name: "x"} if name else {})
        return prime(self, files)

    monkeypatch.setattr(Snapshot, "prime", late)
    asyncio.run(tree.list(lambda: begun))
    monkeypatch.undo()
    assert tree.look((begun, 0)).relist == bool(name)
    asyncio.run(tree.list(lambda: begun))
    assert tree.look((begun, 0)).files == ((name,) if name else ())
    assert not tree.look((time.time_ns() + 10**9, 0)).relist


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
