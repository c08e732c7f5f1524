"""What the proxy does with requests beside passing them on, and what becomes of those that find no app."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goreload_tasks.gateway import proxy
from goreload_tasks.gateway.connection import KEPT
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open
from goreload_tasks.gateway.streams import BLOCK, MAX_HEAD
from tests.driver import DEADLINE, free_port, until
from tests.gateway.conversing import PAGE, ask, chunks, counts, fetched, post
from tests.gateway.hosting import SCRIPT, App, Client, Hosted


@pytest.mark.parametrize("how", [Client.reset, lambda client: client.socket.close()])
@pytest.mark.parametrize("target", ["/wait", "/wait?first=1"])
@pytest.mark.parametrize("through", [False, True])
def test_client_that_leaves_cancels_the_request(
    through: bool, target: str, how: Callable[[Client], None], app: App, hosted: Hosted
) -> None:
    waiting, cancelled, _ = counts(app.port)
    with Client(hosted.port if through else app.port) as client:
        client.send(ask(f"GET {target}"))
        if "first" in target:
            client.until(b"data: first")
        until(lambda: counts(app.port)[0] == waiting + 1, "the request waits")
        how(client)
    until(lambda: counts(app.port)[:2] == [waiting, cancelled + 1], "the request is cancelled")


def test_client_that_broke_off_behind_other_bytes_cancels_the_request(
    app: App, hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "SOON", DEADLINE)
    waiting, cancelled, _ = counts(app.port)
    with Client(hosted.port) as client:
        client.send(ask("GET /wait"))
        until(lambda: counts(app.port)[0] == waiting + 1, "the request waits")
        client.send(b"\r\n")
        wires = [each.client for each in hosted.proxy._connections.values()]
        until(lambda: any(not wire.quiet for wire in wires), "the bytes are there")
        client.reset()
        until(lambda: any(wire.broken for wire in wires), "and the end of the connection")
    monkeypatch.setattr(proxy, "SOON", 0.0)

    async def look() -> None:
        hosted.proxy._look()

    hosted.run(look())
    until(lambda: counts(app.port)[:2] == [waiting, cancelled + 1], "the request is cancelled")


def test_client_that_leaves_behind_a_body_that_waited_at_the_gate_cancels_the_request(
    app: App, hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "SOON", 0.0)
    waiting, cancelled, _ = counts(app.port)
    hosted.show(Held("a build"))
    with Client(hosted.port) as client:
        client.send(post("/wait", b"first=", "Content-Type: application/x-www-form-urlencoded"))
        until(lambda: any(each.helper for each in hosted.proxy._connections.values()), "it waits, and is watched")
        hosted.show(app.open)
        until(lambda: counts(app.port)[0] == waiting + 1, "the request waits")
        client.reset()
    until(lambda: counts(app.port)[:2] == [waiting, cancelled + 1], "the request is cancelled")


def test_requests_of_a_client_that_is_gone_are_not_made_any_more(app: App, hosted: Hosted) -> None:
    _, cancelled, _ = counts(app.port)
    hosted.show(Held("a build"))
    with Client(hosted.port) as client:
        client.send(ask("GET /launch", close=False) + ask("GET /wait", close=False))
        until(lambda: hosted.gate.waiting == 1, "it waits at the gate")
        wires = [each.client for each in hosted.proxy._connections.values()]
        client.reset()
        until(lambda: any(wire.broken for wire in wires), "it is known to be gone")
    hosted.show(app.open)
    until(lambda: not hosted.proxy._connections, "the connection ends")
    assert counts(app.port)[1] == cancelled


def test_app_learns_who_asked_unless_it_was_told(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask("GET /forwarded", close=False))
        assert client.answer() == (200, b'["127.0.0.1"] ["localhost"] ["http"]')
        client.send(ask("GET /forwarded", "x-forwarded-for: a", "X-Forwarded-Host: b", "X-Forwarded-Proto: https"))
        assert client.answer() == (200, b'["a"] ["b"] ["https"]')


def test_redirect_to_the_inner_port_leads_to_the_outer_one(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask("GET /redirect?to=http://localhost:PORT/x?y", close=False))
        assert f"\r\nLocation: http://localhost:{hosted.port}/x?y\r\n".encode() in client.until(b"\r\n\r\n")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_page_gets_the_script_behind_its_last_byte(framing: str, hosted: Hosted) -> None:
    answer, body = fetched(hosted.port, f"/html?framing={framing}", Sec_Fetch_Dest="document", Accept_Encoding="gzip")
    assert body == PAGE + SCRIPT
    assert answer.getheader("Content-Length") == (str(len(PAGE + SCRIPT)) if framing == "length" else None)
    assert fetched(hosted.port, f"/html?framing={framing}", Accept="text/html")[1] == PAGE + SCRIPT
    assert fetched(hosted.port, f"/html?framing={framing}", Sec_Fetch_Dest="empty", Accept="text/html")[1] == PAGE


def test_what_is_no_whole_page_gets_no_script(hosted: Hosted) -> None:
    for target, expected in (
        ("/html?framing=gzip", b"\x1f\x8b"),
        ("/html", b""),
        ("/range", b"0123456789"),
    ):
        answer, body = fetched(hosted.port, target, Sec_Fetch_Dest="document")
        assert (answer.status, SCRIPT in body) == (200, False)
        assert body.startswith(expected)
    answer, body = fetched(hosted.port, "/html?framing=partial", Sec_Fetch_Dest="document", Range="bytes=0-4")
    assert (answer.status, body) == (206, PAGE[:5])


def test_request_for_a_page_asks_for_no_compression(hosted: Hosted) -> None:
    page = fetched(hosted.port, "/", Sec_Fetch_Dest="document", Accept_Encoding="gzip, br")[1]
    assert b'Accept-Encoding: ["identity"]' in page
    assert b'Accept-Encoding: ["gzip, br"]' in fetched(hosted.port, "/", Accept_Encoding="gzip, br")[1]


def test_our_own_paths_are_served_with_what_was_read_too_far(hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(post("/.goreload/x?y", b"hello", close=False))
        assert client.answer() == (200, b"own /.goreload/x?y b'hello'\n")
        assert client.rest() == b""
    with Client(hosted.port) as client:
        client.send(ask("POST /.goreload/x", "Content-Length: 5", close=False))
        client.send(b"later")
        assert client.answer() == (200, b"own /.goreload/x b'later'\n")


@pytest.mark.parametrize(
    ("start", "host"),
    [("GET /", "evil.example"), ("GET /.goreload/x", "evil.example"), ("GET http://evil/", "localhost")],
)
def test_other_hosts_are_refused(start: str, host: str, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask(start, close=False).replace(b"Host: localhost", f"Host: {host}".encode()))
        status, text = client.answer()
    assert status == 403
    assert b"is no host of this server" in text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (ask("POST /", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (ask("POST /", "Content-Length: 5", "Content-Length: 6", body=b"hello!"), 400),
        (ask("POST /", "Transfer-Encoding: chunked", body=b"5\nhello\n0\n\n"), 400),
        (ask("POST /upload", "Transfer-Encoding: chunked", body=chunks(b"x" * 300_000)[:-5] + b"zz\r\n"), 400),
        (ask("GET /", "Content-Length : 5"), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (ask("GET /", "X: " + "x" * (MAX_HEAD + BLOCK)), 431),
        (b"\x16\x03\x01\n\n", 400),
    ],
)
def test_malformed_requests_are_answered_and_the_connection_ends(request_: bytes, status: int, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(request_)
        seen = client.rest()
    assert seen.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in seen
    assert seen.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/nonsense", b"no status line"), ("/smuggle", b"together"), ("/cut/head", b"without an answer")],
)
def test_answer_that_is_none_is_an_honest_502(target: str, reason: bytes, hosted: Hosted) -> None:
    with Client(hosted.port) as client:
        client.send(ask(f"GET {target}", close=False))
        status, text = client.answer()
        assert status == 502
        assert reason in text
        client.send(ask("GET /"))
        assert b"200 OK" in client.rest()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handler_that_panics_is_not_asked_again(method: str, app: App, hosted: Hosted) -> None:
    before = counts(app.port)[2]
    with Client(hosted.port) as client:
        client.send(ask(f"{method} /panic", close=False))
        status, text = client.answer()
        assert status == 502
        assert text.startswith(
            b"lost: the app closed the connection without an answer; the request may have been acted"
        )
    assert counts(app.port)[2] == before + 1


@pytest.mark.parametrize("state", [Failed((), "go build"), Crashed("exit code 2")])
def test_refused_requests_leave_the_connection_where_they_ended(state: Failed | Crashed) -> None:
    with Hosted(state) as hosted, Client(hosted.port) as client:
        for request in (
            ask("GET /a", close=False),
            post("/a", b"hello", close=False),
            ask("PUT /a", "Transfer-Encoding: chunked", body=chunks(b"x", trailers=b"A: b\r\n"), close=False),
        ):
            client.send(request)
            assert client.answer() == (503, f"/a: {state}\n".encode())
        client.send(ask("HEAD /a", close=False))
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        client.send(ask("POST /b", "Content-Length: 5", close=False))
        assert client.answer()[0] == 503
        client.send(b"hello" + ask("GET /c"))
        assert client.answer() == (503, f"/c: {state}\n".encode())
        assert client.rest() == b""


@pytest.mark.parametrize("lines", [["Content-Length: 100000000"], ["Content-Length: 5", "Expect: 100-continue"]])
def test_refused_large_body_is_not_read(lines: list[str]) -> None:
    with Hosted(Failed(())) as hosted, Client(hosted.port) as client:
        client.send(ask("POST /a", *lines, close=False))
        seen = client.rest()
    assert seen.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in seen


def test_request_waits_at_the_gate_and_no_longer_than_the_hold(app: App) -> None:
    with Hosted(Held("the build of main.go"), hold=0.2) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /", close=False))
        assert client.answer() == (503, b"/: Held(what='the build of main.go')\n")
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(post("/", b"hello", close=False))
        until(lambda: bool(hosted.proxy._connections), "the request waits")
        hosted.show(app.open)
        status, text = client.answer()
        assert status == 200
        assert b'"hello"' in text


@pytest.mark.parametrize("request_", [ask("GET /"), ask("POST /", "Content-Length: 5")])
def test_client_that_is_reset_at_the_gate_is_let_go(request_: bytes) -> None:
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(request_)
        until(lambda: bool(hosted.proxy._connections), "the request waits")
        client.reset()
        until(lambda: not hosted.proxy._connections, "the request is let go")


def test_half_closed_client_is_half_closed_to_the_app_after_the_gate(app: App) -> None:
    with Hosted(Held("the build")) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /wait", close=False))
        client.half_close()
        until(lambda: any(one.ended for one in hosted.proxy._connections.values()), "the end is seen")
        hosted.show(app.open)
        assert client.rest().startswith(b"HTTP/1.1 200 OK")


def test_connection_stays_from_launch_to_launch(binary: Path) -> None:
    with App(binary, 1) as one, App(binary, 2) as two, Hosted(one.open) as hosted, Client(hosted.port) as client:
        for app in (one, two, one):
            hosted.show(app.open)
            client.send(post("/launch", b"hello", close=False))
            assert client.answer() == (200, str(app.launch).encode())


def test_requests_are_counted_from_the_gate_to_their_last_byte(app: App) -> None:
    with Hosted(app.open) as hosted:
        count = hosted.gate._under_way
        with (
            Client(hosted.port) as slow,
            Client(hosted.port) as stream,
            Client(hosted.port) as tunnel,
            Client(hosted.port) as answered,
        ):
            slow.send(b"GET / HTTP/1.1\r\nHost:")
            stream.send(ask("GET /wait?first=1"))
            stream.until(b"first")
            tunnel.send(ask("GET /upgrade", "Connection: upgrade", "Upgrade: x", close=False))
            tunnel.until(b"\r\n\r\n")
            until(lambda: not count[app.launch], "what ends only with its reader holds up nobody")
            answered.send(ask("GET /wait"))
            until(lambda: count[app.launch] == 1, "a request is under way")
            hosted.cut(app.launch)
            assert tunnel.rest() == b""
            assert b"first" not in stream.rest()
            until(lambda: not count[app.launch], "nothing is under way")
            assert b" 502 " in answered.rest()
            slow.send(b" localhost\r\n\r\n")
            slow.until(b'GET "/"')
        until(lambda: not hosted.proxy._connections, "no connection is left")


def test_dying_app_loses_no_get(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /launch", close=False))
        assert client.answer() == (200, b"1")
        client.send(ask("GET /exit", close=False))
        assert one.process.wait(DEADLINE) == 3
        hosted.show(Held("the restart"))
        with App(binary, 2) as two:
            hosted.show(two.open)
            assert client.answer() == (200, b"survived")
            client.send(ask("GET /launch", close=False))
            assert client.answer() == (200, b"2")


@pytest.mark.parametrize(
    ("lines", "first", "rest"),
    [
        (["Content-Length: 5"], b"hello", b""),
        (["Content-Length: 8"], b"hello", b"123"),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n3\r\n12", b"3\r\n0\r\n\r\n"),
    ],
)
def test_dying_app_loses_no_put(binary: Path, lines: list[str], first: bytes, rest: bytes) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("PUT /exit", *lines, close=False) + first)
        assert one.process.wait(DEADLINE) == 3
        hosted.show(Held("the restart"))
        with App(binary, 2) as two:
            hosted.show(two.open)
            client.send(rest + ask("GET /launch", close=False))
            assert client.answer() == (200, b"survivedhello")
            assert client.answer() == (200, b"2")


def test_large_put_is_not_kept_to_be_sent_again(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("PUT /exit", f"Content-Length: {KEPT + 1}", close=False) + bytes(KEPT + 1))
        assert one.process.wait(DEADLINE) == 3
        with App(binary, 2) as two:
            hosted.show(two.open)
            status, text = client.answer()
    assert status == 502
    assert b"not sent again" in text


def test_dying_app_loses_a_post_honestly(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(post("/exit", b"hello", close=False))
        status, text = client.answer()
        assert status == 502
        assert text.startswith(b"lost: the app closed the connection")
        hosted.show(Crashed("exit code 3"))
        client.send(ask("GET /exit", close=False))
        assert client.answer() == (503, f"/exit: {Crashed('exit code 3')}\n".encode())


def test_request_that_killed_the_app_is_told_so(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /exit"))
        one.process.wait(DEADLINE)
        hosted.show(Crashed("exit code 3"))
        assert client.answer()[0] == 503


def test_request_that_found_nobody_goes_through_the_gate_again(app: App) -> None:
    with Hosted(Open(1, "127.0.0.1", free_port())) as hosted, Client(hosted.port) as client:
        client.send(post("/", b"hello", close=False))
        until(lambda: bool(hosted.proxy._connections), "the request is under way")
        hosted.show(app.open)
        status, text = client.answer()
        assert status == 200
        assert b'"hello"' in text


def test_app_that_is_never_there_is_an_honest_502() -> None:
    with Hosted(Open(1, "127.0.0.1", free_port())) as hosted, Client(hosted.port) as client:
        client.send(ask("GET /"))
        status, text = client.answer()
    assert status == 502
    assert b"refused" in text.lower()


@contextlib.contextmanager
def scripted(answer: bytes, reset: threading.Event | None = None) -> Iterator[Callable[[], Open]]:
    """An app that answers one POST on each connection, with these bytes, and ends it; called, it takes one more."""
    servers: list[threading.Thread] = []

    def once() -> None:
        connection, _ = listener.accept()
        with connection:
            while not connection.recv(65536).endswith(b"hello"):
                pass
            connection.sendall(answer)
            if reset:
                reset.wait(DEADLINE)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def take() -> Open:
        for server in servers:
            server.join(DEADLINE)
        servers.append(threading.Thread(target=once))
        servers[-1].start()
        return Open(1, "127.0.0.1", listener.getsockname()[1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield take
        for server in servers:
            server.join(DEADLINE)


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"])
def test_idle_connection_that_the_app_closed_or_spoiled_is_replaced(more: bytes) -> None:
    with (
        scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + more) as take,
        Hosted(take()) as hosted,
        Client(hosted.port) as client,
    ):
        for last in (False, False, True):
            client.send(post("/", b"hello", close=False))
            assert client.answer() == (200, b"hi")
            if not last:
                take()  # the app has closed the one before; a round trip of the proxy's loop later the proxy knows
                with Client(hosted.port) as other:
                    other.send(ask("GET /.goreload/"))
                    other.rest()


def test_answer_that_is_reset_is_not_taken_for_a_whole_one() -> None:
    reset = threading.Event()
    with (
        scripted(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset) as take,
        Hosted(take()) as hosted,
        Client(hosted.port) as client,
    ):
        client.send(post("/", b"hello", close=False))
        client.until(b"half")
        reset.set()
        with pytest.raises(ConnectionResetError):
            client.read(1)


def test_close_ends_everything_that_streams(app: App) -> None:
    with Hosted(app.open) as hosted:
        clients = [Client(hosted.port) for _ in range(100)]
        for client in clients:
            client.send(ask("GET /wait?first=1"))
        for client in clients:
            client.until(b"first")
        assert len(hosted.proxy._connections) == 100
        hosted.run(hosted.close())
        assert not hosted.proxy._connections
        for client in clients:
            client.rest()
            client.socket.close()
    until(lambda: counts(app.port)[0] == 0, "the app knows")
