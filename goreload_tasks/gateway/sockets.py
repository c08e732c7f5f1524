"""The sockets that listen: those of the port that people know, and one for each launch that inherits it."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Sequence

from goreload_tasks.app import readiness
from goreload_tasks.errors import GoreloadError
from goreload_tasks.settings import Settings

BACKLOG = 1024
"""Connections that wait while nobody accepts; the kernel's own limit is often 4096 (net.core.somaxconn)."""


GIVEN = 100
"""Ports of the newest launches that are remembered."""


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


def inner() -> socket.socket:
    """A listening socket on a free port of this machine, for one launch to inherit."""
    return _listen("127.0.0.1", 0)


_given = deque[int](maxlen=GIVEN)


def unused_port() -> int:
    """A port on which nobody listens now, as the kernel chooses it, and that was given to no other launch just before.

    It is not kept bound: a program that does not set SO_REUSEADDR could not have it.
    """
    port = 0
    for _ in range(2 * GIVEN):  # there may be no more ports than that
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if port not in _given:
            break
    _given.append(port)
    return port


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
