"""The whole of it as a person sees it: a real browser, `dev`, and a real program that is edited."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.driver import MAIN, Driver, answer, free_port, server, write
from tests.gateway.conftest import needs_chromium

pytestmark = needs_chromium

PAGE = """<!doctype html><link rel=stylesheet href=/static/look.css><p id=said>" + Answer() + "</p>"""

MAIN_PAGE = MAIN.replace(
    "fmt.Fprint(w, Answer())", 'w.Header().Set("Content-Type", "text/html"); fmt.Fprint(w, "' + PAGE + '")'
).replace(
    'fmt.Println("serving',
    'http.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("static"))))\n'
    '\thttp.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { go func() { panic("on purpose") }() })\n'
    '\tfmt.Println("serving',
)

POLICY = (
    """w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'nonce-abc'")"""
)

RULES = 'goreload: {rules: [{files: ["static/**"], then: refresh}]}\n'


def test_page_follows_edits_errors_crashes_and_style_sheets(
    project: Path, driver: Driver, context: BrowserContext
) -> None:
    server(project)
    write(project, {"main.go": MAIN_PAGE, "invoke.yaml": RULES, "static/look.css": "p { color: rgb(1, 2, 3) }"})
    write(project, {"static/page.html": "<!doctype html><p>kept</p>"})
    port = free_port()
    dev = driver.start(project, "dev", env={"GORELOAD_SERVE_PORT": str(port)})
    page = context.new_page()
    dev_url = dev.url()
    page.goto(dev_url)
    said, overlay = page.locator("#said"), page.locator("goreload-overlay")
    expect(said).to_have_text("one")
    # A file that the browser keeps and the app confirms with 304: it too is reloaded once per launch, not for ever.
    kept, loads = context.new_page(), []
    kept.on("load", lambda _: loads.append(kept.url))
    kept.goto(dev_url + "/static/page.html")

    write(project, {"answer.go": answer("two")})
    expect(said).to_have_text("two")

    write(project, {"answer.go": answer("three") + "\nvar broken int = nowhere\n"})
    expect(overlay.locator(".place").first).to_contain_text("answer.go:5:18")
    expect(said).to_have_text("two")
    write(project, {"answer.go": answer("three")})
    expect(said).to_have_text("three")
    expect(overlay).to_have_count(0)

    expect(said).to_have_css("color", "rgb(1, 2, 3)")
    page.evaluate("window.kept = true")
    write(project, {"static/look.css": "p { color: rgb(3, 2, 1) }"})
    expect(said).to_have_css("color", "rgb(3, 2, 1)")
    assert page.evaluate("window.kept") is True

    page.evaluate("fetch('/crash').catch(() => {})")
    expect(overlay.locator(".message").first).to_contain_text("panic: on purpose")
    expect(overlay.locator(".own .place").first).to_contain_text("main.go:")
    write(project, {"answer.go": answer("four")})
    expect(said).to_have_text("four")
    expect(overlay).to_have_count(0)
    # A page with a policy of its own, by way of the program.
    write(project, {"main.go": MAIN_PAGE.replace('; fmt.Fprint(w, "', f'; {POLICY}; fmt.Fprint(w, "')})
    expect(said).to_have_text("four")
    page.reload()
    write(project, {"answer.go": answer("five") + "\nvar broken int = nowhere\n"})
    expect(overlay.locator(".place").first).to_contain_text("answer.go:5:18")
    write(project, {"answer.go": answer("five")})
    expect(said).to_have_text("five")
    expect(overlay).to_have_count(0)
    page.wait_for_timeout(1000)  # in which a page that reloads for ever does so ten times
    assert 2 <= len(loads) <= 6
