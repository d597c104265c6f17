"""Cancelling jobs that wait, run, or come later; and what is not undone."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import warren
from waiting import eventually
from warren import Context, Retry
from warren.control import CancelJobs, CancelMatching, encode_order
from warren.envelope import Envelope, new_job_id
from warren.events import ErrorInfo, State
from warren.task import Registry, default_registry, task
from warren.topology import DEAD, EVENTS
from warren.transport import control_publication, job_publication
from warren_worker.cancel import judge
from warren_worker.outcome import Cancelled, Failed, Outcome, Succeeded
from worker_harness import Bench, running

TASKS_FOLDER = Path(__file__).parents[1] / "integration"
QUICK = Retry(max_attempts=5, min_delay=0, max_delay=0)
FAR_FUTURE_MS = 2**52
SUCCESS = Succeeded(result="1")
FAILURE = Failed(error=ErrorInfo(type="ValueError", message="no"))
STEERED = Cancelled(error=ErrorInfo(type="warren.errors.Cancelled", message="stop"))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A worker whose tasks can be imported by child processes."""
    monkeypatch.syspath_prepend(str(TASKS_FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(TASKS_FOLDER))
    importlib.import_module("tasks_for_tests")
    with running(default_registry, modules="tasks_for_tests", queues="default") as made:
        yield made


def ends(bench: Bench, job: str) -> list[State]:
    return [event.state for event in bench.events(job) if event.state.final]


@pytest.mark.parametrize(
    ("outcome", "ordered", "asked", "noticed", "word"),
    [
        (SUCCESS, False, False, False, "Succeeded"),
        (FAILURE, False, False, False, "Failed"),
        (STEERED, False, False, False, "Cancelled"),
        (SUCCESS, True, True, False, "Succeeded"),
        (SUCCESS, True, True, True, "Cancelled"),
        (FAILURE, True, True, False, "Cancelled"),
        (STEERED, True, True, True, "Cancelled"),
        (SUCCESS, False, True, True, "Succeeded"),
        (FAILURE, False, True, True, "Failed"),
        (STEERED, False, True, True, None),
    ],
)
def test_how_a_run_ended_depends_on_who_asked_it_to_stop(
    outcome: Outcome, ordered: bool, asked: bool, noticed: bool, word: str | None
) -> None:
    judged = judge(outcome, ordered=ordered, asked=asked, noticed=noticed)

    assert (None if judged is None else type(judged).__name__) == word


def test_a_job_cancelled_before_any_worker_came_does_not_run(registry: Registry) -> None:
    runs: list[str] = []

    @task(name="note", registry=registry)
    def note(ctx: Context) -> None:
        runs.append(ctx.job_id)

    bench = Bench(registry)
    cancelled, kept = bench.submit("note"), bench.submit("note")
    bench.order(CancelJobs(jobs=(cancelled,)))
    bench.worker.start()
    bench.event(kept, State.SUCCEEDED)
    told = bench.event(cancelled, State.CANCELLED)
    bench.worker.drain(2)

    assert runs == [kept]
    assert (told.outcome, told.started_ms, ends(bench, cancelled)) == ("cancelled", None, [State.CANCELLED])
    assert bench.is_empty()
    assert bench.sample("warren_attempts_total", queue="warren.q.default", task="note", outcome="cancelled") == 1
    bench.transport.stop()


def test_a_job_that_waits_for_its_slot_is_cancelled_at_once(registry: Registry) -> None:
    release = threading.Event()

    @task(name="hold", registry=registry)
    def hold() -> None:
        release.wait(20)

    with running(registry, concurrency=1, prefetch=3) as bench:
        first, second, third = (bench.submit("hold") for _ in range(3))
        eventually(lambda: bench.unsettled() == 3)
        bench.order(CancelJobs(jobs=(second,)))
        bench.event(second, State.CANCELLED)
        release.set()

        bench.event(first, State.SUCCEEDED)
        bench.event(third, State.SUCCEEDED)
        assert ends(bench, second) == [State.CANCELLED]


def test_jobs_are_cancelled_by_queue_and_task_and_time(registry: Registry) -> None:
    @task(name="note", registry=registry)
    def note() -> None: ...

    @task(name="other", registry=registry)
    def other() -> None: ...

    bench = Bench(registry)
    jobs = [bench.submit("note") for _ in range(5)]
    spared, later = bench.submit("other"), bench.submit("note", enqueued_ms=FAR_FUTURE_MS)
    bench.order(CancelMatching(before_ms=FAR_FUTURE_MS - 1, queue="default", task="note"))
    bench.worker.start()

    for job in jobs:
        bench.event(job, State.CANCELLED)
    bench.event(spared, State.SUCCEEDED)
    bench.event(later, State.SUCCEEDED)
    bench.worker.drain(2)
    bench.transport.stop()


def test_a_thread_learns_that_it_is_cancelled_and_leaves(registry: Registry) -> None:
    @task(name="listens", registry=registry, retry=QUICK)
    def listens(ctx: Context) -> None:
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.01)

    with running(registry) as bench:
        job = bench.submit("listens")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))

        told = bench.event(job, State.CANCELLED)
        eventually(bench.is_empty)
        assert (told.outcome, told.attempt) == ("cancelled", 1)
        assert ends(bench, job) == [State.CANCELLED]
        assert not bench.transport.messages(DEAD)


def test_a_task_that_looked_and_returned_is_cancelled(registry: Registry) -> None:
    @task(name="looks", registry=registry)
    def looks(ctx: Context) -> str:
        while not ctx.cancelled:
            time.sleep(0.01)
        return "half"

    with running(registry) as bench:
        job = bench.submit("looks")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))

        assert bench.event(job, State.CANCELLED).result is None


def test_a_task_that_did_not_look_and_finished_its_work_has_succeeded(registry: Registry) -> None:
    release = threading.Event()

    @task(name="deaf", registry=registry)
    def deaf() -> str:
        release.wait(20)
        return "done"

    with running(registry) as bench:
        job = bench.submit("deaf")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))
        eventually(lambda: all(run.stopped for run in bench.worker._slots.running))
        release.set()

        assert bench.event(job, State.SUCCEEDED).result == '"done"'
        assert ends(bench, job) == [State.SUCCEEDED]


def test_a_cancelled_job_that_fails_is_not_tried_again(registry: Registry) -> None:
    release = threading.Event()

    @task(name="fails", registry=registry, retry=QUICK)
    def fails() -> None:
        release.wait(20)
        raise ValueError("no")

    with running(registry) as bench:
        job = bench.submit("fails")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))
        eventually(lambda: all(run.stopped for run in bench.worker._slots.running))
        release.set()

        bench.event(job, State.CANCELLED)
        eventually(bench.is_empty)
        assert not bench.transport.messages(DEAD)


def test_a_job_on_the_ladder_is_cancelled_when_it_is_due(registry: Registry) -> None:
    @task(name="fails", registry=registry, retry=Retry(max_attempts=5, min_delay=60, max_delay=60))
    def fails() -> None:
        raise ValueError("no")

    with running(registry) as bench:
        job = bench.submit("fails")
        bench.event(job, State.RETRYING)
        eventually(bench.waiting)
        bench.order(CancelJobs(jobs=(job,)))
        bench.transport.advance(120)

        assert bench.event(job, State.CANCELLED).attempt == 2
        eventually(bench.is_empty)


def test_orders_for_waiting_jobs_leave_running_ones_alone(registry: Registry) -> None:
    release = threading.Event()

    @task(name="hold", registry=registry)
    def hold(ctx: Context) -> bool:
        release.wait(20)
        return ctx.cancelled

    with running(registry, concurrency=1, prefetch=2) as bench:
        runs = bench.submit("hold")
        bench.event(runs, State.RUNNING)
        waits = bench.submit("hold")
        eventually(lambda: bench.unsettled() == 2)
        bench.order(CancelMatching(before_ms=FAR_FUTURE_MS, waiting_only=True))
        bench.event(waits, State.CANCELLED)
        release.set()

        assert bench.event(runs, State.SUCCEEDED).result == "false"


def test_an_async_task_is_cancelled_at_its_await(registry: Registry) -> None:
    cleaned = threading.Event()

    @task(name="sleeps", registry=registry, retry=QUICK)
    async def sleeps() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    @task(name="fine", registry=registry)
    async def fine() -> int:
        await asyncio.sleep(0)
        return 1

    with running(registry) as bench:
        job = bench.submit("sleeps")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))
        bench.event(job, State.CANCELLED)

        assert cleaned.is_set()
        assert bench.event(bench.submit("fine"), State.SUCCEEDED).result == "1"
        assert ends(bench, job) == [State.CANCELLED]


def test_an_async_task_that_holds_on_to_its_work_has_succeeded(registry: Registry) -> None:
    @task(name="shields", registry=registry)
    async def shields() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "finished all the same"

    with running(registry) as bench:
        job = bench.submit("shields")
        bench.event(job, State.RUNNING)
        bench.order(CancelJobs(jobs=(job,)))

        assert bench.event(job, State.SUCCEEDED).result == '"finished all the same"'


def test_a_child_process_is_killed_within_a_second_and_the_next_job_gets_another(
    children: Bench, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    job = children.submit("child.spin_long", {"path": str(started)})
    eventually(started.exists, 30)
    began = time.monotonic()
    children.order(CancelJobs(jobs=(job,)))
    children.event(job, State.CANCELLED)
    took = time.monotonic() - began

    following = children.submit("child.add", {"left": 1, "right": 2})
    assert (children.event(following, State.SUCCEEDED, 30).result or "").startswith("[3,")
    assert took < 1
    assert ends(children, job) == [State.CANCELLED]


def test_a_job_is_cancelled_while_its_child_is_being_started(children: Bench, tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = children.submit("child.spin_long", {"path": str(started)})
    children.event(job, State.RUNNING)
    children.order(CancelJobs(jobs=(job,)))

    children.event(job, State.CANCELLED)
    eventually(children.is_empty)
    assert not children.transport.messages(DEAD)


def test_a_task_may_cancel_its_own_job(registry: Registry) -> None:
    @task(name="gives_up", registry=registry, retry=QUICK)
    def gives_up() -> None:
        raise warren.Cancelled("nobody wants it any more")

    with running(registry) as bench:
        job = bench.submit("gives_up")

        bench.event(job, State.CANCELLED)
        eventually(bench.is_empty)
        assert not bench.transport.messages(DEAD)


def test_a_job_that_steps_aside_for_a_drain_is_given_back_and_not_cancelled(registry: Registry) -> None:
    @task(name="polite", registry=registry)
    def polite(ctx: Context) -> None:
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.01)

    with running(registry) as bench:
        job = bench.submit("polite")
        bench.event(job, State.RUNNING)
        finished = bench.worker.drain(0.1)

        assert len(eventually(bench.ready)) == 1
        assert ends(bench, job) == []
        assert not finished


def test_a_job_cancelled_during_a_drain_is_cancelled(registry: Registry) -> None:
    @task(name="polite", registry=registry)
    def polite(ctx: Context) -> None:
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.01)

    with running(registry) as bench:
        job = bench.submit("polite")
        bench.event(job, State.RUNNING)
        drain = threading.Thread(target=bench.worker.drain, args=(20,))
        drain.start()
        eventually(lambda: bench.worker.pulse.unready() == "draining")
        bench.order(CancelJobs(jobs=(job,)))
        drain.join(10)

        assert not drain.is_alive()
        assert ends(bench, job) == [State.CANCELLED]
        assert bench.ready() == []


def test_a_cancelled_job_that_comes_once_more_is_not_told_of_again(registry: Registry) -> None:
    @task(name="note", registry=registry)
    def note() -> None: ...

    with running(registry) as bench:
        bench.order(CancelJobs(jobs=(blocker := new_job_id(),)))
        bench.submit("note", id=blocker)
        bench.event(blocker, State.CANCELLED)
        bench.transport.hold_confirms()
        job = new_job_id()
        envelope = Envelope(id=job, task="note", queue="default", enqueued_ms=1)
        bench.transport.publish(control_publication(encode_order(CancelJobs(jobs=(job,)))))
        eventually(lambda: bench.worker._control.cancels(envelope))
        bench.transport.publish(job_publication(envelope))
        eventually(lambda: ends(bench, job))
        # Its event is with the broker, the confirm is not here, and so the job is not acked.
        bench.transport.disconnect()
        bench.transport.release_confirms()
        bench.transport.reconnect()
        eventually(bench.is_empty)

        told = [message for message in bench.transport.messages(EVENTS) if job.encode() in message.body]
        # Twice the same message, for its confirm was lost; no second one was made.
        assert len({message.message_id for message in told}) == 1
        assert ends(bench, job)[0] is State.CANCELLED


def test_what_ended_is_forgotten_when_much_else_has_ended_since(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren_worker.finished.REMEMBERED", 2)

    @task(name="note", registry=registry)
    def note() -> None: ...

    with running(registry) as bench:
        jobs = [new_job_id() for _ in range(3)]
        bench.order(CancelJobs(jobs=tuple(jobs)))
        for job in jobs:
            bench.submit("note", id=job)
            bench.event(job, State.CANCELLED)
        again = [bench.submit("note", id=job) for job in jobs]

        assert bench.event(again[0], State.SUCCEEDED)
        assert ends(bench, again[2])[-1] is State.CANCELLED
