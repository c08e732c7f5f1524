"""Names that are no text, and links."""

from __future__ import annotations

from pathlib import Path

from tests.driver import Driver, answer, get, server, until, write
from tests.faults import NOT_UTF8, answers, reading, says, started


def test_names_that_are_not_utf8_beside_the_sources(project: Path, driver: Driver) -> None:
    server(project)
    write(project, {f"static/{NOT_UTF8}.txt": "x", f"{NOT_UTF8}/{NOT_UTF8}.go": "package x\n"})
    _, url = started(driver, project)
    answers(url, "one")
    (project / f"{NOT_UTF8}.txt").write_text("x")
    (project / f"static/{NOT_UTF8}.txt").write_text("y")
    (project / "answer.go").write_text(answer("two"))
    answers(url, "two")


def test_source_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    server(project)
    dev, url = started(driver, project)
    answers(url, "one")
    (project / "answer.go").rename(project / f"{NOT_UTF8}.go")
    dev.line("-> built .* -> same binary, kept")
    (project / f"{NOT_UTF8}.go").write_text(answer("two"))
    answers(url, "two")
    (project / f"{NOT_UTF8}.go").rename(project / "answer.go")
    answers(url, "two")
    (project / "answer.go").write_text(answer("three"))
    answers(url, "three")


def test_project_in_a_folder_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    folder = project / NOT_UTF8
    reading(folder, deep="one")
    _, url = started(driver, folder)
    answers(url, "one")
    (folder / "deep" / "deep.go").write_text(says("deep", "two"))
    answers(url, "two")
    write(folder, {"deep/more.go": 'package deep\n\nfunc init() { panic("new file") }\n'})
    until(lambda: get(url) == "", "the crash")


def test_embedded_file_whose_name_is_not_utf8(project: Path, driver: Driver) -> None:
    server(project)
    embedding = 'package main\n\nimport "embed"\n\n//go:embed static\nvar files embed.FS\n\n'
    embedding += 'func Answer() string { b, _ := files.ReadFile("static/a.txt"); return string(b) }\n'
    write(project, {"answer.go": embedding, "static/a.txt": "one"})
    dev, url = started(driver, project)
    answers(url, "one")
    (project / "static" / f"{NOT_UTF8}.txt").write_text("x")
    dev.line("->")
    (project / "static" / f"{NOT_UTF8}.txt").unlink()
    write(project, {"static/a.txt": "two"})
    answers(url, "two")


def test_source_that_is_a_link_and_what_it_leads_to(project: Path, driver: Driver) -> None:
    server(project)
    outside = project.parent / "outside"
    write(outside, {"one.go": answer("one"), "two.go": answer("two")})
    (project / "answer.go").unlink()
    (project / "answer.go").symlink_to(outside / "one.go")
    dev, url = started(driver, project)
    answers(url, "one")
    (outside / "one.go").write_text(answer("edited"))
    answers(url, "edited")
    (project / "next").symlink_to(outside / "two.go")
    (project / "next").rename(project / "answer.go")
    answers(url, "two")
    (outside / "two.go").write_text(answer("edited too"))
    answers(url, "edited too")
    (outside / "two.go").unlink()
    dev.line("the old program still runs")
    write(outside, {"two.go": answer("again")})
    answers(url, "again")


# What a build needs and does not find.
