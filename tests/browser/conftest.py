"""A real Chromium, and the dashboard served to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from browser.packages import find_chromium
from browser.serving import Open, Serve, Served, serving


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path is not None, "no Chromium; run `make browser`, which brings it"
    with sync_playwright() as playwright:
        # Without a user of its own to run as, Chromium cannot sandbox itself.
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        launched = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield launched
        launched.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("warren_server.queues._DEPTHS_SECONDS", -1.0)
    with serving(tmp_path) as made:
        yield made


@pytest.fixture
def open_context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Make browser contexts; at the end none may have met an error, a dialog, or its content security policy."""
    for name in {"served", "stack"} & set(request.fixturenames):
        # Up before the browser and down after it: a page that refreshes itself would meet the end of its server.
        request.getfixturevalue(name)
    complaints: list[str] = []
    with ExitStack() as closing:

        def make(*, quiet: bool = True, **options: Any) -> BrowserContext:
            context = browser.new_context(**options)
            closing.callback(context.close)
            context.set_default_timeout(15_000)
            if quiet:
                context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
                context.on("weberror", lambda error: complaints.append(str(error.error)))
                context.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
            return context

        yield make
    assert complaints == []


@pytest.fixture
def page(open_context: Open, served: Served) -> Page:
    return open_context(base_url=served.url).new_page()


@pytest.fixture
def serve() -> Serve:
    return serving
