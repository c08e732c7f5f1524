"""Invoke's own complaints about our settings, which reach a person as tracebacks, as one line.

Invoke merges configuration before it calls a task: an empty `goreload:` in invoke.yaml under a collection that
configures `goreload`, a variable that it cannot cast, a file with broken YAML. No task of ours has run by then, so the
interpreter's hook for uncaught exceptions is the one place left. Every other exception goes where it went before.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from invoke.config import AmbiguousMergeError
from invoke.exceptions import AmbiguousEnvVar, UncastableEnvVar

from goreload_tasks.errors import GoreloadError

_SPOKEN = {
    "AmbiguousMergeError": "a section of invoke.yaml and one of a collection do not fit together: {error}; "
    "is `goreload:` empty there? Give it a value or remove it",
    "UncastableEnvVar": "{error}; set it in invoke.yaml, or as GORELOAD_* instead of INVOKE_GORELOAD_*",
    "AmbiguousEnvVar": "{error}; set it in invoke.yaml, or as GORELOAD_* instead of INVOKE_GORELOAD_*",
}


_UNREAD = (AttributeError, TypeError, ValueError, OSError)
"""What is raised for a list in place of a section, for bytes that are not UTF-8, broken JSON, a file of others."""


def explain(error: BaseException) -> str | None:
    """The one line for what Invoke raises while it loads configuration; None for anything else."""
    name = type(error).__name__
    if isinstance(error, (AmbiguousMergeError, UncastableEnvVar, AmbiguousEnvVar)):
        return _SPOKEN[name].format(error=" ".join(str(error).split()))
    if isinstance(error, ValueError) and _raised_in(error.__traceback__, "invoke.env"):
        return f"an INVOKE_* variable: {error}; set it to a value of the right kind"
    modules = set(_modules(error.__traceback__))
    read = isinstance(error, _UNREAD) or type(error).__module__.startswith(("invoke.vendor.yaml", "yaml."))
    # What a task reads is its own, and so is what tasks.py does while it is loaded.
    if read and "invoke.config" in modules and modules.isdisjoint({"invoke.tasks", "invoke.loader"}):
        where = "invoke.yaml, or another of Invoke's files" if isinstance(error, _UNREAD) else "invoke.yaml"
        return f"{where}: {' '.join(str(error).split())}; mend it"
    return str(error) if isinstance(error, GoreloadError) else None


def _modules(trace: TracebackType | None) -> list[str]:
    """Those that an exception passed through."""
    found = []
    while trace:
        found.append(str(trace.tb_frame.f_globals.get("__name__")))
        trace = trace.tb_next
    return found


def _raised_in(trace: TracebackType | None, module: str) -> bool:
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == module


def arm() -> None:
    """Put our hook in front of the interpreter's, once."""
    before = sys.excepthook
    if getattr(before, "of_goreload", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):  # before any task of ours could take it
            raise SystemExit(130)
        line = explain(error)
        if line is None or logging.getLogger("invoke").isEnabledFor(logging.DEBUG):
            before(kind, error, trace)
            return
        print(f"goreload: {line}", file=sys.stderr)  # noqa: T201 - there is no console yet
        raise SystemExit(2)

    hook.of_goreload = True  # type: ignore[attr-defined]
    sys.excepthook = hook
