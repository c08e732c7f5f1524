"""The project that chaos happens to: a small net/http server under git, and what it must answer, read from the disk."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.driver import write

MODULE = "example.com/app"

MAIN = """package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"

	lib "example.com/app/lib"
)

var parts []string

func main() {
	sort.Strings(parts)
	listener, err := net.FileListener(os.NewFile(3, "inherited"))
	if os.Getenv("LISTEN_FDS") != "1" {
		listener, err = net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Join(append([]string{Answer(), lib.Text()}, parts...), " "))
	})
	http.HandleFunc("/crash", func(w http.ResponseWriter, r *http.Request) { go panic("on purpose") })
	http.Serve(listener, nil)
}
"""

ANSWER = 'package main\n\nfunc Answer() string {{ return "{}" }}\n'
LIB = 'package lib\n\nfunc Text() string {{ return "{}" }}\n'
EXTRA = 'package main\n\nfunc init() {{ parts = append(parts, "{}") }}\n'

MISTAKES = ("retrun", 'var _ int = "text"')
"""Lines that do not compile: one for the parser, one for the type checker."""

LIBS = ("lib", "core", "inner/deep")
"""Folders in which the package `lib` may be."""

Style = Callable[[Path, str], None]


@dataclass(frozen=True, slots=True)
class Works:
    """It compiles and answers this."""

    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It does not compile; each of these places is one that an error may name, and at least one must."""

    places: frozenset[str]


def expected(folder: Path) -> Works | Broken:
    """What must be answered for what is on disk now."""
    main = (folder / "main.go").read_text().splitlines()
    number, lib = next((at, found[1]) for at, line in enumerate(main, 1) if (found := re.search(r"app/([^\"]+)", line)))
    library = folder / lib / "lib.go"
    if not library.exists():
        return Broken(frozenset({f"main.go:{number}:"}))
    extras = sorted(folder.glob("extra_*.go"))
    sources = {f"{path.relative_to(folder)}": path.read_text() for path in (folder / "answer.go", library, *extras)}
    places = {
        f"{name}:{at}:"
        for name, text in sources.items()
        for at, line in enumerate(text.splitlines(), 1)
        if line in MISTAKES
    }
    if places:
        return Broken(frozenset(places))
    said = [match[1] for text in sources.values() if (match := re.search(r'"([alx]\d+)"', text))]
    return Works(" ".join([*said[:2], *sorted(said[2:])]))


def in_place(path: Path, text: str) -> None:
    """Over what is there, then cut off (a plain write of some editors)."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(text.encode())
        file.truncate()


def truncate(path: Path, text: str) -> None:
    """Emptied, then written: VS Code, most scripts."""
    path.write_text(text)


def rename(path: Path, text: str) -> None:
    """Beside it, then renamed over it: JetBrains, gofmt."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text)
    os.replace(beside, path)


def vim(path: Path, text: str) -> None:
    """Renamed to a backup, written anew and synced, the backup removed: vim with `backupcopy=no`."""
    backup = path.with_name(f"{path.name}~")
    if path.exists():
        os.rename(path, backup)
    fsync(path, text)
    backup.unlink(missing_ok=True)


def fsync(path: Path, text: str) -> None:
    """In two pieces, each on disk before the next."""
    half = len(text) // 2
    with open(path, "w", encoding="utf-8") as file:
        for piece in (text[:half], text[half:]):
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())


STYLES: Mapping[str, Style] = {
    "in place": in_place,
    "truncate": truncate,
    "rename": rename,
    "vim": vim,
    "fsync": fsync,
}


class Project:
    """The folder with what was done to it. Versions count up, so no two states answer the same by accident.

    Args:
        parking: where folders that are moved away stand.
    """

    def __init__(self, folder: Path, parking: Path, luck: random.Random) -> None:
        self.folder = folder
        self.parking = parking
        self._luck = luck
        self._version = 0
        self.branches = ["main"]

    def make(self) -> None:
        """Write it, and its first commit."""
        write(
            self.folder,
            {
                "go.mod": f"module {MODULE}\n\ngo 1.23\n",
                "tasks.py": "from goreload_tasks import ns  # noqa: F401\n",
                ".gitignore": ".goreload/\n",
                "main.go": MAIN,
                "answer.go": ANSWER.format(f"a{self.next()}"),
                "lib/lib.go": LIB.format(f"l{self.next()}"),
            },
        )
        self.git("init", "-q", "-b", "main")
        self.commit()

    def next(self) -> int:
        """The next version."""
        self._version += 1
        return self._version

    def git(self, *words: str) -> None:
        """Run git here, as nobody in particular."""
        who = ("-c", "user.name=Chaos", "-c", "user.email=chaos@example.com", "-c", "gc.auto=0")
        subprocess.run(["git", *who, *words], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"version {self._version}")

    @property
    def lib(self) -> str:
        """The folder of the package, as main.go imports it."""
        found = re.search(r"app/([^\"]+)", (self.folder / "main.go").read_text())
        assert found
        return found[1]

    @property
    def sources(self) -> list[Path]:
        """The files that a person edits, in order."""
        found = [self.folder / "answer.go", *self.extras]
        library = self.folder / self.lib / "lib.go"
        return [*found, library] if library.exists() else found

    @property
    def extras(self) -> list[Path]:
        return sorted(self.folder.glob("extra_*.go"))

    def text(self, path: Path, mistake: bool = False) -> str:
        """A new version of a file."""
        kind, letter = (LIB, "l") if path.name == "lib.go" else (ANSWER, "a")
        if path.name.startswith("extra_"):
            kind, letter = EXTRA, "x"
        good = kind.format(f"{letter}{self.next()}")
        return good + f"\n{self._luck.choice(MISTAKES)}\n" if mistake else good

    def strangers(self) -> list[str]:
        """Files that neither we nor git put here, and those in .goreload that may not be there after the end."""
        ours = re.compile(r"go\.mod|tasks\.py|\.gitignore|(main|answer|extra_\d+)\.go|notes\.txt|noise_test\.go")
        libs = re.compile(rf"({'|'.join(LIBS)})/lib\.go")
        kept = r"lock|(listing|target|learned)\.json|history\.jsonl|bin/\d+/app"
        theirs = re.compile(rf"\.goreload/(\.gitignore|app/({kept}))")
        found = [
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(self.folder).parts
        ]
        return [name for name in found if not any(one.fullmatch(name) for one in (ours, libs, theirs))]
