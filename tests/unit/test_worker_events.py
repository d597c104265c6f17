"""Events are gathered, and nothing handed to the outbox is lost while the process lives."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from random import Random

import pytest

from waiting import eventually
from warren.envelope import Envelope, Message, new_job_id
from warren.errors import Unavailable
from warren.events import Event, State, decode_batch
from warren.memory import MemoryTransport
from warren.topology import EVENTS, UNROUTABLE, topology
from warren.transport import Publication, event_publication, job_publication
from warren_worker.batch import FLUSH_EVENTS, Batcher, without_stale
from warren_worker.outbox import Outbox
from warren_worker.timers import Timers


class Sent:
    """Takes messages and confirms them when told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.futures: list[Future[None]] = []

    def send(self, publication: Publication) -> Future[None]:
        self.messages.append(publication.message)
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def timers() -> Iterator[Timers]:
    made = Timers()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    made = MemoryTransport()
    made.start()
    made.declare(topology(["default"])).result(5)
    yield made
    made.stop()


def _event(job: str, state: State, attempt: int = 1) -> Event:
    return Event(job=job, state=state, attempt=attempt, at_ms=1, task="t", queue="default", enqueued_ms=0)


def test_events_told_within_the_interval_travel_in_one_message(timers: Timers) -> None:
    sent = Sent()
    batcher = Batcher(timers, sent)

    futures = [batcher.tell([_event(f"j{number}", State.SUCCEEDED)]) for number in range(3)]
    eventually(lambda: sent.messages)
    sent.futures[0].set_result(None)

    assert [event.job for event in decode_batch(sent.messages[0])] == ["j0", "j1", "j2"]
    assert all(future.done() for future in futures)
    assert len(sent.messages) == 1


def test_a_full_batch_goes_at_once_and_a_failed_one_says_so(timers: Timers) -> None:
    sent = Sent()
    batcher = Batcher(Timers(), sent)

    future = batcher.tell([_event(str(number), State.SUCCEEDED) for number in range(FLUSH_EVENTS)])
    sent.futures[0].set_exception(Unavailable())

    assert isinstance(future.exception(0), Unavailable)


def test_running_is_left_out_only_when_the_same_attempt_ends_in_the_same_batch() -> None:
    events = [
        _event("a", State.RUNNING),
        _event("a", State.SUCCEEDED),
        _event("b", State.RUNNING),
        _event("c", State.RUNNING, 2),
        _event("c", State.RETRYING, 1),
    ]

    kept = [(event.job, event.state, event.attempt) for event in without_stale(events)]

    assert kept == [
        ("a", State.SUCCEEDED, 1),
        ("b", State.RUNNING, 1),
        ("c", State.RUNNING, 2),
        ("c", State.RETRYING, 1),
    ]


def test_the_outbox_sends_until_the_connection_is_back(timers: Timers, transport: MemoryTransport) -> None:
    outbox = Outbox(transport, timers, Random(1))
    transport.disconnect()

    done = outbox.send(event_publication(Message(body=b"1")))
    still_open = not outbox.wait_empty(0.1)
    transport.reconnect()

    done.result(5)
    assert still_open
    assert outbox.wait_empty(5)
    assert [message.body for message in transport.messages(EVENTS)] == [b"1"]


def test_the_outbox_sends_again_what_was_never_confirmed(timers: Timers, transport: MemoryTransport) -> None:
    outbox = Outbox(transport, timers, Random(1))
    transport.hold_confirms()
    done = outbox.send(event_publication(Message(body=b"1")))
    eventually(lambda: transport.messages(EVENTS))

    transport.disconnect()
    transport.release_confirms()
    transport.reconnect()

    done.result(5)
    assert [message.body for message in transport.messages(EVENTS)] == [b"1", b"1"]


def test_the_outbox_waits_for_the_end_of_an_alarm(timers: Timers, transport: MemoryTransport) -> None:
    outbox = Outbox(transport, timers, Random(1))
    transport.block()
    done = outbox.send(event_publication(Message(body=b"1")))
    eventually(lambda: not done.done())

    transport.unblock()

    done.result(5)


def test_what_is_not_needed_any_more_is_not_sent_again(timers: Timers, transport: MemoryTransport) -> None:
    outbox = Outbox(transport, timers, Random(1))
    needed = [True]
    transport.hold_confirms()
    done = outbox.send(event_publication(Message(body=b"1")), lambda: needed[0])
    eventually(lambda: transport.messages(EVENTS))

    needed[0] = False
    transport.disconnect()
    transport.release_confirms()
    transport.reconnect()

    eventually(done.cancelled)
    assert outbox.wait_empty(5)
    assert [message.body for message in transport.messages(EVENTS)] == [b"1"]


def test_a_job_whose_queue_is_not_there_waits_where_a_repair_finds_it(
    timers: Timers, transport: MemoryTransport
) -> None:
    outbox = Outbox(transport, timers, Random(1))

    outbox.send(job_publication(Envelope(id=new_job_id(), task="t", queue="nowhere"))).result(5)
    transport.advance(2)

    assert outbox.wait_empty(5)
    assert transport.depth(UNROUTABLE).result(5).ready == 1


def test_a_timed_call_that_fails_is_logged_and_the_next_is_made(
    timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[int] = []
    timers.after(0, lambda: made.append(1 // 0))
    timers.after(0.01, lambda: made.append(2)).cancel()
    timers.after(0.02, lambda: made.append(3))

    eventually(lambda: made)

    assert made == [3]
    assert "a timed call failed" in caplog.text
