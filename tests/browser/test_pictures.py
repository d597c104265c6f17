"""The pictures in docs/how-to/dashboard.md: taken here, kept where `WARREN_BROWSER_PICTURES` says."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from browser.seed import fill
from browser.serving import PICTURES, Open, Served

DESK = {"width": 1200, "height": 860}
PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize(
    ("name", "path", "scheme", "size"),
    [
        ("overview", "/", "light", DESK),
        ("overview-dark", "/", "dark", DESK),
        ("overview-phone", "/", "light", PHONE),
        ("job", "/ui/jobs/", "light", DESK),
        ("dead-letters", "/ui/dead-letters", "light", DESK),
        ("dead-letter", "/ui/dead-letters/", "light", DESK),
        ("scaling", "/ui/scaling", "light", DESK),
    ],
)
def test_a_picture_is_taken(
    open_context: Open, served: Served, tmp_path: Path, name: str, path: str, scheme: str, size: dict[str, int]
) -> None:
    paths = fill(served.kit)
    page = open_context(base_url=served.url, color_scheme=scheme, viewport=size).new_page()
    page.goto(paths.get(path, path))
    expect(page.locator("h1")).to_be_visible()

    taken = page.screenshot(path=tmp_path / f"dashboard-{name}.png")

    image = Image.open(BytesIO(taken)).convert("RGB")
    assert image.size == (size["width"], size["height"])
    assert len(image.getcolors(maxcolors=1 << 24) or []) > 20
    if PICTURES is not None:
        shutil.copy(tmp_path / f"dashboard-{name}.png", PICTURES)
