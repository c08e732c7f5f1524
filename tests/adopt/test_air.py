"""What an .air.toml means to us."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.adopt import air
from goreload_tasks.adopt.air import VALUED, line, read
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Layer, merge
from goreload_tasks.settings.schema import DEFAULTS
from tests.driver import Driver, write

PLAIN = """
root = "."
tmp_dir = "tmp"
[build]
bin = "tmp/main.bin"
cmd = "go build -o ./tmp/main.bin ."
delay = 1000
"""
AS_IT_STANDS: dict[str, dict[str, list[str]]] = {"dev": {"tags": []}}


def _command(command: str) -> str:
    return f"[build]\ncmd = {json.dumps(command)}"


def test_the_usual_file_is_read_as_it_stands() -> None:
    said = read(PLAIN, ".air.toml")
    assert said.settings == {
        "main": ".",
        "environments": AS_IT_STANDS,
        "reload": {"debounce": "1000ms"},
        "watch": {"ignore": ["/tmp/"]},
    }
    assert said.root == "."
    assert line(said, ".air.toml") is None


def test_other_keys_are_named_in_one_line_in_their_order() -> None:
    text = PLAIN + 'kill_delay = "1s"\n[proxy]\nenabled = true\n[[build.rules]]\nname = "x"\n'
    text += '["a\\nb"]\n"build.cmd" = 1\n'
    assert line(read(text, ".air.toml"), ".air.toml") == (
        ".air.toml: not honoured yet: build.kill_delay, build.rules, proxy.enabled, " + r'"a\nb"."build.cmd"'
    )


def test_what_bin_says_beside_the_program_is_named() -> None:
    said = read('[build]\nbin = "./tmp/main serve --debug"\nlog = "x"', ".air.toml")
    assert said.not_honoured == ("build.bin (beside the program)", "build.log")


COMMANDS: list[tuple[str, dict[str, object]]] = [
    ("go build", {"main": "."}),
    ("go build -v -o ./tmp/x ./cmd/api", {"main": "./cmd/api", "build": {"flags": ["-v"]}}),
    ("go build -tags 'a b,c' --o=tmp/x .", {"main": ".", "build": {"tags": ["a", "b", "c"]}}),
    ("go build -race -mod=vendor -p 2 .", {"main": ".", "build": {"flags": ["-race", "-mod=vendor", "-p=2"]}}),
    ('go build -gcflags "all=-N -l" .', {"main": ".", "build": {"flags": ["-gcflags=all=-N -l"]}}),
    ("go build -ldflags '-X main.v=1' .", {"main": ".", "build": {"ldflags": "-X main.v=1"}}),
    ("go build -ldflags=all=-w .", {"main": ".", "build": {"flags": ["-ldflags=all=-w"]}}),
    ("go build -o x cmd/api/main.go cmd/api/more.go", {"main": "cmd/api"}),
    ("go build -o x ./cmd/api/*.go", {"main": "./cmd/api"}),
    ("go build -o x main.go", {"main": "."}),
    ("go build -C svc -o x ./cmd/api", {"main": "svc/./cmd/api"}),
]


@pytest.mark.parametrize(("command", "settings"), COMMANDS)
def test_go_build_becomes_settings(command: str, settings: dict[str, object]) -> None:
    said = read(_command(command), ".air.toml").settings
    assert said == {**settings, "environments": AS_IT_STANDS}
    assert merge([Layer("default", DEFAULTS), Layer(".air.toml", said)]), "the settings know each of them"


def test_variables_before_the_command_hold_in_every_environment() -> None:
    said = read(_command("CGO_ENABLED=0 GOFLAGS='-mod=mod -v' go build ."), ".air.toml")
    service = merge([Layer("default", DEFAULTS), Layer(".air.toml", said.settings)])[0]
    variables = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -v"}
    environments = service.settings.environments
    assert list(environments) == ["dev", "test", "prod"]
    assert [one.go_env for one in environments.values()] == [variables] * 3
    assert [one.tags for one in environments.values()] == [(), ("test",), ("prod",)]


@pytest.mark.parametrize(
    "command",
    [
        "go build -o ./tmp/main .",
        "go build -tags 'dev extra' -o=./tmp/main main.go",
        "CGO_ENABLED=0 go build --ldflags \"-s -X 'main.v=two words'\" -o ./tmp/main",
        "go build -C . -ldflags=all=-X=main.v=all -tags extra -o ./tmp/main .",
    ],
)
def test_what_runs_is_what_the_command_builds(project: Path, driver: Driver, command: str) -> None:
    write(
        project,
        {
            "go.mod": "module example.com/app\n\ngo 1.22\n",
            "main.go": 'package main\n\nvar v, dev, extra, cgo = "", "", "", ""\n\n'
            "func main() { print(v, dev, extra, cgo) }\n",
            ".air.toml": _command(command),
        },
    )
    for tag in ("dev", "extra", "cgo"):
        constrained = f'//go:build {tag}\n\npackage main\n\nfunc init() {{ {tag} = "with {tag}" }}\n'
        write(project, {f"with_{tag}.go": constrained})
    if "main.go" in command:  # go then leaves the others out; we build the folder, so let there be none
        for path in project.glob("with_*.go"):
            path.unlink()
    subprocess.run(["sh", "-c", command], cwd=project, check=True)
    theirs = subprocess.run([project / "tmp" / "main"], capture_output=True, text=True, check=True).stderr
    ran = driver.run(project, "run", program="goreload")
    assert (ran.returncode, ran.stderr) == (0, theirs)


@pytest.mark.parametrize(
    ("tmp", "patterns"),
    [
        ("./tmp/", ["/tmp/"]),
        (".tmp", ["/.tmp/"]),
        ("a/../out/b", ["/out/b/"]),
        ("t*[1]", ["/t\\*\\[1]/"]),
        (".", None),
        ("", None),
        ("../tmp", None),
        ("/var/tmp", None),
    ],
)
def test_tmp_dir_is_ignored_when_it_is_inside(tmp: str, patterns: list[str] | None) -> None:
    watch = read(f"tmp_dir = {json.dumps(tmp)}", ".air.toml").settings.get("watch")
    assert watch == (patterns and {"ignore": patterns})


def test_zero_delay_is_no_quiet_window() -> None:
    said = read("[build]\ndelay = 0", ".air.toml")
    assert merge([Layer("default", DEFAULTS), Layer(".air.toml", said.settings)])[0].settings.reload.debounce == 0.0


SHELL = "build.cmd = {} (.air.toml): expected one `go build` that needs no shell; write invoke.yaml with `goreload: "


@pytest.mark.parametrize(
    "command",
    [
        "make build",
        "templ generate && go build -o ./tmp/main .",
        "go build .;x",
        "go build . # all",
        "go build -o $OUT .",
        'go build -ldflags "-X main.v=$(git describe)" .',
        "go build -ldflags `flags` .",
        "go build . >log 2>&1",
        "go build .\nx",
        "go run .",
        "~/go/bin/go build .",
    ],
)
def test_a_command_that_needs_a_shell_is_refused_with_the_mend(command: str) -> None:
    with pytest.raises(GoreloadError) as caught:
        read(_command(command), ".air.toml")
    assert str(caught.value).startswith(SHELL.format(json.dumps(command)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("root = [", r"\.air\.toml: Invalid value .*; mend the file"),
        ("a = " + "[" * 10000, r"\.air\.toml: .*; mend the file"),
        ("a = " + "9" * 10000, r"\.air\.toml: .*; mend the file"),
        ("root = 3", r"root = 3 \(\.air\.toml\): expected a text"),
        ("tmp_dir = true", r"tmp_dir = True \(\.air\.toml\): expected a text"),
        ("build = 'go'", r'build = "go" \(\.air\.toml\): expected a table'),
        ("[build]\nbin = ['x']", r"build\.bin = \['x'\] \(\.air\.toml\): expected a text"),
        ("[build]\ncmd = 3", r"build\.cmd = 3 \(\.air\.toml\): expected a text"),
        ("[build]\ndelay = '1s'", r'build\.delay = "1s" \(\.air\.toml\): expected a whole number of ms, 0 or more'),
        ("[build]\ndelay = -1", r"expected a whole number of ms"),
        ("[build]\ndelay = true", r"expected a whole number of ms"),
        (_command("go build -tags 'a"), r"expected quotes that close"),
        (_command("go build -o"), r"expected a value after -o"),
        (_command("go build ./a ./b"), r"expected one package; write invoke\.yaml"),
        (_command("go build -o tmp/ ./..."), r"expected one package; write invoke\.yaml"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, complaint: str) -> None:
    with pytest.raises(GoreloadError, match=complaint) as caught:
        read(text, ".air.toml")
    assert "\n" not in str(caught.value)


@given(st.from_regex(air._PLAIN, fullmatch=True, alphabet="ab=- \t'\"\\$`;&|<>(){}~#!\né"))
def test_words_without_a_shell_are_the_shells_own(text: str) -> None:
    words = shlex.split(text)
    shell = subprocess.run(["sh", "-c", f"printf '<%s>' x {text}"], capture_output=True, text=True, check=True)
    assert shell.stdout == "".join(f"<{word}>" for word in ["x", *words])


def test_flags_with_values_are_those_of_go(tmp_path: Path) -> None:
    for flag in VALUED:
        said = subprocess.run(["go", "build", f"-{flag}"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert f"flag needs an argument: -{flag}" in said.stderr
    usage = subprocess.run(["go", "help", "build"], capture_output=True, text=True, check=True).stdout
    described = {line.split()[0].lstrip("-") for line in usage.splitlines() if line.startswith("\t-") and " " in line}
    assert described <= VALUED, "no flag with a value is missing"
