"""A job that runs out of memory goes once to its task's larger queue, and there it fails like any other."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiting import eventually
from warren import Retry
from warren.control import CancelJobs, Pause, Resume
from warren.envelope import Envelope, decode, new_job_id
from warren.events import ErrorInfo, Event, State
from warren.task import Registry, Task, default_registry, task
from warren.topology import JOBS, UNROUTABLE
from warren.transport import Delivery, Publication
from warren_server.store.fold import fold_job
from warren_worker.intake import receive
from warren_worker.job import Job
from warren_worker.outcome import Crashed, Failed, OutOfMemory, Succeeded, TimedOut, Unsuccessful
from warren_worker.settle import Moment, Settlement, settle
from worker_harness import Bench, running

TASKS_FOLDER = Path(__file__).parents[1] / "integration"
AT = Moment(worker="w", now_ms=50_000, started_ms=40_000)
ERROR = ErrorInfo(type="MemoryError", message="", traceback="…")
OOM = OutOfMemory(error=ERROR)
FAILED = Failed(error=ErrorInfo(type="ValueError", message="no"))


def known(**options: Any) -> Task[Any, Any]:
    made = {"isolation": "process", "oom_queue": "large", **options}

    @task(name="t", registry=Registry(), **made)
    def t() -> None: ...

    return cast("Task[Any, Any]", t)


T = known()


def job(of: Task[Any, Any] = T, **fields: Any) -> Job:
    envelope = Envelope(**{"id": new_job_id(), "task": "t", "queue": "default", "enqueued_ms": 1000, **fields})
    return Job(envelope=envelope, task=of, attempt=envelope.attempt)


def following(settlement: Settlement) -> Publication:
    [publication] = settlement.publications
    return publication


def run_next(settlement: Settlement, of: Task[Any, Any] = T) -> Job:
    """Take what a settlement put back, as the worker that gets it does."""
    envelope = decode(following(settlement).message)
    return Job(envelope=envelope, task=of, attempt=envelope.attempt)


# Decisions.


def test_a_job_that_ran_out_of_memory_goes_to_the_larger_queue_at_once_as_it_was() -> None:
    before = job(attempt=2, state='{"page":1}', priority=7, tenant="acme", parked_ms=5, parked_count=1)

    settlement = settle(OOM, before, replace(AT, state='{"page":4}'), Random(1))

    publication = following(settlement)
    assert (publication.exchange, publication.routing_key) == (JOBS, "large")
    assert decode(publication.message) == before.envelope.evolve(
        queue="large", escalated_from="default", attempt=3, forgiven=1, state='{"page":4}', parked_ms=None,
        parked_count=0,
    )  # fmt: skip
    assert (settlement.outcome, settlement.again, settlement.final) == ("out-of-memory", True, "ack")


def test_the_store_is_told_that_it_is_tried_again_where_and_why() -> None:
    settlement = settle(OOM, job(), AT, Random(1))

    [told] = settlement.events
    assert (told.state, told.queue, told.attempt, told.outcome) == (State.RETRYING, "large", 1, "out-of-memory")
    assert (told.retry_at_ms, told.started_ms) == (AT.now_ms, AT.started_ms)
    assert told.error == replace(ERROR, message="escalated from queue default to large")


@pytest.mark.parametrize(("said", "told"), [("killed", "killed"), ("x" * 2048, "x" * 2008 + "…")])
def test_what_the_child_died_of_is_told_after_the_move(said: str, told: str) -> None:
    killed = OutOfMemory(error=ErrorInfo(type="warren_worker.OutOfMemory", message=said))

    [event] = settle(killed, job(), AT, Random(1)).events

    assert event.error is not None
    assert event.error.message == f"escalated from queue default to large: {told}"


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_the_last_attempt_is_escalated_too_and_the_move_costs_none(max_attempts: int) -> None:
    last = job(attempt=max_attempts, max_attempts=max_attempts)

    there = run_next(settle(OOM, last, AT, Random(1)))

    assert (last.counted, there.counted, there.exhausted) == (max_attempts, max_attempts, False)
    assert there.attempt == max_attempts + 1


def test_a_second_time_out_of_memory_is_an_ordinary_failure() -> None:
    patient = known(retry=Retry(max_attempts=2, min_delay=8, max_delay=8))
    there = run_next(settle(OOM, job(patient), AT, Random(1)), patient)

    again = settle(OOM, there, AT, Random(1))
    last = run_next(again, patient)
    dead = settle(OOM, last, AT, Random(1))

    assert (last.envelope.queue, last.counted, last.envelope.escalated_from) == ("large", 2, "default")
    assert [event.state for event in again.events] == [State.RETRYING]
    assert not dead.again
    assert following(dead).exchange == "warren.dead"
    assert following(dead).message.headers["warren-dead-outcome"] == "out-of-memory"
    assert following(dead).message.headers["warren-dead-reason"] == "failed 2 of 2 attempts"
    assert following(dead).message.headers["warren-escalated-from"] == "default"


@pytest.mark.parametrize(
    ("of", "fields"),
    [
        pytest.param(known(oom_queue=None), {}, id="no larger queue"),
        pytest.param(T, {"queue": "large"}, id="submitted there"),
        pytest.param(T, {"queue": "large", "attempt": 2, "forgiven": 1}, id="an older worker dropped the header"),
        pytest.param(known(oom_queue="huge"), {"queue": "large", "escalated_from": "default"}, id="renamed since"),
        pytest.param(known(oom_queue=None), {"queue": "large", "escalated_from": "default"}, id="switched off since"),
    ],
)
def test_there_are_jobs_that_stay_where_they_are(of: Task[Any, Any], fields: dict[str, Any]) -> None:
    settlement = settle(OOM, job(of, **fields), AT, Random(1))

    assert settlement.oom_queue is None
    assert settlement.again
    assert decode(following(settlement).message).queue == fields.get("queue", "default")


def test_no_other_end_escalates() -> None:
    for outcome in (FAILED, Crashed(error=ERROR), TimedOut(error=ERROR)):
        assert settle(outcome, job(), AT, Random(1)).oom_queue is None
    assert settle(Succeeded(result="1"), job(), AT, Random(1)).publications == ()


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from([OOM, FAILED, Crashed(error=ERROR), TimedOut(error=ERROR)]), max_size=14),
    st.sampled_from(["default", "other", "large"]),
)
def test_whatever_happens_a_job_moves_at_most_once_and_has_one_run_more_for_it(
    max_attempts: int, outcomes: list[Unsuccessful], queue: str
) -> None:
    of = known(retry=Retry(max_attempts=max_attempts, min_delay=0, max_delay=0))
    this, queues = job(of, queue=queue), [queue]
    for outcome in outcomes:
        settlement = settle(outcome, this, AT, Random(1))
        assert settlement == settle(outcome, this, AT, Random(1))
        assert all(event.queue == decode(following(settlement).message).queue for event in settlement.events)
        if not settlement.again:
            break
        this = run_next(settlement, of)
        assert not this.exhausted
        queues.append(this.envelope.queue)

    moves = [(one, other) for one, other in itertools.pairwise(queues) if one != other]
    ran_out = [outcome is OOM for outcome, _ in zip(outcomes, queues, strict=False)]
    assert moves == ([(queue, "large")] if any(ran_out) and queue != "large" else [])
    assert len(queues) <= max_attempts + len(moves)
    assert this.attempt == len(queues)


def test_the_limit_of_memory_is_the_larger_one_where_the_job_was_sent() -> None:
    of = known(memory_limit_mb=256, oom_memory_limit_mb=1024)
    unlimited_there = known()

    there = run_next(settle(OOM, job(of), AT, Random(1)), of)

    assert (job(of).memory_limit_mb, there.memory_limit_mb, job(of, queue="large").memory_limit_mb) == (256, 1024, 1024)
    assert job(unlimited_there, queue="large").memory_limit_mb is None
    # The option was taken away while the job waited there.
    assert replace(there, task=known(oom_queue=None, memory_limit_mb=256)).memory_limit_mb == 256


def test_an_escalated_job_is_not_under_suspicion_and_one_given_back_after_that_is() -> None:
    there = run_next(settle(OOM, job(), AT, Random(1)))
    held_by_the_dead = run_next(settle(OOM, job(attempt=3, forgiven=2), AT, Random(1)))

    assert not there.suspect
    assert replace(there, envelope=there.envelope.evolve(attempt=3, forgiven=2)).suspect
    assert held_by_the_dead.suspect


def test_it_is_counted_right_when_it_arrives() -> None:
    registry = Registry()
    registry.add(T)
    settlement = settle(OOM, job(max_attempts=1), AT, Random(1))

    class Handed:
        message = following(settlement).message
        queue = "warren.q.large"
        redelivered = False
        delivery_count = 0

    arrived = receive(cast("Delivery", Handed()), registry, AT)

    assert isinstance(arrived, Job)
    assert (arrived.counted, arrived.attempt, arrived.exhausted) == (1, 2, False)


def test_the_record_shows_the_queue_it_is_in_in_whatever_order_its_events_come() -> None:
    first = job()
    ran = settle(OOM, first, AT, Random(1))
    there = run_next(ran)
    running_here = replace(ran.events[0], state=State.RUNNING, queue="default", outcome=None, error=None)
    done = settle(Succeeded(result="1"), there, replace(AT, now_ms=90_000, started_ms=60_000), Random(1)).events[0]

    def row(*events: Event) -> dict[str, Any]:
        folded: dict[str, Any] | None = None
        for event in events:
            folded = fold_job(folded, event)
        assert folded is not None
        return folded

    rows = [row(*order) for order in itertools.permutations([running_here, *ran.events])]
    assert all(found == rows[0] for found in rows)
    assert (rows[0]["state"], rows[0]["queue"], rows[0]["attempt"]) == ("retrying", "large", 1)
    assert rows[0]["error_message"] == "escalated from queue default to large"
    ended = [row(*order) for order in itertools.permutations([running_here, *ran.events, done])]
    assert all((found["state"], found["queue"]) == ("succeeded", "large") for found in ended)


# A whole worker, with real child processes.


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TASKS_FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(TASKS_FOLDER))


@pytest.fixture
def tasks(importable: None, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The two tasks, in a registry of their own; the default one keeps nothing of them for later tests."""
    monkeypatch.setattr(default_registry, "_tasks", {})
    monkeypatch.delitem(sys.modules, "escalation_tasks", raising=False)
    importlib.import_module("escalation_tasks")
    registry = Registry()
    for name in ("large.fill", "large.stubborn"):
        registry.add(default_registry.get(name))
    return registry


@pytest.fixture
def bench(tasks: Registry) -> Iterator[Bench]:
    """A worker of both queues."""
    with running(tasks, modules="escalation_tasks", queues="default,large") as made:
        yield made


def test_a_job_too_large_for_its_queue_succeeds_in_the_larger_one(bench: Bench) -> None:
    run = bench.submit("large.fill", {"megabytes": 400})

    done = bench.event(run, State.SUCCEEDED, 30)

    retrying = bench.event(run, State.RETRYING)
    assert (retrying.queue, retrying.attempt, retrying.outcome) == ("large", 1, "out-of-memory")
    assert (done.queue, done.attempt) == ("large", 2)
    assert done.result == '["large",2,0,419430400,{"last":"default"}]'
    eventually(bench.is_empty)


def test_a_job_too_large_for_both_is_a_dead_letter_of_the_larger_one(bench: Bench) -> None:
    run = bench.submit("large.stubborn", {"megabytes": 2048})

    letter = bench.dead(30)

    assert decode(letter).queue == "large"
    assert letter.headers["warren-dead-attempt"] == 3
    assert letter.headers["warren-dead-outcome"] == "out-of-memory"
    assert [(event.queue, event.attempt) for event in bench.events(run) if event.state is State.RETRYING] == [
        ("large", 1),
        ("large", 2),
    ]


def test_a_worker_of_the_small_queue_only_leaves_it_to_the_others(
    tasks: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tasks, modules="escalation_tasks", queues="default") as bench:
        bench.submit("large.fill", {"megabytes": 400})

        [waiting] = eventually(lambda: bench.ready("large"), 30)

        assert (decode(waiting).escalated_from, decode(waiting).attempt) == ("default", 2)
        assert "it goes to queue large" in caplog.text


def test_a_job_can_be_cancelled_where_it_went(bench: Bench) -> None:
    bench.order(Pause(queue="large"))
    run = bench.submit("large.fill", {"megabytes": 400})
    bench.event(run, State.RETRYING, 30)

    bench.order(CancelJobs(jobs=(run,)))
    bench.order(Resume(queue="large"))

    cancelled = bench.event(run, State.CANCELLED, 30)
    assert (cancelled.queue, cancelled.attempt, cancelled.started_ms) == ("large", 2, None)
    eventually(bench.is_empty)


def test_a_queue_that_nobody_declared_leads_to_the_unroutable_and_the_job_is_kept(
    tasks: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Registry, "oom_queues", lambda _self: [])
    with running(tasks, modules="escalation_tasks", queues="default") as bench:
        bench.submit("large.fill", {"megabytes": 400})
        eventually(lambda: "a job cannot go back to its queue" in caplog.text, 30)
        eventually(bench.waiting)
        bench.transport.advance(2)

        [kept] = eventually(lambda: bench.transport.messages(UNROUTABLE), 10)

        assert (decode(kept).queue, decode(kept).escalated_from) == ("large", "default")
