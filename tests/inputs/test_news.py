"""What a listing brings to light: neither lost nor counted twice, whatever happened while it ran."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from goreload_tasks.app.process import capture
from goreload_tasks.build.command import Plan
from goreload_tasks.inputs.snapshot import COARSE_NS
from goreload_tasks.inputs.tree import Finding, Tree
from goreload_tasks.settings import Settings
from goreload_tasks.settings.schema import Rule, Watch
from tests.driver import until, write
from tests.inputs.trees import GO

LATER = 10**12


def tick() -> int:
    """A moment from which on what is written is told from what was written before."""
    now = time.time_ns()
    until(lambda: time.time_ns() > now + 2 * COARSE_NS, "the next tick")
    return time.time_ns()


class Listing:
    """A tree, and what happens while a command that it asks runs: before that command reads, and after."""

    def __init__(self, root: Path, settings: Settings | None = None, go: bool = True, first: bool = True) -> None:
        self._before: Callable[[], object] = lambda: None
        self._after: Callable[[], object] = lambda: None
        env = {**os.environ, "GOFLAGS": "", "CGO_ENABLED": "0"}
        plan = Plan("go", str(root), ".", (), (), env) if go else None
        self.tree = Tree(str(root), settings or Settings(), self._ask, plan)
        if first:
            self.run()

    async def _ask(self, argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        if argv[1] == "env":
            return await capture(argv, cwd, env)
        self._before()
        said = await capture(argv, cwd, env)
        self._after()
        return said

    def look(self, *paths: Path) -> Finding:
        return self.tree.look((0, 1), [str(path) for path in paths])

    def run(
        self,
        build: int = 0,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> Finding:
        """List, the newest build having begun then (or else after all of it); what the next look finds."""
        tick()
        self._before, self._after = before, after
        asyncio.run(self.tree.list(lambda: build or time.time_ns() + LATER))
        return self.look()


def test_doubtful_source_that_comes_with_a_change_is_one_build(tmp_path: Path) -> None:
    write(tmp_path, GO)
    listing, build = Listing(tmp_path), tick()
    write(tmp_path, {"a/new_linux.go": "package a\n"})
    assert listing.look().verdict is None
    assert listing.run(build).verdict == "rebuild"
    write(tmp_path, {"a/newer_linux.go": "package a\n", "a/a.go": GO["a/a.go"] + "\nvar _ = 1\n"})
    assert listing.look().verdict == "rebuild"
    assert listing.run() == Finding()  # the build that this called for has read it


def test_new_test_mends_no_build(tmp_path: Path) -> None:
    write(tmp_path, {**GO, "a/a.go": "package a\n\nvar _ int = true\n"})
    listing, build = Listing(tmp_path), tick()
    write(tmp_path, {"a/new_test.go": "package a\n"})
    assert listing.look().relist
    assert listing.run(build) == Finding()


def test_source_written_while_it_is_listed_is_listed_again_though_the_newest_build_has_read_it(tmp_path: Path) -> None:
    write(tmp_path, GO)
    listing = Listing(tmp_path)
    write(tmp_path, {"main.go": GO["main.go"].replace("app/c", "app/d")})
    assert listing.look().relist
    more = {"d/d.go": 'package d\n\nimport _ "example.com/app/e"\n', "e/e.go": "package e\n"}
    found = listing.run(after=lambda: write(tmp_path, more))
    assert (found.verdict, found.relist) == (None, True)
    assert listing.run() == Finding()
    write(tmp_path, {"e/e.go": "package e\n\nvar _ = 1\n"})
    assert listing.look().files == ("e/e.go",)


def test_input_that_was_away_while_its_folder_was_listed_stays_one(tmp_path: Path) -> None:
    write(tmp_path, GO)
    listing = Listing(tmp_path)
    path, away = tmp_path / "a" / "a_linux.go", tmp_path / "away"
    found = listing.run(before=lambda: path.rename(away), after=lambda: away.rename(path))
    assert found.relist
    assert not listing.run().relist
    write(tmp_path, {"a/a_linux.go": "package a\n\nvar _ = 1\n"})
    assert listing.look(path).files == ("a/a_linux.go",)


def test_source_that_comes_into_a_watched_folder_as_it_becomes_a_package_is_found(tmp_path: Path) -> None:
    deep = {"x/deep/deep.go": "package deep\n", "x/x.go": "package x\n"}
    write(tmp_path, {**GO, **deep, "d/d.go": 'package d\n\nimport _ "example.com/app/x/deep"\n'})
    write(tmp_path, {"main.go": GO["main.go"].replace("app/c", "app/d")})
    listing = Listing(tmp_path)
    assert str(tmp_path / "x") in listing.tree.folders
    tick()
    write(tmp_path, {"main.go": GO["main.go"].replace("app/c", "app/x")})
    assert listing.look().relist

    def come() -> None:
        write(tmp_path, {"x/y.go": "package x\n"})
        assert listing.look() == Finding()

    assert listing.run(after=come).relist
    assert listing.run() == Finding()
    write(tmp_path, {"x/y.go": "package x\n\nvar _ = 1\n"})
    assert listing.look().files == ("x/y.go",)


def test_source_that_goes_behind_the_listing_of_its_package_calls_for_a_build(tmp_path: Path) -> None:
    write(tmp_path, {**GO, "d/e.go": "package d\n"})
    listing, build = Listing(tmp_path), tick()
    write(tmp_path, {"main.go": GO["main.go"].replace("app/c", "app/d")})
    assert listing.look().relist
    assert listing.run(build, after=(tmp_path / "d" / "e.go").unlink).files == ("d/e.go",)


def test_folder_that_comes_while_the_listing_runs_calls_for_what_its_files_call_for(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root, {"a.html": "x\n"})
    write(outside, {"b.sql": "x\n"})
    rule = Rule("sql", ("*.sql",), run="true", then="nothing")
    listing = Listing(root, Settings(watch=Watch(include=("*.html",)), rules=(rule,)), go=False)

    def come() -> None:
        outside.rename(root / "in")
        assert listing.look(root / "in").relist

    found = listing.run(before=come)
    assert list(found.rules.values()) == [("in/b.sql",)]
    assert not listing.run().rules


def test_what_never_was_there_has_not_gone_when_its_folder_is_written(tmp_path: Path) -> None:
    write(tmp_path, {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": "package main\n\nfunc main() {}\n"})
    listing, build = Listing(tmp_path, first=False), tick()
    assert listing.run(build, after=lambda: write(tmp_path, {"x.txt": ""})) == Finding()
    assert str(tmp_path / ".env") in listing.tree.inputs.read
