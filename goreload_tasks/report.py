"""What the person reads of one service: a line per reload, errors first, and how an app ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence

from colorama import Fore

from goreload_tasks.app.panic import Panic, first
from goreload_tasks.build.builder import Result
from goreload_tasks.build.diagnostics import Problem, summary
from goreload_tasks.console import Console, took

TAIL = 5
"""Lines shown again of an app that ended by itself."""


class Report:
    """Writes the lines of one service, and remembers what the next one is about."""

    def __init__(self, console: Console, service: str) -> None:
        self._console = console
        self._service = service
        self._files: dict[str, None] = {}
        self._built: float | None = None

    def about(self, files: Iterable[str]) -> None:
        """The next reload is about these files too."""
        self._files |= dict.fromkeys(files)

    def built(self, seconds: float | None) -> None:
        """The next reload had a build that took so long; None: it had none after all."""
        self._built = seconds

    @property
    def made(self) -> str:
        return "restarted" if self._built is None else f"built {took(self._built)}"

    @property
    def about_build(self) -> str:
        """The build that goes on, for a person who waits."""
        return f"the build of {self.what}" if self._files else "the first build"

    @property
    def what(self) -> str:
        """The file that changed, or the first and how many more."""
        files = list(self._files) or ["start"]
        return files[0] + (f" +{len(files) - 1}" if len(files) > 1 else "")

    def say(self, event: str, text: str, **fields: object) -> None:
        """One line of another kind."""
        self._console.say(event, text, self._service, **fields)

    def warn(self, event: str, text: str, **fields: object) -> None:
        """One line that wants the person's attention."""
        self._console.say(event, self._console.paint(text, Fore.YELLOW), self._service, **fields)

    def reload(self, did: str, result: str) -> None:
        """How a reload went."""
        paint, what = self._console.paint, self.what
        parts = [paint(what, Fore.CYAN), paint(did, Fore.GREEN), *([result] if result else [])]
        self._console.say("reload", " -> ".join(parts), self._service, changed=what, did=did, result=result)
        self._begin_anew()

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
        paint, what = self._console.paint, self.what
        for problem in problems:
            self._console.raw("problem", paint(str(problem), Fore.RED), self._service, text=str(problem))
        text = f"{paint(what, Fore.CYAN)} -> {paint(summary(problems), Fore.RED)}, {took(seconds)}{still}"
        self.say("failed", text, changed=what, problems=[str(problem) for problem in problems])
        self._begin_anew()

    def failed(self, code: int, seconds: float) -> None:
        """A command that `watch` runs failed."""
        self.say("failed", f"{self.what} -> {self._console.paint(f'exit code {code}', Fore.RED)}, {took(seconds)}")
        self._begin_anew()

    def ended(self, code: int, tail: Sequence[str], panic: Panic | None, root: str, then: str) -> None:
        """The app ended by itself: why, where in the project, and what follows."""
        paint = self._console.paint
        for line in tail[-TAIL:]:
            self._console.raw("tail", paint(f"  | {line}", Fore.RED if code else ""), self._service, text=line)
        if panic:
            own = first(panic)
            place = f" ({os.path.relpath(own.file, root)}:{own.line})" if own else ""
            text = f"{panic.message.splitlines()[0]}{place}"
            self._console.raw("panic", paint(text, Fore.RED), self._service, text=text)
        colour = Fore.RED if code else Fore.YELLOW
        self.say("exit", f"{paint(f'the app ended by itself: {exit_name(code)}', colour)}; {then}", code=code)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._files, self._built = {}, None


def exit_name(code: int) -> str:
    """An exit code for a person; negative: the signal that ended it."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
