"""Three brokers, PostgreSQL, two servers and three workers, for the tests of this folder together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.commands import apply
from e2e.installation import Images, Installation
from e2e.namespaces import Namespace
from e2e.under_load.load import TASKS
from e2e.under_load.postgresql import NAME, VALUES, postgresql

BROKERS = {"replicas": 3}
WARREN = {
    "store": VALUES,
    "tasks": {"files": {"load_tasks.py": TASKS}},
    "server": {"replicas": 2, "processes": 1},
    "workerDefaults": {"replicas": 3, "concurrency": 16},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out of `make e2e`, and give each the time that the installation takes as well."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.full)
            item.add_marker(pytest.mark.timeout(900), append=False)


@pytest.fixture(scope="package")
def production(operators: None, images: Images) -> Iterator[Installation]:
    """The three charts; each test leaves them ready, in the first version or another."""
    with Namespace("load") as namespace:
        apply(*({**one, "metadata": {**one["metadata"], "namespace": namespace.name}} for one in postgresql()))
        made = Installation(namespace, images, broker=BROKERS, warren=WARREN)
        made.install("rabbitmq")
        made.install("topology")
        namespace.kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s")
        made.wait_for_topology()
        made.install("warren", "--wait", "--timeout=4m")
        yield made
