"""What a task works on: the project's folder, its services, and how each is built."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from goreload_tasks.app.guardian import guard
from goreload_tasks.app.process import ending
from goreload_tasks.build import tags as build_tags
from goreload_tasks.build.command import Plan, app_env
from goreload_tasks.build.toolchain import Target, plan
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Layer, Service, gather, merge, root_of, unknown
from goreload_tasks.store import Store, discard

T = TypeVar("T")

AIR_FILES = (".air.toml", os.path.join(".config", "air.toml"))


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with one service or several. `notes`: lines that the person should read once."""

    root: str
    services: tuple[Service, ...]
    tags: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def one(self) -> Service:
        """The only service.

        Raises:
            GoreloadError: there are several.
        """
        if len(self.services) > 1:
            names = ", ".join(service.name for service in self.services)
            raise GoreloadError(f"several services: {names}; choose one with --service")
        return self.services[0]

    async def plan(self, service: Service, *, dev: bool, recall: bool = False) -> tuple[Plan, Target]:
        """How to build a service.

        Args:
            recall: begin with what the last run found out; `confirm` then looks again.

        Raises:
            GoreloadError: no go, no module, no such main package.
        """
        from goreload_tasks.app.process import capture

        memory = self.store(service).target if recall else ""
        return await plan(service, self.root, self.tags, os.environ, capture, dev=dev, memory=memory)

    async def confirm(self, service: Service, target: Target) -> None:
        """Is a recalled main package still the one?

        Raises:
            GoreloadError: it is not, and why.
        """
        try:
            _, now = await self.plan(service, dev=True)
        except GoreloadError:  # the next start asks first
            discard(self.store(service).target)
            raise
        if now.folder != target.folder:
            discard(self.store(service).target)
            raise GoreloadError(f"the main package is {now.path} now, and was {target.path}: start again")

    def app_env(self, service: Service, shown: bool = False) -> dict[str, str]:
        """The app's variables now: env files are read anew at each start.

        Args:
            shown: to be printed, without what env files say.

        Raises:
            GoreloadError: an env file that was named is not there, or cannot be read.
        """
        named = "env_files" in service.sources
        files = []
        for name in service.settings.env_files:
            try:
                with open(os.path.join(self.root, name), encoding="utf-8-sig") as file:
                    files.append((name, file.read()))
            except FileNotFoundError:
                if named:
                    source = service.sources["env_files"]
                    raise GoreloadError(
                        f"env_files: {name} ({source}) is not in {self.root}; write it or remove the name"
                    ) from None
            except (OSError, UnicodeDecodeError) as error:
                raise GoreloadError(f"env_files: cannot read {name}: {error}") from None
        return app_env(service, os.environ, files, shown)

    def store(self, service: Service) -> Store:
        return Store(self.root, service.name)


def load(
    config: Any, own: Mapping[str, object], environment: str, line_tags: Iterable[str], services: Iterable[str]
) -> Project:
    """The project that a task is called for.

    Args:
        config: Invoke's configuration.
        own: the collection's own settings.
        environment, line_tags, services: `--env`, `--tags` and `--service`; empty: not given.

    Raises:
        GoreloadError: anything that a person wrote and that cannot be so.
    """
    root = root_of(config, os.getcwd())
    line = {"environment": environment} if environment else {}
    notes: tuple[str, ...] = ()
    layers = gather(config, own, line, os.environ)
    found = next((path for name in AIR_FILES if os.path.isfile(path := os.path.join(root, name))), None)
    others = (layer for layer in layers[1:] if not layer.final and not layer.personal)
    if found and not any(layer.values for layer in others):  # it is all there is of the project's own
        air, root, notes = _air(root, found)
        layers.insert(1, air)
    known = merge(layers)
    wanted = build_tags.split(services)
    for name in wanted:
        if name not in [service.name for service in known]:
            raise unknown("service", name, "--service", [service.name for service in known])
    chosen = tuple(service for service in known if not wanted or service.name in wanted)
    return Project(root, chosen, tuple(build_tags.split(line_tags)), notes)


def _air(root: str, path: str) -> tuple[Layer, str, tuple[str, ...]]:
    from goreload_tasks.adopt import air

    name = os.path.relpath(path, root)
    try:
        with open(path, encoding="utf-8") as file:
            said = air.read(file.read(), name)
    except (OSError, UnicodeDecodeError) as error:
        raise GoreloadError(f"cannot read {name}: {error}") from None
    note = air.line(said, name)
    return Layer(name, said.settings), os.path.normpath(os.path.join(root, said.root)), (note,) if note else ()


def remainder(joined: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The words after `--`. Invoke hands them on joined by spaces, their quoting lost: the real ones are in argv."""
    if not joined:
        return ()
    words = tuple(argv[argv.index("--") + 1 :]) if "--" in argv else ()
    return words if " ".join(words) == joined else tuple(shlex.split(joined))


def _pidfd_works() -> bool:
    """Linux 5.3, and nothing like seccomp in the way."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a signal cancels it, so that it ends what it started; so does a kill -9.

    Raises:
        SystemExit: a signal ended it: 128 + its number.
    """
    received: list[signal.Signals] = []

    async def main() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            received.append(number)
            task.cancel()

        for number in ending():
            loop.add_signal_handler(number, end, number)
        with guard():
            return await task

    if sys.version_info < (3, 12) and _pidfd_works():  # what later versions do by themselves: no thread per child
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        sys.exit(128 + received[0] if received else 1)
