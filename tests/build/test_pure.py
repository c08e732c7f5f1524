"""Tags, flags, diagnostics and env files, as values."""

from __future__ import annotations

import pytest

from goreload_tasks.build.command import app_env, collector, dotenv, flags, is_fast, may_be_lean, split_flags
from goreload_tasks.build.diagnostics import Problem, parse, summary
from goreload_tasks.build.tags import check, compose, split
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Layer, Service, merge
from goreload_tasks.settings.merge import VARIABLES
from goreload_tasks.settings.schema import DEFAULTS


def service(**values: object) -> Service:
    return merge([Layer("default", DEFAULTS), Layer("invoke.yaml", values)])[0]


def test_tags_are_a_union_in_order_without_duplicates() -> None:
    assert compose(["a", "b"], ["b", "c"], ["a"]) == ("a", "b", "c")
    assert split(["a,b", "c", " d , "]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("tag", ["a b", "a-b", "!a", "", "a/b", "a+"])
def test_bad_tags_are_refused_by_name(tag: str) -> None:
    with pytest.raises(GoreloadError, match="bad build tag"):
        check([tag], "--tags")


def test_good_tags_pass_as_in_go() -> None:
    check(["a", "go1.26", "a_b", "ünï", "1"], "--tags")


def test_what_goflags_says_is_not_lost_to_ours() -> None:
    said = ["-tags=x", "-ldflags=-X main.v=1", "-modfile=my.mod", "--overlay=o.json", "-ldflags=a=-X a.v=2", "-race"]
    assert flags(service(), [], said, True)[0] == [
        *("-buildvcs=false", "-modfile=my.mod", "-overlay=o.json", "-tags=x,dev"),
        *("-ldflags=-s -w -buildid= -X main.v=1", "-ldflags=a=-X a.v=2"),
    ]
    assert flags(service(build={"flags": ["-overlay", "p.json"]}), [], said, False)[0] == [
        *("-modfile=my.mod", "-overlay=o.json", "-overlay", "p.json", "-tags=x,dev"),
        *("-ldflags=-X main.v=1", "-ldflags=a=-X a.v=2"),
    ]


def test_fast_build_is_for_dev_and_never_for_prod_and_a_persons_flags_come_last() -> None:
    assert flags(service(), [], [], True)[0] == ["-buildvcs=false", "-tags=dev", "-ldflags=-s -w -buildid="]
    assert flags(service(), [], [], False)[0] == ["-tags=dev"]
    assert flags(service(environment="prod"), [], [], True)[0] == ["-tags=prod"]
    own = service(build={"ldflags": "-X a=b", "flags": ["-buildvcs=true", "-ldflags", "-s=false", "-ldflags=net=-w"]})
    assert flags(own, [], [], True)[0] == [
        "-buildvcs=true",
        "-tags=dev",
        "-ldflags=-s -w -buildid= -X a=b -s=false",
        "-ldflags=net=-w",
    ]


@pytest.mark.parametrize(
    ("values", "goflags", "dev", "lean"),
    [
        ({}, [], True, True),
        ({"build": {"ldflags": "-X a.b=-w=c"}}, [], True, True),
        ({}, [], False, False),
        ({"environment": "prod"}, [], True, False),
        ({"build": {"fast": "off"}}, [], True, False),
        ({"build": {"flags": ["-gcflags=-e"]}}, [], True, False),
        ({"build": {"flags": ["--gcflags", "-e"]}}, [], True, False),
        ({"environments": {"dev": {"ldflags": "-w=0"}}}, [], True, False),
        ({"build": {"ldflags": "-s=false"}}, [], True, False),
        ({}, ["-gcflags=all=-N -l"], True, False),
    ],
)
def test_dwarf_is_left_out_of_archives_where_the_person_says_nothing_of_compiling(
    values: dict[str, object], goflags: list[str], dev: bool, lean: bool
) -> None:
    one = service(**values)
    assert may_be_lean(one, flags(one, [], goflags, dev)[0], goflags, dev) is lean


def test_problems_come_with_places_first_each_once() -> None:
    text = """# example.com/app/inner
inner/a.go:3:5: undefined: x
\tnote below it
# example.com/app
./main.go:9: something
inner/a.go:3:5: undefined: x
\tnote below it
go: updates to go.mod needed
too many errors
"""
    assert parse(text) == (
        Problem("inner/a.go", 3, 5, "undefined: x\n\tnote below it"),
        Problem("main.go", 9, 0, "something"),
        Problem("", 0, 0, "go: updates to go.mod needed"),
        Problem("", 0, 0, "too many errors"),
    )
    assert str(parse(text)[1]) == "main.go:9: something"
    assert summary(parse(text)) == "3 errors in 2 files"


def test_env_files_read_quotes_comments_and_export() -> None:
    text = '# c\nexport A=1\nB=\'x # y\' # z\nC=a # b\n\nD=\nE="q\\"r"\nF=a#b\n'
    assert dotenv(text, ".env") == {"A": "1", "B": "x # y", "C": "a", "D": "", "E": 'q"r', "F": "a#b"}


@pytest.mark.parametrize("text", ["A='secret", "=secret", "secret"])
def test_bad_line_of_an_env_file_is_named_and_its_value_not_shown(text: str) -> None:
    with pytest.raises(GoreloadError, match=r"\.env, line 1") as caught:
        dotenv(text, ".env")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "available", "made"),
    [
        ({}, 16 << 30, {"GOGC": "off", "GOMEMLIMIT": "4096MiB"}),
        ({}, 1 << 30, {}),
        ({}, 0, {}),
        ({"GOGC": "50"}, 16 << 30, {}),
        ({"GOMEMLIMIT": "1GiB"}, 16 << 30, {}),
    ],
)
def test_collector_is_off_where_there_is_memory_and_nobody_said_otherwise(
    environ: dict[str, str], available: int, made: dict[str, str]
) -> None:
    assert collector(environ, available, 2) == made


@pytest.mark.parametrize(
    ("fast", "chosen", "dev", "is_it"),
    [
        ("auto", "dev", True, True),
        ("auto", "prod", True, False),
        ("auto", "dev", False, False),
        ("on", "prod", False, True),
        ("off", "dev", True, False),
    ],
)
def test_when_the_build_is_a_fast_one(fast: str, chosen: str, dev: bool, is_it: bool) -> None:
    values = {"environment": chosen, "build": {"fast": fast}}
    assert is_fast(merge([Layer("default", DEFAULTS), Layer("file", values)])[0], dev) is is_it


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" -a  -b=c ", ["-a", "-b=c"]),
        ("-ldflags=-X=main.s=it's -v", ["-ldflags=-X=main.s=it's", "-v"]),
        ("'-ldflags=-s -w' -v", ["-ldflags=-s -w", "-v"]),
        ('-ldflags=-X=main.v="1"', ['-ldflags=-X=main.v="1"']),
        ("-a=b\\\\c", ["-a=b\\\\c"]),
    ],
)
def test_goflags_are_split_as_the_go_command_does(text: str, words: list[str]) -> None:
    assert split_flags(text) == words


def test_comment_of_an_env_file_begins_behind_any_white_space() -> None:
    assert dotenv("A= # none\nB=x\t# y\nC=a#b\n", ".env") == {"A": "", "B": "x", "C": "a#b"}


def test_variable_of_the_person_who_calls_wins_over_the_environment_s() -> None:
    project = Layer("invoke.yaml", {"env": {"LOG": "a"}, "environments": {"dev": {"env": {"LOG": "info", "X": "x"}}}})
    person = Layer(VARIABLES, {"env": {"LOG": "debug"}}, final=True)
    (service,) = merge([Layer("default", DEFAULTS), project, person])
    assert app_env(service, {}, [])["LOG"] == "debug"
    assert app_env(service, {}, [])["X"] == "x"
