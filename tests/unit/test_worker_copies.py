"""Second hand-outs of the same attempt at one worker: of a lost connection, or of a message that is there twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from waiting import eventually
from warren import Context, Retry
from warren.envelope import Envelope, Message, decode, new_job_id
from warren.events import State
from warren.task import Registry, task
from warren_worker import copies
from worker_harness import Bench, message_of, running

LASTING = Retry(max_attempts=2, min_delay=0, max_delay=0)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


@pytest.fixture
def runs(registry: Registry, release: threading.Event) -> list[int]:
    """Attempts that ran of a task that waits for `release`, and fails if its argument says so at that attempt."""
    seen: list[int] = []

    @task(name="long", registry=registry, retry=LASTING)
    def long(ctx: Context, fails_at: int = 0) -> int:
        seen.append(ctx.attempt)
        release.wait(20)
        if ctx.attempt == fails_at:
            raise RuntimeError("as asked")
        return ctx.attempt

    return seen


def reconnect(bench: Bench) -> None:
    bench.transport.disconnect()
    bench.transport.reconnect()


def copied(**fields: Any) -> Message:
    return message_of(Envelope(**{"id": new_job_id(), "task": "long", "queue": "default", "body": b"{}", **fields}))


def test_a_job_that_outlives_its_connections_runs_once_and_goes_on_with_the_new_delivery(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    with running(registry, concurrency=2) as bench:
        job = bench.submit("long")
        eventually(lambda: runs == [1])
        for _ in range(5):
            reconnect(bench)
            eventually(lambda: bench.unsettled() == 1)
        release.set()
        bench.event(job, State.SUCCEEDED)

        eventually(bench.is_empty)
        assert runs == [1]


def test_a_job_that_fails_on_a_delivery_it_was_given_later_gets_its_next_attempt(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    with running(registry) as bench:
        job = bench.submit("long", {"fails_at": 1})
        eventually(lambda: runs == [1])
        reconnect(bench)
        eventually(lambda: bench.unsettled() == 1)
        release.set()
        bench.event(job, State.SUCCEEDED)

        eventually(bench.is_empty)
        assert runs == [1, 2]
        assert bench.event(job, State.RETRYING).attempt == 1


def test_a_job_that_fails_without_a_connection_is_left_to_the_broker(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    with running(registry) as bench:
        job = bench.submit("long", {"fails_at": 1})
        eventually(lambda: runs == [1])
        bench.transport.disconnect()
        release.set()
        eventually(
            lambda: bench.sample("warren_attempts_total", queue="warren.q.default", task="long", outcome="failed")
        )
        bench.transport.reconnect()
        bench.event(job, State.SUCCEEDED)

        eventually(bench.is_empty)
        assert runs == [1, 2]


def test_what_waited_behind_a_lost_connection_is_not_run_without_a_delivery(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    with running(registry, concurrency=1, prefetch=3) as bench:
        bench.submit("long")
        eventually(lambda: runs == [1])
        others = [bench.submit("long") for _ in range(2)]
        eventually(lambda: bench.unsettled() == 3)
        bench.transport.disconnect()
        release.set()
        eventually(lambda: not any(bench.worker._slots._waiting.values()))
        before = list(runs)
        bench.transport.reconnect()
        for job in others:
            bench.event(job, State.SUCCEEDED)

        eventually(bench.is_empty)
        assert before == [1]
        assert len(runs) == 3


def test_a_message_that_is_there_twice_is_run_once(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    twice = copied()
    with running(registry, concurrency=2) as bench:
        bench.put(twice)
        bench.put(twice)
        eventually(lambda: bench.unsettled() == 2 and runs)
        release.set()
        bench.event(decode(twice).id, State.SUCCEEDED)
        eventually(bench.is_empty)
        bench.put(twice)

        eventually(lambda: bench.is_empty() and not bench.ready())
        assert runs == [1]


def test_a_copy_of_a_job_that_a_drain_gives_back_goes_back_too(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    first, twice = copied(), copied()
    with running(registry, concurrency=1, prefetch=3) as bench:
        bench.put(first)
        eventually(lambda: runs == [1])
        bench.put(twice)
        bench.put(twice)
        eventually(lambda: bench.unsettled() == 3)
        bench.worker._stop_intake()
        back = eventually(lambda: len(found := bench.ready()) == 2 and found)
        release.set()

        assert {decode(message).id for message in back} == {decode(twice).id}


def test_the_next_attempt_and_the_next_round_of_a_job_are_no_copies(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    release.set()
    job = new_job_id()
    with running(registry) as bench:
        for message in (copied(id=job), copied(id=job, attempt=2), copied(id=job, round=1)):
            bench.put(message)
            eventually(bench.is_empty)

        assert runs == [1, 2, 1]


def test_only_the_newest_finished_attempts_are_remembered(
    registry: Registry, release: threading.Event, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "REMEMBERED", 1)
    release.set()
    old, new = copied(), copied()
    with running(registry) as bench:
        for message in (old, new, new, old):
            bench.put(message)
            eventually(bench.is_empty)

        assert len(runs) == 3


def test_a_message_whose_headers_are_of_other_types_is_no_copy_of_anything(
    registry: Registry, release: threading.Event, runs: list[int]
) -> None:
    with running(registry) as bench:
        bench.put(message_of(decode(copied()), **{"warren-attempt": "one", "warren-round": [1]}))

        assert bench.dead().headers["warren-dead-outcome"] == "undecodable"
