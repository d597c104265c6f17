"""Runs after a death: what counts, what is announced, and what runs alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiting import eventually
from warren import Context, Retry
from warren.control import CancelJobs, Order, Started, decode_order, encode_order
from warren.envelope import Envelope, Message, decode, encode, new_job_id
from warren.events import ErrorInfo, State
from warren.task import Registry, Task, task
from warren.topology import CONTROL, DELIVERY_LIMIT, JOBS
from warren.transport import Delivery, Publication, control_publication
from warren_worker import settle
from warren_worker.control import MAX_STARTS, Orders
from warren_worker.intake import RENEW_AFTER, receive
from warren_worker.job import Job, Run
from warren_worker.outbox import Outbox
from warren_worker.outcome import Failed
from warren_worker.settle import Moment, Settlement
from warren_worker.suspects import MAX_LOOKS, Suspects, counted_again, may_start, runs_alone
from warren_worker.timers import Timers
from worker_harness import Bench, running

NOW = Moment(worker="w", now_ms=1)
BEGAN = Moment(worker="w", now_ms=9, started_ms=5)
REGISTRY = Registry()
BOOM = Failed(error=ErrorInfo(type="E", message="m"))


@task(name="t", registry=REGISTRY, retry=Retry(max_attempts=3, min_delay=0, max_delay=0))
def t() -> None: ...


class Handed:
    """A delivery that is only looked at."""

    queue = "warren.q.default"

    def __init__(self, message: Message, count: int = 0, *, redelivered: bool = True) -> None:
        self.message = message
        self.delivery_count = count
        self.redelivered = redelivered
        self.alive = True


def envelope(**fields: Any) -> Envelope:
    return Envelope(id=new_job_id(), task="t", queue="default").evolve(**fields)


def job(*, starts: int = 0, redelivered: bool = True, max_attempts: int = 3, attempt: int = 1) -> Job:
    asked = envelope(max_attempts=max_attempts)
    return Job(envelope=asked, task=cast("Task[Any, Any]", t), attempt=attempt, redelivered=redelivered, starts=starts)


def run_of(made: Job) -> Run:
    return Run(job=made, delivery=cast("Delivery", Handed(encode(made.envelope))))


# Decisions.


@pytest.mark.parametrize(
    ("starts", "max_attempts", "redelivered", "alone"),
    [
        (0, 3, False, False),
        (9, 3, False, False),
        (0, 3, True, False),
        (1, 3, True, False),
        (2, 3, True, True),
        (2, 9, True, True),
        (0, 2, True, False),
        (1, 2, True, True),
        (0, 1, True, True),
        (0, 1, False, False),
    ],
)
def test_a_job_runs_alone_once_it_was_in_several_deaths_or_before_its_last_attempt(
    starts: int, max_attempts: int, redelivered: bool, alone: bool
) -> None:
    assert runs_alone(job(starts=starts, max_attempts=max_attempts, redelivered=redelivered)) is alone


def test_what_runs_alone_waits_for_all_others_and_all_others_wait_for_it() -> None:
    alone, plain = job(starts=2), job(redelivered=False)

    assert may_start(alone, [])
    assert not may_start(alone, [run_of(plain)])
    assert not may_start(alone, [run_of(plain), run_of(plain)])
    assert not may_start(plain, [run_of(alone)])
    assert may_start(plain, [run_of(plain)])
    assert may_start(job(starts=1), [run_of(plain), run_of(plain)])


def test_what_was_announced_elsewhere_counts_and_never_lowers_the_number_of_the_attempt() -> None:
    held_often = job(attempt=7)

    assert (counted_again(held_often, 2).attempt, counted_again(held_often, 2).counted) == (7, 3)
    assert (counted_again(held_often, 8).attempt, counted_again(held_often, 8).forgiven) == (9, 0)


@pytest.mark.parametrize(("attempt", "forgiven", "counted"), [(1, 0, 1), (5, 2, 3), (1, 5, 1)])
def test_forgiven_hand_outs_do_not_count_and_headers_that_make_no_sense_do_no_harm(
    attempt: int, forgiven: int, counted: int
) -> None:
    made = receive(cast("Delivery", Handed(encode(envelope(attempt=attempt, forgiven=forgiven)))), REGISTRY, NOW)

    assert isinstance(made, Job)
    assert (made.counted, made.attempt) == (counted, attempt)
    assert made.forgiven == attempt - counted


@given(
    st.integers(1, 4),
    st.booleans(),
    st.lists(st.sampled_from(["held", "death", "failure", "drain", "wait", "park"]), max_size=60),
)
def test_whatever_happens_only_runs_count_and_a_job_gets_its_attempts_and_at_most_one_more(
    max_attempts: int, counts_returns: bool, story: list[str]
) -> None:
    """A job's way through workers that die with it or only holding it, that drain, and that do not know its task."""
    orders, deaths, failures, number = Orders(), 0, 0, 0
    message, count, again = encode(envelope(max_attempts=max_attempts)), 0, False
    for step in story:
        registry = Registry() if step == "park" else REGISTRY
        decided = receive(cast("Delivery", Handed(message, count, redelivered=again)), registry, NOW, orders.starts)
        if isinstance(decided, Job):
            assert decided.attempt >= number
            number = decided.attempt
            announced = step in ("death", "failure", "drain") and decided.suspect
            if announced:
                started = Started(job=decided.envelope.id, attempt=decided.envelope.attempt, run=decided.starts + 1)
                orders.take(started)
            deaths += step == "death"
            failures += step == "failure"
            if step == "failure":
                decided = settle.settle(BOOM, decided, BEGAN, Random(1))
            elif step == "drain":
                decided = settle.give_back(decided, BEGAN, announced=announced)
            elif step == "wait":
                decided = settle.give_back(decided, NOW)
        if isinstance(decided, Job):
            count, again = count + 1, True
        elif decided.final == "nack":
            count, again = count + counts_returns, True
        elif decided.again:
            message, count, again = decided.publications[0].message, 0, False
        else:
            assert decided.outcome in ("lost", "failed")
            assert deaths + failures >= max_attempts
            break

    assert deaths + failures <= max_attempts + 1
    assert count <= RENEW_AFTER


def test_a_job_handed_out_too_often_is_published_anew_before_the_broker_gives_it_up() -> None:
    held = envelope(attempt=2)

    decided = receive(cast("Delivery", Handed(encode(held), RENEW_AFTER)), REGISTRY, NOW)

    assert isinstance(decided, Settlement)
    [publication] = decided.publications
    fresh = decode(publication.message)
    assert (publication.exchange, decided.final, RENEW_AFTER < DELIVERY_LIMIT) == (JOBS, "ack", True)
    assert (fresh.attempt, fresh.attempt - fresh.forgiven) == (2 + RENEW_AFTER + 1, 2)


def test_announced_runs_are_counted_anew_in_each_round_and_the_oldest_are_forgotten() -> None:
    orders, asked = Orders(), envelope()

    orders.take(Started(job=asked.id, attempt=1, run=3))
    assert (orders.starts(asked), orders.starts(asked.evolve(round=1))) == (3, 0)
    for number in range(MAX_STARTS):
        orders.take(Started(job=asked.id, attempt=2 + number, run=1))

    assert orders.starts(asked) == 0
    assert orders.starts(asked.evolve(attempt=MAX_STARTS)) == 1


# Announcements.


class Wire:
    """Takes announcements, and gives them back when told to."""

    def __init__(self) -> None:
        self.sent: list[Started] = []

    def send(self, publication: Publication) -> Future[None]:
        assert publication.exchange == CONTROL
        order = decode_order(publication.message)
        assert isinstance(order, Started)
        self.sent.append(order)
        return Future()


class Clock:
    """Timers whose calls are made when told to."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def after(self, seconds: float, call: Any) -> None:
        self.calls.append(call)

    def tick(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Desk:
    """`Suspects` between fakes."""

    def __init__(self, known: int = 0) -> None:
        self.known = known
        self.idle = True
        self.begun: list[Run] = []
        self.heard: list[Order] = []
        self.wire, self.clock = Wire(), Clock()
        self.suspects = Suspects(
            cast("Outbox", self.wire),
            cast("Timers", self.clock),
            starts=lambda _job: self.known,
            is_idle=lambda: self.idle,
            begin=self.begun.append,
        )
        self.listen = self.suspects.listening(self.heard.append)


def test_a_run_that_cannot_have_killed_anybody_begins_at_once() -> None:
    desk, run = Desk(), run_of(job(redelivered=False))

    assert desk.suspects.begin(run)

    assert desk.begun == [run]
    assert desk.wire.sent == []


def test_a_suspect_begins_when_its_announcement_comes_back() -> None:
    desk, run = Desk(known=1), run_of(job())

    desk.suspects.begin(run)
    [announced] = desk.wire.sent
    before = list(desk.begun)
    desk.listen(announced)
    desk.listen(announced)

    assert (before, desk.begun) == ([], [run])
    assert (announced.run, run.job.starts, run.announced) == (2, 1, True)
    assert desk.heard == [announced, announced]


def test_a_suspect_gives_way_to_a_worker_that_announced_the_same_run_first() -> None:
    desk, run = Desk(), run_of(job())

    desk.suspects.begin(run)
    [first] = desk.wire.sent
    desk.listen(Started(job=first.job, attempt=first.attempt, run=1, nonce="other"))
    desk.listen(first)
    begun = list(desk.begun)
    desk.listen(desk.wire.sent[1])

    assert begun == []
    assert [order.run for order in desk.wire.sent] == [1, 2]
    assert (desk.begun, run.job.starts, run.job.counted) == ([run], 1, 2)


def test_a_suspect_that_turns_out_to_have_no_attempt_left_is_handed_on_to_be_settled() -> None:
    desk, run = Desk(known=1), run_of(job(max_attempts=2))

    desk.suspects.begin(run)
    desk.listen(Started(job=run.job.envelope.id, attempt=1, run=2, nonce="other"))

    assert desk.begun == [run]
    assert run.job.exhausted


def test_a_suspect_without_an_attempt_left_is_not_even_announced() -> None:
    desk, run = Desk(known=3), run_of(job(max_attempts=3))

    desk.suspects.begin(run)

    assert (desk.begun, desk.wire.sent) == ([run], [])


def test_what_others_announce_does_not_concern_a_suspect() -> None:
    desk, run = Desk(), run_of(job())

    desk.suspects.begin(run)
    desk.listen(CancelJobs(jobs=(run.job.envelope.id,)))
    desk.listen(Started(job=new_job_id(), attempt=1, run=1))
    desk.listen(Started(job=run.job.envelope.id, attempt=2, run=1))

    assert desk.begun == []


def test_a_run_that_runs_alone_waits_until_all_before_it_is_settled_twice_in_a_row() -> None:
    desk, run = Desk(known=2), run_of(job())
    desk.idle = False

    desk.suspects.begin(run)
    desk.listen(desk.wire.sent[0])
    desk.clock.tick()
    desk.idle = True
    desk.clock.tick()
    waiting = list(desk.begun)
    desk.clock.tick()

    assert (waiting, desk.begun) == ([], [run])


def test_a_run_that_runs_alone_does_not_wait_for_ever() -> None:
    desk, run = Desk(known=2), run_of(job())
    desk.idle = False

    desk.suspects.begin(run)
    desk.listen(desk.wire.sent[0])
    for _ in range(MAX_LOOKS):
        desk.clock.tick()

    assert desk.begun == [run]


def test_what_waits_when_a_drain_begins_is_returned_and_never_begins() -> None:
    desk, announced, alone = Desk(known=0), run_of(job()), run_of(job(starts=2))
    desk.suspects.begin(announced)
    desk.known = 2
    desk.suspects.begin(alone)
    desk.listen(desk.wire.sent[1])

    withdrawn = desk.suspects.withdraw()
    desk.listen(desk.wire.sent[0])
    desk.clock.tick()
    desk.clock.tick()

    assert withdrawn == [announced, alone]
    assert not desk.suspects.begin(run_of(job()))
    assert desk.begun == []


# A whole worker.


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_job_that_workers_only_held_when_they_died_keeps_all_its_attempts(registry: Registry) -> None:
    release = threading.Event()
    seen: list[tuple[int, int, bool]] = []

    @task(name="hold", registry=registry, retry=Retry(max_attempts=9))
    def hold() -> None:
        release.wait(20)

    @task(name="look", registry=registry, retry=Retry(max_attempts=2))
    def look(ctx: Context) -> None:
        seen.append((ctx.attempt, ctx.attempts_left, ctx.redelivered))

    with running(registry, concurrency=1, prefetch=2) as bench:
        bench.submit("hold")
        job = bench.submit("look")
        for _ in range(4):
            eventually(lambda: bench.unsettled() == 2)
            bench.lose_worker()
        release.set()
        bench.event(job, State.SUCCEEDED)

        assert seen == [(5, 1, True)]
        eventually(bench.is_empty)


def test_a_suspect_that_a_drain_gives_back_is_not_charged_with_the_run(registry: Registry) -> None:
    release = threading.Event()
    started: list[int] = []

    @task(name="long", registry=registry, retry=Retry(max_attempts=2))
    def long(ctx: Context) -> None:
        started.append(ctx.attempt)
        release.wait(20)

    with running(registry) as bench:
        bench.submit("long")
        eventually(lambda: len(started) == 1)
        bench.lose_worker()
        eventually(lambda: len(started) == 2)
        bench.worker.drain(0)
        [back] = eventually(bench.ready)
        release.set()

        fresh = decode(back)
        assert started == [1, 2]
        assert (fresh.attempt, fresh.forgiven) == (3, 2)


def test_jobs_that_were_in_several_deaths_run_one_at_a_time(registry: Registry) -> None:
    release, lock = threading.Event(), threading.Lock()
    deaths = 3
    under_way: set[str] = set()
    most: list[int] = []

    @task(name="work", registry=registry, retry=Retry(max_attempts=4))
    def work(ctx: Context) -> None:
        with lock:
            under_way.add(ctx.job_id)
            most.append(len(under_way))
        if len(bench._lost) < deaths:
            release.wait(20)
        with lock:
            under_way.discard(ctx.job_id)

    with running(registry, concurrency=4) as bench:
        jobs = [bench.submit("work") for _ in range(4)]
        for _ in range(deaths):
            eventually(lambda: len(under_way) == 4)
            bench.lose_worker()
            with lock:
                under_way.clear()
                most.clear()
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

        assert set(most) == {1}
        release.set()


def test_a_drain_does_not_wait_for_a_suspect_whose_announcement_is_under_way(registry: Registry) -> None:
    ran = threading.Event()

    @task(name="work", registry=registry)
    def work() -> None:
        ran.set()

    bench = Bench(registry)
    withheld: list[Publication] = []
    send = bench.worker._outbox.send

    def withhold(publication: Publication, *needed: Callable[[], bool]) -> Future[None]:
        if publication.exchange == CONTROL and isinstance(decode_order(publication.message), Started):
            withheld.append(publication)
            return Future()
        return send(publication, *needed)

    bench.worker._outbox.send = withhold  # type: ignore[method-assign]
    bench.submit("work", forgiven=1, attempt=2)
    bench.worker.start()
    eventually(lambda: withheld)

    finished = bench.worker.drain(5)

    [back] = bench.ready()
    assert finished
    assert not ran.is_set()
    assert (decode(back).attempt, decode(back).forgiven) == (3, 2)
    bench.transport.stop()


def test_a_suspect_whose_last_attempt_another_worker_just_took_is_not_run(registry: Registry) -> None:
    ran = threading.Event()

    @task(name="work", registry=registry, retry=Retry(max_attempts=1))
    def work() -> None:
        ran.set()

    bench = Bench(registry)
    send = bench.worker._outbox.send

    def overtake(publication: Publication, *needed: Callable[[], bool]) -> Future[None]:
        order = decode_order(publication.message) if publication.exchange == CONTROL else None
        if isinstance(order, Started):
            send(control_publication(encode_order(replace(order, nonce="other"))))
        return send(publication, *needed)

    bench.worker._outbox.send = overtake  # type: ignore[method-assign]
    bench.submit("work", forgiven=1, attempt=2)
    bench.worker.start()

    assert bench.dead().headers["warren-dead-outcome"] == "lost"
    eventually(bench.is_empty)
    assert not ran.is_set()
    bench.stop()


def test_what_a_task_leaves_by_when_its_worker_is_out_of_time_costs_no_attempt(registry: Registry) -> None:
    @task(name="polite", registry=registry, retry=Retry(max_attempts=1))
    def polite(ctx: Context) -> None:
        ctx.checkpoint({"page": 7})
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        raise RuntimeError("going")

    with running(registry) as bench:
        job = bench.submit("polite")
        bench.event(job, State.RUNNING)
        bench.worker.drain(0.1)
        [back] = eventually(bench.ready)

        fresh = decode(back)
        assert (fresh.attempt - fresh.forgiven, fresh.state) == (1, '{"page":7}')
        assert bench.event(job, State.RETRYING).outcome == "given-back"
        assert bench.transport.messages("warren.dead") == []
