"""Each fault is real and is said in one line; once it is over, what answers is what is on disk, with no new start."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from goreload_tasks.inputs import memory
from goreload_tasks.inputs.places import Inputs
from goreload_tasks.inputs.snapshot import Entry, Stamp
from goreload_tasks.kept import keep
from goreload_tasks.store import PARTS
from tests.driver import BIN, DEADLINE, MAIN, Driver, Task, alive, answer, free_port, get, server, until, write
from tests.sources.test_sources import NAMESPACE, needs_namespace

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the fault is made as Linux makes it")


def answers(url: str, text: str, deadline: float = DEADLINE) -> None:
    until(lambda: get(url).strip() == text, f"{text!r} from {url}; it says {get(url)!r}", deadline)


def started(driver: Driver, project: Path, *before: str, env: dict[str, str] | None = None) -> tuple[Task, str]:
    """`dev` with its app on one port for good, and where that is.

    Args:
        before: words of a command that runs `dev`.
    """
    port = str(free_port())
    words = [*before, str(BIN / "invoke"), "dev"]
    dev = driver.start(project, *words[1:], program=shutil.which(words[0]) or "", env={**(env or {}), "PORT": port})
    dev.url()
    return dev, f"http://127.0.0.1:{port}"


def go_first(project: Path, script: str) -> dict[str, str]:
    """A `go` before the real one on PATH; `$GO` in its shell script is the real one."""
    shim = project.parent / "shim"
    write(shim, {"go": f"#!/bin/sh\nGO={shutil.which('go')}\n{script}\n"})
    (shim / "go").chmod(0o755)
    return {"PATH": f"{shim}:{os.environ['PATH']}"}


def lines(dev: Task, pattern: str) -> list[str]:
    """The lines so far in which a pattern is found."""
    return [line for line in dev.text.splitlines() if re.search(pattern, line)]


def named(dev: Task, pattern: str) -> dict[str, str]:
    """What the next such line of each of two services says in the group of the pattern."""
    found = (dev.line(rf"(api|web) +\| {pattern}") for _ in range(2))
    return {match[1]: match[2] for match in found}


def reading(folder: Path, **parts: str) -> None:
    """A server whose answer is that of its packages: each name a package, each value what it says."""
    server(folder)
    imports = "".join(f'\t"example.com/app/{name}"\n' for name in parts)
    calls = ' + " " + '.join(f"{name}.Text" for name in parts)
    text = f"package main\n\nimport (\n{imports})\n\nfunc Answer() string {{ return {calls} }}\n"
    write(folder, {"answer.go": text, **{f"{name}/{name}.go": says(name, text) for name, text in parts.items()}})


def says(name: str, text: str) -> str:
    return f'package {name}\n\nconst Text = "{text}"\n'


# Events that do not come.


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


def removed(project: Path) -> None:
    """Remove it as a person does beside a `dev` that may be writing a binary there: again, until it is gone."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            shutil.rmtree(project)
        return not project.exists()

    until(gone, "the project is removed")


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


NOT_UTF8 = os.fsdecode(b"caf\xe9")


def test_names_that_are_not_utf8_beside_the_sources(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {f"static/{NOT_UTF8}.txt": "x", f"{NOT_UTF8}/{NOT_UTF8}.go": "package x\n"})
    _, url = started(driver, project)
    answers(url, "one")
    (project / f"{NOT_UTF8}.txt").write_text("x")
    (project / f"static/{NOT_UTF8}.txt").write_text("y")
    (project / "answer.go").write_text(answer("two"))
    answers(url, "two")


def test_source_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    (project / "answer.go").rename(project / f"{NOT_UTF8}.go")
    dev.line("-> built .* -> same binary, kept")
    (project / f"{NOT_UTF8}.go").write_text(answer("two"))
    answers(url, "two")
    (project / f"{NOT_UTF8}.go").rename(project / "answer.go")
    answers(url, "two")
    (project / "answer.go").write_text(answer("three"))
    answers(url, "three")


def test_project_in_a_folder_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    folder = project / NOT_UTF8
    reading(folder, deep="one")
    _, url = started(driver, folder)
    answers(url, "one")
    (folder / "deep" / "deep.go").write_text(says("deep", "two"))
    answers(url, "two")
    write(folder, {"deep/more.go": 'package deep\n\nfunc init() { panic("new file") }\n'})
    until(lambda: get(url) == "", "the crash")


def test_embedded_file_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    server(project)
    embedding = 'package main\n\nimport "embed"\n\n//go:embed static\nvar files embed.FS\n\n'
    embedding += 'func Answer() string { b, _ := files.ReadFile("static/a.txt"); return string(b) }\n'
    write(project, {"answer.go": embedding, "static/a.txt": "one"})
    dev, url = started(driver, project)
    answers(url, "one")
    (project / "static" / f"{NOT_UTF8}.txt").write_text("x")
    dev.line("->")
    print(dev.text)
    (project / "static" / f"{NOT_UTF8}.txt").unlink()
    write(project, {"static/a.txt": "two"})
    answers(url, "two")


def test_source_that_is_a_link_and_what_it_leads_to(project: Path, driver: Driver) -> None:
    server(project)
    outside = project.parent / "outside"
    write(outside, {"one.go": answer("one"), "two.go": answer("two")})
    (project / "answer.go").unlink()
    (project / "answer.go").symlink_to(outside / "one.go")
    dev, url = started(driver, project)
    answers(url, "one")
    (outside / "one.go").write_text(answer("edited"))
    answers(url, "edited")
    (project / "next").symlink_to(outside / "two.go")
    (project / "next").rename(project / "answer.go")
    answers(url, "two")
    (outside / "two.go").write_text(answer("edited too"))
    answers(url, "edited too")
    (outside / "two.go").unlink()
    dev.line("the old program still runs")
    write(outside, {"two.go": answer("again")})
    answers(url, "again")


# What a build needs and does not find.


@pytest.fixture
def small(project: Path) -> Iterator[Path]:
    """A project on a disk of its own, of 64 MiB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "small", str(project)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield project
    finally:
        subprocess.run(["umount", "--lazy", str(project)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    """A save that needs no room."""
    with path.open("r+b") as file:
        file.seek(file.read().index(old))
        file.write(new)


@LINUX
def test_full_disk_fails_the_build_and_room_mends_it(small: Path, driver: Driver) -> None:
    server(small)
    dev, url = started(driver, small)
    answers(url, "one")
    fill(small / "filler")
    overwrite(small / "answer.go", b"one", b"two")
    dev.line("^no space left on device: free some, and it is built again")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    overwrite(small / "answer.go", b"two", b"six")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    (small / "filler").unlink()
    answers(url, "six")
    assert {path.name for path in (small / ".goreload" / "app").iterdir()} <= set(PARTS)
    assert dev.stop() == 130
    assert driver.run(small, "clean").returncode == 0
    assert not (small / ".goreload").exists()


@LINUX
def test_dev_on_a_full_disk_says_so_and_leaves_nothing_that_hinders_the_next(small: Path, driver: Driver) -> None:
    server(small)
    fill(small / "filler")
    refused = driver.run(small, "dev")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.endswith("No space left on device; free some space\n")
    (small / "filler").unlink()
    dev, url = started(driver, small)
    answers(url, "one")
    assert dev.stop() == 130
    assert driver.run(small, "clean").returncode == 0
    assert not (small / ".goreload").exists()


@LINUX
def test_what_is_kept_for_the_next_start_is_whole_or_not_there(small: Path) -> None:
    fill(small / "filler")
    entries = {str(small / "a.go"): Entry(Stamp(1, 2, 3, 4), True, b"x" * 16)}
    memory.save(str(small / "listing.json"), "question", Inputs(), entries)
    keep(str(small / "target.json"), {"question": "x" * 100})
    assert [path.name for path in small.iterdir()] == ["filler"]
    (small / "filler").unlink()
    memory.save(str(small / "listing.json"), "question", Inputs(), entries)
    assert memory.load(str(small / "listing.json"), "question") == (Inputs(), entries)


def test_removed_folder_of_ours_is_made_anew_and_nobody_else_comes_in(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    for text in ("two", "three"):
        removed(project / ".goreload")
        (project / "answer.go").write_text(answer(text))
        dev.line("its folder in .goreload was removed: made anew")
        answers(url, text)
    refused = driver.run(project, "dev")
    assert refused.returncode == 2
    assert f"already being run by pid {dev.process.pid}" in refused.stderr
    (project / "answer.go").write_text(answer("four"))
    answers(url, "four")
    assert dev.stop() == 130
    assert driver.run(project, "clean").returncode == 0
    assert not (project / ".goreload").exists()


def test_folder_of_ours_removed_while_a_build_runs(project: Path, driver: Driver) -> None:
    server(project)
    flag = project.parent / "flag"
    removes = f'if [ "$1" = build ] && rm {flag} 2>/dev/null; then rm -rf {project}/.goreload; fi'
    dev, url = started(driver, project, env=go_first(project, f'{removes}\nexec "$GO" "$@"'))
    answers(url, "one")
    flag.touch()
    (project / "answer.go").write_text(answer("two"))
    answers(url, "two")
    assert len(lines(dev, "was removed: made anew")) == 1
    assert not lines(dev, "error")


def test_first_dev_ends_when_a_second_took_the_removed_folder(project: Path, driver: Driver) -> None:
    server(project)
    first, _ = started(driver, project)
    removed(project / ".goreload")
    second, url = started(driver, project)
    (project / "answer.go").write_text(answer("two"))
    first.line(f"app is already being run by pid {second.process.pid}: stop it first")
    assert first.wait() == 2
    answers(url, "two")
    assert second.stop() == 130
    assert not alive([str(project)])


@pytest.mark.parametrize("who", ["go", "compile"])
def test_build_that_is_killed_is_no_compile_error_and_is_tried_once_more(
    project: Path, driver: Driver, who: str
) -> None:
    server(project)
    flags = [project.parent / "once", project.parent / "again"]
    kill = f'for flag in {flags[0]} {flags[1]}; do rm "$flag" 2>/dev/null && kill -9 $$; done'
    env = {}
    if who == "go":
        env = go_first(project, f'[ "$1" = build ] && {kill}\nexec "$GO" "$@"')
    else:
        tool = project.parent / "tool"
        tool.write_text(f'#!/bin/sh\ncase "$1 $2" in *"/compile -V"*) ;; *"/compile "*) {kill} ;; esac\nexec "$@"\n')
        tool.chmod(0o755)
        write(project, {"invoke.yaml": f"goreload: {{build: {{flags: [-toolexec={tool}]}}}}\n"})
    dev, url = started(driver, project, env=env)
    answers(url, "one")
    two, three = (f"{word} {time.time_ns()}" for word in ("two", "three"))  # what is cached is not compiled
    flags[0].touch()
    (project / "answer.go").write_text(answer(two))
    dev.line(r"the build was killed from outside \(out of memory\?\); it is built again")
    answers(url, two)
    assert not lines(dev, "error")
    for flag in flags:
        flag.touch()
    (project / "answer.go").write_text(answer(three))
    dev.line(r"^the build was killed from outside \(out of memory\?\)$")
    dev.line("answer.go -> 1 error, .*; the old program still runs")
    assert get(url) == two
    assert not lines(dev, r"signal: killed|answer\.go:\d")
    (project / "answer.go").write_text(answer("four"))
    answers(url, "four")


def test_go_that_disappears_and_comes_back(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project, env=go_first(project, 'exec "$GO" "$@"'))
    answers(url, "one")
    go = project.parent / "shim" / "go"
    go.rename(go.with_name("gone"))
    reading(project, new="two")
    dev.line("^cannot start .*/go in .*: No such file or directory")
    dev.line("-> 1 error, .*; the old program still runs")
    assert get(url) == "one"
    go.with_name("gone").rename(go)
    answers(url, "two")
    (project / "new" / "new.go").write_text(says("new", "three"))
    answers(url, "three")
    assert len(lines(dev, "cannot list the inputs: No such file or directory: .*/go; tried again every")) == 1
    assert "Traceback" not in dev.text


def test_listing_that_is_killed_is_asked_for_again(project: Path, driver: Driver) -> None:
    server(project)
    flags = [project.parent / name for name in ("once", "again")]
    kill = (
        f'case "$*" in *-deps*) for flag in {flags[0]} {flags[1]}; do rm $flag 2>/dev/null && kill -9 $$; done ;; esac'
    )
    dev, url = started(driver, project, env=go_first(project, f'{kill}\nexec "$GO" "$@"'))
    answers(url, "one")
    flags[0].touch()
    reading(project, new="two")
    answers(url, "two")
    (project / "new" / "new.go").write_text(says("new", "three"))
    answers(url, "three")
    assert not flags[0].exists()
    assert not lines(dev, "cannot list")
    for flag in flags:
        flag.touch()
    reading(project, other="four")
    dev.line("cannot list the inputs: killed from outside: .*go list")
    answers(url, "four")
    (project / "other" / "other.go").write_text(says("other", "five"))
    answers(url, "five")


def test_binary_that_was_removed_is_built_again_for_a_restart(project: Path, driver: Driver) -> None:
    server(project)
    word = 'package main\n\nimport "os"\n\nfunc Answer() string { return os.Getenv("WORD") }\n'
    write(project, {"answer.go": word, ".env": "WORD=one\n"})
    dev, url = started(driver, project)
    answers(url, "one")
    shutil.rmtree(project / ".goreload" / "app" / "bin")
    write(project, {".env": "WORD=two\n"})
    dev.line("cannot start .*: No such file or directory")
    answers(url, "two")
    assert "Traceback" not in dev.text


def test_mistake_in_an_env_file_is_told_and_mending_it_starts_the_app(project: Path, driver: Driver) -> None:
    server(project)
    word = 'package main\n\nimport "os"\n\nfunc Answer() string { return os.Getenv("WORD") }\n'
    write(project, {"answer.go": word, ".env": "WORD=one\n"})
    dev, url = started(driver, project)
    answers(url, "one")
    write(project, {".env": "WORD two\n"})
    dev.line(r"\.env, line 1: expected NAME=VALUE; mend or remove the line")
    write(project, {".env": "WORD=two\n"})
    answers(url, "two")


# Crashes, kills.


def crashing(folder: Path, log: Path) -> None:
    """A program that writes down when it starts, and crashes."""
    server(folder)
    begin = (
        f'log, _ := os.OpenFile("{log}", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)\n'
        "\tfmt.Fprintln(log, time.Now().UnixNano())\n\tlog.Close()\n\tpanic(Answer())\n"
    )
    main = (folder / "main.go").read_text().replace("func main() {", "func main() {\n\t" + begin)
    (folder / "main.go").write_text(main.replace('"os"\n', '"os"\n\t"time"\n'))


BACKOFF = "crash: {restart: backoff, delay: 200ms, jitter: 0.5, limit: 3}"


def test_app_that_crashes_is_started_again_ever_later_and_held_at_the_limit(project: Path, driver: Driver) -> None:
    log = project.parent / "log"
    crashing(project, log)
    write(project, {"invoke.yaml": f"goreload: {{{BACKOFF}}}\n"})
    dev = driver.start(project, "dev")
    waits = [float(dev.line(r"exit code 2; starts again in (\d+) ms")[1]) / 1000 for _ in range(3)]
    dev.line("exit code 2; waits for a change")
    for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert least - 0.001 <= wait <= least * 1.5 + 0.001
    at = [int(line) / 1e9 for line in log.read_text().split()]
    assert len(at) == 4
    for wait, (before, after) in zip(waits, itertools.pairwise(at), strict=True):
        assert after - before >= wait - 0.001
    (project / "main.go").write_text((project / "main.go").read_text().replace("panic(Answer())", ""))
    answers(dev.url(), "one")


def test_two_services_that_crash_at_once_come_back_apart(project: Path, driver: Driver) -> None:
    go = project.parent / "go"
    for name in ("api", "web"):
        crashing(project, project.parent / name)
        gated = (
            (project / "main.go")
            .read_text()
            .replace(
                "panic(Answer())",
                f'for i := 0; ; i++ {{ if _, err := os.Stat("{go}"); err == nil {{ break }} }}\n'
                f'\tif b, _ := os.ReadFile("{project.parent / name}"); len(b) < 30 {{ panic("first") }}',
            )
        )
        write(project, {f"cmd/{name}/main.go": gated, f"cmd/{name}/answer.go": answer(name)})
        (project / "main.go").unlink()
        (project / "answer.go").unlink()
    services = "services: {api: {main: ./cmd/api}, web: {main: ./cmd/web}}"
    # So wide that the two are hardly ever the same to the ms.
    write(project, {"invoke.yaml": f"goreload: {{{BACKOFF.replace('0.5', '20')}, {services}}}\n"})
    dev = driver.start(project, "dev")
    until(lambda: all((project.parent / name).exists() for name in ("api", "web")), "both at work")
    go.touch()
    again = named(dev, r"the app ended by itself: .*; starts again in (\d+) ms")
    assert set(again) == {"api", "web"}
    assert again["api"] != again["web"]
    for name, url in named(dev, r".* -> (http\S+)").items():
        answers(url, name)


@LINUX
def test_kill_9_takes_who_left_the_session_and_frees_the_port_of_the_gate(project: Path, driver: Driver) -> None:
    server(project)
    port = free_port()
    nap = project / "nap.sh"
    write(
        project,
        {
            "nap.sh": "#!/bin/sh\ntrap '' TERM HUP\nsleep 98765\nsleep 98765\n",
            "invoke.yaml": f"goreload: {{serve: {{port: {port}}}}}\n",
            "build.sh": "#!/bin/sh\nsleep 98765\n",
        },
    )
    nap.chmod(0o755)
    parent = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    (project / "main.go").write_text(
        parent.replace("func main() {", f'func main() {{\n\texec.Command("setsid", "{nap}").Start()')
    )
    flag = project.parent / "flag"
    slow = f'[ "$1" = build ] && [ -e {flag} ] && exec sh {project}/build.sh'
    dev = driver.start(project, "dev", env=go_first(project, f'{slow}\nexec "$GO" "$@"'))
    dev.url()
    url = f"http://127.0.0.1:{port}"
    answers(url, "one")
    until(lambda: len(alive([str(nap)])) == 1, "the one that left the session")
    flag.touch()
    (project / "answer.go").write_text(answer("two"))
    until(lambda: bool(alive([str(project), "build.sh"])), "the build")
    dev.process.kill()
    dev.process.wait()
    until(lambda: not alive([str(project)]), "the end of all of it")
    flag.unlink()
    again = driver.start(project, "dev")  # on the same port
    again.url()
    answers(url, "two")
    assert again.stop() == 130
    assert not alive([str(project)])


# The machine.


def services(project: Path, settings: str) -> None:
    """Two services, api and web."""
    server(project)
    for name in ("api", "web"):
        write(project, {f"cmd/{name}/{file}": (project / file).read_text() for file in ("main.go", "answer.go")})
    for file in ("main.go", "answer.go"):
        (project / file).unlink()
    listed = "services: {api: {main: ./cmd/api}, web: {main: ./cmd/web}}"
    write(project, {"invoke.yaml": f"goreload: {{{settings}, {listed}}}\n"})


def test_builds_stand_back_as_far_as_is_asked_and_the_app_does_not(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"invoke.yaml": "goreload: {build: {nice: 7}}\n"})
    log = project.parent / "log"
    dev, url = started(driver, project, env=go_first(project, f'[ "$1" = build ] && nice >> {log}\nexec "$GO" "$@"'))
    answers(url, "one")
    own = os.getpriority(os.PRIO_PROCESS, dev.process.pid)
    assert log.read_text().split() == [str(own + 7)]
    (app,) = alive([str(project), ".goreload", "/bin/"])
    assert os.getpriority(os.PRIO_PROCESS, app) == own


@pytest.mark.parametrize("parallel", [0, 1])
def test_so_many_builds_run_at_once_over_all_services(project: Path, driver: Driver, parallel: int) -> None:
    services(project, f"build: {{parallel: {parallel}}}")
    log = project.parent / "log"
    # Without a limit each build waits for the other one; with it, it leaves time for another one to begin.
    wait = f"until [ $(wc -l < {log}) -ge 2 ]; do sleep 0.01; done" if parallel == 0 else "sleep 0.5"
    script = f'[ "$1" = build ] || exec "$GO" "$@"\necho + >> {log}\n{wait}\n'
    script += f'"$GO" "$@"; code=$?\necho - >> {log}\nexit $code'
    dev = driver.start(project, "dev", env=go_first(project, script))
    for url in (dev.url(), dev.url()):
        answers(url, "one")
    assert log.read_text().split() == (["+", "-", "+", "-"] if parallel else ["+", "+", "-", "-"])


def test_build_that_waits_for_its_turn_can_be_given_up(project: Path, driver: Driver) -> None:
    services(project, "build: {parallel: 1}")
    log, flag = project.parent / "log", project.parent / "flag"
    hold = f"while [ -e {flag} ]; do sleep 0.01; done"
    dev = driver.start(
        project, "dev", env=go_first(project, f'[ "$1" = build ] && {{ echo $* >> {log}; {hold}; }}\nexec "$GO" "$@"')
    )
    urls = named(dev, r".* -> (http\S+)")
    flag.touch()
    (project / "cmd" / "api" / "answer.go").write_text(answer("two"))
    until(lambda: len(log.read_text().splitlines()) == 3, "the build of one service")
    for text in ("never", "three"):
        (project / "cmd" / "web" / "answer.go").write_text(answer(text))
    flag.unlink()
    urls |= named(dev, r".* -> (http\S+)")
    answers(urls["api"], "two")
    answers(urls["web"], "three")
    assert dev.stop() == 130
    assert not alive([str(project)])
