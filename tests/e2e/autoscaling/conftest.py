"""One installation with a worker set for each autoscaler, for the tests of this folder together.

`WARREN_E2E_FIGURES` names the file the figures go to, with the table beside it (`make e2e-autoscaling` sets it);
`WARREN_E2E_ADOPT` a namespace that an earlier run with `WARREN_E2E_KEEP` left, to go on in.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e.autoscaling.figures import Book
from e2e.autoscaling.fleet import Fleet, KedaFleet, ScalerFleet
from e2e.autoscaling.jobs import Jobs
from e2e.autoscaling.scenarios import together
from e2e.commands import ENVIRONMENT, kubectl, serves
from e2e.installation import Images, Installation
from e2e.namespaces import LIVE, Namespace
from e2e.under_load.strain import server

HERE = Path(__file__).parent
VALUES = yaml.safe_load((HERE / "values.yaml").read_text(encoding="utf-8"))
TOPOLOGY: dict[str, object] = {"queues": {name: {} for name in VALUES["workerSets"]}}
ADOPT = ENVIRONMENT.get("WARREN_E2E_ADOPT", "")
FIGURES = ENVIRONMENT.get("WARREN_E2E_FIGURES", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out of `make e2e`, and give each the time that the installation takes as well."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.full)
            item.add_marker(pytest.mark.timeout(1500), append=False)


@pytest.fixture(scope="session")
def book() -> Book:
    """Where the figures go."""
    return Book(Path(FIGURES) if FIGURES else None)


@contextmanager
def adopted(name: str) -> Iterator[Namespace]:
    """Go on in a namespace that is there, and leave it."""
    namespace = Namespace("adopted")
    namespace.name = name
    LIVE.append(namespace)
    yield namespace
    LIVE.remove(namespace)


@pytest.fixture(scope="package")
def scaled(operators: None, images: Images) -> Iterator[Installation]:
    """The three charts, and KEDA; each test puts the worker sets it needs to rest and to work."""
    assert serves("scaledobjects.keda.sh"), "the cluster has no KEDA: install it first"
    with adopted(ADOPT) if ADOPT else Namespace("autoscaling") as namespace:
        made = Installation(namespace, images, topology=TOPOLOGY, warren=VALUES)
        if not ADOPT:
            made.install("rabbitmq")
            made.install("topology")
            made.wait_for_topology()
            made.install("warren", "--wait", "--timeout=4m")
        yield made


@pytest.fixture(scope="package")
def environment(scaled: Installation, book: Book) -> None:
    """What the figures were measured on."""
    node = json.loads(kubectl("get", "nodes", "--output", "json"))["items"][0]
    keda = json.loads(kubectl("get", "deployments", "--all-namespaces", "--output", "json"))["items"]
    (operator,) = (one for one in keda if one["metadata"]["name"] == "keda-operator")
    broker = ("exec", "warren-rabbitmq-server-0", "--container", "rabbitmq", "--", "rabbitmqctl", "version")
    book.put(
        "environment",
        "cluster",
        {
            "kubernetes": node["status"]["nodeInfo"]["kubeletVersion"],
            "cores": node["status"]["capacity"]["cpu"],
            "keda": operator["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2],
            "rabbitmq": scaled.namespace.kubectl(*broker).split()[-1],
        },
    )


@pytest.fixture
def jobs(scaled: Installation) -> Iterator[Jobs]:
    with server(scaled) as api:
        yield Jobs(api)


@pytest.fixture(scope="package")
def plain(scaled: Installation) -> KedaFleet:
    """KEDA with nothing tuned."""
    return KedaFleet(scaled, "plain", "keda-default")


@pytest.fixture(scope="package")
def tuned(scaled: Installation) -> KedaFleet:
    """KEDA as the chart sets it up."""
    return KedaFleet(scaled, "tuned", "keda-tuned")


@pytest.fixture(scope="package")
def builtin(scaled: Installation) -> ScalerFleet:
    """Warren's own scaler."""
    return ScalerFleet(scaled, "builtin", "scaler")


@pytest.fixture(scope="package")
def fleets(plain: KedaFleet, tuned: KedaFleet, builtin: ScalerFleet) -> list[Fleet]:
    return [plain, tuned, builtin]


@pytest.fixture(params=["keda-default", "keda-tuned", "scaler"])
def fleet(request: pytest.FixtureRequest, fleets: list[Fleet]) -> Fleet:
    """Each of the three."""
    (found,) = (one for one in fleets if one.mode == request.param)
    return found


@pytest.fixture
def alone(request: pytest.FixtureRequest, fleets: list[Fleet], jobs: Jobs) -> Iterator[None]:
    """The worker sets a test asks for, at rest before and after, and nothing in their queues before."""
    own = inspect.signature(request.function).parameters
    resting = fleets if {"fleet", "fleets"} & own.keys() else [one for one in fleets if one.queue in own]
    together({one.mode: one.rest for one in resting})
    for one in resting:
        if jobs.depth(one.queue):
            one.empty()
    yield
    together({one.mode: one.rest for one in resting})
