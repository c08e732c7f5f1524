"""Which folders lie on a file system that does not tell of every change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SILENT = {
    # over a network, or shared by several machines
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "coda", "lustre", "gpfs", "beegfs"),
    *("gfs2", "ocfs2", "orangefs"),
    # the host's files in a virtual machine or a container; WSL 2 calls it 9p, WSL 1 drvfs, Docker Desktop fakeowner
    *("9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs", "fakeowner"),
    # a program of anybody's, fuse.NAME too; fuseblk, a local disk like NTFS, is not among them
    "fuse",
}
"""Types, as mountinfo calls them, whose files others change behind our kernel's back: inotify(7) sees only what is done
through it. Layers over local files (overlay) tell of what is done in them."""

MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
"""Types of which nothing is ever written to a disk."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def silent(mounted: str, folders: Iterable[str]) -> dict[str, str]:
    """The folders on a silent file system, each with the type of it.

    Args:
        mounted: the text of /proc/self/mountinfo (proc(5)).
        folders: real paths.
    """
    types = _types(mounted)
    found = {folder: _type(folder, types) for folder in folders}
    return {folder: kind for folder, kind in found.items() if kind.partition(".")[0] in SILENT}


def in_memory(mounted: str, path: str) -> bool:
    """Is a real path on a file system that lies in memory alone? The kernel counts no pages written to it (proc(5))."""
    return _type(path, _types(mounted)) in MEMORY


def mountinfo() -> str:
    """What is mounted; nothing where the system does not say so."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _types(mounted: str) -> dict[str, str]:
    """The type of file system at each mount point; the last one that was mounted there covers the others."""
    types = {}
    for line in mounted.splitlines():
        before, found, after = line.partition(" - ")
        fields = before.split(" ")
        if found and len(fields) >= 5:
            types[_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])] = after.split(" ")[0]
    return types


def _type(folder: str, types: Mapping[str, str]) -> str:
    while folder not in types:
        parent = folder.rpartition("/")[0] or "/"
        if parent == folder:
            return ""
        folder = parent
    return types[folder]
