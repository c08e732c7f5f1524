"""C headers and libraries that a build reads and the go command does not watch.

`go build` hashes the headers in a package's own folder. One that is included from elsewhere (`#include "../x.h"`, or
found by -I) is read by the C compiler alone, and a library (`#cgo LDFLAGS: -L${SRCDIR} -lx`) by the linker alone: after
an edit the go command leaves a stale binary. An overlay that adds a
file with their hash to the package's folder makes it look again (cmd/go, -overlay).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from goreload_tasks.inputs.golist import Listing, replaced

_INCLUDE = re.compile(rb'^[ \t]*(?://)?[ \t]*#[ \t]*(?:include|import)[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)
_FLAGS = re.compile(rb"^[ \t]*(?://)?[ \t]*#cgo[^:\n]*(?:CFLAGS|CPPFLAGS|CXXFLAGS):([^\n]*)", re.MULTILINE)
_FOLDER = re.compile(rb"-(?:I|iquote|isystem|idirafter)[ \t]*(\S+)")
_FORCED = re.compile(rb"-include[ \t]+(\S+)")
_LINKED = re.compile(rb"^[ \t]*(?://)?[ \t]*#cgo[^:\n]*LDFLAGS:([^\n]*)", re.MULTILINE)
_C_ENDINGS = (".c", ".cc", ".cpp", ".cxx", ".m", ".h", ".hh", ".hpp", ".hxx", ".s", ".S", ".inc")
NAME = "zz_goreload_headers.h"
"""What the overlay adds to a package's folder; nothing includes it."""


class Unseen(NamedTuple):
    """What a build reads beside what the go command names.

    outside: by the folder of the package that reads it. missing: where it would be; it is not there.
    readers: the files that decide it.
    """

    outside: Mapping[str, frozenset[str]]
    missing: frozenset[str]
    readers: frozenset[str]


def unseen(listing: Listing) -> Unseen:
    """What the C code of each package includes from elsewhere, and the libraries that it names."""
    found: dict[str, frozenset[str]] = {}
    missing: set[str] = set()
    readers: set[str] = set()
    for package in listing.packages.values():
        c_files = [path for path in package.files if path.endswith(_C_ENDINGS)]
        cgo = [path for path in package.files if path.endswith(".go")] if "C" in package.imports or c_files else []
        sources = {path: contents(path) for path in (*c_files, *cgo)}
        if not sources:
            continue
        flags = [*(line for source in sources.values() for line in _FLAGS.findall(source)), os.fsencode(listing.cflags)]
        where = [package.folder, *_include_folders(flags, package.folder)]
        forced = b"".join(b'#include "%s"\n' % name.strip(b"\"'") for line in flags for name in _FORCED.findall(line))
        there, gone = _included({**sources, os.path.join(package.folder, "-include"): forced}, where)
        libraries = {path for source in sources.values() for path in _libraries(source, package.folder)}
        outside = (there | set(filter(os.path.isfile, libraries))) - package.files
        missing |= gone | {path for path in libraries if not os.path.lexists(path)}
        readers |= sources.keys() | outside
        if outside:
            found[package.folder] = frozenset(outside)
    return Unseen(found, frozenset(missing), frozenset(readers))


def _include_folders(flags: Iterable[bytes], folder: str) -> list[str]:
    """Where flags say that headers are; relative to the package's folder, in which cgo runs the compiler."""
    named = [os.fsdecode(name).strip("\"'") for line in flags for name in _FOLDER.findall(line)]
    return [os.path.normpath(os.path.join(folder, name.replace("${SRCDIR}", folder))) for name in named]


def _libraries(source: bytes, folder: str) -> Iterable[str]:
    """Where the static libraries and objects that #cgo lines name are, or would be, below a folder named there."""
    words = [
        word.replace("${SRCDIR}", folder) for line in _LINKED.findall(source) for word in os.fsdecode(line).split()
    ]
    folders = [word.removeprefix("-L") for word in words if word.startswith("-L")]
    names = [os.path.join(place, f"lib{word[2:]}.a") for word in words if word.startswith("-l") for place in folders]
    return (os.path.normpath(os.path.join(folder, name)) for name in (*names, *words) if name.endswith((".a", ".o")))


def _included(sources: Mapping[str, bytes], where: list[str]) -> tuple[set[str], set[str]]:
    """All that is included, and what that includes; and the places where what is not found would be.

    What is in angle brackets and in none of the folders is the system's.
    """
    found: set[str] = set()
    missing: set[str] = set()
    left = list(sources.items())
    while left:
        path, source = left.pop()
        for quoted, angled in _INCLUDE.findall(source):
            folders = (os.path.dirname(path), *where) if quoted else where
            name = os.fsdecode(quoted or angled)
            places = [os.path.normpath(os.path.join(folder, name)) for folder in folders]
            included = next(filter(os.path.isfile, places), None)
            if included is None:
                missing.update(places if quoted else ())
            elif included not in found:
                found.add(included)
                left.append((included, contents(included)))
    return found, missing


def overlay(headers: Mapping[str, frozenset[str]], scratch: str, own: str = "") -> str | None:
    """Write the overlay for a build; None: nothing needs one. Returns the path for -overlay.

    Where it cannot be written (a full disk) the go command does not find it, and says so.

    Args:
        own: the person's overlay, which ours stands for then; one that says nothing is left to the go command.
    """
    replace = dict(replaced(own))
    if not headers or (own and not replace):
        return None
    for folder, paths in headers.items():
        hashed = hashlib.blake2b(digest_size=16)
        for path in sorted(paths):
            hashed.update(os.fsencode(path) + b"\0" + contents(path) + b"\0")
        digest = hashed.hexdigest()
        stand_in = os.path.join(scratch, f"{digest}.h")
        with contextlib.suppress(OSError), open(stand_in, "w", encoding="ascii") as file:
            file.write(f"// {digest}\n")
        replace[os.path.join(folder, NAME)] = stand_in
    path = os.path.join(scratch, "overlay.json")
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        json.dump({"Replace": replace}, file)
    return path


def contents(path: str) -> bytes:
    """What is in a file; nothing when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
