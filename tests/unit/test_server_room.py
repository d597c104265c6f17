"""Length limits at submit, and the gauges of what waits elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import Envelope, new_job_id
from warren.transport import job_publication
from warren_server import repeating
from warren_server.backlog import Backlog
from warren_server.errors import StoreDown
from warren_server.repeating import Repeating
from warren_server.room import FRESH_SECONDS, Room


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def limit(kit: Kit, length: int | None, queue: str = "spare") -> None:
    assert kit.client.put(f"/v1/queues/{queue}/limits", json={"max_length": length}).status_code == 200


def test_a_full_queue_refuses_with_429_and_when_to_try_again(kit: Kit) -> None:
    limit(kit, 2)

    answers = [kit.submit(queue="spare") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert answers[2].json["type"] == "/problems/queue-full"
    assert answers[2].headers["Retry-After"] == "5"
    assert "limit is 2" in answers[2].json["detail"]
    assert len(kit.queued("spare")) == 2
    assert kit.submit().status_code == 202


def test_a_batch_is_refused_job_by_job(kit: Kit) -> None:
    limit(kit, 3)
    job = {"task": "greet", "arguments": {"cmd": "hey"}, "queue": "spare"}

    answer = kit.client.post("/v1/jobs/batch", json={"jobs": [job] * 5 + [{**job, "queue": "media"}]})

    assert [item["status"] for item in answer.json["jobs"]] == [202] * 3 + [429] * 2 + [202]
    assert answer.json["jobs"][3]["problem"]["type"] == "/problems/queue-full"
    assert len(kit.queued("spare")) == 3


def test_delayed_jobs_are_taken_and_count_when_they_are_due(kit: Kit) -> None:
    limit(kit, 2)

    delayed = [kit.submit(queue="spare", delay=5).status_code for _ in range(3)]
    now = kit.submit(queue="spare").status_code
    kit.transport.advance(5)

    assert (delayed, now) == ([202] * 3, 202)
    assert len(kit.queued("spare")) == 4
    eventually(lambda: kit.submit(queue="spare").status_code == 429)


def test_room_comes_back_when_workers_take_jobs_or_the_limit_goes(kit: Kit) -> None:
    limit(kit, 1)
    kit.submit(queue="spare")
    full = kit.submit(queue="spare").status_code

    subscription = kit.transport.consume("warren.q.spare", lambda delivery: delivery.ack(), prefetch=1)

    eventually(lambda: kit.submit(queue="spare").status_code == 202)
    subscription.stop().result(5)
    limit(kit, None)
    assert full == 429
    assert [kit.submit(queue="spare").status_code for _ in range(3)] == [202] * 3


def make_room(kit: Kit, clock: Clock) -> Room:
    room = Room(kit.transport, kit.parts.queue_settings, clock)
    room.refresh()
    return room


def send(kit: Kit) -> Any:
    return kit.transport.publish(job_publication(Envelope(id=new_job_id(), task="t", queue="spare", body=b"{}")))


def test_the_depth_is_remembered_for_a_moment_and_what_was_sent_since_is_added(kit: Kit) -> None:
    limit(kit, 3)
    clock = Clock()
    room = make_room(kit, clock)

    for _ in range(3):
        room.admit("spare", lambda: send(kit)).result(5)
    with pytest.raises(Exception, match="holds 3 jobs"):
        room.admit("spare", lambda: send(kit))
    kit.transport.consume("warren.q.spare", lambda delivery: delivery.ack(), prefetch=10)
    eventually(lambda: kit.queued("spare") == [])
    clock.now = FRESH_SECONDS * 0.9
    with pytest.raises(Exception, match="holds 3 jobs"):
        room.admit("spare", lambda: send(kit))
    clock.now = FRESH_SECONDS

    room.admit("spare", lambda: send(kit)).result(5)


def test_many_threads_at_once_never_pass_the_limit(kit: Kit) -> None:
    limit(kit, 20)
    start = threading.Barrier(8)

    def submit(_number: int) -> list[int]:
        start.wait(10)
        return [kit.submit(queue="spare").status_code for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        answers = [status for statuses in pool.map(submit, range(8)) for status in statuses]

    assert sorted(answers) == [202] * 20 + [429] * 60
    assert len(kit.queued("spare")) == 20


def test_jobs_without_their_confirm_hold_their_place_and_failed_ones_give_it_back(kit: Kit) -> None:
    limit(kit, 2)
    room = make_room(kit, Clock())
    kit.transport.hold_confirms()
    held = [room.admit("spare", lambda: send(kit)) for _ in range(2)]
    with pytest.raises(Exception, match="holds 2 jobs"):
        room.admit("spare", lambda: send(kit))

    kit.transport.disconnect()

    assert all(future.exception(5) is not None for future in held)
    kit.transport.reconnect()
    kit.transport.release_confirms()
    room.admit("spare", lambda: send(kit)).result(5)


def test_a_publish_that_is_refused_gives_its_place_back(kit: Kit) -> None:
    limit(kit, 1)
    room = make_room(kit, Clock())
    kit.transport.block()
    for _ in range(3):
        with pytest.raises(Exception, match="alarm"):
            room.admit("spare", lambda: send(kit))

    kit.transport.unblock()

    room.admit("spare", lambda: send(kit)).result(5)


def test_without_an_answer_of_the_broker_the_publish_has_the_word(kit: Kit) -> None:
    limit(kit, 1)
    room = make_room(kit, Clock())
    kit.transport.disconnect()

    with pytest.raises(Exception, match="disconnected"):
        room.admit("spare", lambda: send(kit))


def test_while_the_store_is_away_the_limits_read_last_stay(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(kit, 1)

    def down() -> None:
        raise StoreDown("away")

    monkeypatch.setattr(kit.parts.queue_settings, "all", down)
    with pytest.raises(StoreDown):
        kit.parts.room.refresh()

    assert [kit.submit(queue="spare").status_code for _ in range(2)] == [202, 429]


def test_a_limit_set_by_another_server_is_heeded_soon(kit: Kit) -> None:
    kit.parts.queue_settings.claim("spare", 1000, 2000, {"max_length": 1})

    kit.submit(queue="spare")

    eventually(lambda: kit.submit(queue="spare").status_code == 429)


def test_unroutable_and_delayed_jobs_are_told_and_warned_of_once(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    def sample(name: str) -> float | None:
        return REGISTRY.get_sample_value(name)

    backlog = Backlog(kit.transport)
    for queue, delay in (("spare", 3), ("gone", 5)):
        job = Envelope(id=new_job_id(), task="t", queue=queue, body=b"{}")
        kit.transport.publish(job_publication(job, delay)).result(5)

    with caplog.at_level(logging.WARNING, "warren_server.backlog"):
        backlog.look()
        before = (sample("warren_delayed_jobs"), sample("warren_unroutable_jobs"), len(caplog.records))
        kit.transport.advance(5)
        backlog.look()
        backlog.look()

    assert before == (2, 0, 0)
    assert (sample("warren_delayed_jobs"), sample("warren_unroutable_jobs")) == (0, 1)
    (record,) = caplog.records
    assert "warren topology repair" in record.getMessage()


def test_what_repeats_outlives_failures_and_tells_of_them_once(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []
    failures: dict[int, Exception] = {1: StoreDown("away"), 2: StoreDown("away"), 4: StoreDown("again"), 5: KeyError()}

    def turn() -> None:
        turns.append(len(turns) + 1)
        if turns[-1] in failures:
            raise failures[turns[-1]]

    repeating_turn = Repeating("turning", 0.001, turn)
    repeating_turn.stop()
    with caplog.at_level(logging.WARNING, repeating.__name__):
        repeating_turn.start()
        repeating_turn.start()
        eventually(lambda: len(turns) > 6)
        repeating_turn.stop()

    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["turning_failed", "turning_failed", "repeating_failed"]
    after = len(turns)
    assert not [thread for thread in threading.enumerate() if thread.name == "warren-turning"]
    assert len(turns) == after
