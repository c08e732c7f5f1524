"""Lines are never torn, characters never broken, memory never unbounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.app.output import MAX_LINE, TAIL_LINES, Lines, whole


@given(st.text(), st.lists(st.integers(1, 9)))
def test_text_cut_anywhere_comes_out_whole_and_only_at_lines(text: str, cuts: list[int]) -> None:
    data, lines, out = text.encode(), Lines(), b""
    for cut in [*cuts, len(data)]:
        block = lines.feed(data[:cut])
        assert not block or block.endswith(b"\n")
        out, data = out + block, data[cut:]
    assert out + lines.feed(data) + lines.close() == text.encode()


@given(st.text(min_size=1), st.integers(0, 3))
def test_flush_never_cuts_a_character(text: str, missing: int) -> None:
    data = text.replace("\n", "").encode()
    lines = Lines()
    out = lines.feed(data[: len(data) - missing]) + lines.flush()
    out.decode()
    assert out + lines.close() + data[len(data) - missing :] == data


def test_bytes_that_are_no_text_pass_too() -> None:
    lines = Lines()
    assert lines.feed(b"\xff\xfe\x80") + lines.flush() + lines.close() == b"\xff\xfe\x80"
    assert whole(b"\x80\x80\x80\x80\x80") == 5


def test_line_without_end_is_passed_on_in_pieces() -> None:
    lines, out = Lines(), 0
    for _ in range(100):
        out += len(lines.feed(b"x" * 10_000))
        assert len(lines._rest) <= MAX_LINE
    assert out + len(lines.close()) == 1_000_000


def test_tail_keeps_the_last_lines() -> None:
    lines = Lines()
    for number in range(1000):
        lines.feed(f"line {number}\n".encode())
    lines.feed(b"the ")
    lines.feed(b"end")
    lines.close()
    assert lines.tail[-2:] == ["line 999", "the end"]
    assert len(lines.tail) == TAIL_LINES
