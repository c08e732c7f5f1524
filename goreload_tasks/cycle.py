"""PURE. The whole reload policy: an event in, the next state and what to do about it out.

No I/O, no clock, no randomness: time (seconds, monotonic) and luck come with the call. `observe` writes down what
happened; `decide` compares what is with what should be and returns the difference as actions. One cycle is one service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from goreload_tasks.settings.schema import Crash, Reload

QUIET_MINUTE = 60.0
"""Seconds that an app must have run for its earlier crashes to be forgotten."""


# What can happen.


@dataclass(frozen=True, slots=True)
class Changed:
    """Inputs changed: `rebuild` when the binary may differ, `restart` when only the running app reads them."""

    verdict: Literal["rebuild", "restart"]


@dataclass(frozen=True, slots=True)
class Built:
    """A build of `generation` ended well; equal digests are equal binaries."""

    generation: int
    digest: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A build of `generation` ended with errors."""

    generation: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A build that we cancelled is gone, its whole process group with it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The app of this launch serves."""

    launch: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The app of this launch is gone, its whole process group with it. `luck` is a random number from 0 to 1."""

    launch: int
    code: int
    luck: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The person asked: a restart of the app, a rebuild, or the end."""

    what: Literal["restart", "rebuild", "quit"]


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment that a `Wake` named, or just another look."""


Event = Changed | Built | Broken | Cancelled | Ready | Exited | Asked | Tick


# What to do about it.


@dataclass(frozen=True, slots=True)
class StartBuild:
    generation: int


@dataclass(frozen=True, slots=True)
class CancelBuild:
    generation: int


@dataclass(frozen=True, slots=True)
class StartApp:
    """Start the binary of `generation` as launch number `launch`."""

    launch: int
    generation: int


@dataclass(frozen=True, slots=True)
class StopApp:
    launch: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The new binary is the running one: nothing is restarted."""

    generation: int


@dataclass(frozen=True, slots=True)
class ShowBroken:
    generation: int


@dataclass(frozen=True, slots=True)
class ShowBuilt:
    """A build ended well and there is no app to swap (`watch`)."""

    generation: int


@dataclass(frozen=True, slots=True)
class ShowExit:
    """The app ended by itself; `retry_in` seconds until it is started again, or None: held until a change.

    coming: nothing is held, because a newer generation is on its way.
    """

    launch: int
    code: int
    retry_in: float | None
    coming: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """Come back with a Tick at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything of this service is gone."""


Action = StartBuild | CancelBuild | StartApp | StopApp | Keep | ShowBroken | ShowBuilt | ShowExit | Wake | Finish


# What is.


@dataclass(frozen=True, slots=True)
class Build:
    generation: int
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the newest build that was not cancelled ended: with a binary, or (digest None) with errors."""

    generation: int
    digest: str | None
    shown: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """A launch that is not gone. `stale`: something that it reads has changed since it was started."""

    launch: int
    generation: int
    digest: str
    phase: Literal["starting", "up", "stopping"]
    since: float
    stale: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """One service. The next generation is built when it is newer than every build begun so far.

    leaving: where generations overlap, the app that serves until the new one does, and then finishes its requests.
    """

    generation: int = 1
    begun: int = 0
    build: Build | None = None
    outcome: Outcome | None = None
    good: Outcome | None = None  # the newest binary, whether it runs or not
    app: App | None = None
    leaving: App | None = None
    launches: int = 0
    quiet_at: float = 0.0  # no swap before
    build_at: float = 0.0  # no build before
    crashes: int = 0  # in a row
    held: bool = False  # the app ended by itself: nothing starts it but a change, a person or `retry_at`
    succeeded: bool = False  # it ended by itself and its successor is on its way: one that fails starts nothing
    retry_at: float | None = None
    quitting: bool = False
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide. `app` False: build only (`watch`). `overlap`: start the new one beside the old one."""

    reload: Reload
    crash: Crash
    app: bool = True
    overlap: bool = False


def standing(state: State) -> Literal["open", "held", "failed", "ended"]:
    """What a request finds: an app that is what is on disk, one that comes, a failed build, or an app that ended."""
    outcome, app = state.outcome, state.app
    if state.quitting or state.finished:
        return "held"
    newest = outcome is not None and outcome.generation == state.generation
    if newest and outcome is not None and outcome.digest is None:
        return "failed" if outcome.shown else "held"
    if app is None:
        return "ended" if state.held and newest else "held"
    current = app.phase == "up" and app.generation == state.generation and not app.stale
    return "open" if current else "held"


def step(state: State, event: Event, now: float, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """The whole policy: what happened, then what to do about it."""
    state, told = observe(state, event, now, policy)
    state, actions = decide(state, now, policy)
    return state, told + actions


def observe(state: State, event: Event, now: float, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Write down what happened. Only the end of an app is told at once; everything else waits for `decide`."""
    match event:
        case Changed(verdict):
            never = policy.crash.restart == "never"
            held = state.held and never
            succeeded = state.succeeded or (state.held and not held and state.retry_at is None)
            succeeded = succeeded and (verdict == "rebuild" or never)
            state = replace(state, quiet_at=now + policy.reload.debounce, held=held, retry_at=None, crashes=0)
            return _wanted(replace(state, succeeded=succeeded), verdict), ()
        case Asked(what):
            if what == "quit":
                return replace(state, quitting=True), ()
            state = replace(state, quiet_at=now, held=False, succeeded=False, retry_at=None, crashes=0)
            return _wanted(state, what), ()
        case Built(generation, digest):
            outcome = Outcome(generation, digest)
            return replace(state, build=None, outcome=outcome, good=outcome), ()
        case Broken(generation):
            return replace(state, build=None, outcome=Outcome(generation, None)), ()
        case Cancelled():
            return replace(state, build=None), ()
        case Ready(launch):
            if state.app and state.app.launch == launch and state.app.phase == "starting":
                state = replace(state, app=replace(state.app, phase="up", since=now))
            return state, ()
        case Exited(launch, code, luck):
            return _exited(state, launch, code, luck, now, policy)
        case Tick():
            return state, ()
        case _:
            assert_never(event)


def _wanted(state: State, verdict: Literal["rebuild", "restart"]) -> State:
    if verdict == "rebuild":
        return replace(state, generation=state.generation + 1)
    return replace(state, app=state.app and replace(state.app, stale=True))


def _exited(
    state: State, launch: int, code: int, luck: float, now: float, policy: Policy
) -> tuple[State, tuple[Action, ...]]:
    app = state.app
    if state.leaving and state.leaving.launch == launch:
        return replace(state, leaving=None), ()
    if app is None or app.launch != launch:
        return state, ()
    state = replace(state, app=None)
    if app.phase == "stopping" or state.quitting:
        return state, ()
    if state.generation > app.generation and not _broken(state):  # its successor is on its way, and not to blame
        succeeded = policy.crash.restart != "backoff"
        return replace(state, crashes=0, succeeded=succeeded), (ShowExit(launch, code, None, coming=True),)
    if code == 0:  # it is done; only crashes count
        return replace(state, held=True), (ShowExit(launch, code, None),)
    calm = app.phase == "up" and now - app.since >= QUIET_MINUTE
    crashes = 1 if calm else state.crashes + 1
    delay = policy.crash.delay * 2 ** (crashes - 1) * (1 + policy.crash.jitter * luck)
    again = policy.crash.restart == "backoff" and crashes <= policy.crash.limit
    state = replace(state, crashes=crashes, held=True, retry_at=now + delay if again else None)
    return state, (ShowExit(launch, code, delay if again else None),)


def _broken(state: State) -> bool:
    outcome = state.outcome
    return outcome is not None and outcome.generation == state.generation and outcome.digest is None


def decide(state: State, now: float, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """What is missing between what is and what should be."""
    if state.quitting:
        return _quit(state)
    state, ends = _leave(state)
    state, builds = _build(state, now, policy)
    state, swaps = _swap(state, now, policy)
    return state, ends + builds + swaps


def _leave(state: State) -> tuple[State, tuple[Action, ...]]:
    """The old app goes as soon as the new one serves."""
    old = state.leaving
    if old is None or old.phase == "stopping" or state.app is None or state.app.phase != "up":
        return state, ()
    return replace(state, leaving=replace(old, phase="stopping")), (StopApp(old.launch),)


def _quit(state: State) -> tuple[State, tuple[Action, ...]]:
    actions: list[Action] = []
    if state.build and not state.build.cancelled:
        actions.append(CancelBuild(state.build.generation))
        state = replace(state, build=replace(state.build, cancelled=True))
    state, ends = _end_all(state)
    actions += ends
    if not state.build and not state.app and not state.leaving and not state.finished:
        state = replace(state, finished=True)
        actions.append(Finish())
    return state, tuple(actions)


def _build(state: State, now: float, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Build at once; a superseded build is cancelled, and gone, before the next one starts."""
    build = state.build
    if build:
        if build.generation < state.generation and not build.cancelled:
            return replace(state, build=replace(build, cancelled=True)), (CancelBuild(build.generation),)
        return state, ()
    if state.begun >= state.generation:
        return state, ()
    if now < state.build_at:
        return state, (Wake(state.build_at),)
    generation = state.generation
    build_at = now + policy.reload.cooldown
    return replace(state, begun=generation, build=Build(generation), build_at=build_at), (StartBuild(generation),)


def _swap(state: State, now: float, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Swap, or show a failure, when the newest generation's build is done and no change came for `debounce`."""
    outcome, app = state.outcome, state.app
    newest = outcome is not None and outcome.generation == state.generation
    if outcome is None or not newest or (app and app.phase == "stopping"):
        return _retry(state, now)
    if now < state.quiet_at:
        return state, (Wake(state.quiet_at),)
    state, told = _told(state, outcome, policy)
    if outcome.digest is None and policy.reload.on_failure == "stop":
        state, ends = _end_all(state)
        return state, told + ends
    good = state.good
    if not policy.app or good is None or good.digest is None:
        return state, told
    if app is None:
        if state.held:
            state, retries = _retry(state, now)
            return state, told + retries
        if state.succeeded and outcome.digest is None:
            return state, told
        return _launch(state, good.generation, good.digest, now, told)
    if app.stale or app.digest != good.digest:
        if policy.overlap and app.phase == "up":
            if state.leaving:  # one old app beside a new one is enough
                return state, told
            return _launch(replace(state, leaving=app), good.generation, good.digest, now, told)
        return _stopping(state), (*told, StopApp(app.launch))
    if app.generation < good.generation:
        return replace(state, app=replace(app, generation=good.generation)), (*told, Keep(good.generation))
    return state, told


def _told(state: State, outcome: Outcome, policy: Policy) -> tuple[State, tuple[Action, ...]]:
    """Show once how a build ended; a good one with an app speaks through the app."""
    if outcome.shown or (outcome.digest is not None and policy.app):
        return state, ()
    show = ShowBuilt(outcome.generation) if outcome.digest is not None else ShowBroken(outcome.generation)
    return replace(state, outcome=replace(outcome, shown=True)), (show,)


def _retry(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    """An app that crashed is started again when its delay is over."""
    good = state.good
    if state.retry_at is None or state.app or good is None or good.digest is None:
        return state, ()
    if now < state.retry_at:
        return state, (Wake(state.retry_at),)
    return _launch(state, good.generation, good.digest, now, ())


def _end_all(state: State) -> tuple[State, tuple[Action, ...]]:
    """Let no app run on."""
    ends: tuple[Action, ...] = ()
    if state.app and state.app.phase != "stopping":
        ends = (StopApp(state.app.launch),)
        state = _stopping(state)
    if state.leaving and state.leaving.phase != "stopping":
        ends = (*ends, StopApp(state.leaving.launch))
        state = replace(state, leaving=replace(state.leaving, phase="stopping"))
    return state, ends


def _stopping(state: State) -> State:
    return replace(state, app=state.app and replace(state.app, phase="stopping"))


def _launch(
    state: State, generation: int, digest: str, now: float, told: tuple[Action, ...]
) -> tuple[State, tuple[Action, ...]]:
    launch = state.launches + 1
    app = App(launch, generation, digest, "starting", now)
    state = replace(state, app=app, launches=launch, held=False, succeeded=False, retry_at=None)
    return state, (*told, StartApp(launch, generation))
