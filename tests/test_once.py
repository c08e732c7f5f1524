"""`build`, `run` and `clean` from outside, and what a person is told who asks for the impossible."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.driver import DEADLINE, Driver, alive, answer, server, until, write

PRINTS = """package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	for _, arg := range os.Args[1:] {
		fmt.Printf("[%s]\\n", arg)
	}
	line, _ := bufio.NewReader(os.Stdin).ReadString('\\n')
	fmt.Print("read ", line)
	if line == "wait\\n" {
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGUSR1, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println(<-told)
		os.Exit(7)
	}
	if line == "die\\n" {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	os.Exit(3)
}
"""


def test_build_prints_path_size_and_time(project: Path, driver: Driver) -> None:
    server(project)
    built = driver.run(project, "build", "--tags=extra")
    assert built.returncode == 0, built.stderr
    path, size, time = built.stdout.rstrip("\n").split("  ")
    assert path == ".goreload/app/out/dev/app"
    assert os.access(project / path, os.X_OK)
    assert size.endswith(" MiB")
    assert time.endswith((" ms", " s"))
    as_json = json.loads(driver.run(project, "build", "--json", "--out", "bin/").stdout)
    assert (as_json["event"], as_json["path"]) == ("built", str(project / "bin" / "app"))
    assert as_json["size"] == (project / "bin" / "app").stat().st_size
    assert not any((project / ".goreload" / "app" / "tmp").iterdir())


def test_environments_and_tags_merge_into_one_flag_each(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "invoke.yaml": "goreload:\n"
            "  build: {tags: [base], ldflags: -X main.a=1, flags: [-tags=fromflags, -trimpath]}\n"
            "  environments:\n    prod: {tags: [prod, base], ldflags: -X main.b=2, flags: -race, env: {MODE: p}, "
            "go_env: {CGO_ENABLED: 1}}\n"
        },
    )
    dry = driver.run(
        project, "--dry", "run", "--env", "prod", "--tags=a,b", "--tags", "b", "--tags", "c", "--", "a b", "'"
    )
    build, run = dry.stdout.splitlines()
    assert "CGO_ENABLED=1 " in build
    assert build.count("-tags=") == 1
    assert "-tags=base,fromflags,prod,a,b,c " in build
    assert "'-ldflags=-X main.a=1 -X main.b=2' example.com/app" in build
    assert "-trimpath -race" in build
    assert "MODE=p" in run
    assert run.endswith("""/app 'a b' ''"'"''""")
    assert not (project / ".goreload").exists()


def test_tags_in_goflags_join_ours(project: Path, driver: Driver) -> None:
    server(project)
    dry = driver.run(project, "--dry", "build", env={"GOFLAGS": "-tags=outer -trimpath"})
    assert "-tags=outer,dev " in dry.stdout


def test_compile_errors_come_first_relative_each_once_and_exit_with_1(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"inner/inner.go": 'package inner\n\nvar A int = "x"\nvar B int = y\n'})
    write(
        project,
        {"answer.go": 'package main\n\nimport _ "example.com/app/inner"\n\nfunc Answer() string { return "" }\n'},
    )
    failed = driver.run(project, "build")
    assert failed.returncode == 1
    lines = failed.stderr.splitlines()
    assert lines[0].startswith('inner/inner.go:3:13: cannot use "x"')
    assert lines[1] == "inner/inner.go:4:13: undefined: y"
    assert lines[2].startswith("goreload: 2 errors, ")
    assert len(lines) == 3
    assert failed.stdout == ""


def test_run_passes_on_arguments_stdin_and_exit_code(project: Path) -> None:
    write(
        project,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n",
            "main.go": PRINTS,
            "tasks.py": "from goreload_tasks import ns\n",
        },
    )
    words = [sys.executable, "-m", "invoke", "run", "--", "a b", "--x=$HOME", "*"]
    done = subprocess.run(
        words, cwd=project, input="hello\n", capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.stdout, done.returncode) == ("[a b]\n[--x=$HOME]\n[*]\nread hello\n", 3)
    assert done.stderr == ""
    died = subprocess.run(
        words, cwd=project, input="die\n", capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert died.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGTERM])
def test_run_passes_on_signals(project: Path, driver: Driver, how: signal.Signals) -> None:
    write(
        project,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n",
            "main.go": PRINTS,
            "tasks.py": "from goreload_tasks import ns\n",
        },
    )
    run = driver.start(project, "run")
    assert run.process.stdin
    run.process.stdin.write(b"wait\n")
    run.process.stdin.flush()
    run.line("^ready")
    assert run.stop(how) == 7
    assert {signal.SIGUSR1: "user defined signal 1", signal.SIGTERM: "terminated"}[how] in run.text


def test_clean_removes_what_we_made_and_never_follows_a_link(project: Path, driver: Driver, tmp_path: Path) -> None:
    server(project)
    assert driver.run(project, "build").returncode == 0
    precious = tmp_path / "precious"
    write(precious, {"out/file": "keep", "file": "keep"})
    (project / ".goreload" / "app" / "bin").symlink_to(precious)
    (project / ".goreload" / "other").symlink_to(precious)
    (project / ".goreload" / "app" / "out" / "link").symlink_to(precious)
    (project / ".goreload" / "app" / "mine.txt").write_text("a person's")
    (project / ".goreload" / "app" / "difference-1.txt").write_text("ours")
    assert "would remove .goreload/app/out\n" in driver.run(project, "--dry", "clean").stdout
    assert (project / ".goreload" / "app" / "out").exists()
    cleaned = driver.run(project, "clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "kept .goreload/app: there is something in it that is not ours" in cleaned.stdout
    assert (project / ".goreload" / ".gitignore").exists(), "it says still whose the folder is"
    assert driver.run(project, "clean").returncode == 0
    assert sorted(path.name for path in precious.rglob("*")) == ["file", "file", "out"]
    assert (project / ".goreload" / "app" / "mine.txt").read_text() == "a person's"
    assert not (project / ".goreload" / "app" / "out").exists()
    assert not (project / ".goreload" / "app" / "difference-1.txt").exists()


def test_clean_touches_no_folder_that_is_not_ours(project: Path, driver: Driver, tmp_path: Path) -> None:
    server(project)
    write(project, {".goreload/app/bin/file": "a person's"})
    refused = driver.run(project, "clean")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "was not made by this tool" in refused.stderr
    write(tmp_path / "elsewhere", {"app/bin/file": "keep"})
    (project / ".goreload" / "app" / "bin" / "file").unlink()
    for path in (".goreload/app/bin", ".goreload/app", ".goreload"):
        (project / path).rmdir()
    (project / ".goreload").symlink_to(tmp_path / "elsewhere")
    assert driver.run(project, "clean").returncode == 2
    assert driver.run(project, "dev").returncode == 2
    assert (tmp_path / "elsewhere" / "app" / "bin" / "file").exists()


def nothing_started(project: Path) -> bool:
    return not (project / ".goreload").exists()


MISTAKES: list[tuple[list[str], dict[str, str], dict[str, str], str]] = [
    (["build", "--tags=a b"], {}, {}, 'bad build tag "a b" (--tags): '),
    (["build", "--tags", "ok", "--tags", "no-dash"], {}, {}, 'bad build tag "no-dash" (--tags): '),
    (["build"], {"invoke.yaml": "goreload: {build: {tags: ['x!']}}"}, {}, 'bad build tag "x!" (invoke.yaml): '),
    (
        ["dev"],
        {"invoke.yaml": "goreload: {serve: {prot: 80}}"},
        {},
        "unknown setting serve.prot (invoke.yaml): did you mean serve.port?",
    ),
    (["dev"], {"invoke.yaml": "goreload: {rules: [{run: x}]}"}, {}, "rules[0]: `files` says for which files it is"),
    (
        ["dev"],
        {"invoke.yaml": "goreload: {reload: {debounce: 150}}"},
        {},
        "reload.debounce = 150 (invoke.yaml): expected a duration",
    ),
    (["dev"], {"invoke.yaml": "goreload: {watch: {ignore: ['[a']}}"}, {}, 'watch.ignore: bad pattern "[a"'),
    (["dev"], {"invoke.yaml": "goreload: [1"}, {}, "invoke.yaml: while parsing"),
    (["dev"], {"invoke.yaml": "goreload: {main: ./cmd}"}, {}, 'main = "./cmd" (invoke.yaml): no such folder'),
    (
        ["build"],
        {"invoke.yaml": "goreload: {services: {/app: {}}}"},
        {},
        'services = "/app" (invoke.yaml): expected a name ',
    ),
    (
        ["build"],
        {"invoke.yaml": "goreload: {services: {..: {}}}"},
        {},
        'services = ".." (invoke.yaml): expected a name ',
    ),
    (
        ["build"],
        {},
        {"GORELOAD_ENV": "prod", "GORELOAD_ENV_LOG": "x"},
        'env = "prod" (GORELOAD_ENV): expected no value of its',
    ),
    (["build"], {}, {"GOFLAGS": "'-tags=a"}, "GOFLAGS: the quotes around -tags=a do not close"),
    (
        ["dev"],
        {"sub/gen.sh": "#!/bin/sh\n", "invoke.yaml": "goreload: {rules: [{files: [x], run: ./gen.sh}]}"},
        {},
        "no command ./gen.sh",
    ),
    (["build", "--env", "prd"], {}, {}, "unknown environment prd (--env): did you mean prod?"),
    (["build", "--service", "x"], {}, {}, "unknown service x (--service): known: app"),
    (["build"], {}, {"GORELOAD_SERVE_PORT": "99999"}, 'serve.port = "99999" (GORELOAD_SERVE_PORT): expected a port'),
    (
        ["build"],
        {},
        {"GORELOAD_BULD_TAGS": "x"},
        "unknown variable GORELOAD_BULD_TAGS (environment): did you mean GORELOAD_BUILD_TAGS?",
    ),
    (["dev"], {}, {"GORELOAD_ENV_FILES": "no.env"}, "env_files: no.env (GORELOAD_* variables) is not in"),
    (["dev"], {".env": "A=1\nnonsense\n"}, {}, ".env, line 2: expected NAME=VALUE"),
    (["dev"], {"answer.go": "package lib\n", "main.go": "package lib\n"}, {}, "no main package below"),
    (
        ["dev"],
        {"sub/x.go": "package sub\n", "invoke.yaml": "goreload: {main: ./sub}"},
        {},
        'main = "./sub" (invoke.yaml): is package sub, not main',
    ),
    (["build", "--out", "main.go/x"], {}, {}, "--out main.go/x: "),
    (["dev"], {"go.mod": "nonsense\n"}, {}, "go.mod:1: unknown directive"),
]


@pytest.mark.parametrize(("words", "files", "env", "complaint"), MISTAKES)
def test_mistake_is_one_line_with_exit_code_2_and_nothing_is_started(
    project: Path, driver: Driver, words: list[str], files: dict[str, str], env: dict[str, str], complaint: str
) -> None:
    server(project)
    write(project, files)
    refused = driver.run(project, *words, env=env)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, ""), refused.stderr
    assert refused.stderr.startswith("goreload: ")
    assert complaint in refused.stderr
    assert nothing_started(project)


def test_folder_without_go_mod_is_named(tmp_path: Path, driver: Driver) -> None:
    write(tmp_path, {"tasks.py": "from goreload_tasks import ns\n"})
    for program in ("invoke", "goreload"):
        refused = driver.run(tmp_path, "build", program=program)
        assert refused.returncode == 2
        assert (
            refused.stderr
            == f"goreload: no go.mod in {tmp_path} or a folder above it; run `go mod init NAME` there first\n"
        )


def test_missing_go_is_named_with_the_mend(project: Path) -> None:
    server(project)
    code = (
        "import sys; sys.modules['go'] = None; sys.argv[1:] = ['build']; import goreload_tasks.program as p; p.main()"
    )
    refused = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={"PATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("goreload: no Go toolchain: `go` is not on PATH; install Go, or `pip install")


def test_go_of_the_wheel_serves_without_a_go_on_path(project: Path, driver: Driver) -> None:
    pytest.importorskip("go")
    server(project)
    dry = driver.run(project, "--dry", "build", env={"PATH": "/usr/bin:/bin"})
    assert "site-packages/go/bin/go build" in dry.stdout


@pytest.mark.parametrize("task", ["build", "dev"])
def test_read_only_folder_is_named(project: Path, task: str) -> None:
    server(project)
    project.chmod(stat.S_IRUSR | stat.S_IXUSR)
    # root may write anywhere unless that right is taken away
    words = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    words += [sys.executable, "-m", "invoke", task]
    try:
        refused = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=DEADLINE, check=False)
    finally:
        project.chmod(stat.S_IRWXU)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"goreload: cannot write {project}/.goreload/app: Permission denied; make the folder writable\n"
    )


INVOKE_TRAPS: list[tuple[dict[str, str], dict[str, str], int, str]] = [
    ({"invoke.yaml": "goreload:\n"}, {}, 0, ""),
    ({"invoke.yaml": "goreload:\n  serve:\n  build: {tags: }\n"}, {}, 0, ""),
    (
        {
            "tasks.py": "from invoke import Collection\nimport goreload_tasks\nns = Collection(goreload_tasks.build)\n"
            "ns.configure({'goreload': {'args': ['x'], 'build': {'tags': ['y']}}})\n",
            "invoke.yaml": "goreload:\n",
        },
        {},
        2,
        "is `goreload:` empty there? Give it a value or remove it",
    ),
    (
        {
            "tasks.py": "from invoke import Collection\nimport goreload_tasks\nns = Collection(goreload_tasks.build)\n"
            "ns.configure({'goreload': {'args': ['x']}})\n"
        },
        {"INVOKE_GORELOAD_ARGS": "y"},
        2,
        "set it in invoke.yaml, or as GORELOAD_* instead of INVOKE_GORELOAD_*",
    ),
    ({"invoke.yaml": "- goreload\n"}, {}, 2, "invoke.yaml, or another of Invoke's files: "),
    ({"invoke.json": "{"}, {}, 2, "invoke.yaml, or another of Invoke's files: Expecting property name"),
    (
        {"invoke.yaml": "goreload: {serve: {port: 80}}\n"},
        {"INVOKE_GORELOAD_SERVE_PORT": "x"},
        2,
        "an INVOKE_* var",
    ),
]


@pytest.mark.parametrize(("files", "env", "code", "complaint"), INVOKE_TRAPS)
def test_traps_of_invoke_do_not_show_through(
    project: Path, driver: Driver, files: dict[str, str], env: dict[str, str], code: int, complaint: str
) -> None:
    server(project)
    write(project, files)
    done = driver.run(project, "build", env=env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (1 if code else 0)
    assert complaint in done.stderr


def test_false_in_a_variable_is_false(project: Path, driver: Driver) -> None:
    server(project)
    assert driver.run(project, "--dry", "dev", env={"GORELOAD_WATCH_GITIGNORE": "false"}).returncode == 0
    assert driver.run(project, "--dry", "dev", env={"GORELOAD_WATCH_GITIGNORE": "maybe"}).returncode == 2


@pytest.mark.parametrize("words", [["dev"], ["run"], ["dev", "--json"], ["doctor", "--settings"], ["why", ".env"]])
def test_what_an_env_file_says_is_never_printed(project: Path, driver: Driver, words: list[str]) -> None:
    server(project)
    write(project, {".env": "TOKEN=secret\nURL='postgres://user:secret@host/db'\n"})
    said = driver.run(project, "--dry", *words)
    assert "secret" not in said.stdout + said.stderr
    if words[-1] in ("dev", "run"):
        assert "TOKEN='<.env>' URL='<.env>' " in said.stdout


@pytest.mark.parametrize("line", ["TOKEN secret", "TOKEN='secret", "=secret", "TO KEN=secret", 'TOKEN="secret'])
def test_mistake_in_an_env_file_is_told_without_what_it_says(project: Path, driver: Driver, line: str) -> None:
    server(project)
    write(project, {".env": f"A=secret\n{line}\n"})
    said = driver.run(project, "dev")
    assert said.returncode == 2
    assert ".env, line 2: " in said.stderr
    assert "secret" not in said.stdout + said.stderr


def test_dry_prints_the_commands_and_does_nothing(project: Path, driver: Driver) -> None:
    server(project)
    dry = driver.run(project, "--dry", "dev", "--", "x y")
    build, run = dry.stdout.splitlines()
    assert build.startswith(f"cd {project} && ")
    assert " build -o " in build
    assert run.endswith(".goreload/app/bin/1/app 'x y'")
    assert nothing_started(project)


def test_list_and_help_are_for_newcomers(project: Path, driver: Driver) -> None:
    server(project)
    listed = driver.run(project, "--list").stdout
    for name in ("build", "clean", "dev", "run", "watch"):
        assert name in listed
        helped = driver.run(project, "--help", name)
        assert "--service" in helped.stdout


def test_mistake_of_ours_is_one_line_and_with_debug_a_traceback(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project, {"tasks.py": "import goreload_tasks.once as once\nonce.build = None\nfrom goreload_tasks import ns\n"}
    )
    short = driver.run(project, "build")
    assert (short.returncode, short.stderr.count("\n")) == (1, 1)
    assert "a mistake of ours: TypeError" in short.stderr
    assert "Traceback" in driver.run(project, "--debug", "build").stderr


def test_ctrl_c_during_a_build_ends_it_with_all_its_processes(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {"answer.go": "package main\n\n" + "\n".join(f'func f{n}() string {{ return "{n}" }}' for n in range(3000))},
    )
    (project / "more.go").write_text(answer("one"))
    build = driver.start(project, "build", "--tags=fresh", env={"GOCACHE": str(project / "cache")})
    until((project / ".goreload" / "app" / "tmp").exists, "the build")
    assert build.stop() == 130
    until(lambda: not alive([str(project)]), "the end of all of it")


def test_what_a_team_s_own_task_reads_is_no_complaint_about_invoke_yaml(project: Path, driver: Driver) -> None:
    server(project)
    task = "from invoke import task\nfrom invoke.vendor.yaml import safe_load\nimport goreload_tasks\n\n\n"
    task += "@task\ndef read(c):\n    safe_load('a: [1')\n\n\ndev = goreload_tasks.dev\n"
    write(project, {"tasks.py": task})
    done = driver.run(project, "read")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "goreload: invoke.yaml" not in done.stderr
