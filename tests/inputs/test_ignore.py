"""Against git itself: `git check-ignore` decides, we must agree on every path."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs.ignore import Ignore, Patterns, repository, trim

TREES = int(os.environ.get("GORELOAD_TEST_TREES", "150"))
"""How many random trees; set it higher for a long run."""


@pytest.fixture(autouse=True)
def git_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own git configuration stays out."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)


def git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    return subprocess.run(["git", *words], cwd=folder, input=given, capture_output=True, check=False).stdout


def init(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    return folder


def matcher(root: Path) -> Ignore:
    """Ours with git's lines alone."""
    known = asyncio.run(repository(str(root), dict(os.environ), capture))
    made = Ignore(str(root), known, (), "watch.ignore")
    made._default = Patterns((), "none")
    return made


def everything(root: Path) -> list[tuple[str, bool]]:
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name != ".git"]
        found += [(os.path.join(folder, name), True) for name in names]
        found += [(os.path.join(folder, name), False) for name in files]
    return found


def verdicts(root: Path, paths: list[tuple[str, bool]]) -> dict[str, tuple[bool, str]]:
    """What git says: ignored or not, and by which line."""
    asked = b"\0".join(os.fsencode(os.path.relpath(path, root)) for path, _ in paths) + b"\0"
    fields = git(root, "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin", given=asked).split(b"\0")
    found = {}
    for source, number, pattern, path in zip(*[iter(fields[:-1])] * 4, strict=True):
        ignored = bool(source) and not pattern.startswith(b"!")
        line = f"{os.fsdecode(source)}:{number.decode()}" if source else ""
        found[os.path.join(root, os.fsdecode(path))] = (ignored, line)
    return found


def differences(root: Path) -> list[str]:
    """Where we and git disagree, on the verdict or on the line."""
    paths = everything(root)
    ours, theirs, wrong = matcher(root), verdicts(root, paths), []
    for path, is_dir in paths:
        reason = ours.reason(path, is_dir)
        line = f"{os.path.relpath(reason.source, root)}:{reason.line}" if reason else ""
        got = (bool(reason and reason.ignored), line)
        said = theirs[path]
        if said[1].startswith("/"):
            said = (said[0], os.path.relpath(said[1], root))
        if got != said:
            wrong.append(f"{os.path.relpath(path, root)}: git {said}, we {got}")
    return wrong


NAMES = (
    "a",
    "b",
    "ab",
    "a.go",
    "b.log",
    "x y",
    "A",
    "#c",
    "!d",
    "a]",
    "tmp",
    "sp ",
    "é",
    "b\\",
    "..b",
    "*",
    "foo",
    "-",
)
# Not `a**` before a slash: git 2.39 compares pointers of two buffers there, so what it says depends on the memory.
PIECES = (
    *(
        "a",
        "b",
        "*",
        "**",
        "?",
        "a*",
        "*.go",
        "*.log",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]*",
        "[]a]",
        "tmp",
        "foo",
        "A",
        "ab",
    ),
    *(
        "\\#c",
        "\\!d",
        "#c",
        "!d",
        "x y",
        "x\\ y",
        "sp\\ ",
        "sp ",
        "é",
        "\\a",
        "b\\\\",
        "a\\",
        "[a",
        "[[:alpha:]]*",
        "..b",
    ),
    *("*a*", "**a", "a**b", "\\*", "[*]", "[[:digit:]]", "[a\\]]", "-", "[--a]", "?*"),
)


def pattern(luck: random.Random) -> str:
    parts = [luck.choice(PIECES) for _ in range(luck.choice((1, 1, 1, 2, 2, 3)))]
    text = "/".join(parts)
    return (
        luck.choice(("", "", "", "/", "**/", "!", "!/"))
        + text
        + luck.choice(("", "", "", "/", "/**", "/*", " ", "  ", "/**/"))
    )


def ignore_file(luck: random.Random) -> bytes:
    end = luck.choice(("\n", "\n", "\n", "\r\n"))
    text = end.join(pattern(luck) for _ in range(luck.randint(1, 6))) + luck.choice(("", end))
    return luck.choice((b"", b"", b"\xef\xbb\xbf")) + text.encode()


def grow(root: Path, luck: random.Random) -> None:
    """A random tree with ignore files here and there."""
    folders = [root]
    for _ in range(luck.randint(8, 30)):
        path = luck.choice(folders) / luck.choice(NAMES)
        if path.exists() or len(path.relative_to(root).parts) > 5:
            continue
        if luck.random() < 0.5:
            path.mkdir()
            folders.append(path)
        else:
            path.write_text("")
    for folder in luck.sample(folders, min(len(folders), 3)):
        (folder / ".gitignore").write_bytes(ignore_file(luck))
    (root / ".gitignore").write_bytes(ignore_file(luck))
    if luck.random() < 0.3:
        (root / ".git" / "info" / "exclude").write_bytes(ignore_file(luck))


@pytest.mark.parametrize("part", range(4))
def test_random_trees_are_ignored_as_git_ignores_them(tmp_path: Path, part: int) -> None:
    root = init(tmp_path / "repository")
    for seed in range(part, TREES, 4):
        luck = random.Random(seed)
        for name in os.listdir(root):
            if name != ".git":
                path = root / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (root / ".git" / "info" / "exclude").write_bytes(b"")
        git(root, "config", "core.ignorecase", luck.choice(("true", "false")))
        grow(root, luck)
        assert differences(root) == [], f"seed {seed}: {(root / '.gitignore').read_bytes()!r}"


# Lines that were once read otherwise than git reads them, each with paths that show it.
CASES = [
    (b"a/**\n", ["a/b", "a/c/d"]),
    (b"a/**/\n", ["a/b/c", "a/d"]),
    (b"/*\n!/a\n", ["a/b", "c"]),
    (b"a\n!a/b\n", ["a/b"]),
    (b"sp \\ \n", ["sp  ", "sp"]),
    (b"b\\ \n", ["b ", "b"]),
    (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b", "c"]),
    (b"[a\n\\\n!\n/\n", ["[a", "a", "\\"]),
    (b"tmp/\n", ["tmp/a", "b/tmp/c"]),
    (b"*.log\n!keep.log\n", ["x.log", "keep.log", "a/keep.log"]),
    (b"\xff\xfe\n", [os.fsdecode(b"\xff\xfe"), "a"]),
    (b"caf\xe9*\n", [os.fsdecode(b"caf\xe9.go"), os.fsdecode(b"d/caf\xe9")]),
]


@pytest.mark.parametrize(("lines", "paths"), CASES)
def test_odd_lines_mean_what_git_means(tmp_path: Path, lines: bytes, paths: list[str]) -> None:
    root = init(tmp_path / "repository")
    (root / ".gitignore").write_bytes(lines)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    assert differences(root) == []


def test_project_below_the_top_obeys_the_files_above_it(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    project = top / "services" / "api"
    project.mkdir(parents=True)
    (top / ".gitignore").write_text("*.gen\n/services/api/out/\n")
    assert matcher(project).ignored(str(project / "x.gen"), False)
    assert matcher(project).ignored(str(project / "out"), True)
    assert not matcher(project).ignored(str(project / "main.go"), False)


def test_worktree_and_submodule_have_their_git_folder_elsewhere(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    (top / ".git" / "info" / "exclude").write_text("secret\n")
    git(top, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    git(top, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert (tmp_path / "tree" / ".git").is_file()
    assert matcher(tmp_path / "tree").ignored(str(tmp_path / "tree" / "secret"), False)


def test_excludes_file_is_found_by_setting_and_by_default_place(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    home = Path(os.environ["HOME"])
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("by-default\n")
    assert matcher(root).ignored(str(root / "by-default"), False)
    (home / "mine").write_text("by-setting\n")
    git(root, "config", "core.excludesFile", "~/mine")
    assert matcher(root).ignored(str(root / "by-setting"), False)
    assert not matcher(root).ignored(str(root / "by-default"), False)


def test_outside_a_repository_ignore_files_still_count(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("x\n")
    assert matcher(tmp_path).ignored(str(tmp_path / "x"), False)


def test_setting_is_above_git_and_the_defaults_are_below(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    (root / ".gitignore").write_text("dist/\n!keep.log\n")
    known = asyncio.run(repository(str(root), dict(os.environ), capture))
    ignore = Ignore(str(root), known, ["!dist/", "*.sql"], "watch.ignore")
    assert not ignore.ignored(str(root / "dist"), True)
    assert ignore.ignored(str(root / "a.sql"), False)
    assert ignore.ignored(str(root / "b.log"), False), "a default"
    assert not ignore.ignored(str(root / "keep.log"), False), "git's own word is above the default"
    for name in ("4913", ".a.go.swp", "a.go~", ".#a.go", ".DS_Store", "node_modules/x/y", ".idea/a"):
        assert ignore.ignored(str(root / name), False), name


def test_ignored_folder_is_never_entered(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "big" / "deep").mkdir(parents=True)
    (root / ".gitignore").write_text("big/\n")
    (root / "kept").mkdir()
    (root / "kept" / "a.html").write_text("")
    (root / "loop").symlink_to(root)
    walked = dict(matcher(root).walk())
    assert {os.path.relpath(folder, root) for folder in walked} == {".", "kept"}
    assert walked[str(root / "kept")] == [str(root / "kept" / "a.html")]


def test_bad_pattern_in_a_setting_is_named() -> None:
    with pytest.raises(GoreloadError, match=r'watch.ignore: bad pattern "\[a"'):
        Patterns(["[a"], "watch.ignore", strict=True)


def test_trailing_spaces_go_unless_a_backslash_keeps_one() -> None:
    assert [trim(text) for text in ("a ", "a\\ ", "a\\  ", "a\\\\ ", " a")] == ["a", "a\\ ", "a\\ ", "a\\\\", " a"]
