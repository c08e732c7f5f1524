"""A real file system that tells of no change: a folder seen through FUSE, read only. Run it as root, as a process.

    python -m tests.mirror FOLDER MOUNTPOINT

It prints each path that the kernel looks up, and speaks the kernel's own protocol (linux/fuse.h). What is done to the
folder itself is seen through the mount at once, and no inotify event says so there: so it is with a network share that
another machine writes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 34, 36, 42
HEAD = struct.Struct("IIQQIIII")  # fuse_in_header
ATTRIBUTES = struct.Struct("6Q10I")  # fuse_attr


def mount(target: str) -> int:
    """Mount it; returns the descriptor of the kernel's requests."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"mirror", os.fsencode(target), b"fuse.mirror", 1 | 2 | 4, data):  # read only, no suid, no devices
        raise OSError(ctypes.get_errno(), "mount")
    return fd


class Mirror:
    """Answers by path; a node is forgotten by nobody, as a test is short."""

    def __init__(self, root: str) -> None:
        self._paths = {1: root}
        self._nodes = {root: 1}

    def answer(self, what: int, node: int, body: bytes) -> bytes:
        """The reply to a request.

        Raises:
            OSError: it is refused.
        """
        if what == INIT:
            major, minor = struct.unpack_from("II", body)
            return struct.pack("IIIIHHIIHHI7I", major, min(minor, 31), 65536, 0, 0, 0, 65536, 1, 16, 0, 0, *[0] * 7)
        path = self._paths[node]
        if what == LOOKUP:
            below = os.path.join(path, os.fsdecode(body.rstrip(b"\0")))
            print(below, flush=True)
            attributes = self._attributes(below)
            return struct.pack("QQQQII", self._node(below), 0, 0, 0, 0, 0) + attributes
        if what == GETATTR:
            return struct.pack("QII", 0, 0, 0) + self._attributes(path)
        if what in (OPEN, OPENDIR):
            return struct.pack("QII", 0, 0, 0)
        if what in (READ, READDIR):
            _, offset, size = struct.unpack_from("QQI", body)
            return self._read(path, offset, size) if what == READ else self._names(path, offset, size)
        if what == STATFS:
            return struct.pack("5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)
        if what in (RELEASE, RELEASEDIR, FLUSH, ACCESS):
            return b""
        raise OSError(errno.ENOSYS, "not known")

    def _node(self, path: str) -> int:
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        self._paths[node] = path
        return node

    def _attributes(self, path: str) -> bytes:
        now = os.lstat(path)
        times = (now.st_atime_ns, now.st_mtime_ns, now.st_ctime_ns)
        return ATTRIBUTES.pack(
            *(self._node(path), now.st_size, now.st_blocks, *(at // 10**9 for at in times)),
            *(*(at % 10**9 for at in times), now.st_mode, now.st_nlink, now.st_uid, now.st_gid, 0, 4096, 0),
        )

    def _read(self, path: str, offset: int, size: int) -> bytes:
        with open(path, "rb") as file:
            return os.pread(file.fileno(), size, offset)

    def _names(self, path: str, offset: int, size: int) -> bytes:
        block = b""
        for number, name in enumerate(sorted(os.listdir(path))[offset:], offset + 1):
            raw = os.fsencode(name)
            kind = stat.S_IFMT(os.lstat(os.path.join(path, name)).st_mode) >> 12
            entry = struct.pack("QQII", number, number, len(raw), kind) + raw
            entry += b"\0" * (-len(entry) % 8)
            if len(block) + len(entry) > size:
                break
            block += entry
        return block


def main(root: str, target: str) -> None:
    fd = mount(target)
    print("mounted", flush=True)
    mirror = Mirror(root)
    while True:
        try:
            request = os.read(fd, 256 * 1024)
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            continue
        _, what, unique, node, *_ = HEAD.unpack_from(request)
        if what in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        try:
            reply, code = mirror.answer(what, node, request[HEAD.size :]), 0
        except OSError as error:
            reply, code = b"", -(error.errno or errno.EIO)
        os.write(fd, struct.pack("IiQ", 16 + len(reply), code, unique) + reply)


if __name__ == "__main__":
    main(*sys.argv[1:])
