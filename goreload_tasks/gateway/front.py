"""The port that people know: its sockets, the gate behind them, and what browsers and requests are told meanwhile."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goreload_tasks.app import readiness
from goreload_tasks.errors import GoreloadError
from goreload_tasks.gateway.gate import Gate, Held, State
from goreload_tasks.settings import Settings

if TYPE_CHECKING:
    from goreload_tasks.gateway.browser import Browsers
    from goreload_tasks.gateway.proxy import Proxy

BACKLOG = 1024
"""Connections that wait while nobody accepts; the kernel's own limit is often 4096 (net.core.somaxconn)."""

LOCAL = ("localhost", "127.0.0.1", "[::1]")


def bind(settings: Settings, addresses: Sequence[str]) -> list[socket.socket]:
    """Listening sockets on `serve.port`, one per address.

    Raises:
        GoreloadError: a port that somebody has (who is said), or an address that is not ours.
    """
    serve = settings.serve
    assert serve.port is not None
    made: list[socket.socket] = []
    for address in dict.fromkeys(addresses):
        try:
            made.append(_listen(address, serve.port))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and address == "::1" and made:
                continue  # a machine without IPv6
            who = readiness.owner(serve.port) if error.errno == errno.EADDRINUSE else None
            for one in made:
                one.close()
            if error.errno == errno.EADDRINUSE:
                if who and who.startswith(f"pid {os.getpid()} "):
                    raise GoreloadError(f"serve.bind: {address} is part of another address there; remove it") from None
                by = f" by {who}" if who else ""
                said = f"serve.port = {serve.port}: that port of {address} is used{by}"
                raise GoreloadError(f"{said}; stop it or choose another port") from None
            why = error.strerror or str(error)
            raise GoreloadError(f"serve.bind: cannot listen on {address} port {serve.port}: {why}") from None
    return made


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


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
    """

    def __init__(self, settings: Settings, root: str, sockets: Sequence[socket.socket]) -> None:
        assert settings.serve.port is not None
        self.port: int = settings.serve.port
        self.url = f"http://localhost:{self.port}"
        self._settings = settings
        self._root = root
        self._sockets = sockets
        self._state: State = Held("the first build")
        self._inside: _Inside | None = None

    @property
    def waits(self) -> bool:
        """Does anybody wait for the next launch?"""
        return self._inside is not None and self._inside.gate.waiting > 0

    async def open(self, catch_up: Callable[[], Awaitable[None] | None], first: Callable[[int], None]) -> None:
        """Accept connections.

        Args:
            catch_up, first: see `Gate`.
        """
        # The first build is under way by now: what only requests need is loaded beside it.
        from goreload_tasks.gateway.browser import Browsers
        from goreload_tasks.gateway.http import plain
        from goreload_tasks.gateway.page import answer
        from goreload_tasks.gateway.proxy import Proxy
        from goreload_tasks.gateway.streams import BLOCK

        serve, editor, root = self._settings.serve, self._settings.editor, self._root
        gate = Gate(catch_up, serve.hold, first)
        browsers = Browsers(root, editor)
        proxy = Proxy(
            gate,
            port=lambda: self.port,
            refuse=lambda state, head: answer(state, head.get("accept"), head.method, root, editor),
            lost=lambda reason: plain(502, reason),
            mark=browsers.stamp,
            tag=lambda head, mark: browsers.tag(head.fields.get("content-security-policy", ()), mark),
            control=lambda head, reader, writer: browsers.control(
                head.target, head.method, {name: ", ".join(head.fields[name]) for name in head.fields}, reader, writer
            ),
            hosts=functools.lru_cache(256)(lambda host: allowed(host, serve.allowed_hosts, serve.bind)),
        )
        servers = [
            await asyncio.start_server(proxy.serve, sock=one, limit=BLOCK, backlog=BACKLOG) for one in self._sockets
        ]
        self._inside = _Inside(gate, browsers, proxy, servers)
        self.show(self._state)

    def show(self, state: State) -> None:
        """From now on requests find this."""
        self._state = state
        if self._inside:
            self._inside.gate.show(state)
            self._inside.browsers.show(state)

    def refresh(self, files: Sequence[str]) -> None:
        """Browsers read these files again."""
        if self._inside:
            self._inside.browsers.refresh(files)

    async def drained(self, launch: int, patience: float) -> None:
        """Wait until a launch has answered what it was asked, at most `patience` seconds."""
        if self._inside:
            await self._inside.gate.drained(launch, patience)

    def cut(self, launch: int) -> None:
        """End what is still connected to a launch."""
        if self._inside:
            self._inside.proxy.cut(launch)

    async def close(self) -> None:
        """End every connection at once."""
        inside, self._inside = self._inside, None
        if inside:
            for server in inside.servers:
                server.close()
            inside.browsers.close()
            await inside.proxy.close()


@dataclass(frozen=True, slots=True)
class _Inside:
    """What a front that is open works with."""

    gate: Gate
    browsers: Browsers
    proxy: Proxy
    servers: Sequence[asyncio.Server]
