"""Drives the tool as a person does: starts it, reads its lines, saves files, asks the server."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE = 60.0
"""Seconds after which a wait has failed; a loaded machine is slow, so it is far above what anything takes."""

BIN = Path(sys.executable).parent

MAIN = """package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, Answer()) })
	fmt.Println("serving with", os.Args[1:])
	http.Serve(listener, nil)
}
"""


def answer(text: str) -> str:
    """The source of the file that decides what the small server answers."""
    return f'package main\n\nfunc Answer() string {{ return "{text}" }}\n'


def write(folder: Path, files: dict[str, str]) -> None:
    """Put files into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def server(folder: Path, tasks: bool = True, **files: str) -> None:
    """A small net/http server as a project, with the tasks.py of a new user."""
    write(
        folder, {"go.mod": "module example.com/app\n\ngo 1.23\n", "main.go": MAIN, "answer.go": answer("one"), **files}
    )
    if tasks:
        write(folder, {"tasks.py": "from goreload_tasks import ns  # noqa: F401\n"})


def free_port() -> int:
    """A port that nobody listens on; below those that the kernel gives to clients, one of which could take it first."""
    try:
        least = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        least = 32768
    while True:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", random.randrange(10_000, max(least, 20_000))))
            return int(one.getsockname()[1])


def until(true: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Wait for a condition; fails with `what` it was."""
    end = time.monotonic() + deadline
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.01)


class Task:
    """A task under way as a process; its output is read all the time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._output = b""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        rest = b""
        while block := os.read(self.process.stdout.fileno(), 64 * 1024):
            self._output += block
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)

    def line(self, pattern: str, deadline: float = DEADLINE) -> re.Match[str]:
        """The next line that a pattern is found in; lines before it are gone."""
        end = time.monotonic() + deadline
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {pattern!r}; there was:\n{self.text}") from None
            if line is None:
                raise AssertionError(f"ended without a line with {pattern!r}; there was:\n{self.text}")
            if found := re.search(pattern, line):
                return found

    @property
    def text(self) -> str:
        """All it has printed, an unfinished line too."""
        return self._output.decode(errors="replace")

    def reload(self) -> str:
        """The next reload's line."""
        return self.line(r"-> .* -> http://localhost:\d+|kept").string

    def url(self) -> str:
        """Where the app serves, from the next line that says so."""
        return self.line(r"(http://localhost:\d+)").group(1)

    def wait(self, deadline: float = DEADLINE) -> int:
        """The exit code, all output read."""
        code = self.process.wait(deadline)
        self._reader.join(deadline)
        return code

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does."""
        self.process.send_signal(how)
        return self.wait()


class Driver:
    """Starts tasks; ends what is left of them when the test is over."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            if task.process.poll() is None:
                task.process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    task.process.wait(10)
            if task.process.poll() is None:
                task.process.kill()
                task.process.wait()
            if error:
                sys.stderr.write(f"\n--- {task.process.args!r}\n{task.text}")
            if task.process.stdin:
                task.process.stdin.close()
            if task.process.stdout:
                task._reader.join(10)
                task.process.stdout.close()

    def start(self, folder: Path, *words: str, program: str = "invoke", env: dict[str, str] | None = None) -> Task:
        """Start `invoke WORDS` (or another program of the environment) in a folder."""
        task = Task(
            subprocess.Popen(
                [str(BIN / program), *words],
                cwd=folder,
                env={**os.environ, "PORT": "0", **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        self._tasks.append(task)
        return task

    def run(
        self, folder: Path, *words: str, program: str = "invoke", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a task to its end: exit code, stdout, stderr apart."""
        return subprocess.run(
            [str(BIN / program), *words],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )


def get(url: str, path: str = "/") -> str:
    """What the server answers; empty while it does not."""
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def status(port: int, path: str = "/", host: str = "localhost", accept: str = "*/*") -> tuple[int, str]:
    """The status and the body of one answer; 0: the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while block := one.recv(65536):
                data += block
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


def answers(url: str, text: str) -> None:
    """Wait until the server answers this."""
    until(lambda: get(url) == text, f"the answer {text}")


class Builds:
    """A `go` first in PATH, in what looks like a Go distribution, that writes down each build with its priority.

    Args:
        folder: to make it in.
        held: those that run at rest wait until this file is gone.
        lie: these words are added to the build that proves a direct one.
    """

    def __init__(self, folder: Path, held: Path | None = None, lie: str = "") -> None:
        go = shutil.which("go")
        root = Path(subprocess.check_output(["go", "env", "GOROOT"], text=True).strip())
        shim = folder / "goroot" / "bin"
        write(folder / "goroot", {name: (root / name).read_text() for name in ("VERSION", "go.env")})
        self._log = folder / "builds"
        self._log.touch()
        wait = f'[ "$(nice)" = 19 ] && while [ -e {held} ]; do sleep 0.05; done' if held else ""
        count = f'[ "$1" = build ] && echo "$(nice)" "$@" >> {self._log}'
        add = f'case "$*" in "build "*" -p=1 "*) shift; set -- build {lie} "$@";; esac' if lie else ""
        write(shim, {"go": f'#!/bin/sh\n{count}\n{wait}\n{add}\nexec {go} "$@"\n'})
        (shim / "go").chmod(0o755)
        self.env = {"PATH": f"{shim}:{os.environ['PATH']}"}

    def _all(self, idle: bool) -> list[list[str]]:
        lines = (line.split() for line in self._log.read_text().splitlines())
        return [words for nice, *words in lines if (int(nice) > os.nice(0)) == idle]

    @property
    def wanted(self) -> list[list[str]]:
        """Those that a person waits for."""
        return self._all(idle=False)

    @property
    def idle(self) -> list[list[str]]:
        """Those that run at rest, at the lowest priority."""
        return self._all(idle=True)


def alive(words: Sequence[str]) -> list[int]:
    """The processes whose command line holds all of these words."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if process.info["status"] != psutil.STATUS_ZOMBIE and all(word in line for word in words):
            found.append(process.pid)
    return found
