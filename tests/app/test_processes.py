"""Nobody whom we started is left, wherever it went, and nobody else is touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from goreload_tasks.app import strays
from goreload_tasks.app.guardian import guard
from goreload_tasks.app.process import Group, capture, spawn
from tests.driver import until, write

DEADLINE = 20.0

TREE = """import os, signal, socket, sys, time

folder, kinds = sys.argv[1], sys.argv[2].split("+")
environment = {} if "cleared" in kinds else dict(os.environ)


def again(kind):
    os.execve(sys.executable, [sys.executable, "-S", __file__, folder, kind], environment)


def child(kind):
    if os.fork() == 0:
        if "session" in kinds or "daemon" in kinds:
            os.setsid()
        if "daemon" in kinds and os.fork():
            os._exit(0)
        again(kind)


def ready(port=0):
    mark = os.path.join(folder, f"{os.getpid()}.pid")
    with open(mark + ".new", "w") as file:
        file.write(str(port))
    os.rename(mark + ".new", mark)


if kinds[0] == "app":
    child("leaf" + "".join("," + kind for kind in kinds))
    ready()
    if "zombie" in kinds and os.fork() == 0:
        os._exit(0)
    if "gone" in kinds:
        while len([name for name in os.listdir(folder) if name.endswith(".pid")]) < 2:
            time.sleep(0.01)
        sys.exit(5)
else:
    if "deaf" in sys.argv[2]:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
    if "closed" in sys.argv[2]:
        os.closerange(0, 256)
    listener = socket.create_server(("127.0.0.1", 0))
    ready(listener.getsockname()[1])
    if "stopped" in sys.argv[2]:
        os.kill(os.getpid(), signal.SIGSTOP)
while True:
    time.sleep(60)
"""

KINDS = [
    "app",
    "app+session",
    "app+daemon",
    "app+daemon+deaf",
    "app+session+deaf",
    "app+session+cleared",
    "app+session+cleared+deaf",
    "app+daemon+closed",
    "app+session+stopped",
    "app+session+stopped+deaf",
    "app+zombie",
    "app+daemon+gone",
    "app+daemon+gone+deaf",
]
ORPHANS_WITHOUT_ENVIRONMENT = ["app+daemon+cleared", "app+daemon+cleared+deaf", "app+daemon+cleared+closed+gone"]


class Tree:
    """An app whose only descendant went away as its kind says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder, {"tree.py": TREE})

    def argv(self, kind: str) -> list[str]:
        return [sys.executable, str(self.folder / "tree.py"), str(self.folder), kind]

    @property
    def pids(self) -> list[int]:
        return [int(path.stem) for path in self.folder.glob("*.pid")]

    def free(self) -> bool:
        """Can its port be listened on?"""
        [port] = [number for path in self.folder.glob("*.pid") if (number := int(path.read_text()))]
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return True
        return False


def lives(pid: int) -> bool:
    process = strays.look(pid)
    return process is not None and not process.ended


def zombies() -> list[int]:
    mine = [process for entry in os.listdir("/proc") if entry.isdigit() and (process := strays.look(int(entry)))]
    return [process.pid for process in mine if process.parent == os.getpid() and process.ended]


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    """Orphans of the tools that a test killed come to this process, as its `guard` had them come."""
    yield
    try:
        until(lambda: all(process.ended for process in strays.tree(os.getpid()).values()), "nobody", DEADLINE)
    finally:
        for process in strays.tree(os.getpid()).values():
            strays.send(process, signal.SIGKILL)
        while strays.tree(os.getpid()):
            os.wait()


def ignored(block: bytes) -> None:
    """Nobody reads it."""


async def begin(tree: Tree, kind: str) -> Group:
    group = await spawn(tree.argv(kind), cwd=str(tree.folder), env=os.environ, sink=ignored)
    await becomes(lambda: len(tree.pids) == 2, "the app and its descendant")
    return group


async def becomes(true: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            while not true():  # noqa: ASYNC110 - another process makes it true
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came: {what}") from None


def guarded(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with guard():
            await work()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS + ORPHANS_WITHOUT_ENVIRONMENT)
def test_stop_ends_all_of_the_tree_and_frees_its_port(tmp_path: Path, kind: str) -> None:
    tree = Tree(tmp_path)

    async def work() -> None:
        group = await begin(tree, kind)
        if "gone" in kind:
            assert await group.wait() == 5
        assert any(map(lives, tree.pids))
        code = await group.stop(signal.SIGTERM, 0.2 if "deaf" in kind else DEADLINE)
        assert code == (5 if "gone" in kind else -signal.SIGTERM)
        assert not any(map(lives, tree.pids))
        assert tree.free()
        await becomes(lambda: not zombies(), "no zombie")

    guarded(work)


def test_group_that_is_stopped_can_end_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "ends.sh"
    script.write_text("trap 'exit 7' TERM\necho ready\nwhile :; do sleep 0.05; done\n")

    async def work() -> None:
        said: list[bytes] = []
        group = await spawn(["sh", str(script)], cwd="/", env=os.environ, sink=said.append)
        await becomes(lambda: b"ready" in b"".join(said), "the app")
        group.signal(signal.SIGSTOP)
        assert await group.stop(signal.SIGTERM, DEADLINE) == 7

    guarded(work)


def test_grace_is_cut_short_by_a_kill_also_for_who_left(tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    async def work() -> None:
        group = await begin(tree, "app+session+deaf")
        stop = asyncio.create_task(group.stop(signal.SIGTERM, 1e6))
        await becomes(lambda: not lives(group.pid), "the end of the app")
        group.signal(signal.SIGKILL)
        await asyncio.wait_for(stop, DEADLINE)
        assert not any(map(lives, tree.pids))

    guarded(work)


def test_stop_of_one_app_leaves_the_orphan_of_another_alone(tmp_path: Path) -> None:
    trees = [Tree(tmp_path / name) for name in ("one", "other")]

    async def work() -> None:
        one, other = [await begin(tree, "app+daemon") for tree in trees]
        await one.stop(signal.SIGTERM, 0.2)
        assert not any(map(lives, trees[0].pids))
        assert all(map(lives, trees[1].pids))
        await other.stop(signal.SIGTERM, 0.2)
        assert not any(map(lives, trees[1].pids))

    guarded(work)


def test_whose_an_orphan_is_stays_open_while_two_apps_might_be_and_ends_with_the_tool(tmp_path: Path) -> None:
    trees = [Tree(tmp_path / name) for name in ("one", "other")]

    async def work() -> None:
        one = await begin(trees[0], "app")
        other = await begin(trees[1], "app+daemon+cleared+deaf")
        orphan = next(pid for pid in trees[1].pids if pid != other.pid)
        await one.stop(signal.SIGTERM, 0.2)
        assert all(map(lives, trees[1].pids))
        third = await spawn(["sleep", "98765"], cwd="/", env=os.environ, sink=ignored)
        await other.stop(signal.SIGTERM, 0.2)
        assert not lives(orphan)  # the third began later: it cannot be its
        await third.stop(signal.SIGTERM, 0.2)

    guarded(work)
    tree = Tree(tmp_path / "left")

    async def leave() -> None:
        older = await spawn(["sleep", "98765"], cwd="/", env=os.environ, sink=ignored)
        group = await begin(tree, "app+daemon+cleared+deaf")
        await group.stop(signal.SIGTERM, 0.2)
        assert [pid for pid in tree.pids if lives(pid)] == [pid for pid in tree.pids if pid != group.pid]
        await older.stop(signal.SIGKILL, 0.2)

    guarded(leave)
    assert not any(map(lives, tree.pids))
    assert tree.free()


GUARDED = """import asyncio, os, sys

from goreload_tasks.app import guardian
from goreload_tasks.app.process import spawn

guardian.FIRST_LOOK = 0.02


async def main():
    with guardian.guard():
        for words in sys.argv[1].split(";"):
            await spawn(words.split(), cwd="/", env=os.environ, sink=repr)
        print("spawned", flush=True)
        while not guardian._orphans:
            await asyncio.sleep(0.01)
        print("told", flush=True)
        await asyncio.sleep(3600)


asyncio.run(main())
"""


@contextlib.contextmanager
def tool(*commands: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that guards what it spawns."""
    line = ";".join(" ".join(words) for words in commands)
    with subprocess.Popen([sys.executable, "-c", GUARDED, line], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"spawned\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", KINDS + ORPHANS_WITHOUT_ENVIRONMENT)
def test_kill_9_of_the_tool_ends_all_of_the_tree_and_frees_its_port(tmp_path: Path, kind: str) -> None:
    tree = Tree(tmp_path)
    with tool(tree.argv(kind)) as process:
        until(lambda: len(tree.pids) == 2, "the app and its descendant")
        if kind in ORPHANS_WITHOUT_ENVIRONMENT:
            assert process.stdout
            assert process.stdout.readline() == b"told\n"
        process.kill()
    until(lambda: not any(map(lives, tree.pids)), "the end of all of it")
    until(tree.free, "the port")


def test_guardian_that_is_killed_harms_nobody(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    with tool(tree.argv("app+daemon")) as process:
        until(lambda: len(tree.pids) == 2, "the app and its descendant")
        [guardian] = [one for one in strays.tree(process.pid).values() if is_guardian(one.pid)]
        assert f"{strays.MARK}=".encode() not in environment(guardian.pid)
        assert strays.send(guardian, signal.SIGKILL)
        until(lambda: strays.gone(guardian), "the end of the guardian")
        assert all(map(lives, tree.pids))
        process.kill()
    for pid in tree.pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(lives, tree.pids)), "the end of all of it")


def test_guardian_outlives_a_signal_that_reaches_its_tree(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    with tool(tree.argv("app+daemon+deaf")) as process:
        until(lambda: len(tree.pids) == 2, "the app and its descendant")
        [guardian] = [one for one in strays.tree(process.pid).values() if is_guardian(one.pid)]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guardian.pid, number)
        process.kill()
    until(lambda: not any(map(lives, tree.pids)), "the end of all of it")
    until(lambda: not lives(guardian.pid), "the end of the guardian")


def is_guardian(pid: int) -> bool:
    return b"\0guardian\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_who_only_looks_like_ours_is_never_signalled(tmp_path: Path) -> None:
    """The same command line; our mark as an argument, inside another variable, and with another run's number."""
    tree = Tree(tmp_path / "ours")
    with tool(tree.argv("app+daemon")) as process:
        until(lambda: len(tree.pids) == 2, "the app and its descendant")
        run = f"{strays.MARK}={strays.name(process.pid)}"
        others = []
        for at, more in enumerate([{}, {"X": run + ":1"}, {strays.MARK: run.partition("=")[2] + "7:1"}]):
            words = Tree(tmp_path / str(at))
            argv = [*words.argv("leaf"), run + ":1"]
            others.append(subprocess.Popen(argv, env={**os.environ, **more}, start_new_session=True))
            until(lambda words=words: bool(words.pids), "another")  # type: ignore[misc]
        process.kill()
        until(lambda: not any(map(lives, tree.pids)), "the end of ours")
        for other in others:
            assert other.poll() is None
            other.terminate()
            assert other.wait() == -signal.SIGTERM


def test_child_that_somebody_else_started_in_this_process_is_never_signalled_or_reaped(tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    async def work() -> None:
        group = await begin(tree, "app+daemon")
        browser = subprocess.Popen(["sleep", "98765"], start_new_session=True)  # noqa: ASYNC220
        ended = subprocess.Popen(["sh", "-c", "exit 9"], start_new_session=True)  # noqa: ASYNC220
        await becomes(lambda: not lives(ended.pid), "its end")
        await group.stop(signal.SIGTERM, 0.2)
        assert ended.wait() == 9
        assert browser.poll() is None
        browser.terminate()
        assert browser.wait() == -signal.SIGTERM

    guarded(work)
    assert not any(map(lives, tree.pids))


def test_recycled_pid_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "98765"]) as other:
        now = strays.look(other.pid)
        assert now
        earlier = now._replace(began=now.began - 1)
        assert not strays.send(earlier, signal.SIGKILL)
        assert strays.gone(earlier)
        assert not strays.gone(now)
        assert strays.living(strays.name(other.pid))
        assert not strays.living(f"{other.pid}-{now.began - 1}")
        assert other.poll() is None
        assert strays.send(now, signal.SIGTERM)
        assert other.wait() == -signal.SIGTERM
    assert not strays.send(now, signal.SIGKILL)


def test_recycled_group_is_not_signalled() -> None:
    async def work() -> None:
        group = await spawn(["sleep", "98765"], cwd="/", env=os.environ, sink=ignored)
        leader = group._leader
        group._leader = leader._replace(began=leader.began - 1)
        assert not group.signal(signal.SIGKILL)
        assert not group.alive()
        assert lives(group.pid)
        group._leader = leader
        assert await group.stop(signal.SIGKILL, 1.0) == -signal.SIGKILL

    guarded(work)


def test_name_of_a_process_cannot_mislead(tmp_path: Path) -> None:
    odd = tmp_path / ") S 1 1 (\n2 ("
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "98765"]) as other:
        until(lambda: b") S 1 1 (\n2" in Path(f"/proc/{other.pid}/stat").read_bytes(), "the name")
        now = strays.look(other.pid)
        assert now
        assert (now.pid, now.parent, now.group) == (other.pid, os.getpid(), os.getpgid(other.pid))
        other.kill()


def test_both_ways_of_walking_the_tree_agree(tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    async def work() -> None:
        group = await begin(tree, "app+daemon")
        assert set(tree.pids) <= set(strays.tree(os.getpid()))
        assert set(strays._slow_tree(os.getpid())) == set(strays.tree(os.getpid()))
        await group.stop(signal.SIGTERM, 0.2)

    guarded(work)


def test_orphans_that_end_leave_no_zombie_and_no_exit_code_is_stolen() -> None:
    async def work() -> None:
        script = "for i in 1 2 3 4 5 6 7 8 9; do sh -c 'sleep 0.01 &'; done; echo done; exec sleep 98765"
        said: list[bytes] = []
        group = await spawn(["sh", "-c", script], cwd="/", env=os.environ, sink=said.append)
        codes = await asyncio.gather(*(capture(["sh", "-c", f"exit {code}"], "/", os.environ) for code in range(20)))
        assert [code for code, _, _ in codes] == list(range(20))
        await becomes(lambda: b"done" in b"".join(said), "the app")
        await becomes(lambda: len(strays.tree(os.getpid())) == 2, "the app and the guardian alone")
        assert await group.stop(signal.SIGTERM, 1.0) == -signal.SIGTERM

    guarded(work)


def test_mark_is_of_each_child_its_own_and_replaces_another_tools() -> None:
    async def work() -> None:
        env = {**os.environ, strays.MARK: "1-1:1"}
        show = ["sh", "-c", f"echo ${strays.MARK}"]
        marks = [(await capture(show, "/", env))[1].decode().strip() for _ in range(2)]
        said: list[bytes] = []
        group = await spawn(show, cwd="/", env=env, sink=said.append)
        await group.wait()
        await group.stop(signal.SIGKILL, 1.0)
        marks.append(b"".join(said).decode().strip())
        assert len(set(marks)) == 3
        assert {mark.partition(":")[0] for mark in marks} == {strays.run()}

    guarded(work)


def test_a_thousand_apps_leave_no_zombie_no_descriptor_and_no_thread() -> None:
    def counted() -> tuple[int, int, int]:
        return len(zombies()), len(os.listdir("/proc/self/fd")), threading.active_count()

    async def work() -> None:
        before: tuple[int, int, int] | None = None
        for number in range(1001):
            group = await spawn(["true"], cwd="/", env=os.environ, sink=ignored)
            assert await group.stop(signal.SIGKILL, 1.0) in (0, -signal.SIGKILL)
            if number == 0:
                before = counted()
        await becomes(lambda: counted() == before, f"as before: {before}")

    guarded(work)
