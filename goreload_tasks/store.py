"""`.goreload/`: what this tool keeps in a project, and the lock that says whose turn it is.

.goreload/.gitignore            ignores everything here, and marks the folder as ours
.goreload/SERVICE/lock          held by the running `dev` or `watch`; its pid is written in it
.goreload/SERVICE/bin/N/NAME    the binary of generation N; never overwritten, the last few are kept
.goreload/SERVICE/out/ENV/NAME  what `build` makes
.goreload/SERVICE/tmp/PID-BEGAN GOTMPDIR of one process
.goreload/SERVICE/direct        archives of direct builds, for one run
.goreload/SERVICE/last          the binary of the last run, for a start before which nothing changed; see `kept.Last`

All of it is for its owner alone, whatever the umask: a binary may hold what its sources hold. A repository can bring
any of these names as a link: what is behind it is not ours, and nothing is made or removed there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator

from goreload_tasks.app import strays
from goreload_tasks.errors import GoreloadError

NAME = ".goreload"
MARK = "# Made by goreload-tasks; `clean` removes what is in this folder.\n*\n"
PARTS = (
    "bin",
    "out",
    "tmp",
    "lock",
    "listing.json",
    "target.json",
    "learned.json",
    "history.jsonl",
    "direct",
    "last",
    "last.json",
)
"""All that this tool makes for a service."""

FRESH = ".new"
"""Ending of a file of ours that is being written."""

KEPT = 3
"""Binaries kept beside the running one."""

GLANCE = 0.5
"""Seconds for which a lock is tried: longer than anybody takes who only looks."""


class TakenError(GoreloadError):
    """Another process has the lock."""


class Store:
    """The folder of one service. Nothing is made before it is needed."""

    def __init__(self, root: str, service: str) -> None:
        self.home = os.path.join(root, NAME)
        self.folder = os.path.join(self.home, service)
        self._lock = -1

    def make(self) -> None:
        """Make the folder, marked as ours.

        Raises:
            GoreloadError: it cannot be made, or a link stands in its place.
        """
        try:
            for folder in (self.home, self.folder):
                _make(folder)
            mark = os.path.join(self.home, ".gitignore")
            if not os.path.lexists(mark):
                try:
                    with open(mark, "w", encoding="utf-8", opener=private) as file:
                        file.write(MARK)
                except OSError:  # half a mark would be taken for somebody else's
                    with contextlib.suppress(OSError):
                        os.unlink(mark)
                    raise
        except OSError as error:
            raise unwritable(self.folder, error) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one, in a folder that is there from now on.

        The kernel lets go of the lock however we end, so a stale one cannot be.

        Raises:
            GoreloadError: another process has it; its pid is named. Or it cannot be written.
        """
        self._take_lock()
        try:
            yield
            os.ftruncate(self._lock, 0)
        finally:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        """Take the lock at its path, and let go of one that we have elsewhere."""
        self.make()
        path = os.path.join(self.folder, "lock")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _flock(file)
                os.fchmod(file, 0o600)
                os.ftruncate(file, 0)
                os.pwrite(file, str(os.getpid()).encode(), 0)
            except BlockingIOError:
                pid = os.read(file, 20).decode().strip() or "unknown"
                os.close(file)
                service = os.path.basename(self.folder)
                raise TakenError(
                    f"{service} is already being run by pid {pid}: stop it first, or `kill {pid}`"
                ) from None
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            raise unwritable(path, error) from None
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = file

    @property
    def whole(self) -> bool:
        """Are the lock that we hold and our scratch folder there still, and no link in the place of a folder?"""
        try:
            with entered(self._scratch), entered(self.folder) as at:
                return _same(self._lock, at, "lock") and not _is_link(at, "bin")
        except OSError:
            return False

    def renew(self) -> None:
        """Make anew what somebody removed while the lock was held.

        Raises:
            TakenError: another process runs the service meanwhile.
            GoreloadError: it cannot be made.
        """
        self.prepare(os.path.join(self.folder, "bin"))
        self.prepare(self._scratch)
        if not self.whole:
            self._take_lock()

    def binary(self, generation: int, name: str) -> str:
        """Where the binary of a generation goes; the go command makes the folder."""
        return os.path.join(self.folder, "bin", str(generation), name)

    @property
    def target(self) -> str:
        """Where the place of the main package is kept for the next start."""
        return os.path.join(self.folder, "target.json")

    @property
    def listing(self) -> str:
        """Where the listing is kept for the next start."""
        return os.path.join(self.folder, "listing.json")

    @property
    def learned(self) -> str:
        """Where it is kept what was found out at rest about building this service."""
        return os.path.join(self.folder, "learned.json")

    @property
    def direct(self) -> str:
        """What direct builds keep between them."""
        return os.path.join(self.folder, "direct")

    @property
    def last(self) -> str:
        """Where a binary is kept for the next start."""
        return os.path.join(self.folder, "last")

    @property
    def history(self) -> str:
        """Where past reloads are written down."""
        return os.path.join(self.folder, "history.jsonl")

    def out(self, environment: str, name: str) -> str:
        """Where `build` puts its result when it is not told."""
        return os.path.join(self.folder, "out", environment, name)

    def prepare(self, folder: str) -> None:
        """Make a folder below ours, and those above it, each its owner's alone.

        Raises:
            GoreloadError: it cannot be made, or a link stands in the place of one.
        """
        self.make()
        path = self.folder
        try:
            for name in os.path.relpath(folder, path).split(os.sep):
                path = os.path.join(path, name)
                _make(path)
        except OSError as error:
            raise unwritable(path, error) from None

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """GOTMPDIR of this process: a killed go leaves its work folder there."""
        self.prepare(self._scratch)
        try:
            yield self._scratch
        finally:
            discard(self._scratch)

    @property
    def _scratch(self) -> str:
        return os.path.join(self.folder, "tmp", strays.name(os.getpid()))

    def empty(self) -> None:
        """Remove what an earlier run left. Call with the lock held: binaries and scratch folders are nobody's then."""
        for part in ("bin", "direct"):
            discard(os.path.join(self.folder, part))
        with contextlib.suppress(GoreloadError):  # the go command says it better when it cannot write there
            self.prepare(os.path.join(self.folder, "bin"))
        for path in _within(os.path.join(self.folder, "tmp")):
            if not strays.living(os.path.basename(path)):  # a `build` may be at work beside us
                discard(path)

    def forget(self, running: set[int]) -> None:
        """Keep the binaries of the last few generations and of those that run."""
        paths = {int(name): path for path in _within(os.path.join(self.folder, "bin")) if (name := _number(path))}
        for generation in sorted(paths)[:-KEPT]:
            if generation not in running:
                discard(paths[generation])

    def sweep(self) -> None:
        """Leave nothing in our scratch folder."""
        for path in _within(self._scratch):
            discard(path)


def _make(folder: str) -> None:
    """Make a folder, or make one that is there already its owner's alone.

    Raises:
        GoreloadError: a link stands in its place. OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    try:
        at = os.open(folder, _FOLDER)
    except OSError:
        if os.path.islink(folder):
            raise GoreloadError(f"{folder} is a link, and nothing behind it is ours: remove the link") from None
        raise
    try:
        os.fchmod(at, 0o700)
    finally:
        os.close(at)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def entered(folder: str) -> Iterator[int]:
    """A folder of ours as a descriptor, reached step by step from `.goreload` and through no link (O_NOFOLLOW).

    What is done by it is done there, whatever takes the place of a folder meanwhile.

    Raises:
        OSError: it is not there, or a link stands in the place of a folder.
    """
    above, inside, below = folder.rpartition(f"{os.sep}{NAME}{os.sep}")
    names = below.split(os.sep) if inside else []
    at = os.open(f"{above}{os.sep}{NAME}" if inside else folder, _FOLDER)
    try:
        for name in names:
            step = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = step
        yield at
    finally:
        os.close(at)


def _within(folder: str) -> list[str]:
    """The paths in a folder of ours; none where it is not there."""
    try:
        with entered(folder) as at:
            return [os.path.join(folder, name) for name in os.listdir(at)]
    except OSError:
        return []


def discard(path: str) -> None:
    """Remove a file, a link, or a folder of ours with all that is in it; what cannot be removed stays."""
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError), entered(folder) as at:
        try:
            os.unlink(name, dir_fd=at)
        except (IsADirectoryError, PermissionError):  # what unlink(2) says of a folder: Linux, and POSIX
            shutil.rmtree(name, ignore_errors=True, dir_fd=at)


def _number(path: str) -> str:
    return name if (name := os.path.basename(path)).isdigit() else ""


def _is_link(at: int, name: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    return False


def _same(file: int, at: int, name: str) -> bool:
    """Is a file that we have open still the one of a name?"""
    try:
        return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=at, follow_symlinks=False))
    except OSError:
        return False


def _flock(file: int) -> None:
    """Take a lock. Who only looks whether it is held holds it for a moment: that is waited for.

    Raises:
        BlockingIOError: somebody has it.
    """
    end = time.monotonic() + GLANCE
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(GLANCE / 50)


def private(path: str, flags: int) -> int:
    """An opener of files of ours, which only their owner may read and write; never through a link."""
    folder, name = os.path.split(path)
    with entered(folder) as at:
        file = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=at)
    if flags & os.O_CREAT:
        os.fchmod(file, 0o600)
    return file


def unwritable(path: str, error: OSError) -> GoreloadError:
    """The one form of the complaint about a place where we cannot write."""
    mend = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some space", errno.ELOOP: "remove the link"}.get(
        error.errno or 0, "make the folder writable"
    )
    return GoreloadError(f"cannot write {path}: {error.strerror}; {mend}")


def found(root: str) -> list[str]:
    """What is there of ours below a root, for `clean`: paths, the folder itself last. Links are never followed.

    Raises:
        GoreloadError: `.goreload` is not a folder that this tool made.
    """
    home = os.path.join(root, NAME)
    if not os.path.lexists(home):
        return []
    mark = os.path.join(home, ".gitignore")
    if os.path.islink(home) or os.path.islink(mark) or not os.path.isfile(mark):
        raise GoreloadError(f"{home} was not made by this tool (a link, or without its mark): remove it by hand")
    with open(mark, encoding="utf-8", errors="replace") as file:
        if file.readline() != MARK.splitlines(keepends=True)[0]:
            raise GoreloadError(f"{home} was not made by this tool (another .gitignore in it): remove it by hand")
    paths = []
    for service in sorted(entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)):
        folder = os.path.join(home, service)
        paths += [path for path in sorted(_within(folder)) if _is_part(os.path.basename(path))]
        paths.append(folder)
    return [*paths, mark, home]


def _is_part(name: str) -> bool:
    """Is it something that we put into the folder of a service?"""
    return name.removesuffix(FRESH) in PARTS or re.fullmatch(r"difference-\d+\.txt", name) is not None


def holder(root: str, service: str) -> int | None:
    """The pid of the process that runs this service, if any."""
    try:
        file = os.open(os.path.join(root, NAME, service, "lock"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(file, 20) or 0)
    finally:
        os.close(file)
    return None


def builders(root: str, service: str) -> list[int]:
    """The pids of the processes that build this service now."""
    names = map(os.path.basename, _within(os.path.join(root, NAME, service, "tmp")))
    return [int(name.partition("-")[0]) for name in names if strays.living(name)]


def remove(paths: list[str]) -> list[str]:
    """Remove what `found` found; a folder goes only when nothing of a person's is left in it. Returns what went."""
    for path in paths:
        folder, name = os.path.split(path)
        if name == ".gitignore" and os.path.basename(folder) == NAME:
            if list(_within(folder)) == [path]:  # else it still says whose the folder is
                discard(path)
        elif _is_part(name) and os.path.basename(os.path.dirname(folder)) == NAME:
            discard(path)
        else:
            with contextlib.suppress(OSError), entered(path):
                os.rmdir(path)
    return [path for path in paths if not os.path.lexists(path)]
