"""What a later start of `dev` takes over from the run before: its binary, if nothing has changed since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.driver import Builds, Driver, Task, alive, answer, answers, free_port, get, server, until, write

LEAN = "-gcflags=all=-dwarf=false"

EMBEDS = """package main

import "embed"

//go:embed static/*
var files embed.FS

func Answer() string {
	all, _ := files.ReadDir("static")
	text, _ := files.ReadFile("static/a.txt")
	return string(text) + all[len(all)-1].Name()
}
"""


def start(driver: Driver, project: Path, go: Builds, *words: str, **env: str) -> tuple[str, str, Task]:
    """How `dev` came to its binary, its url, and itself."""
    told = {**go.env, "GORELOAD_BUILD_VERIFY_AFTER": "100ms", "GORELOAD_SERVE_PORT": str(free_port()), **env}
    dev = driver.start(project, "dev", *words, program="goreload", env=told)
    found = dev.line(r"start -> (.*), up .* -> (http://localhost:\d+)")
    return found.group(1), found.group(2), dev


def last(project: Path) -> Path:
    """Where a binary is kept."""
    return next(project.glob(".goreload/*")) / "last"


def rested(dev: Task, project: Path) -> None:
    """Wait until the binary is kept, and end it."""
    until(lambda: any(project.glob(".goreload/*/last.json")), "the binary is kept")
    assert dev.stop() == 130


@pytest.fixture
def go(tmp_path: Path) -> Builds:
    return Builds(tmp_path)


def test_a_start_before_which_nothing_changed_builds_nothing_and_is_proved_at_rest(
    project: Path, driver: Driver, go: Builds
) -> None:
    server(project, tasks=False)
    how, url, dev = start(driver, project, go)
    assert how.startswith("built ")
    rested(dev, project)
    os.utime(project / "answer.go")  # what is in it counts
    built, idle = len(go.wanted), len(go.idle)
    how, url, dev = start(driver, project, go)
    assert how == "unchanged"
    answers(url, "one")
    until(lambda: len(go.idle) > idle, "the go command has its say")
    assert len(go.wanted) == built
    with (project / "answer.go").open("a") as file:
        file.write("// the same program\n")
    dev.line("same binary, kept")
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    assert "not what" not in dev.text


def edit(project: Path) -> None:
    write(project, {"main.go": (project / "main.go").read_text().replace("serving with", "serving")})


def same_size_and_time(project: Path) -> None:
    """As a tool may that restores times: only the ctime tells."""
    path = project / "answer.go"
    before = path.stat()
    path.write_text(path.read_text().replace("one", "two"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def header(project: Path) -> None:
    """A file that was in the build is no more."""
    path = project / "extra.go"
    path.write_text(path.read_text().replace("package", "//go:build never\n\npackage"))


ASSEMBLY = "//go:build ignore\n\n#define NOTHING\n"

CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "what is in no build": lambda project: write(project, {"more_test.go": "package main\n", "notes.txt": "more"}),
    "a body": edit,
    "of equal size and time": same_size_and_time,
    "a new source": lambda project: write(project, {"new.go": "package main\n\nfunc init() { println(1) }\n"}),
    "a source that went": lambda project: (project / "extra.go").unlink(),
    "a constraint": header,
    "one in assembly": lambda project: write(project, {"empty.s": ASSEMBLY.replace("//go:build ignore", "")}),
    "an embedded file": lambda project: write(project, {"static/a.txt": "A"}),
    "a new embedded file": lambda project: write(project, {"static/z.txt": "z"}),
    "one that went": lambda project: (project / "static/b.txt").unlink(),
    "go.mod": lambda project: write(project, {"go.mod": "module example.com/app\n\ngo 1.22\n"}),
    "a go.work": lambda project: write(project, {"go.work": "go 1.23\n\nuse .\n"}),
    "a vendor folder": lambda project: write(project, {"vendor/modules.txt": ""}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_last_run_is_built_and_nothing_else(
    what: str, project: Path, driver: Driver, go: Builds
) -> None:
    extra = "package main\n\nfunc init() { println(0) }\n"
    server(project, tasks=False, **{"extra.go": extra, "empty.s": ASSEMBLY})
    write(project, {"embeds.go": EMBEDS.replace("Answer", "Other"), "static/a.txt": "a", "static/b.txt": "b"})
    *_, dev = start(driver, project, go)
    rested(dev, project)
    CHANGES[what](project)
    how, *_ = start(driver, project, go)
    assert how.startswith("unchanged" if what in list(CHANGES)[:2] else "built ")


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("--tags=other",), {}),
        (("--env=test",), {}),
        ((), {"GOFLAGS": "-trimpath"}),
        ((), {"CGO_ENABLED": "0"}),
        ((), {"GORELOAD_BUILD_LDFLAGS": "-X main.x=1"}),
        ((), {"GORELOAD_BUILD_DIRECT": "off"}),
        ((), {"GORELOAD_BUILD_FAST": "off"}),
    ],
)
def test_what_is_to_be_built_otherwise_is_built(
    words: tuple[str, ...], env: dict[str, str], project: Path, driver: Driver, go: Builds
) -> None:
    server(project, tasks=False)
    *_, dev = start(driver, project, go, CGO_ENABLED="1")
    rested(dev, project)
    how, *_ = start(driver, project, go, *words, **{"CGO_ENABLED": "1", **env})
    assert how.startswith("built ")


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def another(path: Path) -> None:
    """A link that a repository brings, to a program that is not ours to run."""
    path.unlink()
    path.symlink_to(shutil.which("true") or "/bin/true")


@pytest.mark.parametrize(
    "spoil", [Path.unlink, broken, another, lambda path: path.with_suffix(".json").write_text("[")]
)
def test_a_kept_binary_that_is_not_what_it_was_is_not_run(
    spoil: Callable[[Path], object], project: Path, driver: Driver, go: Builds
) -> None:
    server(project, tasks=False)
    *_, dev = start(driver, project, go)
    rested(dev, project)
    spoil(last(project))
    how, url, dev = start(driver, project, go)
    assert how.startswith("built ")
    answers(url, "one")


def test_a_kept_binary_that_go_build_does_not_make_is_replaced(project: Path, driver: Driver, go: Builds) -> None:
    server(project, tasks=False)
    *_, dev = start(driver, project, go)
    rested(dev, project)
    # The fault that cannot be made from outside: another binary, with a note that says it is this one.
    write(project, {"answer.go": answer("wrong")})
    path = last(project)
    path.unlink()
    subprocess.run(["go", "build", "-o", path, "."], cwd=project, check=True)
    write(project, {"answer.go": answer("one")})
    note = path.with_suffix(".json")
    status = path.stat()
    said = json.loads(note.read_text())
    note.write_text(json.dumps({**said, "file": [status.st_ino, status.st_size, status.st_mtime_ns]}))
    how, url, dev = start(driver, project, go)
    assert how == "unchanged"
    dev.line("not what `go build` makes: it is built again")
    answers(url, "one")
    rested(dev, project)
    how, url, _ = start(driver, project, go)
    assert how == "unchanged"
    answers(url, "one")


EARLY = """
import os, sys, time
from importlib.machinery import PathFinder

class Finder:
    def find_spec(self, name, path, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if name == "goreload_tasks.engine":  # loaded when the first build has begun, and nothing is watched yet
            time.sleep(0.05)
            with open("answer.go", "w") as file:
                file.write(os.environ["EARLY"])
        return spec

if "EARLY" in os.environ and "dev" in sys.argv:
    sys.meta_path.insert(0, Finder())
"""


def test_a_save_while_the_tool_is_being_loaded_is_no_later_than_any_other(
    project: Path, driver: Driver, go: Builds, tmp_path: Path
) -> None:
    server(project, tasks=False)
    *_, dev = start(driver, project, go)
    rested(dev, project)
    write(tmp_path / "site", {"sitecustomize.py": EARLY})
    port = free_port()
    env = {"PYTHONPATH": str(tmp_path / "site"), "EARLY": answer("early"), "GORELOAD_SERVE_PORT": str(port)}
    driver.start(project, "dev", program="goreload", env={**go.env, **env})
    first = ""

    def answered() -> bool:
        nonlocal first
        first = get(f"http://localhost:{port}")
        return bool(first)

    until(answered, "an answer")
    assert first == "early"


def test_what_a_rule_has_not_let_through_is_not_taken_for_what_runs(
    project: Path, driver: Driver, tmp_path: Path
) -> None:
    """At rest the new source is compiled while the old program runs, and must not be taken for its twin."""
    held, resting = project / "held", tmp_path / "resting"
    resting.touch()
    go = Builds(tmp_path, held=resting)
    rules = [{"files": ["answer.go"], "run": f"sh -c 'while [ -e {held} ]; do sleep 0.02; done'"}]
    server(project, tasks=False)
    write(project, {"invoke.yaml": json.dumps({"goreload": {"rules": rules}})})
    _, url, dev = start(driver, project, go)
    until(lambda: any(LEAN in words for words in go.idle), "what is done at rest begins, and waits")
    held.touch()
    write(project, {"answer.go": answer("two")})
    until(lambda: bool(alive(["while [ -e", str(held)])), "the rule's command")
    resting.unlink()
    until(lambda: not alive([LEAN, str(project)]), "its end")
    held.unlink()
    answers(url, "two")
    assert "same binary" not in dev.text


def test_second_start_of_an_app_that_hangs_hears_of_the_file_that_it_waits_for(
    project: Path, driver: Driver, go: Builds
) -> None:
    server(project, tasks=False)
    main = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"time"\n')
    hangs = 'func main() {\n\tif os.Getenv("GOES") == "" {\n\t\ttime.Sleep(time.Hour)\n\t}\n'
    write(project, {"main.go": main.replace("func main() {\n", hangs), ".env": "GOES=1\n"})
    _, _, dev = start(driver, project, go)
    rested(dev, project)
    write(project, {".env": ""})
    port = free_port()
    dev = driver.start(project, "dev", program="goreload", env={**go.env, "GORELOAD_SERVE_PORT": str(port)})
    until(lambda: bool(alive([str(project), ".goreload", "/bin/"])), "the app that hangs")
    write(project, {".env": "GOES=1\n"})
    until(lambda: get(f"http://127.0.0.1:{port}") == "one", "the answer")
    dev.line(r"\.env -> ")


def test_nothing_is_kept_of_a_program_that_is_edited_at_once(project: Path, driver: Driver, go: Builds) -> None:
    """What is kept is of the sources that it was built from, whatever is saved when."""
    server(project, tasks=False)
    _, url, dev = start(driver, project, go)
    for number in range(5):
        write(project, {"answer.go": answer(f"at {number}")})
        answers(url, f"at {number}")
    write(project, {"answer.go": answer("not built")})
    dev.process.kill()  # no time to notice it, or for a rest
    dev.wait()
    _, url, _ = start(driver, project, go)
    answers(url, "not built")
