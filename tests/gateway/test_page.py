"""What is read instead of the app: by people, by programs and in terminals."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from goreload_tasks.app.panic import Frame, Panic
from goreload_tasks.build.diagnostics import Problem
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open, State
from goreload_tasks.gateway.page import AROUND, MOST, answer, clean, report, spot, wants

SOURCE = "package main\n\nfunc main() {\n" + "".join(f"\tline({number})\n" for number in range(4, 40)) + "}\n"

BAD = Problem("main.go", 10, 2, "undefined: line<int> & \"more\"\n\thave (<script>alert('x')</script>)")


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "main.go").write_text(SOURCE)
    return str(tmp_path)


def parts(raw: bytes) -> tuple[str, dict[str, str], str]:
    """Status line, headers by lower-case name, body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body.decode()


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.here = ""
        self._inside: list[bool] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "span":
            self._inside.append("here" in (dict(attrs).get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if any(self._inside):
            self.here += data


STATES: list[State] = [
    Open(1, "127.0.0.1", 1),
    Held("the build of main.go"),
    Failed((BAD,)),
    Failed((), "templ generate"),
    Crashed("exit code 2", ("one", "two"), Panic("boom", (Frame("main.main", "main.go", 10, True),))),
    Crashed("SIGSEGV"),
    Crashed("SIGSEGV", for_good=True),
]


@pytest.mark.parametrize("state", STATES, ids=repr)
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*", ""])
def test_every_answer_is_whole(state: State, accept: str, root: str) -> None:
    raw = answer(state, accept, "GET", root)
    status, headers, body = parts(raw)
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert int(headers["content-length"]) == len(body.encode())
    assert headers["cache-control"] == "no-store"
    assert "connection" not in headers
    assert ("retry-after" in headers) == isinstance(state, Held | Open)
    assert report(state, root).heading in body
    head, _, nothing = answer(state, accept, "HEAD", root).partition(b"\r\n\r\n")
    assert not nothing
    assert b"Content-Length: " in head
    assert accept == "text/html" or raw.startswith(head)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("application/json", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/problem+json", "json"),
        ("text/html;q=0.5, application/json", "json"),
        ("text/html, application/json", "html"),
        ("TEXT/HTML ; Q=0.4", "html"),
        ("text/html;q=0, application/json;q=0", "text"),
        ("text/plain, application/json;q=0.5", "text"),
        ("text/event-stream", "text"),
        ("*/*", "text"),
        ("", "text"),
        ("text/html;q=what", "text"),
        (";;,,;q=", "text"),
    ],
)
def test_what_is_asked_for_is_given(accept: str, kind: str) -> None:
    assert wants(accept) == kind


def test_a_message_is_never_markup(root: str) -> None:
    state = Failed((BAD, Problem('<img src=x onerror="a">.go', 3, 1, "</main><script>1</script>")), '<b title="x">')
    _, headers, body = parts(answer(state, "text/html", "GET", root, "x://{path}?<"))
    page = Page(body)
    scripts = [attributes for name, attributes in page.elements if name == "script"]
    assert [attributes["src"] for attributes in scripts] == ["/.goreload/client.js"]
    assert not {"img", "b"} & {name for name, _ in page.elements}
    assert "undefined: line<int> & \"more\"\n\thave (<script>alert('x')</script>)" in page.text
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes)
    assert "unsafe" not in headers["content-security-policy"]


def test_the_page_shows_the_line_to_copy_and_to_open(root: str) -> None:
    page = Page(parts(answer(Failed((BAD,)), "text/html", "GET", root))[2])
    assert page.here == "10\tline(10)\n"
    assert all(f"line({number})" in page.text for number in range(10 - AROUND, 10 + AROUND + 1))
    assert "line(4)" not in page.text
    assert "1 error" in page.text
    assert [attributes.get("data-copy") for name, attributes in page.elements if name == "button"] == ["main.go:10"]
    assert [attributes["href"] for name, attributes in page.elements if name == "a"] == [
        f"vscode://file{root}/main.go:10:2"
    ]


@pytest.mark.parametrize(
    ("editor", "url"),
    [
        ("vscode://file/{path}:{line}:{column}", "vscode://file/a/b%20%3Cc%3E%26/{}:7:1"),
        ("idea://open?file={path}&line={line}", "idea://open?file=/a/b%20%3Cc%3E%26/{}&line=7"),
        ("code -g {path}:{line}", ""),
        ("", ""),
    ],
)
def test_the_editor_is_a_setting(editor: str, url: str) -> None:
    assert spot("/a/b <c>&", "%7Bline%7D.go", 7).url(editor) == url.format("%257Bline%257D.go")


def test_source_comes_from_inside_the_project_only(root: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.go"
    outside.write_text(SOURCE)
    (Path(root) / "link.go").symlink_to(outside)
    (Path(root) / "folder.go").mkdir()
    for file in [str(outside), f"../{outside.parent.name}/secret.go", "link.go", "folder.go", "gone.go", "nul\0.go"]:
        assert spot(root, file, 5).lines == ()
    assert spot(root, str(Path(root) / "main.go"), 5).file == "main.go"
    assert spot(root, "main.go", 5).lines
    (Path(root) / "again").symlink_to(root)
    assert spot(f"{root}/again", f"{root}/main.go", 5) == spot(root, "main.go", 5)
    assert spot(root, "main.go", 4000).lines == ()
    assert spot(root, "main.go", 0).lines == ()


def test_the_column_counts_bytes(root: str) -> None:
    (Path(root) / "umlaut.go").write_text('\tläuft("ß", wrong)\n')
    column = len('\tläuft("ß", '.encode()) + 1
    body = parts(answer(Failed((Problem("umlaut.go", 1, column, "undefined: wrong"),)), "text/html", "GET", root))[2]
    assert "<mark>wrong</mark>" in body


def test_json_says_the_same(root: str) -> None:
    said: dict[str, Any] = json.loads(parts(answer(Failed((BAD,)), "application/json", "GET", root))[2])
    assert said["error"] == "It does not compile: 1 error"
    (problem,) = said["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("main.go", 10, 2)
    assert problem["message"] == BAD.message
    assert {"line": 10, "text": "\tline(10)"} in problem["source"]
    assert len(problem["source"]) == 2 * AROUND + 1


def test_text_says_what_is_wrong_first(root: str) -> None:
    state = Failed((Problem("main.go", 10, 2, "undefined: x"), Problem("", 0, 0, "go: no network")))
    assert parts(answer(state, "*/*", "GET", root))[2] == (
        "main.go:10:2: undefined: x\ngo: no network\n\nIt does not compile: 1 error\n"
    ).replace("1 error", report(state, root).detail)
    assert parts(answer(Held("the first build"), "*/*", "GET", root))[2] == (
        "Still waiting for the first build: the request waited as long as it may\n"
    )


def test_a_crash_tells_its_own_frames_first(root: str) -> None:
    panic = Panic(
        "panic: runtime error: index out of range [3] with length 3",
        (
            Frame("runtime.goPanicIndex", "/go/src/runtime/panic.go", 115, False),
            Frame("main.deep", str(Path(root) / "main.go"), 12, True),
            Frame("net/http.HandlerFunc.ServeHTTP", "/go/src/net/http/server.go", 2220, False),
            Frame("main.main", str(Path(root) / "main.go"), 20, True),
        ),
    )
    state = Crashed("exit code 2", ("\x1b[31mred\x1b[0m", "50%\r100%"), panic)
    lines = parts(answer(state, "", "GET", root))[2].splitlines()
    assert lines == [
        panic.message,
        "main.go:12: main.deep",
        "main.go:20: main.main",
        "/go/src/runtime/panic.go:115: runtime.goPanicIndex",
        "/go/src/net/http/server.go:2220: net/http.HandlerFunc.ServeHTTP",
        "",
        "red",
        "100%",
        "",
        "The app ended by itself: exit code 2",
    ]
    page = Page(parts(answer(state, "text/html", "GET", root))[2])
    assert page.here == "12\tline(12)\n"
    classes = [attributes["class"] for name, attributes in page.elements if name == "div"]
    assert classes == ["own", "own", "other", "other"]
    said = json.loads(parts(answer(state, "application/json", "GET", root))[2])
    assert [frame["own"] for frame in said["frames"]] == [True, True, False, False]
    assert said["message"] == panic.message
    assert said["output"] == ["red", "100%"]
    assert said["problems"] == []


def test_many_problems_are_cut(root: str) -> None:
    state = Failed(tuple(Problem("main.go", number, 1, f"wrong {number}") for number in range(1, MOST + 6)))
    assert len(json.loads(parts(answer(state, "application/json", "GET", root))[2])["problems"]) == MOST
    for accept in ("", "text/html"):
        assert "and 5 more" in parts(answer(state, accept, "GET", root))[2]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("tab\tand\nline\r\n", "tab\tand\nline\n"),
        ("10%\r50%\r100%", "100%"),
        ("nul\0bell\x07 \x9b31m", "nulbell 31m"),
        ("half \udc80", "half ?"),
        ("never ended \x1b]0;title", "never ended "),
        ("\x1b", ""),
        ("läuft <&>", "läuft <&>"),
    ],
)
def test_output_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
