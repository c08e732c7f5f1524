"""How the app is reached: through the proxy, an inherited socket, its own port; and what is said when it is not."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from goreload_tasks.gateway.front import allowed
from goreload_tasks.gateway.listener import FILES, SPARED
from tests.driver import BIN, DEADLINE, MAIN, Driver, answer, free_port, get, server, status, until, write
from tests.gateway.hosting import Client
from tests.gateway.test_transparent import http_2

INHERITED = MAIN.replace(
    'net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))', 'net.FileListener(os.NewFile(3, "inherited"))'
).replace(
    "func main() {",
    """func main() {
	if os.Getenv("LISTEN_FDS") != "1" || os.Getenv("LISTEN_PID") != fmt.Sprint(os.Getpid()) { // as sd_listen_fds(3)
		panic("no socket for this process")
	}""",
)


def test_request_made_before_the_first_build_is_done_is_answered_by_it(project: Path, driver: Driver) -> None:
    server(project)
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    until(lambda: reached(port), "a port that accepts")
    assert status(port) == (200, "one")
    dev.line(rf"start -> built .* up .* -> http://localhost:{port}$")


def reached(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_gate_says_what_is_wrong_and_is_open_again_when_it_is_mended(project: Path, driver: Driver) -> None:
    server(project)
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_EDITOR": "idea://open?file={path}&line={line}"}
    dev = driver.start(project, "dev", env=env)
    dev.url()
    (project / "answer.go").write_text(answer("two").replace("return", "retrun"))
    code, text = status(port)
    assert code == 503
    assert "answer.go:3:" in text
    code, text = status(port, accept="text/html")
    assert code == 503
    assert "<h1>It does not compile</h1>" in text
    assert f'href="idea://open?file={project}/answer.go&amp;line=3"' in text
    code, text = status(port, accept="application/json")
    assert code == 503
    assert json.loads(text)["problems"][0]["source"][2]["text"].startswith("func Answer() string { retrun")
    (project / "answer.go").write_text(answer("two"))
    assert status(port) == (200, "two")
    write(project, {"crash.go": 'package main\n\nfunc init() { panic("on purpose") }\n'})
    code, text = status(port)
    assert code == 503
    assert text.startswith("panic: on purpose\n")
    dev.line(r"panic: on purpose \(crash.go:3\)")
    (project / "crash.go").unlink()
    assert status(port) == (200, "two")


READY = MAIN.replace(
    'http.HandleFunc("/",',
    """http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat("ready"); err != nil {
			w.WriteHeader(503)
		}
	})
	http.HandleFunc("/",""",
)
"""Is ready when there is a file of that name."""


def test_more_clients_than_the_tool_may_open_files_wait_and_are_answered(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"main.go": READY})
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_READY": "/healthz"}
    limited = ["-c", 'ulimit -n 160; exec "$0" dev', str(BIN / "invoke")]
    dev = driver.start(project, *limited, program="/bin/sh", env=env)
    dev.line("serving with")
    clients = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(200)]
    for one in clients:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    write(project, {"ready": ""})
    for one in clients:
        with one:
            data = b""
            while block := one.recv(4096):
                data += block
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert data.endswith(b"one")
    write(project, {"answer.go": answer("two")})
    assert status(port) == (200, "two")
    assert "Too many open files" not in dev.text


def test_the_limit_of_open_files_is_raised_for_those_who_wait() -> None:
    code = (
        "from resource import *; from goreload_tasks.gateway.listener import room;"
        "hard = getrlimit(RLIMIT_NOFILE)[1]; setrlimit(RLIMIT_NOFILE, (200, hard)); print(hard, room())"
    )
    hard, most = map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split())
    assert most == (min(FILES, hard if hard >= 0 else FILES) - SPARED) // 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_browser_is_opened_once_and_not_waited_for(project: Path, driver: Driver, elsewhere: bool) -> None:
    server(project)
    stays = "while [ -e opened ] && [ ! -e closed ]; do sleep 0.05; done"
    write(project, {"browser": f"#!/bin/sh\necho opened $1 >> opened\n{stays}\n"})
    (project / "browser").chmod(0o755)
    if elsewhere:
        write(project, {"main.go": MAIN.replace('"127.0.0.1:"+os.Getenv("PORT")', f'"127.0.0.1:{free_port()}"')})
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_OPEN": "true", "BROWSER": f"{project}/browser %s"}
    dev = driver.start(project, "dev", env=env)
    until((project / "opened").exists, "a browser")
    write(project, {"answer.go": answer("two")})
    assert status(port) == (200, "two")
    dev.line(r"answer.go -> built .* up")
    write(project, {"answer.go": answer("three")})
    assert status(port) == (200, "three")  # what would have opened it again has done so by now
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(DEADLINE) == 130  # and the browser is still there
    assert (project / "opened").read_text() == f"opened http://localhost:{port}\n"
    write(project, {"closed": ""})


def test_foreign_name_in_the_host_header_is_refused(project: Path, driver: Driver) -> None:
    server(project)
    port = free_port()
    dev = driver.start(
        project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_ALLOWED_HOSTS": "app.test"}
    )
    dev.url()
    assert status(port, host="evil.example")[0] == 403
    assert status(port, host="app.test")[0] == 200
    assert status(port, "/.goreload/client.js", host="evil.example")[0] == 403
    assert status(port, "/.goreload/client.js")[0] == 200
    if f"{1:032}" in Path("/proc/net/if_inet6").read_text():  # not every container has ::1
        with socket.create_connection(("::1", port)) as six:
            six.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert six.recv(12) == b"HTTP/1.0 200"


def test_much_passes_the_tool_in_constant_memory(project: Path, driver: Driver) -> None:
    server(project)
    took = """if n, _ := io.Copy(io.Discard, r.Body); n > 0 {
			fmt.Fprint(w, n)
			return
		}
		for range 200 {
			w.Write(make([]byte, 1_000_000))
		}"""
    write(project, {"main.go": MAIN.replace("fmt.Fprint(w, Answer())", took).replace("(\n", '(\n\t"io"\n', 1)})
    port, size, block = free_port(), 200_000_000, bytes(1_000_000)
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"POST / HTTP/1.0\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // len(block)):
            client.sendall(block)
        assert client.makefile("rb").read().endswith(f"{size}".encode())
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = 0
        while part := client.recv(1_000_000):
            got += len(part)
        assert got > size
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{dev.process.pid}/status").read_text())
    assert peak
    assert int(peak[1]) * 1024 < 60_000_000


@pytest.mark.parametrize(
    ("host", "listed", "bound", "fine"),
    [
        ("localhost", (), (), True),
        ("localhost:8080", (), (), True),
        ("LOCALHOST:1", (), (), True),
        ("app.localhost", (), (), True),
        ("127.0.0.1:80", (), (), True),
        ("[::1]:80", (), (), True),
        ("[::1]", (), (), True),
        ("localhost.evil.example", (), (), False),
        ("127.0.0.1.evil.example", (), (), False),
        ("192.168.1.5", (), ("127.0.0.1",), False),
        ("192.168.1.5:80", (), ("192.168.1.5",), True),
        ("192.168.1.5", (), ("0.0.0.0",), True),
        ("evil.example", (), ("0.0.0.0",), False),
        ("box.test", ("box.test",), (), True),
        ("a.box.test:1", (".box.test",), (), True),
        ("abox.test", (".box.test",), (), False),
        ("anything", ("*",), (), True),
        ("", (), (), True),
        ("localhost.", (), (), True),
    ],
)
def test_which_hosts_are_ours(host: str, listed: tuple[str, ...], bound: tuple[str, ...], fine: bool) -> None:
    assert allowed(host, listed, bound) is fine


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MODE", "proxy", 'mode = "proxy" (GORELOAD_SERVE_MODE): expected serve.port beside it'),
        ("MODE", "socket", 'mode = "socket" (GORELOAD_SERVE_MODE): expected serve.port beside it'),
        ("OVERLAP", "true", "overlap = True (GORELOAD_SERVE_OVERLAP): expected serve.mode: proxy"),
    ],
)
def test_settings_that_do_not_fit_together_are_one_line(
    project: Path, driver: Driver, name: str, value: str, complaint: str
) -> None:
    server(project)
    refused = driver.run(project, "dev", env={f"GORELOAD_SERVE_{name}": value})
    assert refused.returncode == 2
    assert complaint in refused.stderr
    assert refused.stderr.count("\n") == 1


HTTP_2 = INHERITED.replace(
    "http.Serve(listener, nil)",
    """protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	(&http.Server{Protocols: protocols}).Serve(listener)""",
).replace("fmt.Fprint(w, Answer())", 'fmt.Fprint(w, r.Proto, " ", Answer())')


def test_inherited_socket_takes_http_2(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"main.go": HTTP_2, "go.mod": "module example.com/app\n\ngo 1.24\n"})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_MODE": "socket"})
    for text in ("one", "two"):
        write(project, {"answer.go": answer(text)})
        dev.line(r"up .* ->|same binary, kept")
        with Client(port) as client:
            assert http_2(client) == f"HTTP/2.0 {text}".encode()


def test_inherited_socket_refuses_nobody_during_a_swap(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"main.go": INHERITED})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_MODE": "socket"})
    assert dev.url() == f"http://localhost:{port}"
    refused: list[OSError] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                socket.create_connection(("127.0.0.1", port), 30).close()
            except OSError as error:
                refused.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(5):
        (project / "answer.go").write_text(answer(f"swap {number}"))
        dev.line(r"answer.go -> built .* up")
        assert get(f"http://127.0.0.1:{port}") == f"swap {number}"
    over.set()
    asking.join()
    assert not refused
    assert dev.stop() == 130
    assert not reached(port)


def test_app_that_is_not_ready_is_reported_with_its_output_and_requests_wait_no_longer_than_the_hold(
    project: Path, driver: Driver
) -> None:
    server(project)
    port = free_port()
    env = {"GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_READY": "/healthz", "GORELOAD_SERVE_HOLD": "1s"}
    write(project, {"main.go": MAIN.replace('http.HandleFunc("/",', 'http.HandleFunc("/{$}",')})
    dev = driver.start(project, "dev", env=env)
    dev.line(r"\| serving with")
    dev.line("not ready after 10 s: waiting for the app to answer GET /healthz with 2xx")
    code, text = status(port)
    assert code == 503
    assert "Still waiting for the app to answer GET /healthz with 2xx" in text
    health = 'http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})\n\thttp.Serve'
    write(project, {"main.go": MAIN.replace("http.Serve", health)})
    dev.line(r"main.go -> built .* up")
    assert status(port) == (200, "one")


def test_app_that_listens_late_is_asked_whether_it_is_ready_in_direct_mode_too(project: Path, driver: Driver) -> None:
    server(project)
    late = """for _, err := os.Stat("go on"); err != nil; _, err = os.Stat("go on") {
		time.Sleep(10 * time.Millisecond)
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat("well"); err != nil {
			w.WriteHeader(503)
		}
	})
	listener, err"""
    write(project, {"main.go": MAIN.replace("listener, err", late, 1).replace('"os"\n', '"os"\n\t"time"\n')})
    port = free_port()
    env = {"GORELOAD_SERVE_MODE": "direct", "GORELOAD_SERVE_PORT": str(port), "GORELOAD_SERVE_READY": "/healthz"}
    dev = driver.start(project, "dev", env={**env, "PORT": str(port)})
    dev.line("not ready after 10 s")  # long after it is given up where nobody wants to know
    write(project, {"go on": ""})
    until(lambda: reached(port), "it listens")
    assert " up " not in dev.text
    write(project, {"well": ""})
    dev.line(rf"start -> built .* up .*:{port}")


def test_app_on_ipv6_only_is_served(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"main.go": MAIN.replace('"tcp", "127.0.0.1:"', '"tcp6", ":"')})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    assert status(port) == (200, "one")


def test_rule_that_failed_runs_again_when_the_person_asks(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"invoke.yaml": 'goreload: {rules: [{name: flag, files: [x.txt], run: "ls flag"}]}\n', "x.txt": "1"})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    dev.url()
    write(project, {"x.txt": "2"})
    dev.line("rule flag: exit code 2")
    assert status(port)[0] == 503
    write(project, {"flag": "", "x.txt": "3"})
    dev.line("rule flag [0-9]+ ms")
    assert status(port) == (200, "one")
