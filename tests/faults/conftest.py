"""Brokers and the stage of the fault tests, and their report.

`WARREN_FAULTS_REPORT` names the report to write at the end (`make faults` sets it); `WARREN_TEST_BROKER_IMAGES` names
container images of RabbitMQ, and `WARREN_TEST_AMQP_URLS` brokers of others, to run on besides the private node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from faults.nodes import Broker, ContainerNode, ForeignNode
from faults.report import RESULTS, Report, write
from faults.stage import Stage
from warren.local.node import PrivateNode


def _listed(name: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", os.environ.get(name, "")) if part]


# Read before the environment is cleared for each test.
IMAGES = _listed("WARREN_TEST_BROKER_IMAGES")
URLS = _listed("WARREN_TEST_AMQP_URLS")
REPORT = os.environ.get("WARREN_FAULTS_REPORT")


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Where the rows go; a run for the report ends by writing it, with the rows of faults that were not run kept."""
    kept = Report(RESULTS if REPORT else None)
    yield kept
    if REPORT:
        write(kept.rows(), Path(REPORT))


@pytest.fixture(
    scope="session",
    params=["private", *IMAGES, *URLS],
    ids=["private", *IMAGES, *(f"url-{urlsplit(url).hostname}-{urlsplit(url).port}" for url in URLS)],
)
def fault_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of the fault tests' own; it may be killed, and must be started again."""
    if request.param in URLS:
        yield ForeignNode(request.param)
    elif request.param in IMAGES:
        container = ContainerNode(request.param)
        try:
            container.start()
            yield container
        finally:
            container.remove()
    else:
        with PrivateNode(tmp_path_factory.mktemp("node")) as node:
            yield node


@pytest.fixture
def stage(tmp_path: Path, fault_broker: Broker, report: Report) -> Iterator[Stage]:
    """A stage without server and workers yet."""
    with Stage(tmp_path, fault_broker, report) as stage:
        yield stage
