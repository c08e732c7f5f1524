"""What tests do with a page in a real browser."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Locator, Page, expect

from goreload_tasks.build.diagnostics import Problem
from goreload_tasks.gateway.gate import Failed
from tests.gateway.site import Site

FAILED = Failed(
    (
        Problem("main.go", 21, 27, "u.Nmae undefined (type user has no field or method Nmae)"),
        Problem(
            "main.go",
            17,
            13,
            "not enough arguments in call to load\n\thave (string, *user)\n\twant (context.Context, string, *user)",
        ),
        Problem(
            "internal/map.go", 3, 1, "cannot use generic type Map[K comparable, V any] without <instantiation> & so on"
        ),
    )
)


def visit(context: BrowserContext, site: Site, path: str = "/") -> Page:
    page = context.new_page()
    page.goto(site.url + path)
    return page


def shows(page: Page, text: str) -> None:
    """Wait until the page's heading says this."""
    expect(page.locator("h1").first).to_have_text(text)


def overlay(page: Page) -> Locator:
    return page.locator("goreload-overlay main")


def tell_again(context: BrowserContext, site: Site, page: Page) -> None:
    """Have all tabs told what is so, which they know; done when a page has heard it."""
    page.evaluate("{ window.heard = 0; new BroadcastChannel('goreload').onmessage = () => (window.heard += 1) }")
    visit(context, site)  # it says hello, and the tab with the stream answers all
    page.wait_for_function("window.heard >= 2")


def mark(page: Page) -> None:
    """Leave something on the page that a reload loses."""
    page.evaluate("document.body.marked = true")


def marked(page: Page) -> bool:
    return page.evaluate("document.body.marked === true") is True
