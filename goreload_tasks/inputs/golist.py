"""PURE. Which files a build reads, as the go command names them.

The fields that are asked for, what is dropped and what must be added by hand are measured facts about `go list`; the
command is cmd/go's "List packages or modules".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goreload_tasks.build.command import value
from goreload_tasks.inputs import modules

_FILES = (
    "GoFiles",
    "CgoFiles",
    "CFiles",
    "CXXFiles",
    "MFiles",
    "HFiles",
    "FFiles",
    "SFiles",
    "SwigFiles",
    "SwigCXXFiles",
    "SysoFiles",
    "EmbedFiles",
)
_LEFT_OUT = ("IgnoredGoFiles", "IgnoredOtherFiles", "InvalidGoFiles")
_TESTS = ("TestGoFiles", "XTestGoFiles")
CONSTRAINED = tuple(name for name in (*_FILES, *_LEFT_OUT, *_TESTS) if name not in ("EmbedFiles", "SysoFiles"))
"""Fields with files that may say of themselves when they are in the build."""
_OTHER = ("Dir", "ImportPath", "Name", "Standard", "DepOnly", "Module", "EmbedPatterns", "Imports", "Error")

SOURCE_ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("go", "c", "cc", "cpp", "cxx", "m", "h", "hh", "hpp", "hxx"),
        *("f", "F", "for", "f90", "s", "S", "sx", "swig", "swigcxx", "syso"),
    )
)
"""Endings that cmd/go looks at in a package folder (go/build, goodOSArchFile and matchFile)."""


_NAMES = """
aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris wasip1 windows zos
386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 ppc64le
riscv riscv64 s390 s390x sparc sparc64 wasm
"""
_SYSTEMS = frozenset(_NAMES.split())
"""Suffixes that bind a file to a system or architecture (internal/syslist of Go)."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of one's own: of the main module, a workspace member or a replaced folder."""

    path: str
    name: str
    folder: str
    files: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    tests: frozenset[str] = frozenset()
    embeds: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing said.

    extra: files that decide the build and that `go list` never names; they need not exist.
    wanted: folders in which a package that is missing now could appear.
    fixed: the folders of Go itself and of downloaded modules, in which nobody edits.
    cflags: what cgo hands to the C compiler for every package.
    goflags: GOFLAGS, of the environment or as `go env -w` set it; None: not known yet.
    failed: the go command said nothing but this.
    """

    packages: Mapping[str, Package] = field(default_factory=dict)
    extra: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()
    fixed: tuple[str, str] = ("", "")
    cflags: str = ""
    goflags: str | None = None
    failed: str = ""

    @property
    def clean(self) -> bool:
        return not self.error

    @property
    def error(self) -> str:
        """The first thing that the go command found wrong."""
        return self.failed or next((package.error for package in self.packages.values() if package.error), "")


_CFLAGS = ("CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS")
KNOWN = ("GOMOD", "GOWORK", "GOENV", "GOFLAGS", "GOROOT", "GOMODCACHE", *_CFLAGS)
"""What `go env` is asked for beside each listing."""


def command(go: str, flags: Sequence[str], mains: Sequence[str]) -> list[str]:
    """The argv of a listing."""
    return [go, "list", "-e", "-deps", f"-json={','.join((*_OTHER, *_FILES, *_LEFT_OUT, *_TESTS))}", *flags, *mains]


def parse(code: int, out: bytes, err: bytes, known: Mapping[str, str], flags: Sequence[str], cwd: str) -> Listing:
    """Read what the command printed.

    Args:
        known: `go env` of KNOWN.
        flags: the build's flags, for the files that they name.
    """
    gomod = "" if known.get("GOMOD") == os.devnull else known.get("GOMOD", "")
    gowork = "" if known.get("GOWORK") == "off" else known.get("GOWORK", "")
    fixed = (known.get("GOROOT", ""), known.get("GOMODCACHE", ""))
    own = modules.own(gomod, gowork, _named("modfile", flags, cwd))
    mains = modules.mains(gomod, gowork)
    nearer = modules.decide(cwd, gomod, gowork, known.get("GOWORK") != "off")
    if code and not out.strip():
        extra = nearer | _extra(known, flags, cwd, mains, own)
        return Listing(extra=extra, fixed=fixed, goflags=known.get("GOFLAGS"), failed=os.fsdecode(err).strip())
    packages: dict[str, Package] = {}
    homes: dict[str, str] = {}
    missing: list[str] = []
    for item in objects(os.fsdecode(out)):
        path = item["ImportPath"].split(" ")[0]  # with default.pgo: `m/p [m/cmd/x]`
        folder = item.get("Dir", "")
        if item.get("Standard") or (folder and below(folder, known.get("GOMODCACHE", ""))):
            continue
        module = item.get("Module") or {}
        if module.get("Dir") and not below(module["Dir"], known.get("GOMODCACHE", "")):
            homes[module["Path"]] = module["Dir"]
        if not folder:
            missing.append(path)
        packages[path] = _package(path, folder, item)
    for folder, path in own.items():
        homes.setdefault(path, folder)
    if gomod:
        homes.setdefault(_module_path(packages, gomod), os.path.dirname(gomod))
    wanted = frozenset(found for path in missing if (found := _wanted(path, homes)))
    extra = nearer | _extra(known, flags, cwd, mains, {*homes.values(), *own}) | _profiles(packages, flags)
    cflags = " ".join(known.get(name, "") for name in _CFLAGS)
    return Listing(packages, extra, wanted, fixed, cflags, known.get("GOFLAGS"))


def objects(text: str) -> Iterable[dict[str, Any]]:
    """The JSON objects that `go list` prints one after another."""
    decoder = json.JSONDecoder()
    at = 0
    while (at := _next(text, at)) < len(text):
        item, at = decoder.raw_decode(text, at)
        yield item


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _package(path: str, folder: str, item: Mapping[str, Any]) -> Package:
    def named(fields: Iterable[str]) -> frozenset[str]:
        return frozenset(os.path.join(folder, name) for field in fields for name in item.get(field) or ())

    error = item.get("Error") or {}
    return Package(
        path,
        item.get("Name", ""),
        folder,
        named(_FILES),
        named(_LEFT_OUT),
        named(_TESTS),
        tuple(item.get("EmbedPatterns") or ()),
        tuple(item.get("Imports") or ()),
        ": ".join(filter(None, (str(error.get("Pos", "")), str(error.get("Err", ""))))),
    )


def _module_path(packages: Mapping[str, Package], gomod: str) -> str:
    """The main module's path, by a package of it when the listing said nothing of the module."""
    home = os.path.dirname(gomod)
    for package in packages.values():
        if package.folder and below(package.folder, home):
            rest = os.path.relpath(package.folder, home).replace(os.sep, "/")
            return package.path if rest == "." else package.path.removesuffix("/" + rest)
    return ""


def _wanted(path: str, modules: Mapping[str, str]) -> str | None:
    """The folder of a missing package: import path minus module path."""
    for module in sorted(modules, key=len, reverse=True):
        if module and (path == module or path.startswith(module + "/")):
            return os.path.join(modules[module], *path[len(module) :].strip("/").split("/"))
    return None


def _extra(
    known: Mapping[str, str], flags: Sequence[str], cwd: str, mains: Iterable[str], modules: Iterable[str]
) -> frozenset[str]:
    """Of a replaced module only go.mod counts; sums and vendored modules are the main modules' (cmd/go, modload)."""
    extra = {os.path.join(home, "go.mod") for home in (*modules, *mains)}
    extra |= {os.path.join(home, name) for home in mains for name in ("go.sum", os.path.join("vendor", "modules.txt"))}
    if known.get("GOWORK") not in (None, "", "off"):
        vendored = os.path.join(os.path.dirname(known["GOWORK"]), "vendor", "modules.txt")
        extra |= {known["GOWORK"], f"{known['GOWORK']}.sum", vendored}
    if known.get("GOENV") not in (None, "", "off"):
        extra.add(known["GOENV"])
    if modfile := _named("modfile", flags, cwd):
        extra |= {modfile, modfile.removesuffix(".mod") + ".sum"}
    if overlay := _named("overlay", flags, cwd):
        extra |= {overlay, *(os.path.join(cwd, target) for target in replaced(overlay).values() if target)}
    if pgo := _named("pgo", flags, cwd):
        extra.add(pgo)
    return frozenset(extra)


def _named(name: str, flags: Sequence[str], cwd: str) -> str:
    """The file that a flag names; empty: none."""
    said = value(flags, name)
    return "" if said in ("", "auto", "off") else os.path.normpath(os.path.join(cwd, said))


def replaced(overlay: str) -> Mapping[str, str]:
    """What an overlay puts in place of which files; nothing when there is none, or it cannot be read."""
    try:
        with open(overlay, "rb") as file:
            return dict(json.load(file).get("Replace", {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _profiles(packages: Mapping[str, Package], flags: Sequence[str]) -> frozenset[str]:
    if value(flags, "pgo") not in ("", "auto"):
        return frozenset()
    return frozenset(os.path.join(one.folder, "default.pgo") for one in packages.values() if one.name == "main")


def below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip(os.sep) + os.sep))


def may_be_source(name: str) -> bool:
    """Could a new file of this name be in a build? Constraints are the go command's to judge."""
    if name.startswith(("_", ".")) or name.endswith("_test.go"):
        return False
    return os.path.splitext(name)[1] in SOURCE_ENDINGS


def may_be_test(name: str) -> bool:
    """Could a file of this name be a test? Its header is read by every build, which fails when it cannot be."""
    return name.endswith("_test.go") and not name.startswith(("_", "."))


def for_a_system(name: str) -> bool:
    """Does the name bind the file to a system or architecture, this one or another (go/build, goodOSArchFile)?"""
    stem = name.split(".", 1)[0].removesuffix("_test")
    return "_" in stem and stem.rpartition("_")[2] in _SYSTEMS
