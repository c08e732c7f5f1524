"""One service at work: performs what its cycle decides, and tells the cycle what came of it."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, assert_never

from colorama import Fore

from goreload_tasks import cycle
from goreload_tasks.app import panic, readiness
from goreload_tasks.build.builder import Job, Result
from goreload_tasks.console import Console, took
from goreload_tasks.errors import GoreloadError
from goreload_tasks.gateway.front import Front
from goreload_tasks.gateway.gate import Crashed, Failed, Held, Open, State
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.launch import Launch
from goreload_tasks.making import Making
from goreload_tasks.ports import Ports
from goreload_tasks.report import Report, exit_name
from goreload_tasks.settings.schema import Rule
from goreload_tasks.sight import Sight
from goreload_tasks.work import App, Work

PROGRESS_AFTER = 1.0
"""Seconds of a build after which the person sees that it goes on."""

Chores = Callable[[Callable[[], bool]], Coroutine[Any, Any, bool]]

BREATH = 0.05
"""Seconds after a reload for the answers that people wait for, before anything else is done."""

LIST_AFTER = 1.0
"""Seconds after a start of the app at which its inputs are listed at the latest: it need never become ready."""


class Service:
    """The state of one service, and the hands that act on it.

    Args:
        report: tells the person of this service.
        begun: since when a first build may have read the inputs, in ns of the wall clock, and whether they are known.
        command: makes the job of a rule.
        chores: what is done at rest; cancelled by a save, and called again at the next rest, each time with what tells
            whether the newest binary is what the sources call for. True: build again.
        check: what was taken for granted at the start, asked once the app is up; what it raises ends the session.
        front: the port that people know, where it is ours.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        tree: Tree,
        policy: cycle.Policy,
        app: App | None,
        command: Callable[[Rule], Job],
        console: Console,
        report: Report,
        begun: tuple[int, bool] | None = None,
        chores: Chores | None = None,
        check: Callable[[], Coroutine[Any, Any, None]] | None = None,
        front: Front | None = None,
    ) -> None:
        self.name = name
        self.tree = tree
        self.state = cycle.State()
        self._work = work
        self._policy = policy
        self._app = app
        self._chores = chores
        self._resting: asyncio.Task[None] | None = None
        self._check = check
        self._console = console
        self._front = front
        self._report = report
        self._making = Making(work, report)
        self._results: dict[int, Result] = {}
        self._launches: dict[int, Launch] = {}
        self._ended: Crashed = Crashed("")
        self._timer: asyncio.TimerHandle | None = None
        since, known = begun or (time.time_ns(), False)
        self.window = (since, 0)
        self.sight = Sight(self, tree, report, command, front, known)
        self._ports = Ports(report, app.settings.serve, front) if app else None
        self._opened = False
        self._mended = False  # since the newest build began
        self._missed = False  # the newest launch could not start

    def begin(
        self,
        tell: Callable[[cycle.Event], None],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        relist: Callable[[], None],
        git_works: Callable[[], bool],
    ) -> None:
        """Take the first step.

        Args:
            tell: puts an event of this service into the inbox.
            start: runs a coroutine beside the loop; what it raises ends the session.
            relist: has the inputs listed anew.
            git_works: is git writing the tree? Then it has called `Sight.hold`, and `resume` follows.
        """
        self._tell, self._start = tell, start
        self.handle(cycle.Tick())
        self.sight.begin(tell, start, relist, git_works)

    async def open(self, catch_up: Callable[[], Awaitable[None] | None]) -> None:
        """Let requests in; they wait at the gate until the app serves. See `Gate` for the argument."""
        if self._front:
            self._front.open(catch_up, self._answered)
            self.show()

    async def close(self) -> None:
        """Let go of every request."""
        self._report.close()
        if self._front:
            await self._front.close()

    def handle(self, event: cycle.Event) -> None:
        """Let the cycle decide, then do it."""
        self.state, actions = cycle.step(self.state, event, time.monotonic(), self._policy)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        wakes = [action.at for action in actions if isinstance(action, cycle.Wake)]
        if wakes:
            self._timer = asyncio.get_running_loop().call_at(min(wakes), self._tell, cycle.Tick())
        for action in actions:
            self._perform(action)
        self.show()
        if isinstance(event, cycle.Ready):
            self._report.mark("opened")
            if not (self._front and self._front.waits):
                self._report.close()

    def _answered(self, launch: int) -> None:
        """A launch has answered for the first time: somebody waited for that, or has asked much later."""
        if self.state.app and self.state.app.launch == launch:
            self._report.mark("answered")
            self._report.close()

    def listed(self, again: bool) -> bool:
        """The new inputs are watched. See `Sight.listed`."""
        again = self.sight.listed(again)
        if self.state.app:  # else it follows the first reload
            self.rest()
        return again

    @property
    def running(self) -> Launch | None:
        """The newest launch of its app."""
        return self._launches.get(self.state.app.launch) if self.state.app else None

    def mended(self, files: tuple[str, ...]) -> None:
        """A build that failed, or will, may have done so for a header that was wrong in these files."""
        if self.state.build:
            self._mended = True
        elif self.state.outcome and self.state.outcome.digest is None:
            self._report.about(files)
            self.handle(cycle.Changed("rebuild"))

    def show(self) -> None:
        """Let the gate say what is."""
        if self._front:
            self._front.show(self._gate())

    def _gate(self) -> State:
        if waits := self.sight.waits:
            return waits
        state = self.state
        match cycle.standing(state):
            case "open" if (launch := self.running) and launch.place:
                return Open(launch.number, *launch.place)
            case "failed" if state.outcome and state.outcome.generation in self._results:
                return Failed(self._results[state.outcome.generation].problems)
            case "ended":
                return self._ended
        if state.build:
            return Held(self._report.about_build)
        launch = self.running if state.app and state.app.phase == "starting" else None
        return Held(launch.waits_for if launch else "the program to start")

    def ask(self, what: Literal["restart", "rebuild", "quit"]) -> None:
        """The person wants a restart, a rebuild or the end."""
        if what == "quit":
            self.sight.end()
            for launch in self._launches.values():
                launch.hurry()
            if self._front:
                self._start(self._front.close())
        else:
            self._report.about([f"[{what}]"])
            self.sight.again()
        self.handle(cycle.Asked(what))

    def kill(self) -> None:
        """End everything at once, without grace."""
        self._making.kill()
        for launch in self._launches.values():
            launch.kill()
        self.sight.kill()

    # Actions.

    def _perform(self, action: cycle.Action) -> None:
        match action:
            case cycle.StartBuild(generation):
                self._start(self._build(generation))
            case cycle.CancelBuild():
                self._making.cancel()
            case cycle.StartApp(number, generation):
                self._start(self._launch(self._new_launch(number), generation))
            case cycle.StopApp(number):
                if launch := self._launches.get(number):
                    launch.stop()
            case cycle.Keep():
                self._report.kept("same binary, kept")
                self._start(self._after())
            case cycle.ShowBroken(generation):
                self._show_broken(self._results[generation])
                self._start(self._after())
            case cycle.ShowBuilt(generation):
                if binary := self._work.binary(generation):
                    self._report.kept(binary)
                else:
                    self._report.done(self._results[generation].seconds)
                self._start(self._after())
            case cycle.ShowExit():
                self._show_exit(action)
                self._start(self._after())
            case cycle.Wake() | cycle.Finish():
                pass
            case _:
                assert_never(action)

    async def _build(self, generation: int) -> None:
        if self._resting:
            self._resting.cancel()
        if generation > 1:  # else it began before we did
            self.window = (time.time_ns(), 0)
        self._mended = False
        progress = asyncio.create_task(self._progress())
        try:
            result = await self._making.run(generation, self._cancelled)
            if result.code and not result.cancelled and self._mended:
                result = await self._making.run(generation, self._cancelled)
        finally:
            progress.cancel()
            self.window = (self.window[0], time.time_ns())
        await self.sight.free()  # what git left half-way is neither shown nor started
        self._results = {generation: result}
        if result.cancelled or self._cancelled():
            self._tell(cycle.Cancelled(generation))
        elif result.code:
            self._tell(cycle.Broken(generation))
            if self._work.hindered(result) == "full":
                self._start(self._until_room(generation))
        else:
            self._report.built(result)
            self._tell(cycle.Built(generation, self._making.identify(generation, self.state.app)))

    def _cancelled(self) -> bool:
        return self.state.build is not None and self.state.build.cancelled

    async def _until_room(self, generation: int) -> None:
        if await self._making.room(lambda: self.state.generation != generation or self.state.quitting):
            self._report.about(["room on the disk"])
            self.handle(cycle.Changed("rebuild"))

    async def _progress(self) -> None:
        await asyncio.sleep(PROGRESS_AFTER)
        if not self._console.live:
            self._console.say("building", self._console.paint("building ...", Fore.CYAN), self.name)
            return
        began = time.monotonic() - PROGRESS_AFTER
        while True:
            self._console.progress(f"         building {time.monotonic() - began:.0f} s")
            await asyncio.sleep(0.5)

    def _new_launch(self, number: int) -> Launch:
        """A launch that can be told to stop from now on, before it has begun, too."""
        assert self._app is not None
        assert self._ports is not None
        self._launches[number] = launch = Launch(
            number,
            self._app,
            self._report,
            lambda block: self._console.output(self.name, block),
            self._front,
            self._console.live and self._console.colour,
            self._ports.elsewhere,
        )
        self._report.launch()
        return launch

    async def _launch(self, launch: Launch, generation: int) -> None:
        assert self._app is not None
        assert self._ports is not None
        binary, number = self._work.binary(generation), launch.number
        assert binary is not None
        self.show()
        asyncio.get_running_loop().call_later(LIST_AFTER, self.sight.list_at_last)
        try:
            code = await launch.run(binary, lambda: self._ready(launch))
        except (OSError, GoreloadError) as error:  # the latter: an env file cannot be read
            why = f"cannot start {binary}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._report.warn("error", why)
            code = 127
            if not os.path.exists(binary) and not self._missed:
                self._tell(cycle.Changed("rebuild"))
            self._missed = True
        else:
            self._missed = False
        finally:
            del self._launches[number]
        app = self.state.app
        if app and app.launch == number and app.phase != "stopping":
            how = exit_name(code) if code else "it was done, with exit code 0"
            if self._front and readiness.port_in_use(launch.tail) == self._front.port:
                how = f"{how}: {self._ports.ours}"
            trace = panic.parse(launch.tail, self._app.cwd)
            remark = self._making.remark(generation) if trace else ""
            never = self._policy.crash.restart == "never"
            self._ended = Crashed(f"{how}; {remark}" if remark else how, tuple(launch.tail), trace, remark, never)
        self._tell(cycle.Exited(number, code, random.random()))

    async def _ready(self, launch: Launch) -> None:
        """A launch serves, or is taken for one that never will."""
        assert self._app is not None
        assert self._ports is not None
        app, serve, ports = self.state.app, self._app.settings.serve, self._ports
        if app is None or app.launch != launch.number or app.phase != "starting":  # it is being stopped
            return
        launch.drain()  # what it said before it served stands above the line that says it does
        seconds, url = time.monotonic() - launch.since, ports.url(launch) or "listens on no port yet"
        self._report.up(seconds, url)
        ports.advise(launch)
        self.handle(cycle.Ready(launch.number))  # not by way of the inbox: who waits at the gate waits for this
        await self._after()
        if self._check:
            self._start(self._check())
            self._check = None
        if (own := ports.own) and (launch.place is None or launch.place.port != own):
            self._start(ports.name_owner(own, self.state.leaving is not None, launch))
        if launch.place is None:
            launch.place = await launch.later(readiness.LATE)
            if launch.place is not None:
                self._report.say("port", f"listens now -> {ports.url(launch)}", url=ports.url(launch))
        if launch.place is not None and serve.open and not self._opened:
            self._opened = True
            import webbrowser

            # A browser may be waited for until it ends (`BROWSER="w3m %s"`); our own end is not.
            threading.Thread(target=webbrowser.open, args=[ports.url(launch)], daemon=True).start()
        if launch.elsewhere:
            await launch.moved()
            ports.elsewhere = None
            self._report.say("port", "the app listens on its PORT now: requests go there")
            self.show()

    # What the person reads.

    async def _after(self) -> None:
        """After each reload look everywhere: what was not told is found here at the latest. It keeps nobody waiting."""
        await asyncio.sleep(BREATH)
        self.sight.look_again()
        running = {app.generation for app in (self.state.app, self.state.leaving) if app}
        await asyncio.to_thread(self._work.forget, running)
        self.sight.list_at_last()
        self.rest()

    def rest(self) -> None:
        if self._chores and not self.state.build and (self._resting is None or self._resting.done()):
            self._resting = self._start(self._rest(self._chores))

    async def _rest(self, chores: Chores) -> None:
        """Nobody wants anything: do what can be done without being asked."""
        if await chores(self._settled):
            self._report.about(["verification"])
            self.handle(cycle.Changed("rebuild"))

    def _settled(self) -> bool:
        """Is the newest binary what the sources call for, as they are?

        A look takes note of what is built only when a rule's command has run, a loop has ended, or later (`cooldown`).
        """
        newest = self.state.outcome
        good = newest is not None and newest.digest is not None and newest.generation == self.state.generation
        return good and not self.state.build and self.sight.settled()

    def _show_broken(self, result: Result) -> None:
        if self._work.binary(0) is None:
            self._report.failed(result.code, result.seconds)
            return
        still = ""
        if self._policy.app:
            keeps = self._policy.reload.on_failure == "keep" and self.state.app
            still = "; the old program still runs" if keeps else "; nothing runs"
            if self._front:
                still = "; connections are closed" if self._front.whole else "; requests are told so"
        self._report.broken(result.problems, result.seconds, still)

    def _show_exit(self, action: cycle.ShowExit) -> None:
        never = self._policy.crash.restart == "never"
        then = "nothing starts it but `r` or `b`, as crash.restart says" if never else "waits for a change"
        if action.coming:
            then = "its successor is being built"
        elif action.retry_in is not None:
            then = f"starts again in {took(action.retry_in)}"
        assert self._app is not None
        self._report.ended(action.code, self._ended.tail, self._ended.panic, self._app.cwd, then, self._ended.remark)
        assert self._ports is not None
        if busy := readiness.port_in_use(self._ended.tail) or self._ports.own:
            self._start(self._ports.name_owner(busy, self.state.leaving is not None))
