"""At a real terminal: keys, colours, Ctrl-C, and a terminal that is as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.driver import BIN, alive, answer, get, server, until, write


class Terminal:
    """A program in the foreground of a terminal of its own, and a person at its keys."""

    def __init__(self, folder: Path, words: list[str], env: dict[str, str]) -> None:
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(folder)
            path = os.environ["PATH"]
            os.execve(words[0], words, {"PATH": path, "HOME": os.environ["HOME"], "TERM": "xterm", "PORT": "0", **env})
        self.pid, self.fd, self.screen = pid, fd, ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while block := os.read(self.fd, 4096):
                self.screen += block.decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def sees(self, pattern: str, times: int = 1) -> None:
        until(
            lambda: len(re.findall(pattern, self.screen)) >= times, f"{pattern} {times} times; there is:\n{self.screen}"
        )

    def ends(self) -> int:
        """The exit code."""
        found: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                found.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        until(ended, f"the end; there is:\n{self.screen}")
        return found[0]


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for one in made:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(one.pid, signal.SIGHUP)  # as when the terminal goes: what it runs ends cleanly with it
            one.ends()
        os.close(one.fd)


def open_dev(terminals: list[Terminal], folder: Path, *words: str, **env: str) -> Terminal:
    terminals.append(Terminal(folder, [str(BIN / "invoke"), *words], env))
    return terminals[-1]


def test_keys_restart_rebuild_clear_help_and_quit(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    dev = open_dev(terminals, project, "dev")
    dev.sees(r"start.* -> .*built .*http://localhost:\d+")
    app = alive([str(project), ".goreload"])
    dev.press("h")
    dev.sees("r restart   b rebuild   c clear   q quit   h help")
    dev.press("r")
    dev.sees(r"\[restart\].*restarted")
    assert alive([str(project), ".goreload"]) != app
    dev.press("b")
    dev.sees(r"\[rebuild\].*same binary, kept")
    dev.press("c")
    dev.sees(re.escape("\x1b[2J"))
    dev.press("q")
    assert dev.ends() == 0
    assert not alive([str(project)])


def apps(project: Path) -> list[int]:
    """The programs of a project that run, and no build that has their name among its arguments."""
    found = []
    for pid in alive([str(project), ".goreload"]):
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).exe().startswith(str(project)):
                found.append(pid)
    return found


def test_keys_that_come_at_once_are_all_obeyed(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    dev = open_dev(terminals, project, "dev")
    dev.sees(r"start.* -> .*built .*http://localhost:\d+")
    for time, keys in enumerate(("rr", "rq"), 1):
        until(lambda: len(apps(project)) == 1, "the app")
        os.kill(apps(project)[0], signal.SIGKILL)
        dev.sees("the app ended by itself", time)
        dev.press(keys)
    assert dev.ends() == 0
    assert not alive([str(project)])


def test_ctrl_c_ends_at_once_and_the_terminal_is_as_before(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    dev = open_dev(terminals, project, "dev")
    before = termios.tcgetattr(dev.fd)
    dev.sees(r"http://localhost:\d+")
    assert termios.tcgetattr(dev.fd) != before
    dev.press("\x03")
    assert dev.ends() == 130
    assert termios.tcgetattr(dev.fd) == before
    assert not alive([str(project)])


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(
    project: Path, terminals: list[Terminal], env: dict[str, str], coloured: bool
) -> None:
    server(project)
    dev = open_dev(terminals, project, "dev", **env)
    dev.sees(r"http://localhost:\d+")
    assert ("\x1b[3" in dev.screen) == coloured


def test_app_finds_a_terminal_and_keeps_its_colours(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    source = (
        (project / "main.go")
        .read_text()
        .replace(
            'fmt.Println("serving with", os.Args[1:])',
            'info, _ := os.Stdout.Stat()\n\tfmt.Println("terminal", info.Mode()&os.ModeCharDevice != 0)',
        )
    )
    (project / "main.go").write_text(source)
    open_dev(terminals, project, "dev").sees("terminal true")


def test_long_build_shows_that_it_goes_on(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    # an empty cache makes the first build long, really
    dev = open_dev(terminals, project, "dev", GOCACHE=str(project.parent / "cache"), GOFLAGS="-p=1")
    dev.sees(r"building \d s")
    dev.press("\x03")
    assert dev.ends() == 130


def test_run_gives_the_terminal_to_the_app_and_takes_it_back(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    write(
        project,
        {
            "main.go": 'package main\n\nimport (\n\t"bufio"\n\t"fmt"\n\t"os"\n\t"os/signal"\n)\n\nfunc main() {\n'
            "\ttold := make(chan os.Signal, 2)\n\tsignal.Notify(told, os.Interrupt)\n"
            "\tline, _ := bufio.NewReader(os.Stdin).ReadString('\\n')\n\tfmt.Print(\"read \", line)\n"
            "\tfmt.Println(<-told, len(told))\n\tos.Exit(5)\n}\n",
            "answer.go": "package main\n",
        },
    )
    run = open_dev(terminals, project, "run")
    until(lambda: bool(alive([str(project), "/out/dev/app"])), "the app")
    run.press("hello\n")
    run.sees("read hello")
    run.press("\x03")
    run.sees("interrupt 0")
    assert run.ends() == 5


def test_ctrl_z_stops_run_and_its_app_and_both_go_on(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    shell = Terminal(project, ["/bin/bash", "--norc", "-i"], {"PS1": "$ "})
    terminals.append(shell)
    shell.press(f"{BIN / 'invoke'} run\n")
    shell.sees("serving with")
    app = alive([str(project), "out/dev"])[0]
    until(lambda: os.tcgetpgrp(shell.fd) == app, "the terminal in the hands of the app")
    shell.press("\x1a")
    shell.sees("Stopped")
    shell.press("echo free $((40+2))\n")
    shell.sees("free 42")
    shell.press("fg\n")
    until(lambda: os.tcgetpgrp(shell.fd) == app, "the terminal back in the hands of the app")
    shell.press("\x03")
    shell.press("echo code $?\n")
    shell.sees(r"code 130")
    until(lambda: not alive([str(project), "out/dev"]), "the end of the app")


def test_closed_terminal_ends_everything(project: Path, terminals: list[Terminal]) -> None:
    server(project)
    dev = open_dev(terminals, project, "dev")
    dev.sees(r"http://localhost:\d+")
    url = re.findall(r"http://localhost:\d+", dev.screen)[0]
    (project / "answer.go").write_text(answer("two"))
    until(lambda: get(url.replace("localhost", "127.0.0.1")) in ("", "two"), "the reload")
    terminals.remove(dev)
    os.close(dev.fd)
    dev.ends()
    until(lambda: not alive([str(project)]), "the end of all of it")
