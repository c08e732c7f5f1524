"""A wide program, and what a save in it costs: 150 packages, about 57,000 lines, and all import one."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from goreload_tasks.build.command import collector
from goreload_tasks.build.direct.direct import Mode
from goreload_tasks.build.toolchain import available_memory
from tests.build.direct.rig import Rig, put, small

PACKAGES = 150
PARTS = 17
"""Of each package; a part has 22 lines."""

MODELS = """package models

import "strings"
%(comment)s
// User is in every package.
type User struct {
	ID   int
	Name string
	Tags []string
}

// Label is inlined.
func (u *User) Label() string { return u.Name + "#" }

// Total is inlined.
func Total(prices []int) (sum int) {
	for _, price := range prices {
		sum += price
	}
	return sum
}

// Search is not.
func Search(users []User, text string) []User {
	found := make([]User, 0, %(number)d)
	for _, user := range users {
		if strings.Contains(strings.ToLower(user.Name), strings.ToLower(text)) {
			found = append(found, user)
		}
	}
	return found
}

// Map is generic.
func Map[T, U any](xs []T, f func(T) U) []U {
	out := make([]U, 0, len(xs))
	for _, x := range xs {
		out = append(out, f(x))
	}
	return out
}
"""

PART = """
// Item%(n)d is a part of it.
type Item%(n)d struct {
	models.User
	Prices map[string][]int
	Next   *Item%(n)d
}

// Handle%(n)d does what handlers do.
func (item *Item%(n)d) Handle%(n)d(users []models.User, name string) (string, error) {
	if item == nil || name == "" {
		return "", fmt.Errorf("item %%q of %(n)d: %%w", name, errors.ErrUnsupported)
	}
	total := models.Total(item.Prices[name])
	names := models.Map(models.Search(users, name), func(u models.User) string { return u.Label() })
	sort.Strings(names)
	for i, one := range names {
		item.Prices[one] = append(item.Prices[one], total+i)
	}
	return strings.Join(names, ", "), nil
}
"""

MAIN = """package main

import (
	"fmt"
	"net/http"
%(imports)s)

const version = %(number)d

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, version) })
%(uses)s	fmt.Println(http.ListenAndServe("127.0.0.1:0", nil))
}
"""


def wide(root: Path, mode: Mode) -> Rig:
    """Write it; about 57,000 lines."""
    names = [f"handlers{number}" for number in range(PACKAGES)]
    head = 'import (\n\t"errors"\n\t"fmt"\n\t"sort"\n\t"strings"\n\n\t"small.example/internal/models"\n)\n'
    files = {
        f"internal/{name}/{name}.go": f"package {name}\n\n{head}" + "".join(PART % {"n": n} for n in range(PARTS))
        for name in names
    }
    available = available_memory()
    env = collector(os.environ, available, os.cpu_count() or 1)
    return small(root, {**files, **edited(0)}, env=env, mode=mode)


def edited(number: int, what: str = "") -> dict[str, str]:
    """The files that a save changes."""
    names = [f"handlers{one}" for one in range(PACKAGES)]
    imports = "".join(f'\t"small.example/internal/{name}"\n' for name in names)
    uses = "".join(f'\t(&{name}.Item0{{}}).Handle0(nil, "")\n' for name in names)
    models = {
        "number": number if what == "body" else 0,
        "comment": "// A line more.\n" * number if what == "line" else "",
    }
    return {
        "internal/models/models.go": MODELS % models,
        "main.go": MAIN % {"imports": imports, "uses": uses, "number": number if what == "main" else 0},
    }


async def measure(root: Path, rounds: int) -> str:
    """Each save is built by us, then by the go command with the same flags: medians of milliseconds, and the ratio."""
    made = wide(root, "auto")
    lines = sum(path.read_text().count("\n") for path in made.cwd.rglob("*.go"))
    told = [f"{lines} lines in {PACKAGES + 2} packages"]
    await made.begin()
    for what in ("body", "line", "main"):
        ours, real, compiled = [], [], []
        for number in range(1, rounds + 1):
            put(made.cwd, edited(number, what))
            step = await made.step()
            if step.declined or not step.built:
                return f"{what}: declined: {step.declined}"
            assert step.equal or step.built.lags
            ours.append(step.result.seconds * 1000)
            real.append(step.real.seconds * 1000)
            compiled.append(len(step.built.compiled))
        ratio = statistics.median(one / other for one, other in zip(ours, real, strict=True))
        told.append(
            f"{what}: {statistics.median(ours):.0f} ms, go build {statistics.median(real):.0f} ms, ratio {ratio:.3f}, "
            f"compiled {compiled}"
        )
        put(made.cwd, edited(0))
        assert not (await made.real()).code
        await made.direct.prime()
    return "\n".join(told)
