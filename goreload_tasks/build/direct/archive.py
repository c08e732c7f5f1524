"""PURE. What a compiled package says of itself to others: the export data in its archive.

An importer reads nothing else of the packages that it imports, records the last eight bytes of it, and the linker
compares those with what the object says (cmd/link, "fingerprint mismatch"). The forms are those of cmd/compile's -pack,
internal/pkgbits and cmd/internal/goobj.
"""

from __future__ import annotations

import hashlib
import re
import struct

_ARCHIVE = b"!<arch>\n"
_HEAD = 60
"""Bytes before each member of an archive (ar(5)); its size stands in ten of them."""

_BEGIN, _END = b"\n$$B\n", b"\n$$\n"
_OBJECT = b"\n!\n\x00go120ld"
_FINGERPRINT = 8

_SECTIONS = 10
_STRINGS = 0
_SYNC_MARKERS = 1
_NUMBER = rb"[\x80-\xff]*[\x00-\x7f]"
_POSITION = re.compile(
    rb"(\x0c\x00\x02\x00\x01\x0a\x00\x04\x00%b)\x04\x00%b\x04\x00%b" % (_NUMBER, _NUMBER, _NUMBER), re.DOTALL
)
"""A known position: file, line, column, each behind its marker with no frames (pkgbits: SyncPos, SyncBool,
SyncUseReloc, SyncUint64). No marker is 0, so 0c 00 is never a value and what follows it."""

VERSIONS = (1, 2, 3, 4, 5)
"""Of the export data whose form this knows."""


class FormError(Exception):
    """Not the form that this knows."""


def members(archive: bytes) -> dict[str, tuple[int, int]]:
    """Name of each member with where it begins and ends.

    Raises:
        FormError: it is no archive.
    """
    if not archive.startswith(_ARCHIVE):
        raise FormError("no archive")
    found: dict[str, tuple[int, int]] = {}
    at = len(_ARCHIVE)
    while at + _HEAD <= len(archive):
        head = archive[at : at + _HEAD]
        try:
            size = int(head[48:58])
        except ValueError:
            raise FormError("a member without a size") from None
        at += _HEAD
        found[head[:16].decode("latin-1").strip()] = (at, at + size)
        at += size + size % 2
    return found


def first(begin: bytes) -> int:
    """How many bytes the first member has.

    Args:
        begin: the first 68 bytes of an archive.

    Raises:
        FormError: it is no archive.
    """
    found = members(begin)
    return next((end - at for at, end in found.values()), 0)


def export(archive: bytes) -> bytes:
    """The export data, which is all of `__.PKGDEF` behind its header.

    Args:
        archive: all of it, or as much as holds the first member.

    Raises:
        FormError: there is none.
    """
    begin, end = members(archive).get("__.PKGDEF", (0, 0))
    if end > len(archive):
        raise FormError("half an archive")
    member = archive[begin:end]
    start = member.find(_BEGIN)
    if start < 0 or not member.endswith(_END):
        raise FormError("no export data")
    return member[start + len(_BEGIN) : -len(_END)]


def posing(archive: bytes, old: bytes) -> bytes:
    """The archive with the fingerprint of older export data in its object: importers of that can be linked with it.

    Args:
        old: the export data that the importers know.

    Raises:
        FormError: the object is of another form, or says another fingerprint than its own export data.
    """
    begin, end = members(archive).get("_go_.o", (0, 0))
    at = archive.find(_OBJECT, begin, end) + len(_OBJECT)
    new = export(archive)
    if at < begin + len(_OBJECT) or archive[at : at + _FINGERPRINT] != new[-_FINGERPRINT:]:
        raise FormError("no fingerprint where it should be")
    return archive[:at] + old[-_FINGERPRINT:] + archive[at + _FINGERPRINT :]


def without_positions(section: bytes) -> bytes:
    """A digest of export data that was written with markers (-d=syncframes=0), without all its lines and columns.

    Equal digests of two versions of a package: they differ in nothing but positions.

    Raises:
        FormError: another version, or no markers.
    """
    if section[:1] != b"u" or len(section) < 9 + 4 * _SECTIONS + _FINGERPRINT:
        raise FormError("no unified export data")
    version, flags, *ends = struct.unpack_from(f"<{2 + _SECTIONS}I", section, 1)
    if version not in VERSIONS or flags != _SYNC_MARKERS:
        raise FormError(f"export data of version {version}, flags {flags}")
    at = 1 + 4 * (2 + _SECTIONS)
    count = ends[-1]
    stops = struct.unpack_from(f"<{count}I", section, at)
    data = section[at + 4 * count : -_FINGERPRINT]
    if sorted(ends) != ends or sorted(stops) != list(stops) or (stops and stops[-1] != len(data)):
        raise FormError("export data that does not add up")
    hashed = hashlib.blake2b(struct.pack(f"<{2 + _SECTIONS}I", version, flags, *ends), digest_size=16)
    begin = 0
    for index, stop in enumerate(stops):
        element = data[begin:stop]
        begin = stop
        if index >= ends[_STRINGS]:
            element = _POSITION.sub(rb"\1", element)
        hashed.update(struct.pack("<I", len(element)))
        hashed.update(element)
    return hashed.digest()
