"""Cancels over HTTP, up to the orders in the control stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server_kit import Kit, running
from waiting import eventually
from warren.control import CancelJobs, CancelMatching, Order, decode_order
from warren.envelope import new_job_id
from warren.events import Event, State, encode_batch
from warren.topology import CONTROL
from warren.transport import event_publication
from warren_server import cancel
from warren_server.errors import StoreDown
from warren_server.store.schema import announcements

STRANGER = "01a212ad-76e8-7fc0-bbc8-b656fd09660a"
"""A job nobody submitted."""


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def orders(kit: Kit) -> list[Order]:
    read = (decode_order(message) for message in kit.transport.messages(CONTROL))
    return [order for order in read if order is not None]


def kept(kit: Kit) -> dict[str, int]:
    """Return the kept orders: until when, by their subjects."""
    with kit.parts.database.read() as connection:
        return {row.subject: row.until_ms for row in connection.execute(select(announcements))}


def end(kit: Kit, job: str, state: State) -> None:
    now_ms = int(time.time() * 1000)
    event = Event(job=job, state=state, attempt=1, at_ms=now_ms, task="greet", queue="default", enqueued_ms=now_ms)
    kit.transport.publish(event_publication(encode_batch([event]))).result(5)
    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == state.value)


def test_a_cancel_is_an_order_that_is_kept_and_a_wish_that_shows(kit: Kit) -> None:
    job = kit.submit(delay=3600).json["id"]

    answered = kit.client.post(f"/v1/jobs/{job}/cancel")

    assert answered.status_code == 202
    assert answered.json["state"] == "scheduled"
    assert answered.json["cancel_requested_at"] is not None
    assert orders(kit) == [CancelJobs(jobs=(job,))]
    (until_ms,) = [until for subject, until in kept(kit).items() if subject == f"cancel:{job}"]
    assert until_ms > (time.time() + 48 * 86400) * 1000


def test_a_second_cancel_is_harmless_and_keeps_the_time_of_the_first(kit: Kit) -> None:
    job = kit.submit().json["id"]
    first = kit.client.post(f"/v1/jobs/{job}/cancel").json["cancel_requested_at"]

    assert kit.client.post(f"/v1/jobs/{job}/cancel").json["cancel_requested_at"] == first
    assert len(kept(kit)) == 1


def test_the_wish_outlives_the_events_of_the_job(kit: Kit) -> None:
    job = kit.submit().json["id"]
    kit.client.post(f"/v1/jobs/{job}/cancel")

    end(kit, job, State.CANCELLED)

    assert kit.client.get(f"/v1/jobs/{job}").json["cancel_requested_at"] is not None


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.DEAD, State.EXPIRED])
def test_a_job_with_another_end_cannot_be_cancelled(kit: Kit, state: State) -> None:
    job = kit.submit().json["id"]
    end(kit, job, state)

    answered = kit.client.post(f"/v1/jobs/{job}/cancel")

    assert (answered.status_code, answered.json["type"]) == (409, "/problems/already-final")
    assert orders(kit) == []


def test_a_cancelled_job_may_be_cancelled_again_for_nothing(kit: Kit) -> None:
    job = kit.submit().json["id"]
    end(kit, job, State.CANCELLED)

    assert kit.client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert orders(kit) == []


@pytest.mark.parametrize("job", [STRANGER, "nonsense"])
def test_an_unknown_job_is_not_cancelled_by_its_own_route(kit: Kit, job: str) -> None:
    answered = kit.client.post(f"/v1/jobs/{job}/cancel")

    assert (answered.status_code, answered.json["type"]) == (404, "/problems/unknown-job")
    assert orders(kit) == []


def test_many_ids_go_out_a_thousand_to_an_order_known_to_the_store_or_not(kit: Kit) -> None:
    known = [kit.submit().json["id"] for _ in range(3)]
    strangers = [new_job_id() for _ in range(2500)]

    answered = kit.client.post("/v1/jobs/cancel", json={"jobs": [*known, *strangers, known[0]]})

    assert (answered.status_code, answered.json) == (202, {"requested": 2503, "before": None})
    sent = orders(kit)
    assert [len(order.jobs) for order in sent if isinstance(order, CancelJobs)] == [1000, 1000, 503]
    assert {job for order in sent if isinstance(order, CancelJobs) for job in order.jobs} == {*known, *strangers}
    assert all(kit.client.get(f"/v1/jobs/{job}").json["cancel_requested_at"] for job in known)
    kit.client.post("/v1/jobs/cancel", json={"jobs": [*strangers, *known]})
    assert len(kept(kit)) == 3


def test_ids_that_are_final_are_left_out(kit: Kit) -> None:
    job, done = kit.submit().json["id"], kit.submit().json["id"]
    end(kit, done, State.SUCCEEDED)

    answered = kit.client.post("/v1/jobs/cancel", json={"jobs": [job, done]})

    assert answered.json["requested"] == 1
    assert orders(kit) == [CancelJobs(jobs=(job,))]
    assert kit.client.get(f"/v1/jobs/{done}").json["cancel_requested_at"] is None


def test_all_of_a_queue_are_cancelled_up_to_now(kit: Kit) -> None:
    jobs = [kit.submit().json["id"] for _ in range(3)]
    other = kit.submit(queue="spare").json["id"]
    before_ms = int(time.time() * 1000)

    answered = kit.client.post("/v1/jobs/cancel", json={"queue": "default"})

    assert answered.status_code == 202
    assert answered.json["requested"] == 3
    (order,) = orders(kit)
    assert isinstance(order, CancelMatching)
    assert (order.queue, order.task, order.waiting_only) == ("default", None, False)
    assert order.before_ms >= before_ms
    assert all(kit.client.get(f"/v1/jobs/{job}").json["cancel_requested_at"] for job in jobs)
    assert kit.client.get(f"/v1/jobs/{other}").json["cancel_requested_at"] is None
    assert len(kept(kit)) == 1


def test_those_that_run_or_came_later_or_are_of_another_task_are_left_alone(kit: Kit) -> None:
    runs = kit.submit().json["id"]
    end(kit, runs, State.RUNNING)
    waits = kit.submit().json["id"]
    until = kit.client.get(f"/v1/jobs/{waits}").json["submitted_at"]
    eventually(lambda: time.time() * 1000 > _milliseconds(kit, waits) + 1)
    later = kit.submit().json["id"]

    asked = {"queue": "default", "task": "greet", "before": until, "waiting_only": True}
    answered = kit.client.post("/v1/jobs/cancel", json=asked)

    assert answered.json == {"requested": 1, "before": until}
    wished = {job: kit.client.get(f"/v1/jobs/{job}").json["cancel_requested_at"] for job in (runs, waits, later)}
    assert [job for job, at in wished.items() if at] == [waits]
    assert kit.client.post("/v1/jobs/cancel", json={"task": "resize"}).json["requested"] == 0


def _milliseconds(kit: Kit, job: str) -> int:
    found = kit.parts.jobs.get(job)
    assert found is not None
    return int(found[0]["submitted_ms"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "name jobs, a queue or a task"),
        ({"before": "2020-01-01T00:00:00Z"}, "name jobs, a queue or a task"),
        ({"jobs": []}, "at least 1"),
        ({"jobs": ["x"]}, "is no name of a job"),
        ({"jobs": [STRANGER], "queue": "default"}, "stands alone"),
        ({"jobs": [STRANGER], "waiting_only": True}, "stands alone"),
        ({"queue": "default", "before": "2999-01-01T00:00:00Z"}, "in the future"),
        ({"queue": "default", "surprise": 1}, "surprise"),
        ({"jobs": [STRANGER] * 10_001}, "at most 10000"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wish_that_is_not_clear_is_refused(kit: Kit, body: dict[str, Any], said: str) -> None:
    answered = kit.client.post("/v1/jobs/cancel", json=body)

    assert answered.status_code == 422
    assert said in answered.json["detail"]
    assert orders(kit) == []


def test_a_cancel_that_the_broker_does_not_take_is_not_shown(kit: Kit) -> None:
    job = kit.submit().json["id"]
    kit.transport.disconnect()

    answered = kit.client.post(f"/v1/jobs/{job}/cancel")

    assert (answered.status_code, answered.json["type"]) == (503, "/problems/broker-unavailable")
    assert kit.client.get(f"/v1/jobs/{job}").json["cancel_requested_at"] is None


@pytest.mark.parametrize("how", ["store", "time"])
def test_an_order_is_out_though_the_jobs_cannot_be_counted(kit: Kit, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> list[str]:
        raise StoreDown

    if how == "store":
        monkeypatch.setattr(kit.parts.canceller._cancels, "mark_matching", away)
    else:
        monkeypatch.setattr(cancel, "NOTE_SECONDS", 0)

    answered = kit.client.post("/v1/jobs/cancel", json={"queue": "default"})

    assert (answered.status_code, answered.json["requested"]) == (202, None)
    assert len(orders(kit)) == 1


def test_ten_thousand_delayed_jobs_are_cancelled_in_one_call_within_two_seconds(kit: Kit) -> None:
    now_ms = int(time.time() * 1000)
    ids = [new_job_id() for _ in range(10_000)]
    kit.parts.jobs.record(
        [
            Event(
                job=job,
                state=State.SCHEDULED,
                attempt=0,
                at_ms=now_ms,
                task="greet",
                queue="default",
                enqueued_ms=now_ms,
                retry_at_ms=now_ms + 3_600_000,
            )
            for job in ids
        ]
    )

    began = time.perf_counter()
    by_id = kit.client.post("/v1/jobs/cancel", json={"jobs": ids})
    took = time.perf_counter() - began

    assert by_id.json["requested"] == 10_000
    assert took < 2, f"{took:.2f} s"
    assert kit.parts.canceller._cancels.mark_matching(
        "default", None, now_ms, waiting_only=False, now_ms=now_ms, after=""
    ) == []  # fmt: skip


def test_ten_thousand_matching_jobs_take_as_little(kit: Kit) -> None:
    now_ms = int(time.time() * 1000)
    kit.parts.jobs.record(
        [
            Event(
                job=new_job_id(), state=State.QUEUED, attempt=0, at_ms=now_ms, task="greet", queue="default",
                enqueued_ms=now_ms,
            )
            for _ in range(10_000)
        ]
    )  # fmt: skip

    began = time.perf_counter()
    answered = kit.client.post("/v1/jobs/cancel", json={"task": "greet"})
    took = time.perf_counter() - began

    assert answered.json["requested"] == 10_000
    assert took < 2, f"{took:.2f} s"
