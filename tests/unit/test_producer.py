"""Submitting straight to the broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from warren import topology
from warren.envelope import JOB_ID, decode, job_id_for_key
from warren.errors import Blocked, InvalidArguments, OutcomeUnknown, Unavailable, Unroutable
from warren.memory import MemoryTransport
from warren.producer import Producer, to_envelope
from warren.request import JobRequest
from warren.settings import BrokerSettings
from warren.task import Registry, Task, task
from warren.topology import queue_name

NOW = 1_700_000_000.25
registry = Registry()


@task(queue="media", registry=registry)
def thumbnail(path: str, width: int = 256) -> None:
    """Make a picture small."""


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    transport = MemoryTransport(window=8)
    transport.start()
    transport.declare(topology.topology(["default", "media", "other"])).result(1)
    yield transport
    transport.stop()


@pytest.fixture
def producer(transport: MemoryTransport) -> Iterator[Producer]:
    with Producer(transport=transport, registry=registry) as producer:
        yield producer


@pytest.fixture
def impatient(transport: MemoryTransport) -> Producer:
    return Producer(transport=transport, timeout_seconds=0.1)


def test_a_submitted_job_is_in_its_tasks_queue(producer: Producer, transport: MemoryTransport) -> None:
    job_id = producer.submit(thumbnail, {"path": "a.png"})

    (message,) = transport.messages(queue_name("media"))
    envelope = decode(message)
    assert JOB_ID.fullmatch(job_id)
    assert (envelope.id, envelope.task, envelope.queue) == (job_id, "thumbnail", "media")
    assert envelope.body == b'{"path":"a.png"}'
    assert (envelope.attempt, envelope.priority, envelope.expires_ms) == (1, 0, None)


def test_a_task_known_by_name_has_its_arguments_checked(producer: Producer, transport: MemoryTransport) -> None:
    with pytest.raises(InvalidArguments, match=r"arguments\.path"):
        producer.submit("thumbnail", {"width": 3})

    assert transport.messages(queue_name("media")) == []


def test_a_task_object_is_checked_even_if_it_is_not_registered(transport: MemoryTransport) -> None:
    def resize(size: int) -> None: ...

    stranger = Task(name="stranger", function=resize)

    with Producer(transport=transport, registry=Registry()) as producer, pytest.raises(InvalidArguments):
        producer.submit(stranger, {})


def test_an_unknown_task_goes_unchecked_to_the_default_queue(producer: Producer, transport: MemoryTransport) -> None:
    producer.submit("elsewhere.resize", {"any": ["thing", 1, None]})

    (message,) = transport.messages(queue_name("default"))
    assert message.type == "elsewhere.resize"
    assert message.body == b'{"any":["thing",1,null]}'


def test_every_option_travels(producer: Producer, transport: MemoryTransport) -> None:
    producer.submit(thumbnail, {"path": "a"}, queue="other", priority=7, timeout=1.5, max_attempts=2, expires_in=60)

    envelope = decode(transport.messages(queue_name("other"))[0])
    assert envelope.queue == "other"
    assert envelope.priority == 7
    assert envelope.timeout_seconds == 1.5
    assert envelope.max_attempts == 2
    assert envelope.expires_ms == envelope.enqueued_ms + 60_000


def test_a_delayed_job_comes_after_its_delay(producer: Producer, transport: MemoryTransport) -> None:
    producer.submit("x", delay=90)

    transport.advance(89.9)
    assert transport.messages(queue_name("default")) == []
    transport.advance(0.1)

    assert len(transport.messages(queue_name("default"))) == 1


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ({}, 0),
        ({"delay": 0}, 0),
        ({"delay": 0.1}, 1),
        ({"delay": 5.0}, 5),
        ({"delay": 4_194_303}, 4_194_303),
        ({"run_at": datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)}, 0),
        ({"run_at": datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=10.5)}, 11),
        ({"run_at": datetime.fromtimestamp(NOW + 3600, timezone(timedelta(hours=-7)))}, 3600),
    ],
)
def test_a_delay_is_whole_seconds_and_never_early(wish: dict[str, object], seconds: int) -> None:
    _, delay_seconds = to_envelope(JobRequest(task="x", **wish), registry, NOW)  # type: ignore[arg-type]

    assert delay_seconds == seconds


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"delay": -1}, "delay"),
        ({"delay": 4_194_304}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),  # noqa: DTZ001
        ({"run_at": datetime(2099, 1, 1, tzinfo=UTC)}, "run_at"),
        ({"run_at": datetime(2023, 11, 15, tzinfo=UTC), "delay": 1}, "run_at"),
        ({"priority": 10}, "priority"),
        ({"priority": -1}, "priority"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 31 * 86400}, "timeout"),
        ({"task": thumbnail, "arguments": {"path": "a"}, "timeout": 301}, "timeout"),
        ({"expires_in": -5}, "expires_in"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"queue": "No Such"}, "queue"),
        ({"task": "Bad Name"}, "task"),
        ({"arguments": {"x": float("inf")}}, "arguments"),
        ({"arguments": {"x": {1, 2}}}, "arguments"),
        ({"arguments": {"x": "y" * 1_048_576}}, "arguments"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_sent(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        to_envelope(JobRequest(**{"task": "x", **options}), registry, NOW)  # type: ignore[arg-type]

    assert [problem.field for problem in caught.value.problems] == [field]


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(InvalidArguments) as caught:
        to_envelope(JobRequest(task="x", priority=99, timeout=-1, delay=-1), registry, NOW)

    assert {problem.field for problem in caught.value.problems} == {"priority", "timeout", "delay"}


def test_many_jobs_go_through_a_window_smaller_than_they_are(producer: Producer, transport: MemoryTransport) -> None:
    ids = producer.submit_many(JobRequest(task="x", arguments={"n": n}) for n in range(100))

    messages = transport.messages(queue_name("default"))
    assert [message.message_id for message in messages] == ids
    assert [message.body for message in messages] == [b'{"n":%d}' % n for n in range(100)]


def test_one_bad_job_among_many_keeps_all_back(producer: Producer, transport: MemoryTransport) -> None:
    with pytest.raises(InvalidArguments):
        producer.submit_many([JobRequest(task="x"), JobRequest(task="x", priority=99)])

    assert transport.messages(queue_name("default")) == []


def test_a_job_that_fails_among_many_says_how_many_were_taken(producer: Producer) -> None:
    with pytest.raises(Unroutable) as caught:
        producer.submit_many([JobRequest(task="x"), JobRequest(task="x", queue="gone"), JobRequest(task="x")])

    assert caught.value.__notes__ == ["2 of 3 jobs were taken by the broker"]


def test_no_jobs_are_no_work(producer: Producer) -> None:
    assert producer.submit_many([]) == []
    assert asyncio.run(producer.asubmit_many([])) == []


def test_a_blocked_broker_is_told_at_once(producer: Producer, transport: MemoryTransport) -> None:
    transport.block()

    with pytest.raises(Blocked):
        producer.submit("x")


def test_a_missing_connection_is_waited_for_and_then_told(impatient: Producer, transport: MemoryTransport) -> None:
    transport.disconnect()

    with pytest.raises(Unavailable):
        impatient.submit("x")
    with pytest.raises(Unavailable):
        asyncio.run(impatient.asubmit("x"))


def test_a_confirm_that_does_not_come_leaves_the_outcome_unknown(
    impatient: Producer, transport: MemoryTransport
) -> None:
    transport.hold_confirms()

    with pytest.raises(OutcomeUnknown):
        impatient.submit("x")
    with pytest.raises(OutcomeUnknown):
        asyncio.run(impatient.asubmit("x"))


def test_asyncio_submits_without_blocking_the_loop(producer: Producer, transport: MemoryTransport) -> None:
    ticks = itertools.count()

    async def tick(turning: asyncio.Event) -> None:
        while True:
            if next(ticks) > 5:
                turning.set()
            await asyncio.sleep(0.001)

    async def submit() -> list[str]:
        turning = asyncio.Event()
        transport.disconnect()
        waiting = asyncio.create_task(producer.asubmit(thumbnail, {"path": "a"}, priority=1))
        ticking = asyncio.create_task(tick(turning))
        await asyncio.wait_for(turning.wait(), 5)
        transport.reconnect()
        first = await waiting
        rest = await producer.asubmit_many([JobRequest(task="x") for _ in range(50)])
        ticking.cancel()
        return [first, *rest]

    ids = asyncio.run(submit())

    assert len(set(ids)) == 51
    assert next(ticks) > 5
    assert len(transport.messages(queue_name("media"))) == 1
    assert len(transport.messages(queue_name("default"))) == 50


def test_asyncio_tells_what_a_job_failed_of(producer: Producer) -> None:
    with pytest.raises(Unroutable):
        asyncio.run(producer.asubmit("x", queue="gone"))


def test_a_borrowed_transport_is_left_running(transport: MemoryTransport) -> None:
    with Producer(transport=transport):
        pass

    assert transport.status.connected


def test_a_producer_of_its_own_transport_may_be_stopped_unstarted_and_twice() -> None:
    producer = Producer(BrokerSettings(host="127.0.0.1", port=9), timeout_seconds=0.2)

    producer.stop()
    with producer, pytest.raises(Unavailable):
        producer.submit("x")
    producer.stop()


def test_a_key_gives_the_job_its_id_the_same_for_the_same_tenant(
    producer: Producer, transport: MemoryTransport
) -> None:
    first = producer.submit("greet", {"n": 1}, idempotency_key="order-7", tenant="acme")
    again = asyncio.run(producer.asubmit("greet", {"n": 1}, idempotency_key="order-7", tenant="acme"))
    other = producer.submit("greet", {"n": 1}, idempotency_key="order-7")

    assert first == again == job_id_for_key("acme", "order-7")
    assert other == job_id_for_key("", "order-7")
    assert [decode(message).tenant for message in transport.messages(queue_name("default"))] == ["acme", "acme", None]


@pytest.mark.parametrize(
    ("options", "field"), [({"idempotency_key": "a b"}, "idempotency_key"), ({"tenant": "a b"}, "tenant")]
)
def test_a_key_or_tenant_that_breaks_its_rule_is_refused(
    producer: Producer, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidArguments, match=field):
        producer.submit("greet", **options)  # type: ignore[arg-type]
