"""What real Go programs print when they die, and when they do not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from goreload_tasks.app.panic import Frame, first, parse
from tests.driver import DEADLINE, write

MAIN = """package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"syscall"

	"example.com/app/inner"
	"example.com/lib"
)

type E struct{ Code int }

func (e E) Error() string { return fmt.Sprintf("code %d", e.Code) }

type Plain struct{ A, B int }

type Tree struct{ left *Tree }

func (t *Tree) Depth() int { return 1 + t.left.left.Depth() } // nil

func index(list []int, at int) int { return list[at] } // index

func main() {
	fmt.Println("begins")
	switch os.Args[1] {
	case "nil":
		fmt.Println((&Tree{}).Depth())
	case "index":
		fmt.Println(index(nil, len(os.Args)))
	case "error":
		panic(E{7})
	case "plain":
		panic(Plain{1, 2})
	case "wrapped":
		panic(fmt.Errorf("outer: %w", errors.New("inner")))
	case "lines":
		panic("first line\\n\\nthird: panic: line\\ngoroutine 9 [running]:\\nlast")
	case "map":
		shared := map[int]int{}
		for range 4 {
			go func() {
				for {
					for i := range 1000 {
						shared[i] = i // map
					}
				}
			}()
		}
		select {}
	case "goroutine":
		done := make(chan int)
		go func() {
			panic("in a goroutine") // goroutine
		}()
		<-done
	case "library":
		sort.Slice([]int{2, 1}, func(a, b int) bool {
			panic("from below a library") // library
		})
	case "foreign":
		lib.Fall() // foreign
	case "inner":
		inner.Fall[string]("x")
	case "again":
		defer func() {
			panic(fmt.Sprint("again: ", recover())) // again
		}()
		panic("once")
	case "deferred":
		defer func() {
			panic("second") // deferred
		}()
		panic("once")
	case "overflow":
		var down func(int) int
		down = func(n int) int { return down(n+1) + 1 } // overflow
		debug.SetMaxStack(1 << 20)
		fmt.Println(down(0))
	case "signal":
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "exit":
		os.Exit(3)
	case "handler", "handler-then-panic":
		handler := func(http.ResponseWriter, *http.Request) { panic("in a handler") }
		http.Get(httptest.NewServer(http.HandlerFunc(handler)).URL)
		if os.Args[1] == "handler-then-panic" {
			panic("the end") // handler-then-panic
		}
		os.Exit(4)
	case "printed":
		defer func() {
			fmt.Println("panic:", recover())
			fmt.Print(string(debug.Stack()))
			log.Fatal("gave up")
		}()
		panic("caught")
	case "log":
		log.Panic("logged")
	case "quit":
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		select {}
	case "long":
		panic(strings.Repeat("x", 300))
	}
}
"""

LOCKED = """package main

import "sync"

func main() {
	var lock sync.Mutex
	lock.Lock()
	lock.Lock() // deadlock
}
"""

INNER = """package inner

func Fall[T any](value T) {
	var list []T
	func() {
		list[1] = value // inner
	}()
}
"""

LIB = """package lib

func Fall() { panic("library fell") }
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that uses a vendored library, built as this tool builds it and as a release is built."""
    root = tmp_path_factory.mktemp("panics")
    write(
        root,
        {
            "go.mod": "module example.com/app\n\ngo 1.23\n\nrequire example.com/lib v1.0.0\n",
            "main.go": MAIN,
            "inner/inner.go": INNER,
            "locked/locked.go": LOCKED,
            "vendor/example.com/lib/lib.go": LIB,
            "vendor/modules.txt": "# example.com/lib v1.0.0\n## explicit\nexample.com/lib\n",
        },
    )
    for name, more in (("app", ["-ldflags=-s -w"]), ("trimmed", ["-trimpath"])):
        subprocess.run(["go", "build", *more, "-o", name, "."], cwd=root, check=True)
    subprocess.run(["go", "build", "-o", "locked-up", "./locked"], cwd=root, check=True)
    return root


def output(app: Path, case: str, name: str = "app", **env: str) -> list[str]:
    done = subprocess.run(
        [f"./{name}", case],
        cwd=app,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout.splitlines()


def line(app: Path, mark: str, file: str = "main.go") -> int:
    """Where a source says `// mark`."""
    lines = (app / file).read_text().splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.endswith(f"// {mark}"))


SEGV = "panic: runtime error: invalid memory address or nil pointer dereference [signal SIGSEGV: "

CASES = [
    ("nil", SEGV, "main.(*Tree).Depth", "nil"),
    ("index", "panic: runtime error: index out of range [2] with length 0", "main.index", "index"),
    ("error", "panic: main.E{Code:7}|panic: code 7", "main.main", ""),
    ("plain", "panic: main.Plain{A:1, B:2}|panic: (main.Plain) ", "main.main", ""),
    ("wrapped", "panic: outer: inner|panic: &fmt.wrapError{", "main.main", ""),
    ("lines", "panic: first line\n\nthird: panic: line\ngoroutine 9 [running]:\nlast", "main.main", ""),
    ("map", "fatal error: concurrent map writes", "main.main.func", "map"),
    ("goroutine", "panic: in a goroutine", "main.main.func", "goroutine"),
    ("library", "panic: from below a library", "main.main.func", "library"),
    ("foreign", "panic: library fell", "main.main", "foreign"),
    ("again", "panic: once [recovered]\npanic: again: once", "main.main.func", "again"),
    ("deferred", "panic: once\npanic: second", "main.main.func", "deferred"),
    ("overflow", "fatal error: stack overflow", "main.main.func", "overflow"),
    ("log", "panic: logged", "main.main", ""),
    ("long", "panic: " + "x" * 300, "main.main", ""),
    ("handler-then-panic", "panic: the end", "main.main", "handler-then-panic"),
]


@pytest.mark.parametrize("name", ["app", "trimmed"])
@pytest.mark.parametrize(("case", "message", "function", "place"), CASES)
def test_panic_of_a_real_program(app: Path, name: str, case: str, message: str, function: str, place: str) -> None:
    panic = parse(output(app, case, name), str(app))
    assert panic
    assert panic.message.startswith(tuple(message.split("|")))
    assert not panic.frames[0].function.startswith(("runtime.", "panic"))
    own = first(panic)
    assert own
    assert own.function.startswith(function)
    assert own.file == str(app / "main.go")
    if place:
        assert own.line == line(app, place)


@pytest.mark.parametrize("name", ["app", "trimmed"])
def test_frame_in_a_package_of_the_project(app: Path, name: str) -> None:
    panic = parse(output(app, "inner", name), str(app))
    assert panic
    own = first(panic)
    assert own
    assert "Fall[...]" in own.function
    assert (own.file, own.line) == (str(app / "inner" / "inner.go"), line(app, "inner", "inner/inner.go"))


@pytest.mark.parametrize("name", ["app", "trimmed"])
def test_libraries_are_not_ours(app: Path, name: str) -> None:
    panic = parse(output(app, "foreign", name), str(app))
    assert panic
    assert (panic.frames[0].function, panic.frames[0].own) == ("example.com/lib.Fall", False)
    panic = parse(output(app, "library", name), str(app))
    assert panic
    assert {frame.function.split(".")[0]: frame.own for frame in panic.frames} == {"main": True, "sort": False}


@pytest.mark.parametrize("case", ["exit", "handler", "printed", "quit"])
def test_other_ends_are_no_panic(app: Path, case: str) -> None:
    lines = output(app, case)
    assert lines[0] == "begins"
    assert parse(lines, str(app)) is None


def test_deadlock(app: Path) -> None:
    panic = parse(output(app, "", "locked-up"), str(app))  # one without cgo: with it the runtime sees no deadlock
    assert panic
    assert panic.message == "fatal error: all goroutines are asleep - deadlock!"
    place = line(app, "deadlock", "locked/locked.go")
    assert first(panic) == Frame("main.main", str(app / "locked" / "locked.go"), place, own=True)


def test_who_began_the_goroutine_is_the_last_frame(app: Path) -> None:
    panic = parse(output(app, "goroutine"), str(app))
    assert panic
    assert panic.frames[-1].function == "created by main.main"
    assert panic.frames[-1].own


def test_signal_from_outside(app: Path) -> None:
    panic = parse(output(app, "signal"), str(app))
    assert panic
    assert "SIGSEGV" in panic.message


@pytest.mark.parametrize("level", ["none", "single", "all", "system", "crash"])
def test_every_level_of_traceback(app: Path, level: str) -> None:
    panic = parse(output(app, "nil", GOTRACEBACK=level), str(app))
    assert panic
    assert panic.message.startswith(SEGV)
    if level != "none":
        assert first(panic) == Frame("main.(*Tree).Depth", str(app / "main.go"), line(app, "nil"), own=True)


def test_last_panic_counts_and_carriage_returns_do_not(app: Path) -> None:
    lines = [*output(app, "error"), *output(app, "nil")]
    for said in (lines, [text + "\r" for text in lines]):
        panic = parse(said, str(app))
        assert panic
        assert panic.message.startswith(SEGV)


def test_other_output_between_the_lines_of_a_stack(app: Path) -> None:
    lines = output(app, "index")
    at = next(number for number, text in enumerate(lines) if text.startswith("main.index"))
    panic = parse([*lines[:at], "[GIN] 200 | GET /", *lines[at:], "a last word"], str(app))
    assert panic
    assert first(panic) == Frame("main.index", str(app / "main.go"), line(app, "index"), own=True)


def test_module_cache_inside_the_project_is_not_ours() -> None:
    lines = ["panic: x", "", "goroutine 1 [running]:", "lib.F()", "\t/p/pkg/mod/example.com/lib@v1.0.0/f.go:3 +0x1"]
    panic = parse([*lines, "main.main()", "\t/p/main.go:3 +0x1d"], "/p")
    assert panic
    assert [frame.own for frame in panic.frames] == [False, True]
    other = parse([*lines, "main.main()", "\t/project/main.go:3 +0x1d"], "/p")
    assert other
    assert first(other) is None


def test_nothing_said() -> None:
    assert parse([], "/p") is None
    assert parse(["a line", "panic is no panic: ", "it said panic: x"], "/p") is None
