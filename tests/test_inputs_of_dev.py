"""No build that could not change the binary: real builds are counted through a `go` first in PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil

from tests.driver import Driver, Task, alive, answer, get, server, until, write


class Counted:
    """`dev` on a project, with the real builds it starts counted."""

    def __init__(self, project: Path, driver: Driver) -> None:
        go = shutil.which("go")
        shim = project.parent / "shim"
        self.log = project.parent / "builds"
        write(shim, {"go": f'#!/bin/sh\n[ "$1" = build ] && echo "$@" >> {self.log}\nexec {go} "$@"\n'})
        (shim / "go").chmod(0o755)
        self.project = project
        self.dev: Task = driver.start(project, "dev", env={"PATH": f"{shim}:{os.environ['PATH']}"})
        self.url = self.dev.url()

    @property
    def builds(self) -> int:
        return len(self.log.read_text().splitlines())

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
        watches += fd.read_text().count("inotify wd:")
    assert watches <= 1 + 4, "the folder of the program and a handful"
    assert process.memory_info().rss < 60_000_000
