"""Git at work: one hold, one reload at the end, and what answers is the new tree. With a real git and real builds."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from goreload_tasks.sources.repository import GAP, PATIENCE, REST, Git, Repository, git_folder
from tests.driver import DEADLINE, Driver, alive, answer, free_port, server, status, until, write
from tests.test_inputs_of_dev import Counted

NAME = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false"]

MANY = 5000


def git(folder: Path, *words: str, fails: bool = False) -> str:
    """Run git to its end."""
    done = subprocess.run(
        ["git", *NAME, *words],
        cwd=folder,
        env={**os.environ, "GIT_EDITOR": "true", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, files: dict[str, str], message: str = "more") -> None:
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def repository(project: Path) -> None:
    """A small server under git."""
    server(project)
    write(project, {".gitignore": ".goreload/\n__pycache__/\n"})
    git(project, "init", "-q", "-b", "main")
    commit(project, {"extra.go": 'package main\n\nconst extra = "."\n'})


class Served(Counted):
    """`dev` behind its own port: what a request finds at once is what counts."""

    def __init__(self, project: Path, driver: Driver) -> None:
        super().__init__(project, driver, free_port())

    def says(self) -> tuple[int, str]:
        """The answer to a request made now."""
        return status(int(self.url.rsplit(":", 1)[1]))


def word(text: str) -> str:
    """An answer that needs extra.go."""
    return answer(text).replace(f'"{text}"', f'"{text}" + extra')


def test_checkout_of_5000_files_is_one_build_and_the_next_request_is_answered_by_the_new_tree(
    project: Path, driver: Driver
) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    for number in range(MANY):
        write(project, {f"data/{number % 50}/{number}.txt": "other"})
    write(project, {f"part{number}.go": f"package main\n\nconst part{number} = {number}\n" for number in range(40)})
    commit(project, {"answer.go": word("other"), "inner/inner.go": 'package inner\n\nconst Text = "inner"\n'})
    uses = 'package main\n\nimport "example.com/app/inner"\n\nconst extra = inner.Text\n'
    commit(project, {"extra.go": uses})
    git(project, "switch", "-q", "main")
    for number in range(MANY):
        write(project, {f"data/{number % 50}/{number}.txt": "main"})
    commit(project, {"answer.go": word("main")})
    dev = Served(project, driver)
    assert dev.says() == (200, "main.")
    before = dev.builds
    git(project, "switch", "-q", "other")
    assert dev.says() == (200, "otherinner")
    assert dev.dev.reload()
    git(project, "switch", "-q", "main")
    assert dev.says() == (200, "main.")
    assert dev.dev.reload()
    assert dev.builds == before + 2
    assert dev.dev.text.count("-> built") == 3


def test_packages_that_come_and_go_with_a_branch_are_one_build_each_time(project: Path, driver: Driver) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    imports = "".join(f'\t_ "example.com/app/p{number}"\n' for number in range(20))
    uses = f'package main\n\nimport (\n{imports})\n\nconst extra = "?"\n'
    many = {f"p{number % 20}/f{number}.go": f"package p{number % 20}\n" for number in range(400)}
    commit(project, {"answer.go": word("other"), "extra.go": uses, **many})
    git(project, "switch", "-q", "main")
    dev = Served(project, driver)
    assert dev.says() == (200, "one")
    before = dev.builds
    for time in range(1, 4):
        git(project, "switch", "-q", "other")
        assert dev.says() == (200, "other?")
        git(project, "switch", "-q", "main")
        assert dev.says() == (200, "one")
        assert dev.builds == before + 2 * time, dev.dev.text


def test_rebase_of_three_commits_is_one_build(project: Path, driver: Driver) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    for number in range(3):
        commit(project, {"answer.go": word(f"step {number}"), f"step{number}.txt": ""}, f"step {number}")
    git(project, "switch", "-q", "main")
    commit(project, {"extra.go": 'package main\n\nconst extra = "!"\n'})
    git(project, "switch", "-q", "other")
    dev = Served(project, driver)
    assert dev.says() == (200, "step 2.")
    before = dev.builds
    git(project, "rebase", "-q", "main")
    assert dev.says() == (200, "step 2!")
    assert dev.builds - before <= 2, "one; more only where git stood still for half a second between two commits"


def test_rebase_stopped_on_a_conflict_shows_what_the_compiler_says_and_goes_on_when_it_is_mended(
    project: Path, driver: Driver
) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    commit(project, {"answer.go": word("other")})
    commit(project, {"extra.go": 'package main\n\nconst extra = "?"\n'})
    git(project, "switch", "-q", "main")
    commit(project, {"answer.go": word("main")})
    git(project, "switch", "-q", "other")
    dev = Served(project, driver)
    assert dev.says() == (200, "other?")
    git(project, "rebase", "-q", "main", fails=True)
    code, text = dev.says()
    assert code == 503
    assert "answer.go:3" in text
    dev.dev.line("^answer.go:3:1: syntax error")
    git(project, "status")
    before = dev.builds
    write(project, {"answer.go": word("both")})
    assert dev.says() == (200, "both.")
    assert dev.builds == before + 1
    git(project, "add", "answer.go")
    git(project, "rebase", "--continue")
    assert dev.says() == (200, "both?")
    assert dev.builds == before + 2


def test_build_that_ends_while_git_writes_is_neither_shown_nor_started(project: Path, driver: Driver) -> None:
    repository(project)
    shim, wait = project.parent / "shim", project.parent / "wait"
    hold = f'if [ "$1" = build ] && [ -e {wait} ]; then touch {wait}.ed; while [ -e {wait} ]; do sleep 0.02; done; fi'
    write(shim, {"go": f'#!/bin/sh\n{hold}\nexec {shutil.which("go")} "$@"\n'})
    (shim / "go").chmod(0o755)
    port, path = free_port(), f"{shim}:{os.environ['PATH']}"
    env = {
        "PATH": path,
        "GORELOAD_SERVE_PORT": str(port),
        "GORELOAD_SERVE_HOLD": "200ms",
        "GORELOAD_BUILD_DIRECT": "off",
    }
    dev = driver.start(project, "dev", env=env)
    dev.url()
    until(lambda: status(port) == (200, "one"), "the first answer")
    wait.touch()
    write(project, {"answer.go": "package main\n\nhalf-way\n"})
    until((project.parent / "wait.ed").exists, "the build")
    with (project / ".git" / "index.lock").open("x"):
        until(lambda: "git" in status(port)[1], "the hold")
        wait.unlink()
        until(lambda: not alive(["go build ", str(project)]), "the end of the build")
        until(lambda: "git" in status(port)[1], "the hold still")
        write(project, {"answer.go": answer("two")})
    (project / ".git" / "index.lock").unlink()
    until(lambda: status(port) == (200, "two"), "the second answer")
    assert "half-way" not in dev.text
    assert "syntax error" not in dev.text
    assert dev.stop() == 130


def test_merge_and_stash_are_one_build_each(project: Path, driver: Driver) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    commit(project, {"answer.go": word("other")})
    git(project, "switch", "-q", "main")
    commit(project, {"main.txt": ""})
    dev = Served(project, driver)
    assert dev.says() == (200, "one")
    before = dev.builds
    git(project, "merge", "-q", "--no-edit", "other")
    assert dev.says() == (200, "other.")
    assert dev.builds == before + 1
    write(project, {"answer.go": word("mine")})
    assert dev.says() == (200, "mine.")
    git(project, "stash")
    assert dev.says() == (200, "other.")
    assert dev.builds == before + 3
    git(project, "stash", "pop")
    assert dev.says() == (200, "mine.")
    assert dev.builds == before + 4


def test_bisect_may_ask_the_running_app_and_ends_where_it_began(project: Path, driver: Driver) -> None:
    repository(project)
    for number in range(8):
        commit(project, {"answer.go": word(f"good {number}" if number < 5 else f"bad {number}")}, f"step {number}")
    dev = Served(project, driver)
    assert dev.says() == (200, "bad 7.")
    before = dev.builds
    git(project, "bisect", "start", "main", "main~7")
    ask = f"! curl -s {dev.url} | grep -q bad"
    assert "step 5\n" in git(project, "bisect", "run", "sh", "-c", ask)
    git(project, "bisect", "reset")
    assert dev.says() == (200, "bad 7.")
    assert dev.builds - before <= 5, "three or four steps, and the way back"


def test_worktree_has_a_git_folder_of_its_own(project: Path, driver: Driver) -> None:
    repository(project)
    git(project, "switch", "-qc", "other")
    commit(project, {"answer.go": word("other")})
    tree = project.parent / "tree"
    git(project, "worktree", "add", "-q", str(tree), "main")
    assert git_folder(str(tree)) == str(project / ".git" / "worktrees" / "tree")
    dev = Served(tree, driver)
    assert dev.says() == (200, "one")
    before = dev.builds
    git(tree, "switch", "-q", "--detach", "other")
    assert dev.says() == (200, "other.")
    assert dev.builds == before + 1


def test_status_in_a_loop_reloads_nothing_and_keeps_nobody_out(project: Path, driver: Driver) -> None:
    repository(project)
    dev = Served(project, driver)
    assert dev.says() == (200, "one")
    before = dev.builds
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            os.utime(project / ".gitignore")  # so that it has to write the index
            git(project, "status")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(5):
            write(project, {"answer.tmp": word(f"save {number}")})
            (project / "answer.tmp").rename(project / "answer.go")  # git's end may have a look meet half a save
            assert dev.says() == (200, f"save {number}.")
    finally:
        over.set()
        asking.join()
    assert dev.says() == (200, "save 4.")
    assert dev.builds == before + 5


def test_nothing_is_built_while_git_works_and_a_lock_that_it_left_is_named(project: Path, driver: Driver) -> None:
    repository(project)
    dev = Served(project, driver)
    assert dev.says() == (200, "one")
    before = dev.builds
    lock = project / ".git" / "index.lock"
    with lock.open("x"):
        write(project, {"answer.go": word("half")})
        asked: list[tuple[int, str]] = []
        asking = threading.Thread(target=lambda: asked.append(dev.says()))
        asking.start()
        write(project, {"answer.go": word("whole")})
        lock.unlink()
        asking.join()
    assert asked == [(200, "whole.")]
    assert dev.builds == before + 1
    lock.touch()
    write(project, {"answer.go": word("after")})
    assert dev.says() == (200, "after.")
    dev.dev.line(r"\.git/index\.lock is there, but no git has it open: .* remove it")
    write(project, {"answer.go": word("and on")})
    assert dev.says() == (200, "and on.")
    lock.unlink()
    write(project, {"answer.go": word("still")})
    assert dev.says() == (200, "still.")
    assert dev.dev.text.count("is there, but no git has it open") == 1
    lock.write_text("the index of a commit whose editor is open")
    write(project, {"answer.go": word("meanwhile")})
    assert dev.says() == (200, "meanwhile.")
    assert lock.exists()


# The rule by itself, the clock in our hand.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A git folder."""
    made = tmp_path / ".git"
    made.mkdir()
    return made


def test_lock_that_somebody_has_open_is_waited_for_and_one_that_nobody_has_is_told_once(folder: Path) -> None:
    left: list[str] = []
    one = Repository(str(folder), left.append)
    path = folder / "index.lock"
    with path.open("x"):
        assert one.busy([str(path)], False, 100.0) is not None
        assert one.busy([], True, 100.0 + PATIENCE) is not None
        assert one.busy([], True, 100.0 + 3 * PATIENCE) is not None
    assert left == []
    one.busy([], True, 100.0 + 4 * PATIENCE)
    assert left == [str(path)]
    assert one.busy([], True, 100.0 + 5 * PATIENCE) is None
    assert left == [str(path)]
    os.utime(path)  # another one
    assert one.busy([], True, 100.0 + 5 * PATIENCE) is not None


def test_lock_that_is_old_at_the_start_is_not_waited_for(folder: Path) -> None:
    left: list[str] = []
    path = folder / "index.lock"
    path.touch()
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert Repository(str(folder), left.append).busy([], True, 0.0) is None
    assert left == [str(path)]


@pytest.mark.parametrize(
    ("series", "changed", "waits"),
    [(True, True, True), (True, False, False), (False, True, False)],
    ids=["a rebase between two commits", "git status while a rebase is stopped", "a checkout"],
)
def test_next_commit_of_a_series_is_waited_for_where_git_wrote_files(
    folder: Path, series: bool, changed: bool, waits: bool
) -> None:
    one = Repository(str(folder), print)
    path = folder / "index.lock"
    if series:
        (folder / "rebase-merge").mkdir()
    path.touch()
    assert one.busy([str(path)], changed, 50.0) is not None
    path.unlink()
    one.busy([str(path), str(folder / "index")], False, 60.0)
    assert (one.busy([str(folder)], False, 60.0 + 2 * REST) is not None) is waits
    assert one.busy([str(folder)], False, 60.0 + GAP) is None


def test_lock_that_came_and_went_between_two_looks_counts(folder: Path) -> None:
    one = Repository(str(folder), print)
    (folder / "rebase-merge").mkdir()
    assert one.busy([str(folder / "index.lock"), str(folder.parent / "a.go")], True, 50.0) is not None
    (folder / "rebase-merge").rmdir()
    assert one.busy([str(folder / "rebase-merge")], False, 50.0 + 2 * REST) is None


def test_person_who_saves_in_a_stopped_rebase_is_not_kept_waiting(folder: Path) -> None:
    one = Repository(str(folder), print)
    (folder / "rebase-merge").mkdir()
    for number in range(5):
        assert one.busy([str(folder.parent / "a.go")], True, 50.0 + number / 10) is None


def test_repositories_are_those_of_the_watched_folders(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "module"
    write(tmp_path, {"outer/.git/modules/module/HEAD": "", "outer/a/b/x": "", "alone/x": ""})
    write(inner, {".git": "gitdir: ../.git/modules/module\n", "x": ""})
    one = Git(print)
    one.find([str(tmp_path / "outer" / "a" / "b"), str(inner), str(tmp_path / "alone")])
    assert one.folders == {str(tmp_path / "outer" / ".git"), str(tmp_path / "outer" / ".git" / "modules" / "module")}
    assert one.busy([], True, 0.0) is None
    (tmp_path / "outer" / ".git" / "modules" / "module" / "index.lock").touch()
    assert one.busy([], True, 0.0) is not None
    one.find([str(tmp_path / "alone")])
    assert not one.folders


def test_git_that_works_beside_a_checkout_is_seen_to_hold_an_empty_lock(project: Path) -> None:
    """What the rule rests on: the lock stands, empty, from before the first file is written until after the last."""
    repository(project)
    git(project, "switch", "-qc", "other")
    hook = project / ".git" / "filter.sh"
    write(
        project,
        {
            ".gitattributes": "*.txt filter=look\n",
            ".git/filter.sh": f"stat -c %s {project}/.git/index.lock >> {project}/../sizes\ncat\n",
        },
    )
    git(project, "config", "filter.look.smudge", f"sh {hook}")
    commit(project, {"a.txt": "a", "b.txt": "b"})
    git(project, "switch", "-q", "main")
    git(project, "switch", "-q", "other")
    until(lambda: (project / "../sizes").read_text() == "0\n0\n", "two files written under an empty lock")
