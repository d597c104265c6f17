"""What a dead letter becomes, and the redriver that carries it out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letter_kit import die, junk, letter, listed, row
from server_kit import Kit, running
from waiting import eventually
from warren.envelope import MAX_ROUND, Envelope, Message, decode, new_job_id
from warren.events import State
from warren.transport import dead_publication
from warren_server.dead import dead_row, rejected_row
from warren_server.errors import NotRedrivable, StoreDown
from warren_server.redrive import Edits, redriven, redriven_event
from warren_server.redriver import BATCH, Pace
from warren_server.store.dead_letters import DeadLetterFilter

ALL = {"all": True}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def redrive(kit: Kit, **body: Any) -> dict[str, Any]:
    answered = kit.client.post("/v1/dead-letters/redrive", json=body)
    assert answered.status_code == 202, answered.json
    return dict(answered.json)


def ended(kit: Kit, url: str, state: str = "done") -> dict[str, Any]:
    eventually(lambda: kit.client.get(url).json["state"] == state)
    return dict(kit.client.get(url).json)


def test_a_redriven_job_keeps_what_it_is_and_has_its_budget_anew() -> None:
    job = new_job_id()
    dead = row(
        job, attempt=5, max_attempts=5, expires_ms=2000, parked_ms=1500, parked_count=2, state='{"page":3}', priority=7,
        timeout_seconds=2.5, tenant="acme", traceparent="00-x",
    )  # fmt: skip

    made = redriven(dead, None, 9000)

    assert made == Envelope(
        id=job, task="greet", queue="default", body=b'{"cmd":"hey"}', attempt=6, forgiven=5, round=1, enqueued_ms=9000,
        max_attempts=5, state='{"page":3}', priority=7, timeout_seconds=2.5, tenant="acme", traceparent="00-x",
    )  # fmt: skip


def test_attempts_and_rounds_go_on_from_the_most_that_anybody_knows() -> None:
    dead = row(attempt=2, round=1)

    again = redriven(dead, {"attempt": 22, "round": 3}, 9000)
    last = redriven(row(attempt=2, round=MAX_ROUND), None, 9000)

    assert (again.attempt, again.forgiven, again.round) == (23, 22, 4)
    assert last.round == MAX_ROUND


def test_edits_take_the_place_of_what_was() -> None:
    made = redriven(row(), None, 9000, Edits(body=b"{}", queue="spare", max_attempts=2, timeout_seconds=1.5))

    assert (made.body, made.queue, made.max_attempts, made.timeout_seconds) == (b"{}", "spare", 2, 1.5)


def test_an_escalated_job_stays_in_the_larger_queue_and_begins_anew_in_any_other() -> None:
    dead = row(queue="large", escalated_from="default", attempt=2, max_attempts=1)

    kept, named = redriven(dead, None, 9000), redriven(dead, None, 9000, Edits(queue="large"))
    back = redriven(dead, None, 9000, Edits(queue="default"))

    assert (kept.queue, kept.escalated_from, kept.attempt, kept.forgiven) == ("large", "default", 3, 2)
    assert named == kept
    assert (back.queue, back.escalated_from, back.max_attempts) == ("default", None, 1)


@pytest.mark.parametrize(
    "dead",
    [rejected_row(Message(body=b"x"), "q", "bad"), dead_row(Message(body=b"{}", headers={"warren-v": 99}))],
    ids=["junk", "newer version"],
)
def test_what_is_no_job_cannot_be_redriven(dead: dict[str, Any]) -> None:
    with pytest.raises(NotRedrivable, match="is no job"):
        redriven(dead, None, 9000)


def test_the_store_is_told_that_it_is_queued_or_scheduled_in_its_new_round() -> None:
    made = redriven(row(), None, 9000)

    now, later = redriven_event(made, 9000), redriven_event(made, 9000, 60)

    assert (now.state, now.attempt, now.round, now.retry_at_ms) == (State.QUEUED, 5, 1, None)
    assert (later.state, later.retry_at_ms) == (State.SCHEDULED, 69_000)


def test_a_pace_keeps_its_rate_on_average_and_catches_up_nothing() -> None:
    pace = Pace(500)

    assert (pace.batch, Pace(0.5).batch, Pace(None).batch, Pace(1e6).batch) == (50, 1, BATCH, BATCH)
    assert pace.pause(50, 10.0) == pytest.approx(0.1)
    assert pace.pause(50, 10.15) == pytest.approx(0.1)
    assert pace.pause(50, 10.2) == pytest.approx(0.15)
    assert pace.pause(50, 60.0) == pytest.approx(0.1)
    assert Pace(None).pause(100, 10.0) == 0


def test_a_redrive_brings_jobs_back_and_leaves_nothing(kit: Kit) -> None:
    jobs = [die(kit) for _ in range(3)]

    begun = redrive(kit, **ALL)

    assert (begun["state"], begun["total"], begun["filter"], begun["rate"]) == ("running", 3, {}, None)
    done = ended(kit, begun["url"])
    assert (done["moved"], done["failed"], done["error"]) == (3, 0, None)
    assert done["finished_at"] is not None
    assert listed(kit) == []
    envelopes = [decode(message) for message in kit.queued()]
    assert {(each.id, each.attempt, each.round) for each in envelopes} == {(job, 6, 1) for job in jobs}
    for job in jobs:
        shown = kit.client.get(f"/v1/jobs/{job}").json
        assert (shown["state"], shown["round"], shown["error"], shown["finished_at"]) == ("queued", 1, None, None)
        assert [run["attempt"] for run in shown["attempts"]] == [5]


def test_only_letters_that_match_are_moved(kit: Kit) -> None:
    job, other = die(kit), die(kit, queue="media", task="resize")

    done = ended(kit, redrive(kit, filter={"queue": "default"})["url"])

    assert (done["total"], done["moved"], done["filter"]) == (1, 1, {"queue": "default"})
    assert [each["id"] for each in listed(kit)] == [other]
    assert [message.message_id for message in kit.queued()] == [job]


def test_a_dry_run_counts_and_shows_and_moves_nothing(kit: Kit) -> None:
    jobs = [die(kit, dead_ms=5000 + number) for number in range(12)]

    answered = kit.client.post("/v1/dead-letters/redrive", json={"dry_run": True, "filter": {"error": "ValueError"}})

    assert answered.status_code == 200
    assert (answered.json["dry_run"], answered.json["count"]) == (True, 12)
    assert [each["id"] for each in answered.json["sample"]] == jobs[:1:-1]
    assert len(listed(kit)) == 12
    assert kit.queued() == []
    assert kit.client.get("/v1/dead-letters/redrives").json["redrives"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "the filter is empty"),
        ({"filter": {}}, "the filter is empty"),
        ({"all": True, "filter": {"queue": "default"}}, "contradict"),
        ({"all": True, "rate": 0}, "greater than 0"),
        ({"filter": {"surprise": "x"}}, "surprise"),
        ({"filter": {"outcome": "sad"}}, "must be one of"),
        ({"filter": {"error": "a\x00b"}}, "pattern"),
        ({"filter": {"since": "yesterday"}}, "RFC 3339"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_redrive_that_is_not_clear_is_refused(kit: Kit, body: dict[str, Any], said: str) -> None:
    answered = kit.client.post("/v1/dead-letters/redrive", json=body)

    assert answered.status_code == 422
    assert said in answered.json["detail"]


def test_letters_that_come_later_are_not_part_of_it(kit: Kit) -> None:
    first = [die(kit) for _ in range(2)]
    begun = redrive(kit, **ALL, rate=1)
    eventually(kit.queued)

    later = die(kit, dead_ms=1)

    done = ended(kit, begun["url"])
    assert (done["total"], done["moved"]) == (2, 2)
    assert [each["id"] for each in listed(kit)] == [later]
    assert {message.message_id for message in kit.queued()} == set(first)


def test_a_copy_handed_out_again_does_not_bring_a_letter_back_but_a_newer_death_does(kit: Kit) -> None:
    job, witness = new_job_id(), new_job_id()
    die(kit, job)
    ended(kit, redrive(kit, **ALL)["url"])

    kit.transport.publish(dead_publication(letter(job))).result(5)
    die(kit, witness)
    assert [each["id"] for each in listed(kit)] == [witness]
    assert kit.client.get(f"/v1/jobs/{job}").json["state"] == "queued"

    die(kit, job, attempt=10, round=1, forgiven=5, dead_ms=8000)
    assert {each["id"] for each in listed(kit)} == {witness, job}
    ended(kit, redrive(kit, filter={"job": job})["url"])
    assert kit.client.get(f"/v1/jobs/{job}").json["round"] == 2


def test_a_letter_of_a_worker_that_knows_no_rounds_is_not_swallowed(kit: Kit) -> None:
    job = die(kit)
    ended(kit, redrive(kit, **ALL)["url"])

    kit.transport.publish(dead_publication(letter(job, dead_ms=6000))).result(5)

    eventually(lambda: [each["id"] for each in listed(kit)] == [job])
    ended(kit, redrive(kit, **ALL)["url"])
    assert kit.client.get(f"/v1/jobs/{job}").json["round"] == 2


def test_letters_that_cannot_go_back_stay_and_are_counted_once(kit: Kit) -> None:
    good, lost, junky = die(kit), die(kit, queue="gone"), junk(kit)

    done = ended(kit, redrive(kit, **ALL)["url"])

    assert (done["total"], done["moved"], done["failed"]) == (3, 1, 2)
    assert done["error"].startswith(f"dead letter {lost}") or done["error"].startswith(f"dead letter {junky}")
    assert {each["id"] for each in listed(kit)} == {lost, junky}
    assert [message.message_id for message in kit.queued()] == [good]
    again = ended(kit, redrive(kit, **ALL)["url"])
    assert (again["moved"], again["failed"]) == (0, 2)


def test_a_rate_is_kept_and_a_stop_is_heard(kit: Kit) -> None:
    kit.parts.letters.add([row() for _ in range(60)])

    began = time.monotonic()
    begun = redrive(kit, **ALL, rate=50)
    eventually(lambda: kit.client.get(begun["url"]).json["moved"] >= 20)
    took = time.monotonic() - began
    stopped = kit.client.post(f"{begun['url']}/stop")

    assert took > 0.15
    assert (stopped.status_code, stopped.json["state"]) == (200, "stopped")
    eventually(lambda: not kit.parts.redrives.pending(begun["id"]))
    moved = kit.client.get(begun["url"]).json["moved"]
    threading.Event().wait(0.6)
    assert kit.client.get(begun["url"]).json["moved"] == moved < 60
    assert len(listed(kit, "?limit=100")) == 60 - moved
    assert kit.client.post(f"{begun['url']}/stop").json["state"] == "stopped"
    ended(kit, redrive(kit, **ALL)["url"])
    assert len(kit.queued()) == 60


def test_a_broker_that_is_away_holds_a_redrive_up_and_loses_nothing(kit: Kit) -> None:
    kit.parts.letters.add([row() for _ in range(5)])
    kit.transport.disconnect()

    begun = redrive(kit, **ALL)
    eventually(lambda: kit.client.get(begun["url"]).json["error"])
    assert kit.client.get(begun["url"]).json["state"] == "running"
    assert len(listed(kit)) == 5
    kit.transport.reconnect()

    done = ended(kit, begun["url"])
    assert (done["moved"], done["failed"]) == (5, 0)
    assert len(kit.queued()) == 5


def test_a_confirm_that_does_not_come_is_waited_for_and_then_tried_again(kit: Kit) -> None:
    kit.parts.letters.add([row()])
    kit.transport.hold_confirms()

    begun = redrive(kit, **ALL)
    eventually(lambda: "did not confirm" in (kit.client.get(begun["url"]).json["error"] or ""))
    kit.transport.release_confirms()

    assert ended(kit, begun["url"])["moved"] == 1
    # Published more than once, as the same job in the same round.
    assert len({(message.message_id, decode(message).round) for message in kit.queued()}) == 1


def test_a_store_that_is_away_after_the_confirm_makes_no_second_job(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.parts.letters.add([row()])
    close, tries = kit.parts.redrives.close, []

    def away(*told: Any) -> None:
        tries.append(told)
        if len(tries) < 3:
            raise StoreDown
        close(*told)

    monkeypatch.setattr(kit.parts.redrives, "close", away)

    assert ended(kit, redrive(kit, **ALL)["url"])["moved"] == 1
    assert len(kit.queued()) == 1


def test_a_store_that_is_away_before_is_waited_for(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.parts.letters.add([row()])
    claim, tries = kit.parts.redrives.claim, []

    def away(*told: Any, **more: Any) -> Any:
        tries.append(told)
        if len(tries) < 3:
            raise StoreDown
        return claim(*told, **more)

    monkeypatch.setattr(kit.parts.redrives, "claim", away)

    assert ended(kit, redrive(kit, **ALL)["url"])["moved"] == 1


def test_a_mistake_of_ours_ends_a_redrive_and_says_so(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.parts.letters.add([row()])

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(kit.parts.redrives, "known_jobs", broken)

    done = ended(kit, redrive(kit, **ALL)["url"], "failed")
    assert done["error"] == "RuntimeError: a mistake"
    assert len(listed(kit)) == 1


def test_a_redrive_left_by_a_dead_server_is_taken_over(kit: Kit) -> None:
    kit.parts.redriver.stop()
    kit.parts.letters.add([row() for _ in range(3)])
    begun = redrive(kit, **ALL)
    now_ms = int(time.time() * 1000)
    taken = kit.parts.redrives.adopt("a dead server", now_ms, now_ms + 700)
    assert taken is not None
    assert kit.parts.redrives.adopt("another", now_ms, now_ms + 700) is None

    kit.parts.redriver.start()

    assert ended(kit, begun["url"])["moved"] == 3
    assert not kit.parts.redrives.keep(begun["id"], "a dead server", now_ms)


def test_a_server_that_stops_leaves_its_redrive_to_others_at_once(kit: Kit) -> None:
    kit.parts.letters.add([row() for _ in range(3)])
    begun = redrive(kit, **ALL, rate=1)
    eventually(kit.queued)

    kit.parts.redriver.stop()

    taken = kit.parts.redrives.adopt("another", int(time.time() * 1000), 2**50)
    assert taken is not None
    assert taken.id == begun["id"]
    assert kit.client.get(begun["url"]).json["state"] == "running"


def test_a_redrive_waits_for_letters_that_a_dead_server_had_at_hand(kit: Kit) -> None:
    kit.parts.redriver.stop()
    kit.parts.letters.add([row() for _ in range(2)])
    begun = redrive(kit, **ALL)
    now_ms = int(time.time() * 1000)
    taken = kit.parts.redrives.adopt("a dead server", now_ms, now_ms)
    assert taken is not None
    from warren_server.store.claims import Claim

    claim = Claim(holder=taken.id, until_ms=now_ms + 1200)
    held = kit.parts.redrives.claim(taken, "a dead server", claim, now_ms=now_ms, lease_ms=now_ms, limit=1, after=None)
    assert held is not None
    assert len(held) == 1

    kit.parts.redriver.start()

    assert ended(kit, begun["url"])["moved"] == 2
    assert time.time() * 1000 > now_ms + 1200


def test_redrives_are_listed_latest_first_and_unknown_ones_are_told(kit: Kit) -> None:
    first, second = redrive(kit, **ALL), redrive(kit, filter={"since": "2020-01-01T00:00:00Z", "reason": "x"})

    found = kit.client.get("/v1/dead-letters/redrives").json["redrives"]

    assert {each["id"] for each in found} == {first["id"], second["id"]}
    assert second["filter"] == {"since": "2020-01-01T00:00:00.000Z", "reason": "x"}
    for address in ("nonsense", new_job_id()):
        answered = kit.client.get(f"/v1/dead-letters/redrives/{address}")
        assert (answered.status_code, answered.json["type"]) == (404, "/problems/unknown-redrive")
        assert kit.client.post(f"/v1/dead-letters/redrives/{address}/stop").status_code == 404


def test_old_tombstones_are_forgotten(kit: Kit) -> None:
    kit.parts.letters.add([row() for _ in range(3)])
    kit.parts.letters.purge(DeadLetterFilter(), 2**50, 1, 2)
    kit.parts.letters.purge(DeadLetterFilter(), 2**50, int(time.time() * 1000), 2)

    kit.parts.redriver.tidy()

    assert kit.parts.letters.forget(2**50, 10) == 1


def test_starting_and_stopping_may_be_said_twice(kit: Kit) -> None:
    kit.parts.redriver.start()
    kit.parts.redriver.stop()
    kit.parts.redriver.stop()


def test_a_store_that_is_away_when_it_stops_or_looks_is_no_failure(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise StoreDown

    monkeypatch.setattr(kit.parts.redrives, "adopt", away)
    monkeypatch.setattr(kit.parts.redrives, "leave", away)
    redrive(kit, **ALL)
    eventually(lambda: "cannot look for redrives" in caplog.text)

    kit.parts.redriver.stop()

    assert "cannot leave redrives" in caplog.text
