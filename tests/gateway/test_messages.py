"""Messages of any size and shape, cut anywhere, pass byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goreload_tasks.gateway.gate import Gate, Open
from goreload_tasks.gateway.http import Head, forwarded
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.sockets import inner
from goreload_tasks.gateway.streams import Wire
from tests.driver import DEADLINE
from tests.gateway.conversing import ask, chunks
from tests.gateway.hosting import App, Client, proxy_before

HOST = """
import asyncio, sys
from goreload_tasks.gateway.gate import Gate, Open
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.sockets import inner
from tests.gateway.hosting import proxy_before

async def main():
    gate = Gate(lambda: None, 1)
    gate.show(Open(1, "127.0.0.1", int(sys.argv[1])))
    port = inner()
    listener = Listener([port], proxy_before(gate, 1).serve)
    print(port.getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])

asyncio.run(main())
"""


def test_streams_of_any_size_pass_in_constant_memory(app: App) -> None:
    size, block = 200_000_000, bytes(range(250)) * 4000
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(app.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        port = int(process.stdout.readline())
        with Client(port) as client:
            client.send(ask("POST /upload", f"Content-Length: {size}", close=False))
            digest = hashlib.sha256()
            for _ in range(size // len(block)):
                client.send(block)
                digest.update(block)
            assert client.answer() == (200, f"{size} {digest.hexdigest()} <nil>\n".encode())
        connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE)
        connection.request("GET", f"/download?size={size}")
        answer, got = connection.getresponse(), 0
        while part := answer.read(1_000_000):
            got += len(part)
        connection.close()
        assert got == size
        peak = int(process.communicate(timeout=DEADLINE)[0])
    assert peak < 60_000, f"{peak} kB"


NAMES = st.sampled_from(["X-A", "x-a", "ACCEPT", "Cookie", "x.y!", "Via", "Age", "X-Forwarded-For"])

VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)

FIELDS = st.lists(st.tuples(NAMES, VALUES).map(lambda field: f"{field[0]}: {field[1]}\r\n"), max_size=5).map("".join)

TARGETS = st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"]), max_size=30).map("/".__add__)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """The field that frames a body, and the body."""
    contents = draw(st.lists(st.binary(min_size=1, max_size=200), max_size=4))
    if draw(st.booleans()):
        return "Transfer-Encoding: chunked\r\n", chunks(*contents, trailers=draw(st.sampled_from([b"", b"A: b\r\n"])))
    body = b"".join(contents) * draw(st.sampled_from([1, 1, 1, 500]))
    return f"content-length: {len(body)}\r\n", body


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request and its answer; both may have any body that can be framed."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "ODD"]))
    framing, body = draw(st.one_of(st.just(("", b"")), bodies()))
    request = f"{method} {draw(TARGETS)} HTTP/1.1\r\nhost: localhost\r\n{draw(FIELDS)}{framing}\r\n".encode("latin-1")
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"]))
    status = draw(st.sampled_from([200, 204, 304, 404, 500]))
    framing, content = draw(bodies())
    answer = f"HTTP/1.1 {status} {draw(VALUES)}\r\n{draw(FIELDS)}{framing}\r\n".encode("latin-1")
    bodiless = method == "HEAD" or status in (204, 304)
    return request + body, interim + answer + (b"" if bodiless else content)


Cut = Callable[[int, bytes], list[bytes]]
"""The blocks in which message number so and so is sent."""


def each(size: int) -> Cut:
    return lambda _, data: [data[at : at + size] for at in range(0, len(data), size)]


async def write_in_blocks(writer: asyncio.StreamWriter, blocks: list[bytes]) -> None:
    for block in blocks:
        writer.write(block)
        await writer.drain()
        for _ in range(4):  # turns of the loop after which the proxy has read it, by itself
            await asyncio.sleep(0)


async def exchange(messages: list[tuple[bytes, bytes]], cut: Cut) -> tuple[list[bytes], list[bytes]]:
    """What the app got, and what the client got, over one connection of each."""
    got: list[bytes] = []
    expected = []
    for request, _ in messages:
        end = request.index(b"\r\n\r\n") + 4
        expected.append(forwarded(Head.request(request[:end]), "127.0.0.1") + request[end:])

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, request in enumerate(expected):
            got.append(await reader.readexactly(len(request)))
            await write_in_blocks(writer, cut(number, messages[number][1]))
        await reader.read()
        writer.close()

    upstream = await asyncio.start_server(app, "127.0.0.1", 0)
    gate = Gate(lambda: None, DEADLINE)
    gate.show(Open(1, "127.0.0.1", upstream.sockets[0].getsockname()[1]))
    proxy = proxy_before(gate, 1)
    port = inner()
    listener = Listener([port], proxy.serve)
    reader, writer = await asyncio.open_connection(*port.getsockname())
    answers = []
    async with asyncio.timeout(DEADLINE):
        for number, (request, answer) in enumerate(messages):
            sending = asyncio.create_task(write_in_blocks(writer, cut(number, request)))
            answers.append(await reader.readexactly(len(answer)))
            await sending
        writer.close()
        await writer.wait_closed()
        listener.stop()
        upstream.close()
        await asyncio.gather(listener.close(), upstream.wait_closed())
    assert got == expected
    return got, answers


@settings(max_examples=150, deadline=None)
@given(st.lists(exchanges(), min_size=1, max_size=3), st.sampled_from([1, 7, 100, 100_000]))
def test_any_messages_pass_byte_for_byte(messages: list[tuple[bytes, bytes]], cut: int) -> None:
    if max(len(data) for message in messages for data in message) > 10_000:
        cut = max(cut, 100)
    got, answers = asyncio.run(exchange(messages, each(cut)))
    assert answers == [answer for _, answer in messages]
    for (request, _), bytes_ in zip(messages, got, strict=True):
        assert re.sub(rb"X-Forwarded-(For: 127.0.0.1|Host: localhost|Proto: http)\r\n", b"", bytes_) == request


def test_messages_cut_in_two_anywhere_pass_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask("PUT /x?y", "Transfer-Encoding: chunked", close=False) + chunks(b"hello", trailers=b"A: b\r\n")
    request = request.replace(b"5\r\n", b'5;a="b";c\r\n')
    interim = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    answer = interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc", trailers=b"C: d\r\n")
    short = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    seen: set[int] = set()
    fill = Wire.fill

    async def filling(source: Wire) -> bool:
        more = await fill(source)
        seen.add(len(source.held))
        return more

    monkeypatch.setattr(Wire, "fill", filling)
    places = range(1, max(len(request), len(answer), len(short)))
    messages = [(request, one) for _ in places for one in (answer, short)]
    got, answers = asyncio.run(
        exchange(messages, lambda number, data: [data[: number // 2 + 1], data[number // 2 + 1 :]])
    )
    assert answers == [answer for _, answer in messages]
    assert len(got) == len(messages)
    places = range(1, request.index(b"\r\n\r\n"))
    assert len(seen & set(places)) > len(places) // 2  # the cuts were really met
