"""What `go build -n` prints, what archives hold, and what is decided from them, as values."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from goreload_tasks.build.direct import archive
from goreload_tasks.build.direct.ground import (
    DeclinedError,
    Ground,
    Lag,
    Sight,
    changed,
    complaint,
    importers,
    shorter,
    touched,
)
from goreload_tasks.build.direct.learn import refusal
from goreload_tasks.build.direct.positions import candidates
from goreload_tasks.build.direct.recipe import Compile, Link, UnreadableError, read, unquote

SCRIPT = r"""WORK=/tmp/x
mkdir -p $WORK/b002/

#
# ex.com/app/low
#

echo '# import config' > $WORK/b002/importcfg # internal
cd /home/me/app
/go/pkg/tool/compile -o $WORK/b002/_pkg_.a -trimpath "$WORK/b002=>" -p ex.com/app/low -lang=go1.26 -pack ./low/a.go ./low/b.go
go tool buildid -w $WORK/b002/_pkg_.a # internal
mkdir -p $WORK/b001/

#
# ex.com/app
#

cat >$WORK/b001/importcfg << 'EOF' # internal
# import config
importmap old=ex.com/app/low
packagefile ex.com/app/low=$WORK/b002/_pkg_.a
EOF
cat >$WORK/b001/embedcfg << 'EOF' # internal
{
	"Files": {
		"x.txt": "/home/me/app/x.txt"
	}
}EOF
GOARCH='arm64' CC="it's" /go/pkg/tool/compile -o $WORK/b001/_pkg_.a -trimpath "/home/me/app=>ex.com/app;$WORK/b001=>" -p main -embedcfg $WORK/b001/embedcfg -importcfg $WORK/b001/importcfg -pack ./main.go .2/other.go "./a b.go"
cat >$WORK/b001/importcfg.link << 'EOF' # internal
packagefile ex.com/app=$WORK/b001/_pkg_.a
packagefile ex.com/app/low=$WORK/b002/_pkg_.a
modinfo "0w\xaf\f"
EOF
mkdir -p $WORK/b001/exe/
cd .
GOROOT='/go' /go/pkg/tool/link -o $WORK/b001/exe/a.out -importcfg $WORK/b001/importcfg.link -buildid=a/b -s "-extldflags=a b" $WORK/b001/_pkg_.a
go tool buildid -w $WORK/b001/exe/a.out # internal
mv $WORK/b001/exe/a.out app
"""
CGO = """cd /home/me/app/c
TERM='dumb' CGO_LDFLAGS='"-g"' /go/pkg/tool/cgo -objdir $WORK/b009/ -- "-I ./x ." "
"""


def test_script_is_read_as_one_recipe_for_each_package_and_one_for_the_link() -> None:
    script = read(SCRIPT.replace("mkdir -p $WORK/b001/\n", CGO + "cd /home/me/app\n", 1), "/home/me/app")
    assert list(script.compiles) == ["ex.com/app/low", "ex.com/app"]
    low, main = script.compiles.values()
    assert low.files == ("/home/me/app/low/a.go", "/home/me/app/low/b.go")
    assert low.words("/w", "-d=x") == [
        *("/go/pkg/tool/compile", "-d=x", "-o", "/w/_pkg_.a", "-trimpath", "/w=>", "-p", "ex.com/app/low"),
        *("-lang=go1.26", "-pack", "/home/me/app/low/a.go", "/home/me/app/low/b.go"),
    ]
    assert low.config({}) == "# import config\n"
    assert main.unfit == ""
    assert main.env == {"GOARCH": "arm64", "CC": "it's"}
    assert main.files == ("/home/me/app/main.go", "/home/me/app2/other.go", "./a b.go")  # quoted: never shortened
    assert "/home/me/app=>ex.com/app;/w=>" in main.words("/w")
    assert main.embeds == {"/home/me/app/x.txt"}
    assert main.config({"ex.com/app/low": "/a/1.a"}) == (
        "# import config\nimportmap old=ex.com/app/low\npackagefile ex.com/app/low=/a/1.a\n"
    )
    link = script.link
    assert link is not None
    assert link.env == {"GOROOT": "/go"}
    assert link.words("/w", "/a/2.a") == [
        *("/go/pkg/tool/link", "-o", "/w/exe/a.out", "-importcfg", "/w/importcfg.link", "-buildid=a/b", "-s"),
        *("-extldflags=a b", "/a/2.a"),
    ]
    assert link.config({"ex.com/app": "/a/2.a", "ex.com/app/low": "/a/1.a"}) == (
        'packagefile ex.com/app=/a/2.a\npackagefile ex.com/app/low=/a/1.a\nmodinfo "0w\\xaf\\f"\n'
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("-pack ./low/a.go", "-symabis $WORK/b002/symabis -pack ./low/a.go", "not made of Go files alone"),
        ("-pack ./low/a.go", "-pack $WORK/b002/_cgo_gotypes.go", "not made of Go files alone"),
        ("-lang=go1.26 -pack", "-pgoprofile=/x/default.pgo -pack", "-pgoprofile"),
        ("go tool buildid -w $WORK/b002", "/go/pkg/tool/asm -o $WORK/b002/x.o ./low/x.s\n#", "not made of Go"),
        ("-p ex.com/app/low -lang", "-p ex.com/app/low -embedcfg $WORK/b002/embedcfg -lang", "what it embeds"),
    ],
)
def test_package_that_needs_more_than_its_compile_is_unfit(old: str, new: str, why: str) -> None:
    assert SCRIPT.count(old) == 1
    compiles = read(SCRIPT.replace(old, new), "/home/me/app").compiles
    assert why in compiles["ex.com/app/low"].unfit
    assert compiles["ex.com/app"].unfit == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-o $WORK/b002/_pkg_.a -trimpath", "-trimpath"),
        ("-pack ./low/a.go", "./low/a.go"),
        ("echo '# import config' > $WORK/b002/importcfg # internal\n", ""),
        ("}EOF", "}"),
        ('"./a b.go"', '"-x ./a b.go"'),
        ('-s "-extldflags', '-fipso $WORK/b001/fips.o "-extldflags'),
        ("-importcfg $WORK/b001/importcfg.link -buildid", "-buildid"),
    ],
)
def test_script_of_another_form_is_not_guessed_at(old: str, new: str) -> None:
    assert SCRIPT.count(old) == 1
    with pytest.raises(UnreadableError):
        read(SCRIPT.replace(old, new), "/home/me/app")


def test_words_of_the_script_are_go_string_literals() -> None:
    assert unquote(r'"a\tb\"c\\ \u00e9\U0001f600\x7f"') == 'a\tb"c\\ é😀\x7f'
    assert unquote(r'"\xff"').encode(errors="surrogateescape") == b"\xff"


# Archives.


def element(*positions: tuple[int, int], text: bytes = b"") -> bytes:
    """Bytes as pkgbits writes them with markers: relocations, positions, a number."""
    out = b"\x08\x00\x04\x00\x00"
    for line, column in positions:
        out += b"\x0c\x00\x02\x00\x01\x0a\x00\x04\x00\x00\x04\x00" + varint(line) + b"\x04\x00" + varint(column)
    return out + text


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def section(strings: list[bytes], elements: list[bytes], version: int = 2, flags: int = 1) -> bytes:
    sizes = [*strings, *elements]
    stops = [sum(map(len, sizes[: index + 1])) for index in range(len(sizes))]
    ends = [len(strings)] * 9 + [len(sizes)]
    head = struct.pack(f"<{12 + len(stops)}I", version, flags, *ends, *stops)
    return b"u" + head + b"".join(sizes) + b"FINGERPR"


def packed(export: bytes, fingerprint: bytes = b"FINGERPR") -> bytes:
    definition = b"go object linux amd64\nbuild id\n\n$$B\n" + export + b"\n$$\n"
    thing = b"go object linux amd64\n!\n\x00go120ld" + fingerprint + b"code"
    out = b"!<arch>\n"
    for name, content in ((b"__.PKGDEF", definition), (b"_go_.o", thing)):
        out += b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name, 0, 0, 0, 0o644, len(content)) + content
        out += b"\0" * (len(content) % 2)
    return out


def test_export_data_is_read_and_its_fingerprint_changed() -> None:
    whole = packed(section([b"x\n$$\ny"], []))
    assert archive.export(whole) == section([b"x\n$$\ny"], [])
    posing = archive.posing(whole, b"whatever OLDOLDOL")
    assert posing.count(b"OLDOLDOL") == 1
    assert posing.index(b"OLDOLDOL") == whole.index(b"go120ld") + 7
    assert len(posing) == len(whole)
    assert archive.first(whole[:68]) == len(section([b"x\n$$\ny"], [])) + 40


@pytest.mark.parametrize("broken", [b"", b"!<arch>\n", packed(b"")[:60], packed(b"u").replace(b"$$B", b"$$A")])
def test_what_is_no_archive_is_refused(broken: bytes) -> None:
    with pytest.raises(archive.FormError):
        archive.export(broken)


def test_object_with_another_fingerprint_than_its_export_data_is_refused() -> None:
    with pytest.raises(archive.FormError):
        archive.posing(packed(section([], []), b"ANOTHER!"), b"12345678")


def test_digest_is_blind_for_lines_and_columns_and_for_nothing_else() -> None:
    def digest(strings: list[bytes], elements: list[bytes]) -> bytes:
        return archive.without_positions(section(strings, elements))

    first = digest([b"a.go"], [element((10, 3), (300, 9)), b"x"])
    assert digest([b"a.go"], [element((13, 4), (70000, 200)), b"x"]) == first
    assert digest([b"b.go"], [element((10, 3), (300, 9)), b"x"]) != first
    assert digest([b"a.go"], [element((10, 3), (300, 9)), b"y"]) != first
    assert digest([b"a.go"], [element((10, 3)), b"x"]) != first
    assert digest([b"a.go"], [element((10, 3), (300, 9), text=b"x")]) != first
    # In the section of strings nothing is a position.
    assert digest([element((10, 3))], []) != digest([element((11, 3))], [])


@pytest.mark.parametrize(
    "data", [b"", b"i" + b"\0" * 80, section([], [], version=9), section([], [], flags=0), section([b"ab"], [])[:-12]]
)
def test_export_data_of_another_form_has_no_digest(data: bytes) -> None:
    with pytest.raises(archive.FormError):
        archive.without_positions(data)


# What a change calls for.


def compiled(path: str, *imports: str, unfit: str = "") -> Compile:
    return Compile(path, ("compile",), (f"/m/{path}/a.go",), imports, unfit=unfit)


COMPILES = {
    one.path: one for one in (compiled("low"), compiled("mid", "low"), compiled("side"), compiled("top", "mid", "side"))
}
GROUND = Ground(
    COMPILES,
    Link("top", (), {}, ()),
    {"/m/low/a.go": frozenset({"low"}), "/m/both.txt": frozenset({"mid", "side"})},
    {path: f"/m/{path}" for path in COMPILES},
    embeds=(("/m/mid", ("static", "*.html")),),
    left_out=frozenset({"/m/low/a_windows.go"}),
    within=frozenset({"/m/low"}),
    importers=importers(COMPILES),
    sizes={"mid": 125_000, "top": 250_000},
    cwd="/m",
)
FILES = dict.fromkeys(("/m/low/a.go", "/m/both.txt", "/m/low/a_windows.go", "/m/go.mod"), (b"1", b"s"))
NAMES = {"/m/low": frozenset({"a.go"}), "/m/mid": frozenset({"a.go"}), "/m/mid/static": frozenset({"x"})}


def seen(files: Mapping[str, tuple[bytes, bytes]] | None = None, names: Mapping[str, set[str]] | None = None) -> Sight:
    came = {folder: frozenset(those) for folder, those in (names or {}).items()}
    return Sight({**FILES, **(files or {})}, {**NAMES, **came}, ((1,),))


@pytest.mark.parametrize(
    ("now", "packages"),
    [
        (seen(), set()),
        (seen({"/m/low/a.go": (b"2", b"s")}), {"low"}),
        (seen({"/m/both.txt": (b"2", b"s")}), {"mid", "side"}),
        (seen({"/m/low/a_windows.go": (b"2", b"s")}), set()),
        (seen(names={"/m/low": {"a.go", "notes.txt", ".a.go.swp"}}), set()),
        (seen(names={"/m/mid": {"a.go", "go.mod"}}), set()),
    ],
)
def test_packages_of_which_the_content_changed(now: Sight, packages: set[str]) -> None:
    assert changed(GROUND, seen(), now) == packages


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (seen({"/m/low/a.go": (b"2", b"t")}), "low/a.go imports, embeds or asks for something else"),
        (seen({"/m/low/a_windows.go": (b"2", b"t")}), "low/a_windows.go imports, embeds or asks for something else"),
        (seen({"/m/low/a.go": (b"", b"")}), "low/a.go went"),
        (seen({"/m/new.mod": (b"1", b"s")}), "new.mod came"),
        (seen({"/m/go.mod": (b"2", b"s")}), "go.mod changed"),
        (seen(names={"/m/low": {"a.go", "b.go"}}), "low/b.go came or went"),
        (seen(names={"/m/low": {"a.go", "a_test.go"}}), "low/a_test.go came or went"),  # `go build` reads its header
        (seen(names={"/m/low": {"a.go", "go.mod"}}), "low/go.mod came or went"),
        (seen(names={"/m/mid/static": {"x", "y"}}), "mid/static/y came or went"),
        (seen(names={"/m/mid": {"a.go", "index.html"}}), "mid/index.html came or went"),
        (Sight(seen().files, seen().names, ((2,),)), "the toolchain changed"),
    ],
)
def test_any_other_change_is_for_the_go_command(now: Sight, why: str) -> None:
    with pytest.raises(DeclinedError, match=f"^{why}$"):
        changed(GROUND, seen(), now)


def test_importers_come_behind_what_they_import() -> None:
    assert touched(GROUND, ["low"]) == ["low", "mid", "top"]
    assert touched(GROUND, ["side", "low"]) == ["low", "mid", "side", "top"]
    assert touched(GROUND, []) == []


def test_positions_mode_is_for_packages_whose_importers_take_more_than_a_second() -> None:
    assert GROUND.saving("low", 1) == pytest.approx(1.03)
    assert GROUND.saving("mid", 2) == pytest.approx(1.015)
    assert GROUND.saving("top", 1) == 0
    assert candidates(GROUND, [], 1) == ["low", "mid", "side"]
    assert candidates(GROUND, ["low"], 2) == ["mid", "side"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (3, "models.go: line numbers of inlined functions +3 until the full build"),
        (-1, "models.go: line numbers of inlined functions -1 until the full build"),
        (0, "models.go: line numbers of inlined functions moved until the full build"),
    ],
)
def test_remark_says_by_how_much_lines_lag(lines: int, said: str) -> None:
    assert str(Lag("models.go", lines)) == said


def test_complaint_names_files_as_go_build_does() -> None:
    text = "/m/app/low/a.go:1:2: bad\n\t/m/app/other/b.go:3:4: see /m/app/low and (/m/app/low)\n/m/apple/x.go:1:1: y\n"
    assert complaint("ex.com/app/low", "/m/app/low", text, shorter("/m/app/low", "/m/app")) == (
        "# ex.com/app/low\nlow/a.go:1:2: bad\n\t./other/b.go:3:4: see low and (/m/app/low)\n.le/x.go:1:1: y\n"
    )


@pytest.mark.parametrize(
    ("flags", "goflags", "why"),
    [
        (["-buildvcs=false", "-race", "-tags=a", "-trimpath", "-pgo=off"], [], ""),
        (["-race"], ["-buildvcs=false"], ""),
        (["-buildvcs=true"], ["-buildvcs=false"], "repository"),
        ([], [], "repository"),
        (["-buildvcs=false", "-cover"], [], "built with -cover"),
        (["-buildvcs=false"], ["--overlay=x.json"], "built with -overlay"),
        (["-buildvcs=false", "-pgo=x.pgo"], [], "built with -pgo"),
        (["-buildvcs=false", "-toolexec", "time"], [], "built with -toolexec"),
    ],
)
def test_flags_with_which_the_go_command_does_more_are_refused(flags: list[str], goflags: list[str], why: str) -> None:
    found = refusal(flags, goflags)
    assert why in found
    assert bool(found) is bool(why)
