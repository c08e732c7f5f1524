"""One service at work: performs what its cycle decides, and tells the cycle what came of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from colorama import Fore

from goreload_tasks import cycle
from goreload_tasks.app import readiness
from goreload_tasks.app.process import Group, spawn
from goreload_tasks.build.builder import Job, Result, same_file
from goreload_tasks.build.diagnostics import summary
from goreload_tasks.console import Console, took
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.settings.schema import Rule
from goreload_tasks.work import App, Work

PROGRESS_AFTER = 1.0
"""Seconds of a build after which the person sees that it goes on."""

TAIL = 5
"""Lines shown again of an app that ended by itself."""


SELF_WRITES = 10
"""Times that a rule may call for itself by what it writes, as a formatter does, before that is called a loop."""


@dataclass(slots=True)
class Flight:
    """A rule's command under way; `again`: how many times in a row its own run called for it."""

    job: Job
    again: int


class Service:
    """The state of one service, and the hands that act on it.

    Args:
        command: makes the job of a rule.
        check: what was taken for granted at the start, asked once the app is up; what it raises ends the session.
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
        check: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.name = name
        self.tree = tree
        self.state = cycle.State()
        self._work = work
        self._policy = policy
        self._app = app
        self._command = command
        self._check = check
        self._console = console
        self._job: Job | None = None
        self._results: dict[int, Result] = {}
        self._digests: dict[int, str] = {}
        self._group: Group | None = None
        self._stopping: asyncio.Task[int] | None = None
        self._tail: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._listed = False
        self._rules: dict[Rule, Flight] = {}
        self._files: dict[str, None] = {}
        self._built: float | None = None
        self._url = ""
        self._window = (time.time_ns(), 0)

    def begin(
        self,
        tell: Callable[[cycle.Event], None],
        start: Callable[[Coroutine[Any, Any, None]], None],
        relist: Callable[[], None],
    ) -> None:
        """Take the first step.

        Args:
            tell: puts an event of this service into the inbox.
            start: runs a coroutine beside the loop; what it raises ends the session.
            relist: has the inputs listed anew.
        """
        self._tell, self._start, self._relist = tell, start, relist
        self.handle(cycle.Tick())
        self._listed = not self.tree.recall(self._window[0])
        if self._listed:
            relist()

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

    async def list(self) -> None:
        """Find out anew what the inputs are."""
        await self.tree.list(lambda: self._window[0])

    def look(self, paths: Sequence[str] = ()) -> bool:
        """Compare the inputs with what they were, at the paths of a hint or everywhere. True: list them again."""
        finding = self.tree.look(self._window, paths)
        for rule, files in finding.rules.items():
            self._begin_rule(rule, files)
        if finding.verdict == "refresh":
            self._console.say("refresh", f"{finding.files[0]} -> refresh", self.name, changed=finding.files)
        elif finding.verdict:
            self._files |= dict.fromkeys(finding.files)
            self.handle(cycle.Changed(finding.verdict))
        return finding.relist

    def _begin_rule(self, rule: Rule, files: tuple[str, ...]) -> None:
        """Run a rule's command; one that is under way is cancelled, since it may have read what was there before."""
        under_way = self._rules.get(rule)
        again = under_way.again + 1 if under_way else 0
        if again >= SELF_WRITES:
            text = f"{rule.name} writes {files[0]}, which calls for {rule.name}: it is not run again for that"
            self._console.say("loop", self._console.paint(text, Fore.YELLOW), self.name, rule=rule.name, file=files[0])
            return
        if under_way:
            under_way.job.cancel()
        self._rules[rule] = flight = Flight(self._command(rule), again)
        self._start(self._run_rule(rule, flight, files))

    async def _run_rule(self, rule: Rule, flight: Flight, files: tuple[str, ...]) -> None:
        result = await flight.job.run()
        if result.cancelled:
            return
        what = files[0] + (f" +{len(files) - 1}" if len(files) > 1 else "")
        if result.code:
            self._console.raw("output", result.text.rstrip("\n"), self.name, text=result.text)
            how = self._console.paint(f"{rule.name}: exit code {result.code}", Fore.RED)
        else:
            how = self._console.paint(f"{rule.name} {took(result.seconds)}", Fore.GREEN)
        self._console.say("rule", f"{what} -> {how}", self.name, rule=rule.name, code=result.code)
        if self.look():  # what it wrote is news; while it counts as under way, to itself it is an echo
            self._relist()
        if self._rules.get(rule) is flight:
            del self._rules[rule]
            if not result.code and rule.then in ("rebuild", "restart"):
                self._files |= dict.fromkeys(files)
                self._tell(cycle.Changed("rebuild" if rule.then == "rebuild" else "restart"))

    def ask(self, what: Literal["restart", "rebuild", "quit"]) -> None:
        """The person wants a restart, a rebuild or the end."""
        self._files[f"[{what}]"] = None
        self.handle(cycle.Asked(what))

    def kill(self) -> None:
        """End everything at once, without grace."""
        if self._job:
            self._job.kill()
        if self._group:
            self._group.signal(signal.SIGKILL)
        for flight in self._rules.values():
            flight.job.kill()

    # Actions.

    def _perform(self, action: cycle.Action) -> None:
        match action:
            case cycle.StartBuild(generation):
                self._job = self._work.job(generation)
                self._start(self._build(generation, self._job))
            case cycle.CancelBuild():
                if self._job:
                    self._job.cancel()
            case cycle.StartApp(launch, generation):
                self._start(self._launch(launch, generation))
            case cycle.StopApp():
                self._stop()
            case cycle.Keep():
                self._report(self._made(), "same binary, kept")
                self._start(self._after())
            case cycle.ShowBroken(generation):
                self._show_broken(self._results[generation])
                self._start(self._after())
            case cycle.ShowBuilt(generation):
                binary = self._work.binary(generation)
                self._report(
                    self._made() if binary else f"done {took(self._results[generation].seconds)}", binary or ""
                )
                self._start(self._after())
            case cycle.ShowExit(_, code, retry_in):
                self._show_exit(code, retry_in)
                self._start(self._after())
            case cycle.Wake() | cycle.Finish():
                pass
            case _:
                assert_never(action)

    async def _build(self, generation: int, job: Job) -> None:
        self._window = (time.time_ns(), 0)
        progress = asyncio.create_task(self._progress())
        try:
            result = await job.run()
        finally:
            progress.cancel()
            self._job = None
            self._window = (self._window[0], time.time_ns())
        self._results = {generation: result}
        self._work.tidy({self.state.app.generation} if self.state.app else set())
        if result.cancelled:
            self._tell(cycle.Cancelled(generation))
        elif result.code:
            self._tell(cycle.Broken(generation))
        else:
            self._built = result.seconds
            self._tell(cycle.Built(generation, self._identify(generation)))

    def _identify(self, generation: int) -> str:
        """A name for the content of a binary: that of an equal one that is known, else its own."""
        binary = self._work.binary(generation)
        self._digests = {known: name for known, name in self._digests.items() if self._exists(known)}
        for known, name in reversed(self._digests.items()):
            if binary and (path := self._work.binary(known)) and same_file(binary, path):
                self._digests[generation] = name
                return name
        self._digests[generation] = str(generation)
        return str(generation)

    def _exists(self, generation: int) -> bool:
        path = self._work.binary(generation)
        return path is not None and os.path.exists(path)

    async def _progress(self) -> None:
        await asyncio.sleep(PROGRESS_AFTER)
        if not self._console.live:
            self._console.say("building", self._console.paint("building ...", Fore.CYAN), self.name)
            return
        began = time.monotonic() - PROGRESS_AFTER
        while True:
            self._console.progress(f"         building {time.monotonic() - began:.0f} s")
            await asyncio.sleep(0.5)

    async def _launch(self, launch: int, generation: int) -> None:
        assert self._app is not None
        binary = self._work.binary(generation)
        assert binary is not None
        began = time.monotonic()
        try:
            self._group = group = await spawn(
                [binary, *self._app.args],
                cwd=self._app.cwd,
                env=self._app.env(),
                sink=lambda block: self._console.output(self.name, block),
                terminal=self._console.live and self._console.colour,
                partial=True,
            )
        except OSError as error:
            self._console.say("error", f"cannot start {binary}: {error.strerror}", self.name)
            self._tell(cycle.Exited(launch, 127))
            return
        ready = asyncio.create_task(self._ready(launch, group, began))
        if self.state.app and self.state.app.phase == "stopping":  # asked to stop while it was being spawned
            self._stop()
        try:
            code = await group.wait()
        finally:
            ready.cancel()
            # Who is being stopped has its grace; what a crashed app leaves in its group ends now, its port with it.
            await (self._stopping or group.stop(signal.SIGKILL, 1.0))
            self._group = self._stopping = None
        self._tail = group.tail
        self._tell(cycle.Exited(launch, code, random.random()))

    async def _ready(self, launch: int, group: Group, began: float) -> None:
        assert self._app is not None
        serve = self._app.settings.serve
        port = await readiness.accepts(group.pid, readiness.PATIENCE, serve.port)
        if port is not None and serve.ready:
            await readiness.answers(port, serve.ready)
        up = f"up {took(time.monotonic() - began)}"
        self._url = f"http://localhost:{port}" if port else ""
        group.drain()  # what it said before it served stands above the line that says it does
        self._report(f"{self._made()}, {up}", self._url or "listens on no port yet")
        self._tell(cycle.Ready(launch))
        await self._after()
        if self._check:
            self._start(self._check())
            self._check = None
        if port is None:
            port = await readiness.accepts(group.pid, readiness.LATE, serve.port)
            if port is not None:
                self._url = f"http://localhost:{port}"
                self._console.say("port", f"listens now -> {self._url}", self.name, url=self._url)
        if port is not None and serve.open and launch == 1:
            import webbrowser

            await asyncio.to_thread(webbrowser.open, self._url)

    def _stop(self) -> None:
        if self._group and self._app:
            stop = self._app.settings.stop
            how = signal.Signals[f"SIG{stop.signal}"]
            self._stopping = asyncio.create_task(self._group.stop(how, stop.grace, dump=True))

    # What the person reads.

    def _made(self) -> str:
        made = "restarted" if self._built is None else f"built {took(self._built)}"
        self._built = None
        return made

    def _what(self) -> str:
        """The file that changed, or the first and how many more."""
        files = list(self._files) or ["start"]
        self._files = {}
        return files[0] + (f" +{len(files) - 1}" if len(files) > 1 else "")

    async def _after(self) -> None:
        """After each reload look everywhere: a hint that was lost is found here at the latest."""
        if self.look() or not self._listed:  # what was recalled for the start is asked for again beside the running app
            self._listed = True
            self._relist()

    def _report(self, did: str, result: str) -> None:
        paint = self._console.paint
        what = self._what()
        parts = [paint(what, Fore.CYAN), paint(did, Fore.GREEN), *([result] if result else [])]
        self._console.say("reload", " -> ".join(parts), self.name, changed=what, did=did, result=result)

    def _show_broken(self, result: Result) -> None:
        paint = self._console.paint
        what = self._what()
        if self._work.binary(0) is None:
            self._console.say(
                "failed", f"{what} -> {paint(f'exit code {result.code}', Fore.RED)}, {took(result.seconds)}", self.name
            )
            return
        self._built = None
        problems = result.problems
        for problem in problems:
            self._console.raw("problem", paint(str(problem), Fore.RED), self.name, text=str(problem))
        still = ""
        if self._policy.app:
            keeps = self._policy.reload.on_failure == "keep" and self.state.app
            still = "; the old program still runs" if keeps else "; nothing runs"
        text = f"{paint(what, Fore.CYAN)} -> {paint(summary(problems), Fore.RED)}, {took(result.seconds)}{still}"
        self._console.say("failed", text, self.name, changed=what, problems=[str(problem) for problem in problems])

    def _show_exit(self, code: int, retry_in: float | None) -> None:
        paint = self._console.paint
        for line in self._tail[-TAIL:]:
            self._console.raw("tail", paint(f"  | {line}", Fore.RED if code else ""), self.name, text=line)
        how = f"exit code {code}" if code >= 0 else f"{signal.Signals(-code).name}"
        then = f"starts again in {took(retry_in)}" if retry_in is not None else "waits for a change"
        colour = Fore.RED if code else Fore.YELLOW
        self._files = {}
        self._console.say("exit", f"{paint(f'the app ended by itself: {how}', colour)}; {then}", self.name, code=code)
