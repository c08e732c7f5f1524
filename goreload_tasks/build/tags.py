"""PURE. Build tags from several places, composed into one list."""

from __future__ import annotations

from collections.abc import Iterable

from goreload_tasks.errors import GoreloadError


def compose(*lists: Iterable[str]) -> tuple[str, ...]:
    """The union, in the order given, duplicates dropped.

    >>> compose(["dev", "sqlite"], ["sqlite", "trace"])
    ('dev', 'sqlite', 'trace')
    """
    return tuple(dict.fromkeys(tag for tags in lists for tag in tags))


def split(texts: Iterable[str]) -> list[str]:
    """`a,b` and `a` `b` alike."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def check(tags: Iterable[str], source: str) -> None:
    """A tag is letters, digits, underscores and dots (Go: go/build/constraint, "Build constraints" of cmd/go).

    Raises:
        GoreloadError: naming the first tag that is not.
    """
    for tag in tags:
        if not tag or not all(char.isalpha() or char.isdecimal() or char in "_." for char in tag):
            raise GoreloadError(
                f'bad build tag "{tag}" ({source}): a tag is letters, digits, underscores and dots; '
                "separate several with commas"
            )
