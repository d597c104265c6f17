"""Dead letters over HTTP: found, counted, retried one by one, purged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letter_kit import die, junk, listed, row
from server_kit import Kit, running
from waiting import eventually
from warren.envelope import decode
from warren.events import Event, State, encode_batch
from warren.transport import event_publication
from warren_server import retry
from warren_server.store.claims import Claim

ALL = {"all": True}

STRANGER = "01a212ad-76e8-7fc0-bbc8-b656fd09660a"
"""A job nobody submitted."""


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def waiting(kit: Kit) -> list[Any]:
    """Jobs on the delay ladder."""
    return [message for level in range(22) for message in kit.transport.messages(f"warren.delay.{level:02d}")]


def held(kit: Kit, letter: str, seconds: float = 60) -> None:
    """Let somebody else have a letter at hand."""
    now_ms = int(time.time() * 1000)
    claim = Claim(holder="another", until_ms=now_ms + int(seconds * 1000))
    assert kit.parts.letters.claim(letter, claim, now_ms) is not None


def test_a_letter_says_how_where_and_of_what_it_died(kit: Kit) -> None:
    job = die(kit, worker="w9", image="shop:1.2")

    (found,) = listed(kit)

    told = {name: found[name] for name in ("id", "job", "outcome", "worker", "image", "attempt")}
    assert told == {"id": job, "job": job, "outcome": "failed", "worker": "w9", "image": "shop:1.2", "attempt": 5}
    assert found["error"]["type"] == "ValueError"
    junky = junk(kit)
    whole = kit.client.get(f"/v1/dead-letters/{junky}").json
    assert (whole["outcome"], whole["image"]) == ("undecodable", None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1, 0]),
        ("queue=media", [1]),
        ("task=resize", [1]),
        ("error=KeyError", [2]),
        ("outcome=failed", [3, 2, 1, 0]),
        ("outcome=crashed", []),
        ("reason=100%25", [3]),
        ("reason=OUT+OF", [3]),
        ("reason=_", []),
        ("worker=w2", [2]),
        ("since=1970-01-01T00:00:02Z", [3, 2]),
        ("until=1970-01-01T00:00:02Z", [1, 0]),
        ("since=1970-01-01T00:00:01Z&until=1970-01-01T00:00:02Z", [1]),
        ("queue=default&error=ValueError", [3, 0]),
    ],
)
def test_letters_are_found_by_what_they_have_in_common(kit: Kit, query: str, found: list[int]) -> None:
    rows = [
        row(dead_ms=500),
        row(dead_ms=1000, queue="media", task="resize"),
        row(dead_ms=2000, error="KeyError", worker="w2"),
        row(dead_ms=3000, reason="ran out of 100% of its attempts"),
    ]
    kit.parts.letters.add(rows)

    assert [each["id"] for each in listed(kit, f"?{query}")] == [rows[number]["id"] for number in found]


def test_a_letter_is_found_by_its_job(kit: Kit) -> None:
    rows = [row(), row()]
    kit.parts.letters.add(rows)

    assert [each["id"] for each in listed(kit, f"?job={rows[1]['job']}")] == [rows[1]["id"]]


def test_pages_show_each_letter_once_and_no_tombstone(kit: Kit) -> None:
    rows = [row(dead_ms=1000 + number // 2) for number in range(9)]
    kit.parts.letters.add(rows)
    kit.client.delete(f"/v1/dead-letters/{rows[4]['id']}")
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = kit.client.get("/v1/dead-letters?limit=3" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [each["id"] for each in page["dead_letters"]]
        cursor = page["cursor"]

    assert len(seen) == 8
    assert set(seen) == {each["id"] for each in rows} - {rows[4]["id"]}


@pytest.mark.parametrize("query", ["cursor=x", "limit=0", "outcome=sad", "since=now", "job=x", "error=", "error=%00"])
def test_a_bad_filter_is_refused(kit: Kit, query: str) -> None:
    assert kit.client.get(f"/v1/dead-letters?{query}").status_code == 422


def test_the_summary_counts_what_letters_have_in_common(kit: Kit) -> None:
    kit.parts.letters.add(
        [
            *(row(dead_ms=1000 + number) for number in range(3)),
            row(error="KeyError", dead_ms=7),
            row(queue="media", task="resize", dead_ms=8),
        ]
    )
    junk(kit)

    found = kit.client.get("/v1/dead-letters/summary").json

    assert found["total"] == 6
    assert found["groups"][0] == {
        "queue": "default",
        "task": "greet",
        "error": "ValueError",
        "count": 3,
        "first_at": "1970-01-01T00:00:01.000Z",
        "last_at": "1970-01-01T00:00:01.002Z",
    }
    assert [group["count"] for group in found["groups"]] == [3, 1, 1, 1]
    only = kit.client.get("/v1/dead-letters/summary?queue=media").json
    assert (only["total"], [group["task"] for group in only["groups"]]) == (1, ["resize"])


def test_a_summary_of_very_many_groups_still_counts_all(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from warren_server.api import dead_letters

    monkeypatch.setattr(dead_letters, "_MAX_GROUPS", 2)
    kit.parts.letters.add([row(error=f"E{number}") for number in range(3)])

    found = kit.client.get("/v1/dead-letters/summary").json

    assert (found["total"], len(found["groups"])) == (3, 2)


def test_a_dead_job_is_retried_as_it_was(kit: Kit) -> None:
    job = die(kit)

    answered = kit.client.post(f"/v1/jobs/{job}/retry")

    assert (answered.status_code, answered.json["state"], answered.json["round"]) == (202, "queued", 1)
    assert answered.headers["Location"] == f"/v1/jobs/{job}"
    (message,) = kit.queued()
    envelope = decode(message)
    assert (envelope.id, envelope.attempt, envelope.forgiven, envelope.round) == (job, 6, 5, 1)
    assert listed(kit) == []


def test_a_retry_may_change_everything_about_a_job(kit: Kit) -> None:
    job = die(kit)

    edits = {"arguments": {"cmd": "ho"}, "queue": "spare", "delay": 60, "max_attempts": 2, "timeout": 5}
    answered = kit.client.post(f"/v1/dead-letters/{job}/retry", json=edits)

    assert (answered.status_code, answered.json["state"], answered.json["queue"]) == (202, "scheduled", "spare")
    assert answered.json["scheduled_for"] is not None
    (message,) = waiting(kit)
    envelope = decode(message)
    assert json.loads(envelope.body) == {"cmd": "ho"}
    assert (envelope.queue, envelope.max_attempts, envelope.timeout_seconds) == ("spare", 2, 5.0)


@pytest.mark.parametrize(
    ("edits", "status", "kind"),
    [
        ({"arguments": {"cmd": 1}}, 422, "invalid-arguments"),
        ({"arguments": {"cmd": "x" * 1_048_570}}, 413, "too-large"),
        ({"queue": "nowhere"}, 404, "unknown-queue"),
        ({"timeout": 10_000}, 422, "invalid-request"),
        ({"delay": -1}, 422, "invalid-request"),
        ({"surprise": 1}, 422, "invalid-request"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_change_that_breaks_a_rule_leaves_the_letter(kit: Kit, edits: dict[str, Any], status: int, kind: str) -> None:
    job = die(kit)

    answered = kit.client.post(f"/v1/jobs/{job}/retry", json=edits)

    assert (answered.status_code, answered.json["type"]) == (status, f"/problems/{kind}")
    assert [each["id"] for each in listed(kit)] == [job]
    assert kit.queued() == []


def test_arguments_that_grow_too_large_when_written_are_refused(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    job = die(kit)
    monkeypatch.setattr(retry, "MAX_BODY_BYTES", 10)

    answered = kit.client.post(f"/v1/jobs/{job}/retry", json={"arguments": {"cmd": "hello"}})

    assert (answered.status_code, answered.json["type"]) == (413, "/problems/too-large")


def test_the_arguments_of_a_task_this_server_does_not_know_cannot_be_changed(kit: Kit) -> None:
    job = die(kit, task="stranger")

    refused = kit.client.post(f"/v1/jobs/{job}/retry", json={"arguments": {}})
    taken = kit.client.post(f"/v1/jobs/{job}/retry", json={"timeout": 10_000})

    assert (refused.status_code, refused.json["type"]) == (404, "/problems/unknown-task")
    assert taken.status_code == 202


@pytest.mark.parametrize("state", [State.QUEUED, State.SUCCEEDED, State.CANCELLED])
def test_only_a_dead_job_is_retried(kit: Kit, state: State) -> None:
    job = kit.submit().json["id"]
    if state is not State.QUEUED:
        event = Event(job=job, state=state, attempt=1, at_ms=1, task="greet", queue="default", enqueued_ms=1)
        kit.transport.publish(event_publication(encode_batch([event]))).result(5)
        eventually(lambda: kit.client.get(f"/v1/jobs/{job}").json["state"] == state.value)

    answered = kit.client.post(f"/v1/jobs/{job}/retry")

    assert (answered.status_code, answered.json["type"]) == (409, "/problems/not-dead")


@pytest.mark.parametrize("job", [STRANGER, "nonsense"])
def test_what_is_not_there_cannot_be_retried(kit: Kit, job: str) -> None:
    assert kit.client.post(f"/v1/jobs/{job}/retry").json["type"] == "/problems/unknown-job"
    assert kit.client.post(f"/v1/dead-letters/{job}/retry").json["type"] == "/problems/unknown-dead-letter"
    assert kit.client.delete(f"/v1/dead-letters/{job}").json["type"] == "/problems/unknown-dead-letter"


def test_a_dead_job_whose_letter_was_purged_cannot_be_retried(kit: Kit) -> None:
    job = die(kit)
    assert kit.client.delete(f"/v1/dead-letters/{job}").status_code == 204

    answered = kit.client.post(f"/v1/jobs/{job}/retry")

    assert (answered.status_code, answered.json["type"]) == (404, "/problems/unknown-dead-letter")
    assert kit.client.get(f"/v1/jobs/{job}").json["state"] == "dead"


def test_a_letter_that_is_no_job_cannot_be_retried(kit: Kit) -> None:
    letter = junk(kit)

    answered = kit.client.post(f"/v1/dead-letters/{letter}/retry")

    assert (answered.status_code, answered.json["type"]) == (409, "/problems/not-redrivable")
    assert len(listed(kit)) == 1


def test_a_letter_at_anothers_hand_is_neither_retried_nor_deleted_nor_purged(kit: Kit) -> None:
    job = die(kit)
    held(kit, job)

    retried, deleted = kit.client.post(f"/v1/jobs/{job}/retry"), kit.client.delete(f"/v1/dead-letters/{job}")

    assert [each.json["type"] for each in (retried, deleted)] == ["/problems/dead-letter-busy"] * 2
    assert retried.headers["Retry-After"] == "2"
    assert kit.client.post("/v1/dead-letters/purge", json=ALL).json["count"] == 0
    assert kit.queued() == []


def test_a_job_that_somebody_wanted_cancelled_is_not_retried(kit: Kit) -> None:
    job = kit.submit().json["id"]
    kit.client.post(f"/v1/jobs/{job}/cancel")
    die(kit, job)

    answered = kit.client.post(f"/v1/jobs/{job}/retry")

    assert (answered.status_code, answered.json["type"]) == (409, "/problems/cancel-requested")


def test_a_letter_whose_queue_is_gone_stays(kit: Kit) -> None:
    job = die(kit, queue="gone")

    for edits in ({}, {"delay": 5}):
        answered = kit.client.post(f"/v1/jobs/{job}/retry", json=edits)
        assert (answered.status_code, answered.json["type"]) == (404, "/problems/unknown-queue")

    assert [each["id"] for each in listed(kit)] == [job]
    assert kit.client.post(f"/v1/jobs/{job}/retry", json={"queue": "spare"}).status_code == 202


def test_a_retry_the_broker_does_not_take_can_be_made_again(kit: Kit) -> None:
    job = die(kit)
    kit.transport.disconnect()
    refused = kit.client.post(f"/v1/jobs/{job}/retry")
    kit.transport.reconnect()

    taken = kit.client.post(f"/v1/jobs/{job}/retry")

    assert (refused.status_code, refused.json["type"]) == (503, "/problems/broker-unavailable")
    assert taken.status_code == 202
    assert len(kit.queued()) == 1


def test_a_record_that_went_meanwhile_is_told(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    job = die(kit)
    monkeypatch.setattr(kit.parts.jobs, "get", lambda _job: None)

    answered = kit.client.post(f"/v1/jobs/{job}/retry")

    assert answered.status_code == 404
    assert len(kit.queued()) == 1


def test_a_purge_deletes_what_matches_with_all_its_content(kit: Kit) -> None:
    kit.parts.letters.add([row(), row(), row(queue="media")])

    dry = kit.client.post("/v1/dead-letters/purge", json={"filter": {"queue": "default"}, "dry_run": True})
    assert (dry.status_code, dry.json["count"], len(dry.json["sample"])) == (200, 2, 2)
    assert len(listed(kit)) == 3
    purged = kit.client.post("/v1/dead-letters/purge", json={"filter": {"queue": "default"}})

    assert purged.json == {"dry_run": False, "count": 2, "complete": True, "sample": []}
    assert [each["queue"] for each in listed(kit)] == ["media"]
    with kit.parts.database.read() as connection:
        left = connection.exec_driver_sql("SELECT body, message FROM dead_letters WHERE gone_how = 'purged'").all()
    assert left == [(b"", "{}")] * 2


def test_a_purge_of_all_must_be_said_aloud(kit: Kit) -> None:
    kit.parts.letters.add([row()])

    refused = kit.client.post("/v1/dead-letters/purge", json={})

    assert refused.status_code == 422
    assert "the filter is empty" in refused.json["detail"]
    assert kit.client.post("/v1/dead-letters/purge", json=ALL).json["count"] == 1


def test_a_purge_that_takes_too_long_says_that_it_is_not_complete(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from warren_server.api import redrives

    monkeypatch.setattr(redrives, "_PURGE_BATCH", 2)
    kit.parts.letters.add([row() for _ in range(5)])
    assert kit.client.post("/v1/dead-letters/purge", json=ALL).json == {
        "dry_run": False, "count": 5, "complete": True, "sample": [],
    }  # fmt: skip
    monkeypatch.setattr(redrives, "_PURGE_SECONDS", -1)

    assert kit.client.post("/v1/dead-letters/purge", json=ALL).json["complete"] is False


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/dead-letters/redrive", "admin"),
        ("POST", "/v1/dead-letters/purge", "admin"),
        ("DELETE", f"/v1/dead-letters/{STRANGER}", "admin"),
        ("POST", f"/v1/dead-letters/redrives/{STRANGER}/stop", "admin"),
        ("POST", f"/v1/dead-letters/{STRANGER}/retry", "submit"),
        ("POST", f"/v1/jobs/{STRANGER}/retry", "submit"),
        ("POST", f"/v1/jobs/{STRANGER}/cancel", "submit"),
        ("POST", "/v1/jobs/cancel", "submit"),
        ("GET", "/v1/dead-letters/summary", "read"),
        ("GET", "/v1/dead-letters/redrives", "read"),
    ],
)
def test_each_route_needs_its_scope(tmp_path: Path, method: str, path: str, scope: str) -> None:
    with running(tmp_path, auth="tokens") as kit:
        others = [each for each in ("submit", "read") if each != scope]
        _, secret = kit.parts.tokens.create("t", others)

        answered = kit.client.open(path, method=method, headers={"Authorization": f"Bearer {secret}"})

    assert answered.status_code == 403
    assert f"the scope {scope}" in answered.json["detail"]
