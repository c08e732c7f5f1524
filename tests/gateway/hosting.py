"""A real Go app, a proxy before it, and clients that say exactly the bytes they mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from goreload_tasks.gateway.gate import Gate, Open, State
from goreload_tasks.gateway.http import Head, plain
from goreload_tasks.gateway.listener import Listener
from goreload_tasks.gateway.passage import Passage
from goreload_tasks.gateway.proxy import Proxy
from goreload_tasks.gateway.streams import Wire
from tests.driver import DEADLINE

T = TypeVar("T")

SCRIPT = b"<script>reload()</script>"


def build(folder: Path) -> Path:
    """The binary of app.go."""
    shutil.copy(Path(__file__).parent / "app.go", folder / "main.go")
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.24\n")
    subprocess.run(["go", "build", "-o", "app", "."], cwd=folder, check=True, timeout=5 * DEADLINE)
    return folder / "app"


class App:
    """The app as a process; it picks its port."""

    def __init__(self, binary: Path, launch: int = 0) -> None:
        self.launch = launch
        self.process = subprocess.Popen(
            [binary], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "LAUNCH": str(launch)}
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    @property
    def open(self) -> Open:
        """The gate's state that leads here."""
        return Open(self.launch, "127.0.0.1", self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        assert self.process.stdout
        self.process.stdout.close()


async def control(head: Head, client: Wire) -> None:
    """What the tests serve themselves: it says what it was asked."""
    body, length = b"", int(head.get("content-length") or 0)
    while len(body) < length and (block := await client.read()):
        body += block
    client.write(plain(200, f"own {head.target} {body[:length]!r}"))
    await client.drain()


def proxy_before(gate: Gate, port: int) -> Proxy:
    """A proxy whose answers of its own tell the state."""
    return Proxy(
        gate,
        port=lambda: port,
        refuse=lambda state, head: plain(503, f"{head.path}: {state}"),
        lost=lambda reason: plain(502, f"lost: {reason}"),
        mark=lambda: "mark",
        tag=lambda answer, _mark: b"" if "no-script" in answer.fields else SCRIPT,
        control=control,
        hosts=lambda host: host.split(":")[0] in ("localhost", "127.0.0.1"),
    )


class Hosted:
    """A gate that serves on a loop of its own.

    Args:
        whole: connections are passed on whole, not as HTTP.
    """

    def __init__(self, state: State, hold: float = DEADLINE, whole: bool = False) -> None:
        self._whole = whole
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.gate = Gate(lambda: None, hold)
        self.run(self._start(state))

    async def _start(self, state: State) -> None:
        self.gate.show(state)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.proxy = proxy_before(self.gate, self.port)
        self._clients = Passage(self.gate) if self._whole else self.proxy
        self._listener = Listener([listener], self._clients.serve)

    async def close(self) -> None:
        """End every connection."""
        self._listener.stop()
        await self._listener.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the proxy's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    def show(self, state: State) -> None:
        """Turn the gate."""

        async def turn() -> None:
            self.gate.show(state)

        self.run(turn())

    def cut(self, launch: int) -> None:
        """Let go of a launch."""

        async def cut() -> None:
            self._clients.cut(launch)

        self.run(cut())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.close())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()


class Client:
    """A connection that sends and reads bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def answers(self) -> bool:
        """Is there something to read now?"""
        return bool(self._rest or select.select([self.socket], [], [], 0)[0])

    def until(self, mark: bytes) -> bytes:
        """Up to and with the mark."""
        while mark not in self._rest:
            block = self.socket.recv(65536)
            assert block, f"ended without {mark!r}: {self._rest!r}"
            self._rest += block
        end = self._rest.index(mark) + len(mark)
        found, self._rest = self._rest[:end], self._rest[end:]
        return found

    def read(self, size: int, short: bool = False) -> bytes:
        """So many bytes. `short`: or none, at the end."""
        while len(self._rest) < size:
            block = self.socket.recv(65536)
            if short and not self._rest and not block:
                return b""
            assert block, f"ended early: {self._rest[:1000]!r}"
            self._rest += block
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def rest(self) -> bytes:
        """All there is, until the end or a reset."""
        blocks = [self._rest]
        with contextlib.suppress(ConnectionError):
            while block := self.socket.recv(65536):
                blocks.append(block)
        return b"".join(blocks)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of an answer with a Content-Length."""
        head = Head.answer(self.until(b"\r\n\r\n"))
        return head.status, self.read(int(head.get("content-length") or 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
