"""The dashboard of a real server, with a real worker on a real RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.serving import Open
from processes import Stack
from warren.settings import BrokerSettings


@pytest.fixture
def stack(amqp: BrokerSettings, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(folder=tmp_path, broker=amqp, tasks="fault_tasks")
    yield made
    made.stop()


def test_a_job_is_submitted_watched_to_its_end_and_its_worker_drained(
    open_context: Open, stack: Stack, tmp_path: Path
) -> None:
    stack.start_server(WARREN_SERVER_PROCESSES="2")
    stack.start_worker()
    page = open_context(base_url=stack.url).new_page()

    page.goto("/ui/tasks/fault.record")
    page.get_by_label("history").fill(str(tmp_path / "history"))
    page.get_by_label("number").fill("7")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("dd .state.succeeded")).to_be_visible()
    page.get_by_role("link", name="Workers").click()
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("working")
    row.get_by_role("button", name="Drain").click()

    expect(page.locator("tbody tr").first).to_contain_text("told to drain")
    page.goto("/ui/queues")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.goto("/ui/scaling")
    expect(page.get_by_role("heading", name="Scaling")).to_be_visible()
