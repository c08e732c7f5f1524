"""What git ignores, decided exactly as git does: the only user of pathspec.

The rules are gitignore(5)'s. pathspec turns one line into a regular expression; everything around it (which lines, in
which order, from the top down) is git's and stands here, because pathspec's own matching differs from git in one path
of twenty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from goreload_tasks.app.process import Capture
from goreload_tasks.errors import GoreloadError

DEFAULTS = (
    *(".git/", ".hg/", ".svn/", ".goreload/", ".demo/"),
    *("*.swp", "*.swo", "*.swx", "*~", "4913", ".#*", "#*#", "*.tmp", "*.bak", "*___jb_tmp___", "*___jb_old___"),
    *(".DS_Store", "Thumbs.db", "desktop.ini", ".idea/", ".vscode/", ".fleet/", "*.sublime-*"),
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


class Patterns:
    """The lines of one ignore file, or of a setting; they speak of paths relative to one folder."""

    def __init__(self, lines: Iterable[str], source: str, ignorecase: bool = False, strict: bool = False) -> None:
        """Read the lines.

        Args:
            strict: a bad pattern is a person's mistake in the settings; in a file git passes over it.

        Raises:
            GoreloadError: a bad pattern, when strict.
        """
        self._rules: list[tuple[re.Pattern[bytes], Reason]] = []
        flags = re.DOTALL | (re.IGNORECASE if ignorecase else 0)
        for number, line in enumerate(lines, 1):
            text = trim(line)
            if not text or text.startswith("#"):
                continue
            regex = _regex(os.fsencode(text))
            if regex:
                reason = Reason(source, number, text, not text.startswith("!"))
                self._rules.append((re.compile(regex, flags), reason))
            elif strict:
                raise GoreloadError(f'{source}: bad pattern "{line}"; patterns are those of .gitignore')
        self._rules.reverse()  # the last that matches wins

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, relative: str, is_dir: bool) -> Reason | None:
        """What the lines say of a path relative to their folder; None: nothing."""
        subject = os.fsencode(relative + "/" if is_dir else relative)  # git compares bytes
        for regex, reason in self._rules:
            if regex.fullmatch(subject):
                return reason
        return None


def trim(line: str) -> str:
    """Without trailing spaces, unless a backslash keeps them (gitignore(5))."""
    stripped = line.rstrip(" ")
    cut = len(line) - len(stripped)
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if cut and backslashes % 2 else stripped


def _regex(text: bytes) -> bytes | None:
    """One line as a regular expression of pathspec's, to be matched in full; None: it matches nothing.

    Where pathspec reads a line otherwise than git, it is given one that it reads as git reads this. It passes bracket
    expressions on to `re` nearly as they are: git's are put in their place afterwards (wildmatch.c).
    """
    if text.endswith(b"/**/"):
        text = text[:-1] + b"/*/"
    elif text.endswith(b"/**"):
        text += b"/*"
    brackets = _brackets(text)
    if brackets is None:
        return None
    for index, (expression, _) in enumerate(brackets):
        text = text.replace(expression, b"\1%d\1" % index, 1)
    if any(b"/" in expression for expression, _ in brackets):
        text = re.sub(rb"^(!?)/?", rb"\1/", text)  # a slash anywhere anchors a line
    text = re.sub(rb"(?<!\\)((?:\\\\)*)\\/(?=.)", rb"\1/", text)
    if re.search(rb"(?<!\\)(?:\\\\)*\\/$", text):
        return None  # the slash says "a folder", and the backslash then escapes nothing
    try:
        regex: bytes | None = GitIgnoreSpecPattern.pattern_to_regex(text)[0]
    except (GitIgnorePatternError, ValueError):
        return None
    if regex is None:
        return None
    if regex == b".":
        return b".*"
    if regex == b"(?P<ps_d>/)":
        return b".*/"
    for index, (_, meaning) in enumerate(brackets):
        regex = regex.replace(b"\1%d\1" % index, meaning)
    return regex


_CLASSES = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": b" \\t",
    b"cntrl": b"\\x00-\\x1f\\x7f",
    b"digit": b"0-9",
    b"graph": b"!-~",
    b"lower": b"a-z",
    b"print": b" -~",
    b"punct": b"!-/:-@\\[-`{-~",
    b"space": b" \\t\\n\\r\\f\\v",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}


def _brackets(text: bytes) -> list[tuple[bytes, bytes]] | None:
    """The bracket expressions of a line in order, each with its meaning for `re`; None: one does not close."""
    found = []
    at = 0
    while at < len(text):
        if text[at : at + 1] == b"\\":
            at += 2
        elif text[at : at + 1] == b"[":
            end, meaning = _bracket(text, at + 1)
            if end < 0:
                return None
            found.append((text[at:end], meaning))
            at = end
        else:
            at += 1
    return found


_MEMBER = re.compile(rb"\[:(?P<name>[^]]*):\]|(?P<first>\\.|[^\\])-(?P<last>\\.|[^]\\])|(?P<one>\\.|[^\\])", re.DOTALL)


def _bracket(text: bytes, at: int) -> tuple[int, bytes]:
    """Read an expression from behind its `[`: where it ends (-1: never) and what it means. It matches no slash."""
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    members = b""
    begin = at
    while text[at : at + 1] != b"]" or at == begin:
        found = _MEMBER.match(text, at)
        if found is None:
            return -1, b""
        at = found.end()
        if found["name"] is not None:
            if found["name"] not in _CLASSES:
                return -1, b""
            members += _CLASSES[found["name"]]
        elif found["one"]:
            members += re.escape(found["one"][-1:])
        elif found["first"][-1:] <= found["last"][-1:]:
            members += re.escape(found["first"][-1:]) + b"-" + re.escape(found["last"][-1:])
    if not members:
        return at + 1, b"[^/]" if negated else b"(?!)"
    return at + 1, b"(?!/)[%b%b]" % (b"^" if negated else b"", members)


@dataclass(frozen=True, slots=True)
class Repository:
    """What decides in git besides .gitignore files. `top`: where the work tree begins."""

    top: str
    exclude: str = ""
    excludes_file: str = ""
    ignorecase: bool = False


async def repository(root: str, env: dict[str, str], capture: Capture) -> Repository:
    """Ask git; without git, or outside a repository, .gitignore files count from `root` down."""
    try:
        code, out, _ = await capture(["git", "rev-parse", "--show-toplevel", "--git-path", "info/exclude"], root, env)
        if code:
            return Repository(root)
        top, exclude = os.fsdecode(out).splitlines()[:2]
        _, excludes, _ = await capture(["git", "config", "--type=path", "--get", "core.excludesFile"], root, env)
        _, ignorecase, _ = await capture(["git", "config", "--type=bool", "--get", "core.ignorecase"], root, env)
    except (OSError, ValueError):
        return Repository(root)
    home = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", ""), ".config")
    excludes_file = os.fsdecode(excludes).rstrip("\n") or os.path.join(home, "git", "ignore")
    same = os.path.realpath(top)  # git names the top without links; the root may be known by another name
    relative = os.path.relpath(os.path.realpath(root), same)
    named = os.path.normpath(os.path.join(root, *[".."] * (0 if relative == "." else relative.count(os.sep) + 1)))
    return Repository(named, os.path.join(root, exclude), excludes_file, ignorecase.strip() == b"true")


class Ignore:
    """Which paths below a root are ignored. Ignore files are read when their folder is first asked about."""

    def __init__(self, root: str, repository: Repository | None, patterns: Sequence[str], name: str) -> None:
        """Build a matcher.

        Args:
            repository: None: git's files do not count.
            patterns: the setting's own, above git's; those of DEFAULTS are below.
            name: what to call the setting in a complaint.

        Raises:
            GoreloadError: a bad pattern in the setting.
        """
        self._root = root
        self._git = repository
        self._own = Patterns(patterns, name, strict=True)
        self._default = Patterns(DEFAULTS, "default")
        self._folders: dict[str, Reason | None] = {}
        self._read: dict[str, Patterns] = {}
        self._top = repository.top if repository else root

    @property
    def files(self) -> frozenset[str]:
        """The ignore files that were read, there or not: a change of one calls for a new matcher."""
        return frozenset(self._read)

    def ignored(self, path: str, is_dir: bool) -> bool:
        """Is a path below the root ignored, by itself or with a folder above it?"""
        reason = self.reason(path, is_dir)
        return reason is not None and reason.ignored

    def reason(self, path: str, is_dir: bool) -> Reason | None:
        """The line that decided; None: no line speaks of it."""
        above = self._above(os.path.dirname(path))
        return above if above and above.ignored else self._opinion(path, is_dir)

    def by_setting(self, path: str) -> bool:
        """Does the setting itself, not git, ignore a path below the root, or a folder above it?"""
        if not self._own or not _inside(path, self._root):
            return False
        parts = _relative(path, self._root).split(os.sep)
        for depth in range(1, len(parts) + 1):
            reason = self._own.match(os.sep.join(parts[:depth]), depth < len(parts))
            if reason and reason.ignored:
                return True
        return False

    def _above(self, folder: str) -> Reason | None:
        """The verdict on a folder: what is in an ignored one cannot come back."""
        if not _inside(folder, self._top) or folder == self._top:
            return None
        if folder not in self._folders:
            self._folders[folder] = self.reason(folder, True)
        return self._folders[folder]

    def _opinion(self, path: str, is_dir: bool) -> Reason | None:
        if _inside(path, self._root) and path != self._root:
            relative = _relative(path, self._root)
            if own := self._own.match(relative, is_dir):
                return own
        if self._git:
            folder = os.path.dirname(path)
            while _inside(folder, self._top):
                found = self._patterns(os.path.join(folder, ".gitignore")).match(_relative(path, folder), is_dir)
                if found:
                    return found
                if folder == self._top:
                    break
                folder = os.path.dirname(folder)
            for file in (self._git.exclude, self._git.excludes_file):
                found = self._patterns(file).match(_relative(path, self._top), is_dir) if file else None
                if found:
                    return found
        return self._default.match(_relative(path, self._root), is_dir) if _inside(path, self._root) else None

    def _patterns(self, file: str) -> Patterns:
        if file not in self._read:
            ignorecase = self._git.ignorecase if self._git else False
            self._read[file] = Patterns(_lines(file), file, ignorecase)
        return self._read[file]

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """Each folder below the root that is not ignored, with its files that are not; links are not followed."""
        left = [self._root]
        while left:
            folder = left.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:  # unreadable, or just gone
                continue
            files = []
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                if self.ignored(entry.path, is_dir):
                    continue
                if is_dir:
                    left.append(entry.path)
                elif entry.is_file():
                    files.append(entry.path)
            yield folder, files


def _lines(file: str) -> list[str]:
    """As git reads them: bytes, a byte-order mark skipped, one CR before LF dropped; .gitignore must be no link."""
    try:
        descriptor = os.open(file, os.O_RDONLY | (os.O_NOFOLLOW if file.endswith(".gitignore") else 0) | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            text = stream.read()
    except OSError:
        return []
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [os.fsdecode(line.removesuffix(b"\r")) for line in lines]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _relative(path: str, folder: str) -> str:
    return path[len(folder.rstrip(os.sep)) + 1 :]
