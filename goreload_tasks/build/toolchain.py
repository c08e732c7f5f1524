"""Which go, and what it says of itself and of the project."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goreload_tasks.app.process import Capture
from goreload_tasks.build.command import Plan, build_env, collector, flags, is_fast, may_be_lean, split_flags
from goreload_tasks.errors import GoreloadError
from goreload_tasks.kept import keep, recall
from goreload_tasks.settings import Service


def find_go(environ: Mapping[str, str]) -> str:
    """A go on PATH, else the one that the extra `go` installs beside us.

    Raises:
        GoreloadError: there is none.
    """
    found = shutil.which("go", path=environ.get("PATH", os.defpath))
    wheel = _wheel_go()
    if wheel and (found is None or os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable)):
        return wheel  # on PATH in an activated environment stands a script that only starts this one
    if found is None:
        raise GoreloadError("no Go toolchain: `go` is not on PATH; install Go, or `pip install 'goreload-tasks[go]'`")
    return os.path.abspath(found)


def available_memory() -> int:
    """Bytes that can be had without swapping (proc(5), MemAvailable); 0: not known, or the machine swaps already."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            known = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in file)}
    except (OSError, ValueError, IndexError):
        return 0
    swapped = known.get("SwapTotal", 0) - known.get("SwapFree", 0)
    return known.get("MemAvailable", 0) if swapped < known.get("MemTotal", 0) // 20 else 0


def _wheel_go() -> str | None:
    try:
        spec = importlib.util.find_spec("go")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = os.path.join(folder, "bin", "go")
        if os.access(path, os.X_OK):
            return path
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A main package: where it is, what it is called, and where the go command runs for it.

    recalled: an earlier run found it; whoever starts on that asks again beside the work.
    """

    folder: str
    path: str
    cwd: str
    recalled: bool = False

    @property
    def name(self) -> str:
        """What `go build` would call the binary: the last part of the import path that is no version."""
        parts = [part for part in self.path.split("/") if part]
        if len(parts) > 1 and parts[-1][0] == "v" and parts[-1][1:].isdigit():
            parts.pop()
        return parts[-1] if parts and parts[-1] != "command-line-arguments" else os.path.basename(self.folder)


async def plan(
    service: Service,
    root: str,
    line_tags: Sequence[str],
    environ: Mapping[str, str],
    run: Capture,
    *,
    dev: bool,
    memory: str = "",
) -> tuple[Plan, Target]:
    """How to build this service; asks the go command where its main package is.

    Args:
        memory: a file that keeps the answer. To look through a project for the only main package takes the longer the
            more lies in it, so a later start begins with what this one found.

    Raises:
        GoreloadError: no go, no module, no or several main packages, bad environment or tag.
    """
    flags(service, line_tags, (), dev)  # a mistake in the settings is told before anything is started
    go = find_go(environ)
    env = build_env(service, environ)
    if is_fast(service, dev):
        env |= collector(env, available_memory(), os.cpu_count() or 1)
    if go == _wheel_go():
        env["GOROOT"] = os.path.dirname(os.path.dirname(go))
    where, pattern = _place(service, root)
    try:
        code, out, err = await run([go, "env", "-json", "GOMOD", "GOWORK", "GOFLAGS"], where, env)
    except OSError as error:
        raise GoreloadError(f"cannot run {go}: {error.strerror}; install Go for this machine") from None
    if code:
        raise GoreloadError(f"`go env` failed in {where}: {_said(err)}")
    known = json.loads(out)
    if known["GOMOD"] in ("", os.devnull) and not known["GOWORK"]:
        raise GoreloadError(f"no go.mod in {where} or a folder above it; run `go mod init NAME` there first")
    goflags = split_flags(known["GOFLAGS"])
    words, tags = flags(service, line_tags, goflags, dev)
    question = json.dumps([where, pattern, go, words, environ.get("GOOS"), environ.get("GOARCH")])
    target = _recalled(memory, question)
    if target is None:
        target = await _target(service, root, where, pattern, [go, "list", *words], env, run)
        if memory:
            keep(memory, {"question": question, "target": [target.folder, target.path, target.cwd]})
    nice, fast, lean = service.settings.build.nice, is_fast(service, dev), may_be_lean(service, words, goflags, dev)
    return Plan(go, target.cwd, target.path, tuple(words), tags, env, nice, fast, lean), target


def _recalled(memory: str, question: str) -> Target | None:
    said = recall(memory)
    try:
        folder, path, cwd = said["target"]
        target = Target(folder, path, cwd, recalled=True) if said["question"] == question else None
    except (ValueError, KeyError, TypeError):
        return None
    return target if target and os.path.isdir(target.folder) else None


def _place(service: Service, root: str) -> tuple[str, str]:
    """The folder to run the go command in, and the package pattern to ask it about."""
    main = service.settings.main
    if main is None:
        return root, "./..."
    folder = os.path.normpath(os.path.join(root, main))
    if main.endswith(".go") and os.path.isfile(folder):
        folder = os.path.dirname(folder)  # a main package is a folder of files
    if os.path.isdir(folder):
        home = _module_folder(folder)
        inside = home is None or root == home or root.startswith(home + os.sep)
        cwd = root if inside else home or root
        return cwd, "./" + os.path.relpath(folder, cwd)
    if main.startswith((".", "/")) or "." not in main.split("/")[0]:
        source = service.sources.get("main", "main")
        raise GoreloadError(f'main = "{main}" ({source}): no such folder in {root}; name the folder of a main package')
    return root, main


def _module_folder(folder: str) -> str | None:
    while not os.path.exists(os.path.join(folder, "go.mod")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


async def _target(
    service: Service, root: str, cwd: str, pattern: str, go_list: list[str], env: Mapping[str, str], run: Capture
) -> Target:
    form = "{{.Name}}\t{{.Dir}}\t{{.ImportPath}}\t{{with .Error}}{{.Err}}{{end}}"
    patterns = await _workspace(cwd, go_list[0], env, run) if pattern == "./..." else [pattern]
    code, out, err = await run([*go_list, "-e", "-f", form, *patterns], cwd, env)
    if code:
        raise GoreloadError(f"`go list {' '.join(patterns)}` failed in {cwd}: {_said(err)}")
    rows = [line.split("\t", 3) for line in os.fsdecode(out).splitlines() if line.count("\t") >= 3]
    mains = [Target(folder, path, cwd) for name, folder, path, _ in rows if name == "main"]
    if len(mains) == 1:
        return mains[0]
    if service.settings.main is not None:
        source = service.sources.get("main", "main")
        said = f'main = "{service.settings.main}" ({source})'
        name, folder, path, error = rows[0] if rows else ("", "", "", "no such package")
        if not name and folder:  # nothing in it parses yet: the build will say what is wrong
            return Target(folder, path, cwd)
        why = f"is package {name}, not main" if name else error or "has no Go files"
        raise GoreloadError(f"{said}: {why}; name the folder of a main package")
    if not mains:
        raise GoreloadError(f"no main package below {root}; write one, or set `main` in invoke.yaml")
    names = ", ".join(sorted(_dotted(os.path.relpath(target.folder, root)) for target in mains))
    mend = "choose one with `main` in invoke.yaml or GORELOAD_MAIN, or name each in `services`"
    raise GoreloadError(f"several main packages: {names}; {mend}")


def _dotted(relative: str) -> str:
    return relative if relative == "." else f"./{relative}"


async def _workspace(cwd: str, go: str, env: Mapping[str, str], run: Capture) -> list[str]:
    """`./...`, or in the top folder of a workspace, which is in no module, the packages of each member."""
    if _module_folder(cwd):
        return ["./..."]
    code, out, _ = await run([go, "list", "-m", "-f", "{{.Dir}}"], cwd, env)
    return [f"{folder}/..." for folder in os.fsdecode(out).splitlines() if folder] if code == 0 else ["./..."]


def _said(text: bytes) -> str:
    """What a command complained of, in one line."""
    lines = [line.strip() for line in os.fsdecode(text).splitlines() if line.strip() and not line.startswith("# ")]
    return " ".join(lines)[:500] or "no message"
