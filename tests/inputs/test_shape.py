"""What changes a file's shape, and what does not; the go command is the judge where it matters (see test_tree)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goreload_tasks.inputs.embed import embedded_by
from goreload_tasks.inputs.golist import may_be_source
from goreload_tasks.inputs.shape import shape

BASE = (
    '// Package a.\n\npackage a\n\nimport (\n\t"fmt"\n\tx "os" // note\n)\n\n'
    'func f() { fmt.Println("import \\"net\\"") }\n'
)


@pytest.mark.parametrize(
    "edited",
    [
        BASE.replace("Println", "Printf"),
        BASE.replace('x "os"', 'y "os"'),
        BASE.replace(" // note", ""),
        BASE.replace('"fmt"\n\tx "os" // note', 'x "os"\n\t"fmt"'),
        BASE + "// end\n",
        BASE + "//go:generate x\n//go:embed nothing\n",
        BASE + 'func import_() { _ = `import "net"` }\n',
        BASE.replace("import (", "import /* ; */ (\n"),
        BASE.replace('"fmt"', "`fmt`"),
    ],
)
def test_same_shape(edited: str) -> None:
    assert edited != BASE
    assert shape(edited.encode()) == shape(BASE.encode())


@pytest.mark.parametrize(
    "edited",
    [
        "//go:build x\n\n" + BASE,
        "// +build x\n\n" + BASE,
        BASE.replace("package a\n", "package b\n"),
        BASE.replace('"fmt"', '"net"'),
        BASE.replace('\t"fmt"\n', '\t"fmt"\n\t_ "net/http"\n'),
        BASE.replace("func f", 'import "C"\n\nfunc f'),
        BASE.replace('"fmt"', '"fmt'),
        BASE.replace("package a", "package"),
        BASE.replace('"fmt"', '"fmt"; "net"'),
        "",
    ],
)
def test_other_shape(edited: str) -> None:
    assert shape(edited.encode()) != shape(BASE.encode())


def test_embed_patterns_count_when_embed_is_imported() -> None:
    one = b'package a\n\nimport _ "embed"\n\n//go:embed a.txt\nvar s string\n'
    assert shape(one) != shape(one.replace(b"a.txt", b"b.txt"))
    assert shape(one) == shape(one.replace(b"var s", b"var t"))
    assert shape(b"\xef\xbb\xbf" + one) == shape(one)
    assert shape(one.replace(b"\n", b"\r\n")) != shape(b"package b")


@given(st.binary(max_size=200))
def test_any_bytes_have_a_shape(source: bytes) -> None:
    assert len(shape(source)) == 16


@pytest.mark.parametrize(
    ("pattern", "path", "taken"),
    [
        ("static", "static/a", True),
        ("static", "static/deep/a", True),
        ("static", "static/.a", False),
        ("static", "static/_a/b", False),
        ("all:static", "static/.a", True),
        ("static/*", "static/.a", True),
        ("static/*", "static/d/.a", False),
        ("*.html", "a.html", True),
        ("*.html", "d/a.html", False),
        ("a?[b-c].t", "axb.t", True),
        ("a[^b].t", "ab.t", False),
        ("\\*.t", "x.t", False),
        (".", "a", True),
    ],
)
def test_patterns_take_in_what_the_embed_package_says(pattern: str, path: str, taken: bool) -> None:
    assert (embedded_by(pattern, path) is not None) == taken


def test_names_that_could_be_sources() -> None:
    names = ("a.go", "a.s", "a.h", "a_windows.go", "_a.go", ".a.go", "a_test.go", "a.go~", "a.GO", "a.txt")
    assert [name for name in names if may_be_source(name)] == ["a.go", "a.s", "a.h", "a_windows.go"]
