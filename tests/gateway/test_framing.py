"""A body ends where it ends, wherever the reads cut it, and smuggling shapes are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.gateway.framing import MAX_LINE, Chunked, Forever, Framing, Length, Malformed

AFTER = b"GET /next HTTP/1.1\r\n\r\n"

CHUNKED = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b'5;a=1;b="x"\r\nhello\r\n00;last\r\n\r\n',
    b"a \r\n0123456789\r\n1\r\n\n\r\n0\r\nDigest: x\r\nOther: y\r\n\r\n",
    b"4\r\n\r\n\r\n\r\n2\r\n0\r\r\n000\r\n\r\n",
]

BAD = [
    b"\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"0x5\r\n",
    b"+5\r\n",
    b" 5\r\n",
    b"5\n",
    b"5\rhello\r\n",
    b"5;a\rb\r\n",
    b"5 5\r\n",
    b"1000000000000000\r\n",
    b"5\r\nhelloX\r\n",
    b"5\r\nhello\n",
    b"0\r\nA: b\n\r\n",
    b"0\r\n\n",
    b"1;" + b"x" * MAX_LINE,
]


def passed(framing: Framing, blocks: Sequence[bytes]) -> tuple[bytes, bytes]:
    """What went through, and what came behind the body."""
    mine, rest = b"", b""
    for block in blocks:
        mine += framing.feed(block)
        rest += framing.rest
        assert framing.done or not framing.rest
    return mine, rest


def cuts(data: bytes) -> list[list[bytes]]:
    """The data in two parts, in all ways, and in single bytes."""
    return [[data[:at], data[at:]] for at in range(len(data) + 1)] + [[bytes([byte]) for byte in data]]


@pytest.mark.parametrize("data", CHUNKED)
def test_chunks_pass_unchanged_wherever_they_are_cut(data: bytes) -> None:
    for blocks in cuts(data + AFTER):
        framing = Chunked()
        assert passed(framing, blocks) == (data, AFTER)
        assert framing.done


@pytest.mark.parametrize("data", CHUNKED[1:])
def test_tail_is_a_chunk_of_its_own_before_the_last_one(data: bytes) -> None:
    last = data.rindex({0: b"0\r\n\r\n", 1: b"00;last", 2: b"0\r\nDigest", 3: b"000\r\n"}[CHUNKED.index(data) - 1])
    for blocks in cuts(data + AFTER):
        assert passed(Chunked(b"<script>"), blocks) == (data[:last] + b"8\r\n<script>\r\n" + data[last:], AFTER)


def test_empty_bodies_get_no_tail() -> None:
    for blocks in cuts(CHUNKED[0]):
        assert passed(Chunked(b"tail"), blocks) == (CHUNKED[0], b"")
    assert passed(Length(0, b"tail"), [AFTER]) == (b"", AFTER)
    forever = Forever(b"tail")
    assert forever.feed(b"") + forever.end() == b""


@pytest.mark.parametrize("data", BAD)
def test_bad_chunks_are_refused_wherever_they_are_cut(data: bytes) -> None:
    splits = cuts(data) if len(data) < 100 else [[data[:9000], data[9000:]], [data]]
    for blocks in splits:
        with pytest.raises(Malformed):
            passed(Chunked(), blocks)


def test_unfinished_line_is_held_back_and_given_when_the_stream_ends() -> None:
    framing = Chunked()
    assert framing.feed(b"2\r\nab\r\n0") == b"2\r\nab\r\n"
    assert (framing.end(), framing.done) == (b"0", False)


def test_body_of_a_length_takes_its_bytes_and_no_more() -> None:
    for blocks in cuts(b"hello" + AFTER):
        framing = Length(5)
        assert passed(framing, blocks) == (b"hello", AFTER)
        assert framing.done
        assert passed(Length(5, b"tail"), blocks) == (b"hellotail", AFTER)


def test_body_cut_off_is_not_done() -> None:
    length, chunked, forever = Length(5, b"tail"), Chunked(b"tail"), Forever(b"tail")
    for framing in (length, chunked, forever):
        framing.feed(b"4\r\n")
    assert [framing.end() for framing in (length, chunked, forever)] == [b"", b"", b"tail"]
    assert [framing.done for framing in (length, chunked, forever)] == [False, False, True]


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body in chunks, and the same without its last chunk and what follows."""
    data = b""
    for content in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6)):
        extension = draw(st.sampled_from([b"", b";x", b';a="b c"', b" ;q=0"]))
        data += b"%x%b\r\n%b\r\n" % (len(content), extension, content)
    trailers = draw(st.lists(st.sampled_from([b"A: b\r\n", b"Digest: 0\r\n"]), max_size=2))
    return data + b"0\r\n" + b"".join(trailers) + b"\r\n", data


@given(chunked(), st.binary(max_size=30), st.lists(st.integers(0, 400), max_size=8), st.sampled_from([b"", b"tail"]))
def test_any_chunks_cut_anywhere(body: tuple[bytes, bytes], after: bytes, places: list[int], tail: bytes) -> None:
    data, content = body
    ends = [*sorted(places), len(data) + len(after)]
    blocks = [(data + after)[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    extra = b"4\r\ntail\r\n" if tail and content else b""
    assert passed(Chunked(tail), blocks) == (content + extra + data[len(content) :], after)


@given(st.lists(st.binary(max_size=20), max_size=6), st.sampled_from([lambda: Length(30), Chunked, Forever]))
def test_any_bytes_are_passed_on_held_or_refused(blocks: list[bytes], make: Callable[[], Framing]) -> None:
    framing = make()
    try:
        mine, rest = passed(framing, blocks)
    except Malformed:
        return
    assert mine + rest + framing.end() == b"".join(blocks)
