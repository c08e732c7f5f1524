"""PURE. What `go build -n` prints, read as recipes: the argv with which the go command compiles each package and links.

The form is cmd/go's, internal/work: Shell.ShowCmd, joinUnambiguously and writeFile (shell.go), Builder.build (exec.go).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

HERE = "$HERE"
"""Stands in an argv for the folder in which a package is made."""

_HEREDOC = re.compile(r"cat >(\S+) << 'EOF' # internal")
_ECHO = re.compile(r"echo (?:-n|'(.*)') > (\S+) # internal", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^ ]+')
_VARIABLE = re.compile(r"""([A-Za-z_][A-Za-z0-9_]*)=(?:'([^']*)'|("(?:[^"\\]|\\.)*")) """)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class UnreadableError(Exception):
    """Something in the text that is not understood; nothing of it is used then."""


@dataclass(frozen=True, slots=True)
class Compile:
    """How one package is compiled.

    argv: `-o` and what is in the package's work folder begin with HERE. imports: the packages whose export data it
    reads. notes: the other lines of its importcfg. unfit: why it cannot be compiled by this alone.
    """

    path: str
    argv: tuple[str, ...]
    files: tuple[str, ...]
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    embedcfg: str | None = None
    unfit: str = ""

    @property
    def cgo(self) -> bool:
        """Has a C compiler a part in it? Then there is a file that cmd/cgo has written."""
        return any(os.path.basename(one) == "_cgo_gotypes.go" for one in self.files)

    @property
    def embeds(self) -> frozenset[str]:
        """The files that it embeds."""
        return frozenset(json.loads(self.embedcfg)["Files"].values()) if self.embedcfg else frozenset()

    def words(self, here: str, *more: str) -> list[str]:
        """The argv for a folder of ours, with more flags if need be."""
        first, *rest = (word.replace(HERE, here) for word in self.argv)
        return [first, *more, *rest]

    def config(self, archives: Mapping[str, str]) -> str:
        """Its importcfg (cmd/compile, -importcfg)."""
        lines = ["# import config", *self.notes, *(f"packagefile {path}={archives[path]}" for path in self.imports)]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Link:
    """How the program is linked. archives: where the go command keeps each package; notes: the importcfg's other lines.

    argv: without the last word, which is the main package's archive.
    """

    main: str
    argv: tuple[str, ...]
    archives: Mapping[str, str]
    notes: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def words(self, here: str, archive: str) -> list[str]:
        return [*(word.replace(HERE, here) for word in self.argv), archive]

    def config(self, archives: Mapping[str, str]) -> str:
        """Its importcfg (cmd/link, -importcfg)."""
        lines = [*(f"packagefile {path}={archives[path]}" for path in self.archives), *self.notes]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Script:
    """What one `go build -n` printed: the packages that it would compile, in an order in which that can be done."""

    compiles: Mapping[str, Compile]
    link: Link | None


def read(text: str, cwd: str) -> Script:
    """Read the whole of it.

    Args:
        cwd: where the go command ran.

    Raises:
        UnreadableError: it has another form than this knows.
    """
    compiles: dict[str, Compile] = {}
    link: Link | None = None
    for path, commands, files in _sections(text, cwd):
        for command in commands:
            if command.tool == "compile" and path:
                compiles[path] = _compile(path, command, commands, files)
            elif command.tool == "link":
                link = _link(command, files)
    return Script(compiles, link)


@dataclass(frozen=True, slots=True)
class _Command:
    """A line. Its words are read when it compiles or links; what others say (a C compiler, say) need not be read."""

    text: str
    tool: str
    words: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def _sections(text: str, cwd: str) -> Iterator[tuple[str, list[_Command], dict[str, str]]]:
    """For each package: its path (empty: before the first), its commands, and the files written for it."""
    path, commands, files = "", list[_Command](), dict[str, str]()
    dot = cwd
    lines = iter(text.split("\n"))
    window: list[str] = []
    for line in lines:
        window = [*window[-2:], line]
        if len(window) == 3 and window[0] == window[2] == "#" and window[1].startswith("# "):
            yield path, commands, files
            path, commands, files = window[1][2:], [], {}
        elif match := _HEREDOC.fullmatch(line):
            files[match[1]] = _heredoc(lines)
        elif match := _ECHO.fullmatch(line):
            files[match[2]] = (match[1] + "\n") if match[1] is not None else ""
        elif line.startswith("cd "):
            dot = "" if line == "cd ." else line[3:]  # that changes no word
        elif line and not line.startswith(("#", "mkdir -p ", "go tool buildid -w ", "WORK=")):
            commands.append(_command(line, dot))
    yield path, commands, files


def _heredoc(lines: Iterator[str]) -> str:
    """Up to the line that ends in EOF: where the file has no last newline, EOF stands behind its last line."""
    found: list[str] = []
    for line in lines:
        if line.endswith("EOF"):
            return "".join(f"{one}\n" for one in found) + line.removesuffix("EOF")
        found.append(line)
    raise UnreadableError("a file that does not end")


def _command(line: str, dot: str) -> _Command:
    """Split a command line; variables stand before it.

    Args:
        dot: the folder that is printed as a dot at the beginning of a word, also as a mere prefix of a path.
    """
    env: dict[str, str] = {}
    at = 0
    while match := _VARIABLE.match(line, at):
        env[match[1]] = match[2] if match[2] is not None else unquote(match[3])
        at = match.end()
    first, *rest = _TOKEN.findall(line[at:]) or [""]
    tool = os.path.basename(first.strip('"')).removesuffix(".exe")
    if tool not in ("compile", "link"):
        return _Command(line, tool)
    return _Command(line, tool, [_word(token, dot) for token in (first, *rest)], env)


def _word(token: str, dot: str) -> str:
    if token.startswith('"'):
        word = unquote(token)
        if dot and " ." in word:
            raise UnreadableError(f"{token}: the dot may be a folder or not")
        return word
    return dot + token[1:] if dot and token.startswith(".") else token


def unquote(literal: str) -> str:
    """The value of a Go string literal in double quotes (strconv.Quote); bytes that are no UTF-8 are kept.

    Raises:
        UnreadableError: it is none.
    """
    if len(literal) < 2 or literal[0] != '"' or literal[-1] != '"':
        raise UnreadableError(f"{literal}: no string")

    def plain(match: re.Match[str]) -> str:
        byte, short, long, letter = match.groups()
        if byte:
            return bytes([int(byte, 16)]).decode("latin-1") if int(byte, 16) < 128 else chr(0xDC00 + int(byte, 16))
        if short or long:
            return chr(int(short or long, 16))
        return _LETTERS.get(letter, letter)

    return _ESCAPE.sub(plain, literal[1:-1])


def _compile(path: str, command: _Command, commands: Sequence[_Command], files: Mapping[str, str]) -> Compile:
    words = command.words
    try:
        folder, name = os.path.split(words[words.index("-o") + 1])
        last = max(index for index, word in enumerate(words) if word == "-pack")
    except ValueError:
        raise UnreadableError(f"{path}: a compile without -o or -pack") from None
    if not folder.startswith("$WORK/") or name != "_pkg_.a" or f"{folder}/importcfg" not in files:
        raise UnreadableError(f"{path}: it is compiled in another way")
    archives, notes = _importcfg(files[f"{folder}/importcfg"])
    argv, sources = _here(words, folder), tuple(words[last + 1 :])
    embedcfg = files.get(f"{folder}/embedcfg")
    others = [one for one in commands if one is not command and f"{folder}/" in one.text and not _is_end(one)]
    unfit = ""
    if named := next((word for word in argv if word.startswith(("-pgoprofile", "-coveragecfg"))), ""):
        unfit = f"it is compiled with {named.partition('=')[0]}"
    elif others or any("$WORK" in word for word in argv) or not all(one.endswith(".go") for one in sources):
        unfit = "it is not made of Go files alone"
    elif ("-embedcfg" in argv) is (embedcfg is None):
        unfit = "what it embeds is not said"
    return Compile(path, argv, sources, tuple(archives), notes, command.env, embedcfg, unfit)


def _is_end(command: _Command) -> bool:
    """Does it belong to the program's end, the link and what moves the binary?"""
    return command.tool in ("link", "mv", "rm", "cp")


def _link(command: _Command, files: Mapping[str, str]) -> Link:
    words = command.words
    try:
        out = words[words.index("-o") + 1]
        config = words[words.index("-importcfg") + 1]
    except ValueError:
        raise UnreadableError("a link without -o or -importcfg") from None
    folder = os.path.dirname(config)
    if config not in files or not folder.startswith("$WORK/") or not out.startswith(f"{folder}/"):
        raise UnreadableError(f"it is linked into {out}")
    archives, notes = _importcfg(files[config])
    if not archives or words[-1] != next(iter(archives.values())):
        raise UnreadableError("the main package is not the first that is linked")
    argv = _here(words[:-1], folder)
    if any("$WORK" in word for word in argv):
        raise UnreadableError("it is linked with a file that the go command makes")
    return Link(next(iter(archives)), argv, archives, notes, command.env)


_MADE = ("-o", "-trimpath", "-importcfg", "-embedcfg")
"""What stands behind these is in the work folder of the package, and we make it too. Anything else there we do not."""


def _here(words: Sequence[str], folder: str) -> tuple[str, ...]:
    """The words with HERE for the package's own work folder, where that is ours to make."""
    own = re.compile(re.escape(folder) + r"(?=/|=>|$)")
    flags = ("", *words)
    return tuple(
        own.sub(lambda _: HERE, word) if flag in _MADE else word for flag, word in zip(flags, words, strict=False)
    )


def _importcfg(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The packages with their archives, and all other lines but comments."""
    packages: dict[str, str] = {}
    notes: list[str] = []
    for line in text.splitlines():
        if line.startswith("packagefile "):
            path, _, archive = line.removeprefix("packagefile ").partition("=")
            packages[path] = archive
        elif line and not line.startswith("#"):
            notes.append(line)
    return packages, tuple(notes)
