"""Heads are read as net/http reads them, changed only where they must be, and refused where two could disagree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.gateway.framing import Chunked, Forever, Length, Malformed
from goreload_tasks.gateway.http import (
    HEAD_END,
    Head,
    added,
    download,
    fitted,
    forwarded,
    plain,
    relocated,
    replaced,
    tunnels,
    upload,
)


def request(*lines: str, start: str = "GET / HTTP/1.1", host: str | None = "Host: localhost:8080") -> Head:
    """A request with these fields."""
    return Head.request("\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1"))


def answer(*lines: str, start: str = "HTTP/1.1 200 OK") -> Head:
    """An answer with these fields."""
    return Head.answer("\r\n".join([start, *lines, "", ""]).encode("latin-1"))


def test_request_is_read_and_kept() -> None:
    raw = b"PATCH /a%2Fb?x=/y HTTP/1.1\r\nHOST:a\r\nx-Odd:\t v \xe9 \r\nX-Odd: 2\r\nEmpty:\r\n\r\n"
    head = Head.request(raw)
    assert (head.raw, head.method, head.target, head.version) == (raw, "PATCH", "/a%2Fb?x=/y", "HTTP/1.1")
    assert head.fields == {"host": ["a"], "x-odd": ["v \xe9", "2"], "empty": [""]}
    assert (head.path, head.host, head.get("x-odd"), head.get("none")) == ("/a%2Fb", "a", "v \xe9, 2", "")


def test_lines_may_end_with_lf_and_values_may_go_on_as_net_http_reads_them() -> None:
    head = Head.request(b"GET / HTTP/1.1\nHost: a\r\nLong: one\r\n\t two\n  \n three\n\n")
    assert head.fields == {"host": ["a"], "long": ["one two three"]}


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/", "/", "localhost:8080"),
        ("*", "*", "localhost:8080"),
        ("//x/y?z", "//x/y", "localhost:8080"),
        ("http://evil.example/.goreload/x?y", "/.goreload/x", "evil.example"),
        ("HTTPS://u@h:1?q", "/", "u@h:1"),
        ("/x?http://a/b", "/x", "localhost:8080"),
    ],
)
def test_target_says_whom_it_is_for(target: str, path: str, host: str) -> None:
    head = request(start=f"GET {target} HTTP/1.1")
    assert (head.path, head.host) == (path, host)


def test_http_1_0_needs_no_host() -> None:
    assert request(start="GET / HTTP/1.0", host=None).host is None


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/11\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0b: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as error:
        Head.request(raw)
    assert error.value.status == (505 if b"HTTP/2.0" in raw else 400)


def test_http_2_preface_is_a_request() -> None:
    assert Head.request(b"PRI * HTTP/2.0\r\n\r\n").method == "PRI"


@pytest.mark.parametrize("start", ["HTTP/1.1 200 OK", "HTTP/1.0 200", "HTTP/1.1 200 ", "HTTP/1.1 299 a b c"])
def test_status_lines(start: str) -> None:
    assert answer(start=start).status in (200, 299)


@pytest.mark.parametrize("start", ["HTTP/2 200 OK", "hello", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1 000 X", ""])
def test_malformed_answers_are_refused(start: str) -> None:
    with pytest.raises(Malformed):
        answer(start=start)


@pytest.mark.parametrize(
    ("lines", "framing", "left"),
    [
        ([], Length, 0),
        (["Content-Length: 7"], Length, 7),
        (["Content-Length: 007"], Length, 7),
        (["content-length: 7", "Content-Length:7"], Length, 7),
        (["Transfer-Encoding: chunked"], Chunked, None),
        (["transfer-encoding: gzip,\tCHUNKED"], Chunked, None),
        (["Transfer-Encoding:", "\tchunked"], Chunked, None),
    ],
)
def test_framing_of_a_request(lines: list[str], framing: type, left: int | None) -> None:
    body = upload(request(*lines))
    assert type(body) is framing
    assert getattr(body, "left", None) == left


SMUGGLING = [
    ["Content-Length: 7", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Content-Length: 7"],
    ["Content-Length: 7", "Content-Length: 8"],
    ["Content-Length: 7, 7"],
    ["Content-Length: +7"],
    ["Content-Length: -7"],
    ["Content-Length: 0x7"],
    ["Content-Length: 7 7"],
    ["Content-Length: \xb2"],
    ["Content-Length:"],
    ["Content-Length: 9999999999999999999"],
    ["Transfer-Encoding: chunked, chunked"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked, identity"],
]


@pytest.mark.parametrize("lines", SMUGGLING)
def test_smuggling_shapes_are_refused_both_ways(lines: list[str]) -> None:
    with pytest.raises(Malformed):
        upload(request(*lines))
    with pytest.raises(Malformed):
        download("GET", answer(*lines))


@pytest.mark.parametrize(
    "lines", [["Transfer-Encoding: identity"], ["Transfer-Encoding: gzip"], ["Transfer-Encoding:"]]
)
def test_request_that_never_ends_is_refused(lines: list[str]) -> None:
    with pytest.raises(Malformed):
        upload(request(*lines))


def test_http_1_0_knows_no_transfer_coding() -> None:
    with pytest.raises(Malformed):
        upload(request("Transfer-Encoding: chunked", start="POST / HTTP/1.0"))


@pytest.mark.parametrize(
    ("method", "start", "lines", "framing", "left"),
    [
        ("GET", "HTTP/1.1 200 OK", [], Forever, None),
        ("GET", "HTTP/1.1 200 OK", ["Content-Length: 3"], Length, 3),
        ("GET", "HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], Chunked, None),
        ("GET", "HTTP/1.1 200 OK", ["Transfer-Encoding: gzip"], Forever, None),
        ("HEAD", "HTTP/1.1 200 OK", ["Content-Length: 3"], Length, 0),
        ("HEAD", "HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], Length, 0),
        ("GET", "HTTP/1.1 204 No Content", ["Content-Length: 3"], Length, 0),
        ("GET", "HTTP/1.1 304 Not Modified", ["Content-Length: 3"], Length, 0),
        ("GET", "HTTP/1.1 103 Early Hints", ["Content-Length: 3"], Length, 0),
        ("GET", "HTTP/1.1 101 Switching Protocols", [], Length, 0),
        ("CONNECT", "HTTP/1.1 200 OK", ["Content-Length: 3"], Length, 0),
        ("CONNECT", "HTTP/1.1 405 No", ["Content-Length: 3"], Length, 3),
    ],
)
def test_framing_of_an_answer(method: str, start: str, lines: list[str], framing: type, left: int | None) -> None:
    body = download(method, answer(*lines, start=start))
    assert type(body) is framing
    assert getattr(body, "left", None) == left


def test_tunnels() -> None:
    assert tunnels("GET", answer(start="HTTP/1.1 101 x"))
    assert tunnels("CONNECT", answer())
    assert not tunnels("GET", answer())
    assert not tunnels("CONNECT", answer(start="HTTP/1.1 403 x"))


@pytest.mark.parametrize(
    ("start", "lines", "stays"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: Close"], False),
        ("GET / HTTP/1.1", ["Connection: foo", "Connection: x , close"], False),
        ("GET / HTTP/1.1", ["Connection: closed"], True),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
        ("GET / HTTP/1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_connection_stays(start: str, lines: list[str], stays: bool) -> None:
    assert request(*lines, start=start).persistent is stays


def test_app_learns_who_asked() -> None:
    head = request("X: y")
    assert forwarded(head, "10.0.0.9") == head.raw[:-2] + (
        b"X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Host: localhost:8080\r\nX-Forwarded-Proto: http\r\n\r\n"
    )
    told = request("x-forwarded-for: a", "X-FORWARDED-HOST: b", "X-Forwarded-Proto: https")
    assert forwarded(told, "10.0.0.9") == told.raw
    assert forwarded(Head.request(b"GET / HTTP/1.0\n\n"), "") == b"GET / HTTP/1.0\nX-Forwarded-Proto: http\r\n\n"


def test_only_a_request_for_a_page_loses_its_accept_encoding() -> None:
    lines = ("Accept-Encoding: gzip, br", "X: y", "accept-encoding:", "\tzstd")
    page = forwarded(request("Sec-Fetch-Dest: document", *lines), "1")
    assert b"Sec-Fetch-Dest: document\r\nAccept-Encoding: identity\r\nX: y\r\nX-Forwarded-For" in page
    assert b"zstd" not in page
    assert b"Accept-Encoding: identity\r\n\r\n" in forwarded(request("Accept: text/html"), "1")
    assert b"gzip, br" in forwarded(request(*lines), "1")


@pytest.mark.parametrize(
    ("lines", "start", "page"),
    [
        (["Sec-Fetch-Dest: document"], "GET / HTTP/1.1", True),
        (["Sec-Fetch-Dest: iframe"], "GET / HTTP/1.1", True),
        (["Sec-Fetch-Dest: empty", "Accept: text/html"], "GET / HTTP/1.1", False),
        (["Accept: application/xml, text/HTML;q=0.9"], "GET / HTTP/1.0", True),
        (["Accept: */*"], "GET / HTTP/1.1", False),
        ([], "GET / HTTP/1.1", False),
        (["Sec-Fetch-Dest: document"], "POST / HTTP/1.1", False),
        (["Sec-Fetch-Dest: document"], "HEAD / HTTP/1.1", False),
    ],
)
def test_request_for_a_page(lines: list[str], start: str, page: bool) -> None:
    assert request(*lines, start=start).for_a_page is page


@pytest.mark.parametrize(
    ("lines", "status", "page"),
    [
        (["Content-Type: text/html; charset=utf-8"], 200, True),
        (["Content-Type: Text/HTML"], 500, True),
        (["Content-Type: text/html"], 206, False),
        (["Content-Type: text/html"], 302, False),
        (["Content-Type: text/html", "Content-Encoding: gzip"], 200, False),
        (["Content-Type: text/html; charset=UTF-16"], 200, False),
        (["Content-Type: text/html", "Content-Disposition: Attachment; filename=x.html"], 200, False),
        (["Content-Type: text/html", "Content-Disposition: inline"], 200, True),
        (["Content-Type: text/plain"], 200, False),
        ([], 200, False),
    ],
)
def test_answer_is_a_page(lines: list[str], status: int, page: bool) -> None:
    assert answer(*lines, start=f"HTTP/1.1 {status} x").is_a_page is page


@pytest.mark.parametrize(
    ("location", "becomes"),
    [
        ("http://127.0.0.1:4001/x?y#z", "http://127.0.0.1:8080/x?y#z"),
        ("http://localhost:4001", "http://localhost:8080"),
        ("HTTP://LocalHost:4001?a", "HTTP://LocalHost:8080?a"),
        ("http://[::1]:4001/", "http://[::1]:8080/"),
        ("//localhost:4001/", "//localhost:8080/"),
        ("http://localhost:4001.example/", None),
        ("http://localhost:40011/", None),
        ("http://localhost:4001@evil.example/", None),
        ("http://example.com:4001/", None),
        ("http://localhost/", None),
        ("/x:4001/", None),
        ("/login?next=http://localhost:4001/", None),
        ("http://[::1:4001/", None),
        ("", None),
    ],
)
def test_redirect_to_the_inner_port(location: str, becomes: str | None) -> None:
    head = answer("A: b", f"location: {location}", "C: d", start="HTTP/1.1 302 Found")
    raw = relocated(head, {"localhost", "127.0.0.1", "[::1]"}, 4001, 8080)
    if becomes is None:
        assert raw == head.raw
    else:
        assert raw == head.raw.replace(f"location: {location}".encode(), f"Location: {becomes}".encode())


def test_field_is_replaced_where_it_stood() -> None:
    raw = b"HTTP/1.1 200 OK\r\nA: content-length: 1\r\nContent-length: 1\r\nB: c\r\ncontent-length: 1\n\tx\r\n\r\n"
    assert replaced(raw, "Content-Length", "9") == (
        b"HTTP/1.1 200 OK\r\nA: content-length: 1\r\nContent-Length: 9\r\nB: c\r\n\r\n"
    )
    assert replaced(b"X\n\n", "A", "b") == b"X\nA: b\r\n\n"


def test_answer_of_ours_fits_the_request() -> None:
    whole = plain(403, "no")
    assert whole.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert whole.endswith(b"Content-Length: 3\r\nCache-Control: no-store\r\n\r\nno\n")
    assert fitted(whole, "GET", keep=True) == whole
    assert fitted(whole, "GET", keep=False) == whole.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert fitted(whole, "HEAD", keep=True) == whole.removesuffix(b"no\n")


NAMES = st.text("abcXYZ-_.!0", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.sampled_from(["\r\n", "\n"]))
def test_any_fields_come_back(fields: list[tuple[str, str]], end: str) -> None:
    raw = "".join(["HTTP/1.1 200 OK", end, *[f"{name}: {value}{end}" for name, value in fields], end]).encode("latin-1")
    assert (found := HEAD_END.search(raw))
    assert found.end() == len(raw)
    head = Head.answer(raw)
    for name in {name.lower() for name, _ in fields}:
        assert head.fields[name] == [value.strip(" \t") for other, value in fields if other.lower() == name]
    assert Head.answer(added(raw, b"New: 1\r\n")).fields == {**head.fields, "new": ["1"]}
    assert Head.answer(replaced(raw, "Abc", "1")).fields == {**head.fields, "abc": ["1"]}


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, start: bool) -> None:
    raw = (b"GET / HTTP/1.1\r\nHost: a\r\n" if start else b"") + data + b"\r\n\r\n"
    found = HEAD_END.search(raw)
    assert found
    for read in (Head.request, Head.answer):
        try:
            head = read(raw[: found.end()])
            upload(head)
        except Malformed:
            continue
