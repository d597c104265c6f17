from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import decode, new_job_id
from warren.events import State
from warren_server.api.requests import JobRequest
from warren_server.errors import StoreDown
from warren_server.submit import Identity


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def test_an_accepted_job_is_on_its_queue_and_in_the_store(kit: Kit) -> None:
    answer = kit.submit(priority=3, timeout=1.5, max_attempts=2, expires_in=60)

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    (message,) = kit.queued()
    job = decode(message)
    assert (job.id, job.task, job.body, job.priority) == (answer.json["id"], "greet", b'{"cmd":"hey"}', 3)
    assert (job.timeout_seconds, job.max_attempts, job.attempt) == (1.5, 2, 1)
    assert job.expires_ms == job.enqueued_ms + 60_000
    shown = kit.client.get(answer.headers["Location"]).json
    assert (shown["state"], shown["attempt"], shown["max_attempts"]) == ("queued", 0, 2)


def test_a_delayed_job_is_scheduled_and_comes_due(kit: Kit) -> None:
    answer = kit.submit(delay=90, queue="spare")

    shown = kit.client.get(answer.json["url"]).json
    assert shown["state"] == "scheduled"
    assert datetime.fromisoformat(shown["scheduled_for"]) - datetime.fromisoformat(shown["submitted_at"]) == timedelta(
        seconds=90
    )
    kit.transport.advance(89)
    assert kit.queued("spare") == []
    kit.transport.advance(1)
    assert len(kit.queued("spare")) == 1


def test_run_at_is_a_delay_rounded_up_and_a_past_one_is_now(kit: Kit) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()

    later, now = kit.submit(run_at=soon), kit.submit(run_at="2001-01-01T00:00:00Z")

    assert (later.json["state"], now.json["state"]) == ("scheduled", "queued")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"priority": 255}, "priority"), ({"priority": -1}, "priority"), ({"priority": 1.0}, "priority"),
        ({"priority": True}, "priority"), ({"priority": "1"}, "priority"), ({"delay": -1}, "delay"),
        ({"delay": 2**31}, "delay"), ({"delay": 1.5}, "delay"), ({"delay": "5"}, "delay"),
        ({"delay": 4194304}, "delay"),
        ({"max_attempts": 0}, "max_attempts"), ({"max_attempts": 2**31}, "max_attempts"),
        ({"timeout": 0}, "timeout"), ({"timeout": -1}, "timeout"), ({"timeout": 2**31}, "timeout"),
        ({"timeout": 300.5}, "timeout"),
        ({"expires_in": 0}, "expires_in"), ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": "2030-01-01T00:00:00"}, "run_at"), ({"run_at": "2999-01-01T00:00:00Z"}, "run_at"),
        ({"run_at": "0001-01-01T00:00:00+23:59"}, "run_at"), ({"run_at": 5}, "run_at"),
        ({"delay": 1, "run_at": "2030-01-01T00:00:00Z"}, ""),
        ({"arguments": []}, "arguments"), ({"arguments": None}, "arguments"), ({"arguments": {}}, "arguments.cmd"),
        ({"arguments": {"cmd": 1}}, "arguments.cmd"), ({"arguments": {"cmd": "a", "x": 1}}, "arguments.x"),
        ({"owner": "me"}, "owner"), ({"attempt": 3}, "attempt"), ({"user_id": "root"}, "user_id"),
        ({"__proto__": {}}, "__proto__"), ({"__class__": "x"}, "__class__"), ({"id": "x"}, "id"),
        ({"task": "../../etc/passwd"}, "task"), ({"task": "a.b:c"}, "task"), ({"task": "/bin/sh"}, "task"),
        ({"task": "x" * 10_000}, "task"), ({"task": "greet\x00"}, "task"), ({"task": "greet\n"}, "task"),
        ({"task": None}, "task"), ({"task": ""}, "task"), ({"task": "gr\u0435et"}, "task"),
        ({"queue": "amq.default"}, "queue"), ({"queue": "#"}, "queue"), ({"queue": "*"}, "queue"),
        ({"queue": "a.b"}, "queue"), ({"queue": "q" * 256}, "queue"), ({"queue": "spare\r\nX: y"}, "queue"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_broken_rule_is_named_and_nothing_is_published(kit: Kit, request_: dict[str, Any], field: str) -> None:
    answer = kit.submit(**request_)

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json["problems"][0]["field"] == field
    assert kit.queued() == []


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"task": "os.system"}, "unknown-task"),
        ({"queue": "nowhere"}, "unknown-queue"),
        ({"queue": "nowhere", "delay": 60}, "unknown-queue"),
    ],
)
def test_what_does_not_exist_is_not_found(kit: Kit, request_: dict[str, Any], kind: str) -> None:
    answer = kit.submit(**request_)

    assert (answer.status_code, answer.json["type"]) == (404, f"/problems/{kind}")


def test_without_a_connection_nothing_is_accepted(kit: Kit) -> None:
    kit.transport.disconnect()

    answer = kit.submit()

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/broker-unavailable")
    assert "Retry-After" in answer.headers
    assert kit.client.get("/v1/jobs").json["jobs"] == []


def test_an_alarm_of_the_broker_refuses(kit: Kit) -> None:
    kit.transport.block()

    assert kit.submit().json["type"] == "/problems/broker-blocked"
    assert kit.client.get("/readyz").status_code == 503


def test_a_missing_confirm_leaves_the_outcome_unknown(kit: Kit) -> None:
    kit.transport.hold_confirms()

    answer = kit.submit()

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/outcome-unknown")
    kit.transport.release_confirms()


def test_without_the_store_a_job_is_accepted_and_recorded_later(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    record = kit.parts.jobs.record

    def down(_events: object) -> None:
        raise StoreDown

    monkeypatch.setattr(kit.parts.jobs, "record", down)
    answers = [kit.submit(), kit.submit()]
    monkeypatch.setattr(kit.parts.jobs, "record", record)

    assert [answer.status_code for answer in answers] == [202, 202]
    assert all(answer.json["tracking"] == "deferred" for answer in answers)
    for answer in answers:
        eventually(lambda url=answer.json["url"]: kit.client.get(url).status_code == 200)  # type: ignore[misc]
    assert "tracking" not in kit.submit().json


def test_one_bad_job_of_a_batch_fails_alone(kit: Kit) -> None:
    good = {"task": "greet", "arguments": {"cmd": "a"}}
    items = [
        good,
        {"task": "nope"},
        7,
        {**good, "priority": 99},
        {**good, "queue": "nowhere"},
        {"task": "resize"},
        good,
    ]

    answer = kit.client.post("/v1/jobs/batch", json={"jobs": items})

    assert answer.status_code == 202
    assert [item["status"] for item in answer.json["jobs"]] == [202, 404, 422, 422, 404, 422, 202]
    assert [message.message_id for message in kit.queued()] == [
        answer.json["jobs"][0]["id"],
        answer.json["jobs"][6]["id"],
    ]
    assert len(kit.client.get("/v1/jobs").json["jobs"]) == 2


def test_a_batch_holds_up_to_a_thousand_jobs(kit: Kit) -> None:
    good = {"task": "greet", "arguments": {"cmd": "a"}}

    whole = kit.client.post("/v1/jobs/batch", json={"jobs": [good] * 1000})

    assert {item["status"] for item in whole.json["jobs"]} == {202}
    assert kit.client.post("/v1/jobs/batch", json={"jobs": [good] * 1001}).status_code == 422
    assert kit.client.post("/v1/jobs/batch", json={"jobs": []}).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {},
        {"Content-Type": "application/json;charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_only_plain_json_is_read(kit: Kit, headers: dict[str, str]) -> None:
    answer = kit.client.post("/v1/jobs", data=b'{"task":"greet","arguments":{"cmd":"a"}}', headers=headers)

    assert answer.status_code == 415
    assert kit.queued() == []


def test_the_tutorial_route_is_there_only_when_asked_for(kit: Kit, tmp_path: Path) -> None:
    with running(tmp_path / "..", tutorial=True) as tutorial:
        taken = tutorial.client.get("/add-job/hello")

        assert taken.status_code == 202
        assert decode(tutorial.queued()[0]).body == b'{"cmd":"hello"}'
    assert kit.client.get("/add-job/hello").status_code == 404


def test_a_job_submitted_under_an_identity_has_its_id_time_and_tenant(kit: Kit) -> None:
    request = JobRequest(task="greet", arguments={"cmd": "a"}, delay=90, expires_in=600)
    job = new_job_id()
    enqueued_ms = time.time_ns() // 1_000_000 - 30_000

    taken = kit.parts.submitter.submit(request, Identity(id=job, enqueued_ms=enqueued_ms, tenant="acme"))

    envelope = taken.order.envelope
    assert (envelope.id, envelope.enqueued_ms, envelope.tenant) == (job, enqueued_ms, "acme")
    assert envelope.expires_ms == enqueued_ms + 600_000
    assert taken.order.delay_seconds == 60
    assert taken.order.event.tenant == "acme"


def test_a_job_whose_delay_is_over_by_its_own_time_is_queued_at_once(kit: Kit) -> None:
    request = JobRequest(task="greet", arguments={"cmd": "a"}, delay=5)

    taken = kit.parts.submitter.submit(request, Identity(enqueued_ms=time.time_ns() // 1_000_000 - 6_000))

    assert taken.order.event.state is State.QUEUED
    assert len(kit.queued()) == 1
