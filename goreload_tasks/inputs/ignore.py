"""What git ignores, decided exactly as git does: the only user of pathspec.

The rules are gitignore(5)'s and, where it is silent, those of git's own dir.c and wildmatch.c. pathspec turns the
slashes and stars of one line into a regular expression; everything around that (characters and brackets, which lines,
in which order, from the top down) is git's and stands here, because pathspec's own matching differs from git in one
path of twenty. From the highest: `watch.ignore`; .gitignore files, the deepest first; info/exclude; core.excludesFile;
DEFAULTS. The first of them with a line that speaks of a path decides, by its last such line.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from goreload_tasks.app.process import Capture
from goreload_tasks.errors import GoreloadError

DEFAULTS = (
    *(".git/", ".hg/", ".svn/", ".goreload/"),
    *("*.swp", "*.swo", "*.swx", "*~", "4913", ".#*", "\\#*#", "*.kate-swp", ".goutputstream-*"),
    *("*.tmp", "*.bak", "*.orig", "*.rej", "*___jb_tmp___", "*___jb_old___"),
    *(".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".nfs*", ".idea/", ".vscode/", ".fleet/", "*.sublime-*"),
    *("*.log", "*.pid", "tmp/", "node_modules/", "__pycache__/", ".venv/", "venv/", ".cache/", "*.pyc"),
)
"""What editors, systems and tools leave; for files that the app reads at run time, never for inputs of the build."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The line that decided: of which file or setting, its number and text, and whether it ignores or brings back."""

    source: str
    line: int
    text: str
    ignored: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """`regex` is matched in full, by a path or by the name alone, with a slash behind it when it is a folder."""

    regex: bytes
    by_name: bool
    reason: Reason


class Patterns:
    """The lines of one ignore file, or of a setting; they speak of paths relative to one folder."""

    def __init__(self, lines: Iterable[str], source: str, ignorecase: bool = False, strict: bool = False) -> None:
        """Read the lines.

        Args:
            ignorecase: git's core.ignoreCase.
            strict: a bad pattern is a person's mistake in the settings; in a file git passes over it.

        Raises:
            GoreloadError: a bad pattern, or one that no path can match, when strict.
        """
        self._flags = re.DOTALL | (re.IGNORECASE if ignorecase else 0)
        rules = []
        for number, line in enumerate(lines, 1):
            text = trim(line)
            if not text or text.startswith("#"):
                continue
            body = text.removeprefix("!").removesuffix("/")
            regex = _regex(os.fsencode(body).decode("latin-1"), text.endswith("/"), ignorecase)
            if strict and (regex is None or not {"", ".", ".."}.isdisjoint(body.removeprefix("/").split("/"))):
                raise GoreloadError(f'{source}: bad pattern "{line}"; write it as in .gitignore, without ./ or ../')
            if regex is not None:
                reason = Reason(source, number, text, not text.startswith("!"))
                rules.append(_Rule(regex.encode("latin-1"), "/" not in body, reason))
        self._rules = rules[::-1]  # the last that matches wins
        # Most paths match nothing: asked all at once, the lines answer that ten times faster than one by one.
        self._names = self._any(rule.regex for rule in rules if rule.by_name)
        self._paths = self._any(rule.regex for rule in rules if not rule.by_name)

    def _any(self, regexes: Iterable[bytes]) -> re.Pattern[bytes] | None:
        joined = b"|".join(b"(?:%b)" % regex for regex in regexes)
        return re.compile(joined, self._flags) if joined else None

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, relative: str, is_dir: bool) -> Reason | None:
        """What the lines say of a path relative to their folder; None: nothing."""
        path, slash = os.fsencode(relative), b"/" if is_dir else b""
        return self.find(path + slash, os.path.basename(path) + slash)

    def find(self, path: bytes, name: bytes) -> Reason | None:
        """The same of the bytes that git compares; a folder's path and name end with a slash."""
        if (self._names and self._names.fullmatch(name)) or (self._paths and self._paths.fullmatch(path)):
            for rule in self._rules:
                if re.compile(rule.regex, self._flags).fullmatch(name if rule.by_name else path):
                    return rule.reason
        return None


def trim(line: str) -> str:
    """Without trailing spaces, unless a backslash keeps them (gitignore(5))."""
    stripped = line.rstrip(" ")
    cut = len(line) - len(stripped)
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if cut and backslashes % 2 else stripped


_TOKEN = re.compile(
    r"(?P<folders>(?<![^/])\*{2,}(?=/|\Z))|(?P<deep>(?<![^/])\*{2,}(?=\\/))|(?P<stars>\*+)|(?P<slash>\\?/)"
    r"|(?P<bracket>\[)|(?P<any>\?)|(?P<escaped>\\.)|(?P<plain>[^\\])",
    re.DOTALL,
)
_SHAPES = {"folders": "**", "stars": "*", "slash": "/"}


def _regex(body: str, is_dir: bool, ignorecase: bool) -> str | None:
    """A line as a regular expression, in Latin-1: one character for each byte. None: it is bad.

    pathspec is shown slashes and stars. Every other token is shown as one character of a private area, and what the
    token means to git (wildmatch.c) is put in its place afterwards.

    Args:
        body: the line without the `!` before it and the slash behind it; is_dir: there was that slash.
    """
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # not before the first build is under way

    meanings: dict[str, str] = {}
    shape, at = "", 0
    while at < len(body):
        found = _TOKEN.match(body, at)
        if found is None:
            return None  # a backslash that escapes nothing
        at, kind = found.end(), found.lastgroup or ""
        if kind in _SHAPES:
            shape += _SHAPES[kind]
            continue
        if kind == "bracket":
            at, meaning = _bracket(body, at, ignorecase)
        else:
            meaning = _meaning(kind, found[0][-1], ignorecase)
        if not meaning:
            return None
        shape += meanings.setdefault(meaning, chr(0xF0000 + len(meanings)))
    if not shape.strip("/"):
        return None
    if not body.startswith("/"):
        shape = "/" + shape  # a line with a slash anywhere begins at its folder, and the others speak of the name alone
    if shape.endswith("/**"):
        shape += "/*"  # all that is in a folder, but not the folder
    regex = str(GitIgnoreSpecPattern.pattern_to_regex(shape + "/" if is_dir else shape)[0])
    regex = {".": ".*", "(?P<ps_d>/)": ".*/"}.get(regex, regex)  # its short forms of "everything" and "every folder"
    return regex.replace("(?P<ps_d>/)", "/").translate({ord(shown): meaning for meaning, shown in meanings.items()})


def _meaning(kind: str, character: str, ignorecase: bool) -> str:
    if kind == "deep":
        return ".*"
    if kind == "any":
        return "[^/]"
    # git makes the path lower-case, and the pattern too, but not what a backslash escapes: that matches nothing then.
    return "(?!)" if kind == "escaped" and ignorecase and "A" <= character <= "Z" else re.escape(character)


_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r",  # git's own isspace, not C's
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_MEMBER = re.compile(r"\[:(?P<name>[^]]*):\]|(?P<first>\\.|[^\\])-(?P<last>\\.|[^]\\])|(?P<one>\\.|[^\\])", re.DOTALL)


def _bracket(text: str, at: int, ignorecase: bool) -> tuple[int, str]:
    """Read an expression from behind its `[`: where it ends, and what it means ("": it does not end, or is no good)."""
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    members = ""
    begin = at
    while text[at : at + 1] != "]" or at == begin:
        found = _MEMBER.match(text, at)
        if found is None:
            return at, ""
        at = found.end()
        if found["name"] is not None:
            if found["name"] not in _CLASSES:
                return at, ""
            members += _CLASSES[found["name"]]
            continue
        one, last = (found["one"] or found["first"])[-1], (found["last"] or "")[-1:]
        if not (ignorecase and "A" <= one <= "Z"):  # git makes the path lower-case, but not a single member
            members += re.escape(one)
        if one <= last:  # backwards, a range is its first member alone
            members += re.escape(one) + "-" + re.escape(last)
    if not members:
        return at + 1, "[^/]" if negated else "(?!)"
    return at + 1, f"(?!/)[{'^' if negated else ''}{members}]"


@dataclass(frozen=True, slots=True)
class Repository:
    """What decides in git besides the .gitignore files below a root.

    top: where the work tree begins, without links. prefix: from there to the root, "" or "a/b/".
    """

    top: str
    prefix: str = ""
    exclude: str = ""
    excludes_file: str = ""
    ignorecase: bool = False


async def repository(root: str, env: dict[str, str], capture: Capture) -> Repository:
    """Ask git, which knows of worktrees, submodules and included settings.

    When git is missing, or will not speak (safe.directory), .gitignore files count by themselves: from the folder that
    holds .git down, or from the root.
    """
    real = os.path.realpath(root)  # as git names the top
    asked = (
        ["git", "rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "info/exclude"],
        ["git", "config", "--type=path", "--get", "core.excludesFile"],
        ["git", "config", "--type=bool", "--get", "core.ignoreCase"],
    )
    try:
        answers = await asyncio.gather(*(capture(words, real, env) for words in asked))
    except OSError:
        return _without_git(real)
    (failed, place, _), (unset, excludes, _), (_, ignorecase, _) = answers
    lines = os.fsdecode(place).split("\n")
    if failed or len(lines) != 4:  # a line break in a folder's name
        return _without_git(real)
    top, prefix, exclude, _ = lines
    excludes_file = os.fsdecode(excludes).removesuffix("\n")  # set to nothing, it is no file
    if unset == 1 and (env.get("XDG_CONFIG_HOME") or env.get("HOME")):
        excludes_file = os.path.join(env.get("XDG_CONFIG_HOME") or env["HOME"] + "/.config", "git", "ignore")
    return Repository(
        top,
        prefix,
        os.path.normpath(os.path.join(real, exclude)),
        os.path.join(top, excludes_file) if excludes_file else "",
        ignorecase.strip() == b"true",
    )


def _without_git(real: str) -> Repository:
    top = real
    while not os.path.lexists(os.path.join(top, ".git")):
        above = os.path.dirname(top)
        if above == top:
            return Repository(real)
        top = above
    return Repository(top, "" if top == real else os.path.relpath(real, top) + "/")


_Sources = tuple[tuple[Patterns, int], ...]
"""What may decide in a folder, the highest first; each with the length of the path from the top to its own folder."""


@functools.cache
def _defaults() -> Patterns:
    return Patterns(DEFAULTS, "default")


class Ignore:
    """Which paths below a root are ignored. Ignore files are read when their folder is first asked about.

    The root itself is never ignored, nor is a folder above it: a person who works there wants what is in it.
    A repository inside this one, a submodule too, is a folder like any other, as it is to `git check-ignore`.
    """

    def __init__(self, root: str, repository: Repository | None, patterns: Sequence[str], name: str) -> None:
        """Build a matcher.

        Args:
            root: a normal path, as are those that are asked about.
            repository: None: git's files do not count.
            patterns: the setting's own; upper and lower case differ in them everywhere, as in DEFAULTS.
            name: what to call the setting in a complaint.

        Raises:
            GoreloadError: a bad pattern in the setting.
        """
        self._root = root.rstrip(os.sep) or os.sep
        self._below = os.path.join(self._root, "")
        self._git = repository
        self._own = Patterns(patterns, name, strict=True)
        self._files: set[str] = set()
        self._prefix = os.fsencode(repository.prefix) if repository else b""

    @functools.cached_property
    def _folders(self) -> dict[str, tuple[Reason | None, _Sources]]:
        """The folders that were asked about, from the root's on; made when somebody asks, as that loads pathspec."""
        sources: _Sources = ((_defaults(), len(self._prefix)),)
        if repository := self._git:
            for file in filter(None, (repository.excludes_file, repository.exclude)):
                sources = (*self._read(file, 0), *sources)
            folder, length = repository.top, 0
            for part in repository.prefix.split("/")[:-1]:
                sources = (*self._read(os.path.join(folder, ".gitignore"), length, os.O_NOFOLLOW), *sources)
                folder, length = os.path.join(folder, part), length + len(os.fsencode(part)) + 1
        return {self._root: (None, self._with(self._root, sources))}

    @property
    def files(self) -> frozenset[str]:
        """The ignore files that were read, there or not: a change of one calls for a new matcher."""
        assert self._folders
        return frozenset(self._files)

    def ignored(self, path: str, is_dir: bool) -> bool:
        """Is a path below the root ignored, by itself or with a folder above it?"""
        reason = self.reason(path, is_dir)
        return reason is not None and reason.ignored

    def reason(self, path: str, is_dir: bool) -> Reason | None:
        """The line that decided; None: no line speaks of it, or it is not below the root."""
        if not path.startswith(self._below):
            return None
        folder, _, name = path.rpartition(os.sep)
        above, sources = self._folder(folder or os.sep)
        if above and above.ignored:
            return above  # what is in an ignored folder cannot come back
        slash = b"/" if is_dir else b""
        named, subject = os.fsencode(name) + slash, self._subject(path) + slash
        if own := self._own.find(subject[len(self._prefix) :], named):
            return own
        for patterns, length in sources:
            if found := patterns.find(subject[length:], named):
                return found
        return None

    def by_setting(self, path: str, is_dir: bool = False) -> Reason | None:
        """The line of the setting itself, not git's, that ignores a path below the root, or a folder above it."""
        if not self._own or not path.startswith(self._below):
            return None
        parts = path[len(self._below) :].split(os.sep)
        most = len(parts)
        steps = (self._own.match(os.sep.join(parts[:depth]), depth < most or is_dir) for depth in range(1, most + 1))
        return next((reason for reason in steps if reason and reason.ignored), None)

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """Each folder from the root down that is not ignored, with its files that are not; no link to a folder.

        One that may not be read is there, with no files.
        """
        left = [self._root]
        while left:
            folder = left.pop()
            try:
                entries = list(os.scandir(folder))
            except PermissionError:  # its names come when it can be read
                yield folder, []
                continue
            except OSError:  # just gone
                continue
            files = []
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                if self.ignored(entry.path, is_dir):
                    continue
                if is_dir:
                    left.append(entry.path)
                elif os.path.isfile(entry.path):  # false too where a link leads to itself, or nowhere
                    files.append(entry.path)
            yield folder, files

    def _folder(self, folder: str) -> tuple[Reason | None, _Sources]:
        """The verdict on a folder, and what may decide in it."""
        known = self._folders.get(folder)
        if known is None:
            reason = self.reason(folder, True)
            sources = () if reason and reason.ignored else self._with(folder, self._folder(os.path.dirname(folder))[1])
            known = self._folders[folder] = reason, sources
        return known

    def _with(self, folder: str, above: _Sources) -> _Sources:
        """What decides above a folder, and its own .gitignore before that."""
        if not self._git:
            return above
        length = len(self._subject(os.path.join(folder, "")))
        return (*self._read(os.path.join(folder, ".gitignore"), length, os.O_NOFOLLOW), *above)

    def _subject(self, path: str) -> bytes:
        """A path from the top of the repository, in the bytes that git compares."""
        return self._prefix + os.fsencode(path[len(self._below) :])

    def _read(self, file: str, length: int, flags: int = 0) -> _Sources:
        self._files.add(file)
        patterns = Patterns(_lines(file, flags), file, self._git is not None and self._git.ignorecase)
        return ((patterns, length),) if patterns else ()


def _lines(file: str, flags: int) -> list[str]:
    """As git reads them: bytes, a byte-order mark skipped, one CR before LF dropped, and nothing behind a NUL.

    Args:
        flags: O_NOFOLLOW for a .gitignore, which must be no link.
    """
    try:
        # A FIFO must not hang us.
        with open(file, "rb", opener=lambda path, mode: os.open(path, mode | flags | os.O_NONBLOCK)) as stream:
            text = stream.read()
    except OSError:
        return []
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [os.fsdecode(line.removesuffix(b"\r").partition(b"\0")[0]) for line in lines]
