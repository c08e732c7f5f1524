"""Connections passed on whole: never to an old app, and untouched."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from goreload_tasks.gateway import passage
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open, State
from tests.driver import DEADLINE, free_port, until
from tests.gateway.hosting import App, Client, Hosted, build

BUILD = Held("the build")
LAUNCH = b"GET /launch HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("app"))


def talked(client: Client) -> None:
    """The first app has answered on this connection."""
    client.send(LAUNCH)
    assert client.answer() == (200, b"1")


def test_bytes_go_both_ways_as_they_are_until_both_sides_ended() -> None:
    sent, back = os.urandom(3_000_000), os.urandom(2_000_000)
    with socket.create_server(("127.0.0.1", 0)) as app:
        got: list[bytes] = []

        def speak() -> None:
            one, _ = app.accept()
            with one:
                one.sendall(b"first")  # who serves may speak first
                data = b""
                while block := one.recv(65536):
                    data += block
                got.append(data)
                one.sendall(back)

        speaking = threading.Thread(target=speak)
        speaking.start()
        with Hosted(Open(1, "127.0.0.1", app.getsockname()[1]), whole=True) as hosted, Client(hosted.port) as client:
            assert client.read(5) == b"first"
            client.send(sent)
            client.half_close()
            assert hashlib.sha256(client.rest()).digest() == hashlib.sha256(back).digest()
        speaking.join()
    assert got == [sent]


def test_connection_on_which_nothing_was_said_goes_to_the_next_app(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open, whole=True) as hosted, Client(hosted.port) as client:
        hosted.show(BUILD)
        client.send(LAUNCH)
        assert not client.answers()
        with App(binary, 2) as two:
            hosted.show(two.open)
            assert client.answer() == (200, b"2")


def test_what_is_said_after_a_save_never_reaches_the_old_app(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open, whole=True) as hosted, Client(hosted.port) as client:
        talked(client)
        hosted.show(BUILD)
        client.send(LAUNCH)
        with App(binary, 2) as two:
            hosted.show(two.open)
            assert client.rest() == b""


def test_connection_goes_on_where_nothing_came_of_the_save(binary: Path) -> None:
    with App(binary, 1) as one, Hosted(one.open, whole=True) as hosted, Client(hosted.port) as client:
        talked(client)
        hosted.show(BUILD)
        client.send(LAUNCH)
        assert not client.answers()
        hosted.show(one.open)
        assert client.answer() == (200, b"1")


def test_client_that_leaves_while_it_waits_is_forgotten(binary: Path) -> None:
    with Hosted(BUILD, whole=True) as hosted, App(binary, 1) as one:
        with Client(hosted.port):
            until(lambda: hosted.gate.waiting == 1, "it waits")
        until(lambda: hosted.gate.waiting == 0, "it is forgotten")
        hosted.show(one.open)


def test_what_was_said_before_is_answered_whatever_else_the_client_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage, "LAST", DEADLINE)
    with (
        socket.create_server(("127.0.0.1", 0)) as app,
        Hosted(Open(1, "127.0.0.1", app.getsockname()[1]), whole=True) as hosted,
        Client(hosted.port) as client,
    ):
        client.send(b"a question")
        with app.accept()[0] as one:
            assert one.recv(100) == b"a question"
            hosted.show(BUILD)
            hosted.cut(1)
            client.send(b"a ping")
            one.sendall(b"an answer")
            assert client.read(9) == b"an answer"
            one.settimeout(0)
            with pytest.raises(BlockingIOError):
                one.recv(1)


def test_connection_waits_for_the_app_that_comes(binary: Path) -> None:
    with Hosted(BUILD, whole=True) as hosted, Client(hosted.port) as client, App(binary, 1) as one:
        client.send(LAUNCH)
        hosted.show(one.open)
        assert client.answer() == (200, b"1")


def test_connection_to_an_app_that_is_dead_goes_to_its_successor(binary: Path) -> None:
    dead = Open(1, "127.0.0.1", free_port())
    with App(binary, 2) as two, Hosted(dead, whole=True) as hosted, Client(hosted.port) as client:
        client.send(LAUNCH)
        hosted.show(two.open)
        assert client.answer() == (200, b"2")


def test_question_that_ends_at_once_is_answered_by_the_successor_too(binary: Path) -> None:
    dead = Open(1, "127.0.0.1", free_port())
    with App(binary, 2) as two, Hosted(dead, whole=True) as hosted, Client(hosted.port) as client:
        client.send(LAUNCH)
        client.half_close()
        hosted.show(two.open)
        assert client.answer() == (200, b"2")


def test_swap_does_not_wait_for_what_the_old_app_will_not_get(binary: Path) -> None:
    upload = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello"
    with App(binary, 1) as one, Hosted(one.open, whole=True) as hosted, Client(hosted.port) as client:
        talked(client)
        client.send(upload)
        hosted.show(BUILD)
        client.send(b"world")
        until(lambda: hosted.gate.waiting == 1, "it is held")
        hosted.cut(1)
        assert client.rest() == b""


def test_swap_does_not_wait_for_the_rest_of_an_upload_that_comes_later(binary: Path) -> None:
    upload = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello"
    with App(binary, 1) as one, Hosted(one.open, 10 * DEADLINE, True) as hosted, Client(hosted.port) as client:
        talked(client)
        client.send(upload)
        hosted.show(BUILD)
        hosted.cut(1)
        client.send(b"world")
        assert client.rest() == b""


def test_answer_under_way_comes_whole_though_the_client_spoke_before_the_old_app_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passage, "LAST", DEADLINE)
    with (
        socket.create_server(("127.0.0.1", 0)) as app,
        Hosted(Open(1, "127.0.0.1", app.getsockname()[1]), whole=True) as hosted,
        Client(hosted.port) as client,
    ):
        client.send(b"a question")
        with app.accept()[0] as one:
            assert one.recv(100) == b"a question"
            hosted.show(BUILD)
            client.send(b"a ping")
            until(lambda: hosted.gate.waiting == 1, "it is held")
            hosted.cut(1)
            one.sendall(b"an answer")
            assert client.read(9) == b"an answer"


def test_app_that_ends_is_rid_of_connections_on_which_nothing_was_said(binary: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as app,
        Hosted(Open(1, "127.0.0.1", app.getsockname()[1]), whole=True) as hosted,
        Client(hosted.port) as client,
        app.accept()[0] as one,
    ):
        hosted.show(BUILD)
        hosted.cut(1)
        one.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""
        with App(binary, 2) as two:
            hosted.show(two.open)
            client.send(LAUNCH)
            assert client.answer() == (200, b"2")


@pytest.mark.parametrize("state", [Failed(()), Crashed("exit code 2")], ids=["failed", "crashed"])
def test_connection_is_closed_where_nothing_serves_it(state: State) -> None:
    with Hosted(state, whole=True) as hosted, Client(hosted.port) as client:
        client.send(LAUNCH)
        assert client.rest() == b""


def test_connection_waits_no_longer_than_the_hold() -> None:
    with Hosted(BUILD, hold=0.05, whole=True) as hosted, Client(hosted.port) as client:
        assert client.rest() == b""


def test_app_that_ends_a_connection_without_a_word_is_not_asked_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as app:
        accepted: list[int] = []

        def hang_up() -> None:
            while True:
                try:
                    app.accept()[0].close()
                except OSError:
                    return
                accepted.append(1)

        hanging = threading.Thread(target=hang_up)
        hanging.start()
        with Hosted(Open(1, "127.0.0.1", app.getsockname()[1]), whole=True) as hosted, Client(hosted.port) as client:
            assert client.rest() == b""
        app.shutdown(socket.SHUT_RDWR)
        hanging.join()
    assert accepted == [1]
