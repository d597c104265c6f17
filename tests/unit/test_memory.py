"""What the in-memory transport adds to the contract: time travel and faults on command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from waiting import eventually
from warren import topology
from warren.envelope import Envelope, Message, new_job_id
from warren.errors import Blocked, OutcomeUnknown, TopologyError, Unavailable, Unroutable
from warren.memory import MemoryTransport
from warren.topology import JOBS, queue_name
from warren.transport import Delivery, Publication, job_publication

WORK = queue_name("work")


def job(body: bytes = b"{}", delay_seconds: int = 0) -> Publication:
    return job_publication(Envelope(id=new_job_id(), task="greet", queue="work", body=body), delay_seconds)


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    transport = MemoryTransport()
    transport.start()
    transport.declare(topology.topology(["work"])).result(1)
    yield transport
    transport.stop()


@pytest.mark.parametrize("delay_seconds", [1, 2, 3, 60, 86_400, 4_194_303])
def test_a_job_leaves_the_ladder_exactly_when_it_is_due(transport: MemoryTransport, delay_seconds: int) -> None:
    transport.publish(job(delay_seconds=delay_seconds))

    transport.advance(delay_seconds - 0.001)
    assert transport.messages(WORK) == []
    transport.advance(0.001)

    assert len(transport.messages(WORK)) == 1


def test_a_delayed_job_carries_the_traces_of_the_ladder(transport: MemoryTransport) -> None:
    transport.publish(job(delay_seconds=3))

    transport.advance(3)

    (message,) = transport.messages(WORK)
    assert message.headers["x-first-death-queue"] == "warren.delay.01"
    assert message.headers["x-last-death-queue"] == "warren.delay.00"
    assert message.headers["x-last-death-reason"] == "expired"


def test_time_runs_by_itself_with_a_clock() -> None:
    now = [100.0]
    transport = MemoryTransport(clock=lambda: now[0])
    transport.start()
    transport.declare(topology.topology(["work"])).result(1)
    transport.publish(job(delay_seconds=1)).result(1)

    now[0] = 101.0

    eventually(lambda: transport.messages(WORK))
    transport.stop()


def test_a_lost_connection_gives_back_and_counts_what_was_at_hand(transport: MemoryTransport) -> None:
    deliveries: list[Delivery] = []
    subscription = transport.consume(WORK, deliveries.append, prefetch=1)
    transport.publish(job()).result(1)
    eventually(lambda: deliveries)

    transport.disconnect()

    assert not deliveries[0].alive
    assert not subscription.active
    assert not transport.status.connected
    with pytest.raises(Unavailable):
        transport.publish(job())
    with pytest.raises(Unavailable):
        transport.depth(WORK).result(1)
    with pytest.raises(Unavailable):
        transport.declare(topology.topology([])).result(1)
    transport.reconnect()
    eventually(lambda: len(deliveries) == 2)
    assert deliveries[1].redelivered
    assert deliveries[1].delivery_count == 1


def test_what_a_stopped_subscription_left_unsettled_goes_back_with_the_connection(transport: MemoryTransport) -> None:
    deliveries: list[Delivery] = []
    subscription = transport.consume(WORK, deliveries.append, prefetch=1)
    transport.publish(job()).result(1)
    eventually(lambda: deliveries)
    subscription.stop().result(1)

    transport.disconnect()

    assert not deliveries[0].alive
    assert len(transport.messages(WORK)) == 1


def test_a_publish_waits_for_the_connection_if_told_to(transport: MemoryTransport) -> None:
    transport.disconnect()

    with pytest.raises(Unavailable):
        transport.publish(job(), wait_seconds=0.01)
    transport.reconnect()

    assert transport.publish(job(), wait_seconds=5).result(1) is None


def test_a_blocked_broker_refuses_publishes_and_delivers_on(transport: MemoryTransport) -> None:
    deliveries: list[Delivery] = []
    transport.publish(job()).result(1)

    transport.block()

    with pytest.raises(Blocked):
        transport.publish(job(), wait_seconds=1)
    assert transport.status.blocked
    transport.consume(WORK, deliveries.append, prefetch=1)
    eventually(lambda: deliveries)
    transport.unblock()
    assert transport.publish(job()).result(1) is None


def test_held_confirms_are_unknown_after_a_lost_connection(transport: MemoryTransport) -> None:
    transport.hold_confirms()
    future = transport.publish(job())
    eventually(lambda: transport.messages(WORK))
    assert transport.status.unconfirmed == 1
    assert not future.done()

    transport.disconnect()

    with pytest.raises(OutcomeUnknown):
        future.result(1)
    assert transport.status.unconfirmed == 0


def test_held_confirms_come_when_released(transport: MemoryTransport) -> None:
    transport.hold_confirms()
    future = transport.publish(job())

    transport.release_confirms()

    assert future.result(1) is None


def test_stopping_fails_what_is_never_confirmed(transport: MemoryTransport) -> None:
    transport.hold_confirms()
    future = transport.publish(job())

    transport.stop(timeout_seconds=0.01)

    with pytest.raises((OutcomeUnknown, Unavailable)):
        future.result(0)


def test_a_caller_may_abandon_its_publish(transport: MemoryTransport) -> None:
    transport.hold_confirms()
    abandoned = transport.publish(job(b"1"))
    abandoned.cancel()
    transport.release_confirms()

    transport.publish(job(b"2")).result(1)

    assert [message.body for message in transport.messages(WORK)] == [b"1", b"2"]


def test_a_message_to_the_default_exchange_goes_to_the_queue_of_that_name(transport: MemoryTransport) -> None:
    direct = Publication(exchange="", routing_key=WORK, message=Message(body=b"x"))
    astray = Publication(exchange="", routing_key="nowhere", message=Message(body=b"x"))

    transport.publish(direct).result(1)

    assert [message.body for message in transport.messages(WORK)] == [b"x"]
    with pytest.raises(Unroutable):
        transport.publish(astray).result(1)


def test_returned_messages_keep_their_place(transport: MemoryTransport) -> None:
    deliveries: list[Delivery] = []
    for number in range(4):
        transport.publish(job(b"%d" % number)).result(1)
    subscription = transport.consume(WORK, deliveries.append, prefetch=3)
    eventually(lambda: len(deliveries) == 3)
    subscription.stop().result(1)

    for delivery in deliveries:
        delivery.nack()

    assert [message.body for message in transport.messages(WORK)] == [b"0", b"1", b"2", b"3"]


def test_the_depth_of_an_unknown_queue_is_an_error(transport: MemoryTransport) -> None:
    with pytest.raises(TopologyError, match="declare the topology first"):
        transport.depth("nowhere").result(1)
    assert transport.messages("nowhere") == []


def test_two_consumers_share_a_queue(transport: MemoryTransport) -> None:
    first: list[Delivery] = []
    second: list[Delivery] = []
    transport.consume(WORK, first.append, prefetch=2)
    transport.consume(WORK, second.append, prefetch=2)

    for _ in range(4):
        transport.publish(Publication(exchange=JOBS, routing_key="work", message=Message(body=b"x"))).result(1)

    eventually(lambda: len(first) == len(second) == 2)
