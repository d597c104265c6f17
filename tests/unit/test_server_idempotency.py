"""Submits with an Idempotency-Key, on the in-memory transport and SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import decode, job_id_for_key
from warren.errors import InvalidArguments, OutcomeUnknown, QueueFull, TransportError, Unavailable, Unroutable
from warren.events import Event, State
from warren_server.api.problems import Refusal
from warren_server.errors import StoreDown
from warren_server.idempotency import Known, Post, Then, read_key, then
from warren_server.store import idempotency
from warren_server.store.idempotency import KeyName, KeyStore, Use
from warren_server.store.schema import idempotency_keys

JOB = {"task": "greet", "arguments": {"cmd": "a"}}
OTHER = {"task": "greet", "arguments": {"cmd": "b"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def post(kit: Kit, key: str = '"k"', body: Any = None, path: str = "/v1/jobs", **headers: str) -> Any:
    return kit.client.post(path, json=JOB if body is None else body, headers={"Idempotency-Key": key, **headers})


def end_lock(kit: Kit) -> None:
    """Let the time pass after which a request that never answered has lost its key."""
    with kit.parts.database.write() as connection:
        connection.execute(update(idempotency_keys).values(locked_ms=0))


def end_life(kit: Kit, by_ms: int = 0) -> None:
    """Let the time pass after which keys are forgotten."""
    with kit.parts.database.write() as connection:
        connection.execute(update(idempotency_keys).values(expires_ms=by_ms))


def test_the_same_key_and_body_is_answered_as_before_and_submits_nothing(kit: Kit) -> None:
    first, second = post(kit), post(kit)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.data == first.data
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert [message.message_id for message in kit.queued()] == [first.json["id"]]


def test_the_jobs_id_is_that_of_its_tenant_and_key(kit: Kit) -> None:
    assert post(kit, '"order-7"').json["id"] == job_id_for_key("", "order-7")


def test_the_order_and_spacing_of_a_body_do_not_matter(kit: Kit) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    one = kit.client.post("/v1/jobs", data=b'{"task":"greet","arguments":{"cmd":"a"}}', headers=headers)
    other = kit.client.post("/v1/jobs", data=b'{"arguments": {"cmd": "\\u0061"}, "task": "greet"}', headers=headers)

    assert other.data == one.data


def test_another_body_under_a_used_key_is_refused(kit: Kit) -> None:
    post(kit)

    answer = post(kit, body=OTHER)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/idempotency-key-reused")
    assert len(kit.queued()) == 1


def test_a_key_is_one_for_each_endpoint(kit: Kit) -> None:
    single = post(kit)
    batch = post(kit, body={"jobs": [JOB]}, path="/v1/jobs/batch")

    assert batch.json["jobs"][0]["id"] != single.json["id"]
    assert len(kit.queued()) == 2


def test_a_second_request_meets_a_busy_key_while_the_first_is_under_way(kit: Kit) -> None:
    kit.transport.hold_confirms()
    answers: list[Any] = []
    app = kit.client.application
    first = threading.Thread(target=lambda: answers.append(post(Kit(kit.parts, kit.transport, app.test_client()))))
    first.start()
    eventually(lambda: kit.transport.status.unconfirmed == 1)

    second = post(kit)
    kit.transport.release_confirms()
    first.join()

    assert (second.status_code, second.json["type"]) == (409, "/problems/idempotency-key-busy")
    assert second.headers["Retry-After"] == "1"
    assert answers[0].status_code == 202
    assert post(kit).data == answers[0].data


@pytest.mark.parametrize(
    "key",
    [
        '""',
        '"',
        '"a',
        'a"',
        "a b",
        '"a b"',
        "a,b",
        "a;b=1",
        '"a";b=1',
        "ä",
        '"\\x"',
        "x" * 256,
        f'"{"x" * 256}"',
        "\x7f",
    ],
)
def test_a_malformed_key_is_refused_with_its_rule(kit: Kit, key: str) -> None:
    answer = post(kit, key)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/invalid-request")
    assert answer.json["problems"][0]["field"] == "Idempotency-Key"
    assert kit.queued() == []


def test_an_empty_header_is_refused_not_taken_for_none() -> None:
    with pytest.raises(Refusal, match="Idempotency-Key"):
        read_key("")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_every_visible_text_can_be_a_quoted_key(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')

    assert read_key(f' "{escaped}"\t') == key


def test_the_bare_form_of_a_key_is_the_same_key(kit: Kit) -> None:
    assert post(kit, "8e03978e-40d5").data == post(kit, '"8e03978e-40d5"').data


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({**JOB, "priority": 99}, "invalid-request"),
        ({"task": "greet", "arguments": {"cmd": 1}}, "invalid-arguments"),
        ({"task": "nope"}, "unknown-task"),
        ({**JOB, "queue": "nowhere"}, "unknown-queue"),
    ],
)
def test_a_refused_request_leaves_its_key_free(kit: Kit, body: dict[str, Any], kind: str) -> None:
    assert post(kit, body=body).json["type"] == f"/problems/{kind}"

    answer = post(kit)

    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (202, False)


def test_a_request_that_certainly_did_nothing_leaves_its_key_free(kit: Kit) -> None:
    kit.transport.block()
    assert post(kit).json["type"] == "/problems/broker-blocked"
    kit.transport.unblock()

    assert post(kit, body=OTHER).status_code == 202


def test_after_an_unknown_outcome_the_key_is_busy_then_the_same_job_is_submitted_again(kit: Kit) -> None:
    kit.transport.hold_confirms()
    unknown = post(kit)
    kit.transport.release_confirms()
    busy = post(kit)
    end_lock(kit)
    again = post(kit)

    assert unknown.json["type"] == "/problems/outcome-unknown"
    assert busy.json["type"] == "/problems/idempotency-key-busy"
    assert again.status_code == 202
    one, copy = (decode(message) for message in kit.queued())
    assert (one.id, one.enqueued_ms) == (copy.id, copy.enqueued_ms)
    assert len(kit.client.get("/v1/jobs").json["jobs"]) == 1


def test_what_another_try_submitted_already_is_told_without_submitting_it_again(kit: Kit) -> None:
    kit.transport.hold_confirms()
    post(kit)
    kit.transport.release_confirms()
    (message,) = eventually(kit.queued)
    job = decode(message)
    started = Event(
        job=job.id, state=State.RUNNING, attempt=1, at_ms=job.enqueued_ms + 5, task=job.task, queue=job.queue,
        enqueued_ms=job.enqueued_ms,
    )  # fmt: skip
    kit.parts.jobs.project([started])
    end_lock(kit)

    answer = post(kit)

    assert (answer.status_code, answer.json["id"], answer.json["state"]) == (202, job.id, "running")
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert len(kit.queued()) == 1
    assert post(kit).data == answer.data


def test_a_later_refusal_does_not_free_a_key_whose_first_try_may_have_submitted(kit: Kit) -> None:
    kit.transport.hold_confirms()
    post(kit)
    kit.transport.release_confirms()
    end_lock(kit)
    kit.transport.block()
    refused = post(kit)
    kit.transport.unblock()

    assert refused.json["type"] == "/problems/broker-blocked"
    assert post(kit, body=OTHER).json["type"] == "/problems/idempotency-key-reused"
    assert post(kit).status_code == 202


def test_an_expired_key_is_new_and_makes_another_job(kit: Kit) -> None:
    first = post(kit)
    end_life(kit)
    second = post(kit, body=OTHER)
    end_life(kit)
    third = post(kit)

    assert len({first.json["id"], second.json["id"], third.json["id"]}) == 3
    assert post(kit).data == third.data
    assert len(kit.queued()) == 3


def test_a_key_that_was_cleaned_up_makes_another_job_though_the_old_one_is_in_the_record(tmp_path: Path) -> None:
    with running(tmp_path, {"idempotency_seconds": 1}) as kit:
        first = post(kit)
        end_life(kit)
        keys = KeyStore(kit.parts.database)
        assert keys.expire(first_ms(kit) + 2000, 10) == 1
        eventually(lambda: now_ms() > first_ms(kit) + 1000)

        second = post(kit)

        assert second.json["id"] != first.json["id"]
        assert "Idempotent-Replayed" not in second.headers


def test_a_key_whose_row_the_database_lost_does_not_make_a_young_job_again(kit: Kit) -> None:
    first = post(kit)
    end_life(kit)
    assert KeyStore(kit.parts.database).expire(now_ms(), 10) == 1

    second = post(kit)

    assert second.json["id"] == first.json["id"]
    assert len(kit.queued()) == 1


def test_old_keys_are_forgotten_a_bounded_number_at_a_time(kit: Kit) -> None:
    for number in range(5):
        post(kit, f'"{number}"')
    end_life(kit)
    post(kit, '"young"')
    keys = KeyStore(kit.parts.database)

    gone = [keys.expire(now_ms(), 3), keys.expire(now_ms(), 3), keys.expire(now_ms(), 3)]

    assert gone == [3, 2, 0]
    assert post(kit, '"young"').headers["Idempotent-Replayed"] == "true"


def test_submits_with_a_key_sweep_now_and_then(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren_server.idempotency._SWEEP_ROWS", 2)
    for number in range(5):
        post(kit, f'"{number}"')
    end_life(kit)

    kit.parts.keys._swept -= 100
    for number in range(5, 8):
        post(kit, f'"{number}"')

    with kit.parts.database.read() as connection:
        left = {row.key for row in connection.execute(idempotency_keys.select())}
    assert left == {"5", "6", "7"}


def test_a_sweep_that_fails_fails_no_submit(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyStore, "expire", down)
    kit.parts.keys._swept -= 100

    assert post(kit).status_code == 202


def test_without_the_store_a_request_with_a_key_is_refused_and_publishes_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyStore, "claim", down)

    answer = post(kit)

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/store-unavailable")
    assert answer.headers["Retry-After"]
    assert kit.queued() == []


def test_a_store_that_goes_away_after_the_submit_costs_the_replay_not_the_job(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(KeyStore, "answer", down)
        first = post(kit)
    assert post(kit).json["type"] == "/problems/idempotency-key-busy"
    end_lock(kit)

    second = post(kit)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json["id"] == first.json["id"]
    assert len(kit.queued()) == 1


def test_a_batch_under_a_key_is_submitted_once_with_an_id_for_each_job(kit: Kit) -> None:
    body = {"jobs": [JOB, {"task": "nope"}, OTHER, JOB]}

    first = post(kit, body=body, path="/v1/jobs/batch")
    second = post(kit, body=body, path="/v1/jobs/batch")

    assert [item["status"] for item in first.json["jobs"]] == [202, 404, 202, 202]
    assert (second.data, second.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert len({message.message_id for message in kit.queued()}) == 3


def test_a_batch_of_which_some_found_no_room_goes_on_where_it_stopped(kit: Kit) -> None:
    body = {"jobs": [JOB, OTHER, JOB]}
    publish = kit.transport.publish
    calls: list[int] = []

    def full_at_second(publication: Any, *, wait_seconds: float = 0.0) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise Unavailable
        return publish(publication, wait_seconds=wait_seconds)

    kit.transport.publish = full_at_second  # type: ignore[method-assign]
    first = post(kit, body=body, path="/v1/jobs/batch")
    second = post(kit, body=body, path="/v1/jobs/batch")

    assert [item["status"] for item in first.json["jobs"]] == [202, 503, 202]
    assert [item["status"] for item in second.json["jobs"]] == [202, 202, 202]
    assert [item.get("id") for item in first.json["jobs"]][::2] == [item["id"] for item in second.json["jobs"]][::2]
    assert sorted(item["id"] for item in second.json["jobs"]) == sorted(str(one.message_id) for one in kit.queued())


def test_tenants_do_not_share_keys(tmp_path: Path) -> None:
    with running(tmp_path, auth="tokens") as kit:
        made = []
        for tenant in ("acme", "umbrella", None):
            _, secret = kit.parts.tokens.create("t", ["submit"], tenant=tenant)
            made.append(post(kit, Authorization=f"Bearer {secret}").json["id"])

        assert len(set(made)) == 3
        assert [decode(message).tenant for message in kit.queued()] == ["acme", "umbrella", None]


TAKEN = Known({})


@pytest.mark.parametrize(
    ("results", "fresh", "expected"),
    [
        ([TAKEN], True, Then.ANSWER),
        ([TAKEN, Refusal("invalid-request", "x")], True, Then.ANSWER),
        ([TAKEN, Unroutable()], True, Then.ANSWER),
        ([TAKEN, QueueFull()], True, Then.UNLOCK),
        ([Refusal("invalid-request", "x")], True, Then.RELEASE),
        ([InvalidArguments("t", [])], False, Then.UNLOCK),
        ([Unavailable(), QueueFull()], True, Then.RELEASE),
        ([Unavailable()], False, Then.UNLOCK),
        ([OutcomeUnknown()], True, Then.KEEP),
        ([TAKEN, OutcomeUnknown()], False, Then.KEEP),
        ([Unavailable(), TransportError()], True, Then.KEEP),
        ([RuntimeError()], True, Then.KEEP),
    ],
    ids=str,
)
def test_what_becomes_of_a_key(results: list[Any], fresh: bool, expected: Then) -> None:
    assert then(results, fresh=fresh) is expected


def test_no_two_jobs_of_any_request_share_an_id() -> None:
    def named(key: str, *, single: bool) -> Post:
        return Post(tenant=None, endpoint="", key=key, document={}, single=single)

    ids = {
        named(key, single=single).job_id(index, generation)
        for key in ("k", "k1")
        for single in (True, False)
        for index in range(1 if single else 12)
        for generation in (0, 1, 11)
    }

    assert len(ids) == 2 * 3 * (1 + 12)


def test_a_request_that_lost_its_lock_cannot_free_the_key_of_the_next(kit: Kit) -> None:
    keys = KeyStore(kit.parts.database)
    name = KeyName(tenant="", endpoint="jobs", key="k")
    slow = Use(name=name, fingerprint="f", now_ms=1000, locked_ms=1010, expires_ms=9000)
    quick = Use(name=name, fingerprint="f", now_ms=1020, locked_ms=1030, expires_ms=9000)

    mine = keys.claim(slow, lambda _: ["a"])
    theirs = keys.claim(quick, lambda _: ["a"])
    keys.release(mine)  # type: ignore[arg-type]
    keys.unlock(mine)  # type: ignore[arg-type]

    assert (mine.fresh, theirs.fresh, theirs.created_ms) == (True, False, 1000)  # type: ignore[union-attr]
    with kit.parts.database.read() as connection:
        assert connection.execute(idempotency_keys.select()).one().locked_ms == 1030


def down(*_args: object, **_more: object) -> Any:
    raise StoreDown("away")


def now_ms() -> int:

    return time.time_ns() // 1_000_000


def first_ms(kit: Kit) -> int:
    return decode(kit.queued()[0]).enqueued_ms


def test_a_key_let_go_of_while_it_is_looked_at_is_taken_in_the_next_look(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [None, None]
    claim = idempotency._claim
    monkeypatch.setattr(idempotency, "_claim", lambda *args: looks.pop() if looks else claim(*args))

    assert post(kit).status_code == 202

    monkeypatch.setattr(idempotency, "_claim", lambda *_: None)
    assert post(kit, '"other"').json["type"] == "/problems/store-unavailable"
