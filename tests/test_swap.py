"""One program gives way to the next: requests are finished, and streams delay nothing."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.driver import DEADLINE, Driver, alive, answer, free_port, server, status, until, write

STREAMS = """package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	listener, _ := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, Answer()) })
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("slow begins")
		for _, err := os.Stat("finish"); err != nil; _, err = os.Stat("finish") {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprint(w, Answer())
	})
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\\n\\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	http.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		_, stream, _ := w.(http.Hijacker).Hijack()
		stream.WriteString("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n")
		stream.WriteString("Upgrade: talk\\r\\n\\r\\nhello")
		stream.Flush()
		stream.ReadByte()
	})
	http.Serve(listener, nil)
}
"""


def posted(port: int, path: str) -> str:
    """The answer to a POST, which is never sent twice."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("POST", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def opened(port: int) -> list[socket.socket]:
    """A hundred streams that would never end by themselves: events, and connections that were upgraded."""
    streams = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(100)]
    for number, one in enumerate(streams):
        path, more = ("events", "") if number % 2 else ("upgrade", "Connection: Upgrade\r\nUpgrade: talk\r\n")
        one.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    for one in streams:
        data = b""
        while b"hello" not in data:
            data += one.recv(4096)
    return streams


SHUTDOWN = """server := &http.Server{}
	go server.Serve(listener)
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	<-ctx.Done()
	server.Shutdown(context.Background())"""

GRACEFUL = (
    STREAMS.replace('"os"\n', '"os"\n\t"os/signal"\n\t"syscall"\n')
    .replace("(\n", '(\n\t"context"\n', 1)
    .replace("http.Serve(listener, nil)", SHUTDOWN)
)
"""It ends when its last stream has."""


@pytest.mark.parametrize("graceful", [False, True])
def test_swap_finishes_the_requests_of_the_old_app_and_no_stream_delays_it(
    project: Path, driver: Driver, graceful: bool
) -> None:
    server(project)
    write(project, {"main.go": GRACEFUL if graceful else STREAMS})
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_STOP_GRACE": "20s"}
    dev = driver.start(project, "dev", env=env)
    dev.url()
    streams = opened(port)
    slow: list[str] = []
    asking = threading.Thread(target=lambda: slow.append(posted(port, "/slow")))
    asking.start()
    dev.line("slow begins")
    (project / "answer.go").write_text(answer("two"))
    until((project / ".goreload" / "app" / "bin" / "2" / "app").exists, "a new binary")
    asking.join(1)  # a swap that does not wait has cut it off by then
    write(project, {"finish": ""})
    dev.line(r"answer.go -> built .* up .* ->", deadline=15)  # far below the grace, with 100 streams open
    asking.join()
    assert slow == ["one"]
    for one in streams:
        while one.recv(4096):
            pass  # each is told that it is over
        one.close()
    assert status(port) == (200, "two")


@pytest.mark.parametrize("graceful", [False, True])
def test_ctrl_c_ends_at_once_with_streams_open(project: Path, driver: Driver, graceful: bool) -> None:
    server(project)
    write(project, {"main.go": GRACEFUL if graceful else STREAMS})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "GORELOAD_STOP_GRACE": "30s"})
    dev.url()
    streams = opened(port)
    dev.process.send_signal(signal.SIGINT)
    assert dev.wait(6) == 130  # far below the grace
    for one in streams:
        one.close()
    assert not alive([str(project)])


def test_what_never_becomes_ready_leaves_the_old_program_to_its_streams(project: Path, driver: Driver) -> None:
    server(project)
    ready = 'http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})\n\thttp.Serve'
    write(project, {"main.go": STREAMS.replace("http.Serve", ready)})
    port = free_port()
    env = {"GORELOAD_SERVE_OVERLAP": "true", "GORELOAD_SERVE_READY": "/healthz", "GORELOAD_SERVE_HOLD": "1s"}
    dev = driver.start(project, "dev", env={**env, "GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    streams = opened(port)
    old = alive([str(project), "/bin/1/"])
    write(project, {"main.go": STREAMS.replace('HandleFunc("/",', 'HandleFunc("/{$}",'), "answer.go": answer("two")})
    dev.line("not ready after 10 s: waiting for the app to answer GET /healthz with 2xx")
    assert old
    assert alive([str(project), "/bin/1/"]) == old
    for one in streams:
        one.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is open, and nothing is said
            one.recv(1)
    assert status(port)[0] == 503
    write(project, {"main.go": STREAMS.replace("http.Serve", ready)})
    dev.line(r"-> built .* up")
    assert status(port) == (200, "two")
    for one in streams:
        one.close()


def test_save_while_the_program_starts_is_told_with_its_own_reload(project: Path, driver: Driver) -> None:
    server(project)
    waits = """func main() {
	fmt.Println("starting")
	for _, err := os.Stat("go"); err != nil; _, err = os.Stat("go") {
	}
"""
    main = (project / "main.go").read_text()
    write(project, {"main.go": main.replace("func main() {\n", waits), "go": ""})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    (project / "go").unlink()
    write(project, {"answer.go": answer("two")})
    dev.line("starting")
    write(project, {"extra.go": "package main\n"})
    until(lambda: bool(list(project.glob(".goreload/*/bin/3*"))), "the next build")
    write(project, {"go": ""})
    dev.line(r" answer.go -> built .* up")
    assert status(port) == (200, "two")
    dev.line(" extra.go -> built")
    (project / "go").unlink()
    write(project, {"answer.go": answer("three")})
    dev.line("starting")
    write(project, {"extra.go": "package main\n\nvar _ = 1\n"})  # this one never serves
    dev.line("starting")
    write(project, {"go": ""})
    dev.line(r" answer.go \+1 -> built .* up")
