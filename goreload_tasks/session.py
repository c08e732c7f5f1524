"""What `dev` and `watch` set up before the engine runs, and take down after it.

The first build begins as soon as it is known how to build; what only the engine needs is loaded beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from goreload_tasks.app.process import capture
from goreload_tasks.build.builder import Job
from goreload_tasks.console import Console, dry_line
from goreload_tasks.errors import GoreloadError
from goreload_tasks.gateway.sockets import bind
from goreload_tasks.inputs import memory
from goreload_tasks.inputs.snapshot import Entry
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.kept import Learned
from goreload_tasks.project import Project, drive
from goreload_tasks.settings import Service as Settled
from goreload_tasks.settings.merge import wrong
from goreload_tasks.settings.schema import Rule, Tristate
from goreload_tasks.store import discard
from goreload_tasks.work import App, Command, GoWork, tidy

if TYPE_CHECKING:
    from goreload_tasks.service import Service

SHELL_SIGNS = frozenset("|&;<>()$`")


def dev(project: Project, rest: Sequence[str], *, as_json: bool, dry: bool, timed: bool) -> int:
    """Build, run, watch and reload. Returns the exit code.

    Args:
        timed: show the parts of each reload.

    Raises:
        GoreloadError: what only a person can mend.
    """
    if rest:
        project.one()
    return _run(project, rest, as_json=as_json, dry=dry, app=True, timed=timed)


def watch(project: Project, task: str, run: str, *, as_json: bool, dry: bool) -> int:
    """Rebuild on each change, or run a task or a command. Returns the exit code.

    Raises:
        GoreloadError: what only a person can mend.
    """
    if task and run:
        raise GoreloadError("--task and --run: choose one of them")
    if not task and not run:
        return _run(project, (), as_json=as_json, dry=dry, app=False, timed=False)
    argv = _task_argv(task) if task else _run_argv(run, "--run", project.root)
    console = Console(as_json=as_json)
    if dry:
        console.raw("dry", dry_line(argv, project.root, os.environ), argv=argv)
        return 0
    if task:
        _check_task(task, argv, project.root)
    from goreload_tasks import cycle
    from goreload_tasks.engine import Engine
    from goreload_tasks.report import Report
    from goreload_tasks.service import Service

    settled = project.services[0]
    work = Command(tuple(argv), project.root, dict(os.environ), lambda block: console.output("", block))
    tree = Tree(project.root, settled.settings, capture)
    policy = cycle.Policy(settled.settings.reload, settled.settings.crash, app=False)
    name = task or run
    service = Service(name, work, tree, policy, None, _commands(project), console, Report(console, name))
    return drive(Engine([service], console, settled.settings.watch.poll).run())


def _run(project: Project, rest: Sequence[str], *, as_json: bool, dry: bool, app: bool, timed: bool) -> int:
    console = Console(as_json=as_json)
    for note in project.notes:
        console.say("note", note)
    console.name_services([service.name for service in project.services])

    if app:
        _check_ports(project)

    async def session() -> int:
        async with contextlib.AsyncExitStack() as stack:
            shared = _Shared(_turns(project), asyncio.Semaphore(1), {} if len(project.services) > 1 else None)
            made = [
                await _service(project, one, rest, console, stack, shared, app=app, dry=dry, timed=timed)
                for one in project.services
            ]
            services = [service for service in made if service]
            if dry:
                return 0
            from goreload_tasks.engine import Engine

            asked = {one.settings.watch.poll for one in project.services}
            poll: Tristate = "on" if "on" in asked else "auto" if "auto" in asked else "off"
            return await Engine(services, console, poll).run()

    return drive(session())


def _turns(project: Project) -> contextlib.AbstractAsyncContextManager[None]:
    """What each build enters: so many at once, by the least that any service asks for."""
    asked = [one.settings.build.parallel for one in project.services if one.settings.build.parallel]
    return asyncio.Semaphore(min(asked)) if asked else contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What services have in common.

    turn: what a build waits for. idle: what work at rest waits for. contents: see `Snapshot`.
    """

    turn: contextlib.AbstractAsyncContextManager[None]
    idle: contextlib.AbstractAsyncContextManager[None]
    contents: dict[str, Entry] | None


async def _service(
    project: Project,
    settled: Settled,
    rest: Sequence[str],
    console: Console,
    stack: contextlib.AsyncExitStack,
    shared: _Shared,
    *,
    app: bool,
    dry: bool,
    timed: bool,
) -> Service | None:
    settings = settled.settings
    plan, target = await project.plan(settled, dev=True, recall=not dry)
    store = project.store(settled)
    argv = [*(rest or settings.args)]
    env = project.app_env(settled, shown=dry)  # a mistake in an env file is told before anything is started
    if dry:
        binary = store.binary(1, target.name)
        console.raw("dry", dry_line(plan.build(binary), plan.cwd, plan.env), settled.name, argv=plan.build(binary))
        if app:
            console.raw("dry", dry_line([binary, *argv], project.root, env), settled.name, argv=[binary, *argv])
        return None
    mode = _mode(settled) if app else "direct"

    async def asked(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        there = os.path.isdir(scratch)  # somebody may have removed our folder; the next build makes it anew
        return await capture(argv, cwd, {**env, **tidy(scratch)} if there else env)

    tree = Tree(project.root, settings, asked, plan, store.listing, shared.contents)
    commands = _commands(project)
    for rule in settings.rules:
        if rule.command:
            commands(rule)  # one that cannot be run is told before anything is started
    stack.enter_context(store.lock())
    store.empty()
    learned = Learned(store.learned, memory.key(plan))
    scratch = stack.enter_context(store.scratch())
    stack.callback(discard, store.direct)  # the next run would not trust it
    sockets = [] if mode == "direct" else bind(settings, settings.serve.bind)
    for one in sockets:
        stack.callback(one.close)

    since = time.time_ns()
    recalled = tree.recall(since)
    known = (lambda: tree.headers, lambda: tree.fingerprint)
    work = GoWork(plan, target, store, scratch, *known, learned, settings.build.direct, shared.turn)
    stack.push_async_callback(work.close)
    await work.begin()

    from goreload_tasks import cycle
    from goreload_tasks.chores import Chores
    from goreload_tasks.gateway.front import Front
    from goreload_tasks.insight import history
    from goreload_tasks.report import Report
    from goreload_tasks.service import Service

    policy = cycle.Policy(settings.reload, settings.crash, app, settings.serve.overlap)
    check = functools.partial(project.confirm, settled, target) if target.recalled else None
    report = Report(console, settled.name, functools.partial(history.add, store.history), timed)
    chores = Chores(work, report, shared.idle, settings.build.verify_after)
    front = Front(settings, project.root, sockets, whole=mode == "socket") if sockets else None
    variables = functools.partial(project.app_env, settled)
    hands = App(project.root, tuple(argv), settings, variables, mode == "proxy", mode == "socket") if app else None
    begun = (since, recalled)
    return Service(settled.name, work, tree, policy, hands, commands, console, report, begun, chores, check, front)


def _check_ports(project: Project) -> None:
    """Has each service a port of its own?

    Raises:
        GoreloadError: two have the same.
    """
    taken: dict[int, str] = {}
    for one in project.services:
        port = one.settings.serve.port
        if port in taken:
            said = f"services.{taken[port]} and services.{one.name} have the same serve.port = {port}"
            raise GoreloadError(f"{said}; give each its own")
        if port:
            taken[port] = one.name


def _mode(settled: Settled) -> Literal["proxy", "socket", "direct"]:
    """How the app is reached.

    Raises:
        GoreloadError: the settings do not fit together.
    """
    serve = settled.settings.serve
    mode = serve.mode if serve.mode != "auto" else "proxy" if serve.port else "direct"

    def amiss(name: str, value: object, expected: str) -> GoreloadError:
        return wrong(f"serve.{name}", settled.sources.get(f"serve.{name}", "default"), value, expected)

    if mode != "direct" and serve.port is None:
        raise amiss("mode", mode, "serve.port beside it, the port that people ask")
    if serve.overlap and mode != "proxy":
        raise amiss("overlap", serve.overlap, f"serve.mode: proxy and a serve.port beside it, not {mode}")
    if serve.ready is not None and not serve.ready.startswith("/"):
        raise amiss("ready", serve.ready, "a path such as /healthz")
    if not serve.bind and mode != "direct":
        raise amiss("bind", list(serve.bind), "an address to listen on")
    return mode


def _commands(project: Project) -> Callable[[Rule], Job]:
    """Makes the job of a rule: its task or command, in the project's folder. What it needs is looked for once."""
    known: dict[str, list[str]] = {}

    def job(rule: Rule) -> Job:
        if rule.command not in known:
            place = f"{rule.name}: run"
            known[rule.command] = _task_argv(rule.task) if rule.task else _run_argv(rule.run, place, project.root)
        return Job(known[rule.command], project.root, dict(os.environ))

    return job


def _task_argv(name: str) -> list[str]:
    """Another task of the same program, as a process of its own: it can be cancelled."""
    program = os.path.abspath(sys.argv[0])
    return [sys.executable, program, name] if os.path.isfile(program) else [sys.executable, "-m", "invoke", name]


def _run_argv(text: str, place: str, root: str) -> list[str]:
    """The words of a command; there is no shell behind it.

    Args:
        place: the option or setting, for a complaint.
        root: where it is run.

    Raises:
        GoreloadError: it needs a shell, or is no command.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise GoreloadError(f"{place} {text!r}: {str(error).lower()}; close the quotes") from None
    bare = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
    bare.whitespace_split = True
    if any(word and set(word) <= SHELL_SIGNS for word in bare):
        raise GoreloadError(f"{place} {text!r}: that needs a shell; write \"sh -c '...'\"")
    # A path is meant as the command will find it, from the project's folder.
    named = os.path.join(root, words[0]) if words and os.sep in words[0] else "".join(words[:1])
    if not words or shutil.which(named) is None:
        raise GoreloadError(f"{place} {text!r}: there is no command {words[0] if words else ''}; give its path")
    return words


def _check_task(name: str, argv: Sequence[str], root: str) -> None:
    """Does the program know the task?

    Raises:
        GoreloadError: it does not.
    """
    asked = [*argv[:-1], "--help", name]
    if drive(capture(asked, root, os.environ))[0]:
        raise GoreloadError(
            f"--task {name}: there is no such task; `{os.path.basename(sys.argv[0])} --list` shows them"
        )
