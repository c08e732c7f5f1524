"""Clients that ask without mercy, as one small Go program: what they ask costs little of what is being measured."""

from __future__ import annotations

import json
import mmap
import os
import select
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.driver import DEADLINE

GOOD, BROKEN, CRASHES = 0, 1, 2
"""What was saved."""


def build(into: Path) -> Path:
    """The program, built into a folder."""
    program = into / "hammer"
    subprocess.run(["go", "build", "-o", str(program), str(Path(__file__).parent / "main.go")], check=True)
    return program


class Saves:
    """What the hammer is told of the saves: the number of the last one begun, that of the last one that has returned.

    Args:
        room: most saves.
    """

    def __init__(self, path: Path, room: int) -> None:
        self.path = path
        self.number = 0
        path.write_bytes(bytes(16 + room + 1))
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)

    def save(self, path: Path, text: str, kind: int = GOOD) -> int:
        """Write a file as the next save; `{number}` in it is the number. Returns when it began, in nanoseconds."""
        self.number += 1
        text = text.replace("{number}", str(self.number))
        began = time.time_ns()
        self._shared[16 + self.number] = kind
        struct.pack_into("<Q", self._shared, 8, self.number)
        path.write_text(text)
        struct.pack_into("<Q", self._shared, 0, self.number)
        return began

    def close(self) -> None:
        self._shared.close()


class Hammer:
    """The clients at work, until the block ends; then `said` is what they found (main.go, report).

    Args:
        rest: how they ask, as main.go says: clients that ask without a pause, the pause of one more, and how many of
            its questions may wait for an answer; such as "0", "2ms", "100".
    """

    def __init__(self, program: Path, port: int, saves: Saves, *rest: str) -> None:
        self.said: dict[str, Any] = {}
        self.seen: dict[int, int] = {}
        """When each version that was newer than all before it was answered first, in nanoseconds."""
        self._argv = [str(program), f"127.0.0.1:{port}", str(saves.path), *rest]
        self._rest = b""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:
            if kind:
                process.kill()
                return
            assert process.stdin
            process.stdin.close()
            while self._read(DEADLINE):
                pass
        if not self.said:
            raise AssertionError(f"the clients ended with exit code {process.returncode} and said nothing")

    def wait(self, version: int, deadline: float = DEADLINE) -> int | None:
        """When this version or a newer one was answered first, in nanoseconds; None: not in so many seconds."""
        end = time.monotonic() + deadline
        while True:
            found = [at for seen, at in self.seen.items() if seen >= version]
            if found:
                return min(found)
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                return None

    def _read(self, seconds: float) -> bool:
        """Take in lines; False: there was none, or there will be none."""
        assert self._process.stdout
        out = self._process.stdout.fileno()
        if not select.select([out], [], [], seconds)[0]:
            return False
        block = os.read(out, 64 * 1024)
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.said = json.loads(line)
            else:
                version, at = line.split()
                self.seen[int(version)] = int(at)
        return bool(block)
