"""However it ends, and whoever runs it: nobody is left, no port is taken, and nothing of it is called our mistake."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.driver import BIN, DEADLINE, Driver, alive, answer, answers, free_port, get, server, until, write

INVOKE = str(BIN / "invoke")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of it on Linux alone")

BUSY = 'go func() { for { fmt.Println("a line that nobody reads") } }()\n\thttp.Serve'
"""A program that never stops printing."""


def free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


class Shell:
    """`dev` as somebody else runs it; its app is reached on one port."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, line: str, **options: object) -> subprocess.Popen[bytes]:
        """Run a line of shell; `dev` in it is ours."""
        env = {**os.environ, "PORT": str(self.port), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.process = subprocess.Popen(
            ["sh", "-c", re.sub(r"\bDEV\b", f"{shlex.quote(INVOKE)} dev", line)],
            cwd=self.project,
            env=env,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **options},  # type: ignore[call-overload]
        )
        until(lambda: bool(get(self.url)) or self.ended, "an answer")
        return self.process

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def tools(self) -> list[int]:
        found = []
        for pid in alive([INVOKE]):
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).cwd() == str(self.project):
                    found.append(pid)
        return found

    def left(self) -> list[int]:
        return [*alive([str(self.project), ".goreload"]), *self.tools]

    def nothing_is_left(self) -> None:
        until(lambda: not self.left() and free(self.port), f"the end of {self.left()}")


@pytest.fixture
def shell(project: Path) -> Iterator[Shell]:
    made = Shell(project)
    yield made
    if made.process:
        if made.process.poll() is None:
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait(DEADLINE)
        if made.process.stdout:
            made.process.stdout.close()
    made.nothing_is_left()


def only(pids: list[int]) -> int:
    [pid] = pids
    return pid


# Whoever reads it, or does not.


@LINUX
@pytest.mark.parametrize("reader", ["head -1", "(read line; exec <&-)"])
def test_end_of_who_reads_it_is_its_end_without_another_line(shell: Shell, reader: str) -> None:
    server(shell.project)
    process = shell.run(f"(DEV; echo code $?) 2>err | {reader} >/dev/null; cat err", stdout=subprocess.PIPE)
    assert process.wait(DEADLINE) == 0
    shell.nothing_is_left()
    assert process.stdout
    assert "mistake" not in process.stdout.read().decode()


def test_signal_ends_it_while_nobody_reads_what_it_prints(shell: Shell) -> None:
    server(shell.project)
    main = shell.project / "main.go"
    main.write_text(main.read_text().replace("http.Serve", BUSY))
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = shell.run("exec DEV", stdout=subprocess.PIPE)
        until(lambda: len(shell.tools) == 1 and sleeps(shell.tools[0]), "a full pipe")  # two: a child before its exec
        process.send_signal(how)
        assert process.wait(DEADLINE) == 128 + how
        assert process.stdout
        process.stdout.close()
        shell.nothing_is_left()


def test_mistake_of_ours_ends_it_as_anything_else_does(shell: Shell) -> None:
    server(shell.project)
    program = "import runpy; from goreload_tasks.report import Report; Report.noticed = None; "
    program += "runpy.run_module('goreload_tasks.program', run_name='__main__')"
    process = shell.run(f"exec {sys.executable} -c {shlex.quote(program)} dev 2>err")
    (shell.project / "answer.go").write_text(answer("two"))
    assert process.wait(DEADLINE) == 1
    assert (shell.project / "err").read_text().startswith("goreload: a mistake of ours: TypeError: ")
    shell.nothing_is_left()


def sleeps(pid: int) -> bool:
    """Has it stopped doing anything but ask whether it may write: some looks at it give the same count of reads?"""

    def reads() -> int:
        return int(re.findall(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[0])

    before = reads()
    with contextlib.suppress(AssertionError):
        until(lambda: reads() != before, "", 0.5)
        return False
    return True


def test_output_that_cannot_be_written_is_lost_and_nothing_else(shell: Shell) -> None:
    server(shell.project)
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    process = shell.run("exec DEV >/dev/full 2>err")
    (shell.project / "answer.go").write_text(answer("two"))
    answers(shell.url, "two")
    process.terminate()
    assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    assert (shell.project / "err").read_text() == ""


def test_it_works_without_any_of_the_three_streams(shell: Shell) -> None:
    server(shell.project)
    process = shell.run("exec DEV <&- >&- 2>&-")
    (shell.project / "answer.go").write_text(answer("two"))
    answers(shell.url, "two")
    process.terminate()
    assert process.wait(DEADLINE) == 128 + signal.SIGTERM


# Whoever runs it.

OUTER = """from invoke.tasks import task
from goreload_tasks import dev

@task
def outer(c):
    c.run("invoke dev", pty=PTY)
"""


@LINUX
@pytest.mark.parametrize("pty", [False, True])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_end_of_a_task_that_runs_it_is_its_end(shell: Shell, pty: bool, how: signal.Signals) -> None:
    server(shell.project)
    write(shell.project, {"tasks.py": OUTER.replace("PTY", str(pty))})
    process = shell.run("exec invoke outer", stdout=subprocess.PIPE)
    process.send_signal(how)
    process.wait(DEADLINE)
    shell.nothing_is_left()


def test_ctrl_c_ends_it_under_make_a_script_and_another_task(shell: Shell) -> None:
    server(shell.project)
    write(shell.project, {"tasks.py": OUTER.replace("PTY", "False"), "dev.sh": f"{INVOKE} dev & wait\n"})
    write(shell.project, {"Makefile": f"dev:\n\t{INVOKE} dev\n"})
    for line in ("exec invoke outer", "sh dev.sh", *(["exec make dev"] if shutil.which("make") else [])):
        process = shell.run(line, stdout=subprocess.PIPE)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(DEADLINE)
        shell.nothing_is_left()
        assert process.stdout
        process.stdout.close()


def test_nohup_is_respected(shell: Shell) -> None:
    server(shell.project)
    process = shell.run("exec nohup DEV >/dev/null 2>&1")
    process.send_signal(signal.SIGHUP)
    (shell.project / "answer.go").write_text(answer("two"))
    answers(shell.url, "two")
    process.terminate()
    assert process.wait(DEADLINE) == 128 + signal.SIGTERM


# kill -9.


@pytest.fixture
def nap() -> str:
    """Seconds for which nobody else sleeps."""
    return f"98765.{free_port()}"


def sleeping_go(project: Path, what: str, nap: str) -> dict[str, str]:
    """A go command that hangs in one of its commands."""
    shim = project.parent / "shim"
    write(shim, {"go": f'#!/bin/sh\n[ "$1" = {what} ] && exec sleep {nap}\nexec {shutil.which("go")} "$@"\n'})
    (shim / "go").chmod(0o755)
    return {"PATH": f"{shim}:{os.environ['PATH']}"}


@pytest.mark.parametrize("words", ["dev list", "build list", "build build", "run build", "watch build", "why list"])
def test_kill_9_of_any_task_takes_the_go_command_with_it(project: Path, driver: Driver, words: str, nap: str) -> None:
    server(project)
    task, what = words.split()
    more = ["main.go"] if task == "why" else []
    tool = driver.start(project, task, *more, env=sleeping_go(project, what, nap))
    until(lambda: bool(alive(["sleep", nap])), "a go command")
    tool.process.kill()
    until(lambda: not alive(["sleep", nap]), "its end")


def test_kill_9_of_run_takes_the_program_with_it(project: Path, driver: Driver, nap: str) -> None:
    server(project)
    port = free_port()
    main = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    start = f'func main() {{\n\texec.Command("setsid", "sleep", "{nap}").Start()'
    (project / "main.go").write_text(main.replace("func main() {", start))
    tool = driver.start(project, "run", env={"PORT": str(port)})
    answers(f"http://127.0.0.1:{port}", "one")
    until(lambda: bool(alive(["sleep", nap])), "its child")
    tool.process.kill()
    until(lambda: not alive([str(project), ".goreload"]) and not alive(["sleep", nap]) and free(port), "the end")


# Commands that ignore it.

DEAF = "trap '' TERM INT HUP QUIT\necho $$ >> ../began\nwhile :; do sleep 0.05; done\n"


def began(project: Path) -> list[int]:
    """The runs of that command so far."""
    log = project.parent / "began"
    return [int(pid) for pid in log.read_text().split()] if log.exists() else []


def test_command_that_ignores_its_end_is_ended_for_the_next_run_and_by_ctrl_c(project: Path, driver: Driver) -> None:
    write(project, {"tasks.py": "from goreload_tasks import ns  # noqa: F401\n", "deaf.sh": DEAF})
    watch = driver.start(project, "watch", "--run", "sh deaf.sh")
    until(lambda: len(began(project)) == 1, "the first run")
    write(project, {"x.txt": "1"})
    until(lambda: len(began(project)) == 2, "the second run")
    assert [pid for pid in began(project) if psutil.pid_exists(pid)] == began(project)[1:]
    assert watch.stop() == 130
    assert not [pid for pid in began(project) if psutil.pid_exists(pid)]


def test_rule_runs_its_command_once_at_a_time_even_where_it_ignores_its_end(project: Path, driver: Driver) -> None:
    server(project)
    rule = "{name: deaf, files: ['*.sql'], run: sh deaf.sh, then: nothing}"
    write(project, {"deaf.sh": DEAF, "a.sql": "", "invoke.yaml": f"goreload: {{rules: [{rule}]}}\n"})
    dev = driver.start(project, "dev")
    dev.url()
    for number in (1, 2, 3):
        write(project, {"a.sql": str(number)})
        until(lambda number=number: len(began(project)) == number, f"run {number}")  # type: ignore[misc]
        assert [pid for pid in began(project) if psutil.pid_exists(pid)] == began(project)[-1:]
    assert dev.stop() == 130
    assert not [pid for pid in began(project) if psutil.pid_exists(pid)]


def test_rule_whose_command_is_gone_is_told_and_the_session_goes_on(project: Path, driver: Driver) -> None:
    server(project)
    make = project / "make.sh"
    rule = f"{{name: make, files: ['*.sql'], run: {make}, then: nothing}}"
    write(project, {"make.sh": "#!/bin/sh\n", "a.sql": "", "invoke.yaml": f"goreload: {{rules: [{rule}]}}\n"})
    make.chmod(0o755)
    dev = driver.start(project, "dev")
    dev.url()
    make.rename(project / "away.sh")
    write(project, {"a.sql": "1"})
    dev.line("cannot start .*make.sh in .*: No such file or directory")
    (project / "away.sh").rename(make)
    write(project, {"a.sql": "2"})
    dev.line(r"a.sql -> rule make \d+ ms")


@LINUX
def test_who_may_not_be_signalled_is_named_and_nothing_waits_for_it(project: Path, driver: Driver, nap: str) -> None:
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can make a process that it may not signal, by giving up the right to")
    server(project)
    port = free_port()
    main = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    other = f'"setpriv", "--reuid=65534", "--clear-groups", "sleep", "{nap}"'
    (project / "main.go").write_text(main.replace("func main() {", f"func main() {{\n\texec.Command({other}).Start()"))
    write(project, {"invoke.yaml": f"goreload: {{serve: {{port: {port}}}, stop: {{grace: 100ms}}}}\n"})
    less = ["--bounding-set=-kill", "--inh-caps=-kill"]
    dev = driver.start(project, *less, INVOKE, "dev", program=shutil.which("setpriv") or "")
    try:
        url = dev.url()
        until(lambda: bool(alive(["sleep", nap])), "the other user's")
        (project / "answer.go").write_text(answer("two"))
        dev.line(rf"pid {only(alive(['sleep', nap]))} of the app cannot be ended .* `kill -9 \d+`")
        answers(url.replace("localhost", "127.0.0.1"), "two")
        assert dev.stop() == 130
    finally:
        for pid in alive(["sleep", nap]):
            os.kill(pid, signal.SIGKILL)
