"""What a person sees in a real browser. Waits are Playwright's: for a condition, with a deadline."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from goreload_tasks.app.panic import Frame, Panic
from goreload_tasks.build.diagnostics import Problem
from goreload_tasks.gateway.gate import Crashed, Failed, Held, State
from tests.conftest import CHECKOUT
from tests.gateway.conftest import needs_chromium
from tests.gateway.pages import FAILED, mark, marked, overlay, shows, tell_again, visit
from tests.gateway.site import Site

pytestmark = needs_chromium

SHOTS = CHECKOUT / ".shots"


@pytest.fixture
def crashed(root: str) -> Crashed:
    return Crashed(
        "exit code 2",
        (
            '\x1b[32m[GIN]\x1b[0m 200 |     1.2ms | 127.0.0.1 | GET      "/users/1"',
            "panic: runtime error: invalid memory address or nil pointer dereference",
            "goroutine 1 [running]: <main.main>",
        ),
        Panic(
            "panic: runtime error: invalid memory address or nil pointer dereference",
            (
                Frame("main.main.func1", f"{root}/main.go", 21, True),
                Frame("github.com/gin-gonic/gin.(*Context).Next", "/go/pkg/mod/gin@v1.11/context.go", 192, False),
                Frame("net/http.(*conn).serve", "/usr/local/go/src/net/http/server.go", 2102, False),
                Frame("main.main", f"{root}/main.go", 23, True),
            ),
        ),
    )


def test_a_new_launch_reloads_the_page_once(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    for launch in (2, 3):
        mark(page)
        site.show(Held("the build of main.go"))
        site.open(launch)
        shows(page, f"launch {launch}")
        assert not marked(page)
    expect(overlay(page)).to_have_count(0)
    assert site.hits["/"] == 3


def test_the_page_keeps_its_own_names(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    names = "Object.keys(window).concat(Object.getOwnPropertyNames(window)).sort().join()"
    page.goto(site.url + "/nothing")
    before = page.evaluate(names)
    page.goto(site.url)
    expect(page.locator("script")).to_have_count(1)
    page.evaluate("new Promise((done) => (document.readyState === 'complete' ? done() : (onload = done)))")
    assert page.evaluate("Object.getOwnPropertySymbols(window).some((each) => each.description === 'goreload')")
    assert page.evaluate(names) == before


@pytest.mark.parametrize("launch", [1, 2])
def test_what_does_not_compile_is_shown_until_it_is_mended(context: BrowserContext, site: Site, launch: int) -> None:
    page = visit(context, site)
    page.locator("textarea").fill("typed")
    mark(page)
    site.show(FAILED)
    expect(overlay(page).locator(".here").first).to_have_text("21\t\tc.JSON(http.StatusOK, u.Nmae)\n")
    expect(overlay(page).locator("mark").first).to_have_text("Nmae")
    expect(overlay(page).locator(".message").last).to_have_text(FAILED.problems[2].message)
    assert page.locator("goreload-overlay").evaluate("(host) => host.asked") == "closed"
    assert (overlay(page).locator("a").first.get_attribute("href") or "").endswith("/main.go:21:27")
    overlay(page).get_by_role("button", name="copy").first.click()
    expect(overlay(page).get_by_role("button", name="copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == "main.go:21"
    site.show(Held("the build of main.go"))
    expect(overlay(page).locator(".status")).to_have_text("Waiting for the build of main.go ...")
    site.open(launch)
    expect(overlay(page)).to_have_count(0)
    shows(page, f"launch {launch}")
    assert marked(page) == (launch == 1)
    if launch == 1:
        expect(page.locator("textarea")).to_have_value("typed")


def test_a_crash_is_shown(context: BrowserContext, site: Site, crashed: Crashed) -> None:
    page = visit(context, site)
    site.show(crashed)
    expect(overlay(page).locator(".message")).to_have_text(crashed.panic.message if crashed.panic else "")
    expect(overlay(page).locator(".own .function")).to_have_text(["main.main.func1", "main.main"])
    expect(overlay(page).locator(".here")).to_have_text("21\t\tc.JSON(http.StatusOK, u.Nmae)\n")
    expect(overlay(page).locator(".other .place").first).not_to_be_visible()
    overlay(page).locator("summary").click()
    expect(overlay(page).locator(".other .place").first).to_be_visible()
    expect(overlay(page).locator(".output")).to_contain_text("[GIN] 200")
    site.show(FAILED)
    expect(overlay(page).locator(".here").first).to_contain_text("Nmae")


def test_a_person_may_close_it(context: BrowserContext, site: Site) -> None:
    page, other = visit(context, site), visit(context, site)
    site.show(FAILED)
    for each in (page, other):
        expect(overlay(each)).to_be_visible()
    other.keyboard.press("Escape")
    expect(overlay(other)).to_have_count(0)
    page.close()  # what is so is told again when another tab takes the stream over, and it stays closed
    tell_again(context, site, other)
    expect(overlay(other)).to_have_count(0)
    site.show(Held("the build"))
    site.show(FAILED)
    expect(overlay(other)).to_be_visible()
    other.get_by_role("button", name="close").click()
    expect(overlay(other)).to_have_count(0)


def test_what_was_closed_stays_closed_when_it_is_told_again(
    context: BrowserContext, site: Site, crashed: Crashed
) -> None:
    _, other = visit(context, site), visit(context, site)
    site.show(crashed)
    overlay(other).locator("summary").click()  # the nodes are others now
    other.keyboard.press("Escape")
    expect(overlay(other)).to_have_count(0)
    tell_again(context, site, other)
    expect(overlay(other)).to_have_count(0)


def test_what_is_new_while_nothing_serves_is_taken_in_when_it_does(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    mark(page)
    site.show(FAILED)
    expect(overlay(page)).to_be_visible()
    site.files["/style.css"] = "h1 { color: rgb(9, 8, 7) }"
    site.refresh("style.css")
    site.open(1)
    expect(overlay(page)).to_have_count(0)  # it has a heading, too
    expect(page.locator("h1")).to_have_css("color", "rgb(9, 8, 7)")
    assert marked(page)
    site.show(FAILED)
    site.template = "two"
    site.refresh("index.html")
    expect(overlay(page)).to_be_visible()
    assert marked(page)
    site.open(1)
    expect(page.locator("#template")).to_have_text("two")


def test_a_style_sheet_that_cannot_be_had_reloads_the_page(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    mark(page)
    site.missing.add("/style.css")
    site.refresh("style.css")
    page.wait_for_function("!document.body.marked")
    expect(page.locator("link")).to_have_count(2)


def test_style_sheets_are_swapped_without_a_reload(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    expect(page.locator("h1")).to_have_css("color", "rgb(1, 2, 3)")
    mark(page)
    page.evaluate(
        "() => { window.flashed = false; const look = () => { window.flashed ||= "
        "getComputedStyle(document.querySelector('h1')).color === 'rgb(0, 0, 0)'; requestAnimationFrame(look); };"
        " look(); }"
    )
    for color in ("rgb(9, 8, 7)", "rgb(6, 5, 4)"):
        site.files["/style.css"] = f"h1 {{ color: {color} }}"
        site.refresh("static/style.css")
        expect(page.locator("h1")).to_have_css("color", color)
    assert marked(page)
    assert page.evaluate("window.flashed") is False
    expect(page.locator("link")).to_have_count(2)
    assert site.hits["/other.css"] == 1
    # What the browser had kept of it is gone too: the server let it keep that for an hour.
    site.open(2)
    shows(page, "launch 2")
    expect(page.locator("h1")).to_have_css("color", "rgb(6, 5, 4)")


def test_an_imported_style_sheet_is_new_too(context: BrowserContext, site: Site) -> None:
    site.files |= {"/style.css": '@import "/deep.css";', "/deep.css": "h1 { color: rgb(1, 1, 1) }"}
    page = visit(context, site)
    expect(page.locator("h1")).to_have_css("color", "rgb(1, 1, 1)")
    mark(page)
    site.files["/deep.css"] = "h1 { color: rgb(2, 2, 2) }"
    site.refresh("deep.css")
    expect(page.locator("h1")).to_have_css("color", "rgb(2, 2, 2)")
    assert marked(page)


def test_other_files_reload_the_page(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    expect(page.locator("#template")).to_have_text("one")
    site.template = "two"
    site.refresh("templates/index.html")
    expect(page.locator("#template")).to_have_text("two")


@pytest.mark.parametrize("path", ["/self", "/nonce", "/trusted"])
def test_strict_policies_are_kept(context: BrowserContext, site: Site, path: str) -> None:
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(f"{message.location['url']}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(site.url + path)
    complaints.clear()  # of the page itself
    site.show(FAILED)
    expect(overlay(page).locator(".here").first).to_contain_text("Nmae")
    assert overlay(page).locator(".here").first.evaluate("(line) => getComputedStyle(line).display") == "block"
    assert page.locator("goreload-overlay").evaluate("(host) => getComputedStyle(host).position") == "fixed"
    assert [each for each in complaints if "favicon" not in each] == []
    site.open(2)
    shows(page, "launch 2")


def test_a_page_that_allows_nothing_is_left_alone(context: BrowserContext, site: Site) -> None:
    page = visit(context, site, "/nothing")
    expect(page.locator("script")).to_have_count(0)
    assert site.hits["/.goreload/client.js"] == 0


@pytest.mark.parametrize("restoration", ["auto", "manual"])
def test_the_page_stays_where_it_was_scrolled_to(context: BrowserContext, site: Site, restoration: str) -> None:
    context.add_init_script(f"history.scrollRestoration = '{restoration}'")
    page = visit(context, site)
    page.evaluate("scrollTo(0, 1234)")
    site.open(2)
    shows(page, "launch 2")
    page.wait_for_function("scrollY === 1234")


def test_a_page_that_runs_the_script_again_has_one(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    page.evaluate(
        "new Promise((done) => { const old = document.querySelector('script');"
        " const next = document.createElement('script'); next.dataset.made = old.dataset.made; next.src = old.src;"
        " next.onload = done; old.replaceWith(next); })"
    )
    site.show(FAILED)
    expect(overlay(page)).to_be_visible()
    expect(page.locator("goreload-overlay")).to_have_count(1)
    site.open(1)
    expect(page.locator("goreload-overlay")).to_have_count(0)


def test_a_frame_leaves_the_overlay_to_the_page_around_it(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    page.evaluate("document.body.prepend(Object.assign(document.createElement('iframe'), { src: '/inner' }))")
    inner = page.frame_locator("iframe")
    expect(inner.locator("h1")).to_have_text("launch 1")
    site.show(FAILED)
    expect(overlay(page)).to_be_visible()
    expect(inner.locator("goreload-overlay")).to_have_count(0)


def test_the_error_page_comes_back_by_itself(context: BrowserContext, site: Site, crashed: Crashed) -> None:
    site.show(Held("the build of main.go"))
    page = visit(context, site)
    shows(page, "Still waiting for the build of main.go")
    site.show(FAILED)
    shows(page, "It does not compile")
    expect(page.locator(".here").first).to_contain_text("Nmae")
    expect(page.locator("goreload-overlay")).to_have_count(0)
    page.get_by_role("button", name="copy").first.click()
    expect(page.get_by_role("button", name="copied")).to_have_count(1)
    site.show(crashed)
    shows(page, "The app ended by itself")
    site.show(Held("the build of main.go"))
    expect(page.locator(".status")).to_have_text("Waiting for the build of main.go ...")
    site.open(2)
    shows(page, "launch 2")
    site.show(FAILED)
    expect(overlay(page)).to_be_visible()


def test_a_form_is_not_sent_again_by_itself(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    site.show(FAILED)
    page.evaluate(
        "() => { const form = document.createElement('form'); form.method = 'post'; form.action = '/form';"
        " document.body.append(form); form.submit(); }"
    )
    shows(page, "It does not compile")
    site.open(2)
    shows(page, "Mended")
    expect(page.locator("main")).to_contain_text("Reload this page to send the POST again.")
    page.screenshot(path=SHOTS / "page-mended.png")
    assert site.hits["/form"] == 1


def test_a_message_is_never_markup_in_the_overlay(context: BrowserContext, site: Site) -> None:
    page = visit(context, site)
    text = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    site.show(Failed((Problem(f"{text}.go", 1, 1, text),), text))
    expect(overlay(page).locator(".message")).to_have_text(text)
    expect(overlay(page).locator("img, script")).to_have_count(0)
    expect(page).to_have_title("app")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_well(chromium: Browser, site: Site, crashed: Crashed, scheme: str) -> None:
    """Takes pictures for a person to look at; what a machine can tell: nothing is wider than the window."""
    SHOTS.mkdir(exist_ok=True)
    states: dict[str, State] = {"failed": FAILED, "crashed": crashed, "held": Held("the build of main.go")}
    for width in (1100, 390):
        context = chromium.new_context(
            color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}
        )
        site.open(1)
        page = visit(context, site)
        for name, state in states.items():
            site.show(state)
            if name != "held":
                expect(overlay(page)).to_have_count(0)  # closed: not to be looked into
                expect(page.locator("goreload-overlay")).to_be_attached()
                page.screenshot(path=SHOTS / f"overlay-{name}-{scheme}-{width}.png")
            error = visit(context, site)
            expect(error.locator("main")).to_be_visible()
            error.screenshot(path=SHOTS / f"page-{name}-{scheme}-{width}.png", full_page=True)
            assert error.evaluate("document.documentElement.scrollWidth <= innerWidth")
            error.close()
        context.close()
