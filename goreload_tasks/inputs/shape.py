"""PURE. What of a .go file decides which files are in the build.

The rule's source is `go list` itself: only what stands before the package clause (build constraints), the package name,
the import paths, `//go:embed` patterns and the presence of cgo change what it names (go/build, read.go).
"""

from __future__ import annotations

import hashlib
import re

_BLANK = re.compile(rb"(?:[ \t\r\n;]+|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_PACKAGE = re.compile(rb"package\b")
_IMPORT = re.compile(rb"import\b")
_TEXT = re.compile(rb'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_EMBED = re.compile(rb"^[ \t]*//go:embed[ \t]+([^\r\n]*)", re.MULTILINE)
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_CONSTRAINT = re.compile(rb"^//[ \t]*((?:go:build|\+build)[ \t][^\r\n]*)", re.MULTILINE)


def constraint(source: bytes) -> str:
    """The build constraint that stands before all code, as `//go:build linux`; empty: there is none."""
    text = source.removeprefix(b"\xef\xbb\xbf")
    found = _CONSTRAINT.search(text[: _after_blank(text, 0)])
    return f"//{found[1].decode(errors='replace').strip()}" if found else ""


def shape(source: bytes) -> bytes:
    """A digest that two versions of a file share exactly when nothing of the above differs.

    A header that cannot be read (a file in the middle of an edit) is a shape of its own.
    """
    text = source.removeprefix(b"\xef\xbb\xbf")
    parts = _header(text)
    if parts is None:
        return hashlib.blake2b(b"unread\0" + text, digest_size=16).digest()
    before, name, imports = parts
    embeds = _EMBED.findall(text) if b"embed" in imports else []
    fields = [before, name, *sorted(imports), b"//go:embed", *embeds]
    return hashlib.blake2b(b"\0".join(fields), digest_size=16).digest()


def _header(text: bytes) -> tuple[bytes, bytes, set[bytes]] | None:
    """What stands before the package clause, the package's name, and the import paths."""
    start = _after_blank(text, 0)
    if not _PACKAGE.match(text, start):
        return None
    at = _after_blank(text, start + len(b"package"))
    name = _identifier(text, at)
    if not name:
        return None
    at = _after_blank(text, at + len(name))
    imports: set[bytes] = set()
    while _IMPORT.match(text, at):
        at = _after_blank(text, at + len(b"import"))
        if text[at : at + 1] == b"(":
            at = _after_blank(text, at + 1)
            while text[at : at + 1] != b")":
                at = _spec(text, at, imports)
                if at < 0:
                    return None
            at += 1
        else:
            at = _spec(text, at, imports)
            if at < 0:
                return None
        at = _after_blank(text, at)
    return text[:start], name, imports


def _spec(text: bytes, at: int, imports: set[bytes]) -> int:
    """Read `name "path"` or `"path"`; where the next thing starts, or -1."""
    alias = b"." if text[at : at + 1] == b"." else _identifier(text, at)
    at = _after_blank(text, at + len(alias))
    path = _TEXT.match(text, at)
    if path is None:
        return -1
    imports.add(path[0][1:-1])
    return _after_blank(text, path.end())


def _identifier(text: bytes, at: int) -> bytes:
    """A Go identifier may hold any letter of Unicode."""
    found = _IDENTIFIER.match(text[at : at + 400].decode(errors="ignore"))
    return found[0].encode() if found else b""


def _after_blank(text: bytes, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
