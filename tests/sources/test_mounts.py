"""Which file systems tell of every change, from the text of mountinfo."""

from __future__ import annotations

import asyncio
import time

import pytest

from goreload_tasks.sources.clock import jumps
from goreload_tasks.sources.mounts import silent
from tests.driver import DEADLINE


def mounted(*lines: str) -> str:
    """mountinfo with these mounts, each POINT TYPE, over a local root."""
    pairs = [line.rsplit(" ", 1) for line in ("/ ext4", *lines)]
    return "".join(
        f"{n} 1 0:{n} / {point} rw,relatime shared:{n} - {kind} source rw\n" for n, (point, kind) in enumerate(pairs)
    )


CASES = [
    ([], "/home/me/project", None),
    (["/home/me ext4", "/tmp tmpfs"], "/home/me/project", None),
    (["/ overlay"], "/app", None),
    (["/home btrfs"], "/home/me", None),
    (["/mnt/usb fuseblk"], "/mnt/usb/project", None),
    (["/home nfs4"], "/home/me/project", "nfs4"),
    (["/home nfs4"], "/home", "nfs4"),
    (["/home nfs4"], "/homes/me", None),
    (["/home nfs4", "/home/me/local xfs"], "/home/me/local/project", None),
    (["/home/me/local xfs", "/home nfs4"], "/home/me/local/project", None),
    (["/srv cifs"], "/srv/a", "cifs"),
    (["/srv smb3"], "/srv/a", "smb3"),
    (["/mnt/c 9p"], "/mnt/c/Users/me/project", "9p"),
    (["/mnt/c drvfs"], "/mnt/c/Users/me/project", "drvfs"),
    (["/app fuse.grpcfuse"], "/app/cmd", "fuse.grpcfuse"),
    (["/app fakeowner"], "/app/cmd", "fakeowner"),
    (["/app virtiofs"], "/app", "virtiofs"),
    (["/vagrant vboxsf"], "/vagrant", "vboxsf"),
    (["/home/me/far fuse.sshfs"], "/home/me/far/project", "fuse.sshfs"),
    (["/x fuse"], "/x", "fuse"),
    (["/with\\040space nfs"], "/with space/project", "nfs"),
    (["/with\\134back nfs"], "/with\\back/project", "nfs"),
    (["/x nfs", "/x ext4"], "/x/project", None),
    (["/x ext4", "/x nfs"], "/x/project", "nfs"),
    (["/ nfs"], "/anything", "nfs"),
]


@pytest.mark.parametrize(("mounts", "folder", "kind"), CASES)
def test_file_system_of_a_folder_decides_whether_it_is_looked_at(
    mounts: list[str], folder: str, kind: str | None
) -> None:
    assert silent(mounted(*mounts), [folder]) == ({folder: kind} if kind else {})


def test_text_that_says_nothing_makes_nobody_look() -> None:
    assert silent("", ["/a"]) == {}
    assert silent("nonsense\n\n1 2 - \n", ["/a", ""]) == {}


@pytest.mark.usefixtures("clock")
def test_each_jump_of_the_clock_is_told() -> None:
    async def scene() -> None:
        told: asyncio.Queue[None] = asyncio.Queue()
        with jumps(lambda: told.put_nowait(None)):
            for _ in range(3):
                try:
                    time.clock_settime(time.CLOCK_REALTIME, time.time())  # to what it is: a jump of some microseconds
                except PermissionError:
                    pytest.skip("only root may set the clock")
                async with asyncio.timeout(DEADLINE):
                    await told.get()
        assert told.empty()

    asyncio.run(scene())
