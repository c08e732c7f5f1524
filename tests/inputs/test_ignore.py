"""Against git itself: `git check-ignore` decides, we must agree on every path, and on the line that decided."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from goreload_tasks.app.process import capture
from goreload_tasks.errors import GoreloadError
from goreload_tasks.inputs import ignore as room
from goreload_tasks.inputs.ignore import Ignore, Patterns, Reason, Repository, repository, trim

TREES = int(os.environ.get("GORELOAD_TEST_TREES", "16"))
"""How many random work trees: some 500 paths each, asked about eight times; set it higher for a long run."""
FIRST = int(os.environ.get("GORELOAD_TEST_SEED", "0"))
"""Where a long run begins."""


@pytest.fixture(autouse=True)
def git_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own git configuration stays out."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))  # were the tests' own folder in a repository


def git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    return subprocess.run(["git", *words], cwd=folder, input=given, capture_output=True, check=False).stdout


def commit(folder: Path) -> None:
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")


def init(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    return folder


def ask(root: Path) -> Repository:
    return asyncio.run(repository(str(root), dict(os.environ), capture))


def matcher(root: Path) -> Ignore:
    """Ours with git's lines alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_defaults", lambda: Patterns((), "none"))
        made = Ignore(str(root), ask(root), (), "watch.ignore")
        assert made.files  # it reads now
        return made


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")


def everything(root: Path) -> list[tuple[str, bool]]:
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name != ".git"]
        found += [(os.path.join(folder, name), True) for name in names]
        found += [(os.path.join(folder, name), False) for name in files]
    return found


Verdict = tuple[bool, str]
"""Ignored or not, and by which line, as file:number:text."""


def verdicts(top: Path, paths: list[tuple[str, bool]]) -> dict[str, Verdict]:
    """What git says."""
    asked = b"".join(os.fsencode(os.path.relpath(path, top)) + b"\0" for path, _ in paths)
    fields = git(top, "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin", given=asked).split(b"\0")
    found = {}
    for source, number, pattern, path in zip(*[iter(fields[:-1])] * 4, strict=True):
        ignored = bool(source) and not pattern.startswith(b"!")
        line = f"{os.path.join(top, os.fsdecode(source))}:{number.decode()}:{os.fsdecode(pattern)}" if source else ""
        found[os.path.join(top, os.fsdecode(path))] = (ignored, line)
    return found


def differences(root: Path, top: Path | None = None) -> list[str]:
    """Where we and git disagree on what is below a root, on the verdict or on the line."""
    paths = everything(root)
    ours, theirs, wrong = matcher(root), verdicts(top or root, paths), []
    for path, is_dir in paths:
        reason = ours.reason(path, is_dir)
        got = (reason.ignored, f"{reason.source}:{reason.line}:{reason.text}") if reason else (False, "")
        if got != theirs[path]:
            wrong.append(f"{path!r}: git {theirs[path]}, we {got}")
    return wrong


NAMES = (
    *("a", "b", "ab", "A", "Ab", "aB", "aab", "a.go", "b.log", "foo", "tmp", "-", "..b", ".b", "*", "]", "^", "a]"),
    *("x y", " a", "sp ", "sp  ", "a\t", "#c", "!d", "é", "voilà", "b\\", "[a", "a\n", "\x01", "\udce9", "caf\udce9"),
)
PIECES = (
    *("a", "b", "ab", "A", "aB", "foo", "tmp", "*", "*", "**", "***", "?", "a*", "*a", "*.go", "*.log", "*a*", "?*"),
    *("**a", "a**b", "a***b", "*b*a*", ".*", "..b", "-", "[ab]", "[!a]", "[^b]", "[a-c]*", "[]a]", "[A]", "[A-Z]b"),
    *("[!A]*", "[[:alpha:]]*", "[[:upper:]]b", "[[:digit:]]", "[[:no:]]", "[a\\]]", "[\\A]", "[--a]", "[c-a]", "[*]"),
    *("[a", "a\\", "[a/b]", "[^a]b", "\\a", "\\A", "\\*", "\\#c", "\\!d", "#c", "!d", "b\\\\", "x y", "x\\ y", "sp\\ "),
    *("sp ", "a\t", "é", "voilà", "\udce9", "caf*", "?\udce9", "\x01", "a\\/b", "**\\/b", "", ".", "***/a"),
)
CHARACTERS = (*"aaabbAB**??/////[]!^-\\ .#:", "**", "**/", "/**", "[a-b]", "[!a]", "[[:alpha:]", "[[:upper:]]", "\\*")


def pattern(luck: random.Random) -> str:
    if luck.random() < 0.3:
        text = "".join(luck.choices(CHARACTERS, k=luck.randint(1, 7)))
    else:
        text = "/".join(luck.choice(PIECES) for _ in range(luck.choice((1, 1, 1, 2, 2, 3))))
        text = luck.choice(("", "", "", "/", "**/", "!", "!/")) + text
        text += luck.choice(("", "", "", "/", "/**", "/*", " ", "  ", "/**/"))
    # Not `a**` at the end or before a slash: git 2.39 compares pointers into two buffers there, so that what it says
    # depends on where they lie (mended by "wildmatch: avoid undefined behavior").
    sign, body = text[: text.startswith("!")], text.removeprefix("!")
    return sign + re.sub(r"([^/*])\*{2,}(?=\\?/| *$)", r"\1*", body)


def ignore_file(luck: random.Random, last: str = "") -> bytes:
    end = luck.choice(("\n", "\n", "\n", "\r\n"))
    lines = [pattern(luck) for _ in range(luck.randint(1, 6))]
    text = end.join([*lines, last] if last else lines) + luck.choice(("", end))
    return luck.choice((b"", b"", b"\xef\xbb\xbf")) + os.fsencode(text)


def grow(root: Path, luck: random.Random) -> list[Path]:
    """A random tree; its folders."""
    root.mkdir(exist_ok=True)
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
    return folders


def sow(folders: list[Path], luck: random.Random) -> None:
    """Ignore files here and there, others than before."""
    for folder in folders:
        (folder / ".gitignore").unlink(missing_ok=True)
    for folder in {folders[0], *luck.sample(folders, min(len(folders), 3))}:
        (folder / ".gitignore").write_bytes(ignore_file(luck))


@pytest.mark.parametrize("part", range(4))
def test_random_trees_are_ignored_as_git_ignores_them(tmp_path: Path, part: int) -> None:
    own = Path(os.environ["HOME"]) / "ignore"
    for seed in range(FIRST + part, FIRST + TREES, 4):
        luck = random.Random(seed)
        top = init(tmp_path / "repository")
        git(top, "config", "core.excludesFile", str(own))
        git(top, "config", "core.ignoreCase", luck.choice(("true", "false")))
        trees = [grow(top, luck), *(grow(top / f"t{n}", luck) for n in range(20))]
        for again in range(8):
            for tree in trees:
                sow(tree, luck)
            for file in (top / ".gitignore", top / ".git" / "info" / "exclude", own):
                file.write_bytes(ignore_file(luck, "!/t*/") if luck.random() < 0.5 else b"")
            assert differences(top) == [], f"seed {seed}, {again}"
            project = luck.choice(luck.choice(trees))
            if project == top or "\n" in str(project):  # of such a place git's answer cannot be read: no info/exclude
                continue
            if not verdicts(top, [(str(project), True)])[str(project)][0]:
                assert differences(project, top) == [], f"seed {seed}, {again}, in {project}"
        shutil.rmtree(top)


# Lines that were once read otherwise than git reads them, each with paths that show it.
CASES = [
    (b"a/**\n", ["a/b", "a/c/d"]),
    (b"a/**/\n", ["a/b/c", "a/d"]),
    (b"/*\n!/a\n", ["a/b", "c"]),
    (b"a\n!a/b\n", ["a/b"]),
    (b"sp \\ \n", ["sp  ", "sp"]),
    (b"b\\ \n", ["b ", "b"]),
    (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b", "c"]),
    (b"[a\n\\\n!\n/\n//\n", ["[a", "a", "\\"]),
    (b"tmp/\n", ["tmp/a", "b/tmp/c"]),
    (b"*.log\n!keep.log\n", ["x.log", "keep.log", "a/keep.log"]),
    (b"\xff\xfe\n", [os.fsdecode(b"\xff\xfe"), "a"]),
    (b"caf\xe9*\n", [os.fsdecode(b"caf\xe9.go"), os.fsdecode(b"d/caf\xe9")]),
    # pathspec strips what Unicode calls space from the end, and of Latin-1 that is the last byte of an à.
    ("voilà\n".encode(), ["voilà", os.fsdecode(b"voil\xc3")]),
    (b"a\t\n", ["a", "a\t"]),
    (b"***/z\nq/***/r\nx***y\n", ["z", "a/z", "q/r", "q/a/b/r", "xaay", "xy"]),
    (b"******** build ********\n", ["build build build build", "a build b", "build.go"]),
    (b"x/**\\/a\n", ["x/a", "x/y/a", "x/y/z/a"]),
    (b"a\\/b\n\\/c\n", ["a/b", "c/a/b", "c/d"]),
    (b"\x010\x01[ab]\n", ["\x010\x01a", "aa", "0a"]),
    (b"a\0b\n", ["a", "ab"]),
    ("*.log\r\ntmp\r\n".encode("utf-16-le"), ["a.log", "tmp", "b"]),  # as PowerShell once wrote files
    (b"[z-a]x\n[!c-b]y\n[^-[:alpha:]z\n", ["zx", "ax", "bx", "cy", "by", "^z", "az"]),
    (b"/a[!b]c\n/a[+-9]d\n", ["a/c", "a/d", "axc", "a0d"]),  # no bracket matches a slash
    (b"./a\n../b\na//c\n", ["a/c", "b"]),
]
CASELESS = [
    (b"[A]x\n[!A]y\n", ["Ax", "ax", "Ay", "ay"]),
    (b"\\Ab\n[\\A]x\n", ["Ab", "ab", "Ax", "ax"]),
    (b"[A-C]x\n[[:upper:]]y\nFOO\n", ["Ax", "bx", "dx", "qy", "Qy", "foo", "Foo"]),
    (b"[Z-A]x\n[z-a]y\n", ["Zx", "zx", "zy", "Zy"]),
    ("É\nÀ?\n".encode(), ["é", "É", "àb"]),
]


@pytest.mark.parametrize(
    ("lines", "paths", "ignorecase"), [*((*case, "false") for case in CASES), *((*case, "true") for case in CASELESS)]
)
def test_odd_lines_mean_what_git_means(tmp_path: Path, lines: bytes, paths: list[str], ignorecase: str) -> None:
    root = init(tmp_path / "repository")
    git(root, "config", "core.ignoreCase", ignorecase)
    (root / ".gitignore").write_bytes(lines)
    write(root, *paths)
    assert differences(root) == []


@pytest.mark.parametrize("ignorecase", ["true", "false"])
def test_named_classes_hold_the_bytes_that_git_puts_there(tmp_path: Path, ignorecase: str) -> None:
    root = init(tmp_path / "repository")
    git(root, "config", "core.ignoreCase", ignorecase)
    names = [os.fsdecode(bytes([byte])) for byte in range(1, 256) if byte not in b"/."]
    for name in room._CLASSES:
        for text in (f"[[:{name}:]]", f"[^[:{name}:]]", f"[x[:{name}:]-z]"):
            folder = f"{name}{len(text)}{text[1]}".replace("[", "-")
            write(root / folder, *names)
            (root / folder / ".gitignore").write_text(text + "\n")
    assert differences(root) == []


def test_project_below_the_top_obeys_the_files_above_it(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    project = top / "services" / "api"
    project.mkdir(parents=True)
    (top / ".gitignore").write_text("*.gen\n/services/api/out/\n")
    (top / "services" / ".gitignore").write_text("/api/x\n")
    write(project, "x.gen", "out/a", "x", "y/x", "main.go")
    assert differences(project, top) == []
    assert matcher(project).ignored(str(project / "out"), True)


def test_project_reached_through_a_link_obeys_the_files_above_its_true_place(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    write(top, "services/api/main.go")
    (top / ".gitignore").write_text("/services/api/out\n")
    (top / ".git" / "info" / "exclude").write_text("/services/api/secret\n")
    root = tmp_path / "link"
    root.symlink_to(top / "services" / "api")
    assert [matcher(root).ignored(str(root / name), False) for name in ("out", "secret", "main.go")] == [
        True,
        True,
        False,
    ]


def test_project_that_is_ignored_itself_still_has_files(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    (top / ".gitignore").write_text("/play/\n*.gen\n")
    write(top, "play/mine/a.html", "play/mine/b.gen")
    root = top / "play" / "mine"
    assert dict(matcher(root).walk()) == {str(root): [str(root / "a.html")]}
    assert matcher(root).reason(str(root), True) is None
    assert matcher(root).reason(str(top / "b.gen"), False) is None, "not below the root"


def test_worktree_has_its_git_folder_elsewhere(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    (top / ".git" / "info" / "exclude").write_text("secret\n")
    commit(top)
    git(top, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert (tmp_path / "tree" / ".git").is_file()
    write(tmp_path / "tree", "secret", "a/secret", "b")
    assert differences(tmp_path / "tree") == []
    assert matcher(tmp_path / "tree").ignored(str(tmp_path / "tree" / "secret"), False)


def test_submodule_is_a_repository_of_its_own(tmp_path: Path) -> None:
    commit(init(tmp_path / "part"))
    top = init(tmp_path / "repository")
    (top / ".gitignore").write_text("outer\n")
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "part"), "part")
    assert (top / "part" / ".git").is_file()
    (top / ".git" / "modules" / "part" / "info" / "exclude").write_text("inner\n")
    write(top / "part", "outer", "inner", "both")
    assert differences(top / "part") == []
    assert matcher(top / "part").ignored(str(top / "part" / "inner"), False)
    assert not matcher(top / "part").ignored(str(top / "part" / "outer"), False)


def test_repository_within_is_a_folder_like_any_other(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    init(top / "within")
    (top / ".gitignore").write_text("*.log\n")
    (top / "within" / ".gitignore").write_text("y\n")
    (top / "within" / ".git" / "info" / "exclude").write_text("z\n")
    write(top / "within", "a.log", "y", "z", "d/y")
    assert differences(top) == []
    assert matcher(top).ignored(str(top / "within" / "a.log"), False)


def test_excludes_file_is_found_by_setting_and_by_default_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = init(tmp_path / "repository")
    home = Path(os.environ["HOME"])
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("by-default\n")
    (home / "mine").write_text("by-setting\n")
    (root / "ours").write_text("by-place\n")
    write(root, "by-default", "by-setting", "by-place")

    def ignored() -> list[str]:
        assert differences(root) == []
        return [
            name for name in ("by-default", "by-setting", "by-place") if matcher(root).ignored(f"{root}/{name}", False)
        ]

    assert ignored() == ["by-default"]
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert ignored() == ["by-default"]
    monkeypatch.delenv("HOME")
    assert ignored() == []
    monkeypatch.setenv("HOME", str(home))
    git(root, "config", "core.excludesFile", "~/mine")
    assert ignored() == ["by-setting"]
    git(root, "config", "core.excludesFile", "ours")
    assert ignored() == ["by-place"], "relative to the top"
    git(root, "config", "core.excludesFile", "")
    assert ignored() == [], "set to nothing"


def test_link_is_followed_to_an_excludes_file_but_not_to_a_gitignore(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    home = Path(os.environ["HOME"])
    (home / "dotfiles").write_text("a\n")
    (home / ".gitignore").symlink_to(home / "dotfiles")
    git(root, "config", "core.excludesFile", "~/.gitignore")
    write(root, "a", "b", "elsewhere")
    (root / "elsewhere").write_text("b\n")
    (root / ".gitignore").symlink_to(root / "elsewhere")
    assert differences(root) == []
    assert matcher(root).ignored(str(root / "a"), False)
    assert not matcher(root).ignored(str(root / "b"), False)


def test_gitignore_that_cannot_be_read_is_none_and_leaves_nothing_open(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    (root / ".gitignore").mkdir()
    os.mkfifo(root / "fifo")
    git(root, "config", "core.excludesFile", "fifo")
    before = len(os.listdir("/proc/self/fd"))
    assert not matcher(root).ignored(str(root / "a"), False)
    assert len(os.listdir("/proc/self/fd")) == before


def test_outside_a_repository_ignore_files_still_count(tmp_path: Path) -> None:
    write(tmp_path, "project/a/b")
    (tmp_path / ".gitignore").write_text("b\n")
    (tmp_path / "project" / ".gitignore").write_text("x\n")
    ours = matcher(tmp_path / "project")
    assert ours.ignored(str(tmp_path / "project" / "a" / "x"), False)
    assert not ours.ignored(str(tmp_path / "project" / "a" / "b"), False), "above the root nothing says where to stop"


@pytest.mark.parametrize("trouble", [("PATH", "/nowhere"), ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")])
def test_without_a_word_from_git_the_files_from_the_top_down_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: tuple[str, str]
) -> None:
    top = init(tmp_path / "repository")
    (top / ".gitignore").write_text("/a/b/x\n")
    (top / "a" / "b").mkdir(parents=True)
    monkeypatch.setenv(*trouble)
    assert ask(top / "a" / "b") == Repository(str(top), "a/b/")
    assert matcher(top / "a" / "b").ignored(str(top / "a" / "b" / "x"), False)
    assert ask(top) == Repository(str(top))


def test_setting_is_above_git_and_the_defaults_are_below(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    (root / ".gitignore").write_text("dist/\n!keep.log\n")
    ignore = Ignore(str(root), ask(root), ["!dist/", "*.sql"], "watch.ignore")
    assert ignore.reason(str(root / "dist"), True) == Reason("watch.ignore", 1, "!dist/", False)
    assert ignore.reason(str(root / "d" / "a.sql"), False) == Reason("watch.ignore", 2, "*.sql", True)
    assert ignore.reason(str(root / "keep.log"), False) == Reason(str(root / ".gitignore"), 2, "!keep.log", False)
    assert ignore.reason(str(root / "main.go"), False) is None
    reason = ignore.reason(str(root / "b.log"), False)
    assert reason
    assert (reason.source, reason.text) == ("default", "*.log")


@pytest.mark.parametrize(
    "name",
    ["4913", ".a.go.swp", "a.go~", ".#a.go", "#a.go#", ".DS_Store", "._a", "node_modules/x/y", ".idea/a", "tmp/x"],
)
def test_what_editors_and_systems_leave_is_ignored_by_default(tmp_path: Path, name: str) -> None:
    assert Ignore(str(tmp_path), None, (), "watch.ignore").ignored(str(tmp_path / name), False)


def test_without_git_only_the_setting_and_the_defaults_count(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("a\n")
    ignore = Ignore(str(tmp_path), None, ["b"], "watch.ignore")
    assert [ignore.ignored(str(tmp_path / name), False) for name in ("a", "b", "c~")] == [False, True, True]
    assert ignore.files == frozenset()


def test_setting_is_told_from_git(tmp_path: Path) -> None:
    root = init(tmp_path / "repository")
    (root / ".gitignore").write_text("x\n")
    ignore = Ignore(str(root), ask(root), ["gen/", "*.go", "!main.go"], "watch.ignore")
    names = ("gen/a", "a.go", "d/main.go", "x", "a~")
    assert [bool(ignore.by_setting(str(root / name))) for name in names] == [True, True, False, False, False]
    assert not ignore.by_setting(str(tmp_path / "a.go"))


def test_files_read_are_known_before_they_are_there_and_an_edit_counts_for_a_new_matcher(tmp_path: Path) -> None:
    top = init(tmp_path / "repository")
    root = top / "api"
    write(root, "kept/a", "big/deep/a")
    (root / ".gitignore").write_text("big/\n")
    ours = matcher(root)
    list(ours.walk())
    read = {os.path.relpath(file, top) for file in ours.files if file.startswith(str(top))}
    assert read == {".gitignore", "api/.gitignore", "api/kept/.gitignore", ".git/info/exclude"}
    assert f"{os.environ['XDG_CONFIG_HOME']}/git/ignore" in ours.files
    (root / "kept" / ".gitignore").write_text("a\n")
    assert not ours.ignored(str(root / "kept" / "a"), False), "a verdict does not change under a walk"
    assert matcher(root).ignored(str(root / "kept" / "a"), False)


def test_ignored_folder_is_never_entered_and_no_link_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, "big/deep/a", "kept/a.html")
    (root / ".gitignore").write_text("big/\n!big/deep/\n")
    (root / "folder").symlink_to(root / "kept")
    (root / "file").symlink_to(root / "kept" / "a.html")
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("not-there")
    assert {folder: sorted(files) for folder, files in matcher(root).walk()} == {
        str(root): [str(root / ".gitignore"), str(root / "file")],
        str(root / "kept"): [str(root / "kept" / "a.html")],
    }


def test_path_need_not_exist(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("gone/\n*.x\n")
    ours = matcher(tmp_path)
    assert ours.ignored(str(tmp_path / "gone" / "a" / "b"), False)
    assert not ours.ignored(str(tmp_path / "gone"), False), "a file of that name is another matter"
    assert ours.ignored(str(tmp_path / "no" / "such" / "a.x"), False)


def test_pattern_selects_and_a_later_one_takes_back() -> None:
    include = Patterns(["templates/**/*.html", "*.toml", "!secret.toml"], "watch.include", strict=True)
    paths = ("templates/a.html", "templates/b/c.html", "x/templates/a.html", "x/a.toml", "secret.toml", "main.go")
    found = [include.match(path, False) for path in paths]
    assert [reason and reason.ignored for reason in found] == [True, True, None, True, False, None]
    assert found[4] == Reason("watch.include", 3, "!secret.toml", False)


@pytest.mark.parametrize("text", ["[a", "a\\", "/", "!", "[[:no:]]", "./a", "../a", "a/./b", "a//b"])
def test_bad_pattern_in_a_setting_is_named(text: str) -> None:
    with pytest.raises(GoreloadError, match=re.escape(f'watch.ignore: bad pattern "{text}"')):
        Patterns(["good", text], "watch.ignore", strict=True)
    assert Patterns([text, "good"], ".gitignore").match("good", False), "in a file the other lines count"


def test_good_patterns_pass_in_a_setting() -> None:
    texts = ["", "#", "# [a", "/a", "!/a/", "a/**/b", "...", ".a", "a..", "[.]/x", "**", "/**"]
    Patterns(texts, "watch.ignore", strict=True)


def test_trailing_spaces_go_unless_a_backslash_keeps_one() -> None:
    assert [trim(text) for text in ("a ", "a\\ ", "a\\  ", "a\\\\ ", " a")] == ["a", "a\\ ", "a\\ ", "a\\\\", " a"]
