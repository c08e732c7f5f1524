"""The policy as tables and as properties over random histories; no process, no clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.cycle import (
    Action,
    Asked,
    Broken,
    Built,
    CancelBuild,
    Cancelled,
    Changed,
    Event,
    Exited,
    Finish,
    Keep,
    Policy,
    Ready,
    ShowBroken,
    ShowBuilt,
    ShowExit,
    StartApp,
    StartBuild,
    State,
    StopApp,
    Tick,
    Wake,
    standing,
    step,
)
from goreload_tasks.settings.schema import Crash, Duration, Reload

POLICY = Policy(Reload(debounce=Duration(0.15)), Crash())


def play(events: Sequence[tuple[float, Event]], policy: Policy = POLICY) -> tuple[State, list[list[Action]]]:
    state = State()
    told: list[list[Action]] = []
    for now, event in events:
        state, actions = step(state, event, now, policy)
        told.append([action for action in actions if not isinstance(action, Wake)])
    return state, told


def serving(digest: str = "a") -> list[tuple[float, Event]]:
    return [(0, Tick()), (1, Built(1, digest)), (1, Ready(1))]


def test_first_look_builds_and_a_good_build_starts_the_app() -> None:
    _, told = play(serving())
    assert told == [[StartBuild(1)], [StartApp(1, 1)], []]


def test_first_change_builds_at_once_and_the_swap_waits_until_it_is_quiet() -> None:
    _, told = play(
        [*serving(), (10, Changed("rebuild")), (10.05, Built(2, "b")), (10.15, Tick()), (10.2, Exited(1, 0))]
    )
    assert told[3:] == [[StartBuild(2)], [], [StopApp(1)], [StartApp(2, 2)]]


def test_later_change_cancels_the_build_and_the_next_starts_when_it_is_gone() -> None:
    _, told = play([*serving(), (10, Changed("rebuild")), (10.1, Changed("rebuild")), (10.11, Cancelled(2))])
    assert told[3:] == [[StartBuild(2)], [CancelBuild(2)], [StartBuild(3)]]


def test_build_longer_than_the_window_makes_the_window_free() -> None:
    _, told = play([*serving(), (10, Changed("rebuild")), (10.5, Built(2, "b"))])
    assert told[4] == [StopApp(1)]


def test_same_binary_is_no_restart() -> None:
    state, told = play([*serving("a"), (10, Changed("rebuild")), (10.5, Built(2, "a"))])
    assert told[4] == [Keep(2)]
    assert state.app
    assert (state.app.launch, state.app.generation) == (1, 2)


def test_failed_build_keeps_the_old_app_and_is_shown_once_when_quiet() -> None:
    state, told = play([*serving(), (10, Changed("rebuild")), (10.05, Broken(2)), (10.15, Tick()), (11, Tick())])
    assert told[3:] == [[StartBuild(2)], [], [ShowBroken(2)], []]
    assert state.app
    assert state.app.phase == "up"


def test_on_failure_stop_stops_the_app_and_a_mended_build_starts_it() -> None:
    policy = Policy(Reload(on_failure="stop"), Crash())
    events = [*serving(), (10, Changed("rebuild")), (11, Broken(2)), (11.1, Exited(1, 0)), (20, Changed("rebuild"))]
    _, told = play([*events, (21, Built(3, "c"))], policy)
    assert told[4:] == [[ShowBroken(2), StopApp(1)], [], [StartBuild(3)], [StartApp(2, 3)]]


def test_change_while_the_old_app_stops_waits_for_the_newer_build() -> None:
    events = [
        *serving(),
        (10, Changed("rebuild")),
        (11, Built(2, "b")),
        (11.1, Changed("rebuild")),
        (11.2, Exited(1, 0)),
    ]
    _, told = play([*events, (12, Built(3, "c"))])
    assert told[4:] == [[StopApp(1)], [StartBuild(3)], [], [StartApp(2, 3)]]


def test_broken_change_while_the_old_app_stops_starts_the_newest_binary_there_is() -> None:
    events = [
        *serving(),
        (10, Changed("rebuild")),
        (11, Built(2, "b")),
        (11.1, Changed("rebuild")),
        (11.2, Exited(1, 0)),
    ]
    _, told = play([*events, (12, Broken(3))])
    assert told[-1] == [ShowBroken(3), StartApp(2, 2)]


def test_cooldown_collapses_changes_into_one_build() -> None:
    policy = Policy(Reload(cooldown=Duration(5)), Crash())
    events: list[tuple[float, Event]] = [(0, Tick()), (1, Built(1, "a")), (1, Ready(1)), (2, Changed("rebuild"))]
    _, told = play([*events, (3, Changed("rebuild")), (4.9, Tick()), (5, Tick())], policy)
    assert told[3:] == [[], [], [], [StartBuild(3)]]


def test_restart_verdict_restarts_without_a_build() -> None:
    _, told = play([*serving(), (10, Changed("restart")), (10.15, Tick()), (10.3, Exited(1, 0))])
    assert told[3:] == [[], [StopApp(1)], [StartApp(2, 1)]]


def test_restart_verdict_during_a_build_is_one_swap() -> None:
    events = [*serving(), (10, Changed("rebuild")), (10.1, Changed("restart")), (10.6, Built(2, "a"))]
    _, told = play([*events, (10.7, Exited(1, 0))])
    assert told[3:] == [[StartBuild(2)], [], [StopApp(1)], [StartApp(2, 2)]]


def test_crash_is_told_and_held_until_a_change() -> None:
    _, told = play([*serving(), (2, Exited(1, 2)), (99, Tick()), (100, Changed("rebuild")), (101, Built(2, "a"))])
    assert told[3:] == [[ShowExit(1, 2, None)], [], [StartBuild(2)], [StartApp(2, 2)]]


def test_clean_end_is_no_crash_and_never_retried() -> None:
    policy = Policy(Reload(), Crash(restart="backoff"))
    state, told = play([*serving(), (2, Exited(1, 0)), (100, Tick())], policy)
    assert told[3:] == [[ShowExit(1, 0, None)], []]
    assert state.crashes == 0


def test_backoff_doubles_with_jitter_up_to_the_limit_and_then_holds() -> None:
    policy = Policy(Reload(), Crash(restart="backoff", delay=Duration(5), jitter=0.5, limit=2))
    state, told = play(serving(), policy)
    waits = []
    now = 1.0
    for launch in (1, 2, 3):
        state, actions = step(state, Exited(launch, 1, luck=0.5), now, policy)
        end = next(action for action in actions if isinstance(action, ShowExit))
        waits.append(end.retry_in)
        now += end.retry_in or 0
        state, actions = step(state, Tick(), now, policy)
    assert waits == [pytest.approx(6.25), pytest.approx(12.5), None]
    assert told[0] == [StartBuild(1)]


def test_quiet_minute_forgets_earlier_crashes() -> None:
    policy = Policy(Reload(), Crash(restart="backoff", delay=Duration(1), jitter=0))
    events: list[tuple[float, Event]] = [(2, Exited(1, 1)), (3, Tick()), (3, Ready(2)), (70, Exited(2, 1))]
    _, told = play([*serving(), *events], policy)
    assert [a.retry_in for actions in told for a in actions if isinstance(a, ShowExit)] == [1, 1]


def test_never_holds_a_crashed_app_until_the_person_asks() -> None:
    policy = Policy(Reload(), Crash(restart="never"))
    events: list[tuple[float, Event]] = [(2, Exited(1, 1)), (9, Changed("rebuild")), (10, Built(2, "b"))]
    _, told = play([*serving(), *events, (11, Asked("restart"))], policy)
    assert told[-2:] == [[], [StartApp(2, 2)]]


def test_crash_while_a_build_runs_that_fails_starts_the_crashed_program_no_more() -> None:
    events: list[tuple[float, Event]] = [(2, Changed("rebuild")), (3, Exited(1, 2)), (4, Broken(2))]
    _, told = play([*serving(), *events, (5, Changed("rebuild")), (6, Built(3, "c"))])
    assert told[3:] == [
        [StartBuild(2)],
        [ShowExit(1, 2, None, coming=True)],
        [ShowBroken(2)],
        [StartBuild(3)],
        [StartApp(2, 3)],
    ]


BESIDE = [Changed("rebuild"), Exited(1, 2)]
START = [ShowBroken(2), StartApp(2, 1)]


@pytest.mark.parametrize(
    ("events", "crash", "last"),
    [
        ([Exited(1, 2), Changed("rebuild"), Broken(2)], Crash(), [ShowBroken(2)]),
        ([Exited(1, 2), Changed("rebuild"), Broken(2), Asked("restart")], Crash(), [StartApp(2, 1)]),
        ([Exited(1, 2), Changed("rebuild"), Broken(2), Changed("restart")], Crash(), [StartApp(2, 1)]),
        ([*BESIDE, Changed("restart"), Broken(2)], Crash(), START),
        ([*BESIDE, Asked("restart"), Broken(2)], Crash(), START),
        ([*BESIDE, Broken(2)], Crash(restart="backoff"), START),
        ([Exited(1, 2), Changed("rebuild"), Broken(2)], Crash(restart="backoff", delay=Duration(60)), START),
        ([*BESIDE, Broken(2), Changed("restart")], Crash(restart="never"), [ShowBroken(2)]),
        ([*BESIDE, Broken(2), Changed("rebuild"), Built(3, "c")], Crash(restart="never"), [StartApp(2, 3)]),
    ],
)
def test_what_starts_a_program_that_crashed_beside_a_build_that_fails(
    events: list[Event], crash: Crash, last: list[Action]
) -> None:
    steps = [(10.0 * number, event) for number, event in enumerate(events, 1)]
    _, told = play([*serving(), *steps, (1000, Tick())], Policy(Reload(), crash))
    assert [actions for actions in told if actions][-1] == last


def test_watch_has_no_app_and_tells_each_build() -> None:
    _, told = play(
        [(0, Tick()), (1, Built(1, "a")), (2, Changed("rebuild")), (3, Built(2, "b"))],
        Policy(Reload(), Crash(), app=False),
    )
    assert told == [[StartBuild(1)], [ShowBuilt(1)], [StartBuild(2)], [ShowBuilt(2)]]


def test_watch_tells_a_failure_and_starts_nothing() -> None:
    events: list[tuple[float, Event]] = [(0, Tick()), (1, Built(1, "a")), (2, Changed("rebuild")), (3, Broken(2))]
    _, told = play([*events, (4, Tick())], Policy(Reload(), Crash(), app=False))
    assert told[2:] == [[StartBuild(2)], [ShowBroken(2)], []]


def test_quit_cancels_the_build_stops_the_app_and_finishes_when_both_are_gone() -> None:
    events = [*serving(), (10, Changed("rebuild")), (10.1, Asked("quit")), (10.2, Cancelled(2)), (10.3, Exited(1, 0))]
    _, told = play(events)
    assert told[4:] == [[CancelBuild(2), StopApp(1)], [], [Finish()]]


def test_end_of_an_earlier_launch_means_nothing() -> None:
    state, told = play([*serving(), (2, Exited(7, 1))])
    assert told[-1] == []
    assert state.app


def test_app_that_ends_while_its_successor_is_built_is_no_crash_of_the_successor() -> None:
    state, told = play([*serving(), (10, Changed("rebuild")), (10.1, Exited(1, 2)), (11, Built(2, "b"))])
    assert told[3:] == [[StartBuild(2)], [ShowExit(1, 2, None, coming=True)], [StartApp(2, 2)]]
    assert state.crashes == 0


def test_overlap_starts_the_new_app_first_and_stops_the_old_one_when_it_serves() -> None:
    policy = Policy(Reload(), Crash(), overlap=True)
    events = [*serving(), (10, Changed("rebuild")), (11, Built(2, "b")), (11.1, Ready(2)), (11.2, Exited(1, 0))]
    state, told = play(events, policy)
    assert told[3:] == [[StartBuild(2)], [StartApp(2, 2)], [StopApp(1)], []]
    assert standing(state) == "open"
    assert state.leaving is None


def test_overlap_keeps_the_old_app_when_the_new_one_ends_before_it_serves() -> None:
    policy = Policy(Reload(), Crash(), overlap=True)
    events = [*serving(), (10, Changed("rebuild")), (11, Built(2, "b")), (11.1, Exited(2, 1))]
    state, told = play(events, policy)
    assert told[-1] == [ShowExit(2, 1, None)]
    assert state.leaving
    assert standing(state) == "ended"
    state, actions = step(state, Asked("quit"), 12, policy)
    assert actions == (StopApp(1),)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([(0, Tick())], "held"),
        ([(0, Tick()), (1, Built(1, "a"))], "held"),
        (serving(), "open"),
        ([*serving(), (10, Changed("rebuild"))], "held"),
        ([*serving(), (10, Changed("restart"))], "held"),
        ([*serving(), (10, Changed("rebuild")), (10.05, Broken(2))], "held"),
        ([*serving(), (10, Changed("rebuild")), (11, Broken(2))], "failed"),
        ([*serving(), (10, Changed("rebuild")), (11, Broken(2)), (12, Changed("rebuild"))], "held"),
        ([*serving(), (10, Changed("rebuild")), (11, Built(2, "a"))], "open"),
        ([*serving(), (10, Exited(1, 1))], "ended"),
        ([*serving(), (10, Exited(1, 1)), (11, Changed("rebuild"))], "held"),
        ([*serving(), (10, Asked("quit"))], "held"),
    ],
)
def test_what_a_request_finds(events: list[tuple[float, Event]], found: str) -> None:
    assert standing(play(events)[0]) == found


# Properties: a little world answers the actions in any order that processes could.


@dataclass
class World:
    """Executes actions as processes would, and remembers what must never happen."""

    policy: Policy
    state: State = field(default_factory=State)
    now: float = 0.0
    disk: int = 1  # the newest source state; odd ones compile
    last_change: float = -100.0
    building: dict[int, int] = field(default_factory=dict)  # generation -> source state that it reads
    cancelling: set[int] = field(default_factory=set)
    binaries: dict[int, int] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)  # launch -> source state
    stopping: set[int] = field(default_factory=set)
    wake: float | None = None
    broken: set[int] = field(default_factory=set)

    def tell(self, event: Event) -> None:
        self.state, actions = step(self.state, event, self.now, self.policy)
        if standing(self.state) == "open":
            assert self.state.app
            assert self.running[self.state.app.launch] == self.disk, "the gate is open to old code"
        wakes = [action.at for action in actions if isinstance(action, Wake)]
        self.wake = min(wakes) if wakes else None
        for action in actions:
            self.perform(action)

    def quiet(self) -> bool:
        return self.now >= self.last_change + self.policy.reload.debounce

    def perform(self, action: Action) -> None:
        match action:
            case StartBuild(generation):
                assert not self.building, "two builds at once"
                assert generation not in self.binaries, "a binary is never overwritten"
                self.building[generation] = self.disk
            case CancelBuild(generation):
                assert generation in self.building
                self.cancelling.add(generation)
            case StartApp(launch, generation):
                assert len(self.running) <= self.policy.overlap, "one app too many at once"
                assert launch not in self.running
                self.running[launch] = self.binaries[generation]
            case StopApp(launch):
                assert launch in self.running
                assert launch not in self.stopping, "stopped twice"
                assert self.policy.overlap or self.quiet(), "swap inside the quiet window"
                self.stopping.add(launch)
            case Keep() | ShowBroken():
                assert self.quiet(), "swap inside the quiet window"
            case _:
                pass

    def end_build(self, finish_anyway: bool = False) -> None:
        for generation, source in list(self.building.items()):
            del self.building[generation]
            if generation in self.cancelling and not finish_anyway:
                self.cancelling.discard(generation)
                self.tell(Cancelled(generation))
            elif source in self.broken:
                self.tell(Broken(generation))
            else:
                self.binaries[generation] = source
                self.tell(Built(generation, str(source)))

    def end_app(self, code: int) -> None:
        for launch in list(self.running):
            if launch in self.stopping or code:
                del self.running[launch]
                self.stopping.discard(launch)
                self.tell(Exited(launch, code, 0.5))

    def save(self, compiles: bool, fresh: bool) -> None:
        self.disk = self.disk + 1 if fresh else self.disk
        if not compiles:
            self.broken.add(self.disk)
        self.last_change = self.now
        self.tell(Changed("rebuild"))

    def settle(self) -> None:
        for _ in range(200):
            self.end_build()
            self.end_app(0)
            if self.state.app and self.state.app.phase == "starting":
                self.tell(Ready(self.state.app.launch))
            if self.wake is not None:
                self.now = max(self.now, self.wake)
                self.tell(Tick())
            elif not self.building and not self.stopping:
                return
        raise AssertionError("the cycle never comes to rest")


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.booleans(), st.booleans()),
        st.tuples(st.just("restart"), st.booleans(), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.2, 1.0, 10.0]), st.just(0)),
        st.tuples(st.just("built"), st.booleans(), st.just(0)),
        st.tuples(st.just("gone"), st.just(0), st.just(0)),
        st.tuples(st.just("crash"), st.just(0), st.just(0)),
        st.tuples(st.just("ready"), st.just(0), st.just(0)),
        st.tuples(st.just("ask"), st.sampled_from(["restart", "rebuild"]), st.just(0)),
    ),
    max_size=40,
)


@given(
    MOVES,
    st.sampled_from(["on-change", "backoff"]),
    st.sampled_from([0.0, 0.15, 0.6]),
    st.sampled_from([0.0, 2.0]),
    st.booleans(),
)
def test_over_any_history_the_newest_generation_that_compiles_runs_in_the_end(
    moves: list[tuple[str, object, object]], restart: str, debounce: float, cooldown: float, overlap: bool
) -> None:
    crash = Crash(restart="backoff" if restart == "backoff" else "on-change")
    world = World(Policy(Reload(Duration(debounce), Duration(cooldown)), crash, overlap=overlap))
    world.tell(Tick())
    newest_good = 1
    for name, first, second in moves:
        if name == "save":
            compiles = bool(first)
            # The same source state saved again keeps its fate.
            fresh = bool(second) or not compiles or world.disk in world.broken
            world.save(compiles, fresh)
        elif name == "restart":
            world.last_change = world.now
            world.tell(Changed("restart"))
        elif name == "wait":
            target = world.now + float(str(first))
            while world.wake is not None and world.wake <= target:
                world.now = max(world.now, world.wake)
                world.tell(Tick())
            world.now = target
        elif name == "built":
            world.end_build(finish_anyway=bool(first))
        elif name == "gone":
            world.end_app(0)
        elif name == "crash":
            world.end_app(1)
        elif name == "ready" and world.state.app:
            world.tell(Ready(world.state.app.launch))
        elif name == "ask":
            world.last_change = -100.0  # a person's wish has no quiet window
            world.tell(Asked("restart" if first == "restart" else "rebuild"))
    world.now += 1
    world.save(compiles=True, fresh=world.disk in world.broken)
    world.settle()
    newest_good = world.disk
    assert list(world.running.values()) == [newest_good]
    world.now += 1
    world.save(compiles=False, fresh=True)
    world.settle()
    assert list(world.running.values()) == [newest_good], "a broken save must not end what runs"
    world.tell(Asked("quit"))
    world.last_change = -100.0
    world.end_build()
    world.end_app(0)
    assert world.state.finished
    assert not world.running


def test_states_are_values() -> None:
    state = State()
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.generation = 2  # type: ignore[misc]
