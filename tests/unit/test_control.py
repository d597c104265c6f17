"""Orders on the wire, and what they come to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.control import (
    CancelJobs,
    CancelMatching,
    Drain,
    Hello,
    Limits,
    Order,
    Pause,
    Resume,
    Started,
    Undrain,
    decode_order,
    encode_order,
)
from warren.envelope import Envelope, new_job_id
from warren.errors import EnvelopeError
from warren_worker.control import Orders

JOB = new_job_id()
ORDERS: list[Order] = [
    CancelJobs(jobs=(JOB, new_job_id())),
    CancelMatching(before_ms=5, queue="media", task="resize", waiting_only=True),
    CancelMatching(before_ms=0),
    Pause(queue="media"),
    Resume(queue="media"),
    Limits(queue="media", priority=3, concurrency=2, rate_count=10, rate_seconds=60, generation=4),
    Limits(queue="media"),
    Started(job=JOB, attempt=2, run=1),
    Drain(workers=("pod-1",)),
    Undrain(workers=("pod-1", "pod-2")),
    Hello(nonce="abc"),
]


def job(**fields: object) -> Envelope:
    return Envelope(id=JOB, task="resize", queue="media", enqueued_ms=100).evolve(**fields)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_survives_the_wire(order: Order) -> None:
    assert decode_order(encode_order(order)) == order


def test_an_order_of_a_newer_kind_is_passed_over() -> None:
    message = replace(encode_order(Hello(nonce="a")), body=b'{"v": 2, "kind": "dance", "how": 1}')

    assert decode_order(message) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"v": 1}',
        b'{"v": 1, "kind": ["pause"]}',
        b'{"v": 1, "kind": "pause"}',
        b'{"v": 1, "kind": "pause", "queue": "a.b"}',
        b'{"v": 1, "kind": "pause", "queue": 3}',
        b'{"v": 1, "kind": "cancel-jobs", "jobs": ["x"]}',
        b'{"v": 1, "kind": "cancel-jobs", "jobs": "x"}',
        b'{"v": 1, "kind": "cancel-matching", "before_ms": -1}',
        b'{"v": 1, "kind": "cancel-matching", "before_ms": true}',
        b'{"v": 1, "kind": "cancel-matching", "before_ms": 1, "task": "A B"}',
        b'{"v": 1, "kind": "cancel-matching", "before_ms": 1, "waiting_only": 1}',
        b'{"v": 1, "kind": "hello", "nonce": ""}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_order_is_refused(body: bytes) -> None:
    message = replace(encode_order(Hello(nonce="a")), body=body)

    with pytest.raises(EnvelopeError):
        decode_order(message)


def test_a_job_is_cancelled_by_its_id_whenever_it_comes() -> None:
    orders = Orders()

    orders.take(CancelJobs(jobs=(JOB,)))

    assert orders.cancels(job())
    assert not orders.cancels(job(id=new_job_id()))


@pytest.mark.parametrize(
    ("order", "cancelled"),
    [
        (CancelMatching(before_ms=100), True),
        (CancelMatching(before_ms=99), False),
        (CancelMatching(before_ms=100, queue="media"), True),
        (CancelMatching(before_ms=100, queue="default"), False),
        (CancelMatching(before_ms=100, task="resize"), True),
        (CancelMatching(before_ms=100, task="greet"), False),
    ],
)
def test_jobs_are_cancelled_by_what_they_are(order: CancelMatching, cancelled: bool) -> None:
    orders = Orders()

    orders.take(order)

    assert orders.cancels(job()) is cancelled


def test_an_order_for_waiting_jobs_leaves_running_ones_alone() -> None:
    orders = Orders()

    orders.take(CancelMatching(before_ms=100, waiting_only=True))

    assert orders.cancels(job())
    assert not orders.cancels(job(), running=True)


def test_the_latest_of_orders_on_the_same_thing_counts() -> None:
    orders = Orders()

    for order in (Pause(queue="a"), Pause(queue="b"), Resume(queue="a"), CancelMatching(before_ms=200)):
        orders.take(order)
    orders.take(CancelMatching(before_ms=50))
    orders.take(Limits(queue="a", concurrency=5, generation=2))
    orders.take(Limits(queue="a", concurrency=9, generation=1))

    assert orders.paused == {"b"}
    assert orders.cancels(job())
    assert orders.limits["a"].concurrency == 5


def test_announced_runs_are_counted_for_each_envelope() -> None:
    orders = Orders()

    for run in (1, 2, 2, 1):
        orders.take(Started(job=JOB, attempt=1, run=run))

    assert orders.starts(job()) == 2
    assert orders.starts(job(attempt=2)) == 0


def test_what_is_known_of_a_job_is_forgotten_when_it_has_ended() -> None:
    orders = Orders()
    orders.take(CancelJobs(jobs=(JOB,)))
    orders.take(Started(job=JOB, attempt=1, run=1))

    orders.forget(JOB, 1)

    assert not orders.cancels(job())
    assert orders.starts(job()) == 0


@given(st.lists(st.sampled_from(ORDERS), max_size=30))
def test_reading_a_stream_again_changes_nothing(stream: list[Order]) -> None:
    once, twice = Orders(), Orders()

    for order in stream:
        once.take(order)
    for order in stream + stream:
        twice.take(order)

    assert vars(once) == vars(twice)
