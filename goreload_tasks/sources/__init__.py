"""What can happen: files change, keys are typed."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Where files change. It tells hints: paths at which something happened, or nothing for everywhere."""

    exact: bool
    """`read` tells every save that returned before it."""

    refused: frozenset[str]
    """Folders that are there but may not be watched, at the last `watch`."""

    def watch(self, folders: frozenset[str]) -> None:
        """Watch exactly these folders from now on, not what is below them."""

    def read(self) -> None:
        """Tell at once what is known to have happened; only Inotify knows of everything up to now."""

    def close(self) -> None:
        """End all watches."""


class Nothing:
    """No source: whoever has this looks by itself, at a beat."""

    exact = False
    refused: frozenset[str] = frozenset()

    def watch(self, folders: frozenset[str]) -> None:
        """Nothing is watched."""

    def read(self) -> None:
        """Nothing is known."""

    def close(self) -> None:
        """Nothing ends."""
