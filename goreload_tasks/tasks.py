"""The tasks that a person types. Thin: load the project, call one function, show an error as one line."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from goreload_tasks.errors import GoreloadError

if TYPE_CHECKING:
    from goreload_tasks.project import Project

HELP = {
    "env": "environment: dev (default), test, prod, or one of your own",
    "tags": "build tags beside those of the settings: --tags=a,b or --tags a --tags b",
    "service": "only this service (a,b or given twice: several); default: all",
    "json": "one JSON object a line instead of text",
    "settings": "each setting with its value and where it came from, instead",
    "timings": "show the parts of each reload",
    "time": "build each, with an empty cache and after an edit, and measure",
    "path": "the file; it need not be there",
    "out": "write the binary here",
    "task": "run this Invoke task on each change instead of a build",
    "run": "run this command on each change instead of a build",
}


Words = Sequence[str] | None
"""A repeatable option. None, not an empty tuple: Invoke takes an option's kind from its default."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a task was called: Invoke's context, and the settings of the collection that it was called in."""

    context: Context
    own: Mapping[str, object]

    @property
    def dry(self) -> bool:
        return bool(self.context.config.run.dry)

    def project(self, env: str = "", tags: Words = None, service: Words = None) -> Project:
        from goreload_tasks.project import load

        return load(self.context.config, self.own, env, tags or (), service or ())

    @property
    def rest(self) -> tuple[str, ...]:
        """The words after `--`."""
        from goreload_tasks.project import remainder

        return remainder(self.context.remainder, sys.argv)


class GoTask(Task[Any]):
    """A task that carries its collection's own settings, and shows what a person can mend as one line.

    The settings are not in Invoke's configuration, which merges collections shallowly: a parent's `configure` would
    erase them there.
    """

    own: Mapping[str, object] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], Context):
            raise TypeError(f"{self.name} wants an invoke Context as its first argument")
        with one_line():
            result = self.body(Call(args[0], self.own), *args[1:], **kwargs)
        self.times_called += 1
        return result

    def __eq__(self, other: object) -> bool:
        # Invoke drops a call that equals an earlier one: the build of another collection does not.
        return super().__eq__(other) and self.own == getattr(other, "own", None)

    __hash__ = Task.__hash__

    def bound(self, own: Mapping[str, object]) -> GoTask:
        """The same task with its collection's own settings."""
        task = copy.copy(self)
        task.own = own
        return task


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """What goes wrong inside is one line for the person, and an exit code; with Invoke's --debug, a traceback."""
    if logging.getLogger("invoke").isEnabledFor(logging.DEBUG):
        yield
        return
    try:
        yield
    except GoreloadError as error:
        raise Exit(f"goreload: {error}", error.code) from None
    except KeyboardInterrupt:
        raise Exit(code=130) from None
    except (Exit, SystemExit):
        raise
    except BrokenPipeError:  # whoever read our output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise Exit(code=128 + signal.SIGPIPE) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug of ours is no traceback for the person
        text = (
            f"goreload: a mistake of ours: {type(error).__name__}: {error}; run it with --debug and report what it says"
        )
        raise Exit(text.replace("\n", " "), 1) from None


def go_task(*options: str, default: bool = False) -> Callable[[Callable[..., Any]], GoTask]:
    """Make a task; `options` name those of its parameters that have a help text."""

    def made(body: Callable[..., Any]) -> GoTask:
        lists = [name for name in ("tags", "service") if name in options]
        return GoTask(body, default=default, iterable=lists, help={name: HELP[name] for name in options})

    return made


@go_task("env", "tags", "service", "timings", "json", default=True)
def dev(
    c: Call,
    env: str = "",
    tags: Words = None,
    service: Words = None,
    timings: bool = False,
    json: bool = False,
) -> None:
    """Build, run, watch and reload, until Ctrl-C.

    Words after `--` are arguments of the app: invoke dev -- --verbose
    """
    from goreload_tasks.session import dev as session

    _exit(session(c.project(env, tags, service), c.rest, as_json=json, dry=c.dry, timed=timings))


@go_task("task", "run", "env", "tags", "service", "json")
def watch(
    c: Call,
    task: str = "",
    run: str = "",
    env: str = "",
    tags: Words = None,
    service: Words = None,
    json: bool = False,
) -> None:
    """Rebuild on each change without running the app; or run a task or a command.

    With --task or --run every file that git does not ignore counts, or those that `watch.include` names.
    """
    from goreload_tasks.session import watch as session

    _exit(session(c.project(env, tags, service), task, run, as_json=json, dry=c.dry))


@go_task("out", "env", "tags", "service", "json")
def build(
    c: Call,
    out: str = "",
    env: str = "",
    tags: Words = None,
    service: Words = None,
    json: bool = False,
) -> None:
    """Build once; prints path, size and time. Exit code 1: it does not compile."""
    from goreload_tasks.once import build as once

    once(c.project(env, tags, service), out, as_json=json, dry=c.dry)


@go_task("env", "tags", "service")
def run(c: Call, env: str = "", tags: Words = None, service: Words = None) -> None:
    """Build and run in the foreground; signals, stdin and the exit code are the app's.

    Words after `--` are arguments of the app: invoke run -- --verbose
    """
    from goreload_tasks.once import run as once

    _exit(once(c.project(env, tags, service), c.rest, dry=c.dry))


@go_task("service", "json")
def clean(c: Call, service: Words = None, json: bool = False) -> None:
    """Remove what this tool made, and only that."""
    from goreload_tasks.once import clean as once

    once(c.project(service=service), everything=not service, as_json=json, dry=c.dry)


@go_task("path", "env", "tags", "service", "json")
def why(c: Call, path: str, env: str = "", tags: Words = None, service: Words = None, json: bool = False) -> None:
    """Say what a change of a file calls for, and which rule decides it."""
    from goreload_tasks.once import why as once

    once(c.project(env, tags, service), path, as_json=json)


@go_task("time", "tags", "service", "json")
def tags(c: Call, time: bool = False, tags: Words = None, service: Words = None, json: bool = False) -> None:
    """The environments side by side: tags, files in and out of the build, packages, size and build times."""
    from goreload_tasks.once import tags as once

    once(c.project(tags=tags, service=service), timed=time, as_json=json)


@go_task("settings", "env", "tags", "service", "json")
def doctor(
    c: Call,
    settings: bool = False,
    env: str = "",
    tags: Words = None,
    service: Words = None,
    json: bool = False,
) -> None:
    """Say what is wrong, and what mends it: toolchain, module, inputs, watching, port. Exit code 1: something is."""
    from goreload_tasks.once import doctor as once

    if not once(c.project(env, tags, service), settings=settings, as_json=json):
        raise Exit(code=1)


@go_task("service", "json")
def history(c: Call, service: Words = None, json: bool = False) -> None:
    """Show past reloads of `dev`, part by part."""
    from goreload_tasks.once import history as once

    once(c.project(service=service), as_json=json)


def _exit(code: int) -> None:
    if code:
        raise Exit(code=code)


TASKS = (dev, watch, build, run, clean, why, tags, doctor, history)


class GoCollection(Collection):
    """Tasks with settings of their own, which no `configure` of a collection above erases."""

    def configure(self, options: dict[str, Any]) -> None:
        """As Invoke's; what stands under `goreload` goes to this collection's tasks."""
        rest = dict(options)
        section = rest.pop("goreload", None)
        if section:
            for name, task in list(self.tasks.items()):
                self.tasks[name] = task.bound(deep(task.own, section)) if isinstance(task, GoTask) else task
        super().configure(rest)


def deep(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """One mapping over another, key by key."""
    merged = dict(base)
    for name, value in over.items():
        before = merged.get(name)
        merged[name] = deep(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def collection(name: str = "", **own: object) -> Collection:
    """All tasks as a collection with settings of its own.

    >>> collection("api", main="./cmd/api", serve={"port": 8081}).name
    'api'
    """
    made = GoCollection(name) if name else GoCollection()
    for task in TASKS:
        made.add_task(task.bound(own))
    return made
