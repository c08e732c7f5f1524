"""The port that people know: the gate behind it, and what browsers and requests are told meanwhile."""

from __future__ import annotations

import functools
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goreload_tasks.gateway.gate import Gate, Held, State
from goreload_tasks.settings import Settings

if TYPE_CHECKING:
    from goreload_tasks.gateway.browser import Browsers
    from goreload_tasks.gateway.listener import Listener
    from goreload_tasks.gateway.passage import Passage
    from goreload_tasks.gateway.proxy import Proxy

LOCAL = ("localhost", "127.0.0.1", "[::1]")


def allowed(host: str, listed: Sequence[str], bound: Sequence[str]) -> bool:
    """May a request have this Host header (RFC 9110 7.2)? Else a foreign page could ask us under a name of its own.

    Allowed are the loopback's names, `*.localhost` (RFC 6761 6.3), addresses that we listen on, and those listed; a
    listed `.example.com` stands for every name below it, `*` for all.
    """
    name = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host.lower()
    name = name.removesuffix(".")
    if not host or name in LOCAL or name.endswith(".localhost") or "*" in listed:
        return True
    bare = name.strip("[]")
    if bare in bound or (_is_address(bare) and any(one in ("0.0.0.0", "::") for one in bound)):
        return True
    return any(name == one or (one.startswith(".") and (name.endswith(one) or name == one[1:])) for one in listed)


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Front:
    """One service's public port.

    Args:
        root: the project's folder, for the places that errors name.
        sockets: that listen already; what comes before `open` waits in their backlog.
        whole: connections are passed on without a look at what is said on them.
    """

    def __init__(self, settings: Settings, root: str, sockets: Sequence[socket.socket], whole: bool) -> None:
        assert settings.serve.port is not None
        self.port: int = settings.serve.port
        self.url = f"http://localhost:{self.port}"
        self.whole = whole
        self._settings = settings
        self._root = root
        self._sockets = sockets
        self._state: State = Held("the first build")
        self._gate: Gate | None = None
        self._clients: Proxy | Passage | None = None
        self._http: _Http | None = None
        self._listener: Listener | None = None

    @property
    def waits(self) -> bool:
        """Does anybody wait for the next launch?"""
        return self._gate is not None and self._gate.waiting > 0

    def open(self, catch_up: Callable[[], Awaitable[None] | None], first: Callable[[int], None]) -> None:
        """Accept connections.

        Args:
            catch_up, first: see `Gate`.
        """
        # The first build is under way by now: what only requests need is loaded beside it.
        from goreload_tasks.gateway.listener import Listener
        from goreload_tasks.gateway.passage import Passage

        self._gate = gate = Gate(catch_up, self._settings.serve.hold, first)
        self._clients = Passage(gate) if self.whole else self._speak(gate)
        self._listener = Listener(self._sockets, self._clients.serve)
        self.show(self._state)

    def _speak(self, gate: Gate) -> Proxy:
        """With clients of HTTP."""
        from goreload_tasks.gateway.browser import Browsers
        from goreload_tasks.gateway.http import plain
        from goreload_tasks.gateway.page import answer
        from goreload_tasks.gateway.proxy import Proxy

        serve, editor, root = self._settings.serve, self._settings.editor, self._root
        browsers = Browsers(root, editor)
        # Made once per state: who asks on and on while nothing serves must not keep the mend waiting.
        told = functools.lru_cache(32)(lambda accept, method: answer(self._state, accept, method, root, editor))
        proxy = Proxy(
            gate,
            port=lambda: self.port,
            refuse=lambda _, head: told(head.get("accept"), head.method),
            lost=lambda reason: plain(502, reason),
            mark=browsers.stamp,
            tag=lambda head, mark: browsers.tag(head.fields.get("content-security-policy", ()), mark),
            control=lambda head, client: browsers.control(
                head.target, head.method, {name: ", ".join(head.fields[name]) for name in head.fields}, client
            ),
            hosts=functools.lru_cache(256)(lambda host: allowed(host, serve.allowed_hosts, serve.bind)),
        )
        self._http = _Http(browsers, told.cache_clear)
        return proxy

    def show(self, state: State) -> None:
        """From now on requests find this."""
        changed, self._state = state != self._state, state
        if self._http and changed:
            self._http.forget()
        if self._gate:
            self._gate.show(state)
        if self._http:
            self._http.browsers.show(state)

    def refresh(self, files: Sequence[str]) -> None:
        """Browsers read these files again."""
        if self._http:
            self._http.browsers.refresh(files)

    async def drained(self, launch: int, patience: float) -> None:
        """Wait until a launch has answered what it was asked, at most `patience` seconds."""
        if self._gate:
            await self._gate.drained(launch, patience)

    def cut(self, launch: int) -> None:
        """End what is still connected to a launch."""
        if self._clients:
            self._clients.cut(launch)

    async def close(self) -> None:
        """End every connection at once."""
        listener, http = self._listener, self._http
        self._gate = self._clients = self._http = self._listener = None
        if listener:
            listener.stop()
        if http:
            http.browsers.close()
        if listener:
            await listener.close()


@dataclass(frozen=True, slots=True)
class _Http:
    """What only clients of HTTP are told, while a front is open."""

    browsers: Browsers
    forget: Callable[[], None]
