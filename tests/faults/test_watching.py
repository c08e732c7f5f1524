"""What is not told of changes: file systems, limits, overflow, jumps of the clock, folders that come and go."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver import DEADLINE, MAIN, Driver, Task, alive, answer, get, server, until, write
from tests.faults import LINUX, answers, lines, reading, removed, says, started
from tests.sources.test_sources import NAMESPACE, needs_namespace


@contextlib.contextmanager
def mirrored(folder: Path, target: Path, log: Path) -> Iterator[None]:
    """See a folder through a file system that tells of no change; each path looked up there comes into a log."""
    target.mkdir()
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "tests.mirror", str(folder), str(target)], stdout=out, stderr=out
        ) as mirror,
    ):
        until(lambda: b"mounted" in log.read_bytes() or mirror.poll() is not None, "the mount")
        if mirror.returncode is not None:
            pytest.skip(f"no FUSE here: {log.read_text().splitlines()[-1:]}")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(target)], check=True)


@LINUX
def test_file_system_that_tells_nothing_is_looked_at_and_only_where_inputs_are(project: Path, driver: Driver) -> None:
    far, here = project.parent / "far", project.parent / "other"
    server(project)
    write(
        project,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/other v0.0.0\n\n"
            "replace example.com/other => ../other\n",
            "answer.go": 'package main\n\nimport "example.com/other"\n\nfunc Answer() string { return other.Text }\n',
        },
    )
    write(
        far,
        {
            "go.mod": "module example.com/other\n\ngo 1.23\n",
            "other.go": says("other", "one"),
            "big/deep/x.go": "package x\n",
        },
    )
    log = project.parent / "asked"
    with mirrored(far, here, log):
        dev, url = started(driver, project)
        answers(url, "one")
        for text in ("two", "three"):
            (far / "other.go").write_text(says("other", text))
            answers(url, text)
        (far / "more.go").write_text('package other\n\nfunc init() { panic("new file") }\n')
        dev.line("panic: new file")
        (far / "more.go").unlink()
        answers(url, "three")
        assert len(lines(dev, rf"{here} is on fuse\.mirror, which does not tell of every change.* every \S+ s$")) == 1
        assert dev.stop() == 130
    asked = log.read_text().split()
    assert f"{far}/other.go" in asked
    assert not [path for path in asked if path.startswith(f"{far}/big/")]


@LINUX
def test_file_that_is_changed_and_never_closed_is_found_by_the_next_look(project: Path, driver: Driver) -> None:
    reading(project, cut="1", held="1", mapped="1")
    tail = '\nfunc init() { Text = "1" }\n'
    (project / "cut" / "cut.go").write_text('package cut\n\nvar Text = "2"\n' + tail)
    _, url = started(driver, project)
    answers(url, "1 1 1")
    with (project / "held" / "held.go").open("r+b") as held, (project / "mapped" / "mapped.go").open("r+b") as mapped:
        os.truncate(project / "cut" / "cut.go", (project / "cut" / "cut.go").stat().st_size - len(tail))
        held.seek(held.read().index(b'"1"') + 1)
        held.write(b"2")
        held.flush()
        with mmap.mmap(mapped.fileno(), 0) as memory:
            memory[memory.find(b'"1"') + 1] = ord("2")
            answers(url, "2 2 2", 2 * DEADLINE)


@LINUX
@pytest.mark.usefixtures("clock")
def test_after_a_jump_of_the_clock_all_is_looked_at(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    with (project / "answer.go").open("r+b") as held:
        held.seek(held.read().index(b"one"))
        held.write(b"two")
        held.flush()
        try:
            time.clock_settime(time.CLOCK_REALTIME, time.time())  # to what it is: a jump of some microseconds
        except PermissionError:
            pytest.skip("only root may set the clock")
        dev.line("the clock was set, or the machine slept: all is looked at")
        answers(url, "two")


@LINUX
def test_more_than_the_kernel_can_queue_while_we_are_stopped_loses_nothing(project: Path, driver: Driver) -> None:
    reading(project, kept="one", moved="one")
    dev, url = started(driver, project)
    answers(url, "one one")
    burst = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 100
    dev.process.send_signal(signal.SIGSTOP)
    for number in range(burst):  # in turn: the kernel merges equal neighbours
        os.utime(project / ("main.go" if number % 2 else "answer.go"))
    (project / "kept" / "kept.go").write_text(says("kept", "two"))
    (project / "moved").rename(project / "away")
    write(project, {"moved/moved.go": says("moved", "two")})
    dev.process.send_signal(signal.SIGCONT)
    dev.line("more happened at once than the kernel tells of: all is looked at")
    answers(url, "two two")
    (project / "moved" / "moved.go").write_text(says("moved", "three"))
    answers(url, "two three")


def limit(dev: Task, what: str, number: int) -> None:
    """Set a limit of the user namespace in which a `dev` runs."""
    enter = ["nsenter", "--user", f"--target={dev.process.pid}", "--preserve-credentials"]
    subprocess.run([*enter, "sh", "-c", f"echo {number} > /proc/sys/user/max_inotify_{what}"], check=True)


@LINUX
def test_limit_of_watches_reached_later_is_told_and_looking_goes_on(project: Path, driver: Driver) -> None:
    needs_namespace()
    server(project)
    dev, url = started(driver, project, *NAMESPACE)
    answers(url, "one")
    limit(dev, "watches", 0)
    reading(project, late="two")
    dev.line(r"sysctl fs\.inotify\.max_user_watches=\d+; until then all is looked at every \S+ s$")
    answers(url, "two")
    write(project, {"late/late.go": says("late", "three")})
    answers(url, "three")
    limit(dev, "watches", 1000)
    write(project, {"late/late.go": says("late", "four")})
    answers(url, "four")
    assert len(lines(dev, "sysctl")) == 1


@LINUX
@pytest.mark.parametrize("what", ["instances", "watches"])
def test_limit_of_inotify_reached_at_the_start_is_told_and_looking_goes_on(
    project: Path, driver: Driver, what: str
) -> None:
    needs_namespace()
    server(project)
    words = f'echo 0 > /proc/sys/user/max_inotify_{what}; exec "$@"'
    dev, url = started(driver, project, *NAMESPACE, "sh", "-c", words, "sh")
    answers(url, "one")
    (project / "answer.go").write_text(answer("two"))
    answers(url, "two")
    limit(dev, what, 1000)
    (project / "answer.go").write_text(answer("three"))
    answers(url, "three")
    assert len(lines(dev, rf"sysctl fs\.inotify\.max_user_{what}=\d+; until then all is looked at every")) == 1


# Folders that cannot be read, that come and go.


def without_rights() -> list[str]:
    """A command that runs another one as ourselves, with no more rights than anybody."""
    if os.geteuid():
        return ["env"]
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


@LINUX
def test_package_folder_that_cannot_be_read_for_a_while(project: Path, driver: Driver) -> None:
    reading(project, closed="one", open="one")
    dev, url = started(driver, project, *without_rights())
    answers(url, "one one")
    (project / "closed").chmod(0)
    dev.line(r"closed.*permission denied")
    dev.line("-> 1 error.*; the old program still runs")
    (project / "open" / "open.go").write_text(says("open", "two"))
    dev.line("-> 1 error.*; the old program still runs")
    assert get(url) == "one one"
    (project / "closed").chmod(0o755)
    answers(url, "one two")
    (project / "closed" / "closed.go").write_text(says("closed", "three"))
    answers(url, "three two")


@LINUX
def test_folder_of_included_files_that_cannot_be_read_at_the_start(project: Path, driver: Driver) -> None:
    server(project)
    read = 'package main\n\nimport "os"\n\nfunc Answer() string {\n\ttext := ""\n'
    read += '\tfor _, name := range []string{"a", "b"} {\n\t\tb, _ := os.ReadFile("views/" + name + "/x.html")\n'
    read += '\t\ttext += string(b) + ","\n\t}\n\treturn text\n}\n'
    keep = read.replace(
        "func Answer() string {", "var once = read()\n\nfunc Answer() string { return once }\n\nfunc read() string {"
    )
    write(
        project,
        {
            "answer.go": keep,
            "views/a/x.html": "one",
            "views/b/x.html": "one",
            "invoke.yaml": "goreload: {watch: {include: ['views/**']}}\n",
        },
    )
    (project / "views" / "b").chmod(0)
    dev, url = started(driver, project, *without_rights())
    answers(url, "one,,")
    dev_line = r"cannot watch \S+/views/b: make it readable; until then all is looked at every \S+ s$"
    until(lambda: len(lines(dev, dev_line)) == 1, "the line about it")
    write(project, {"views/a/x.html": "two"})
    answers(url, "two,,")
    (project / "views" / "b").chmod(0o755)
    answers(url, "two,one,")
    write(project, {"views/b/x.html": "two"})
    answers(url, "two,two,")
    assert len(lines(dev, "cannot watch")) == 1


def test_folder_made_and_filled_in_one_go_and_moved_in_and_out(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    reading(project, new="two")
    answers(url, "two")
    (project / "new").rename(project.parent / "outside")
    dev.line("the old program still runs")
    (project.parent / "outside" / "new.go").write_text(says("new", "three"))
    (project.parent / "outside").rename(project / "new")
    answers(url, "three")
    (project / "new").rename(project / "old")
    shutil.copytree(project / "old", project.parent / "copy")
    (project.parent / "copy" / "new.go").write_text(says("new", "four"))
    (project.parent / "copy").rename(project / "new")
    answers(url, "four")
    (project / "new" / "new.go").write_text(says("new", "five"))
    answers(url, "five")


def test_project_that_is_moved_away_and_copied_back(project: Path, driver: Driver) -> None:
    reading(project, deep="one")
    dev, url = started(driver, project)
    answers(url, "one")
    away = project.parent / "away"
    project.rename(away)
    dev.line("the old program still runs")
    (away / "deep" / "deep.go").write_text(says("deep", "two"))
    shutil.copytree(away, project, symlinks=True)
    answers(url, "two")
    (away / "deep" / "deep.go").write_text(says("deep", "not here"))
    (project / "deep" / "deep.go").write_text(says("deep", "three"))
    answers(url, "three")
    refused = driver.run(project, "dev")
    assert refused.returncode == 2
    assert f"already being run by pid {dev.process.pid}" in refused.stderr


def test_project_that_is_being_removed_gets_nothing_new(project: Path, driver: Driver) -> None:
    server(project)
    (project / "answer.go").unlink()
    source, away = project / "main.go", project.parent / "away"
    source.write_text(f'{MAIN}\nfunc Answer() string {{ return "one" }}\n')
    dev, url = started(driver, project)
    answers(url, "one")
    removed(project / ".goreload")
    source.rename(away)
    dev.line(f"no Go file is left in {project}: nothing is built until one is back")
    dev.line("the old program still runs")
    assert not (project / ".goreload").exists()
    away.write_text(away.read_text().replace("one", "two"))
    away.rename(source)
    answers(url, "two")


def test_project_that_is_removed_and_comes_back(project: Path, driver: Driver) -> None:
    server(project)
    copy = project.parent / "copy"
    shutil.copytree(project, copy)
    dev, url = started(driver, project)
    answers(url, "one")
    removed(project)
    dev.line("the old program still runs")
    assert get(url) == "one"
    (copy / "answer.go").write_text(answer("two"))
    copy.rename(project)
    answers(url, "two")
    (project / "answer.go").write_text(answer("three"))
    answers(url, "three")
    assert dev.stop() == 130
    assert not alive([str(project)])
