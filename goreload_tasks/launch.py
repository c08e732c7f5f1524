"""One run of the app: from its spawn until its whole group is gone."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from goreload_tasks.app import readiness
from goreload_tasks.app.process import Group, spawn
from goreload_tasks.app.readiness import Place
from goreload_tasks.gateway.sockets import inner, unused_port
from goreload_tasks.inputs.snapshot import COARSE_NS
from goreload_tasks.loops import Write
from goreload_tasks.report import Report
from goreload_tasks.sources.mounts import in_memory, mountinfo
from goreload_tasks.work import App

LEAST_GRACE = 0.5
"""Seconds that an app has for its end when finishing its requests has used up the whole grace."""

SLOW = 10.0
"""Seconds after which the person is told that the app does not serve yet."""


class Face(Protocol):
    """What stands between an app and the people who ask; the launch tells it when to let go."""

    async def drained(self, launch: int, patience: float) -> None: ...

    def cut(self, launch: int) -> None: ...


class Launch:
    """A run of the app.

    Args:
        number: of this launch.
        known: where the launch before listened, when that was not on the PORT that it was given.
        sink: takes what it prints.
        face: lets its requests be finished before it is stopped; None: nobody stands before it.
    """

    def __init__(
        self,
        number: int,
        app: App,
        report: Report,
        sink: Callable[[bytes], None],
        face: Face | None,
        terminal: bool,
        known: int | None,
    ) -> None:
        self.number = number
        self.place: Place | None = None
        self.elsewhere: int | None = None  # where it listens, if that is not the PORT that it was given
        self._known = known
        self._wanted = 0
        self.since = time.monotonic()
        self._began_ns = time.time_ns()
        self._ready: tuple[int, int, int] | None = None  # when it served, in ns, and what it had written by then
        self._app = app
        self._report = report
        self._sink = sink
        self._face = face
        self._terminal = terminal
        self._group: Group | None = None
        self._stopping: asyncio.Task[int] | None = None
        self._asked = asyncio.Event()  # to stop
        self._killed = False
        self._listen: socket.socket | None = None
        self._hurried = asyncio.Event()

    async def run(self, binary: str, ready: Callable[[], Awaitable[None]]) -> int:
        """Start it, tell when it serves, and wait until it is gone. Returns its exit code, negative for a signal.

        One that was told to stop meanwhile is not started.

        Raises:
            OSError: it cannot be started.
        """
        self._listen = inner() if self._app.inherits else None
        port = unused_port() if self._app.proxied else None
        try:
            return await self._run(binary, self._app.env(port), port or self._app.settings.serve.port, ready)
        finally:
            self._let_go()

    async def _run(
        self, binary: str, env: dict[str, str], wanted: int | None, ready: Callable[[], Awaitable[None]]
    ) -> int:
        if self._asked.is_set():
            return 0
        self._group = group = await spawn(
            [binary, *self._app.args],
            cwd=self._app.cwd,
            env=env,
            sink=self._sink,
            terminal=self._terminal,
            partial=True,
            listen=self._listen,
        )
        self._report.mark("spawned", group.began)
        serving = asyncio.create_task(self._serving(group, wanted, ready))
        if self._asked.is_set():  # while it was being spawned
            self._begin_stop()
        if self._killed:
            group.signal(signal.SIGKILL)
        ended = asyncio.ensure_future(group.wait())
        ended.add_done_callback(lambda _: serving.cancel())
        try:
            await asyncio.wait({ended, serving}, return_when=asyncio.FIRST_EXCEPTION)
            if not serving.cancelled() and (error := serving.exception()):
                raise error
            code = await ended
        finally:
            serving.cancel()
            # Who is being stopped has its grace; what a crashed app leaves in its group ends now, its port with it.
            await (self._stopping or group.stop(signal.SIGKILL, 1.0))
            if self._stopping:
                self._report.mark("gone")
            if group.left:
                pids = " ".join(map(str, group.left))
                text = f"pid {pids} of the app cannot be ended (another user's by now?) and may hold its port: end it"
                self._report.warn("left", f"{text} with `kill -9 {pids}`", pids=group.left)
        return code

    @property
    def pid(self) -> int | None:
        """Of its group; None: it has not been spawned yet."""
        return self._group.pid if self._group else None

    @property
    def tail(self) -> list[str]:
        """Its last lines of output."""
        return self._group.tail if self._group else []

    async def moved(self) -> None:
        """Wait until an app that listened elsewhere listens on its PORT after all: on a slow start, that comes last."""
        assert self._group is not None
        self.place = await readiness.comes(self._group.pid, self._wanted)
        self.elsewhere = None

    @property
    def waits_for(self) -> str:
        """What is missing, for a person."""
        ready = self._app.settings.serve.ready
        if self._listen is not None:
            return "the app to accept on descriptor 3 (LISTEN_FDS=1)"
        return f"the app to answer GET {ready} with 2xx" if ready else "the app to listen on its port"

    async def later(self, patience: float) -> Place | None:
        """Where it listens after all; None: nowhere after `patience` seconds."""
        return (
            await readiness.accepts(self._group.pid, patience, self._app.settings.serve.port) if self._group else None
        )

    def write(self, path: str) -> Write | None:
        """A change of a file as one that this run may have made; None: it cannot have."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        at = max(status.st_mtime_ns, status.st_ctime_ns)
        if at < self._began_ns - COARSE_NS:
            return None
        beyond, pages = self._group.written() if self._group else (status.st_size, status.st_size)  # only just spawned
        if self._ready is None:
            wrote, since = (beyond, pages), 0
        elif at <= self._ready[0]:
            wrote, since = self._ready[1:], 0
        else:  # what it answers is no file
            wrote, since = (pages, pages), self._ready[2]
        # Among all bytes are the answers that it gave before it was seen to serve, and whoever saves as soon as it
        # answers would be suspected. A source is written anew, so pages tell; a line more may be on one that counted.
        exact = path.endswith(".go") and not in_memory(mountinfo(), os.path.realpath(path))
        counted = wrote[1] if exact else wrote[0]
        return Write(self.number, (at - self._began_ns) / 1e9, status.st_size, counted - since)

    def drain(self) -> None:
        """Pass on what it has printed up to now."""
        if self._group:
            self._group.drain()

    def stop(self) -> None:
        """End it: its requests first, then the signal, the grace period, and SIGKILL."""
        self._asked.set()
        if self._group and not self._stopping:
            self._begin_stop()

    def hurry(self) -> None:
        """No request is waited for any more."""
        self._hurried.set()

    def kill(self) -> None:
        """End it at once."""
        self._killed = True
        self.hurry()
        if self._group:
            self._group.signal(signal.SIGKILL)

    def _begin_stop(self) -> None:
        self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> int:
        assert self._group is not None
        stop = self._app.settings.stop
        began = time.monotonic()
        self._report.mark("stopping", began)
        if self._face:
            await self._until_hurried(self._face.drained(self.number, max(stop.grace - LEAST_GRACE, 0.0)))
            self._face.cut(self.number)
        left = max(stop.grace - (time.monotonic() - began), min(stop.grace, LEAST_GRACE))
        return await self._group.stop(signal.Signals[f"SIG{stop.signal}"], left, dump=True)

    async def _until_hurried(self, wait: Awaitable[None]) -> None:
        tasks = {asyncio.ensure_future(wait), asyncio.ensure_future(self._hurried.wait())}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _serving(self, group: Group, wanted: int | None, ready: Callable[[], Awaitable[None]]) -> None:
        serve = self._app.settings.serve
        slow = asyncio.get_running_loop().call_later(SLOW, self._slow)
        try:
            if self._listen is not None:
                await readiness.taken(group.pid, self._listen)
                host, port = self._listen.getsockname()[:2]
                self.place = Place(host, port)
                self._let_go()
            elif self._app.proxied:
                assert wanted is not None
                self.place = await readiness.found(group.pid, wanted, self._known, serve.ready)
                self.elsewhere = self.place.port if self.place.port != wanted else None
                self._wanted = wanted
            else:
                patience = math.inf if serve.ready else readiness.PATIENCE  # else it may be no server at all
                self.place = await readiness.accepts(group.pid, patience, serve.port)
            if self.place and serve.ready:
                await readiness.answers(self.place, serve.ready)
        finally:
            slow.cancel()
        self._report.mark("accepting")
        self._ready = (time.time_ns(), *group.written())
        await ready()

    def _let_go(self) -> None:
        """The socket is the app's alone: when that ends nobody is left waiting in its backlog."""
        if self._listen is not None:
            self._listen.close()
            self._listen = None

    def _slow(self) -> None:
        for line in self.tail[-5:]:
            self._report.say("tail", f"  | {line}")
        self._report.warn("slow", f"not ready after {SLOW:.0f} s: waiting for {self.waits_for}")
