"""A cluster, the images under test, and one installation for all tests that need no other."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator

import pytest

from e2e.commands import ENVIRONMENT, kubectl, serves
from e2e.installation import Images, Installation, Stopwatch
from e2e.namespaces import LIVE, Namespace

MONITORS = ("servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com")
MONITORED = {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with a broker of their own before the shared one is there: a small node holds one."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))
    items.sort(key=lambda item: "installation" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what is in the namespaces into the report of a test that failed."""
    report = yield
    if report.failed and item.path.is_relative_to(__file__.rpartition("/")[0]):
        report.sections += [(f"namespace {one.name}", one.described()) for one in LIVE]
    return report


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip where KUBECONFIG names no cluster; fail where it names one that cannot serve."""
    if not ENVIRONMENT.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    assert shutil.which("kubectl"), "kubectl is not on PATH"
    kubectl("get", "--raw", "/readyz")


@pytest.fixture(scope="session")
def operators(cluster: None) -> None:
    """Fail where RabbitMQ's operators are not there."""
    for resource in ("rabbitmqclusters.rabbitmq.com", "queues.rabbitmq.com"):
        assert serves(resource), f"the cluster has no {resource}: install RabbitMQ's operators first"


@pytest.fixture(scope="session")
def images() -> Images:
    return Images.from_environment()


@pytest.fixture(scope="session")
def stopwatch() -> Stopwatch:
    """What the first installation took."""
    return Stopwatch()


@pytest.fixture(scope="session")
def installation(operators: None, images: Images, stopwatch: Stopwatch) -> Iterator[Installation]:
    """All three charts, ready, with monitors if the cluster knows them; shared, so tests leave it as they found it."""
    monitored = all(serves(one) for one in MONITORS)
    broker = {"monitoring": {"serviceMonitor": {"enabled": True}}}
    with Namespace("shared") as namespace:
        made = Installation(
            namespace,
            images,
            broker=broker if monitored else None,
            warren=MONITORED if monitored else None,
        )
        stopwatch.start()
        made.install("rabbitmq")
        made.install("topology")
        stopwatch.lap("two charts installed")
        made.install("warren", "--wait", "--timeout=4m")
        stopwatch.lap("all ready")
        with made.client() as client:
            client.wait(client.submit("helm_test.echo", {"text": "first"}), timeout_seconds=60)
        stopwatch.lap("first job done")
        yield made
        restarts = made.restarts()
    assert not restarts, f"pods restarted: {restarts}"
