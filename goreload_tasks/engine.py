"""One session of `dev` or `watch`: sources fill the inbox, services handle what is in it, in order.

One asyncio loop owns all state. A hint of the watcher, a key, a signal, the end of a process: each is a message in one
inbox; `cycle.step` decides what it means and `service` performs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from colorama import Fore

from goreload_tasks import cycle
from goreload_tasks.app.process import ending
from goreload_tasks.console import Console
from goreload_tasks.service import Service
from goreload_tasks.settings.schema import Tristate
from goreload_tasks.sources import Nothing, Source
from goreload_tasks.sources.clock import jumps
from goreload_tasks.sources.inotify import Inotify, LimitError
from goreload_tasks.sources.keyboard import HELP, Meaning, keys, read
from goreload_tasks.sources.mounts import mountinfo, silent
from goreload_tasks.sources.repository import Git
from goreload_tasks.sources.watcher import Watcher

PATIENCE = 0.7
"""Seconds of stopping after which the person is told what it waits for."""

BEAT = 0.5
"""Seconds between two looks everywhere while not everything can be watched, and at git while it works."""

REST = 30.0
"""Seconds between two looks everywhere at rest, for what changes a file and never closes it: see `inotify.MASK`."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened at these paths; none: look everywhere."""

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """The inputs of a service have been listed anew."""

    service: Service


@dataclass(frozen=True, slots=True)
class Key:
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Signalled:
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of one service's cycle."""

    service: Service
    event: cycle.Event


@dataclass(frozen=True, slots=True)
class Failed:
    """A coroutine of ours raised."""

    error: BaseException


Message = Hint | Listed | Key | Signalled | Happened | Failed


class Engine:
    """Runs services until the person ends it.

    Args:
        poll: look at the files instead of being told by the operating system; auto: where it does not tell of all.
    """

    def __init__(self, services: Sequence[Service], console: Console, poll: Tristate) -> None:
        self._services = services
        self._console = console
        self._poll = poll
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listing: dict[str, bool] = {}  # service -> asked for again meanwhile
        self._watched: frozenset[str] = frozenset()
        self._beat: asyncio.TimerHandle | None = None
        self._blind: dict[str, str] = {}  # why we look at a beat: the event's name -> what the person reads
        self._signal: signal.Signals | None = None
        self._source: Source = Nothing()
        self._shared: asyncio.Future[None] | None = None
        self._git = Git(self._lock_left)
        self._git_asked: asyncio.TimerHandle | None = None  # it works; then it is asked again

    async def run(self) -> int:
        """Until the person ends it. Returns the exit code: 0, or 128 + the signal that ended it (POSIX 2.8.2).

        Raises:
            GoreloadError: something that no change of the sources can mend.
        """
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            self._source = self._choose(loop)
            stack.callback(self._source.close)
            for number in ending():
                loop.add_signal_handler(number, self._inbox.put_nowait, Signalled(number))
                # The loop hears of it when it is its turn; this one at once, also while we wait for who reads us.
                signal.signal(number, lambda *_: self._console.hurry())
                stack.callback(loop.remove_signal_handler, number)
            stack.enter_context(keys(lambda meaning: self._inbox.put_nowait(Key(meaning))))
            stack.enter_context(read(self._console.fd, lambda: self._inbox.put_nowait(Signalled(signal.SIGPIPE))))
            try:
                for service in self._services:
                    relist = functools.partial(self._list, service)
                    service.begin(
                        self._teller(service), self._start, relist, lambda: self._git_works(self._nothing_new())
                    )
                await asyncio.sleep(0)  # the builds are spawned before watches are set and anything more is loaded
                self._watch()
                for service in self._services:
                    if service.sight.look():  # what was saved before the watches stood
                        self._list(service)
                    self._start(service.open(self._catch_up))
                self._start(self._mind_the_clock())
                while not all(service.state.finished for service in self._services):
                    self._handle(await self._inbox.get())
            finally:
                await self._end()
        return 128 + self._signal if self._signal else 0

    def _handle(self, message: Message) -> None:
        match message:
            case Happened(service, event):
                service.handle(event)
            case Hint(paths):
                self._look(paths)
            case Listed(service):
                again = self._listing.pop(service.name)
                self._watch()
                self._git_works(())  # what it has written where nobody watched is news too
                # What happened before the new watch stood is found by looking.
                if service.listed(again):
                    self._list(service)
            case Key(meaning):
                self._key(meaning)
            case Signalled(number):
                if self._signal:  # asked twice: no more grace
                    for service in self._services:
                        service.kill()
                else:
                    asyncio.get_running_loop().call_later(PATIENCE, self._slow_end)
                self._signal = number
                self._key("quit")
            case Failed(error):
                raise error
            case _:
                assert_never(message)

    def _look(self, paths: Sequence[str] = ()) -> None:
        if not paths or not self._watched.isdisjoint(paths):
            self._watch()  # a folder went or came: first watch what stands there now, then look at it
        if self._git_works(paths):
            return
        if self._git_asked:  # it did until now: what was kept back is looked at, all of it
            self._git_asked.cancel()
            self._git_asked = None
            for service in self._services:
                if service.sight.resume():
                    self._list(service)
            return
        for service in self._services:
            if service.tree.matters(paths) and service.sight.look(paths):
                self._list(service)

    def _nothing_new(self) -> tuple[str, ...]:
        """Paths to ask git with, of which none is a file of the tree."""
        return tuple(self._git.folders)

    def _git_works(self, paths: Sequence[str]) -> bool:
        """Is git writing the tree? Then nothing is looked at and nobody is let in until it is done.

        Args:
            paths: where something happened; none: it may be anywhere.
        """
        changed = any(service.tree.matters(paths) for service in self._services)
        wait = self._git.busy(paths, changed, time.monotonic())
        if wait is None:
            return False
        if self._git_asked:
            self._git_asked.cancel()
        again = Hint(self._nothing_new())
        self._git_asked = asyncio.get_running_loop().call_later(min(wait, BEAT), self._inbox.put_nowait, again)
        for service in self._services:
            service.sight.hold("git")
        return True

    def _look_now(self, paths: Iterable[str] = ()) -> None:
        """Outside the inbox: what is found counts before anything that waits there."""
        try:
            self._look(tuple(paths))
        except Exception as error:  # noqa: BLE001 - it belongs to the session, not to whoever asked for the look
            self._inbox.put_nowait(Failed(error))

    def _catch_up(self) -> Awaitable[None] | None:
        """See every save that returned before now: what the kernel has queued, or else one look that waiters share."""
        if self._source.exact and not self._blind:
            self._source.read()
            return None
        if self._shared is None:
            loop = asyncio.get_running_loop()
            self._shared = loop.create_future()
            loop.call_soon(self._look_shared)
        return asyncio.shield(self._shared)  # one who waits and gives up must not take the others with him

    def _look_shared(self) -> None:
        shared, self._shared = self._shared, None
        self._look_now()
        assert shared is not None
        shared.set_result(None)

    def _key(self, meaning: Meaning) -> None:
        if meaning == "clear":
            self._console.clear()
        elif meaning == "help":
            self._console.say("help", HELP)
        else:
            for service in self._services:
                service.ask(meaning)

    def _choose(self, loop: asyncio.AbstractEventLoop) -> Source:
        if self._poll == "on":
            return Nothing()
        return Inotify(self._told) if sys.platform == "linux" else Watcher(lambda paths: self._hinted(loop, paths))

    def _told(self, paths: Iterable[str]) -> None:
        """By Inotify, which tells no path when its queue has overflowed."""
        told = tuple(paths)
        if not told:
            self._console.say("overflow", "more happened at once than the kernel tells of: all is looked at")
        self._look_now(told)

    async def _mind_the_clock(self) -> None:
        with jumps(self._jumped):
            await asyncio.Event().wait()

    def _jumped(self) -> None:
        self._console.say("clock", "the clock was set, or the machine slept: all is looked at")
        self._inbox.put_nowait(Hint())

    def _watch(self) -> None:
        """Watch what the services depend on; where that is not enough, look at a beat."""
        folders = frozenset[str]().union(*(service.tree.folders for service in self._services))
        self._git.find(folders)
        self._watched = folders | self._git.folders
        blind = {"poll": ""} if self._poll == "on" else {}
        try:
            self._source.watch(self._watched)
        except LimitError as reached:
            blind["limit"] = f"{reached}; until then"
        if refused := sorted(self._refused()):
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            blind["refused"] = f"cannot watch {refused[0]}{more}: make it readable; until then"
        if self._poll == "auto" and (silent := _silent(mountinfo(), folders)):
            blind["poll"] = f"{silent}, which does not tell of every change (watch.poll: off if it does):"
        for event, why in blind.items():
            if why != self._blind.get(event, "") and (event != "limit" or event not in self._blind):
                self._console.say(event, f"{why} all is looked at every {BEAT} s")
        self._blind = blind
        if self._beat:
            self._beat.cancel()
        self._beat = asyncio.get_running_loop().call_later(BEAT if blind else REST, self._inbox.put_nowait, Hint())

    def _refused(self) -> frozenset[str]:
        """Folders with inputs that may not be watched; one that is only above them need not be."""
        refused = self._source.refused
        return frozenset(folder for folder in refused if any(service.tree.holds(folder) for service in self._services))

    def _lock_left(self, lock: str) -> None:
        text = f"{lock} is there, but no git has it open: nothing waits for it any more; remove it, or git will refuse"
        self._console.say("git", self._console.paint(text, Fore.YELLOW), lock=lock)

    def _slow_end(self) -> None:
        self._console.say("stopping", "stopping; Ctrl-C again ends it without grace")

    def _list(self, service: Service) -> None:
        """List a service's inputs beside everything else; one flight at a time, and one more if asked meanwhile."""
        if service.name in self._listing:
            self._listing[service.name] = True
            return
        self._listing[service.name] = False

        async def flight() -> None:
            await service.sight.list()
            self._inbox.put_nowait(Listed(service))

        self._start(flight())

    def _teller(self, service: Service) -> Any:
        return lambda event: self._inbox.put_nowait(Happened(service, event))

    def _hinted(self, loop: asyncio.AbstractEventLoop, paths: Iterable[str]) -> None:
        """From the watcher's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(self._inbox.put_nowait, Hint(tuple(paths)))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._inbox.put_nowait(Failed(error))

    async def _end(self) -> None:
        """However the session ends, nothing that it started is left."""
        for timer in (self._beat, self._git_asked):
            if timer:
                timer.cancel()
        for service in self._services:
            service.kill()
        await asyncio.gather(*(service.close() for service in self._services))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@functools.lru_cache(1)
def _silent(mounted: str, folders: frozenset[str]) -> str:
    """A folder that lies on a file system which does not tell of every change, for the person to read."""
    found = silent(mounted, map(os.path.realpath, folders))
    folder = min(found, default="")
    return f"{folder} is on {found[folder]}" if folder else ""
