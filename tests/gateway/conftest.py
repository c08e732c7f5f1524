"""An app with and without the proxy before it, and a real browser for the tests that need one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.driver import DEADLINE
from tests.gateway.hosting import App, Hosted, build
from tests.gateway.site import Site

CHROMIUM = shutil.which("chromium")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH")

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS.split(),
            ignore_default_args=["--disable-back-forward-cache"],  # people have it
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Tabs of one person. Shadow roots are opened for the test to look into."""
    made = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    made.set_default_timeout(DEADLINE * 1000)
    expect.set_options(timeout=DEADLINE * 1000)
    made.add_init_script(
        "const attach = Element.prototype.attachShadow;"
        "Element.prototype.attachShadow = function (options) {"
        "  this.asked = options.mode; return attach.call(this, { ...options, mode: 'open' }); };"
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def app(binary: Path) -> Iterator[App]:
    """An app for all tests that do not kill it."""
    with App(binary) as made:
        yield made


@pytest.fixture(scope="module")
def hosted(app: App) -> Iterator[Hosted]:
    """A proxy that is open to that app."""
    with Hosted(app.open) as made:
        yield made


MAIN = """package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

type user struct {
	Name string `json:"name"`
}

func main() {
	router := gin.Default()
	router.GET("/users/:id", func(c *gin.Context) {
		var u user
		if err := load(c.Param("id"), &u); err != nil && !found(err) {
			c.AbortWithError(http.StatusNotFound, err)
			return
		}
		c.JSON(http.StatusOK, u.Nmae)
	})
	router.Run()
}
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "main.go").write_text(MAIN)
    return str(tmp_path)


@pytest.fixture
def site(root: str) -> Iterator[Site]:
    with Site(root) as made:
        made.open(1)
        yield made
