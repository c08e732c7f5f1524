"""What an .air.toml means to us."""

from __future__ import annotations

import pytest

from goreload_tasks.adopt.air import line, read
from goreload_tasks.errors import GoreloadError

PLAIN = """
root = "."
tmp_dir = "tmp"
[build]
bin = "tmp/main.bin"
cmd = "go build -o ./tmp/main.bin ."
delay = 1000
"""


def test_the_usual_file_is_read_as_it_stands() -> None:
    air = read(PLAIN, ".air.toml")
    assert air.settings == {"main": ".", "reload": {"debounce": "1000ms"}, "watch": {"ignore": ["/tmp/"]}}
    assert air.root == "."
    assert line(air, ".air.toml") is None


def test_other_keys_are_named_in_one_line() -> None:
    air = read(PLAIN + 'kill_delay = "1s"\n[proxy]\nenabled = true\n[[build.rules]]\nname = "x"\n', ".air.toml")
    assert line(air, ".air.toml") == ".air.toml: not honoured yet: build.kill_delay, build.rules, proxy.enabled"


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("go build -tags 'a b' -o tmp/x ./cmd/api", {"main": "./cmd/api", "build": {"flags": ["-tags=a b"]}}),
        ("go build --race -o=tmp/x cmd/api/main.go", {"main": "cmd/api/main.go", "build": {"flags": ["-race"]}}),
        ("CGO_ENABLED=0 go build .", {"main": ".", "environments": {"dev": {"go_env": {"CGO_ENABLED": "0"}}}}),
        ("go build -ldflags '-X main.v=1' .", {"main": ".", "build": {"flags": ["-ldflags=-X main.v=1"]}}),
        ("go build", {"main": "."}),
    ],
)
def test_go_build_becomes_settings(command: str, settings: dict[str, object]) -> None:
    assert read(f'[build]\ncmd = "{command}"', ".air.toml").settings == settings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("root = [", r"\.air\.toml: .*; mend the file"),
        ("root = 3", r"root = 3: expected a text"),
        ("[build]\ndelay = '1s'", r"build\.delay = '1s': expected a whole number of ms"),
        ("[build]\ncmd = 'make build'", r'build\.cmd = "make build" is no plain `go build`; write invoke\.yaml'),
        ("[build]\ncmd = 'go build . && x'", r"is no plain `go build`"),
        ('[build]\ncmd = "go build -tags \'a"', r"mend the quotes"),
        ("[build]\ncmd = 'go build ./a ./b'", r"builds several packages"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, complaint: str) -> None:
    with pytest.raises(GoreloadError, match=complaint) as caught:
        read(text, ".air.toml")
    assert "\n" not in str(caught.value)
