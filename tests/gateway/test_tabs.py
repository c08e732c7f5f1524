"""Tabs of a real browser: all follow, over one stream. Waits are for a condition, with a deadline."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, expect

from tests.driver import until
from tests.gateway.conftest import needs_chromium
from tests.gateway.pages import FAILED, mark, marked, overlay, shows, visit
from tests.gateway.site import Site

pytestmark = needs_chromium


def test_eight_tabs_share_one_stream(context: BrowserContext, site: Site) -> None:
    site.files["/plain"] = "plain"
    pages = [visit(context, site) for _ in range(8)]
    fetch = "fetch('/plain', { cache: 'no-store' }).then((answer) => answer.text())"
    for launch in (2, 3):
        assert [page.evaluate(fetch) for page in pages] == ["plain"] * 8
        site.open(launch)
        for page in pages:
            shows(page, f"launch {launch}")
    until(lambda: site.streams == 1, "one stream")
    pages[0].close()
    site.show(FAILED)
    for page in pages[1:]:
        expect(overlay(page).locator(".here").first).to_contain_text("Nmae")


def test_the_next_tab_takes_over(context: BrowserContext, site: Site) -> None:
    pages = [visit(context, site) for _ in range(3)]
    for launch in (2, 3):
        pages.pop(0).close()
        site.open(launch)
        for page in pages:
            shows(page, f"launch {launch}")


def test_a_tab_follows_while_the_one_that_leads_stands_still(context: BrowserContext, site: Site) -> None:
    leader = visit(context, site)
    until(lambda: site.streams == 1, "it leads")
    leader.evaluate("setInterval(() => 0, 20)")
    debugger, paused = context.new_cdp_session(leader), list[object]()
    debugger.on("Debugger.paused", lambda event: paused.append(event))  # noqa: PLW0108 - it must take attributes
    debugger.send("Debugger.enable")
    debugger.send("Debugger.pause")
    other = visit(context, site)
    site.open(2)
    shows(other, "launch 2")
    assert paused
    debugger.send("Debugger.resume")
    debugger.send("Debugger.disable")
    shows(leader, "launch 2")
    until(lambda: site.streams == 1, "one leads for both")


def test_a_tab_follows_where_there_are_no_locks(context: BrowserContext, site: Site) -> None:
    context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })")
    pages = [visit(context, site) for _ in range(3)]
    site.open(2)
    for page in pages:
        shows(page, "launch 2")


def test_the_tool_started_again_reloads_the_page(context: BrowserContext, root: str) -> None:
    with Site(root) as first:
        first.open(1)
        pages = [visit(context, first) for _ in range(2)]
        for page in pages:
            mark(page)
    with Site(root, first.port) as second:
        second.template = "again"
        second.open(1)
        for page in pages:
            expect(page.locator("#template")).to_have_text("again")
            assert not marked(page)


def test_the_page_behind_the_back_button_is_new_too(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    page.evaluate("addEventListener('pageshow', (event) => (document.title = `persisted ${event.persisted}`))")
    page.locator("a").click()
    page.wait_for_url("**/else")
    page.go_back(wait_until="commit")
    expect(page).to_have_title("persisted true")  # our lock and stream do not keep a page from the cache
    page.go_forward(wait_until="commit")
    site.open(2)
    shows(page, "launch 2")
    page.go_back(wait_until="commit")
    shows(page, "launch 2")
