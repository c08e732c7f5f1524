"""HTTP/2 behind the gate: no request on an old connection is answered by an old app, and none is lost for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.gateway.gate import Failed, Held, State
from goreload_tasks.gateway.http_2 import DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Frames, goaway
from tests.driver import until
from tests.gateway.hosting import App, Client, Hosted, build

END_HEADERS = 0x4

SETTINGS = bytes(3) + b"\x04" + bytes(5)


def frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def ask(stream: int, path: str, method: bytes = b"\x82", flags: int = END_STREAM) -> bytes:
    """HEADERS of a request (RFC 7541); the method is an index."""
    fields = method + b"\x86\x04" + bytes([len(path)]) + path.encode() + b"\x41\x09localhost"
    return frame(HEADERS, stream, fields, flags | END_HEADERS)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("app"))


class Talk:
    """A client's side of a connection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS)

    def begin(self, hosted: Hosted) -> None:
        """Have a first request, stream 1, answered. Until then the connection itself counts as one under way."""
        self.client.send(ask(1, "/launch"))
        assert self.answer(1) == b"1"
        until(lambda: not hosted.gate._under_way, "nothing is under way")

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of those that say something; until the end."""
        while head := self.client.read(9, short=True):
            payload = self.client.read(int.from_bytes(head[:3], "big"))
            if head[3] in (DATA, RST_STREAM, GOAWAY):
                yield head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def answer(self, stream: int) -> bytes:
        """The body of an answer."""
        body = b""
        for kind, flags, number, payload in self.frames():
            assert (kind, number) == (DATA, stream)
            body += payload
            if flags & END_STREAM:
                return body
        raise AssertionError("no answer")

    def given_back(self, after: int) -> None:
        """Nothing but that what comes after this stream was not acted on."""
        kind, _, _, payload = next(self.frames())
        assert (kind, payload) == (GOAWAY, after.to_bytes(4, "big") + bytes(4))


@contextmanager
def talking(hosted: Hosted) -> Iterator[Talk]:
    with Client(hosted.port) as client:
        yield Talk(client)


def test_requests_of_one_connection_are_answered_while_the_gate_is_open(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, talking(hosted) as talk:
        for stream in (1, 3, 5):
            talk.client.send(ask(stream, "/launch"))
            assert talk.answer(stream) == b"1"
        until(lambda: not hosted.gate._under_way, "all is answered")


@pytest.mark.parametrize("state", [None, Held("the build"), Failed(())])
def test_request_that_is_not_for_this_app_any_more_is_given_back(binary: Path, state: State | None) -> None:
    with App(binary, 1) as one, App(binary, 2) as two, Hosted(one.open) as hosted, talking(hosted) as talk:
        talk.client.send(ask(1, "/launch"))
        assert talk.answer(1) == b"1"
        hosted.show(state or two.open)
        talk.client.send(ask(3, "/launch"))
        talk.given_back(after=1)
        assert talk.client.rest() == b""
        hosted.show(two.open)
        with talking(hosted) as again:
            again.client.send(ask(1, "/launch"))
            assert again.answer(1) == b"2"


def test_what_was_asked_before_is_answered_and_counts_until_then(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, talking(hosted) as talk:
        talk.begin(hosted)
        talk.client.send(ask(3, "/upload", method=b"\x83", flags=0))
        until(lambda: hosted.gate._under_way[1] == 1, "it is under way")
        hosted.show(Held("the build"))
        talk.client.send(ask(5, "/launch"))
        talk.given_back(after=3)
        talk.client.send(frame(DATA, 5, b"lost") + frame(DATA, 3, b"hello", END_STREAM))
        assert talk.answer(3).startswith(b"5 2cf24dba5fb0a30e")
        assert talk.client.rest() == b""
        assert not hosted.gate._under_way


def test_request_that_the_client_gives_up_counts_no_more(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, talking(hosted) as talk:
        talk.begin(hosted)
        talk.client.send(ask(3, "/wait"))
        until(lambda: hosted.gate._under_way[1] == 1, "it is under way")
        talk.client.send(frame(RST_STREAM, 3, (8).to_bytes(4, "big")))
        until(lambda: not hosted.gate._under_way, "it is not any more")


def test_connection_that_is_let_go_says_how_far_it_came(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, talking(hosted) as talk:
        talk.client.send(ask(1, "/launch"))
        assert talk.answer(1) == b"1"
        hosted.cut(1)
        talk.given_back(after=1)
        assert talk.client.rest() == b""
        until(lambda: not hosted.proxy._connections, "no connection is left")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=40))),
    st.binary(max_size=12),
    st.lists(st.integers(0, 400)),
)
def test_frames_are_found_wherever_they_are_cut(
    frames: list[tuple[int, int, int, bytes]], before: bytes, places: list[int]
) -> None:
    data = before + b"".join(frame(kind, stream, payload, flags) for kind, flags, stream, payload in frames)
    cuts = sorted({0, len(data), *(place for place in places if place < len(data))})
    found = Frames(len(before))
    pieces = [piece for start, end in pairwise(cuts) for piece in found.cut(data[start:end]) if piece.data]
    assert b"".join(piece.data for piece in pieces) == data
    begun = [(piece.kind, piece.flags, piece.stream) for piece in pieces if piece.first]
    assert begun == [(kind, flags, stream) for kind, flags, stream, _ in frames]
    assert sum(piece.last for piece in pieces) == len(frames) + bool(before)
    assert found.between


def test_goaway_is_a_frame() -> None:
    assert goaway(5) == frame(GOAWAY, 0, (5).to_bytes(4, "big") + bytes(4))
