"""Pausing, resuming, purging and limiting queues, on the in-memory transport."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from waiting import eventually
from warren.control import CancelMatching, Limits, Order, Pause, Resume, decode_order
from warren.errors import TopologyError, TransportError
from warren.tokens import GENERATION
from warren.topology import CONTROL
from warren_server.errors import StoreDown
from warren_server.queues import QueueState
from warren_server.token_audit import PATIENCE_SECONDS, TokenAudit


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        for each in made.parts._rounds:
            # Each test takes the turns it wants.
            each.stop()
        yield made


def orders(kit: Kit) -> list[Order]:
    read = [decode_order(message) for message in kit.transport.messages(CONTROL)]
    return [order for order in read if order is not None]


def kept(kit: Kit) -> dict[str, tuple[dict[str, Any], int | None]]:
    """The orders that are announced again before the stream forgets them."""
    with kit.parts.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT subject, body, until_ms FROM announcements").all()
    return {subject: (json.loads(body), until_ms) for subject, body, until_ms in rows}


def tokens(kit: Kit, queue: str, kind: str) -> list[object]:
    return [message.headers[GENERATION] for message in kit.transport.messages(f"warren.tokens.{queue}.{kind}")]


def test_a_paused_queue_is_shown_so_and_workers_are_told_for_good(kit: Kit) -> None:
    first = kit.client.post("/v1/queues/media/pause")
    again = kit.client.post("/v1/queues/media/pause")

    assert (first.status_code, first.json["paused"], again.json["paused"]) == (200, True, True)
    assert kit.client.get("/v1/queues/media").json["paused"] is True
    assert {queue["name"]: queue["paused"] for queue in kit.client.get("/v1/queues").json["queues"]}["media"] is True
    assert orders(kit) == [Pause(queue="media")] * 2
    assert kept(kit)["pause:media"][1] is None
    assert kit.submit(task="resize", arguments={"width": 1}).status_code == 202


def test_a_resumed_queue_is_forgotten_to_be_paused(kit: Kit) -> None:
    kit.client.post("/v1/queues/media/pause")

    resumed = kit.client.post("/v1/queues/media/resume")
    again = kit.client.post("/v1/queues/media/resume")

    assert (resumed.json["paused"], again.json["paused"]) == (False, False)
    assert orders(kit) == [Pause(queue="media"), Resume(queue="media"), Resume(queue="media")]
    assert kept(kit) == {}


@pytest.mark.parametrize("method", ["pause", "resume", "purge"])
def test_a_queue_that_does_not_exist_is_not_changed(kit: Kit, method: str) -> None:
    answer = kit.client.post(f"/v1/queues/nowhere/{method}")

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/unknown-queue")
    assert orders(kit) == []


def test_a_purge_cancels_what_waits_up_to_now_and_is_kept_as_long_as_a_delay_can_be(kit: Kit) -> None:
    submitted = kit.submit(queue="spare")
    kit.submit(queue="spare", delay=60)
    kit.client.post("/v1/queues/spare/pause")

    answer = kit.client.post("/v1/queues/spare/purge")

    assert answer.status_code == 202
    assert (answer.json["queue"], answer.json["ready"], answer.json["paused"]) == ("spare", 1, True)
    (order,) = [order for order in orders(kit) if isinstance(order, CancelMatching)]
    assert (order.queue, order.task, order.waiting_only) == ("spare", None, True)
    assert order.before_ms >= kit.parts.jobs.get(submitted.json["id"])[0]["submitted_ms"]  # type: ignore[index]
    body, until_ms = kept(kit)["purge:spare"]
    assert until_ms == order.before_ms + 50 * 86_400_000
    assert body["before_ms"] == order.before_ms


LIMITS = {"priority": 3, "max_length": 100, "concurrency": 4, "rate": {"count": 6, "seconds": 60}}


def put(kit: Kit, limits: dict[str, Any], queue: str = "media") -> Any:
    return kit.client.put(f"/v1/queues/{queue}/limits", json=limits)


def test_limits_are_shown_their_tokens_filled_and_then_workers_told(kit: Kit) -> None:
    answer = put(kit, LIMITS)

    assert (answer.status_code, answer.json) == (200, LIMITS)
    assert kit.client.get("/v1/queues/media/limits").json == LIMITS
    assert kit.client.get("/v1/queues/media").json["limits"] == LIMITS
    assert (tokens(kit, "media", "slots"), tokens(kit, "media", "rate")) == ([1] * 4, [1] * 6)
    told = Limits(queue="media", priority=3, concurrency=4, rate_count=6, rate_seconds=60, generation=1)
    assert orders(kit) == [told]
    assert kept(kit)["limits:media"][0]["generation"] == 1


def test_a_change_is_a_new_generation_beside_the_old_tokens(kit: Kit) -> None:
    put(kit, LIMITS)

    put(kit, {"concurrency": 2})

    assert tokens(kit, "media", "slots") == [1] * 4 + [2] * 2
    assert orders(kit)[-1] == Limits(queue="media", concurrency=2, generation=2)
    assert kit.client.get("/v1/queues/media/limits").json == {
        "priority": 0, "max_length": None, "concurrency": 2, "rate": None,
    }  # fmt: skip


def test_the_same_limits_again_and_a_change_of_the_length_alone_make_no_tokens(kit: Kit) -> None:
    put(kit, LIMITS)

    put(kit, LIMITS)
    put(kit, {**LIMITS, "max_length": None})

    assert len(orders(kit)) == 1
    assert len(tokens(kit, "media", "slots")) == 4
    assert kit.client.get("/v1/queues/media/limits").json["max_length"] is None


def test_a_priority_alone_needs_no_tokens(kit: Kit) -> None:
    put(kit, {"priority": 7})

    assert orders(kit) == [Limits(queue="media", priority=7, generation=1)]
    with pytest.raises(TopologyError):
        kit.transport.depth("warren.tokens.media.slots").result(5)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"concurrency": 0}, "concurrency"), ({"concurrency": 10_001}, "concurrency"),
        ({"concurrency": 1.0}, "concurrency"), ({"max_length": 0}, "max_length"),
        ({"priority": -1}, "priority"), ({"priority": True}, "priority"),
        ({"rate": {"count": 1}}, "rate.seconds"), ({"rate": {"count": 0, "seconds": 1}}, "rate.count"),
        ({"rate": {"count": 1, "seconds": 86401}}, "rate.seconds"), ({"rate": 5}, "rate"), ({"paused": True}, "paused"),
    ],
)  # fmt: skip
def test_limits_that_break_a_rule_change_nothing(kit: Kit, limits: dict[str, Any], field: str) -> None:
    answer = put(kit, limits)

    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json["problems"]] == [field]
    assert kit.parts.queue_settings.all() == {}


def test_a_broker_without_token_queues_that_we_may_not_make_refuses_and_changes_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(_queue: str) -> None:
        raise TopologyError("the broker lacks warren.tokens.media.slots; have the operator apply the topology")

    monkeypatch.setattr(kit.parts.queue_control, "_provide_tokens", lacking)

    answer = put(kit, LIMITS)

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/no-token-queues")
    assert "warren.tokens.media.slots" in answer.json["detail"]
    assert kit.parts.queue_settings.all() == {}
    assert put(kit, {"priority": 1, "max_length": 5}).status_code == 200


def test_a_fill_without_confirms_is_told_recorded_and_done_again_with_a_new_generation(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren_server.queue_control.FILL_SECONDS", 0.1)
    kit.transport.hold_confirms()

    answer = put(kit, LIMITS)
    kit.transport.release_confirms()

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/change-unfinished")
    assert answer.headers["Retry-After"] == "2"
    assert kit.client.get("/v1/queues/media/limits").json == LIMITS
    assert [order for order in orders(kit) if isinstance(order, Limits)] == []

    assert kit.parts.queue_control.settle() == 1

    assert tokens(kit, "media", "slots") == [1] * 4 + [2] * 4
    assert [order.generation for order in orders(kit) if isinstance(order, Limits)] == [2]
    assert kit.parts.queue_control.settle() == 0
    # The caller may try again too; by now there is nothing left to do.
    assert put(kit, LIMITS).status_code == 200
    assert len(tokens(kit, "media", "slots")) == 8


def test_a_pause_that_did_not_reach_the_broker_is_carried_out_later(kit: Kit) -> None:
    kit.transport.block()

    answer = kit.client.post("/v1/queues/media/pause")
    kit.transport.unblock()

    assert answer.json["type"] == "/problems/change-unfinished"
    assert kit.client.get("/v1/queues/media").json["paused"] is True
    assert orders(kit) == []
    assert kit.parts.queue_control.settle() == 1
    assert orders(kit) == [Pause(queue="media")]


def test_a_server_that_died_while_it_filled_is_followed_by_another_after_its_lease(kit: Kit) -> None:
    store = kit.parts.queue_settings
    store.claim("media", 1000, 2000, {"concurrency": 3}, new_tokens=True)

    assert kit.parts.queue_control.settle() == 1

    assert tokens(kit, "media", "slots") == [2] * 3
    assert store.get("media").settled


def test_while_one_changes_a_queue_others_are_told_to_wait(kit: Kit) -> None:
    claimed = kit.parts.queue_settings.claim("media", 1000, 2**52, {})
    assert claimed is not None

    paused, limited = kit.client.post("/v1/queues/media/pause"), put(kit, LIMITS)

    assert {paused.json["type"], limited.json["type"]} == {"/problems/queue-busy"}
    assert paused.headers["Retry-After"] == "1"
    kit.parts.queue_settings.release(claimed)
    assert kit.client.post("/v1/queues/media/pause").status_code == 200


def test_a_change_that_outlived_its_lease_is_told_anew(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.parts.queue_control, "_lease_ms", -1000)
    announce = kit.parts.announcer.announce

    def slowly(order: Order, subject: str | None = None, until_ms: int | None = None) -> None:
        if isinstance(order, Pause):
            kit.parts.queue_settings.claim("media", 2**51, 2**52, {"paused": False})
        announce(order, subject, until_ms)

    monkeypatch.setattr(kit.parts.announcer, "announce", slowly)

    kit.client.post("/v1/queues/media/pause")

    row = kit.parts.queue_settings.get("media")
    assert (row.paused, row.settled) == (False, False)
    kit.parts.queue_settings.release(row)
    monkeypatch.undo()
    assert kit.parts.queue_control.settle() == 1
    assert isinstance(orders(kit)[-2], Resume)


def test_one_queue_that_cannot_be_settled_does_not_keep_the_others_waiting(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for queue in ("default", "media"):
        kit.parts.queue_settings.claim(queue, 1000, 2000, {"concurrency": 1}, new_tokens=True)
    provide = kit.parts.provide_tokens

    def partly(queue: str) -> None:
        if queue == "default":
            raise TopologyError("not here")
        provide(queue)

    monkeypatch.setattr(kit.parts.queue_control, "_provide_tokens", partly)

    with pytest.raises(TransportError, match="not here"):
        kit.parts.queue_control.settle()

    assert tokens(kit, "media", "slots") == [2]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def depths(slots: int, rate: int = 6) -> dict[str, QueueState]:
    return {
        "warren.tokens.media.slots": QueueState(ready=1, unacked=slots - 1, consumers=1),
        "warren.tokens.media.rate": QueueState(ready=rate, unacked=0, consumers=1),
    }


def audit(kit: Kit, seen: dict[str, QueueState] | None, clock: Clock) -> TokenAudit:
    return TokenAudit(kit.parts.queue_settings, lambda: seen, kit.parts.queue_control, clock)


def test_tokens_missing_for_long_are_made_anew_with_a_new_generation(kit: Kit) -> None:
    put(kit, LIMITS)
    clock = Clock()
    looking = audit(kit, depths(slots=3), clock)

    assert looking.look() == []
    clock.now = PATIENCE_SECONDS - 1
    assert looking.look() == []
    clock.now = PATIENCE_SECONDS
    assert looking.look() == ["media"]

    assert kit.parts.queue_settings.get("media").generation == 2
    assert tokens(kit, "media", "slots")[-4:] == [2] * 4
    assert looking.look() == []


def test_tokens_that_are_all_there_or_come_back_are_left_alone(kit: Kit) -> None:
    put(kit, LIMITS)
    clock, seen = Clock(), depths(slots=3)
    looking = audit(kit, seen, clock)

    looking.look()
    seen.update(depths(slots=4))
    clock.now = 100
    assert looking.look() == []
    seen.update(depths(slots=3))
    assert looking.look() == []


@pytest.mark.parametrize("seen", [None, {}])
def test_what_the_broker_does_not_say_is_not_missing_and_a_queue_that_is_gone_is(
    kit: Kit, seen: dict[str, QueueState] | None
) -> None:
    put(kit, LIMITS)
    clock = Clock()
    looking = audit(kit, seen, clock)

    looking.look()
    clock.now = PATIENCE_SECONDS

    assert looking.look() == ([] if seen is None else ["media"])


def test_tokens_that_stay_missing_are_made_ever_more_seldom_and_uncounted_ones_are_not_missing(kit: Kit) -> None:
    put(kit, LIMITS)
    clock, seen = Clock(), depths(slots=3)
    looking = audit(kit, seen, clock)
    made = []
    for _ in range(200):
        clock.now += 10
        if looking.look():
            made.append(clock.now)

    assert [after - before for before, after in pairwise(made)] == [70, 130, 250, 490, 970]
    seen.update(depths(slots=4))
    looking.look()
    seen.update({"warren.tokens.media.slots": QueueState(), "warren.tokens.media.rate": QueueState()})
    looking.look()
    clock.now += 1000
    assert looking.look() == []
    seen.update(depths(slots=3))
    looking.look()
    clock.now += PATIENCE_SECONDS
    assert looking.look() == ["media"]


def test_of_two_servers_that_see_tokens_missing_one_makes_them(kit: Kit) -> None:
    put(kit, LIMITS)
    clock = Clock()
    first, second = audit(kit, depths(slots=0, rate=0), clock), audit(kit, depths(slots=0, rate=0), clock)
    first.look()
    second.look()
    clock.now = PATIENCE_SECONDS
    seen = kit.parts.queue_settings.get("media")

    assert first.look() == ["media"]
    assert kit.parts.queue_control.refill(seen) is False
    assert second.look() == []
    assert kit.parts.queue_settings.get("media").generation == 2


def test_a_queue_shows_which_tokens_it_lacks(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    put(kit, LIMITS)
    unknown = kit.client.get("/v1/queues/media").json["tokens"]
    monkeypatch.setattr(kit.parts.queues, "_read_depths", lambda: depths(slots=3))

    shown = eventually(lambda: kit.client.get("/v1/queues/media").json["tokens"])

    assert unknown is None
    assert shown == {"slots": {"wanted": 4, "present": 3}, "rate": {"wanted": 6, "present": 6}}


def test_without_the_store_queues_are_still_listed(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> dict[str, Any]:
        raise StoreDown("away")

    monkeypatch.setattr(kit.parts.queue_settings, "all", down)

    shown = kit.client.get("/v1/queues/media").json

    assert (shown["ready"], shown["paused"], shown["limits"], shown["tokens"]) == (0, None, None, None)


def test_a_queue_never_changed_has_the_usual_settings(kit: Kit) -> None:
    shown = kit.client.get("/v1/queues/spare").json

    assert (shown["paused"], shown["tokens"]) == (False, None)
    assert shown["limits"] == {"priority": 0, "max_length": None, "concurrency": None, "rate": None}
    assert replace(kit.parts.queue_settings.get("spare"), queue="x").settled
