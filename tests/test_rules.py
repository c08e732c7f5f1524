"""Rules: a command goes first, once, and what follows it follows once. With real commands and builds."""

from __future__ import annotations

from pathlib import Path

from tests.driver import Driver, free_port, get, server, status, until, write
from tests.test_inputs_of_dev import Counted

EMBEDS = (
    'package main\n\nimport _ "embed"\n\n//go:embed in.txt\nvar text string\n\nfunc Answer() string { return text }\n'
)


def test_rules_run_a_command_or_a_task_first_and_then_what_they_say(project: Path, driver: Driver) -> None:
    server(project, tasks=False)
    write(
        project,
        {
            "gen.sh": "sed 's/.*/package main\\n\\nconst word = \"&\"/' word.tmpl > word_gen.go\n",
            "word.tmpl": "one\n",
            "word_gen.go": 'package main\n\nconst word = "one"\n',
            "answer.go": "package main\n\nfunc Answer() string { return word }\n",
            "schema.sql": "x",
            "style.css": "x",
            "notes.txt": "x",
            "tasks.py": "from invoke import Collection, task\nimport goreload_tasks\n\n\n@task\ndef migrate(c):\n"
            "    print('migrated', open('schema.sql').read())\n\n\nns = Collection(migrate, goreload_tasks.dev)\n",
            "invoke.yaml": "goreload:\n  rules:\n"
            "    - {name: gen, files: ['*.tmpl'], run: sh gen.sh, then: nothing}\n"
            "    - {name: sql, files: [/schema.sql], task: migrate, then: restart}\n"
            "    - {files: ['*.css'], then: refresh}\n    - {files: [notes.txt], then: nothing}\n",
        },
    )
    dev = Counted(project, driver)
    until(lambda: get(dev.url) == "one", "one")
    write(project, {"notes.txt": "y"})
    write(project, {"word.tmpl": "two\n"})
    dev.dev.line(r"word.tmpl -> rule gen \d+ ms")
    url = dev.dev.url()
    until(lambda: get(url) == "two", "two")
    assert "word_gen.go ->" in dev.dev.text
    before = dev.builds
    write(project, {"style.css": "y"})
    dev.dev.line("style.css -> refresh")
    write(project, {"schema.sql": "two tables"})
    dev.dev.line(r"schema.sql -> rule sql \d+ ms")
    dev.dev.line("schema.sql -> restarted")
    assert dev.builds == before
    write(project, {"gen.sh": "echo no luck; exit 4\n"})
    write(project, {"word.tmpl": "three\n"})
    dev.dev.line("^no luck")
    dev.dev.line("word.tmpl -> rule gen: exit code 4")
    assert "notes.txt" not in dev.dev.text


def test_rule_that_writes_its_own_input_for_ever_is_named_and_stopped(project: Path, driver: Driver) -> None:
    server(project)
    write(
        project,
        {
            "invoke.yaml": "goreload:\n  rules: [{name: stamp, files: ['*.sql'], run: sh stamp.sh, then: nothing}]\n",
            "stamp.sh": "echo x >> a.sql; exec sleep 0.3\n",
            "a.sql": "",
        },
    )
    dev = Counted(project, driver)
    write(project, {"a.sql": "begin\n"})
    dev.dev.line("rule stamp writes a.sql, which calls for rule stamp: it is not run again for that")
    dev.dev.line("a.sql -> rule stamp")
    dev.mark()
    stopped = len((project / "a.sql").read_text())
    dev.mark()
    assert len((project / "a.sql").read_text()) == stopped


def test_embedded_file_is_built_though_the_command_before_that_is_run_anew_for_another(
    project: Path, driver: Driver
) -> None:
    server(project)
    rule = "{name: slow, files: ['*.txt'], run: sh slow.sh, then: nothing}"
    slow = "echo run >> ../runs\n[ -e ../fast ] || exec sleep 60\n"
    write(project, {"slow.sh": slow, "answer.go": EMBEDS, "in.txt": "one", "out.txt": "x"})
    write(project, {"invoke.yaml": f"goreload: {{rules: [{rule}]}}\n"})
    port = free_port()
    dev = Counted(project, driver, port)
    assert status(port) == (200, "one")
    runs = project.parent / "runs"
    write(project, {"in.txt": "two"})
    until(lambda: runs.exists() and runs.read_text() == "run\n", "the first run")
    write(project, {"../fast": ""})
    write(project, {"out.txt": "y"})
    assert status(port) == (200, "two")
    dev.dev.line(r"in.txt \+1 -> rule slow \d+ ms")
    assert runs.read_text() == "run\nrun\n"


def test_files_in_the_build_and_beside_it_call_for_one_run_of_their_command_and_for_all_that_follows(
    project: Path, driver: Driver
) -> None:
    server(project)
    reads = """package main

import "os"

var text, _ = os.ReadFile("page.tmpl")

func Answer() string { return string(text) }
"""
    rule = "{name: gen, files: ['*.go', '*.tmpl'], run: sh gen.sh, then: restart}"
    write(project, {"answer.go": reads, "page.tmpl": "one", "gen.sh": "echo run >> ../runs\nexec sleep 0.3\n"})
    write(project, {"invoke.yaml": f"goreload: {{rules: [{rule}]}}\n"})
    port = free_port()
    dev = Counted(project, driver, port)
    assert status(port) == (200, "one")
    before = dev.builds
    write(project, {"page.tmpl": "two", "answer.go": reads + "// the binary is the same\n"})
    assert status(port) == (200, "two")
    dev.dev.line(r"-> rule gen \d+ ms")
    assert status(port) == (200, "two")
    assert dev.builds - before <= 1, "none where it is done directly"
