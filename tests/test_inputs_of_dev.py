"""No build that could not change the binary: real builds are counted through a `go` first in PATH."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.driver import Builds, Driver, Task, alive, answer, free_port, get, server, status, until, write


class Counted:
    """`dev` on a project, with the real builds it starts counted."""

    def __init__(self, project: Path, driver: Driver, port: int | None = None) -> None:
        self._go = Builds(project.parent)
        self.project = project
        env = {**self._go.env, **({"GORELOAD_SERVE_PORT": str(port)} if port else {})}
        self.dev: Task = driver.start(project, "dev", env=env)
        self.url = self.dev.url()

    @property
    def builds(self) -> int:
        return len(self._go.wanted)

    def app(self) -> list[int]:
        return alive([str(self.project), ".goreload", "/bin/"])

    def mark(self) -> None:
        """A change that does matter: when its reload is told, whatever came before it has been decided."""
        text = f"mark {self.builds}"
        write(self.project, {"answer.go": answer(text)})
        self.url = self.dev.url()
        until(lambda: get(self.url) == text, text)


def weather(project: Path) -> None:
    """Beside the program lie a package nobody imports, other platforms' files, tests, and ignored ones."""
    server(project)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    write(
        project,
        {
            ".gitignore": "ignored/\n",
            "lone/lone.go": "package lone\n",
            "ignored/a/a.go": "package a\n",
            "tool_windows.go": "package main\n",
            "prod.go": "//go:build prod\n\npackage main\n",
            "answer_test.go": "package main\n",
            "testdata/x.go": "package x\n",
        },
    )


def test_nothing_that_is_no_input_builds_and_a_comment_keeps_the_app(project: Path, driver: Driver) -> None:
    weather(project)
    dev = Counted(project, driver)
    dev.mark()
    before, app = dev.builds, dev.app()
    os.utime(project / "main.go")
    for name in ("tool_windows.go", "prod.go", "answer_test.go", "lone/lone.go", "ignored/a/a.go", "testdata/x.go"):
        with (project / name).open("a") as file:
            file.write("\nvar more = 1\n")
    write(project, {"notes.md": "x", "new_test.go": "package main\n", ".answer.go.swp": "x", "answer.go~": "x"})
    write(project, {"new_windows.go": "package main\n", "gen.go": "//go:build ignore\n\npackage main\n"})
    (project / "lone" / "lone.go").unlink()
    assert dev.app() == app
    with (project / "main.go").open("a") as file:
        file.write("// the end\n")
    dev.dev.line("main.go -> built .* -> same binary, kept")
    assert (dev.builds, dev.app()) == (before + 1, app)


def test_ignored_file_that_the_build_reads_is_an_input_and_the_setting_takes_it_out(
    project: Path, driver: Driver
) -> None:
    weather(project)
    write(
        project,
        {
            ".gitignore": "gen/\n",
            "gen/gen.go": 'package gen\n\nconst Text = "one"\n',
            "answer.go": 'package main\n\nimport "example.com/app/gen"\n\nfunc Answer() string { return gen.Text }\n',
        },
    )
    dev = Counted(project, driver)
    write(project, {"gen/gen.go": 'package gen\n\nconst Text = "two"\n'})
    url = dev.dev.url()
    until(lambda: get(url) == "two", "two")
    assert dev.dev.stop() == 130
    write(project, {"invoke.yaml": "goreload: {watch: {ignore: [gen/]}}\n"})
    other = Counted(project, driver)
    before = other.builds
    write(project, {"gen/gen.go": 'package gen\n\nconst Text = "three"\n'})
    with (project / "main.go").open("a") as file:
        file.write("// the end\n")
    assert "main.go ->" in other.dev.line("->").string
    assert other.builds == before + 1


def test_embedded_files_are_inputs_and_new_ones_that_a_pattern_takes_in(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "static/a.txt": "a",
            "answer.go": 'package main\n\nimport (\n\t"embed"\n\t"fmt"\n)\n\n'
            "//go:embed static/*\nvar files embed.FS\n\n"
            'func Answer() string { e, _ := files.ReadDir("static"); return fmt.Sprint(len(e)) }\n',
        },
    )
    dev = Counted(project, driver)
    until(lambda: get(dev.url) == "1", "one file")
    write(project, {"static/b.txt": "b"})
    url = dev.dev.url()
    until(lambda: get(url) == "2", "two files")
    (project / "static" / "a.txt").unlink()
    url = dev.dev.url()
    until(lambda: get(url) == "1", "one file again")
    write(project, {"static/deep/c.txt": "c"})
    url = dev.dev.url()
    until(lambda: get(url) == "2", "a folder more")


def test_replaced_module_and_workspace_member_are_inputs(project: Path, driver: Driver) -> None:
    server(project)
    other = project.parent / "other"
    write(
        other, {"go.mod": "module example.com/other\n\ngo 1.23\n", "other.go": 'package other\n\nconst Text = "one"\n'}
    )
    write(
        project,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/other v0.0.0\n\n"
            "replace example.com/other => ../other\n",
            "answer.go": 'package main\n\nimport "example.com/other"\n\nfunc Answer() string { return other.Text }\n',
        },
    )
    dev = Counted(project, driver)
    until(lambda: get(dev.url) == "one", "one")
    write(other, {"other.go": 'package other\n\nconst Text = "two"\n'})
    url = dev.dev.url()
    until(lambda: get(url) == "two", "two")


def test_go_mod_edit_is_seen_and_a_constraint_that_changes_brings_a_file_in(project: Path, driver: Driver) -> None:
    weather(project)
    write(project, {"prod.go": '//go:build prod\n\npackage main\n\nfunc init() { word = "prod" }\n'})
    write(project, {"answer.go": 'package main\n\nvar word = "dev"\n\nfunc Answer() string { return word }\n'})
    dev = Counted(project, driver)
    before = dev.builds
    write(project, {"prod.go": '//go:build dev\n\npackage main\n\nfunc init() { word = "prod" }\n'})
    url = dev.dev.url()
    until(lambda: get(url) == "prod", "prod")
    assert dev.builds == before + 1
    write(project, {"go.mod": "module example.com/app\n\ngo 1.24\n"})
    assert "go.mod ->" in dev.dev.line("->").string


def test_cost_follows_the_program_and_not_what_lies_beside_it(project: Path, driver: Driver) -> None:
    weather(project)
    for folder in range(500):
        write(project, {f"ignored/{folder}/{name}.js": "x" for name in range(10)})
    dev = Counted(project, driver)
    dev.mark()
    process = psutil.Process(dev.dev.process.pid)
    watches = 0
    for fd in Path(f"/proc/{process.pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # one that is closed meanwhile: work at rest goes on
            watches += fd.read_text().count("inotify wd:")
    assert watches, "the descriptor of inotify is there as long as dev is"
    above = len(project.parents)  # a go.work may come to each of them, and would count
    assert watches <= 1 + above + 4, "the folder of the program, those above it, and a handful"
    assert process.memory_info().rss < 60_000_000


WHY: dict[str, tuple[str, str]] = {
    "main.go": ("a change rebuilds", "the main package itself"),
    "gen/gen.go": ("a change rebuilds", "ignored by `gen/` (.gitignore, line 1); the build reads it all the same"),
    "inner/deep/deep.go": (
        "a change rebuilds",
        "example.com/app -> example.com/app/inner -> example.com/app/inner/deep",
    ),
    "inner/static/a.txt": ("a change rebuilds", "embedded by package example.com/app/inner"),
    "inner/static/.hidden": ("nothing happens", "not embedded"),
    "go.mod": ("a change rebuilds", "which modules are in the build"),
    "go.work": ("a change rebuilds", "it is not there; if it comes"),
    "default.pgo": ("a change rebuilds", "it is not there; if it comes: a profile"),
    "tool_windows.go": ("nothing happens", "left out of this build by its name (tool_windows.go)"),
    "prod.go": ("nothing happens", "by its constraint `//go:build prod`"),
    "main_test.go": ("nothing happens", "`go test` reads it"),
    "_draft.go": ("nothing happens", "begin with `_` or `.`"),
    "lone/lone.go": ("nothing happens", "nothing that is built imports the package in lone"),
    "inner/new.go": ("a change rebuilds", "a new source in package example.com/app/inner"),
    "testdata/x.go": ("nothing happens", "folders named testdata"),
    "views/a.html": ("a change restarts the app", "watch.include selects it"),
    "views/part/b.html": ("nothing happens", "ignored by `part/` (watch.ignore, line 1)"),
    "style.css": ("a change refreshes the browser", "rule css selects it"),
    "query.sql": ("a change restarts the app", "`sqlc generate` runs first"),
    "x.log": ("nothing happens", "ignored by `*.log` (a default of this tool)"),
    "README.md": ("nothing happens", "no rule and no `watch.include` selects it"),
    "inner": ("a change rebuilds", "it holds package example.com/app/inner"),
    "inner/static": ("a change rebuilds", "1 file in the build"),
    "inner/static/new.txt": ("a change rebuilds", "if it comes: `//go:embed static/*.txt` of package"),
    "new_windows.go": ("nothing happens", "if it comes: left out of this build by its name"),
    "inner/go.mod": ("a change rebuilds", "it takes inner out of its module"),
    "views/new.html": ("a change restarts the app", "if it comes: watch.include selects it"),
    "invoke.yaml": ("nothing happens", "start it again after a change"),
    ".env": ("a change restarts the app", "env_files selects it"),
    "../elsewhere.go": ("nothing happens", "it is outside"),
}


def test_why_names_the_rule_that_decides(project: Path, driver: Driver) -> None:
    weather(project)
    write(
        project,
        {
            ".gitignore": "gen/\n",
            "gen/gen.go": "package gen\n",
            "inner/inner.go": 'package inner\n\nimport (\n\t_ "embed"\n\n\t_ "example.com/app/inner/deep"\n)\n\n'
            "//go:embed static/*.txt\nvar s string\n",
            "inner/deep/deep.go": "package deep\n",
            "inner/static/a.txt": "x",
            "inner/static/.hidden": "x",
            "answer.go": 'package main\n\nimport (\n\t_ "example.com/app/gen"\n\t_ "example.com/app/inner"\n)\n\n'
            'func Answer() string { return "" }\n',
            "views/a.html": "x",
            "views/part/b.html": "x",
            "style.css": "x",
            "query.sql": "x",
            "README.md": "x",
            "_draft.go": "package main\n",
            "invoke.yaml": "goreload:\n  watch: {include: ['views/**'], ignore: [part/]}\n  rules:\n"
            "    - {name: css, files: ['*.css'], then: refresh}\n    - {files: ['*.sql'], run: sqlc generate}\n",
        },
    )
    wrong = []
    for path, (first, reason) in WHY.items():
        told = driver.run(project, "why", path)
        if first not in told.stdout.splitlines()[0] or reason not in told.stdout:
            wrong.append(told.stdout + told.stderr)
    assert wrong == []


def test_why_works_beside_a_running_dev(project: Path, driver: Driver) -> None:
    server(project)
    driver.start(project, "dev").url()
    assert "a change rebuilds" in driver.run(project, "why", "main.go").stdout


def test_headers_that_the_go_command_does_not_watch_rebuild_too(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "inc/word.h": '#include "../deep/number.h"\n',
            "deep/number.h": "#define NUMBER 1\n",
            "answer.go": 'package main\n\n// #cgo CFLAGS: -I${SRCDIR}/inc\n// #include "word.h"\nimport "C"\n\n'
            'import "fmt"\n\nfunc Answer() string { return fmt.Sprint(int(C.NUMBER)) }\n',
        },
    )
    dev = Counted(project, driver)
    until(lambda: get(dev.url) == "1", "1")
    for number in ("2", "3"):
        write(project, {"deep/number.h": f"#define NUMBER {number}\n"})
        until(lambda number=number: get("http://" + dev.dev.text.split("http://")[-1].split()[0]) == number, number)  # type: ignore[misc]
    assert "includes it from elsewhere" in driver.run(project, "why", "deep/number.h").stdout
    assert dev.dev.stop() == 130
    write(project, {"deep/number.h": "#define NUMBER 4\n"})
    again = Counted(project, driver)
    until(lambda: get("http://" + again.dev.text.split("http://")[-1].split()[0]) == "4", "4 after a new start")


@pytest.mark.parametrize("file", [".gitignore", ".git/info/exclude"])
def test_edit_of_an_ignore_file_takes_effect_at_once(file: str, project: Path, driver: Driver) -> None:
    weather(project)
    write(
        project,
        {"views/a.html": "x", "views/b.html": "x", "invoke.yaml": "goreload: {watch: {include: ['views/**']}}\n"},
    )
    port = free_port()
    dev = Counted(project, driver, port)
    write(project, {"views/a.html": "y"})
    dev.dev.line("views/a.html -> restarted")
    write(project, {file: "ignored/\n/views/a.html\n"})
    write(project, {"views/b.html": "y"})
    dev.dev.line("views/b.html -> restarted")
    until(lambda: "views/a.html: nothing" in driver.run(project, "why", "views/a.html").stdout, "the new rule in why")
    assert status(port)[0] == 200  # it waits until dev knows it too
    write(project, {"views/a.html": "z"})
    write(project, {"views/b.html": "z"})
    assert "views/b.html ->" in dev.dev.line("-> restarted").string


def test_symlinked_source_is_watched_where_it_really_is(project: Path, driver: Driver) -> None:
    server(project)
    elsewhere = project.parent / "elsewhere"
    write(elsewhere, {"answer.go": answer("one")})
    (project / "answer.go").unlink()
    (project / "answer.go").symlink_to(elsewhere / "answer.go")
    dev = Counted(project, driver)
    write(elsewhere, {"answer.go": answer("two")})
    url = dev.dev.url()
    until(lambda: get(url) == "two", "two")


def test_source_that_becomes_a_symlink_is_watched_where_it_leads_from_then_on(project: Path, driver: Driver) -> None:
    server(project)
    elsewhere = project.parent / "elsewhere"
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    url = f"http://localhost:{port}"
    for name in ("a.go", "b.go"):
        write(elsewhere, {name: answer(f"{name} first")})
        (project / "new").symlink_to(elsewhere / name)
        (project / "new").rename(project / "answer.go")
        assert get(url) == f"{name} first"
        write(elsewhere, {name: answer(f"{name} second")})
        assert get(url) == f"{name} second"


@pytest.mark.parametrize("moved", ["link", "folder"])
def test_link_on_the_way_of_a_symlinked_source_may_lead_elsewhere(project: Path, driver: Driver, moved: str) -> None:
    server(project)
    outside = project.parent / "outside"
    write(outside, {"v1/a.go": answer("one"), "v2/a.go": answer("two")})
    (outside / "a.go").symlink_to("v1/a.go" if moved == "link" else "now/a.go")
    (outside / "now").symlink_to("v1")
    (project / "answer.go").unlink()
    (project / "answer.go").symlink_to("../outside/a.go")
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    url = f"http://localhost:{port}"
    assert get(url) == "one"
    (outside / "new").symlink_to("v2/a.go" if moved == "link" else "v2")
    (outside / "new").rename(outside / ("a.go" if moved == "link" else "now"))
    assert get(url) == "two"
    write(outside, {"v2/a.go": answer("three")})
    assert get(url) == "three"


def test_source_that_two_packages_link_is_one_build(project: Path, driver: Driver) -> None:
    server(project)
    outside = project.parent / "outside"
    source = 'package lib\n\nconst Text = "{}"\n'
    write(outside, {"lib.go": source.format("one")})
    for name in ("a", "b"):
        (project / name).mkdir()
        (project / name / "lib.go").symlink_to(outside / "lib.go")
    imports = 'import (\n\ta "example.com/app/a"\n\tb "example.com/app/b"\n)\n'
    uses = f"package main\n\n{imports}\nfunc Answer() string {{ return a.Text + b.Text }}\n"
    write(project, {"answer.go": uses})
    dev = Counted(project, driver)
    before = dev.builds
    write(outside, {"lib.go": source.format("two")})
    assert "a/lib.go +1 -> built" in dev.dev.line("-> built").string
    write(project, {"answer.go": uses.replace("+", '+ "." +')})
    url = dev.dev.line(r"answer.go -> built .* (http://localhost:\d+)")[1]
    until(lambda: get(url) == "two.two", "both")
    assert dev.builds == before + 2


def test_project_that_is_entered_through_a_link_is_the_same_project(project: Path, driver: Driver) -> None:
    server(project)
    link = project.parent / "link"
    link.symlink_to(project)
    env = {"PWD": str(link)}  # as a shell says that went there
    assert "main.go: a change rebuilds" in driver.run(link, "why", "main.go", env=env).stdout
    dev = driver.start(link, "dev", env=env)
    dev.url()
    write(link, {"answer.go": answer("two")})
    assert " answer.go -> built" in dev.line("answer.go").string


def test_flags_of_go_env_w_count_from_the_next_start_and_the_person_is_told(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "answer.go": 'package main\n\nvar word = "none"\n\nfunc Answer() string { return word }\n',
            "red.go": '//go:build red\n\npackage main\n\nfunc init() { word = "red" }\n',
        },
    )
    env = {"GOENV": str(project.parent / "go.env")}
    dev = driver.start(project, "dev", env=env)
    assert get(dev.url()) == "none"
    subprocess.run(["go", "env", "-w", "GOFLAGS=-tags=red"], env={**os.environ, **env}, check=True)
    dev.line("GOFLAGS is -tags=red now: start again for all of it to count")
    assert dev.stop() == 130
    again = driver.start(project, "dev", env=env)
    assert get(again.url()) == "red"


BROKEN = {
    "syntax error": ({"extra.go": "package main\n\nfunc (\n"}, {"extra.go": "package main\n"}),
    "missing package": (
        {"extra.go": 'package main\n\nimport _ "example.com/app/later"\n'},
        {"later/later.go": "package later\n"},
    ),
    "package in a later folder of a later folder": (
        {"extra.go": 'package main\n\nimport _ "example.com/app/not/yet"\n'},
        {"not/yet/yet.go": "package yet\n"},
    ),
    "import cycle": (
        {
            "extra.go": 'package main\n\nimport _ "example.com/app/a"\n',
            "a/a.go": 'package a\n\nimport _ "example.com/app/b"\n',
            "b/b.go": 'package b\n\nimport _ "example.com/app/a"\n',
        },
        {"b/b.go": "package b\n"},
    ),
    "no required module": (
        {"extra.go": 'package main\n\nimport _ "example.com/other"\n'},
        {
            "other/go.mod": "module example.com/other\n\ngo 1.23\n",
            "other/other.go": "package other\n",
            "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/other v0.0.0\n\n"
            "replace example.com/other => ./other\n",
        },
    ),
    "another package's name": ({"extra.go": "package other\n"}, {"extra.go": "package main\n"}),
    "a name declared twice": (
        {"extra.go": 'package main\n\nfunc Answer() string { return "" }\n'},
        {"extra.go": "package main\n"},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_list_or_compile_keeps_its_inputs_and_is_mended_where_it_can_be(
    what: str, project: Path, driver: Driver
) -> None:
    broken, mend = BROKEN[what]
    server(project)
    dev = Counted(project, driver, free_port())
    write(project, broken)
    dev.dev.line("[1-9] error")
    # What was an input before is one still.
    write(project, {"main.go": (project / "main.go").read_text() + "// more\n"})
    dev.dev.line("main.go.* -> [1-9] error")
    write(project, mend)
    until(lambda: get(dev.url) == "one", "one")


def test_test_that_broke_a_build_and_is_mended_lets_it_be_built_again(project: Path, driver: Driver) -> None:
    weather(project)
    dev = Counted(project, driver)
    dev.mark()
    before, app = dev.builds, dev.app()
    write(project, {"new_test.go": ""})  # as an editor begins a file; `go build` refuses to read it
    write(project, {"new_test.go": "package main\n"})
    dev.mark()
    assert before + 1 <= dev.builds <= before + 2  # that of the mark; one more where the empty file was seen
    assert dev.app() != app
    write(project, {"new_test.go": ""})
    write(project, {"answer.go": answer("two")})
    dev.dev.line("new_test.go:1:1: expected 'package'")
    write(project, {"new_test.go": "package main\n"})
    url = dev.dev.line(r"new_test.go -> built .*(http://localhost:\d+)").group(1)
    until(lambda: get(url) == "two", "two")
