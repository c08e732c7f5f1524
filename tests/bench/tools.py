"""Who is measured: the bare loop, goreload-tasks in its modes, and every other tool that is on PATH.

Each of the others is one entry in `PEERS` that says how its own README starts it. One that runs any command gets
`go build` and the binary, which is quicker than `go run`; all of them also watch the template.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.apps import App
from tests.bench.lab import CannotMeasureError, until
from tests.driver import BIN, free_port, get

LOOP = """app=; trap 'kill $app; exit' TERM INT
while {env} go build {flags} -o {out} . && {{ [ -z "$app" ] || {{ kill $app; wait $app; }}; }}; do
	{out} & app=$!; read again || exit
done"""
"""The loop without a tool: build, stop, start, wait for a line. It is told of a save, and so watches nothing."""

Start = Callable[[App], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Tool:
    """How one is started in the folder of an app. program: what must be on PATH. files: what it wants to find there.

    bring: how a person gets it. told: it waits for a line on stdin after each save.
    """

    name: str
    start: Start
    program: str = ""
    bring: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    files: Callable[[App], Mapping[str, str]] = lambda _: {}
    told: bool = False
    port: str = "PORT"

    @property
    def there(self) -> bool:
        return not self.program or _which(self.program) is not None


def _which(program: str) -> str | None:
    """On PATH, or installed beside this Python (watchfiles has a command of its own)."""
    return shutil.which(program) or shutil.which(program, path=os.fspath(BIN))


def _shell(app: App) -> str:
    return f"go build -o {app.binary} . && exec {app.binary}"


def _modd(app: App) -> Mapping[str, str]:
    text = f"prep: go build -o {app.binary} .\n    daemon +sigterm: {app.binary}"
    return {"modd.conf": f"**/*.go **/*.html !**/*_test.go {{\n    {text}\n}}\n"}


PEERS = (
    Tool("air", lambda _: ["air"], "air", "go install github.com/air-verse/air@latest"),
    Tool(
        "air, delay 10", lambda _: ["air", "--build.delay", "10"], "air", "go install github.com/air-verse/air@latest"
    ),
    Tool(
        "wgo",
        lambda app: [
            "wgo",
            "-file",
            ".go",
            "-file",
            ".html",
            "go",
            "build",
            "-o",
            f"{app.binary}",
            ".",
            "::",
            f"{app.binary}",
        ],
        "wgo",
        "go install github.com/bokwoon95/wgo@latest",
    ),
    Tool(
        "CompileDaemon",
        lambda app: [
            "CompileDaemon",
            "-include=*.html",
            f"-build=go build -o {app.binary} .",
            f"-command={app.binary}",
        ],
        "CompileDaemon",
        "go install github.com/githubnemo/CompileDaemon@latest",
    ),
    Tool(
        "reflex",
        lambda app: ["reflex", "-r", r"\.(go|html)$", "-s", "--", "sh", "-c", _shell(app)],
        "reflex",
        "go install github.com/cespare/reflex@latest",
    ),
    Tool("modd", lambda _: ["modd"], "modd", "go install github.com/cortesi/modd/cmd/modd@latest", files=_modd),
    Tool(
        "arelo",
        lambda app: ["arelo", "-p", "**/*.{go,html}", "-i", "**/.*", "--", "sh", "-c", _shell(app)],
        "arelo",
        "go install github.com/makiuchi-d/arelo@latest",
    ),
    Tool(
        "watchexec",
        lambda app: ["watchexec", "--restart", "--exts", "go,html", "--", _shell(app)],
        "watchexec",
        "cargo install watchexec-cli",
    ),
    Tool(
        "entr",
        lambda app: ["sh", "-c", rf"find . -name '*.go' -o -name '*.html' | entr -n -r sh -c '{_shell(app)}'"],
        "entr",
        "apt-get install entr",
    ),
    Tool(
        "nodemon",
        lambda app: ["nodemon", "--signal", "SIGTERM", "--ext", "go,html", "--exec", _shell(app)],
        "nodemon",
        "npm install -g nodemon",
    ),
    Tool(
        "watchfiles",
        lambda app: ["watchfiles", "--target-type", "command", f"sh -c '{_shell(app)}'", "."],
        "watchfiles",
        "pip install watchfiles",
    ),
)


def peers() -> list[Tool]:
    """Those that are there."""
    return [tool for tool in PEERS if tool.there]


def absent() -> dict[str, str]:
    """Those that are not, and how to bring them."""
    return {tool.name: tool.bring for tool in PEERS if not tool.there}


def ours(name: str, mode: str = "proxy", **env: str) -> Tool:
    """goreload-tasks. env: more of its settings."""
    # A person's Python keeps what it has compiled of us.
    told = {"GORELOAD_WATCH_INCLUDE": "pages/**", "GORELOAD_SERVE_MODE": mode, "PYTHONDONTWRITEBYTECODE": "", **env}
    return Tool(name, lambda _: [sys.executable, "-m", "invoke", "dev"], env=told, port="GORELOAD_SERVE_PORT")


def bare(name: str, flags: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Tool:
    """The loop without a tool, with these flags of `go build`."""
    words, variables = (
        shlex.join(flags),
        " ".join(f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()),
    )

    def start(app: App) -> list[str]:
        return ["sh", "-c", LOOP.format(flags=words, env=variables, out=app.binary)]

    return Tool(name, start, told=True)


class Running:
    """A tool at work on an app of its own, until the block ends."""

    def __init__(self, tool: Tool, app: App, log: Path | None = None) -> None:
        self.tool, self.app = tool, app
        self.port = free_port()
        self.mark = uuid.uuid4().hex
        self._log = log or app.folder.with_suffix(".log")

    def __enter__(self) -> Self:
        for name, text in self.tool.files(self.app).items():
            (self.app.folder / name).write_text(text)
        argv = list(self.tool.start(self.app))
        argv[0] = _which(argv[0]) or argv[0]
        env = {**os.environ, "PORT": "0", "GIN_MODE": "release", **self.tool.env, self.tool.port: f"{self.port}"}
        self.began = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=self.app.folder,
                env={**env, processes.MARK: self.mark},
                stdin=subprocess.PIPE if self.tool.told else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all that came of it."""
        processes.stop(self.mark)
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def up(self, deadline: float = 120.0) -> float:
        """Seconds from its start to the first answer.

        Raises:
            CannotMeasureError: none came, or it ended.
        """
        while not get(f"http://127.0.0.1:{self.port}"):
            if self.process.poll() is not None or time.perf_counter() - self.began > deadline:
                raise CannotMeasureError(f"{self.tool.name} did not come up:\n{self.text[-2000:]}")
            time.sleep(0.002)
        return time.perf_counter() - self.began

    def until(self, true: Callable[[], object], what: str, deadline: float, pause: float = 0.02) -> None:
        """Wait for a condition; what the tool has printed tells why it did not come.

        Raises:
            CannotMeasureError: it did not come.
        """
        try:
            until(true, what, deadline, pause)
        except CannotMeasureError as error:
            raise CannotMeasureError(f"{error}; {self.tool.name} said:\n{self.text[-2000:]}") from None

    def tell(self) -> None:
        """Say that all is saved, to one that wants to be told."""
        if self.process.stdin:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    @property
    def text(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def members(self) -> list[int]:
        return processes.members(self.mark)

    @property
    def own(self) -> list[int]:
        """Its processes without the app's."""
        return processes.own(self.members, self.app.folder.parent)
