"""Go programs to measure with: the starters, with as many packages of one's own as wanted, and what lies beside."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from goreload_tasks.adopt.scaffold import render
from tests.bench.lab import Framework
from tests.driver import write
from tests.hammer import Saves

ROUTER = {"gin": ("router *gin.Engine", '"github.com/gin-gonic/gin"'), "nethttp": ("mux *http.ServeMux", '"net/http"')}
ROUTE = {
    "gin": 'router.GET("{path}", func(c *gin.Context) {{ c.String(200, fmt.Sprint({value})) }})',
    "nethttp": 'mux.HandleFunc("{path}", func(w http.ResponseWriter, _ *http.Request) {{ fmt.Fprint(w, {value}) }})',
}

VERSION = 'package main\n\nimport "example.com/starter/handlers"\n\nfunc init() { handlers.Main = {number} }\n'

HANDLERS = """// Package handlers answers with the newest version that any part of the program is of.
package handlers

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	{framework}

	"example.com/starter/internal/p0"
	leaf "example.com/starter/internal/p{leaf}"
)

// Main is the version of package main.
var Main int

// Register puts the routes on a router.
func Register({router}) {{
	text, _ := os.ReadFile("pages/page.html")
	page, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	p0.Register({name})
	{front}
}}
"""

PACKAGE = """// Package p{number} is one of many.
package p{number}

import (
	"fmt"
	"sort"
	"strings"

	{framework}
{imports})

const version = {{number}}

// Version is not inlined, as no body of any size is.
//
//go:noinline
func Version() int {{ return version }}

// Item is what the package is about.
type Item struct {{
	ID    int
	Name  string
	Tags  []string
	Price float64
}}

// Items sorts by name.
type Items []Item

// Find gives those with a tag.
func (items Items) Find(tag string) (found Items) {{
	for _, item := range items {{
		for _, own := range item.Tags {{
			if strings.EqualFold(own, tag) {{
				found = append(found, item)
				break
			}}
		}}
	}}
	sort.Slice(found, func(i, j int) bool {{ return found[i].Name < found[j].Name }})
	return found
}}

// Total adds the prices up.
func (items Items) Total() (sum float64) {{
	for _, item := range items {{
		sum += item.Price
	}}
	return sum
}}

// Describe is for people.
func (items Items) Describe() string {{
	parts := make([]string, 0, len(items))
	for _, item := range items {{
		tags := strings.Join(item.Tags, ", ")
		parts = append(parts, fmt.Sprintf("%d: %s (%s), %.2f", item.ID, item.Name, tags, item.Price))
	}}
	return strings.Join(parts, "; ")
}}

// Register puts the routes of the package, and of those below it, on a router.
func Register({router}) {{
	items := Items{{{{{number}, "item", []string{{"a", "b"}}, 1.5}}}}
	{route}
{below}}}
"""

Kind = Literal["main", "leaf", "template"]
"""Where a save goes: the main package, a package that imports none of one's own (with a chain of importers, the
logarithm of their number long), or a file that the program reads when it starts."""


@dataclass(frozen=True, slots=True)
class App:
    """A program in its folder, and where it is edited. Asked for `/`, it answers the number of its newest save."""

    folder: Path
    framework: Framework
    packages: int

    def path(self, kind: Kind) -> Path:
        """The file that a save of this kind goes to."""
        leaf = f"internal/p{self.packages - 3}/p.go"
        return self.folder / {"main": "version.go", "leaf": leaf, "template": "pages/page.html"}[kind]

    def save(self, saves: Saves, kind: Kind) -> int:
        """The next save; when it began, in nanoseconds."""
        text = {"main": VERSION, "leaf": _package(self.framework, self.packages - 3, self.packages - 2)}
        return saves.save(self.path(kind), text.get(kind, "{number}\n"), 0)

    @property
    def binary(self) -> Path:
        """Where tools that are told put the binary: beside the project, where no watcher of it looks."""
        return self.folder.parent / "bin" / self.folder.name


def make(folder: Path, framework: Framework, packages: int) -> App:
    """Write one: the starter, with `main`, `handlers` and a tree of others, together so many packages (3 at least)."""
    render(framework, folder)
    main = folder / "main.go"
    # Without the line that gin.Default() logs for each request: this is about reloads, not about a terminal.
    main.write_text(main.read_text().replace("gin.Default()", "gin.New()"))
    count = packages - 2
    router, imported = ROUTER[framework]
    front = ROUTE[framework].format(
        path="/" if framework == "gin" else "GET /{$}", value="max(Main, leaf.Version(), page)"
    )
    handlers = HANDLERS.format(framework=imported, router=router, name=router.split()[0], leaf=count - 1, front=front)
    if count == 1:  # both are the same
        handlers = handlers.replace('	leaf "example.com/starter/internal/p0"\n', "").replace(
            "leaf.Version", "p0.Version"
        )
    files = {
        "handlers/handlers.go": handlers,
        "version.go": VERSION.replace("{number}", "0"),
        "pages/page.html": "0\n",
        **{f"internal/p{at}/p.go": _package(framework, at, count).replace("{number}", "0") for at in range(count)},
    }
    write(folder, files)
    app = App(folder, framework, packages)
    app.binary.parent.mkdir(exist_ok=True)
    return app


def _package(framework: Framework, number: int, count: int) -> str:
    """The source of one; its version is left open."""
    below = [child for child in (2 * number + 1, 2 * number + 2) if child < count]
    router, imported = ROUTER[framework]
    name = router.split()[0]
    imports = "".join(f'	"example.com/starter/internal/p{child}"\n' for child in below)
    return PACKAGE.format(
        number=number,
        framework=imported,
        imports=f"\n{imports}" if imports else "",
        router=router,
        route=ROUTE[framework].format(path=f"/p{number}", value='items.Find("a").Describe(), items.Total(), Version()'),
        below="".join(f"	p{child}.Register({name})\n" for child in below),
    )


def litter(folder: Path, files: int, name: str = "node_modules") -> None:
    """So many small files, ten to a folder, that git ignores and no build reads."""
    with (folder / ".gitignore").open("a") as file:
        file.write(f"/{name}/\n")
    for number in range(0, files, 10):
        deep = folder / name / f"module{number // 500}" / f"lib{number}"
        deep.mkdir(parents=True)
        for at in range(number, min(number + 10, files)):
            (deep / f"{at}.js").write_text("module.exports = {}\n")


def repository(folder: Path) -> None:
    """Put it under git, with nothing committed yet."""
    subprocess.run(["git", "init", "-q", os.fspath(folder)], check=True)
