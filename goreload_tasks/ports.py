"""Which port is whose, and what the person is told of it."""

from __future__ import annotations

import asyncio

from goreload_tasks.app import readiness
from goreload_tasks.gateway.front import Front
from goreload_tasks.launch import Launch
from goreload_tasks.report import Report
from goreload_tasks.settings.schema import Serve


class Ports:
    """Those of one service.

    Args:
        front: the port that people know, where it is ours.
    """

    def __init__(self, report: Report, serve: Serve, front: Front | None) -> None:
        self._report = report
        self._serve = serve
        self._front = front
        self.elsewhere: int | None = None
        """Where the app listens, when that is not the PORT that it was given."""

    def url(self, launch: Launch) -> str:
        """Where people find the app; empty: it listens on no port yet."""
        if self._front:
            return self._front.url
        return f"http://localhost:{launch.place.port}" if launch.place else ""

    def advise(self, launch: Launch) -> None:
        """An app that hard-codes its port is served all the same; once, say what would be better."""
        if launch.elsewhere and self.elsewhere is None:
            self._report.warn(
                "port",
                f"the app listens on {launch.elsewhere} and not on its PORT: "
                "let it read PORT, so that no other program can be in its way",
            )
        self.elsewhere = launch.elsewhere

    @property
    def own(self) -> int | None:
        """The port that the app is known to take for itself."""
        return None if self._front else self._serve.port

    @property
    def ours(self) -> str:
        """The app wanted the port that is ours: what it should do instead."""
        assert self._front is not None
        mend = "take descriptor 3 (LISTEN_FDS=1)" if self._front.whole else "let the app read PORT"
        other = "proxy" if self._front.whole else "direct"
        return f"port {self._front.port} is serve.port, where requests wait: {mend}, or set serve.mode: {other}"

    async def name_owner(self, port: int, overlap: bool, launch: Launch | None = None) -> None:
        """The app could not have its port: say who has it.

        Args:
            overlap: the program before runs still.
            launch: that runs, and may have it by now.
        """
        if self._front and port == self._front.port:
            text = self.ours
        elif overlap:
            text = f"port {port} is held by the program before: let the app read PORT, or unset serve.overlap"
        else:
            who = await asyncio.to_thread(readiness.owner, port, launch.pid if launch else None)
            text = f"port {port} is used by {who}; stop it or choose another port" if who else ""
        if text:
            self._report.warn("port", text, port=port)
