"""What `dev` does while nobody wants anything, and what a reload says of its parts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.driver import Builds, Driver, Task, alive, answer, answers, free_port, get, server, until, write

PROGRAM = """package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, Answer()) })
	http.HandleFunc("/caller", func(w http.ResponseWriter, r *http.Request) {
		counter, file, line, _ := runtime.Caller(0)
		fmt.Fprintf(w, "%s %s:%d", runtime.FuncForPC(counter).Name(), file, line)
	})
	http.HandleFunc("/stack", func(w http.ResponseWriter, r *http.Request) { w.Write(debug.Stack()) })
	http.HandleFunc("/pprof", func(w http.ResponseWriter, r *http.Request) {
		var out bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&out, 1)
		w.Write(out.Bytes())
	})
	http.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { go crash() })
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	http.Serve(listener, nil)
}

func crash() {
	panic("on purpose")
}
"""


LEAN = "-gcflags=all=-dwarf=false"


def started(driver: Driver, project: Path, go: Builds, *words: str, **env: str) -> tuple[Task, str]:
    told = {**go.env, "GORELOAD_SERVE_PORT": str(free_port()), **env}
    dev = driver.start(project, "dev", *words, program="goreload", env=told)
    return dev, dev.url()


def at(text: str) -> int:
    """The line of the program that a text is in."""
    return 1 + PROGRAM[: PROGRAM.index(text)].count("\n")


def warmed(project: Path, driver: Driver, place: Path) -> tuple[Task, str, Builds]:
    """`dev` on the program after its first rest, and its url."""
    server(project, tasks=False, **{"main.go": PROGRAM})
    go = Builds(place)
    dev, url = started(driver, project, go, "--timings")
    dev.line("everything is compiled without DWARF")
    return dev, url, go


def test_everything_is_compiled_without_dwarf_at_rest_and_linked_so_from_then_on(
    project: Path, driver: Driver, tmp_path: Path
) -> None:
    dev, url, go = warmed(project, driver, tmp_path)
    assert [LEAN in build for build in go.wanted] == [False]
    assert LEAN in go.idle[0]
    write(project, {"answer.go": answer("lean")})
    answers(url, "lean")
    assert [LEAN in build for build in go.wanted] == [False, True]
    # Names and lines are all there.
    file = project / "main.go"
    assert get(url, "/caller") == f"main.main.func2 {file}:{at('runtime.Caller')}"
    assert f"{file}:{at('debug.Stack')}" in get(url, "/stack")
    assert f"{file}:{at('pprof.Lookup')}" in get(url, "/pprof")
    get(url, "/panic")
    dev.line(rf"on purpose \(main.go:{at('on purpose')}\)")
    dev.stop()
    # It is remembered.
    dev, url = started(driver, project, go)
    answers(url, "lean")
    assert LEAN in go.wanted[-1]
    dev.stop()


def test_comment_after_a_rest_keeps_the_app_though_it_is_built_with_other_flags(
    project: Path, driver: Driver, tmp_path: Path
) -> None:
    dev, url, go = warmed(project, driver, tmp_path)
    app = alive([str(project), ".goreload", "/bin/1/"])
    with (project / "main.go").open("a") as file:
        file.write("// the end\n")
    dev.line("main.go -> built .* -> same binary, kept")
    assert LEAN in go.wanted[-1]
    assert app == alive([str(project), ".goreload", "/bin/1/"])
    write(project, {"answer.go": answer("two")})
    answers(url, "two")


def test_save_ends_what_is_done_at_rest_and_it_goes_on_later(project: Path, driver: Driver, tmp_path: Path) -> None:
    server(project, tasks=False, **{"main.go": PROGRAM})
    held = tmp_path / "held"
    held.touch()
    go = Builds(tmp_path, held)
    dev, url = started(driver, project, go, "--timings")
    until(lambda: len(go.idle) == 1, "the chore began")
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    assert not any(LEAN in build for build in go.wanted)
    until(lambda: len(go.idle) == 2, "the chore goes on")
    assert alive(["build", LEAN, str(project)])
    assert dev.stop() == 130
    assert not alive([LEAN, str(project)])


def test_parts_of_a_reload_are_shown_and_written_down(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    port = free_port()
    dev = driver.start(project, "dev", "--timings", program="goreload", env={"GORELOAD_SERVE_PORT": str(port)})
    url = dev.url()
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    dev.line(
        r"noticed [\d.]+, decided [\d.]+, built [\d.]+, compared [\d.]+, old program's end [\d.]+, spawned [\d.]+, "
        r"accepting [\d.]+, opened [\d.]+, first byte"
    )
    write(project, {"answer.go": answer("broken") + "x"})
    dev.line("1 error")
    dev.stop()
    shown = driver.run(project, "history", program="goreload").stdout.splitlines()
    assert len(shown) == 3
    assert "start -> built" in shown[0]
    assert "answer.go -> failed" in shown[2]
    records = [
        json.loads(line) for line in driver.run(project, "history", "--json", program="goreload").stdout.splitlines()
    ]
    assert records[1]["changed"] == ["answer.go"]
    parts = ["noticed", "decided", "built", "compared", "old program's end", "spawned", "accepting", "opened"]
    assert list(records[1]["ms"]) == [*parts, "first byte"]
    assert records[2]["ms"].keys() == {"noticed", "decided", "built"}


def test_builds_are_direct_after_a_rest_and_proved_at_the_next(project: Path, driver: Driver, tmp_path: Path) -> None:
    server(project, tasks=False)
    go = Builds(tmp_path)
    dev, url = started(driver, project, go, "--timings")
    dev.line("builds are direct from here on")
    before = len(go.wanted)
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    dev.line("direct: example.com/app compiled")
    dev.line("`go build` makes the same binary")
    assert len(go.wanted) == before, "the go command was not asked"
    # What is not for direct building is built all the same, in the same reload.
    write(project, {"more.go": 'package main\n\nconst More = "three"\n', "answer.go": CONSTANT})
    answers(url, "three")
    dev.line("go build: .*more.go came or went")
    # Errors look as ever.
    write(project, {"answer.go": answer("four") + "x"})
    dev.line(r"^answer.go:4:1: syntax error: non-declaration statement outside function body$")
    assert dev.stop() == 130
    records = [json.loads(line) for line in (project / ".goreload/app/history.jsonl").read_text().splitlines()]
    assert "equal" in [record["did"] for record in records]
    found = driver.run(project, "doctor", program="goreload", env=go.env).stdout
    assert "1 direct builds equal to the go command's, 0 different" in found


CONSTANT = "package main\n\nfunc Answer() string { return More }\n"


def test_direct_build_that_is_refuted_is_built_again_and_was_the_last(
    project: Path, driver: Driver, tmp_path: Path
) -> None:
    server(project, tasks=False)
    overlay = {"Replace": {str(project / "lie.go"): str(tmp_path / "lie.go")}}
    write(tmp_path, {"lie.go": 'package main\n\nfunc init() { println("lie") }\n', "overlay": json.dumps(overlay)})
    go = Builds(tmp_path, lie=f"-overlay={tmp_path / 'overlay'}")
    dev, url = started(driver, project, go, "--timings")
    dev.line("builds are direct from here on")
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    bundle = dev.line("was not what `go build` makes: .*; please report (.*)").group(1)
    dev.line("verification -> built")
    answers(url, "two")
    before = len(go.wanted)
    write(project, {"answer.go": answer("three")})
    answers(url, "three")
    assert len(go.wanted) == before + 1
    assert dev.stop() == 130
    assert "answer.go" in Path(bundle).read_text(), "it outlives the session"
    assert "1 different" in driver.run(project, "doctor", program="goreload", env=go.env).stdout


def test_direct_building_can_be_switched_off(project: Path, driver: Driver, tmp_path: Path) -> None:
    server(project, tasks=False)
    go = Builds(tmp_path)
    dev, url = started(driver, project, go, "--timings", GORELOAD_BUILD_DIRECT="off")
    dev.line("everything is compiled without DWARF")
    write(project, {"answer.go": answer("two")})
    answers(url, "two")
    assert len(go.wanted) == 2
    assert dev.stop() == 130
    assert not (project / ".goreload/app/direct").exists()
