"""The screens in a browser: live, by keyboard, on a phone, and without an error on the console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import running_browser
from tests.support.process import SLACK
from tests.support.viewer import RunningViewer, error, new_id, profile, span, transaction

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.thorough]

PAGES = (
    "/issues",
    "/issues/1",
    "/performance",
    "/performance/route?route=GET+/a",
    "/traces",
    "/traces/{trace}",
    "/releases",
    "/logs",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def trace(viewer: RunningViewer) -> str:
    """A request with a failed statement, an error and a log line, in a module of its own."""
    trace = new_id()
    root = transaction("GET /a", trace=trace, release="shop@1")
    root["spans"] = [span(root, "SELECT 1"), span(root, "SELECT 2")]
    context = {"trace": {"trace_id": trace, "span_id": root["spans"][0]["span_id"]}}
    crumb = {"timestamp": time.time(), "message": "<script>window.broken = 1</script>"}
    event = error(
        "ValueError", "<script>window.broken = 1</script>", contexts=context, breadcrumbs=[crumb], release="shop@1"
    )
    line = {"timestamp": time.time(), "trace_id": trace, "level": "error", "body": "a long line " * 40}
    stacks = [("main", "<script>window.broken = 1</script>")] * 5 + [("main", "query")] * 9
    item = profile(root, stacks, thread_metadata={str(number): {"name": f"worker {number}"} for number in range(30)})
    item["profile"]["samples"] += [{**item["profile"]["samples"][0], "thread_id": number} for number in range(2, 30)]
    flame = ("profile", item)
    viewer.send(("transaction", root), ("event", event), ("log", {"items": [line]}), flame)
    return trace


@pytest.fixture
def page(browser: Browser, viewer: RunningViewer, trace: str) -> Iterator[Page]:
    """A tab whose console must stay empty."""
    context = browser.new_context(base_url=viewer.url, permissions=["clipboard-read", "clipboard-write"])
    found = context.new_page()
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text))
    found.on("pageerror", lambda problem: complaints.append(str(problem)))
    yield found
    context.close()
    assert complaints == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone_and_runs_no_text_of_others(page: Page, trace: str, path: str) -> None:
    """It is as wide as the screen, in light and dark, and its controls have names."""
    page.set_viewport_size({"width": 390, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(path.format(trace=trace))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.broken") is None
    assert page.get_by_role("heading", level=1).count() == 1
    for control in page.locator("button, select, input:not([type=hidden])").all():
        assert control.evaluate("each => each.labels?.length || each.textContent.trim()")


@pytest.mark.thorough
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_by_axes_rules(page: Page, trace: str, path: str) -> None:
    """In light and dark, with all that can be opened open: https://dequeuniversity.com/rules/axe/."""
    rules = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(path.format(trace=trace))
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        page.evaluate(rules)
        found = page.evaluate("axe.run()")
        assert found["passes"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


def test_an_error_shows_within_a_second(page: Page, viewer: RunningViewer) -> None:
    """Without a reload, and what is open or focused stays."""
    page.goto("/issues")
    page.get_by_text("live", exact=True).wait_for()
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.href")
    began = time.monotonic()
    viewer.send(("event", error("LiveError", function="live")))
    page.get_by_text("LiveError: no").wait_for(timeout=5_000)
    assert time.monotonic() - began < 1 + SLACK
    assert page.evaluate("document.activeElement.href") == focused


def test_what_is_read_does_not_move(page: Page, viewer: RunningViewer, trace: str) -> None:
    """When a row comes above it."""
    viewer.send(*(("event", error(f"Filler{'abcdefghijklmnopqrstuvwxyz'[number]}")) for number in range(26)))
    page.set_viewport_size({"width": 900, "height": 400})
    page.goto("/issues")
    page.get_by_text("live", exact=True).wait_for()
    row = page.get_by_text("Fillerc: no")
    deadline = time.monotonic() + 10
    while page.evaluate("scrollY") == 0 and time.monotonic() < deadline:  # the page may just have replaced the row
        row.evaluate("each => each.scrollIntoView({ block: 'start' })")
    before = row.bounding_box()
    viewer.send(("event", error("AboveError", function="above", at=time.time() + 5)))
    page.get_by_text("AboveError: no").wait_for(timeout=10_000, state="attached")
    after = row.bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] == pytest.approx(before["y"], abs=1)


def test_the_keyboard_suffices(page: Page, trace: str) -> None:
    """From a list to an issue, to its trace, and to the other screens."""
    page.goto("/issues?sort=first")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/issues/*")
    for key, path in (("p", "performance"), ("t", "traces"), ("r", "releases"), ("l", "logs"), ("i", "issues")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(f"**/{path}")
    page.keyboard.press("/")
    page.keyboard.type("ValueError")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=ValueError*")
    assert page.locator("main .row").count() == 1
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")


def test_a_span_opens_and_stays_open(page: Page, viewer: RunningViewer, trace: str) -> None:
    """Its error leads to the issue."""
    page.goto(f"/traces/{trace}")
    page.locator("summary", has_text="SELECT 1").click()
    page.get_by_text("live", exact=True).wait_for()
    line = {"timestamp": time.time(), "trace_id": trace, "level": "info", "body": "a line that came later"}
    viewer.send(("log", {"items": [line]}))
    page.get_by_text("a line that came later").wait_for()
    page.locator("details[open] .inside a").click()
    page.wait_for_url("**/issues/*")


def test_a_call_of_a_profile_is_looked_at_by_keyboard(page: Page, trace: str) -> None:
    """And left again."""
    page.goto(f"/traces/{trace}")
    calls = page.locator(".flame a")
    assert calls.count() == 3
    page.get_by_role("link", name="query, app/work.py:3").focus()
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("main, ")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**frame=*")
    assert page.locator(".flame a").count() == 1
    page.get_by_role("link", name="whole profile").press("Enter")
    page.wait_for_url(lambda url: "frame" not in url)
    assert page.locator(".flame a").count() == 3


def test_an_issue_is_copied_and_resolved(page: Page) -> None:
    """By its buttons."""
    page.goto("/issues?q=ValueError&state=all")
    page.locator("main .row").first.click()
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("# ValueError")
    assert "work in app/main.py:7" in copied
    page.get_by_role("button", name="Resolve").click()
    page.get_by_role("button", name="Reopen").click()
    page.get_by_role("button", name="Resolve").wait_for()
