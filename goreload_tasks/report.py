"""What the person reads of one service: a line per reload, errors first, and how an app ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from colorama import Fore, Style

from goreload_tasks.app.panic import Panic, first
from goreload_tasks.build.builder import Result
from goreload_tasks.build.diagnostics import Problem, summary
from goreload_tasks.console import Console, took
from goreload_tasks.insight import timings

TAIL = 5
"""Lines shown again of an app that ended by itself."""

STAMP = "%Y-%m-%dT%H:%M:%S%z"
"""The time of day in the history."""

SHOWN = 20
"""Files of a reload that are written down; a checkout may change thousands."""


LAUNCHED = ("spawned", "accepting", "opened", "answered")
"""Moments of a launch."""


@dataclass(slots=True)
class _Subject:
    """What a reload is about: the files that changed, how its binary was built (empty: it was not), a remark on it."""

    files: dict[str, None] = field(default_factory=dict)
    built: str = ""
    remark: str = ""

    @property
    def what(self) -> str:
        """The file that changed, or the first and how many more."""
        files = list(self.files) or ["start"]
        return files[0] + (f" +{len(files) - 1}" if len(files) > 1 else "")

    @property
    def made(self) -> str:
        return self.built or "restarted"


class Report:
    """Writes the lines of one service, and remembers what the next one is about.

    Args:
        keep: takes what is written down of each reload.
        timed: show the parts of each reload too.
    """

    def __init__(
        self,
        console: Console,
        service: str,
        keep: Callable[[Mapping[str, object]], None] = lambda _: None,
        timed: bool = False,
    ) -> None:
        self._console = console
        self._service = service
        self._keep = keep
        self._timed = timed
        self._next = _Subject()
        self._launched = _Subject()  # that of the newest launch, until it serves
        self._current = True  # nothing was noticed since that launch
        self._moments: dict[str, float] = {}  # of the newest save's path; see `timings.PARTS`
        self._listed: float | None = None
        self._record: dict[str, object] | None = None  # of a reload whose first answer is still to come

    def about(self, files: Iterable[str]) -> None:
        """The next reload is about these files too."""
        if self._current:  # whatever was measured belongs to the reload before
            self.close()
            self._current, self._moments, self._listed = False, {}, None
        self._next.files |= dict.fromkeys(files)

    def launch(self) -> None:
        """The app is being started with all that was told up to now; what comes is about the next reload."""
        before, self._launched, self._next = self._launched, self._next, _Subject()
        self._launched.files = before.files | self._launched.files  # it was stopped before it served
        if not self._launched.built:
            self._launched.built, self._launched.remark = before.built, before.remark
        self._current = True

    def noticed(self, age: float | None) -> None:
        """A save that matters was seen; it is so many seconds old, if that is known. What led up to it is void."""
        self.close()
        self._current = False
        self._moments = {"noticed": (now := time.monotonic())}
        self._listed = None
        if age is not None:
            self._moments["saved"] = now - age

    def mark(self, moment: str, at: float | None = None) -> None:
        """A moment of the path of a save has come: now, or at a monotonic time."""
        if moment in LAUNCHED and not self._current:  # of a program that was started for the save before
            return
        if moment == "answered" and self._record is None:  # nobody waited for it
            return
        self._moments[moment] = time.monotonic() if at is None else at

    def listed(self, seconds: float) -> None:
        """The inputs were listed beside the build, in so many seconds."""
        self._listed = seconds

    def built(self, result: Result) -> None:
        """The next reload had this build."""
        self._next.built = "unchanged" if result.unchanged else f"built {took(result.seconds)}"
        self._next.remark = result.remark
        if result.detail:
            self.detail("how", result.detail)

    def close(self) -> None:
        """Nothing more is to come of the newest reload: write it down, and show its parts if they are wanted."""
        record, self._record = self._record, None
        if record is None:
            return
        known = timings.parts(self._moments)
        self._moments = {}
        record["ms"] = {name: round(1000 * seconds, 2) for name, seconds in known.items()}
        if self._listed is not None:
            record["listed_ms"] = round(1000 * self._listed, 2)
        self._keep(record)
        if self._timed and known:
            text = self._console.paint(timings.line(known, self._listed), Style.DIM)
            self._console.raw("timings", f"         {text}", self._service, **record)

    def _written(self, subject: _Subject, did: str, result: str) -> dict[str, object]:
        """What is written down of a reload that is over."""
        changed = list(subject.files)[:SHOWN] or ["start"]
        return {"at": time.strftime(STAMP), "changed": changed, "did": did, "result": result}

    def _over(self, did: str, result: str) -> None:
        """A reload is over, and so is all that was to be told of it."""
        self.close()
        self._record = self._written(self._next, did, result)
        self._next = _Subject()
        self.close()

    @property
    def about_build(self) -> str:
        """The build that goes on, for a person who waits."""
        return f"the build of {self._next.what}" if self._next.files else "the first build"

    def say(self, event: str, text: str, **fields: object) -> None:
        """One line of another kind."""
        self._console.say(event, text, self._service, **fields)

    def detail(self, event: str, text: str) -> None:
        """One line for who asked for the parts of each reload."""
        if self._timed:
            self.say(event, self._console.paint(text, Style.DIM))

    def verified(self, outcome: Literal["equal", "expected", "different"], bundle: str) -> None:
        """What the real build said of a direct one."""
        self._keep({"at": time.strftime(STAMP), "changed": ["verification"], "did": outcome, "result": bundle})
        if outcome == "different":
            text = (
                "the direct build was not what `go build` makes: it is built again, and from now on by the go command"
            )
            self.warn("direct", f"{text}; please report {bundle}", bundle=bundle)
        else:
            same = "the same binary" if outcome == "equal" else "one with all line numbers right, the base from here on"
            self.detail("direct", f"`go build` makes {same}")

    def warn(self, event: str, text: str, **fields: object) -> None:
        """One line that wants the person's attention."""
        self._console.say(event, self._console.paint(text, Fore.YELLOW), self._service, **fields)

    def up(self, seconds: float, url: str) -> None:
        """The newest launch serves, after so many seconds. `close` follows, when it has answered."""
        subject, self._launched = self._launched, _Subject()
        did = f"{subject.made}, up {took(seconds)}"
        self._line(subject, did, url)
        if self._current:
            self.close()
            self._record = self._written(subject, did, url)
        else:
            self._keep(self._written(subject, did, url))

    def kept(self, result: str) -> None:
        """A build ended, and that is all."""
        did = self._next.made
        self._line(self._next, did, result)
        self._over(did, result)

    def done(self, seconds: float) -> None:
        """What `watch` runs has run, for so many seconds."""
        did = f"done {took(seconds)}"
        self._line(self._next, did, "")
        self._over(did, "")

    def _line(self, subject: _Subject, did: str, result: str) -> None:
        paint = self._console.paint
        parts = [paint(subject.what, Fore.CYAN), paint(did, Fore.GREEN), *([result] if result else [])]
        remark, fields = "", {"changed": subject.what, "did": did, "result": result}
        if subject.remark:
            remark, fields["remark"] = f"  ({subject.remark})", subject.remark
        self._console.say("reload", " -> ".join(parts) + remark, self._service, **fields)

    def refresh(self, files: Sequence[str], browsers: bool) -> None:
        """What only a browser reads has changed."""
        to = "browsers refreshed" if browsers else "refresh: no browser is connected without serve.port"
        self.say("refresh", f"{self._console.paint(files[0], Fore.CYAN)} -> {to}", changed=files)

    def rule(self, name: str, files: Sequence[str], result: Result) -> None:
        """How a rule's command ended; what it said, when it failed."""
        what = files[0] + (f" +{len(files) - 1}" if len(files) > 1 else "")
        paint = self._console.paint
        if result.code:
            self._console.raw("output", result.text.rstrip("\n"), self._service, text=result.text)
            how = paint(f"{name}: exit code {result.code}", Fore.RED)
        else:
            how = paint(f"{name} {took(result.seconds)}", Fore.GREEN)
        self.say("rule", f"{what} -> {how}", rule=name, code=result.code)

    def broken(self, problems: Sequence[Problem], seconds: float, still: str) -> None:
        """A build failed. `still`: what goes on all the same."""
        paint, what = self._console.paint, self._next.what
        for problem in problems:
            self._console.raw("problem", paint(str(problem), Fore.RED), self._service, text=str(problem))
        text = f"{paint(what, Fore.CYAN)} -> {paint(summary(problems), Fore.RED)}, {took(seconds)}{still}"
        self.say("failed", text, changed=what, problems=[str(problem) for problem in problems])
        self._over("failed", summary(problems))

    def failed(self, code: int, seconds: float) -> None:
        """A command that `watch` runs failed."""
        self.say(
            "failed", f"{self._next.what} -> {self._console.paint(f'exit code {code}', Fore.RED)}, {took(seconds)}"
        )
        self._over("failed", f"exit code {code}")

    def ended(self, code: int, tail: Sequence[str], panic: Panic | None, root: str, then: str, remark: str) -> None:
        """The app ended by itself: why, where in the project, and what follows.

        Args:
            remark: on the lines that its trace names.
        """
        paint = self._console.paint
        for line in tail[-TAIL:]:
            self._console.raw("tail", paint(f"  | {line}", Fore.RED if code else ""), self._service, text=line)
        if panic:
            own = first(panic)
            place = f" ({os.path.relpath(own.file, root)}:{own.line})" if own else ""
            text = f"{panic.message.splitlines()[0]}{place}{f'  ({remark})' if remark else ''}"
            self._console.raw("panic", paint(text, Fore.RED), self._service, text=text)
        colour = Fore.RED if code else Fore.YELLOW
        self.say("exit", f"{paint(f'the app ended by itself: {exit_name(code)}', colour)}; {then}", code=code)
        self.close()
        if self._current:
            self._moments = {}
        self._keep(self._written(self._launched, "exit", exit_name(code)))
        self._launched = _Subject()


def exit_name(code: int) -> str:
    """An exit code for a person; negative: the signal that ended it."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
