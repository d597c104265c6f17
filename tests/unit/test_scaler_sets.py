"""Annotations of Deployments, marks of pods, questions to workers and orders: the scaler's small parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from warren.control import Drain, Undrain, decode_order
from warren.errors import OutcomeUnknown, SettingsError
from warren.memory import MemoryTransport
from warren.scaling import Bounds, Policy
from warren.status import WorkerStatus, encode_status
from warren.topology import topology
from warren_scaler.deployments.marks import marks
from warren_scaler.deployments.meters import Meters
from warren_scaler.deployments.orders import Orders
from warren_scaler.deployments.plan import Plan
from warren_scaler.deployments.pods import MOST_COST, Pod, wanted_cost
from warren_scaler.deployments.sets import is_ours, read_set
from warren_scaler.deployments.statuses import Statuses


def deployment(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "workers",
            "uid": "u",
            "generation": 3,
            "annotations": {f"warren.dev/{name.replace('_', '-')}": value for name, value in annotations.items()},
        },
        "spec": {"replicas": 4, "selector": {"matchLabels": {"a": "b"}}},
        "status": {"observedGeneration": 2},
    }


def status(*, held: int = 0, seconds: float = 0.0, draining: bool = False) -> WorkerStatus:
    return WorkerStatus(
        worker="w", concurrency=1, running=held, waiting=0, oldest_job_seconds=seconds, draining=draining
    )


def test_annotations_say_how_a_set_is_scaled() -> None:
    told = deployment(
        autoscaling="scaler",
        queues="default=5, media",
        min="1",
        max="30",
        concurrency="4",
        target_per_worker="8",
        latency_slo_seconds="2.5",
        stabilization_seconds="0",
        expected_job_seconds="12",
        paused="true",
        dry_run="TRUE",
    )

    found = read_set(told)

    assert is_ours(told)
    assert found.policy == Policy(
        bounds=Bounds(minimum=1, maximum=30), concurrency=4, jobs_per_worker=8, slo_seconds=2.5, stable_seconds=0.0
    )
    assert (found.queues, found.replicas, found.settled) == (("default", "media"), 4, False)
    assert (found.expected_seconds, found.paused, found.dry_run, found.labels) == (12.0, True, True, {"a": "b"})


def test_what_is_not_said_has_a_default() -> None:
    found = read_set(deployment(queues="default"))

    assert found.policy == Policy(bounds=Bounds(minimum=0, maximum=10), concurrency=10, jobs_per_worker=10)
    assert (found.expected_seconds, found.paused, found.dry_run) == (None, False, False)


def test_a_deployment_without_annotations_is_somebody_elses() -> None:
    assert not is_ours({"metadata": {"name": "other"}})
    assert not is_ours(deployment(autoscaling="keda"))


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({}, "warren.dev/queues is empty"),
        ({"queues": "a.b"}, "warren.dev/queues names 'a.b'"),
        ({"queues": "a", "min": "-1"}, "warren.dev/min is '-1': must be an integer from 0"),
        ({"queues": "a", "min": "5", "max": "4"}, "min 5 and max 4"),
        ({"queues": "a", "concurrency": "0"}, "warren.dev/concurrency is '0': must be an integer from 1"),
        ({"queues": "a", "latency_slo_seconds": "0"}, "warren.dev/latency-slo-seconds is '0': must be seconds"),
        ({"queues": "a", "stabilization_seconds": "soon"}, "warren.dev/stabilization-seconds is 'soon'"),
        ({"queues": "a", "expected_job_seconds": "nan"}, "warren.dev/expected-job-seconds is 'nan'"),
        ({"queues": "a", "paused": "yes"}, "warren.dev/paused is 'yes': must be true or false"),
    ],
)
def test_an_annotation_that_breaks_its_rule_is_refused_by_name(annotations: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_set(deployment(**annotations))


def test_busy_pods_cost_more_the_longer_their_job_runs_and_the_silent_count_as_busy() -> None:
    idle, busy, old, silent, starting = (
        Pod(name="p", labels={}, started=True, status=status()),
        Pod(name="p", labels={}, started=True, status=status(held=1, seconds=5)),
        Pod(name="p", labels={}, started=True, status=status(held=1, seconds=1e9)),
        Pod(name="p", labels={}, started=True),
        Pod(name="p", labels={}),
    )

    assert [wanted_cost(pod) for pod in (idle, busy, old, silent, starting)] == [0, 15, MOST_COST, 10, 0]


def test_marks_go_on_with_a_long_job_and_off_when_idle() -> None:
    pods = [
        Pod(name="long", labels={}, status=status(held=1, seconds=31)),
        Pod(name="short", labels={}, status=status(held=1, seconds=29)),
        Pod(name="guarded and busy", labels={}, guarded=True, status=status(held=1, seconds=40)),
        Pod(name="guarded and idle", labels={}, guarded=True, status=status()),
        Pod(name="silent", labels={}, guarded=True),
        Pod(name="going", labels={}, terminating=True, status=status(held=1, seconds=31)),
    ]

    assert marks(pods) == {
        "long": {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        },
        "guarded and idle": {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": None,
            "karpenter.sh/do-not-disrupt": None,
        },
    }


@pytest.fixture
def port() -> Iterator[int]:
    """The probe port of a worker that answers at 127.0.0.1, nonsense at 127.0.0.2, and not well at 127.0.0.3."""
    answers = {"127.0.0.1": (200, encode_status(status(held=2))), "127.0.0.2": (200, b"hello"), "127.0.0.3": (500, b"")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answers[self.connection.getsockname()[0]]
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:  # noqa: S104 - three addresses of loopback
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_pods_are_asked_what_they_do_and_only_a_whole_answer_counts(port: int) -> None:
    statuses = Statuses(port)
    pods = [
        Pod(name="well", labels={}, started=True, address="127.0.0.1"),
        Pod(name="nonsense", labels={}, started=True, address="127.0.0.2"),
        Pod(name="unwell", labels={}, started=True, address="127.0.0.3"),
        Pod(name="nobody", labels={}, started=True, address="::1"),
        Pod(name="not started", labels={}, address="127.0.0.1"),
        Pod(name="without an address", labels={}, started=True),
    ]
    try:
        asked = statuses.ask(pods)
    finally:
        statuses.close()
        statuses.close()

    assert [pod.status for pod in asked] == [status(held=2), None, None, None, None, None]


def test_orders_reach_the_control_stream() -> None:
    transport = MemoryTransport()
    transport.start()
    transport.declare(topology(["default"])).result(5)
    orders = Orders(transport)

    orders.drain(["a", "b"])
    orders.undrain(["b"])

    told = [decode_order(message) for message in transport.messages("warren.control")]
    transport.stop()
    assert told == [Drain(workers=("a", "b")), Undrain(workers=("b",))]


def test_an_order_that_is_not_confirmed_in_time_has_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    class Silent:
        def publish(self, *_: object, **__: object) -> Future[None]:
            return Future()

    monkeypatch.setattr("warren_scaler.deployments.orders.CONFIRM_SECONDS", 0.01)

    with pytest.raises(OutcomeUnknown, match="did not confirm the order"):
        Orders(Silent()).drain(["a"])  # type: ignore[arg-type]


def test_only_the_leader_tells_of_worker_sets() -> None:
    registry = CollectorRegistry()
    meters = Meters(registry)
    decided = Plan(desired=3, reason="up", explanation="", active=1, draining=0)

    meters.leads(True)
    meters.decided(read_set(deployment(queues="default")), decided)
    labels = {"worker_set": "workers", "state": "desired"}
    before = registry.get_sample_value("warren_scaler_workers", labels)
    meters.leads(False)

    assert before == 3
    assert registry.get_sample_value("warren_scaler_workers", labels) is None
    assert registry.get_sample_value("warren_scaler_leader") == 0
