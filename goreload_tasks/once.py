"""What is done once: `build`, `run` and `clean`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence

from colorama import Fore, Style

from goreload_tasks import store
from goreload_tasks.app.foreground import foreground
from goreload_tasks.app.guardian import guard
from goreload_tasks.app.process import capture
from goreload_tasks.build.builder import Job, Result
from goreload_tasks.build.command import Plan
from goreload_tasks.build.diagnostics import summary
from goreload_tasks.build.toolchain import Target
from goreload_tasks.console import Console, dry_line, size, took
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs.tree import Tree
from goreload_tasks.inputs.verdict import Verdict, sentence
from goreload_tasks.insight import history as past
from goreload_tasks.insight.tags import survey
from goreload_tasks.project import Project, drive
from goreload_tasks.settings import Service
from goreload_tasks.work import tidy

LINES = 50
"""Reloads that `history` shows."""


def build(project: Project, out: str, *, as_json: bool, dry: bool) -> None:
    """Build each service once.

    Raises:
        GoreloadError: it does not compile (code 1), or cannot be built at all.
    """
    if out:
        project.one()
    console = Console(as_json=as_json)
    for service in project.services:
        plan, target = drive(project.plan(service, dev=False))
        path = _place(project, service, target, out)
        if dry:
            console.raw("dry", dry_line(plan.build(path), plan.cwd, plan.env), service.name, argv=plan.build(path))
            continue
        result = _build(project, service, plan, path)
        _check(service, result, console)
        binary = os.path.relpath(path) if not os.path.relpath(path).startswith("..") else path
        bytes_ = os.stat(path).st_size
        text = f"{console.paint(binary, Fore.GREEN)}  {size(bytes_)}  {took(result.seconds)}"
        console.raw(
            "built", text, service.name, path=path, size=bytes_, ms=round(result.seconds * 1000), tags=list(plan.tags)
        )


def run(project: Project, rest: Sequence[str], *, dry: bool) -> int:
    """Build a service and run it in the foreground. Returns the app's exit code.

    Raises:
        GoreloadError: as `build`.
    """
    service = project.one()
    plan, target = drive(project.plan(service, dev=False))
    path = _place(project, service, target, "")
    argv = [path, *(rest or service.settings.args)]
    env = project.app_env(service, shown=dry)
    if dry:
        print(dry_line(plan.build(path), plan.cwd, plan.env))  # noqa: T201 - run's own stdout is the app's
        print(dry_line(argv, project.root, env))  # noqa: T201
        return 0
    _check(service, _build(project, service, plan, path), Console(sys.stderr))
    try:
        with guard():
            return foreground(argv, project.root, env)
    except OSError as error:
        raise GoreloadError(f"cannot start {path}: {error.strerror}") from None


def clean(project: Project, *, everything: bool, as_json: bool, dry: bool) -> None:
    """Remove what this tool made in the project.

    Raises:
        GoreloadError: `dev` is running, or the folder is not ours.
    """
    console = Console(as_json=as_json)
    paths = store.found(project.root)
    if not everything:
        folders = [project.store(service).folder for service in project.services]
        paths = [
            path for path in paths if any(path == folder or path.startswith(folder + os.sep) for folder in folders)
        ]
    for name in {
        os.path.basename(path) for path in paths if os.path.dirname(path) == os.path.join(project.root, store.NAME)
    }:
        pid = store.holder(project.root, name)
        if pid is not None:
            raise GoreloadError(f"{name} is being run by pid {pid}: stop it first, or `kill {pid}`")
        if pids := store.builders(project.root, name):
            raise GoreloadError(f"{name} is being built by pid {pids[0]}: wait for its end, or `kill {pids[0]}`")
    removed = paths if dry else store.remove(paths)
    for path in removed:
        console.raw(
            "removed", f"{'would remove' if dry else 'removed'} {os.path.relpath(path, project.root)}", path=path
        )
    for path in [path for path in paths if path not in removed and os.path.isdir(path)]:
        console.raw(
            "kept", f"kept {os.path.relpath(path, project.root)}: there is something in it that is not ours", path=path
        )
    if not paths:
        console.raw("removed", "nothing to remove")


def why(project: Project, path: str, *, as_json: bool) -> None:
    """Print the verdict on a path, for each service.

    Raises:
        GoreloadError: as `build`.
    """
    console = Console(as_json=as_json)
    absolute = os.path.abspath(path)

    async def ask(service: Service) -> Verdict:
        plan, _ = await project.plan(service, dev=True)
        return await Tree(project.root, service.settings, capture, plan, project.store(service).listing).why(absolute)

    for service in project.services:
        verdict = drive(ask(service))
        name = f"[{service.name}] " if len(project.services) > 1 else ""
        text = name + sentence(verdict, project.root)
        console.raw("why", text, service.name, path=absolute, verdict=verdict.calls_for, reasons=verdict.reasons)


def tags(project: Project, *, timed: bool, as_json: bool) -> None:
    """Print the environments side by side, and what can be said of them.

    Raises:
        GoreloadError: as `build`.
    """
    console = Console(as_json=as_json)
    for service in project.services:
        seen = drive(survey(project, service, timed=timed, progress=console.progress))
        for row in seen.rows:
            cost = row.cost
            costs = {"size": cost.size, "cold_ms": cost.cold * 1000, "edit_ms": cost.edit * 1000} if cost else {}
            line = f"{row.environment:8} {len(row.files):5} {len(row.left_out):8} {row.packages:8} {row.modules:7}"
            line += f" {size(cost.size):>10} {took(cost.cold):>9} {took(cost.edit):>10}" if cost else ""
            if row is seen.rows[0] and not as_json:
                head = f"{'':8} {'files':>5} {'left out':>8} {'packages':>8} {'modules':>7}"
                head += f" {'size':>10} {'cold':>9} {'after edit':>10}" if cost else ""
                console.raw("head", console.paint(f"{head}  tags", Style.DIM))
            console.raw(
                "tags",
                f"{line}  {','.join(row.tags)}",
                service.name,
                environment=row.environment,
                tags=row.tags,
                files=sorted(row.files),
                left_out=row.left_out,
                packages=row.packages,
                modules=row.modules,
                **costs,
            )
        differ = sorted({path for row in seen.rows for path in row.left_out})
        for path in differ if not as_json else ():
            full = os.path.normpath(os.path.join(project.root, path))
            without = [row.environment for row in seen.rows if path in row.left_out or full not in row.files]
            why = next(row.left_out[path] for row in seen.rows if path in row.left_out)
            console.raw(
                "left_out", f"  {path}: not in {', '.join(without)}: {why.removeprefix('left out of this build ')}"
            )
        for line in seen.advice:
            console.raw("advice", console.paint(line, Fore.YELLOW), service.name, text=line)


def doctor(project: Project, *, settings: bool, as_json: bool) -> bool:
    """Print what is wrong, and what mends it; or the settings. True: `dev` can work."""
    from goreload_tasks.insight.doctor import examine, settled

    console = Console(as_json=as_json)
    colours = {"ok": Fore.GREEN, "note": Fore.YELLOW, "wrong": Fore.RED}
    well = True
    for service in project.services:
        if len(project.services) > 1:
            console.raw("service", console.paint(service.name, Style.BRIGHT), service.name)
        if settings:
            for path, value, source in settled(service):
                shown = json.dumps(value, default=dataclasses.asdict)  # a list of rules
                text = f"{path} = {shown}  ({source})"
                console.raw("setting", text, service.name, path=path, value=json.loads(shown), source=source)
            continue
        for one in drive(examine(project, service)):
            well &= one.how != "wrong"
            text = f"{console.paint(f'{one.how:5}', colours[one.how])}  {one.about}: {one.text}"
            mend = f"; {one.mend}" if one.mend else ""
            console.raw("finding", text + mend, service.name, **dataclasses.asdict(one))
    return well


def history(project: Project, *, as_json: bool) -> None:
    """Print the past reloads, the newest last."""
    console = Console(as_json=as_json)
    for service in project.services:
        records = list(past.read(project.store(service).history))[-LINES:]
        name = f"[{service.name}] " if len(project.services) > 1 else ""
        for record in records:
            console.raw("past", name + past.line(record), service.name, **record)
        if not records:
            console.raw("past", f"{name}no reload yet", service.name)


def _place(project: Project, service: Service, target: Target, out: str) -> str:
    """Where the binary goes; a folder, as for `go build -o`, gets the program's own name in it.

    Raises:
        GoreloadError: nothing can be written there.
    """
    if not out:
        return project.store(service).out(service.settings.environment, target.name)
    path = os.path.abspath(out)
    if os.path.isdir(path) or out.endswith(("/", os.sep)):
        path = os.path.join(path, target.name)
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise GoreloadError(f"--out {out}: {folder} is not a folder; choose another place")
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK):
        raise GoreloadError(f"--out {out}: {folder} is not writable; choose another place")
    return path


def _build(project: Project, service: Service, plan: Plan, path: str) -> Result:
    ours = project.store(service)
    if path.startswith(ours.folder + os.sep):
        ours.prepare(os.path.dirname(path))
        if os.path.islink(path):
            store.discard(path)
    with ours.scratch() as scratch:
        return drive(Job(plan.build(path), plan.cwd, {**plan.env, **tidy(scratch)}).run())


def _check(service: Service, result: Result, console: Console) -> None:
    """Complain on stderr, errors first."""
    if not result.code:
        return
    if console.as_json:
        problems = [str(problem) for problem in result.problems]
        console.raw("failed", "", service.name, problems=problems, ms=round(result.seconds * 1000))
    else:
        console = Console(sys.stderr)
        for problem in result.problems:
            console.raw("problem", console.paint(str(problem), Fore.RED))
    raise GoreloadError(f"{summary(result.problems)}, {took(result.seconds)}", code=1)
