"""Every page for everyone: judged by axe, by keyboard, in light and dark, and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from browser.seed import fill
from browser.serving import Open, Serve, Served

PATHS = (
    "/",
    "/ui/queues",
    "/ui/queues/media",
    "/ui/jobs",
    "/ui/jobs?state=dead",
    "/ui/jobs?q=nonsense",
    "/ui/dead-letters",
    "/ui/dead-letters/redrive?error=TimeoutError",
    "/ui/dead-letters/redrives",
    "/ui/schedules",
    "/ui/schedules/nightly-report",
    "/ui/workers",
    "/ui/tasks",
    "/ui/tasks/resize",
    "/ui/scaling",
    "/ui/nowhere",
)
OUTLINED = """
const at = document.activeElement;
at === document.body || getComputedStyle(at).outlineStyle !== 'none'
"""
PHONE = {"width": 360, "height": 740}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desk"])
def test_axe_finds_nothing_serious_on_any_page_and_none_is_wider_than_its_window(
    open_context: Open, served: Served, scheme: str, size: dict[str, int]
) -> None:
    more = fill(served.kit)
    page = open_context(base_url=served.url, color_scheme=scheme, viewport=size, quiet=False).new_page()

    found = {}
    for path in (*PATHS, *more.values()):
        page.goto(path)
        found[path] = serious(page) + too_wide(page)

    assert {path: what for path, what in found.items() if what} == {}


def test_axe_finds_nothing_serious_on_the_sign_in(open_context: Open, serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, auth="tokens") as served:
        page = open_context(base_url=served.url).new_page()

        page.goto("/")

        assert page.title() == "Sign in · Warren"
        assert serious(page) == []


def serious(page: Page) -> list[str]:
    """Return what axe calls serious or critical."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def too_wide(page: Page) -> list[str]:
    width, window = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    return [f"{width} px wide in {window} px"] if width > window else []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page) -> None:
    page.goto("/ui/queues/media")

    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.textContent")
    shown = page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    after = page.evaluate("document.activeElement.id")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
        assert page.evaluate(OUTLINED), reached

    assert (first, shown, after) == ("Skip to content", True, "main")
    assert {"Pause", "Purge media"} <= reached


def test_dark_and_light_differ_as_the_reader_wants(open_context: Open, served: Served) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = open_context(base_url=served.url, color_scheme=scheme).new_page()
        page.goto("/")
        papers.append(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    assert papers == ["rgb(255, 255, 255)", "rgb(25, 22, 20)"]
