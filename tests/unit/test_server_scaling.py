"""How many workers the server says a queue should have, on the in-memory transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import new_job_id
from warren.errors import SettingsError, TransportError
from warren.events import Event, State
from warren.settings import load
from warren_server.errors import StoreDown
from warren_server.queues import QueueState
from warren_server.scaling import Expectations, Recent, faded_mean, observe
from warren_server.settings import ScalingSettings


class Broker:
    """Depths of the management API under the test's hand."""

    def __init__(self) -> None:
        self.state: QueueState | None = QueueState(ready=0, unacked=0, consumers=0)

    def __call__(self) -> dict[str, QueueState]:
        if self.state is None:
            raise TransportError("the management API is away")
        return {"warren.q.default": self.state}


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def kit(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    monkeypatch.setattr("warren_server.queues._DEPTHS_SECONDS", 0)
    monkeypatch.setattr("warren_server.scaling._REMEMBER_SECONDS", 0)
    with running(tmp_path) as made:
        made.parts.queues._read_depths = broker
        yield made


def ask(kit: Kit, queue: str = "default", **query: Any) -> Any:
    return kit.client.get(f"/v1/queues/{queue}/scaling", query_string=query)


def ran(kit: Kit, seconds: float, state: State = State.SUCCEEDED, queue: str = "default") -> None:
    """Record a job that took some time."""
    event = Event(
        job=new_job_id(),
        state=state,
        attempt=1,
        at_ms=1_000_000 + int(seconds * 1000),
        started_ms=1_000_000,
        task="greet",
        queue=queue,
        enqueued_ms=900_000,
        outcome="succeeded" if state is State.SUCCEEDED else "failed" if state is State.DEAD else None,
    )
    kit.parts.jobs.project([event])


def test_before_any_job_has_ended_the_depth_decides(kit: Kit, broker: Broker) -> None:
    broker.state = QueueState(ready=41, unacked=0, consumers=0)

    told = ask(kit).json

    assert (told["desired_workers"], told["reason"], told["expected_seconds"], told["samples"]) == (5, "depth", None, 0)
    assert (told["ready"], told["unacked"], told["consumers"], told["running"]) == (41, 0, 0, 0)
    assert (told["min"], told["max"], told["concurrency"], told["slo_seconds"]) == (0, 100, 10, 30)
    assert 0 <= told["data_age_seconds"] < 5


def test_what_jobs_took_decides_once_some_have_ended(kit: Kit, broker: Broker) -> None:
    for _ in range(5):
        ran(kit, 2.0)
        ran(kit, 2.0, State.DEAD)
        ran(kit, 500.0, queue="media")
    ran(kit, 99.0, State.RUNNING)
    broker.state = QueueState(ready=400, unacked=0, consumers=0)

    told = ask(kit, concurrency=1).json

    assert (told["desired_workers"], told["reason"], told["expected_seconds"], told["samples"]) == (
        27,
        "backlog",
        2,
        10,
    )
    assert told["running"] == 1


def test_busy_workers_are_wanted_besides_what_waits(kit: Kit, broker: Broker) -> None:
    for _ in range(5):
        ran(kit, 2.0)
    broker.state = QueueState(ready=60, unacked=10, consumers=10)

    told = ask(kit, concurrency=1).json

    assert told["desired_workers"] == 14


def test_the_request_beats_the_settings(kit: Kit, broker: Broker) -> None:
    broker.state = QueueState(ready=400, unacked=0, consumers=0)

    told = ask(kit, min=2, max=7, concurrency=5, slo_seconds=60, jobs_per_worker=20).json

    assert (told["desired_workers"], told["unbounded_workers"], told["reason"]) == (7, 20, "maximum")
    assert (told["min"], told["max"], told["slo_seconds"], told["jobs_per_worker"]) == (2, 7, 60, 20)


@pytest.mark.parametrize(
    "query", [{"min": 5, "max": 2}, {"min": 200}, {"concurrency": 0}, {"slo_seconds": "nan"}, {"most": 3}]
)
def test_a_request_that_makes_no_sense_is_refused(kit: Kit, query: dict[str, Any]) -> None:
    answer = ask(kit, **query)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/invalid-request")
    assert answer.json["problems"]


def test_unknown_depths_are_a_problem_and_never_a_number(kit: Kit, broker: Broker) -> None:
    broker.state = None

    answer = ask(kit)

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/depths-unknown")
    assert answer.headers["Retry-After"] == "5"
    assert "desired_workers" not in answer.json


def test_a_queue_that_the_broker_has_not_counted_yet_is_a_problem_too(kit: Kit, broker: Broker) -> None:
    broker.state = QueueState()

    assert ask(kit).status_code == 503


@pytest.mark.parametrize("queue", ["nothing", "not%20a%20name"])
def test_a_queue_that_is_not_there_is_unknown(kit: Kit, queue: str) -> None:
    assert (ask(kit, queue).status_code, ask(kit, queue).json["type"]) == (404, "/problems/unknown-queue")


def test_waiting_jobs_of_a_paused_queue_ask_for_no_workers(kit: Kit, broker: Broker) -> None:
    broker.state = QueueState(ready=400, unacked=3, consumers=3)
    kit.client.post("/v1/queues/default/pause")

    told = ask(kit, concurrency=1).json

    assert (told["desired_workers"], told["paused"], told["ready"]) == (3, True, 400)


def test_without_the_store_what_was_known_before_counts(
    kit: Kit, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object) -> None:
        raise StoreDown("away")

    ran(kit, 60.0)
    broker.state = QueueState(ready=12, unacked=0, consumers=0)
    before = ask(kit, concurrency=1).json
    monkeypatch.setattr(kit.parts.expectations._store, "latest", away)
    monkeypatch.setattr(kit.parts.queue_settings, "get", away)
    broker.state = QueueState(ready=24, unacked=0, consumers=0)

    after = ask(kit, concurrency=1).json

    assert (before["desired_workers"], after["desired_workers"]) == (12, 24)
    assert (after["reason"], after["expected_seconds"], after["paused"]) == ("backlog", 60, False)


def test_a_reader_may_ask_and_a_submitter_may_not(tmp_path: Path) -> None:
    with running(tmp_path) as kit:
        kit.parts.queues._read_depths = Broker()
        admin: dict[str, str] = {}
        secrets = {}
        for scope in ("admin", "read", "submit"):
            made = kit.client.post("/v1/tokens", json={"scopes": [scope]}, headers=admin)
            secrets[scope] = made.json["token"]
            admin = {"Authorization": f"Bearer {secrets['admin']}"}
        eventually(lambda: kit.client.get("/v1/queues/default/scaling").status_code == 401)

        statuses = {
            scope: kit.client.get(
                "/v1/queues/default/scaling", headers={"Authorization": f"Bearer {secret}"}
            ).status_code
            for scope, secret in secrets.items()
            if scope != "admin"
        }

    assert statuses == {"read": 200, "submit": 403}


def test_later_jobs_weigh_more_in_what_is_expected() -> None:
    slower = faded_mean([10.0] * 25 + [1.0] * 25)

    assert faded_mean([]) is None
    assert faded_mean([3.0]) == 3
    assert slower is not None
    assert 5.5 < slower < 10


def test_unsettled_jobs_beyond_what_the_attached_workers_hold_are_those_of_leaving_ones() -> None:
    state = QueueState(ready=0, unacked=20, consumers=4)

    seen = observe(state, Recent(), 2, paused=False)

    assert (seen.current, seen.unacked, seen.leaving_jobs) == (4, 20, 8)


class CountingStore:
    def __init__(self) -> None:
        self.looks = 0

    def latest(self, _queue: str, _limit: int) -> list[float]:
        self.looks += 1
        return [float(self.looks)]

    def running(self, _queue: str) -> int:
        return 0


def test_the_store_is_looked_at_every_two_seconds_at_most() -> None:
    store, now = CountingStore(), [100.0]
    expectations = Expectations(store, lambda: now[0])  # type: ignore[arg-type]

    found = []
    for _ in range(6):
        found.append(expectations.of("default").expected_seconds)
        now[0] += 0.5

    assert found == [1, 1, 1, 1, 2, 2]


def test_only_so_many_queues_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren_server.scaling._MAX_REMEMBERED", 3)
    expectations = Expectations(CountingStore())  # type: ignore[arg-type]

    for number in range(10):
        expectations.of(f"q{number}")

    assert len(expectations._known) <= 3


def test_settings_out_of_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_SCALING_MIN", "200")

    with pytest.raises(SettingsError, match="WARREN_SCALING_MIN 200 is above WARREN_SCALING_MAX 100"):
        load(ScalingSettings)
