"""What every suite shares: marks by folder, a clean environment, and brokers."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import settings

from brokers import ExternalBroker, SharedNode
from warren.settings import BrokerSettings

# Read before the environment is cleared for each test.
EXTERNAL_URLS = [url for url in re.split(r"[,\s]+", os.environ.get("WARREN_TEST_AMQP_URLS", "")) if url]
SUITES = {"unit", "conformance", "integration", "faults", "footprint", "images", "manifests", "e2e", "browser"}
ROOT = Path(__file__).parent

# Properties are judged by what they find: on a busy machine a run of one may take any time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name."""
    for item in items:
        folder = item.path.relative_to(ROOT).parts[0]
        if folder in SUITES:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear `WARREN_*`, so that no test depends on the caller's shell."""
    for name in list(os.environ):
        if name.startswith("WARREN_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_log_handlers_for_later() -> Iterator[None]:
    """Take away the handlers of programs that ran in the test's process: their streams are closed with the test."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        # Exactly this class: pytest's own handlers are of classes derived from it.
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def private_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalBroker]:
    """The session's own broker, one for all of pytest-xdist's processes."""
    temporary = tmp_path_factory.getbasetemp()
    shared = SharedNode(temporary.parent / "broker" if "PYTEST_XDIST_WORKER" in os.environ else temporary / "broker")
    yield shared.join()
    shared.leave()


@pytest.fixture(
    scope="session",
    params=["private", *EXTERNAL_URLS],
    ids=["private", *(f"url-{urlsplit(url).hostname}-{urlsplit(url).port}" for url in EXTERNAL_URLS)],
)
def broker(request: pytest.FixtureRequest) -> ExternalBroker:
    """A running RabbitMQ: our own node, then each of `WARREN_TEST_AMQP_URLS`."""
    if request.param == "private":
        node: ExternalBroker = request.getfixturevalue("private_node")
        return node
    return ExternalBroker.from_url(request.param)


@pytest.fixture
def amqp(broker: ExternalBroker) -> Iterator[BrokerSettings]:
    """Settings for a virtual host of this test's own."""
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    login = str(urlsplit(broker.url).username)
    with httpx.Client(base_url=broker.management_url, trust_env=False, timeout=30) as management:
        management.put(f"/api/vhosts/{vhost}").raise_for_status()
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        management.put(f"/api/permissions/{vhost}/{login}", json=everything).raise_for_status()
        yield BrokerSettings.model_validate(
            {"url": broker.url.rpartition("/")[0] + f"/{vhost}", "management_url": broker.management_url}
        )
        management.delete(f"/api/vhosts/{vhost}").raise_for_status()
