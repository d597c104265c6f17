"""What every transport promises, run on each of them: the same bodies on the in-memory one and on real brokers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from waiting import eventually
from warren import topology
from warren.amqp import connect
from warren.amqp.management import Management
from warren.amqp.topology import prepare
from warren.envelope import Envelope, Message, new_job_id
from warren.errors import QueueFull, TopologyError, Unavailable, Unroutable, WindowFull
from warren.memory import MemoryTransport
from warren.settings import BrokerSettings
from warren.topology import CONTROL, DEAD, EVENTS, UNROUTABLE, Binding, Exchange, Policy, Queue, Topology, queue_name
from warren.transport import (
    Delivery,
    Publication,
    QueueDepth,
    Transport,
    TransportStatus,
    dead_publication,
    event_publication,
    job_publication,
)

WINDOW = 64
WORK = queue_name("work")
ANSWER_SECONDS = 10.0


@dataclass
class Inbox:
    """Collects deliveries, and acks them at once if asked to."""

    acking: bool = True
    deliveries: list[Delivery] = field(default_factory=list)

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.acking:
            delivery.ack()

    def wait(self, count: int, timeout_seconds: float = ANSWER_SECONDS) -> list[Delivery]:
        eventually(lambda: len(self.deliveries) >= count, timeout_seconds)
        return list(self.deliveries)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.message.body for delivery in self.deliveries]


class Harness:
    """A started transport with the topology of one job queue, `work`, and what differs between transports."""

    transport: Transport
    counts_every_return = False

    def unstarted(self) -> Transport:
        """Return a fresh transport that was not started."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let time pass, where it does not by itself."""

    def apply(self, policy: Policy) -> None:
        """Set a policy and wait until it holds."""
        raise NotImplementedError

    def publish(self, body: bytes = b"{}", delay_seconds: int = 0, queue: str = "work", **fields: Any) -> None:
        self.transport.publish(job(body, delay_seconds, queue, **fields), wait_seconds=5).result(ANSWER_SECONDS)

    def ready(self, queue: str = WORK) -> int:
        return self.transport.depth(queue).result(ANSWER_SECONDS).ready


def job(body: bytes = b"{}", delay_seconds: int = 0, queue: str = "work", **fields: Any) -> Publication:
    envelope = Envelope(id=new_job_id(), task="greet", queue=queue, body=body, enqueued_ms=1_700_000_000_000, **fields)
    return job_publication(envelope, delay_seconds)


def take(harness: Harness) -> Delivery | None:
    return harness.transport.get(WORK).result(ANSWER_SECONDS)


class MemoryHarness(Harness):
    def __init__(self) -> None:
        self.memory = MemoryTransport(window=WINDOW)
        self.transport = self.memory
        self.memory.start()
        self.memory.declare(topology.topology(["work"])).result(1)

    def unstarted(self) -> Transport:
        return MemoryTransport()

    def pass_time(self, seconds: float) -> None:
        self.memory.advance(seconds)

    def apply(self, policy: Policy) -> None:
        self.memory.declare(Topology(exchanges=(), queues=(), bindings=(), policies=(policy,))).result(1)


class AmqpHarness(Harness):
    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings.model_copy(update={"window": WINDOW})
        with Management(settings) as management:
            self.counts_every_return = int(management.version().split(".")[0]) < 4 or management.version() < "4.3"
        transport = connect(self.settings)
        self.transport = transport
        transport.start()
        assert transport.wait_ready(ANSWER_SECONDS)
        prepare(transport, self.settings, ["work"])

    def unstarted(self) -> Transport:
        return connect(self.settings)

    def apply(self, policy: Policy) -> None:
        with Management(self.settings) as management:
            management.apply_policies([policy])
            eventually(lambda: not management.missing_policies([policy]))


class TransportContract:
    """The promises. Subclasses say on which transport."""

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        raise NotImplementedError

    def test_a_message_arrives_as_it_was_sent(self, harness: Harness) -> None:
        sent = job(b'{"name":"\xc3\xa9"}', priority=3, attempt=2, timeout_seconds=1.5, tenant="acme")
        inbox = Inbox()

        harness.transport.publish(sent).result(ANSWER_SECONDS)
        harness.transport.consume(WORK, inbox, prefetch=1)

        (delivery,) = inbox.wait(1)
        assert delivery.message == sent.message
        assert delivery.queue == WORK
        assert not delivery.redelivered
        assert delivery.delivery_count == 0

    def test_a_body_of_a_mebibyte_arrives_whole(self, harness: Harness) -> None:
        body = bytes(range(256)) * 4096
        inbox = Inbox()

        harness.publish(body)
        harness.transport.consume(WORK, inbox, prefetch=1)

        assert inbox.wait(1)[0].message.body == body

    def test_a_message_without_any_metadata_arrives(self, harness: Harness) -> None:
        bare = Message(body=b"")
        inbox = Inbox()

        harness.transport.publish(Publication(exchange=topology.JOBS, routing_key="work", message=bare)).result(5)
        harness.transport.consume(WORK, inbox, prefetch=1)

        assert inbox.wait(1)[0].message == bare

    def test_a_message_for_a_queue_that_is_not_there_is_unroutable(self, harness: Harness) -> None:
        routed = harness.transport.publish(job())
        lost = harness.transport.publish(job(queue="nowhere"))
        routed_too = harness.transport.publish(job())

        with pytest.raises(Unroutable, match="nowhere"):
            lost.result(ANSWER_SECONDS)
        assert routed.result(ANSWER_SECONDS) is None
        assert routed_too.result(ANSWER_SECONDS) is None

    def test_publishing_goes_on_after_an_exchange_that_is_not_there(self, harness: Harness) -> None:
        nowhere = Publication(exchange="warren.nowhere", routing_key="x", message=Message(body=b"x"))

        with pytest.raises(Unroutable, match=r"warren\.nowhere"):
            harness.transport.publish(nowhere).result(ANSWER_SECONDS)

        harness.publish()
        assert harness.ready() == 1

    def test_messages_arrive_in_the_order_sent(self, harness: Harness) -> None:
        inbox = Inbox()

        for number in range(200):
            harness.transport.publish(job(b"%d" % number), wait_seconds=5)
        harness.transport.consume(WORK, inbox, prefetch=10)

        inbox.wait(200)
        assert inbox.bodies == [b"%d" % number for number in range(200)]

    def test_a_full_queue_refuses(self, harness: Harness) -> None:
        harness.apply(
            Policy(
                name="tiny",
                pattern=r"^warren\.q\.work$",
                apply_to="queues",
                priority=10,
                definition={"max-length": 1, "overflow": "reject-publish"},
            )
        )

        def publish_is_refused() -> bool:
            return isinstance(harness.transport.publish(job()).exception(ANSWER_SECONDS), QueueFull)

        # The broker lets a few too many through, and takes a moment to follow a new policy.
        assert eventually(publish_is_refused)

    def test_the_window_bounds_what_is_unconfirmed(self, harness: Harness) -> None:
        held, release = threading.Event(), threading.Event()

        def hold_the_transports_thread(delivery: Delivery) -> None:
            delivery.ack()
            held.set()
            release.wait(ANSWER_SECONDS)

        harness.transport.consume(WORK, hold_the_transports_thread, prefetch=1)
        # Its confirm may come only after the hold.
        futures = [harness.transport.publish(job())]
        assert held.wait(ANSWER_SECONDS)
        futures += [harness.transport.publish(job()) for _ in range(WINDOW - harness.transport.status.unconfirmed)]

        with pytest.raises(WindowFull, match=str(WINDOW)):
            harness.transport.publish(job())
        with pytest.raises(WindowFull):
            harness.transport.publish(job(), wait_seconds=0.05)
        assert harness.transport.status.unconfirmed == WINDOW
        threading.Timer(0.1, release.set).start()
        futures.append(harness.transport.publish(job(), wait_seconds=ANSWER_SECONDS))
        assert [future.result(ANSWER_SECONDS) for future in futures] == [None] * len(futures)

    def test_many_threads_may_publish_at_once(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.transport.consume(WORK, inbox, prefetch=50)

        def publish_some(thread: int) -> None:
            for number in range(50):
                harness.publish(b"%d-%d" % (thread, number))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(publish_some, range(8)))

        inbox.wait(400)
        assert sorted(inbox.bodies) == sorted(b"%d-%d" % (t, n) for t in range(8) for n in range(50))

    def test_a_consumer_gets_no_more_than_its_prefetch(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        for _ in range(5):
            harness.publish()

        harness.transport.consume(WORK, inbox, prefetch=2)

        inbox.wait(2)
        assert harness.ready() == 3
        assert len(inbox.deliveries) == 2
        inbox.deliveries[0].ack()
        inbox.wait(3)
        assert harness.ready() == 2

    def test_an_acked_message_is_gone(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.publish()

        subscription = harness.transport.consume(WORK, inbox, prefetch=10)

        (delivery,) = inbox.wait(1)
        assert not delivery.alive
        subscription.stop().result(ANSWER_SECONDS)
        harness.publish(b"next")
        later = Inbox()
        harness.transport.consume(WORK, later, prefetch=10)
        later.wait(1)
        assert later.bodies == [b"next"]

    def test_acks_out_of_order_settle_only_their_own(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        for number in range(6):
            harness.publish(b"%d" % number)
        subscription = harness.transport.consume(WORK, inbox, prefetch=10)
        deliveries = inbox.wait(6)

        for position in (4, 1, 0, 5):
            deliveries[position].ack()
        subscription.stop().result(ANSWER_SECONDS)
        for position in (2, 3):
            deliveries[position].nack()

        later = Inbox()
        harness.transport.consume(WORK, later, prefetch=10)
        later.wait(2)
        assert sorted(later.bodies) == [b"2", b"3"]

    def test_a_nacked_message_comes_again_and_is_marked(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        harness.publish()
        harness.transport.consume(WORK, inbox, prefetch=1)

        inbox.wait(1)[0].nack()

        again = inbox.wait(2)[1]
        assert again.redelivered
        assert again.delivery_count == (1 if harness.counts_every_return else 0)
        again.ack()

    def test_a_rejected_message_comes_again_and_is_counted(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        harness.publish()
        harness.transport.consume(WORK, inbox, prefetch=1)

        inbox.wait(1)[0].reject()
        inbox.wait(2)[1].reject()

        again = inbox.wait(3)[2]
        assert again.redelivered
        assert again.delivery_count == 2
        again.ack()

    def test_settling_twice_does_nothing_more(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        harness.publish(b"first")
        harness.publish(b"second")
        harness.transport.consume(WORK, inbox, prefetch=1)
        first = inbox.wait(1)[0]

        first.ack()
        first.ack()
        first.nack()
        first.reject()

        second = inbox.wait(2)[1]
        assert second.message.body == b"second"
        second.ack()
        harness.publish(b"third")
        assert inbox.wait(3)[2].message.body == b"third"
        assert len(inbox.deliveries) == 3

    def test_many_threads_may_settle_at_once(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        for number in range(100):
            harness.transport.publish(job(b"%d" % number), wait_seconds=5)
        subscription = harness.transport.consume(WORK, inbox, prefetch=100)
        deliveries = inbox.wait(100)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda delivery: delivery.ack(), deliveries * 2))

        subscription.stop().result(ANSWER_SECONDS)
        eventually(lambda: harness.transport.depth(WORK).result(5) == QueueDepth(ready=0, consumers=0))
        later = Inbox()
        harness.publish(b"end")
        harness.transport.consume(WORK, later, prefetch=10)
        later.wait(1)
        assert later.bodies == [b"end"]

    def test_a_callback_that_raises_gives_the_message_back(self, harness: Harness) -> None:
        inbox = Inbox()

        def fail_once(delivery: Delivery) -> None:
            if not delivery.redelivered:
                raise ValueError("a bug")
            inbox(delivery)

        harness.publish()
        harness.transport.consume(WORK, fail_once, prefetch=1)

        assert inbox.wait(1)[0].redelivered

    def test_a_message_rejected_too_often_is_dead_lettered_with_the_reason(self, harness: Harness) -> None:
        harness.apply(
            Policy(
                name="strict",
                pattern=r"^warren\.q\.work$",
                apply_to="queues",
                priority=10,
                definition={
                    "delivery-limit": 2,
                    "dead-letter-exchange": DEAD,
                    "dead-letter-strategy": "at-least-once",
                    "overflow": "reject-publish",
                },
            )
        )
        dead = Inbox()
        harness.transport.consume(DEAD, dead, prefetch=1)
        harness.publish(b"poison")

        tries = Inbox(acking=False)

        def fail(delivery: Delivery) -> None:
            tries(delivery)
            delivery.reject()

        harness.transport.consume(WORK, fail, prefetch=1)

        (letter,) = dead.wait(1)
        assert len(tries.deliveries) == 3
        assert letter.message.body == b"poison"
        assert letter.message.headers["x-first-death-reason"] == "delivery_limit"
        assert letter.message.headers["x-first-death-queue"] == WORK
        assert harness.ready() == 0

    def test_a_stopped_subscription_gets_nothing_more_and_another_takes_over(self, harness: Harness) -> None:
        first, second = Inbox(), Inbox()
        subscription = harness.transport.consume(WORK, first, prefetch=5)
        harness.publish(b"before")
        first.wait(1)

        subscription.stop().result(ANSWER_SECONDS)
        harness.publish(b"after")
        harness.transport.consume(WORK, second, prefetch=5)

        second.wait(1)
        assert second.bodies == [b"after"]
        assert first.bodies == [b"before"]
        assert not subscription.active

    def test_stopping_a_subscription_twice_is_harmless(self, harness: Harness) -> None:
        subscription = harness.transport.consume(WORK, Inbox(), prefetch=5)
        eventually(lambda: subscription.active)

        subscription.stop().result(ANSWER_SECONDS)
        subscription.stop().result(ANSWER_SECONDS)

        eventually(lambda: harness.transport.depth(WORK).result(5).consumers == 0)

    def test_a_subscription_can_be_stopped_before_it_ever_began(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.publish()

        at_once = harness.transport.consume(WORK, inbox, prefetch=1).stop()
        nowhere = harness.transport.consume("nowhere", inbox, prefetch=1)
        nowhere.stop().result(ANSWER_SECONDS)

        at_once.result(ANSWER_SECONDS)
        eventually(lambda: harness.transport.depth(WORK).result(5) == QueueDepth(ready=1, consumers=0))
        assert inbox.deliveries == []

    def test_what_is_at_hand_can_be_settled_after_the_subscription_stopped(self, harness: Harness) -> None:
        inbox, later = Inbox(acking=False), Inbox()
        harness.publish(b"kept")
        harness.publish(b"returned")
        subscription = harness.transport.consume(WORK, inbox, prefetch=2)
        kept, returned = inbox.wait(2)

        subscription.stop().result(ANSWER_SECONDS)

        assert kept.alive
        kept.ack()
        returned.nack()
        harness.transport.consume(WORK, later, prefetch=2)
        later.wait(1)
        assert later.bodies == [b"returned"]

    def test_a_subscription_waits_for_its_queue_to_be_declared(self, harness: Harness) -> None:
        inbox = Inbox()
        subscription = harness.transport.consume(queue_name("late"), inbox, prefetch=1)
        assert not subscription.active

        harness.transport.declare(topology.topology(["late"])).result(60)
        harness.publish(b"hello", queue="late")

        inbox.wait(1)
        assert inbox.bodies == [b"hello"]
        assert subscription.active

    @pytest.mark.parametrize("delay_seconds", [1, 2, 3])
    def test_a_delayed_job_arrives_when_it_is_due_and_no_earlier(self, harness: Harness, delay_seconds: int) -> None:
        inbox = Inbox()
        harness.transport.consume(WORK, inbox, prefetch=1)
        started = time.monotonic()

        harness.publish(b"later", delay_seconds)
        harness.pass_time(delay_seconds - 0.2)
        assert inbox.deliveries == []
        harness.pass_time(0.2)

        inbox.wait(1, timeout_seconds=delay_seconds + 5)
        assert inbox.bodies == [b"later"]
        if not isinstance(harness, MemoryHarness):
            assert delay_seconds <= time.monotonic() - started < delay_seconds + 2

    def test_delayed_jobs_overtake_each_other(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.transport.consume(WORK, inbox, prefetch=1)

        harness.publish(b"3 s", 3)
        harness.publish(b"1 s", 1)
        harness.pass_time(1)
        inbox.wait(1)
        harness.pass_time(2)

        inbox.wait(2)
        assert inbox.bodies == [b"1 s", b"3 s"]

    def test_a_delayed_job_whose_queue_is_gone_is_kept_as_unroutable(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.publish(b"stray", 1, queue="nowhere")

        harness.pass_time(1)
        harness.transport.consume(UNROUTABLE, inbox, prefetch=1)

        inbox.wait(1)
        assert inbox.bodies == [b"stray"]

    def test_dead_letters_and_events_reach_the_queues_of_the_store(self, harness: Harness) -> None:
        harness.transport.publish(dead_publication(Message(body=b"dead"))).result(ANSWER_SECONDS)
        harness.transport.publish(event_publication(Message(body=b"event"))).result(ANSWER_SECONDS)

        assert harness.ready(DEAD) == 1
        assert harness.ready(EVENTS) == 1

    def test_every_subscription_reads_the_control_stream_from_its_start(self, harness: Harness) -> None:
        order = Publication(exchange=CONTROL, routing_key="", message=Message(body=b"pause"))
        harness.transport.publish(order).result(ANSWER_SECONDS)
        first, second = Inbox(), Inbox()

        harness.transport.consume(CONTROL, first, prefetch=10)
        first.wait(1)
        harness.transport.consume(CONTROL, second, prefetch=10)
        second.wait(1)
        harness.transport.publish(order).result(ANSWER_SECONDS)

        first.wait(2)
        second.wait(2)
        assert first.bodies == second.bodies == [b"pause", b"pause"]

    def test_declaring_again_changes_nothing(self, harness: Harness) -> None:
        harness.publish()

        harness.transport.declare(topology.topology(["work"])).result(60)
        harness.transport.declare(topology.topology(["work"])).result(60)

        assert harness.ready() == 1

    def test_declaring_something_that_exists_otherwise_fails_and_hurts_nothing_else(self, harness: Harness) -> None:
        other = Exchange(name=topology.JOBS, type="fanout")

        with pytest.raises(TopologyError, match=topology.JOBS):
            harness.transport.declare(Topology(exchanges=(other,), queues=(), bindings=(), policies=())).result(
                ANSWER_SECONDS
            )

        harness.publish()
        assert harness.ready() == 1

    def test_a_queue_of_ones_own_can_be_declared(self, harness: Harness) -> None:
        own = Topology(
            exchanges=(),
            queues=(Queue(name="own"),),
            bindings=(Binding(source=topology.JOBS, destination="own", key="own"),),
            policies=(),
        )

        harness.transport.declare(own).result(ANSWER_SECONDS)

        harness.publish(queue="own")
        assert harness.ready("own") == 1

    def test_messages_can_be_taken_one_at_a_time(self, harness: Harness) -> None:
        for body in (b"first", b"second", b"third"):
            harness.publish(body)

        first, second = take(harness), take(harness)

        assert first is not None
        assert second is not None
        assert (first.message.body, second.message.body) == (b"first", b"second")
        assert (first.queue, first.redelivered, first.alive) == (WORK, False, True)
        assert harness.ready() == 1
        second.ack()
        first.nack()
        eventually(lambda: harness.ready() == 2)
        assert not first.alive
        later = Inbox()
        harness.transport.consume(WORK, later, prefetch=5)
        later.wait(2)
        assert sorted(later.bodies) == [b"first", b"third"]

    def test_nothing_is_taken_from_an_empty_queue_and_the_next_message_is(self, harness: Harness) -> None:
        assert [take(harness), take(harness)] == [None, None]

        harness.publish(b"late")

        taken = take(harness)
        assert taken is not None
        assert taken.message.body == b"late"
        taken.ack()

    def test_many_threads_may_take_at_once_and_each_message_has_one_taker(self, harness: Harness) -> None:
        for number in range(50):
            harness.transport.publish(job(b"%d" % number), wait_seconds=5)
        eventually(lambda: harness.ready() == 50)

        with ThreadPoolExecutor(8) as threads:
            taken = list(threads.map(lambda _number: take(harness), range(60)))

        bodies = [delivery.message.body for delivery in taken if delivery is not None]
        assert sorted(bodies) == sorted(b"%d" % number for number in range(50))
        for delivery in taken:
            if delivery is not None:
                delivery.ack()
        harness.publish(b"end")
        assert harness.ready() == 1

    def test_a_queue_that_is_not_there_takes_no_other_queues_messages_along(self, harness: Harness) -> None:
        harness.publish(b"kept")
        kept = take(harness)
        assert kept is not None

        for future in [harness.transport.get("nowhere") for _ in range(3)]:
            with pytest.raises(TopologyError, match="nowhere"):
                future.result(ANSWER_SECONDS)

        assert kept.alive
        kept.nack()
        eventually(lambda: harness.ready() == 1)

    def test_what_was_taken_and_not_settled_is_with_the_broker_again_after_the_end(self, harness: Harness) -> None:
        harness.publish(b"kept")
        kept = take(harness)
        assert kept is not None

        harness.transport.stop()

        assert not kept.alive
        kept.ack()
        harness.transport.start()
        assert harness.transport.wait_ready(ANSWER_SECONDS)
        eventually(lambda: harness.ready() == 1)
        again = take(harness)
        assert again is not None
        assert again.redelivered
        again.ack()

    def test_depth_counts_what_is_ready_and_who_consumes(self, harness: Harness) -> None:
        harness.publish()
        harness.publish()
        assert harness.transport.depth(WORK).result(5) == QueueDepth(ready=2, consumers=0)

        harness.transport.consume(WORK, Inbox(acking=False), prefetch=1)

        eventually(lambda: harness.transport.depth(WORK).result(5) == QueueDepth(ready=1, consumers=1))

    def test_the_depth_of_a_queue_that_is_not_there_is_an_error_each_time(self, harness: Harness) -> None:
        futures = [harness.transport.depth("nowhere") for _ in range(3)]

        for future in futures:
            with pytest.raises(TopologyError, match="nowhere"):
                future.result(ANSWER_SECONDS)

    def test_the_status_follows_start_and_stop(self, harness: Harness) -> None:
        transport = harness.unstarted()
        offline = TransportStatus(connected=False, blocked=False, unconfirmed=0)
        assert transport.status == offline

        transport.start()
        assert transport.wait_ready(ANSWER_SECONDS)
        assert transport.status == TransportStatus(connected=True, blocked=False, unconfirmed=0)

        transport.stop()
        assert transport.status == offline

    def test_stopping_is_idempotent_and_safe_before_the_start(self, harness: Harness) -> None:
        transport = harness.unstarted()

        transport.stop()
        transport.start()
        transport.start()
        transport.stop()
        transport.stop()

        assert not transport.status.connected

    def test_stopping_leaves_no_thread(self, harness: Harness) -> None:
        before = set(threading.enumerate())
        transport = harness.unstarted()
        transport.start()
        assert transport.wait_ready(ANSWER_SECONDS)
        assert set(threading.enumerate()) > before

        transport.stop()

        assert set(threading.enumerate()) <= before

    def test_nothing_can_be_done_before_the_start_or_after_the_stop(self, harness: Harness) -> None:
        transport = harness.unstarted()

        for _ in range(2):
            with pytest.raises(Unavailable):
                transport.publish(job())
            with pytest.raises(Unavailable):
                transport.consume(WORK, Inbox(), prefetch=1)
            with pytest.raises(Unavailable):
                transport.get(WORK)
            transport.start()
            transport.stop()

    def test_stopping_waits_for_confirms_and_sends_the_acks(self, harness: Harness) -> None:
        inbox = Inbox()
        harness.transport.consume(WORK, inbox, prefetch=100)
        futures = [harness.transport.publish(job(), wait_seconds=5) for _ in range(100)]
        inbox.wait(50)

        harness.transport.stop()

        assert [future.result(0) for future in futures] == [None] * 100
        harness.transport.start()
        assert harness.transport.wait_ready(ANSWER_SECONDS)
        assert harness.ready() == 100 - len(inbox.deliveries)

    def test_stopping_gives_back_what_was_not_settled(self, harness: Harness) -> None:
        inbox = Inbox(acking=False)
        harness.publish()
        harness.transport.consume(WORK, inbox, prefetch=1)
        (delivery,) = inbox.wait(1)

        harness.transport.stop()

        assert not delivery.alive
        delivery.ack()
        harness.transport.start()
        assert harness.transport.wait_ready(ANSWER_SECONDS)
        eventually(lambda: harness.ready() == 1)


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        harness = MemoryHarness()
        yield harness
        harness.transport.stop()


class TestAmqpTransport(TransportContract):
    @pytest.fixture
    def harness(self, amqp: BrokerSettings) -> Iterator[Harness]:
        harness = AmqpHarness(amqp)
        yield harness
        harness.transport.stop()
