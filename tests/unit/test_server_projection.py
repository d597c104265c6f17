from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import Envelope, Message, encode, new_job_id
from warren.events import Event, State, encode_batch
from warren.transport import dead_publication, event_publication
from warren_server.errors import StoreDown


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def event(job: str, state: State, **fields: Any) -> Event:
    at = {
        "job": job,
        "state": state,
        "attempt": 1,
        "at_ms": 2000,
        "task": "greet",
        "queue": "default",
        "enqueued_ms": 1000,
    }
    return Event(**{**at, **fields})


def tell(kit: Kit, *events: Event) -> None:
    kit.transport.publish(event_publication(encode_batch(events))).result(5)


def shown(kit: Kit, job: str) -> dict[str, Any]:
    return eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json if _there(kit, job) else None)


def _there(kit: Kit, job: str) -> bool:
    return bool(kit.client.get(f"/v1/jobs/{job}").status_code == 200)


def test_an_event_without_a_row_makes_it(kit: Kit) -> None:
    job = new_job_id()

    tell(kit, event(job, State.SUCCEEDED, started_ms=1500, outcome="succeeded", result='{"a":1}', worker="w"))

    found = shown(kit, job)
    assert (found["state"], found["result"], found["wait_seconds"], found["run_seconds"]) == (
        "succeeded",
        {"a": 1},
        0.5,
        0.5,
    )
    assert found["submitted_at"] == "1970-01-01T00:00:01.000Z"
    assert [run["worker"] for run in found["attempts"]] == ["w"]


def test_a_wait_ends_when_the_job_does(kit: Kit) -> None:
    job = kit.submit().json["id"]
    tell(kit, event(job, State.SUCCEEDED, outcome="succeeded", started_ms=1500))

    assert kit.client.get(f"/v1/jobs/{job}?wait=10").json["state"] == "succeeded"
    assert kit.client.get(f"/v1/jobs/{new_job_id()}?wait=10").status_code == 404
    assert kit.client.get(f"/v1/jobs/{job}?wait=61").status_code == 422


def test_a_dead_letter_of_a_worker_ends_its_job(kit: Kit) -> None:
    job = kit.submit().json["id"]
    message = encode(Envelope(id=job, task="greet", queue="default", body=b'{"cmd":"x"}', enqueued_ms=1000))
    told = {
        "warren-dead-reason": "failed 5 of 5 attempts", "warren-dead-outcome": "failed", "warren-dead-ms": 5000,
        "warren-dead-attempt": 5, "warren-worker": "w1", "warren-error-type": "ValueError",
        "warren-error-message": "no", "warren-error-traceback": "Traceback…", "warren-started-ms": 4000,
    }  # fmt: skip
    letter = Message(**{**_fields(message), "headers": {**message.headers, **told}})

    for _ in range(2):
        kit.transport.publish(dead_publication(letter)).result(5)

    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == "dead")
    found = shown(kit, job)
    assert found["error"] == {"type": "ValueError", "message": "no", "traceback": "Traceback…"}
    assert found["attempts"][0]["outcome"] == "failed"
    (listed,) = kit.client.get("/v1/dead-letters?queue=default&task=greet").json["dead_letters"]
    assert (listed["id"], listed["reason"], listed["at"]) == (job, "failed 5 of 5 attempts", "1970-01-01T00:00:05.000Z")
    whole = kit.client.get(f"/v1/dead-letters/{job}").json
    assert whole["body"] == "eyJjbWQiOiJ4In0="
    assert whole["message"]["type"] == "greet"


def test_a_dead_letter_of_the_broker_ends_its_job_too(kit: Kit) -> None:
    job = kit.submit().json["id"]
    message = encode(Envelope(id=job, task="greet", queue="default", enqueued_ms=1000))
    deaths: list[Any] = [{"reason": "delivery_limit", "queue": "warren.q.default", "count": 1, "time": 7}]
    kit.transport.publish(
        dead_publication(Message(**{**_fields(message), "headers": {**message.headers, "x-death": deaths}}))
    ).result(5)

    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == "dead")
    assert "handed out too often" in kit.client.get(f"/v1/dead-letters/{job}").json["reason"]
    assert shown(kit, job)["attempts"][0]["outcome"] == "crashed"


@pytest.mark.parametrize(
    "message",
    [
        Message(body=b"\x80\x04pickle"),
        Message(body=b"", headers={"warren-v": "one"}),
        Message(body=b"{}", headers={"x": b"\x00\xff", "y": [{"z": None}], "warren-dead-reason": "a\x00b"}),
    ],
    ids=["pickle", "wrong type", "strange headers"],
)
def test_a_dead_letter_that_is_no_job_is_kept(kit: Kit, message: Message) -> None:
    kit.transport.publish(dead_publication(message)).result(5)

    (letter,) = eventually(lambda: kit.client.get("/v1/dead-letters").json["dead_letters"])
    assert letter["job"] is None
    assert letter["reason"]


@pytest.mark.parametrize(
    "body",
    [b"nonsense", b'{"v":99,"events":[]}', b'{"v":1,"events":[{"job":1}]}'],
)
def test_events_nobody_can_read_are_kept_and_hold_nothing_up(kit: Kit, body: bytes) -> None:
    job = kit.submit().json["id"]

    kit.transport.publish(event_publication(Message(body=body))).result(5)
    tell(kit, event(job, State.SUCCEEDED, outcome="succeeded"))

    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == "succeeded")
    (letter,) = kit.client.get("/v1/dead-letters").json["dead_letters"]
    assert letter["reason"].startswith("message of warren.events: cannot be read")


def test_an_event_the_store_refuses_holds_up_no_other(kit: Kit) -> None:
    job, other = kit.submit().json["id"], kit.submit().json["id"]

    tell(kit, event(other, State.RUNNING, started_ms=10**30))
    tell(kit, event(job, State.SUCCEEDED, outcome="succeeded"))

    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == "succeeded")
    eventually(lambda: kit.client.get("/v1/dead-letters").json["dead_letters"])


def test_events_wait_for_a_store_that_is_away(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    job = kit.submit().json["id"]
    project, tries = kit.parts.jobs.project, []

    def away(events: Any) -> None:
        tries.append(events)
        if len(tries) < 3:
            raise StoreDown
        project(events)

    monkeypatch.setattr(kit.parts.jobs, "project", away)
    tell(kit, event(job, State.SUCCEEDED, outcome="succeeded"))

    eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == "succeeded")
    assert len(tries) == 3


def test_pages_of_jobs_show_each_once_newest_first(kit: Kit) -> None:
    ids = [kit.submit().json["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = kit.client.get("/v1/jobs?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["cursor"]

    assert seen == sorted(ids, reverse=True)
    assert kit.client.get("/v1/jobs?state=dead").json["jobs"] == []
    assert len(kit.client.get("/v1/jobs?queue=default&task=greet&state=queued").json["jobs"]) == 5


@pytest.mark.parametrize(
    "query", ["state=nope", "limit=0", "limit=x", "cursor=x", "unknown=1", "limit=1&limit=2", "queue=..%2F", "task=A"]
)
def test_a_bad_filter_is_refused(kit: Kit, query: str) -> None:
    assert kit.client.get(f"/v1/jobs?{query}").status_code == 422


def _fields(message: Message) -> dict[str, Any]:
    return {
        name: getattr(message, name) for name in ("body", "message_id", "type", "content_type", "timestamp", "app_id")
    }
