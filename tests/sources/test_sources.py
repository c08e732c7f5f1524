"""Every way of saving is told, by both sources; and the one of Linux tells it before the next request is let in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from goreload_tasks.sources import Source
from goreload_tasks.sources.inotify import Inotify
from goreload_tasks.sources.watcher import Watcher
from tests.driver import DEADLINE, Driver, answer, get, server, until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
KINDS = [pytest.param("inotify", marks=LINUX), "watcher"]


class Ears:
    """All that was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.hints: list[tuple[str, ...]] = []
        self._came = asyncio.Event()

    def hear(self, paths: Iterable[str]) -> None:
        self.hints.append(tuple(paths))
        self._came.set()

    def heard(self, path: str | Path) -> bool:
        """Was it told, or was it told to look everywhere?"""
        return any(not hint or str(path) in hint for hint in self.hints)

    async def until(self, path: str | Path) -> None:
        async with asyncio.timeout(DEADLINE):
            while not self.heard(path):
                self._came.clear()
                await self._came.wait()


@contextlib.asynccontextmanager
async def listening(kind: str, *folders: Path | str) -> AsyncIterator[tuple[Source, Ears]]:
    ears = Ears()
    loop = asyncio.get_running_loop()
    source: Source
    if kind == "inotify":
        source = Inotify(ears.hear)
    else:

        def from_its_thread(paths: Iterable[str]) -> None:
            loop.call_soon_threadsafe(ears.hear, tuple(paths))

        source = Watcher(from_its_thread)
    try:
        source.watch(watched(*folders))
        yield source, ears
    finally:
        source.close()


def watched(*folders: Path | str) -> frozenset[str]:
    return frozenset(map(str, folders))


def in_place(folder: Path) -> str:
    (folder / "a.go").write_text("package other\n")
    return "a.go"


def appended(folder: Path) -> str:
    with (folder / "a.go").open("a") as file:
        file.write("// more\n")
    return "a.go"


def atomic(folder: Path) -> str:
    (folder / ".a.go.tmp").write_text("package other\n")
    (folder / ".a.go.tmp").replace(folder / "a.go")
    return "a.go"


def as_vim(folder: Path) -> str:
    (folder / "a.go").rename(folder / "a.go~")
    (folder / "a.go").write_text("package other\n")
    (folder / "a.go~").unlink()
    return "a.go"


def created(folder: Path) -> str:
    (folder / "b.go").write_text("package b\n")
    return "b.go"


def deleted(folder: Path) -> str:
    (folder / "a.go").unlink()
    return "a.go"


def moved_in(folder: Path) -> str:
    (folder.parent / "outside.go").rename(folder / "in.go")
    return "in.go"


def moved_out(folder: Path) -> str:
    (folder / "a.go").rename(folder.parent / "out.go")
    return "a.go"


def touched(folder: Path) -> str:
    os.utime(folder / "a.go", (1, 1))
    return "a.go"


def made_executable(folder: Path) -> str:
    (folder / "a.go").chmod(0o755)
    return "a.go"


def linked(folder: Path) -> str:
    (folder / "hard.go").hardlink_to(folder / "a.go")
    return "hard.go"


def symlinked(folder: Path) -> str:
    (folder / "soft.go").symlink_to("a.go")
    return "soft.go"


def new_folder(folder: Path) -> str:
    (folder / "sub").mkdir()
    return "sub"


def folder_moved_in(folder: Path) -> str:
    (folder.parent / "filled").rename(folder / "filled")
    return "filled"


def not_unicode(folder: Path) -> str:
    name = os.fsdecode(b"caf\xe9.go")
    (folder / name).write_text("package a\n")
    return name


SAVES = [
    in_place, appended, atomic, as_vim, created, deleted, moved_in, moved_out, touched, linked, symlinked, new_folder,
    folder_moved_in, not_unicode, made_executable,
]  # fmt: skip


def arranged(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "f.go").write_text("package f\n")
    (tmp_path / "outside.go").write_text("package outside\n")
    folder.mkdir()
    (folder / "a.go").write_text("package a\n")
    return folder


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_happens_in_a_folder_is_told_and_so_is_what_comes_after(
    tmp_path: Path, kind: str, save: Callable[[Path], str]
) -> None:
    folder = arranged(tmp_path)

    async def scene() -> None:
        async with listening(kind, folder) as (_, ears):
            await ears.until(folder / save(folder))
            ears.hints.clear()
            (folder / "after.go").write_text("package a\n")
            await ears.until(folder / "after.go")

    asyncio.run(scene())


@pytest.mark.parametrize("kind", KINDS)
def test_folder_below_is_watched_only_when_asked(tmp_path: Path, kind: str) -> None:
    folder = arranged(tmp_path)
    (folder / "sub").mkdir()

    async def scene() -> None:
        async with listening(kind, folder) as (source, ears):
            (folder / "sub" / "unheard.go").write_text("x")
            (folder / "heard.go").write_text("x")
            await ears.until(folder / "heard.go")
            assert not ears.heard(folder / "sub" / "unheard.go")
            source.watch(watched(folder, folder / "sub"))
            (folder / "sub" / "b.go").write_text("x")
            await ears.until(folder / "sub" / "b.go")
            (folder / "more.go").write_text("x")
            await ears.until(folder / "more.go")

    asyncio.run(scene())


def by_removal(folder: Path) -> None:
    shutil.rmtree(folder)


def by_move(folder: Path) -> None:
    folder.rename(folder.parent / "away")


@pytest.mark.parametrize("goes", [by_removal, by_move], ids=lambda goes: goes.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_folder_that_was_made_anew_is_watched_anew(tmp_path: Path, kind: str, goes: Callable[[Path], None]) -> None:
    folder = arranged(tmp_path)

    async def scene() -> None:
        async with listening(kind, tmp_path, folder) as (source, ears):
            goes(folder)
            await ears.until(folder)
            source.watch(watched(tmp_path, folder))  # it is not there
            ears.hints.clear()
            folder.mkdir()
            await ears.until(folder)
            source.watch(watched(tmp_path, folder))
            ears.hints.clear()
            (folder / "a.go").write_text("package again\n")
            await ears.until(folder / "a.go")

    asyncio.run(scene())


@pytest.mark.parametrize("kind", KINDS)
def test_folder_reached_through_a_symlink_is_told_by_that_name(tmp_path: Path, kind: str) -> None:
    folder = arranged(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder)

    async def scene() -> None:
        async with listening(kind, link) as (_, ears):
            (folder / "a.go").write_text("package other\n")
            await ears.until(link / "a.go")

    asyncio.run(scene())


# Only on Linux.


def on_linux(body: Callable[[Inotify, Ears], Awaitable[None]], *folders: Path) -> None:
    async def scene() -> None:
        ears = Ears()
        source = Inotify(ears.hear)
        try:
            source.watch(watched(*folders))
            await body(source, ears)
        finally:
            source.close()

    asyncio.run(scene())


@LINUX
@pytest.mark.parametrize("way", ["writes", "renames", "other processes"])
def test_read_tells_each_save_that_returned_before_it(tmp_path: Path, way: str) -> None:
    path, fresh = tmp_path / "a.go", tmp_path / "a.go.tmp"

    def save(number: int) -> None:
        if way == "writes":
            path.write_text(f"package a // {number}\n")
        elif way == "renames":
            fresh.write_text(f"package a // {number}\n")
            fresh.replace(path)
        else:
            subprocess.run(["sh", "-c", f"echo {number} > a.go"], cwd=tmp_path, check=True)

    async def body(source: Inotify, ears: Ears) -> None:
        missed = []
        for number in range({"writes": 1000, "renames": 200, "other processes": 100}[way]):
            ears.hints.clear()
            save(number)
            source.read()
            if not ears.heard(path):
                missed.append(number)
            ears.hints.clear()
            source.read()
            assert ears.hints == [], "told twice"
        assert missed == []

    on_linux(body, tmp_path)


@LINUX
def test_one_read_tells_each_path_once_and_in_order(tmp_path: Path) -> None:
    async def body(source: Inotify, ears: Ears) -> None:
        for name in ("b", "a", "b", "c", "a"):
            (tmp_path / name).write_text("x")
        source.read()
        assert ears.hints == [tuple(str(tmp_path / name) for name in "bac")]

    on_linux(body, tmp_path)


@LINUX
def test_what_is_told_by_read_is_not_told_again_by_the_loop(tmp_path: Path) -> None:
    async def body(source: Inotify, ears: Ears) -> None:
        (tmp_path / "a").symlink_to("b")
        source.read()
        (tmp_path / "c").write_text("x")
        await ears.until(tmp_path / "c")
        assert [path for hint in ears.hints for path in hint] == [str(tmp_path / name) for name in "ac"]

    on_linux(body, tmp_path)


@LINUX
def test_two_paths_to_one_folder_are_both_told(tmp_path: Path) -> None:
    folder = arranged(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder)

    async def body(source: Inotify, ears: Ears) -> None:
        in_place(folder)
        source.read()
        assert ears.heard(folder / "a.go")
        assert ears.heard(link / "a.go")
        source.watch(watched(link))
        ears.hints.clear()
        in_place(folder)
        source.read()
        assert ears.hints == [(str(link / "a.go"),)]

    on_linux(body, folder, link)


@LINUX
def test_symlink_that_leads_elsewhere_is_followed_there(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("v1")

    async def body(source: Inotify, ears: Ears) -> None:
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(link)
        source.read()
        assert ears.heard(link)
        assert source.folders == watched(tmp_path)
        source.watch(watched(tmp_path, link))
        ears.hints.clear()
        (tmp_path / "v1" / "old").write_text("x")
        (tmp_path / "v2" / "new").write_text("x")
        source.read()
        assert ears.hints == [(str(link / "new"),)]

    on_linux(body, tmp_path, link)


@LINUX
def test_folder_that_went_with_one_above_it_is_told_and_watched_anew(tmp_path: Path) -> None:
    deep = tmp_path / "x" / "between" / "deep"
    deep.mkdir(parents=True)

    async def body(source: Inotify, ears: Ears) -> None:
        (tmp_path / "x").rename(tmp_path / "y")
        deep.mkdir(parents=True)
        source.read()
        assert ears.heard(deep), "nothing in the kernel says so"
        source.watch(watched(tmp_path, deep))
        ears.hints.clear()
        (tmp_path / "y" / "between" / "deep" / "old").write_text("x")
        (deep / "new").write_text("x")
        source.read()
        assert ears.hints == [(str(deep / "new"),)]

    on_linux(body, tmp_path, deep)


@LINUX
def test_overflow_is_told_as_everywhere_and_every_watch_is_made_sure_of(tmp_path: Path) -> None:
    folder = arranged(tmp_path)
    burst = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 100
    (folder / "b.go").write_text("package b\n")

    async def body(source: Inotify, ears: Ears) -> None:
        for number in range(burst):  # in turn: the kernel merges equal neighbours
            os.utime(folder / ("a.go" if number % 2 else "b.go"))
        folder.rename(tmp_path / "away")  # lost
        folder.mkdir()
        source.read()
        assert ears.hints == [()]
        source.watch(watched(folder))
        ears.hints.clear()
        (tmp_path / "away" / "old.go").write_text("x")
        (folder / "new.go").write_text("x")
        source.read()
        assert ears.hints == [(str(folder / "new.go"),)]

    on_linux(body, folder)


@LINUX
def test_burst_is_told_while_the_loop_runs(tmp_path: Path) -> None:
    async def body(_: Inotify, ears: Ears) -> None:
        done = await asyncio.create_subprocess_exec(
            "sh", "-c", "for n in $(seq 0 2999); do echo x > $n.go; done", cwd=tmp_path
        )
        await done.wait()
        await ears.until(tmp_path / "2999.go")
        told = {path for hint in ears.hints for path in hint}
        assert () in ears.hints or told == {str(tmp_path / f"{number}.go") for number in range(3000)}

    on_linux(body, tmp_path)


@LINUX
def test_absent_folder_is_left_out_and_tried_again(tmp_path: Path) -> None:
    late = tmp_path / "late"
    (tmp_path / "file").write_text("x")

    async def body(source: Inotify, ears: Ears) -> None:
        assert source.folders == watched(tmp_path)
        late.mkdir()
        source.watch(watched(tmp_path, late, tmp_path / "file"))
        assert source.folders == watched(tmp_path, late)
        source.read()
        ears.hints.clear()
        (late / "a").write_text("x")
        source.read()
        assert ears.hints == [(str(late / "a"),)]

    on_linux(body, tmp_path, late, tmp_path / "file")


@LINUX
def test_folder_that_must_not_be_read_is_left_out(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o000)
    user = os.geteuid()

    async def body(source: Inotify, _: Ears) -> None:
        if user == 0:
            tmp_path.chmod(0o755)
            os.chdir(tmp_path)
            os.seteuid(65534)  # what root is not refused, nobody is
        try:
            source.watch(watched(".", "closed"))
        finally:
            if user == 0:
                os.seteuid(0)
        assert source.folders == watched(".")
        assert source.refused == watched("closed")
        closed.chmod(0o755)
        source.watch(watched(".", "closed"))
        assert source.folders == watched(".", "closed")
        assert source.refused == frozenset()

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        on_linux(body)
    finally:
        os.chdir(before)


@LINUX
def test_after_close_nothing_is_told(tmp_path: Path) -> None:
    async def body(source: Inotify, ears: Ears) -> None:
        source.close()
        (tmp_path / "a").write_text("x")
        source.read()
        source.close()
        assert ears.hints == []

    on_linux(body, tmp_path)


LIMITED = """
import asyncio, json, os, sys
from pathlib import Path
from goreload_tasks.sources.inotify import Inotify, LimitError

def limit(what, number):
    Path(f"/proc/sys/user/max_inotify_{what}").write_text(str(number))

async def scene():
    root, what = sys.argv[1:]
    folders = frozenset(os.path.join(root, f"{number}") for number in range(6))
    for folder in folders:
        os.mkdir(folder)
    limit(what, 4 if what == "watches" else 0)
    hints = []
    source = Inotify(hints.append)
    try:
        source.watch(folders)
        text = ""
    except LimitError as error:
        text = str(error)
    some = len(source.folders)
    for folder in sorted(source.folders):
        open(os.path.join(folder, "a"), "w").close()
    source.read()
    limit(what, 100)
    source.watch(folders)
    source.close()
    print(json.dumps([text, some, sum(map(len, hints)), source.folders == folders]))

asyncio.run(scene())
"""

NAMESPACE = ["unshare", "--user", "--map-root-user"]
"""The limits of a user namespace are its own: they can be lowered without touching the machine's."""


def needs_namespace() -> None:
    try:
        subprocess.run([*NAMESPACE, "test", "-w", "/proc/sys/user/max_inotify_watches"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here")


@LINUX
@pytest.mark.parametrize(("what", "some"), [("watches", 4), ("instances", 0)])
def test_limit_says_what_to_raise_and_what_could_be_watched_is(tmp_path: Path, what: str, some: int) -> None:
    needs_namespace()
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", LIMITED, str(tmp_path), what], capture_output=True, text=True, check=True
    )
    text, could, told, later = json.loads(done.stdout)
    assert f"sysctl fs.inotify.max_user_{what}=" in text
    assert (could, told, later) == (some, some, True)


@LINUX
def test_dev_goes_on_by_looking_while_the_limit_is_reached(project: Path, driver: Driver) -> None:
    needs_namespace()
    server(project)
    words = f"echo 0 > /proc/sys/user/max_inotify_watches; exec {sys.executable} -m invoke dev"
    dev = driver.start(project, "--user", "--map-root-user", "sh", "-c", words, program=shutil.which("unshare") or "")
    dev.line(r"sysctl fs\.inotify\.max_user_watches=\d+; until then .* every \S+ s$")
    url = dev.url()
    until(lambda: get(url) == "one", "the first answer")
    (project / "answer.go").write_text(answer("two"))
    url = dev.url()
    until(lambda: get(url) == "two", "the second answer")
    assert dev.text.count("sysctl") == 1
    assert dev.stop() == 130
