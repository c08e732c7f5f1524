"""`invoke dev` on real applications, from outside: what is on disk is what answers."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from goreload_tasks.adopt.scaffold import render
from tests.driver import Driver, alive, answer, free_port, get, server, until, write


def answers(url: str, text: str, path: str = "/") -> None:
    until(lambda: get(url, path).strip() == text, f"{text!r} from {url}{path}; it says {get(url, path)!r}")


def replace(path: Path, text: str) -> None:
    """An atomic save, as vim and JetBrains make it."""
    beside = path.with_name(path.name + "___jb_tmp___")
    beside.write_text(text)
    beside.rename(path)


def test_twenty_varied_edits_of_a_gin_app_each_answer_with_what_is_on_disk(project: Path, driver: Driver) -> None:
    project.rmdir()
    render("gin", project)
    port = str(free_port())
    direct = {"PORT": port, "GORELOAD_SERVE_PORT": ""}  # where the old program is seen to go on
    dev = driver.start(project, "dev", env={**direct, "GIN_MODE": "release"})
    url = dev.url()
    handlers = project / "handlers" / "handlers.go"
    original = handlers.read_text()

    def greeting(text: str) -> str:
        return original.replace("Hello from Gin", text)

    answers(url, "Hello from Gin")
    for number in range(5):
        handlers.write_text(greeting(f"in place {number}"))
        answers(url, f"in place {number}")
    for number in range(3):
        replace(handlers, greeting(f"atomic {number}"))
        answers(url, f"atomic {number}")
    for number in range(8):
        handlers.write_text(greeting(f"burst {number}"))
    answers(url, "burst 7")

    handlers.write_text(greeting("broken").replace("func front", "func func front"))
    dev.line(r"^handlers/handlers.go:\d+:\d+: syntax error")
    dev.line(r"-> \d errors?, .*; the old program still runs")
    answers(url, "burst 7")
    handlers.write_text(greeting("mended"))
    answers(url, "mended")

    handlers.write_text(greeting("x").replace('Greeting+"\\n"', 'extra()+"\\n"'))
    dev.line("undefined: extra")
    (project / "handlers" / "extra.go").write_text('package handlers\n\nfunc extra() string { return "new file" }\n')
    answers(url, "new file")
    (project / "handlers" / "extra.go").unlink()
    dev.line("undefined: extra")
    answers(url, "new file")
    (project / "handlers" / "more.go").write_text('package handlers\n\nfunc extra() string { return "other file" }\n')
    answers(url, "other file")

    with_import = greeting("x").replace('Greeting+"\\n"', 'deep.Text()+"\\n"')
    handlers.write_text(with_import.replace('"time"\n', '"time"\n\n\t"example.com/starter/handlers/deep"\n', 1))
    dev.line("example.com/starter/handlers/deep")
    write(project, {"handlers/deep/deep.go": 'package deep\n\nfunc Text() string { return "new package" }\n'})
    answers(url, "new package")
    write(project, {"handlers/deep/deep.go": 'package deep\n\nfunc Text() string { return "edited package" }\n'})
    answers(url, "edited package")
    shutil.move(project / "handlers" / "deep" / "deep.go", project / "handlers" / "deep" / "moved.go")
    (project / "handlers" / "deep" / "moved.go").write_text(
        'package deep\n\nfunc Text() string { return "renamed file" }\n'
    )
    answers(url, "renamed file")
    handlers.write_text(original)
    answers(url, "Hello from Gin")

    assert dev.stop() == 130
    assert not alive([str(project)])
    assert get(f"http://127.0.0.1:{port}") == ""


def test_plain_server_reloads_and_ctrl_c_leaves_nothing(project: Path, driver: Driver) -> None:
    server(project)
    dev = driver.start(project, "dev")
    url = dev.url()
    (project / "answer.go").write_text(answer("two"))
    answers(dev.url(), "two")
    assert url.startswith("http://localhost:")
    assert dev.stop() == 130
    assert not alive([str(project)])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_cleanly(project: Path, driver: Driver, how: signal.Signals) -> None:
    server(project)
    dev = driver.start(project, "dev")
    dev.url()
    assert dev.stop(how) == 128 + how
    assert not alive([str(project)])


def test_one_of_two_main_packages_is_chosen_and_without_a_choice_both_are_named(project: Path, driver: Driver) -> None:
    server(project)
    for name in ("main.go", "answer.go"):
        for command in ("api", "web"):
            write(project, {f"cmd/{command}/{name}": (project / name).read_text().replace("one", command)})
        (project / name).unlink()
    refused = driver.run(project, "dev")
    assert refused.returncode == 2
    assert refused.stderr.startswith("goreload: several main packages: ./cmd/api, ./cmd/web; choose one with `main`")
    assert refused.stderr.count("\n") == 1
    write(project, {"invoke.yaml": "goreload:\n  main: ./cmd/web\n"})
    answers(driver.start(project, "dev").url(), "web")


def test_two_services_run_together_and_a_save_reloads_only_its_own(project: Path, driver: Driver) -> None:
    server(project)
    for name in ("main.go", "answer.go"):
        for command in ("api", "web"):
            write(project, {f"cmd/{command}/{name}": (project / name).read_text().replace("one", command)})
        (project / name).unlink()
    write(project, {"invoke.yaml": "goreload: {services: {api: {main: ./cmd/api}, web: {main: ./cmd/web}}}\n"})
    dev = driver.start(project, "dev")
    urls = {}
    for _ in range(2):
        found = dev.line(r"(api|web) +\| .*(http://localhost:\d+)")
        urls[found[1]] = found[2]
    answers(urls["api"], "api")
    answers(urls["web"], "web")
    (project / "cmd" / "web" / "answer.go").write_text(answer("web two"))
    answers(dev.line(r"web +\| .*(http://localhost:\d+)")[1], "web two")
    answers(urls["api"], "api")
    assert "api" not in dev.text[dev.text.index("cmd/web/answer.go") :]


def test_tags_of_the_command_line_change_what_is_built(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "answer.go": "//go:build !fancy\n\n" + answer("plain"),
            "fancy.go": "//go:build fancy\n\n" + answer("fancy"),
        },
    )
    dev = driver.start(project, "dev", "--tags=fancy")
    answers(dev.url(), "fancy")
    (project / "fancy.go").write_text("//go:build fancy\n\n" + answer("fancier"))
    answers(dev.url(), "fancier")


@pytest.mark.parametrize("cgo", ["0", "1"])
def test_cgo_off_and_on(project: Path, driver: Driver, cgo: str) -> None:
    server(project)
    with_c = '// static int one() { return 1; }\nimport "C"\n\nimport "fmt"\n\n'
    write(
        project,
        {
            "without.go": '//go:build !cgo\n\npackage main\n\nfunc Answer() string { return "go" }\n',
            "answer.go": f'package main\n\n{with_c}func Answer() string {{ return fmt.Sprint("c", C.one()) }}\n',
        },
    )
    dev = driver.start(project, "dev", env={"CGO_ENABLED": cgo})
    answers(dev.url(), "c1" if cgo == "1" else "go")
    if cgo == "1":
        (project / "answer.go").write_text((project / "answer.go").read_text().replace("return 1", "return 2"))
        answers(dev.url(), "c2")


def test_touch_builds_nothing_and_a_comment_keeps_the_app(project: Path, driver: Driver) -> None:
    server(project)
    dev = driver.start(project, "dev")
    dev.url()
    app = alive([str(project), ".goreload"])
    os.utime(project / "main.go")
    (project / "other_test.go").write_text("package main\n")
    (project / "notes.txt").write_text("nothing")
    with (project / "answer.go").open("a") as file:
        file.write("// a word at the end\n")
    line = dev.line("->").string
    assert "answer.go ->" in line
    assert "same binary, kept" in line
    assert alive([str(project), ".goreload"]) == app


def test_env_file_restarts_without_a_build(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"answer.go": 'package main\n\nimport "os"\n\nfunc Answer() string { return os.Getenv("WORD") }\n'})
    write(project, {".env": "WORD=one\n"})
    dev = driver.start(project, "dev")
    answers(dev.url(), "one")
    (project / ".env").write_text("WORD='two words' # said\n")
    assert ".env -> restarted" in dev.line("->").string
    answers("http://" + dev.text.split("http://")[-1].split()[0], "two words")


def test_included_file_restarts_and_an_ignored_one_does_nothing(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "answer.go": 'package main\n\nimport "os"\n\nfunc Answer() string { b, _ := os.ReadFile("views/a.html"); '
            "return string(b) }\n",
            "views/a.html": "one",
            "invoke.yaml": "goreload: {watch: {include: ['views/**'], ignore: ['*.part.html']}}\n",
            ".gitignore": "views/gen/\n",
        },
    )
    dev = driver.start(project, "dev")
    answers(dev.url(), "one")
    write(project, {"views/gen/x.html": "no", "views/b.part.html": "no", "views/a.html~": "no"})
    (project / "views" / "a.html").write_text("two")
    assert "views/a.html -> restarted" in dev.line("->").string
    write(project, {"views/new/b.html": "yes"})
    assert "views/new/b.html -> restarted" in dev.line("->").string


def test_crash_is_told_with_its_last_lines_and_the_next_save_starts_it(project: Path, driver: Driver) -> None:
    server(project)
    good = (project / "main.go").read_text()
    (project / "main.go").write_text(good.replace('fmt.Println("serving', 'panic("no luck"); fmt.Println("serving'))
    dev = driver.start(project, "dev")
    dev.line(r"\| panic: no luck")
    dev.line(r"the app ended by itself: exit code 2; waits for a change")
    (project / "main.go").write_text(good)
    answers(dev.url(), "one")


def test_first_build_may_fail_and_a_broken_go_mod_may_be_mended(project: Path, driver: Driver) -> None:
    server(project)
    (project / "answer.go").write_text("package main\n\nfunc Answer() string { return 1 }\n")
    dev = driver.start(project, "dev")
    dev.line(r"^answer.go:3:31: cannot use 1")
    dev.line("start -> 1 error, .*; nothing runs")
    (project / "answer.go").write_text(answer("now"))
    answers(dev.url(), "now")
    good = (project / "go.mod").read_text()
    (project / "go.mod").write_text(good + "nonsense\n")
    dev.line("unknown directive: nonsense")
    (project / "go.mod").write_text(good)
    dev.line("kept")
    (project / "answer.go").write_text(answer("later"))
    answers(dev.url(), "later")


def test_second_dev_of_the_same_service_is_refused_with_the_pid_of_the_first(project: Path, driver: Driver) -> None:
    server(project)
    dev = driver.start(project, "dev")
    dev.url()
    second = driver.run(project, "dev")
    assert second.returncode == 2
    assert second.stderr.startswith(f"goreload: app is already being run by pid {dev.process.pid}")
    assert driver.run(project, "clean").returncode == 2
    assert dev.stop() == 130
    assert driver.run(project, "clean").returncode == 0
    assert not (project / ".goreload").exists()


def test_app_that_ignores_its_signal_shows_its_goroutines_and_is_gone(project: Path, driver: Driver) -> None:
    server(project)
    stubborn = (project / "main.go").read_text()
    stubborn = stubborn.replace('"os"\n', '"os"\n\t"os/signal"\n\t"syscall"\n')
    stubborn = stubborn.replace("func main() {", "func main() {\n\tsignal.Ignore(syscall.SIGTERM)")
    write(project, {"main.go": stubborn, "invoke.yaml": "goreload: {stop: {grace: 100ms}}\n"})
    dev = driver.start(project, "dev")
    dev.url()
    (project / "answer.go").write_text(answer("two"))
    dev.line("goroutine 1")
    answers(dev.url(), "two")
    assert dev.stop() == 130
    assert not alive([str(project)])


def test_children_of_the_app_end_with_it(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"nap.sh": "#!/bin/sh\nsleep 98765\n"})
    (project / "nap.sh").chmod(0o755)
    parent = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    parent = parent.replace("func main() {", f'func main() {{\n\texec.Command("{project}/nap.sh").Start()')
    (project / "main.go").write_text(parent)
    dev = driver.start(project, "dev")
    dev.url()
    until(lambda: len(alive([f"{project}/nap.sh"])) == 1, "the child")
    assert dev.stop() == 130
    assert not alive([f"{project}/nap.sh"])


def test_output_is_passed_on_in_whole_lines_with_its_colours(project: Path, driver: Driver) -> None:
    server(project)
    noisy = (project / "main.go").read_text()
    noisy = noisy.replace(
        'fmt.Println("serving with", os.Args[1:])',
        'fmt.Println("\\x1b[32mgrün\\x1b[0m", os.Args[1:])\n'
        '\tfor i := 0; i < 20000; i++ { fmt.Println("line", i, "é") }\n'
        '\tfmt.Print("half a line")',
    )
    (project / "main.go").write_text(noisy)
    dev = driver.start(project, "dev", "--", "a b", "--c='d'")
    until(lambda: "half a line" in dev.text, "the line that does not end")
    assert "\x1b[32mgrün\x1b[0m [a b --c='d']\n" in dev.text
    theirs = [line for line in dev.text.splitlines(keepends=True) if "start ->" not in line]
    assert "".join(f"line {number} é\n" for number in range(20000)) in "".join(theirs)


def composed(folder: Path) -> None:
    write(
        folder,
        {
            "tasks.py": "from invoke import Collection, task\nimport goreload_tasks\n\n\n"
            "@task\ndef hello(c):\n    print('hello', c.config.goreload.main)\n\n\n"
            "ns = Collection(hello)\nns.configure({'goreload': {'main': './cmd/web'}, 'theirs': 1})\n"
            "ns.add_collection(goreload_tasks.ns, name='go')\n"
            "ns.add_collection(goreload_tasks.collection('api', main='./cmd/api', args=['from', 'api']))\n",
            "invoke.yaml": "goreload:\n  args: [from, yaml]\n",
        },
    )


def test_composed_into_a_larger_collection_with_settings_of_its_own(project: Path, driver: Driver) -> None:
    server(project)
    for name in ("main.go", "answer.go"):
        for command in ("api", "web"):
            write(project, {f"cmd/{command}/{name}": (project / name).read_text().replace("one", command)})
        (project / name).unlink()
    composed(project)
    assert driver.run(project, "hello").stdout == "hello ./cmd/web\n"
    dev = driver.start(project, "go.dev")
    answers(dev.url(), "web")
    assert "serving with [from yaml]" in dev.text
    assert dev.stop() == 130
    other = driver.start(project, "api.dev")
    answers(other.url(), "api")
    assert "serving with [from api]" in other.text
    built = driver.run(project, "go.build", "api.build")
    assert [line.split("/")[-1].split()[0] for line in built.stdout.splitlines()] == ["web", "api"]


AIR = (
    'root = "."\ntmp_dir = "tmp"\n\n[build]\nbin = "tmp/main.bin"\ncmd = "go build -o ./tmp/main.bin ."\ndelay = 1000\n'
)


@pytest.mark.parametrize("air", ["", AIR])
def test_goreload_serves_a_project_without_tasks(project: Path, driver: Driver, air: str) -> None:
    server(project, tasks=False)
    if air:
        write(project, {".air.toml": air + "kill_delay = 500\n"})
    dev = driver.start(project, "dev", program="goreload")
    if air:
        dev.line(r".air.toml: not honoured yet: build.kill_delay$")
    answers(dev.url(), "one")
    (project / "answer.go").write_text(answer("two"))
    answers(dev.url(), "two")
    assert dev.stop() == 130


def test_goreload_reads_the_projects_invoke_yaml(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    write(project, {"invoke.yaml": "goreload: {args: [x]}\n"})
    (project / "below").mkdir()
    dev = driver.start(project / "below", "dev", program="goreload")
    dev.line(r"serving with \[x\]")
    answers(dev.url() if "http" not in dev.text else "http://" + dev.text.split("http://")[1].split()[0], "one")


def test_watch_rebuilds_without_an_app(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"invoke.yaml": "goreload: {serve: {mode: proxy}}\n"})  # without a port: no matter here
    watch = driver.start(project, "watch")
    binary = watch.line(r"built .* -> (.*/app)$")[1]
    assert Path(binary).is_file()
    (project / "answer.go").write_text("package main\nfunc Answer() string { return }\n")
    watch.line("answer.go:2:24: not enough return values")
    (project / "answer.go").write_text(answer("two"))
    assert watch.line(r"answer.go -> built .* -> (.*/app)$")[1] != binary
    assert watch.stop() == 130


@pytest.mark.parametrize("form", ["run", "task"])
def test_watch_runs_a_command_or_a_task_on_each_change(project: Path, driver: Driver, form: str) -> None:
    server(project)
    write(
        project,
        {
            "tasks.py": "from invoke import Collection, task\nimport goreload_tasks\n\n\n@task\ndef show(c):\n"
            "    print('saw', open('data/a.txt').read())\n\n\nns = Collection(show, goreload_tasks.watch)\n",
            "data/a.txt": "one",
            ".gitignore": "quiet/\n",
        },
    )
    words = ["--run", "sh -c 'echo saw $(cat data/a.txt)'"] if form == "run" else ["--task", "show"]
    watch = driver.start(project, "watch", *words)
    watch.line("^saw one")
    watch.line("start -> done")
    write(project, {"quiet/x": "nothing"})
    (project / "data" / "a.txt").write_text("two")
    watch.line("^saw two")
    assert "data/a.txt -> done" in watch.line("->").string
    write(project, {"data/deep/b.txt": "new"})
    assert "data/deep/b.txt -> done" in watch.line("->").string
    assert watch.stop() == 130


REFUSED: list[tuple[list[str], str]] = [
    (["--task", "nosuch"], "--task nosuch: there is no such task"),
    (["--run", "a && b"], "that needs a shell"),
    (["--run", "nosuchcommand"], "there is no command nosuchcommand"),
    (["--run", "'x"], "close the quotes"),
    (["--run", "ls", "--task", "x"], "choose one of them"),
]


@pytest.mark.parametrize(("words", "complaint"), REFUSED)
def test_watch_refuses_what_it_cannot_run(project: Path, driver: Driver, words: list[str], complaint: str) -> None:
    server(project)
    refused = driver.run(project, "watch", *words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert complaint in refused.stderr


def test_main_package_that_is_no_longer_the_only_one_is_told_at_the_next_start(project: Path, driver: Driver) -> None:
    server(project)
    first = driver.start(project, "dev")
    first.url()
    assert first.stop() == 130
    second = driver.start(project, "dev")
    second.url()
    assert second.stop() == 130
    write(project, {"cmd/other/main.go": "package main\n\nfunc main() {}\n"})
    third = driver.start(project, "dev")
    third.line(r"goreload: several main packages: \., ./cmd/other; choose one")
    assert third.wait() == 2
    assert not alive([str(project)])


def test_kill_9_of_the_tool_leaves_no_app_no_build_and_no_port(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {"nap.sh": "#!/bin/sh\ntrap '' TERM\nsleep 98765\nsleep 98765\n"})
    (project / "nap.sh").chmod(0o755)
    parent = (project / "main.go").read_text().replace('"os"\n', '"os"\n\t"os/exec"\n')
    parent = parent.replace("func main() {", f'func main() {{\n\texec.Command("{project}/nap.sh").Start()')
    (project / "main.go").write_text(parent)
    dev = driver.start(project, "dev")
    url = dev.url()
    until(lambda: len(alive([f"{project}/nap.sh"])) == 1, "the child that ignores TERM")
    (project / "answer.go").write_text(answer("two"))
    until(lambda: bool(alive([str(project), "go", "build", "-o"])), "the build")
    dev.process.kill()
    dev.process.wait()
    until(lambda: not alive([str(project)]), "the end of all of it")
    assert get(url) == ""
    again = driver.start(project, "dev")
    answers(again.url(), "two")
    assert again.stop() == 130
    assert not alive([str(project)])


def removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_goreload_folder_that_is_removed_comes_back_with_the_next_build(project: Path, driver: Driver) -> None:
    server(project)
    dev = driver.start(project, "dev")
    dev.url()
    until(lambda: removed(project / ".goreload"), "the folder is gone")  # it may be writing there at this moment
    (project / "answer.go").write_text(answer("two"))
    answers(dev.url(), "two")
    assert (project / ".goreload" / ".gitignore").exists()
    assert dev.stop() == 130
