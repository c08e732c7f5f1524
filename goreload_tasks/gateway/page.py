"""What a person or a program reads instead of the app. Pure, but for the source lines around an error."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote

from goreload_tasks.build.diagnostics import summary
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open, State

EDITOR = "vscode://file/{path}:{line}:{column}"
"""The URL that opens a file in Visual Studio Code."""

AROUND = 5
"""Source lines shown before and after the one that is meant."""

MOST = 20
"""Problems, and frames of a stack, that are shown."""

WIDEST = 400
"""Characters of a source line that are shown."""

LONGEST = 4000
"""Characters of a message that are shown."""

LARGEST = 4 << 20
"""Bytes of a file in which source lines are looked for."""

Node = str | tuple[str, dict[str, str], list["Node"]]
"""A text, or an element: its name, attributes and children. One tree serves the page here and the overlay there."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\n\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""Control sequences, operating system commands and their kin (ECMA-48)."""

_OVERWRITTEN = re.compile(r"^.*\r+(?=[^\r\n])", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+")
_TOKEN = re.compile(r"\w+|\S")


def clean(text: str) -> str:
    """The text as a terminal leaves it: no escape sequences, no control characters, no halves of characters."""
    return _CONTROL.sub("", _OVERWRITTEN.sub("", _ANSI.sub("", text))).encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the source. `path`: absolute, "" when no file is meant; `lines`: those around it, by their numbers."""

    file: str
    path: str
    line: int
    column: int
    lines: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])

    def url(self, editor: str) -> str:
        """What opens the editor here; "" when the setting is no URL."""
        if not self.path or not _URL.fullmatch(editor):
            return ""
        path = self.path.removeprefix("/") if "/{path}" in editor else self.path
        filled = editor.replace("{line}", str(self.line or 1)).replace("{column}", str(self.column or 1))
        return filled.replace("{path}", quote(path, safe="/:"))


def spot(root: str, file: str, line: int, column: int = 0, source: bool = True) -> Spot:
    """A place as people see it: relative inside the root. Source lines come from files that really lie there, only."""
    file = clean(file)
    if not file:
        return Spot("", "", 0, 0)
    real = os.path.join(os.path.realpath(root), "")
    path = os.path.normpath(os.path.join(os.path.abspath(root), file))
    inside = os.path.realpath(path).startswith(real)
    names = (base for base in (os.path.join(os.path.abspath(root), ""), real) if path.startswith(base))
    shown = path.removeprefix(next(names, "")) if os.path.isabs(file) else file
    return Spot(shown, path, line, column, _lines(path, line) if source and inside and line > 0 else ())


def _lines(path: str, line: int) -> tuple[tuple[int, str], ...]:
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
            return ()
        first = max(line - AROUND, 1)
        with open(path, encoding="utf-8", errors="replace") as stream:
            texts = [text.rstrip("\r\n") for text in islice(stream, first - 1, line + AROUND)]
    except (OSError, ValueError):
        return ()
    return tuple((number, clean(text[:WIDEST])) for number, text in enumerate(texts, first))


@dataclass(frozen=True, slots=True)
class Trouble:
    """One complaint at one place."""

    spot: Spot
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a stack. `own`: it is the project's."""

    spot: Spot
    function: str
    own: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Why the app does not answer, as a person is told it.

    `more`: complaints that are not shown. `waits`: nothing is wrong, it only takes longer. `for_good`: see `Crashed`.
    """

    heading: str
    detail: str = ""
    problems: tuple[Trouble, ...] = ()
    more: int = 0
    message: str = ""
    calls: tuple[Call, ...] = ()
    output: tuple[str, ...] = ()
    waits: bool = False
    for_good: bool = False

    @property
    def error(self) -> str:
        """In one line."""
        return ": ".join(part for part in (self.heading, self.detail) if part)


def report(state: State, root: str) -> Report:
    """The state in words, with the source lines as they are now."""
    match state:
        case Open():
            return Report("The app serves again", "ask once more", waits=True)
        case Held(what):
            return Report(f"Still waiting for {clean(what)}", "the request waited as long as it may", waits=True)
        case Failed(problems, what):
            found = [
                Trouble(spot(root, one.file, one.line, one.column), clean(one.message[:LONGEST]))
                for one in problems[:MOST]
            ]
            heading = f"{clean(what)} failed" if what else "It does not compile"
            detail = summary(problems) if problems and not what else ""
            return Report(heading, detail, tuple(found), max(len(problems) - MOST, 0))
        case Crashed(how, tail, panic, _, for_good):
            frames = sorted(panic.frames, key=lambda frame: not frame.own) if panic else []
            calls = [
                Call(spot(root, frame.file, frame.line, source=frame.own), clean(frame.function), frame.own)
                for frame in frames[:MOST]
            ]
            message = clean(panic.message[:LONGEST]) if panic else ""
            said = tuple(map(clean, tail))
            ended = "The app ended by itself"
            return Report(ended, clean(how), message=message, calls=tuple(calls), output=said, for_good=for_good)


def values(report: Report) -> dict[str, object]:
    """The report as JSON holds it."""
    found: dict[str, object] = {
        "error": report.error,
        "problems": [_place(one.spot) | {"message": one.message} for one in report.problems],
    }
    if report.more:
        found["more"] = report.more
    if report.message:
        found["message"] = report.message
    if report.calls:
        found["frames"] = [_place(one.spot) | {"function": one.function, "own": one.own} for one in report.calls]
    if report.output:
        found["output"] = list(report.output)
    return found


def _place(spot: Spot) -> dict[str, object]:
    source = [{"line": number, "text": text} for number, text in spot.lines]
    return {"file": spot.file, "line": spot.line, "column": spot.column, "source": source}


def text(report: Report) -> str:
    """The report for a terminal: what is wrong first, one line each."""
    parts = [f"{one.spot}: {one.message}" if one.spot.file else one.message for one in report.problems]
    if report.more:
        parts.append(f"and {report.more} more")
    if report.message:
        parts.append(report.message)
    parts += [f"{one.spot}: {one.function}" for one in report.calls]
    if report.output:
        parts += ["", *report.output]
    return "\n".join([*parts, *[""] * bool(parts), report.error, ""])


def view(report: Report, editor: str) -> Node:
    """The report for a browser."""
    head: list[Node] = [_node("h1", "", report.heading)]
    if report.detail:
        head.append(_node("p", "detail", report.detail))
    parts: list[Node] = [("header", {}, head)]
    parts += [
        _node("section", "problem", _node("p", "message", one.message), *_where(one.spot, editor))
        for one in report.problems
    ]
    if report.more:
        parts.append(_node("p", "detail", f"and {report.more} more"))
    own = [one for one in report.calls if one.own]
    others = [one for one in report.calls if not one.own]
    if report.message or own:
        said = [_node("p", "message", report.message)] if report.message else []
        shown = [_call(one, editor, number == 0) for number, one in enumerate(own)]
        parts.append(_node("section", "problem", *said, *shown))
    if others:
        count = f"{len(others)} frame{'s' * (len(others) != 1)} outside the project"
        parts.append(("details", {}, [_node("summary", "", count), *(_call(one, editor, False) for one in others)]))
    if report.output:
        lines = _node("pre", "output", "\n".join(report.output))
        parts.append(_node("section", "", _node("h2", "", "Its last output"), lines))
    hope = "This page comes back by itself." if report.waits else "This clears by itself once it is mended."
    if report.for_good:
        hope = "It is started again by `r` or `b` in the terminal of `dev`, as crash.restart says."
    parts.append(("p", {"class": "status", "role": "status"}, [hope]))
    return "main", {"class": "goreload waits" if report.waits else "goreload"}, parts


def _call(call: Call, editor: str, source: bool) -> Node:
    name = _node("p", "function", call.function)
    return _node("div", "own" if call.own else "other", name, *_where(call.spot, editor, source))


def _where(spot: Spot, editor: str, source: bool = True) -> list[Node]:
    """The place, to be opened or copied, and its source."""
    if not spot.file:
        return []
    url = spot.url(editor)
    link: Node = ("a", {"href": url, "title": "open in the editor"}, [str(spot)]) if url else str(spot)
    words = f"{spot.file}:{spot.line}" if spot.line else spot.file
    button: Node = ("button", {"type": "button", "data-copy": words}, ["copy"])
    place = _node("p", "place", link, button)
    if not source or not spot.lines:
        return [place]
    lines = [
        _node(
            "span",
            "line here" if number == spot.line else "line",
            _node("span", "number", str(number)),
            *_code(line, spot.column if number == spot.line else 0),
            "\n",
        )
        for number, line in spot.lines
    ]
    return [place, _node("pre", "source", _node("code", "", *lines))]


def _code(line: str, column: int) -> Iterable[Node]:
    """The line, with the word at the column marked. Go counts columns in bytes (go/token.Position)."""
    start = len(line.encode()[: column - 1].decode(errors="ignore")) if column else len(line)
    match = _TOKEN.match(line, start)
    if not match:
        return [line] if line else []
    parts: list[Node] = [line[:start], _node("mark", "", match[0]), line[match.end() :]]
    return [part for part in parts if part]


def _node(name: str, css: str, *children: Node) -> Node:
    return name, {"class": css} if css else {}, list(children)


def markup(node: Node) -> str:
    """The tree as HTML."""
    if isinstance(node, str):
        return html.escape(node, quote=False)
    name, attributes, children = node
    inside = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<{name}{inside}>{''.join(map(markup, children))}</{name}>"


def wants(accept: str) -> str:
    """`html`, `json` or `text`: what an Accept header (RFC 9110, 12.5.1) asks for by name. `*/*` asks for nothing."""
    liking = {"html": 0.0, "json": 0.0, "text": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        name = "html" if kind in ("text/html", "application/xhtml+xml") else "text" if kind == "text/plain" else ""
        if kind == "application/json" or kind.endswith("+json"):
            name = "json"
        if name:
            liking[name] = max(liking[name], _quality(parameters))
    best = max(liking, key=lambda name: liking[name])  # of equals the first
    return best if liking[best] else "text"


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def answer(state: State, accept: str, method: str, root: str, editor: str = EDITOR) -> bytes:
    """A whole HTTP/1.1 answer that says why the app does not answer; the connection may be used again.

    Args:
        accept: the request's header of that name.
        root: the folder against which files are named; source lines come from files inside it only.
        editor: a URL with `{path}`, `{line}` and `{column}`; anything else: no links.
    """
    told = report(state, root)
    kind = wants(accept)
    if kind == "html":
        type_, body = "text/html", _document(told, editor, method)
    elif kind == "json":
        type_, body = "application/json", json.dumps(values(told)) + "\n"
    else:
        type_, body = "text/plain", text(told)
    content = body.encode()
    head = [
        "HTTP/1.1 503 Service Unavailable",
        f"Content-Type: {type_}; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Vary: Accept",
        "X-Content-Type-Options: nosniff",
    ]
    if kind == "html":
        head.append(
            "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
        )
    if isinstance(state, Held | Open):
        head.append("Retry-After: 1")
    return "\r\n".join([*head, "", ""]).encode() + (b"" if method == "HEAD" else content)


def _document(report: Report, editor: str, method: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(report.error)}</title>"
        '<link rel="stylesheet" href="/.goreload/look.css"></head>'
        f"<body>{markup(view(report, editor))}"
        f'<script src="/.goreload/client.js" data-method="{html.escape(method)}"></script></body></html>\n'
    )
