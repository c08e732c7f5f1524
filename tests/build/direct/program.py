"""A Go program in layers, every package with every feature that export data knows of, and the edits that people make.

A package is a table of what stands in it; an edit changes the table, and the file is written anew.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MODULE = "gen.example/app"
MAIN = f"{MODULE}/cmd/app"


@dataclass
class Package:
    """What stands in one package. Numbers are constants in the code; the rest is there or not."""

    name: str
    path: str
    folder: Path
    below: list[Package] = field(default_factory=list)
    limit: int = 7
    hidden: int = 3
    quiet: int = 5
    inline: int = 2
    body: int = 11
    generic: int = 1
    stack: int = 1
    start: int = 4
    area: int = 2
    text: str = "x"
    data: str = "some data\n"
    tag: str = ""
    alias: str = "strings"
    before: int = 0
    top: int = 0
    doc: int = 1
    inside: int = 0
    end: int = 0
    spaces: int = 1
    fields: list[str] = field(default_factory=list)
    unexported: int = 0
    methods: list[str] = field(default_factory=list)
    hidden_methods: int = 0
    functions: list[str] = field(default_factory=list)
    helpers: int = 0
    pointer: bool = False
    variadic: bool = False
    interface: bool = False
    init: bool = False
    after: bool = False
    line: bool = False
    noinline: bool = False
    closure: bool = False
    recover: bool = False
    channel: bool = False
    local: bool = False
    table: int = 1
    alias_of: str = "int"
    dev: int = 1
    broken: str = ""
    renamed: bool = False

    def sources(self) -> dict[str, str]:
        """Its files by name."""
        return {"p.go": self._main(), "dev.go": self._tagged("dev", self.dev), "prod.go": self._tagged("!dev", 99)} | {
            "data.txt": self.data,
            "more.go": self._more(),
        }

    def _tagged(self, tag: str, number: int) -> str:
        return f"//go:build {tag}\n\npackage {self.name}\n\nfunc tagged() int {{ return {number} }}\n"

    def _more(self) -> str:
        """A second file, which the edits above never move."""
        return f"package {self.name}\n\n// Second is inlined.\nfunc Second(x int) int {{ return x + {self.quiet} }}\n"

    def _main(self) -> str:
        imports = "".join(f'\t{one.name} "{one.path}"\n' for one in self.below)
        alias = "" if self.alias == "strings" else f"{self.alias} "
        low = self.below[0].name if self.below else ""
        lines = [
            *["// Before everything." for _ in range(self.before)],
            *([""] if self.before else []),
            f"package {self.name}",
            *["// A comment." for _ in range(self.top)],
            "",
            f'import (\n\t_ "embed"\n\t"runtime"\n\t{alias}"strings"\n{imports})',
            "",
            *["// What it is for." for _ in range(self.doc)],
            f"const Limit = {self.limit} + hidden",
            f"const hidden = {self.hidden}",
            f"const quiet = {self.quiet}",
            "//go:embed data.txt\nvar data string",
            "type Base struct {",
            f"\tA int{f' `json:{chr(34)}{self.tag}{chr(34)}`' if self.tag else ''}",
            "\tB string",
            *[f"\t{one} int" for one in self.fields],
            *[f"\tu{number} int" for number in range(self.unexported)],
            "}",
            f'func (b Base) Title() string {{ return {self.alias}.ToUpper(b.B) + "{self.text}" }}',
            f"func (b {'*' if self.pointer else ''}Base) Bump() int {{ b.A += {self.area}; return b.A }}",
            *[f"func (b Base) {one}() int {{ return b.A + {len(one)} }}" for one in self.methods],
            f"type Shape interface {{ Area() int{'; Edges() int' if self.interface else ''} }}",
            "type square struct{ side int }",
            f"func (s square) Area() int {{ return s.side*s.side + {self.area} }}",
            "func (s square) Edges() int { return 4 }",
            *[
                f"func (s square) h{number}() int {{ return s.side + {number} }}"
                for number in range(self.hidden_methods)
            ],
            "func New(side int) Shape { return square{side: side} }",
            f"type Number = {self.alias_of}",
            f"type Deep struct {{ {low}.Base; Own int }}" if low else "type Deep struct { Base; Own int }",
            "type Grid [Limit]byte",
            *(["//go:noinline"] if self.noinline else []),
            f"func {'Renamed' if self.renamed else 'Inline'}(x int{', _ ...int' if self.variadic else ''}) int {{",
            *["\t// inside" for _ in range(self.inside)],
            f"\treturn{' ' * self.spaces}x*Limit + {self.inline}",
            "}",
            *(["//line moved.go:100"] if self.line else []),
            "func Big(n int) int {",
            f"\ttotal := {self.body}",
            *(["\tdefer func() { _ = recover() }()"] if self.recover else []),
            *(
                [f"\tadd := func(x int) int {{ return x + total + {self.body} }}\n\ttotal += add(n)"]
                if self.closure
                else []
            ),
            *(
                [
                    "\tc := make(chan int, 1)\n\tgo func() { c <- 1 }()\n\tselect {\n\tcase got := <-c:\n\t\ttotal += got\n\t}"
                ]
                if self.channel
                else []
            ),
            "\tfor i := 0; i < n; i++ {",
            f"\t\tswitch i % 3 {{\n\t\tcase 0:\n\t\t\ttotal += quiet\n\t\tdefault:\n\t\t\ttotal ^= i * {self.body}\n\t\t}}",
            "\t}",
            f'\ttotal += {self.alias}.Count("banana", "a") + {self.alias}.Index("banana", "n")',
            "\treturn total",
            "}",
            "func Map[T any](xs []T, f func(T) T) []T {",
            *(["\ttype local struct{ x T }"] if self.local else []),
            f"\tout := make([]T, 0, len(xs)+{self.generic})",
            f"\tfor _, x := range xs {{\n\t\tout = append(out, f({'local{x}.x' if self.local else 'x'}))\n\t}}",
            "\treturn out",
            "}",
            "type Stack[T any] struct{ items []T }",
            f"func (s *Stack[T]) Push(x T) int {{ s.items = append(s.items, x); return len(s.items) + {self.stack} }}",
            f"var X = start() + {low}.X" if low and not self.after else "var X = start()",
            f"func start() int {{ return {self.start} }}",
            f"var table = map[string]int{{{', '.join(f'{chr(34)}k{n}{chr(34)}: {n}' for n in range(self.table))}}}",
            *(["func init() { X += len(table) }"] if self.init else []),
            *[f"func {one}(x int) int {{ return x ^ {len(one)} }}" for one in self.functions],
            *[f"func helper{number}() int {{ return {number} * quiet }}" for number in range(self.helpers)],
            "func Where() int {\n\t_, _, line, _ := runtime.Caller(0)\n\treturn line\n}",
            self.broken,
            "func Sum() int {",
            "\tvar deep Deep\n\tvar stack Stack[string]",
            "\ttotal := Big(3) + X + len(data) + New(2).Area() + len(Grid{}) + tagged() + Second(1) + stack.Push(deep.Title())",
            "\ttotal += len(Map([]int{1, 2}, func(x int) int { return x + deep.Own })) + int(Number(1)) + deep.Bump()",
            *[f"\ttotal += helper{number}()" for number in range(self.helpers)],
            *[
                f"\ttotal += {one.name}.Sum() + {one.name}.Inline(total) + {one.name}.Limit + {one.name}.Second(2) + len({one.name}.Grid{{}})"
                f" + {one.name}.New(total).Area() + len({one.name}.Map([]int{{1}}, func(x int) int {{ return x }}))"
                f" + (&{one.name}.Stack[int]{{}}).Push(1)"
                for one in self.below
            ],
            "\treturn total",
            "}",
            *["// The end." for _ in range(self.end)],
        ]
        return "\n".join(lines) + "\n"


MAIN_SOURCE = """package main

import (
	"fmt"
	"os"
	"reflect"
%(imports)s)

const version = %(version)d

func main() {
	fmt.Println(version)
%(uses)s}
"""

USE = """	fmt.Println("%(name)s", %(name)s.Sum(), %(name)s.Limit, %(name)s.Inline(3), %(name)s.X)
	fmt.Printf("%%+v %%T %%v\\n", %(name)s.Deep{}, %(name)s.New(1), reflect.TypeOf(%(name)s.Base{}).NumMethod())
	fmt.Println(reflect.TypeOf(%(name)s.Base{}).NumField(), reflect.TypeOf(&%(name)s.Base{}).NumMethod(), %(name)s.Base{B: "b"}.Title())
	fmt.Fprintln(os.Stderr, "%(name)s", %(name)s.Where())
"""


class Program:
    """The whole of it, on disk.

    Args:
        kind: module, vendor (the lowest layer is another module, vendored), workspace (it is a member of a go.work),
            replace (it is a replaced folder), native (cgo and assembly in packages of their own).
    """

    def __init__(self, root: Path, seed: int, layers: tuple[int, ...] = (2, 2, 2), kind: str = "module") -> None:
        self.root = root
        self.kind = kind
        self.random = random.Random(seed)
        self.version = 1
        self.packages: list[Package] = []
        before: list[Package] = []
        for depth, width in enumerate(layers):
            layer = []
            for number in range(width):
                name = f"p{depth}{number}"
                outside = depth == 0 and kind in ("vendor", "workspace", "replace")
                path = f"low.example/{name}" if outside else f"{MODULE}/internal/{name}"
                folder = {"vendor": root / "vendor" / "low.example", "workspace": root / "low", "replace": root / "low"}
                place = folder[kind] / name if outside else root / "app" / "internal" / name
                if outside and kind == "vendor":
                    place = root / "app" / "vendor" / "low.example" / name
                below = sorted(self.random.sample(before, min(2, len(before))), key=lambda one: one.name)
                layer.append(Package(name, path, place, below))
            before = before + layer
            self.packages += layer
        self.written: dict[Path, str] = {}
        self._frame()
        self.write()

    @property
    def cwd(self) -> Path:
        return self.root / "app"

    @property
    def main(self) -> Path:
        return self.cwd / "cmd" / "app" / "main.go"

    def _frame(self) -> None:
        """What stands around the packages."""
        lows = [one for one in self.packages if one.path.startswith("low.example")]
        gomod = f"module {MODULE}\n\ngo 1.24\n"
        if self.kind == "native":
            self._put(self.cwd / "internal" / "native" / "c.go", NATIVE)
            self._put(
                self.cwd / "internal" / "plain" / "add.go", "package plain\n\nfunc Add(a, b int) int { return a + b }\n"
            )
            self._put(self.cwd / "internal" / "plain" / "nothing.s", "// Assembled all the same.\n")
        if lows and self.kind != "workspace":
            gomod += "".join(f"\nrequire {one.path} v0.0.0\n" for one in lows)
            if self.kind == "replace":
                gomod += "".join(f"\nreplace {one.path} => ../low/{one.name}\n" for one in lows)
        self._put(self.cwd / "go.mod", gomod)
        for one in lows:
            if self.kind != "vendor":
                self._put(one.folder / "go.mod", f"module {one.path}\n\ngo 1.24\n")
        if self.kind == "vendor":
            said = "".join(f"# {one.path} v0.0.0\n## explicit; go 1.24\n{one.path}\n" for one in lows)
            self._put(self.cwd / "vendor" / "modules.txt", said)
        if self.kind == "workspace":
            uses = "".join(f"use ./low/{one.name}\n" for one in lows)
            self._put(self.root / "go.work", f"go 1.24\n\nuse ./app\n{uses}")

    def write(self) -> list[Path]:
        """Bring the disk up to date; returns the files that were written."""
        wanted = {one.folder / name: text for one in self.packages for name, text in one.sources().items()}
        native = self.kind == "native"
        imports = "".join(f'\t{one.name} "{one.path}"\n' for one in self.packages)
        imports += f'\t"{MODULE}/internal/native"\n\t"{MODULE}/internal/plain"\n' if native else ""
        uses = "".join(USE % {"name": one.name} for one in self.packages)
        uses += "\tfmt.Println(native.Twice(4), plain.Add(1, 2))\n" if native else ""
        wanted[self.main] = MAIN_SOURCE % {"imports": imports, "uses": uses, "version": self.version}
        changed = [path for path, text in wanted.items() if self.written.get(path) != text]
        for path in changed:
            self._put(path, wanted[path])
        return changed

    def _put(self, path: Path, text: str) -> None:
        """Write a file as editors do: a new one, moved into place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text)
        os.replace(fresh, path)
        self.written[path] = text

    def edit(self, kind: str, package: Package | None = None) -> str:
        """Make one edit in a package; returns what it was."""
        one = package or self.random.choice(self.packages)
        (EDITS | SHAPES | BREAKS)[kind](self, one)
        return f"{kind} in {one.name}"


NATIVE = """package native

// static int twice(int x) { return 2 * x; }
import "C"

func Twice(x int) int { return int(C.twice(C.int(x))) }
"""

Edit = Callable[[Program, Package], None]


def _more(name: str) -> Edit:
    """A number grows."""

    def edit(program: Program, one: Package) -> None:
        setattr(one, name, getattr(one, name) + program.random.randint(1, 3))

    return edit


def _flip(name: str) -> Edit:
    def edit(program: Program, one: Package) -> None:
        del program
        setattr(one, name, not getattr(one, name))

    return edit


def _grow(name: str, stem: str) -> Edit:
    """One more of a list, with a name of its own."""

    def edit(program: Program, one: Package) -> None:
        getattr(one, name).append(f"{stem}{program.random.randint(0, 10**6)}")

    return edit


def _shrink(name: str) -> Edit:
    def edit(program: Program, one: Package) -> None:
        if those := getattr(one, name):
            those.pop(program.random.randrange(len(those)))

    return edit


def _less(name: str) -> Edit:
    def edit(program: Program, one: Package) -> None:
        del program
        setattr(one, name, max(0, getattr(one, name) - 1))

    return edit


def _choose(name: str, *values: str) -> Edit:
    def edit(program: Program, one: Package) -> None:
        setattr(one, name, program.random.choice([value for value in values if value != getattr(one, name)]))

    return edit


def _reverse(program: Program, one: Package) -> None:
    del program
    one.fields.reverse()


def _version(program: Program, one: Package) -> None:
    del one
    program.version += 1


def _touch(program: Program, one: Package) -> None:
    os.utime(one.folder / "p.go", ns=(program.random.randrange(10**18), program.random.randrange(10**18)))


def _rewrite(program: Program, one: Package) -> None:
    program._put(one.folder / "p.go", program.written[one.folder / "p.go"])


EDITS: dict[str, Edit] = {
    "a body that is not inlined": _more("body"),
    "a body that is inlined": _more("inline"),
    "a generic body": _more("generic"),
    "a generic method": _more("stack"),
    "an exported constant": _more("limit"),
    "a constant in an exported one": _more("hidden"),
    "a constant in bodies": _more("quiet"),
    "what a variable starts with": _more("start"),
    "a method behind an interface": _more("area"),
    "a string": _choose("text", "x", "yy", "zzz", "with more words"),
    "an exported field": _grow("fields", "F"),
    "a field less": _shrink("fields"),
    "fields in another order": _reverse,
    "a tag of a field": _choose("tag", "", "a", "b", "c"),
    "an unexported field": _more("unexported"),
    "a method": _grow("methods", "M"),
    "a method less": _shrink("methods"),
    "a pointer receiver": _flip("pointer"),
    "a method of an unexported type": _more("hidden_methods"),
    "a method of an interface": _flip("interface"),
    "an exported function": _grow("functions", "Fn"),
    "a function less": _shrink("functions"),
    "an unexported function": _more("helpers"),
    "a parameter": _flip("variadic"),
    "comments at the top": _more("top"),
    "a comment at the top less": _less("top"),
    "comments above the exported": _more("doc"),
    "a comment above the exported less": _less("doc"),
    "a comment inside": _more("inside"),
    "a comment at the end": _more("end"),
    "spaces": _more("spaces"),
    "the first init, or the last": _flip("init"),
    "initialisation in another order": _flip("after"),
    "a line directive": _flip("line"),
    "a pragma": _flip("noinline"),
    "a closure": _flip("closure"),
    "a recover": _flip("recover"),
    "a channel": _flip("channel"),
    "a local type in a generic function": _flip("local"),
    "an alias": _choose("alias_of", "int", "uint8", "int64"),
    "an import's name": _choose("alias", "strings", "str"),
    "a map": _more("table"),
    "a file with a build tag": _more("dev"),
    "an embedded file": _choose("data", "", "some data\n", "other\n", "long " * 999),
    "package main": _version,
    "only the time": _touch,
    "the same content": _rewrite,
}
"""Edits after which the program still builds, by their kind."""


def _file(program: Program, one: Package) -> None:
    program._put(
        one.folder / f"extra{program.random.randrange(10**6)}.go", f"package {one.name}\n\nfunc init() {{ X++ }}\n"
    )


def _module(program: Program, one: Package) -> None:
    del one
    path = program.cwd / "go.mod"
    program._put(path, program.written[path] + "\n// A comment.\n")


SHAPES: dict[str, Edit] = {
    "a comment before the package clause": _more("before"),
    "a new file": _file,
    "go.mod": _module,
}
"""Edits that are for the go command: other files may be in the build by them."""

BREAKS: dict[str, Edit] = {
    "an unknown name": _choose("broken", "", "var _ = nothing", "func broken() int { return nowhere(3) }"),
    "a function that importers call": _flip("renamed"),
    "a syntax error": _choose("broken", "", "func {"),
}
"""Edits that break it, or mend it when they are made again."""

LINES = frozenset(
    (
        "comments at the top",
        "a comment at the top less",
        "comments above the exported",
        "a comment above the exported less",
        "a comment inside",
        "a comment at the end",
    )
)
"""Edits that move lines and change nothing else."""
