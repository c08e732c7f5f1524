"""One world of chaos: a real project under `dev`, things that happen to it in random order, and the oracle.

All choices come from one seed and from what is on disk, so a seed replays the same steps; only their timing is the
machine's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from goreload_tasks.store import holder
from tests.chaos.census import Living, Watch, take
from tests.chaos.project import LIBS, MISTAKES, STYLES, Broken, Project, Works, expected
from tests.driver import DEADLINE, Driver, Task, free_port, until

Mode = Literal["direct", "proxy", "socket"]

DISK = 64 * 1024 * 1024
"""Bytes of the project's own small file system."""

SPARE = 1024 * 1024
"""Bytes that a full disk has left: enough for a save, not for a binary."""

PATIENCE = 5.0
"""Seconds in which a fault that needs the right moment waits for it."""

CRASHED = r"on purpose|SIGKILL|exit code|ended by itself|may have been acted on"
"""What may be said instead of an answer while an app that ended comes back."""

UNBUILT = r"no message|signal: killed|no space left|exit code|cannot write|no such file or directory"
"""What may be said instead of an answer when the build was killed or had no room."""


class Finding(AssertionError):  # noqa: N818 - that is what it is
    """Something that must never be."""


@dataclass(slots=True)
class Report:
    """What happened: steps by kind, quiet points, starts of the tool after the first, findings."""

    mode: Mode
    seed: int
    steps: Counter[str] = field(default_factory=Counter)
    quiet: int = 0
    restarts: int = 0
    asked: int = 0
    counts: int = 0
    finding: str = ""
    log: list[str] = field(default_factory=list)
    output: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer: its status (0: the connection was refused or broke) and its body."""

    code: int
    text: str


def ask(port: int, path: str = "/", patience: float = DEADLINE) -> Asked:
    """GET a path on a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), patience) as one:
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while block := one.recv(65536):
                data += block
        head, _, body = data.partition(b"\r\n\r\n")
        return Asked(int(head.split()[1]), body.decode())
    except (OSError, IndexError) as error:
        return Asked(0, str(error) or "closed")


def own_disk(folder: Path) -> bool:
    """Mount a small file system there that nobody else sees and that goes with us. False: it is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS, linux/sched.h
        return False
    words = (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)])
    return all(subprocess.run(["mount", *one], check=False, capture_output=True).returncode == 0 for one in words)


class Request:
    """One that is made beside the steps. It may be answered by any state from its begin on, and by no older one."""

    def __init__(self, port: int, since: int, run: int) -> None:
        self.since, self.run = since, run
        self.answer = Asked(0, "never came")
        self._thread = threading.Thread(target=self._ask, args=(port,), daemon=True)
        self._thread.start()

    def _ask(self, port: int) -> None:
        self.answer = ask(port)

    def wait(self) -> Asked:
        self._thread.join(DEADLINE)
        return self.answer


class World:
    """See the module.

    Args:
        scratch: an empty folder.
        small: the project's folder is a small file system, which may be filled.
    """

    def __init__(self, mode: Mode, seed: int, scratch: Path, small: bool, driver: Driver) -> None:
        self.report = Report(mode, seed)
        self._mode = mode
        self._gated = mode != "direct"
        self._luck = random.Random(f"{seed} {mode}")
        self._small = small
        self._driver = driver
        self._port = free_port()
        self._folder = scratch / "project"
        self._tmp = scratch / "tmp"
        self._tmp.mkdir()
        (scratch / "parking").mkdir()
        self._project = Project(self._folder, scratch / "parking" / "lib", self._luck)
        self._tool: Task | None = None
        self._states: list[Works | Broken] = []
        self._requests: list[Request] = []
        self._stopped: list[Living] = []
        self._excuse = ""  # what may be said instead of the answer, since something befell the app or its build
        self._needs_save = False  # it was a build that was killed: the person is told, and saves again
        self._mark = 0  # what the tool had printed at the last quiet point at which it compiled
        self._wrong: list[str] = []
        self._watch = Watch(self._folder, self._wrong.append)
        self._killed: frozenset[Living] = frozenset()
        self._steps: dict[str, tuple[int, Callable[[], str | None]]] = self._all_steps()

    # -- from the begin to the end -------------------------------------------------------------------------------

    def live(self, seconds: float) -> Report:
        """Let things happen for so long; what is found is in the report."""
        end = time.monotonic() + seconds
        try:
            self._project.make()
            self._note()
            self._watch.start()
            self._start()
            self._quiet()
            while time.monotonic() < end:
                for _ in range(self._luck.randint(1, 5)):
                    self._step()
                self._quiet()
            self._leave()
            self._check_left()
        except AssertionError as error:
            self.report.finding = str(error)
            self._last_words()
            self.report.output = self._tool.text[-6000:] if self._tool else ""
        finally:
            self._continue()
            self._watch.stop()
            self.report.counts = self._watch.counts
        return self.report

    def _last_words(self) -> None:
        """A tool that has broken off an answer may be about to end."""
        self._continue()
        if self._tool:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.report.finding += f"; the tool ended with {self._tool.wait(2)}"

    def _start(self) -> None:
        env = {
            "TMPDIR": str(self._tmp),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GORELOAD_CRASH_RESTART": "backoff",
            "GORELOAD_CRASH_DELAY": "50ms",
            "GORELOAD_CRASH_LIMIT": "100",
        }
        port = {"GORELOAD_SERVE_PORT" if self._gated else "PORT": str(self._port)}
        if self._gated:
            port["GORELOAD_SERVE_MODE"] = self._mode
        self._tool = self._driver.start(self._folder, "dev", env=env | port)
        self._mark = 0
        # Before that a Ctrl-C is Python's to answer, while it imports what we are.
        until(lambda: self._ended or holder(str(self._folder), "app") == self._dev.process.pid, "a lock")
        if self._gated:
            until(lambda: self._ended or self._reached(), "a port that accepts")

    @property
    def _ended(self) -> bool:
        return self._dev.process.poll() is not None

    @property
    def _dev(self) -> Task:
        assert self._tool
        return self._tool

    def _reached(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._port)) == 0

    def _step(self) -> None:
        names = list(self._steps)
        weights = [weight for weight, _ in self._steps.values()]
        while True:
            name = self._luck.choices(names, weights)[0]
            began = time.monotonic()
            if (did := self._steps[name][1]()) is not None:
                break
        self.report.steps[name] += 1
        self._say(f"{name} {did} ({time.monotonic() - began:.2f} s)")
        self._note()
        if self._ended:
            raise Finding(f"the tool ended by itself with {self._dev.process.returncode}")
        if self._gated:
            self._ask_beside()
        if self._luck.random() < 0.5:
            time.sleep(self._luck.uniform(0, 0.4))  # no wait for anything: steps may fall anywhere in a reload

    def _say(self, line: str) -> None:
        self.report.log.append(f"{time.strftime('%H:%M:%S')} {line}")

    def _note(self) -> None:
        self._states.append(expected(self._folder))

    # -- the oracle ----------------------------------------------------------------------------------------------

    def _ask_beside(self) -> None:
        """After the step: a request now, alone or beside what comes next."""
        kind = self._luck.random()
        if kind < 0.3 and len(self._requests) < 8:
            self._requests.append(Request(self._port, len(self._states) - 1, self.report.restarts))
        elif kind < 0.5 and not self._stopped:
            self._judge(self._ask(), self._states[-1:])

    def _ask(self, patience: float = DEADLINE) -> Asked:
        self.report.asked += 1
        return ask(self._port, patience=patience)

    def _judge(self, said: Asked, states: list[Works | Broken]) -> None:
        """Behind the gate: is this what one of these states answers, or else an excuse?"""
        works = {state.text for state in states if isinstance(state, Works)}
        places = {place for state in states if isinstance(state, Broken) for place in state.places}
        if said.code == 200 and said.text in works:
            return
        if said.code == 503 and any(place in said.text for place in places):
            return
        if said.code in (502, 503) and self._excuse and re.search(self._excuse, said.text):
            return
        if self._mode == "socket" and not said.code and (places or self._excuse):  # it cannot say why
            return
        raise Finding(f"answered {said}, which is neither of {works or ''} {places or ''}")

    def _quiet(self) -> None:
        """Nothing happens any more: the answer equals the disk, and at most one app lives."""
        self._continue()
        for request in self._requests:
            said = request.wait()
            if request.run == self.report.restarts or said.code:
                self._judge(said, self._states[request.since :])
        self._requests.clear()
        if self._needs_save:
            if self._gated:  # right, or told why not; never the old one
                self._judge(self._ask(), self._states[-1:])
            self._say(f"saved again: {self._save()}")
            self._note()
            self._needs_save = False
        want = self._states[-1]
        try:
            until(lambda: self._right(want), f"{want}")
        except Finding:
            raise
        except AssertionError as error:
            raise Finding(f"{error}; the end is {self._ask(1)}") from None
        self._excuse = ""
        if isinstance(want, Works):
            self._mark = len(self._dev.text)
        if self._wrong:
            raise Finding(self._wrong[0])
        if self._killed & take(self._folder).all:
            raise Finding(f"left by a tool that was killed: {self._killed & take(self._folder).all}")
        self._killed = self._watch.forgiven = frozenset()
        self.report.quiet += 1
        self._say(f"  quiet: {want.text if isinstance(want, Works) else sorted(want.places)}")

    def _right(self, want: Works | Broken) -> bool:
        """Is it so? Behind the gate anything else is wrong at once, unless there is an excuse."""
        if self._ended:
            raise Finding(f"the tool ended by itself with {self._dev.process.returncode}")
        said = self._ask()
        if self._gated:
            self._judge(said, [want])
            if said.code == 200 or (isinstance(want, Broken) and any(place in said.text for place in want.places)):
                return True
            if self._mode == "proxy" or isinstance(want, Works):
                return False
        if isinstance(want, Works):
            return said == Asked(200, want.text)
        if said.code and Works(said.text) not in self._states:
            raise Finding(f"answered {said}, which never was on disk")
        return any(place in self._dev.text[self._mark :] for place in want.places)

    def _leave(self) -> None:
        """Ctrl-C, and nothing is left of it."""
        self._continue()
        self._end_of_tool(self._dev.process.pid, self._dev.stop())

    def _end_of_tool(self, pid: int, code: int) -> None:
        if code != 130:
            raise Finding(f"Ctrl-C ended it with {code}")
        left = take(self._folder, pid)
        if left.all:
            raise Finding(f"left after Ctrl-C: {[left.commands[one] for one in left.all]}")
        if self._reached():
            raise Finding("the port is not free after Ctrl-C")

    def _check_left(self) -> None:
        if files := self._project.strangers():
            raise Finding(f"files left: {files}")
        if files := [str(path) for path in self._tmp.rglob("*")]:
            raise Finding(f"files left in TMPDIR: {files}")
        if len(kept := list((self._folder / ".goreload" / "app" / "bin").glob("*"))) > 5:
            raise Finding(f"binaries left: {kept}")

    # -- what can happen -----------------------------------------------------------------------------------------

    def _all_steps(self) -> dict[str, tuple[int, Callable[[], str | None]]]:
        """By name: how often, and what to do; it says what it did, or None when it cannot be done now."""
        steps: dict[str, tuple[int, Callable[[], str | None]]] = {
            **{f"save {style}": (6, lambda style=style: self._save(style)) for style in STYLES},  # type: ignore[misc]
            "burst of 5": (5, self._burst),
            "touch": (4, self._touch),
            "comment": (4, self._comment),
            "noise": (3, self._noise),
            "mistake": (6, lambda: self._save(mistake=True)),
            "mend": (14, self._mend),
            "new file": (6, self._new),
            "remove file": (4, self._remove),
            "rename file": (4, self._rename),
            "move package": (4, self._move),
            "folder away": (3, self._away),
            "folder back": (6, self._back),
            "commit": (4, self._commit),
            "branch": (3, self._branch),
            "checkout": (6, self._checkout),
            "crash": (6, self._crash),
            "kill app": (4, self._kill_app),
            "kill build": (4, self._kill_build),
            "kill tool": (3, self._kill_tool),
            "end tool": (2, self._end_tool),
            "stop app": (3, self._stop_app),
            "stop tool": (3, self._stop_tool),
            "overflow": (2, self._overflow),
            "remove .goreload": (2, self._remove_goreload),
        }
        if self._small:
            steps["full disk"] = (2, self._full_disk)
        return steps

    def _save(self, style: str = "", mistake: bool = False) -> str:
        """Save a file of the build."""
        path = self._luck.choice(self._project.sources)
        style = style or self._luck.choice(list(STYLES))
        STYLES[style](path, text := self._project.text(path, mistake))
        return f"{path.relative_to(self._folder)} {re.findall(r'[alx][0-9]+', text)[-1]} ({style})"

    def _burst(self) -> str:
        did = []
        for _ in range(5):
            did.append(self._save())
            self._note()
            time.sleep(self._luck.choice((0, 0.01, 0.05)))
        return "; ".join(did)

    def _touch(self) -> str:
        path = self._luck.choice(self._project.sources)
        os.utime(path)
        return path.name

    def _comment(self) -> str:
        """The binary stays the same."""
        path = self._luck.choice(self._project.sources)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"// {self._project.next()}\n")
        return path.name

    def _noise(self) -> str:
        """Files that are not in the build."""
        for name, text in (("notes.txt", "a note\n"), ("noise_test.go", "package main\n\nretrun\n")):
            (self._folder / name).write_text(text)
        return ""

    def _mend(self) -> str | None:
        broken = [path for path in self._project.sources if _has_mistake(path)]
        for path in broken:
            STYLES[self._luck.choice(list(STYLES))](path, self._project.text(path))
            self._note()
        return " ".join(path.name for path in broken) or None

    def _new(self) -> str | None:
        path = self._folder / f"extra_{self._project.next()}.go"
        if len(self._project.extras) > 5:
            return None
        STYLES[self._luck.choice(list(STYLES))](path, self._project.text(path))
        return path.name

    def _remove(self) -> str | None:
        if not self._project.extras:
            return None
        path = self._luck.choice(self._project.extras)
        path.unlink()
        return path.name

    def _rename(self) -> str | None:
        if not self._project.extras:
            return None
        path = self._luck.choice(self._project.extras)
        to = path.with_name(f"extra_{self._project.next()}.go")
        path.rename(to)
        return f"{path.name} to {to.name}"

    def _move(self) -> str | None:
        """A package into another folder, then the import of it mended."""
        old = self._project.lib
        new = self._luck.choice([name for name in LIBS if name != old])
        if not (self._folder / old / "lib.go").exists() or (self._folder / new).exists():
            return None
        (self._folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / old).rename(self._folder / new)
        self._note()
        time.sleep(self._luck.choice((0, 0, 0.1, 0.5)))
        main = self._folder / "main.go"
        STYLES[self._luck.choice(list(STYLES))](main, main.read_text().replace(f"app/{old}", f"app/{new}"))
        return f"{old} to {new}"

    def _away(self) -> str | None:
        place = self._folder / self._project.lib
        if not place.exists() or self._project.parking.exists():
            return None
        shutil.move(place, self._project.parking)
        return self._project.lib

    def _back(self) -> str | None:
        place = self._folder / self._project.lib
        if not self._project.parking.exists():
            return None
        if place.exists():  # a checkout brought another
            shutil.rmtree(self._project.parking)
            return "forgotten"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self._project.parking, place)
        return self._project.lib

    def _commit(self) -> str:
        self._project.commit()
        return ""

    def _branch(self) -> str | None:
        if len(self._project.branches) > 6:
            return None
        name = f"branch-{self._project.next()}"
        self._project.git("checkout", "-q", "-b", name)
        self._project.branches.append(name)
        return name

    def _checkout(self) -> str:
        name = self._luck.choice(self._project.branches)
        self._project.git("checkout", "-q", "-f", name)
        self._note()
        self._project.git("clean", "-fdq")
        return name

    def _crash(self) -> str | None:
        if not isinstance(expected(self._folder), Works) or self._excuse:
            return None
        self._excuse = CRASHED
        return f"{ask(self._port, '/crash').code}"

    def _app(self) -> Living | None:
        """The app, when there is one: whether a fault that wants it can happen is told by the disk alone."""
        found: list[Living] = []

        def there() -> bool:
            found[:] = take(self._folder).apps
            return bool(found)

        with contextlib.suppress(AssertionError):
            until(there, "an app", PATIENCE)
        return found[0] if found else None

    def _kill_app(self) -> str | None:
        if not isinstance(expected(self._folder), Works):
            return None
        self._excuse = self._excuse or CRASHED
        app = self._app()
        _send(app, signal.SIGKILL)
        return f"pid {app and app[0]}"

    def _kill_build(self) -> str:
        """The whole group of a build that a save of ours calls for."""
        did = self._save()
        self._excuse = f"{CRASHED}|{UNBUILT}"
        self._needs_save = True
        builds: list[Living] = []

        def there() -> bool:
            builds[:] = take(self._folder).builds
            return bool(builds)

        with contextlib.suppress(AssertionError):
            until(there, "a build", 1.0)
        for pid, _ in builds:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return f"{did}; pid {[pid for pid, _ in builds]}"

    def _kill_tool(self) -> str:
        """kill -9, then it is started again: at once, or when nobody is left."""
        tool = self._dev.process
        before = take(self._folder)
        tool.kill()
        tool.wait()
        self._stopped.clear()
        patient = self._luck.random() < 0.7
        if patient:
            until(lambda: not take(self._folder, tool.pid).all, f"nobody left of {before.commands}", 10)
            if self._reached():
                raise Finding("the port is not free after kill -9")
        else:
            self._killed |= before.all
            self._watch.forgiven |= before.apps | before.builds
        self._again()
        return "patient" if patient else "at once"

    def _end_tool(self) -> str:
        """Ctrl-C, two saves while it stops, and started again."""
        self._continue()
        tool = self._dev
        tool.process.send_signal(signal.SIGINT)
        did = [self._save(), self._save()]
        self._end_of_tool(tool.process.pid, tool.wait())
        self._again()
        return "; ".join(did)

    def _again(self) -> None:
        self._excuse = self._excuse or CRASHED
        self.report.restarts += 1
        self._start()

    def _stop_app(self) -> str | None:
        """SIGSTOP; a save meanwhile, perhaps; it goes on at the next quiet point, if it still is."""
        if not isinstance(expected(self._folder), Works) or self._stopped:
            return None
        app = self._app()
        if app and _send(app, signal.SIGSTOP):
            self._stopped.append(app)
        did = self._save() if self._luck.random() < 0.6 else ""
        return f"pid {app and app[0]} {did}"

    def _stop_tool(self) -> str:
        """SIGSTOP, saves that it cannot see, SIGCONT."""
        tool = self._dev.process
        tool.send_signal(signal.SIGSTOP)
        did = []
        for _ in range(self._luck.randint(0, 3)):
            did.append(self._save(mistake=self._luck.random() < 0.2))
            self._note()
        time.sleep(self._luck.uniform(0, 0.5))
        tool.send_signal(signal.SIGCONT)
        return "; ".join(did)

    def _overflow(self) -> str:
        """More events than the kernel queues while the tool stands; the save after them is one that is lost."""
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        tool = self._dev.process
        tool.send_signal(signal.SIGSTOP)
        try:
            for number in range(limit // 3 + 100):  # made, closed, deleted
                path = self._folder / f"noise-{number}.txt"
                path.touch()
                path.unlink()
            did = self._save()
        finally:
            tool.send_signal(signal.SIGCONT)
        return did

    def _remove_goreload(self) -> str:
        """Perhaps while a build writes there: then that one fails, and the person is told."""
        self._excuse = f"{CRASHED}|{UNBUILT}"
        self._needs_save = True
        with contextlib.suppress(OSError):  # somebody writes into it meanwhile
            shutil.rmtree(self._folder / ".goreload")
        return ""

    def _full_disk(self) -> str:
        """No room for a binary while a save is made."""
        filler = self._folder / "notes.txt"
        self._excuse = f"{CRASHED}|{UNBUILT}"
        self._needs_save = True
        with open(filler, "wb") as file:
            room = os.statvfs(self._folder)
            os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - SPARE))
        did = self._save()
        time.sleep(self._luck.uniform(0, 1.5))
        if self._gated:
            self._judge(self._ask(), [expected(self._folder)])
        filler.unlink()
        return did

    def _continue(self) -> None:
        for one in self._stopped:
            _send(one, signal.SIGCONT)
        self._stopped.clear()


def _has_mistake(path: Path) -> bool:
    return not set(MISTAKES).isdisjoint(path.read_text().splitlines())


def _send(one: Living | None, number: signal.Signals) -> bool:
    """Signal this very process."""
    if one is None:
        return False
    with contextlib.suppress(OSError):
        if Path(f"/proc/{one[0]}/stat").read_text().rpartition(") ")[2].split()[19] == one[1]:
            os.kill(one[0], number)
            return True
    return False
