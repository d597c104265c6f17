"""Caps and rates by tokens, and which of several queues goes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from waiting import eventually
from warren import Context
from warren.control import CancelJobs, Limits
from warren.envelope import decode
from warren.events import State
from warren.memory import MemoryTransport
from warren.task import Registry, task
from warren.tokens import token_publications, token_topology
from warren.topology import token_queue, topology
from warren.transport import Delivery
from warren_worker.settings import WorkerSettings
from warren_worker.timers import Timers
from warren_worker.tokens import Grant, Tokens
from worker_harness import Bench, running

SLOTS = token_queue("default", "slots")


class Hall:
    """A task whose runs wait inside until they are let out."""

    def __init__(self, registry: Registry, queue: str = "default") -> None:
        self.inside: list[str] = []
        self.most = 0
        self._doors = threading.Semaphore(0)
        self._lock = threading.Lock()

        @task(name=f"hall.{queue}", queue=queue, registry=registry)
        def hall(ctx: Context) -> None:
            with self._lock:
                self.inside.append(ctx.job_id)
                self.most = max(self.most, len(self.inside))
            self._doors.acquire(timeout=20)
            with self._lock:
                self.inside.remove(ctx.job_id)

    def let_out(self, count: int) -> None:
        self._doors.release(count)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_no_more_jobs_run_than_there_are_tokens(registry: Registry) -> None:
    hall = Hall(registry)

    with running(registry, concurrency=5) as bench:
        bench.limit(concurrency=2)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 2)
        jobs = [bench.submit("hall.default") for _ in range(6)]
        eventually(lambda: len(hall.inside) == 2)
        held = bench.tokens("slots")
        hall.let_out(6)
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

        assert (hall.most, held) == (2, 0)
        eventually(lambda: bench.tokens("slots") == 2)


def test_a_limited_queue_holds_up_no_other(registry: Registry) -> None:
    blocked = Hall(registry, "blocked")

    @task(name="quick", registry=registry)
    def quick() -> None: ...

    with running(registry, concurrency=1) as bench:
        bench.limit("blocked", concurrency=0, priority=9)
        eventually(lambda: bench.worker._control.limits("blocked").concurrency == 0)
        stuck = bench.submit("hall.blocked", queue="blocked")
        eventually(lambda: bench.unsettled() == 1)

        for _ in range(3):
            bench.event(bench.submit("quick"), State.SUCCEEDED)
        assert blocked.inside == []
        assert bench.events(stuck) == []


def test_a_job_that_waits_too_long_for_tokens_goes_to_the_end_of_its_queue(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren_worker.runner.TOKEN_WAIT_SECONDS", 0.3)
    Hall(registry)

    with running(registry, prefetch=1) as bench:
        bench.limit(concurrency=0)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 0)
        first = bench.submit("hall.default")
        eventually(lambda: bench.unsettled() == 1)
        bench.submit("hall.default")

        eventually(lambda: [decode(message).id for message in bench.ready()] == [first])
        waiting = decode(bench.ready()[0])
        assert waiting.attempt - waiting.forgiven == 1


def test_starts_keep_within_the_rate(registry: Registry) -> None:
    starts: list[float] = []

    @task(name="note", registry=registry)
    def note() -> None:
        starts.append(time.monotonic())

    with running(registry) as bench:
        bench.limit(rate_count=3, rate_seconds=1)
        eventually(lambda: bench.worker._control.limits("default").rate_count == 3)
        jobs = [bench.submit("note") for _ in range(8)]
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

    # The window begins a moment before the code does, which a busy machine stretches.
    assert all(later - first > 0.7 for first, later in zip(starts, starts[3:], strict=False))
    assert bench.tokens("rate") == 3


def test_a_worker_that_ends_keeps_its_tokens_of_the_rate_to_the_end_of_the_window(registry: Registry) -> None:
    @task(name="note", registry=registry)
    def note() -> None: ...

    with running(registry) as bench:
        bench.limit(rate_count=1, rate_seconds=1)
        eventually(lambda: bench.worker._control.limits("default").rate_count == 1)
        started = bench.event(bench.submit("note"), State.SUCCEEDED).started_ms or 0
        bench.worker.drain(10)

        assert time.time() * 1000 >= started + 1000
        eventually(lambda: bench.tokens("rate") == 1)


def test_no_token_is_held_while_another_kind_is_missing(registry: Registry) -> None:
    Hall(registry)

    with running(registry) as bench:
        bench.limit(concurrency=1, rate_count=0, rate_seconds=60)
        eventually(lambda: bench.worker._control.limits("default").rate_count == 0)
        bench.submit("hall.default")
        eventually(lambda: bench.worker._tokens._patience.get("default"))

        eventually(lambda: bench.tokens("slots") == 1)
        bench.worker.drain(1)
        assert bench.tokens("slots") == 1


def test_a_cancelled_or_expired_job_uses_up_no_token(registry: Registry) -> None:
    hall = Hall(registry)

    with running(registry) as bench:
        bench.limit(concurrency=1, rate_count=2, rate_seconds=60)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 1)
        first = bench.submit("hall.default")
        eventually(lambda: hall.inside == [first])
        expired = bench.submit("hall.default", expires_ms=int(time.time() * 1000) + 300)
        cancelled = bench.submit("hall.default")
        eventually(lambda: bench.unsettled() == 3)
        bench.order(CancelJobs(jobs=(cancelled,)))
        bench.event(cancelled, State.CANCELLED)
        eventually(lambda: time.time() * 1000 > (decode_expiry(bench, expired) or 0))
        hall.let_out(1)
        bench.event(expired, State.EXPIRED)

        eventually(lambda: (bench.tokens("slots"), bench.tokens("rate")) == (1, 1))


def decode_expiry(bench: Bench, job: str) -> int | None:
    waiting = [run for jobs in bench.worker._slots._waiting.values() for _, run in jobs]
    return next((run.job.envelope.expires_ms for run in waiting if run.job.envelope.id == job), None)


@pytest.mark.parametrize(("seconds", "fewest", "most"), [(60.0, 1, 8), (0.0, 20, 1000)])
def test_short_jobs_leave_their_token_to_the_next_one_for_a_while(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, seconds: float, fewest: int, most: int
) -> None:
    monkeypatch.setattr("warren_worker.tokens.PASS_ON_SECONDS", seconds)
    release = threading.Event()
    asked: list[str] = []

    @task(name="note", registry=registry)
    def note() -> None:
        release.wait(20)

    with running(registry, prefetch=20) as bench:
        get = bench.transport.get
        monkeypatch.setattr(bench.transport, "get", lambda queue: (asked.append(queue), get(queue))[1])
        bench.limit(concurrency=1)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 1)
        jobs = [bench.submit("note") for _ in range(20)]
        eventually(lambda: bench.unsettled() == 20)
        while_waiting = len(asked)
        release.set()
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

        assert fewest <= len(asked) - while_waiting + 1 <= most
        eventually(lambda: bench.tokens("slots") == 1)


def test_a_token_is_not_passed_on_past_a_job_of_a_higher_queue(registry: Registry) -> None:
    order: list[str] = []
    release = threading.Event()
    for queue in ("limited", "high"):

        @task(name=f"note.{queue}", queue=queue, registry=registry)
        def note(ctx: Context) -> None:
            release.wait(20)
            order.append(ctx.queue)

    with running(registry, concurrency=1, queues="limited,high=5") as bench:
        bench.limit("limited", concurrency=1)
        eventually(lambda: bench.worker._control.limits("limited").concurrency == 1)
        bench.submit("note.limited", queue="limited")
        eventually(lambda: len(bench.worker._slots.running) == 1)
        bench.submit("note.limited", queue="limited")
        bench.submit("note.high", queue="high")
        eventually(lambda: bench.unsettled() == 3)
        release.set()

        eventually(lambda: len(order) == 3)
        assert order == ["limited", "high", "limited"]


def test_lifting_a_limit_starts_what_waited(registry: Registry) -> None:
    hall = Hall(registry)

    with running(registry) as bench:
        bench.limit(concurrency=0)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 0)
        jobs = [bench.submit("hall.default") for _ in range(3)]
        eventually(lambda: bench.unsettled() == 3)
        bench.order(Limits(queue="default", generation=2))

        eventually(lambda: sorted(hall.inside) == sorted(jobs))
        hall.let_out(3)


def test_tokens_of_an_older_generation_are_thrown_away(registry: Registry) -> None:
    hall = Hall(registry)

    with running(registry) as bench:
        bench.limit(concurrency=5)
        bench.limit(concurrency=2, generation=2)
        eventually(lambda: bench.worker._control.limits("default").generation == 2)
        jobs = [bench.submit("hall.default") for _ in range(6)]
        eventually(lambda: len(hall.inside) == 2)
        hall.let_out(6)
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

        assert hall.most == 2
        eventually(lambda: bench.tokens("slots") == 2)


def test_a_lost_connection_gives_the_tokens_back_and_says_so(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall(registry)

    with running(registry) as bench:
        bench.limit(concurrency=1)
        eventually(lambda: bench.worker._control.limits("default").concurrency == 1)
        bench.submit("hall.default")
        eventually(lambda: hall.inside)
        bench.transport.disconnect()
        bench.transport.reconnect()
        hall.let_out(2)

        eventually(lambda: "token_lost" in {getattr(record, "event", "") for record in caplog.records})
        eventually(lambda: bench.tokens("slots") == 1)


class Bank:
    """Tokens of one queue, without a worker."""

    def __init__(self, limits: Limits, *, declared: bool = True) -> None:
        self.limits = limits
        self.transport = MemoryTransport()
        self.transport.start()
        if declared:
            self.transport.declare(token_topology(limits.queue)).result(5)
            for publication in token_publications(limits):
                self.transport.publish(publication).result(5)
        self.timers = Timers()
        self.timers.start()
        self.chances = 0
        self.answers: list[Grant | None] = []
        self.tokens = Tokens(self.transport, self.timers, Random(1), lambda _queue: self.limits, self._chance)

    def ask(self) -> Grant | None:
        before = len(self.answers)
        self.tokens.ask(self.limits.queue, lambda _queue, grant: self.answers.append(grant))
        eventually(lambda: len(self.answers) > before)
        return self.answers[-1]

    def _chance(self) -> None:
        self.chances += 1


@contextmanager
def bank(limits: Limits, *, declared: bool = True) -> Iterator[Bank]:
    made = Bank(limits, declared=declared)
    yield made
    made.timers.stop()
    made.transport.stop()


def test_a_refusal_is_followed_by_a_chance_after_a_growing_while() -> None:
    with bank(Limits(queue="default", concurrency=0)) as it:
        waits = []
        for _ in range(12):
            assert it.ask() is None
            waits.append(it.tokens._patience["default"].until - time.monotonic())

        assert max(waits[:1]) <= 0.02
        assert 0.05 < max(waits) <= 0.25
        eventually(lambda: it.chances == 12)
        eventually(lambda: it.tokens.may_ask("default"))


def test_a_token_of_a_newer_generation_is_left_until_its_order_comes() -> None:
    with bank(Limits(queue="default", concurrency=1, generation=2)) as it:
        it.limits = Limits(queue="default", concurrency=1, generation=1)
        before = it.ask()
        it.limits = Limits(queue="default", concurrency=1, generation=2)
        after = it.ask()

        assert before is None
        assert after is not None
        assert list(after.tokens) == ["slots"]


def test_a_queue_without_limits_needs_no_token() -> None:
    with bank(Limits(queue="default")) as it:
        grant = it.ask()

        assert not it.tokens.limited("default")
        assert grant is not None
        assert grant.tokens == {}


def test_token_queues_that_are_not_there_are_complained_about(caplog: pytest.LogCaptureFixture) -> None:
    with bank(Limits(queue="default", concurrency=1), declared=False) as it:
        assert [it.ask() for _ in range(20)] == [None] * 20

        assert "warren.tokens.default.slots" in caplog.text


def test_a_transport_that_is_stopped_refuses() -> None:
    with bank(Limits(queue="default", concurrency=1)) as it:
        it.transport.stop()

        assert it.ask() is None


def test_the_token_of_a_long_job_is_left_to_others_for_a_moment() -> None:
    with bank(Limits(queue="default", concurrency=1)) as it:
        grant = it.ask()
        assert grant is not None
        it.tokens.started(grant)
        grant.taken -= 2
        it.tokens.ended(grant)
        wait = it.tokens._patience["default"].until - time.monotonic()
        it.tokens.ended(Grant(queue="default", started=True, taken=time.monotonic() - 0.1))
        sooner = it.tokens._patience["default"].until - time.monotonic()

        assert 0.08 < wait <= 0.11
        assert sooner < 0.02
        eventually(lambda: it.chances >= 1)


def test_jobs_start_by_the_priority_of_their_queue_and_then_in_order(registry: Registry) -> None:
    order: list[str] = []
    release = threading.Event()
    for queue in ("low", "high", "middle"):

        @task(name=f"note.{queue}", queue=queue, registry=registry)
        def note(ctx: Context, label: str) -> None:
            release.wait(20)
            order.append(label)

    bench = Bench(registry, concurrency=1, queues="high=10, low, middle=5")
    for number in range(2):
        for queue in ("low", "middle", "high"):
            bench.submit(f"note.{queue}", {"label": f"{queue} {number}"}, queue=queue)
    bench.order(Limits(queue="low", priority=20, generation=1))
    bench.worker.start()
    eventually(lambda: bench.unsettled() == 6)
    release.set()
    eventually(lambda: len(order) == 6)
    bench.worker.drain(2)
    bench.transport.stop()

    # The first was started before the others came.
    rest = order[1:]
    expected = [f"{queue} {number}" for queue in ("low", "high", "middle") for number in range(2)]
    assert rest == [label for label in expected if label != order[0]]


@pytest.mark.parametrize(
    ("queues", "priorities"),
    [
        ("", {}),
        ("a", {"a": 0}),
        ("critical=10, default", {"critical": 10, "default": 0}),
        ("a = 1000", {"a": 1000}),
    ],
)
def test_queues_may_have_priorities(queues: str, priorities: dict[str, int]) -> None:
    assert WorkerSettings(queues=queues).priorities == priorities


@pytest.mark.parametrize("queues", ["a=-1", "a=1001", "a=x", "a=1=2", "a b=1", "=1"])
def test_a_priority_that_is_none_is_refused(queues: str) -> None:
    with pytest.raises(ValueError, match="queue"):
        WorkerSettings(queues=queues)


def test_taken_tokens_are_ordinary_deliveries() -> None:
    transport = MemoryTransport()
    transport.start()
    transport.declare(topology(["default"], limited=["default"])).result(5)
    [publication] = token_publications(Limits(queue="default", concurrency=1))
    transport.publish(publication).result(5)

    token: Delivery | None = transport.get(SLOTS).result(5)

    assert token is not None
    assert token.queue == SLOTS
    transport.stop()
