"""Bringing unroutable jobs back, on the in-memory transport."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from waiting import eventually
from warren.amqp.repair import BATCH, repair
from warren.envelope import Envelope, Message, decode, new_job_id
from warren.errors import Unavailable
from warren.memory import MemoryTransport
from warren.topology import DEAD, JOBS, UNROUTABLE, topology
from warren.transport import Publication, job_publication


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    made = MemoryTransport()
    made.start()
    made.declare(topology(["here"])).result(5)
    yield made
    made.stop()


def lose(transport: MemoryTransport, queue: str, count: int = 1) -> list[str]:
    """Let delayed jobs come due for a queue that does not exist."""
    jobs = [Envelope(id=new_job_id(), task="t", queue=queue, body=b"{}") for _ in range(count)]
    for job in jobs:
        transport.publish(job_publication(job, 1)).result(5)
    transport.advance(1)
    return [job.id for job in jobs]


def unroutable(transport: MemoryTransport) -> list[Message]:
    return transport.messages(UNROUTABLE)


def settled(transport: MemoryTransport) -> bool:
    return not any(subscription.unsettled for subscription in transport._subscriptions)


def test_jobs_whose_queue_exists_now_go_back_and_the_others_stay(transport: MemoryTransport) -> None:
    back = lose(transport, "gone", 3)
    lose(transport, "never", 2)
    transport.declare(topology(["gone"])).result(5)

    done = repair(transport)

    assert (done.found, done.looked_at, done.dead) == (5, 5, 0)
    assert (done.moved, done.missing) == ({"gone": 3}, {"never": 2})
    messages = transport.messages("warren.q.gone")
    assert [decode(message).id for message in messages] == back
    assert not any(name.startswith("x-") for message in messages for name in message.headers)
    assert [decode(message).queue for message in unroutable(transport)] == ["never", "never"]
    assert not any(name.startswith("x-") for message in unroutable(transport) for name in message.headers)


def test_with_create_the_missing_queues_are_made_once_each(transport: MemoryTransport) -> None:
    lose(transport, "gone", 2)
    lose(transport, "never")
    made: list[str] = []

    def create(queue: str) -> None:
        made.append(queue)
        transport.declare(topology([queue])).result(5)

    done = repair(transport, create=create)

    assert made == ["gone", "never"]
    assert (done.moved, done.missing) == ({"gone": 2, "never": 1}, {})
    assert unroutable(transport) == []


def test_a_dry_run_counts_and_changes_nothing(transport: MemoryTransport) -> None:
    lose(transport, "gone", 2)
    lose(transport, "never")
    transport.declare(topology(["gone"])).result(5)
    before = unroutable(transport)

    done = repair(transport, create=lambda _queue: pytest.fail("a dry run makes nothing"), dry_run=True)

    assert (done.moved, done.missing) == ({"gone": 2}, {"never": 1})
    eventually(lambda: unroutable(transport) == before)
    assert transport.messages("warren.q.gone") == []


@pytest.mark.parametrize("told", [None, 7, "No Queue", "a.b"])
def test_a_message_that_is_no_job_goes_to_the_dead_letters(transport: MemoryTransport, told: str | int | None) -> None:
    headers = {"odd": 1.5, "kept": "yes", **({} if told is None else {"warren-queue": told})}
    stray = Message(body=b"\xff", headers=headers, user_id="somebody")
    transport.publish(Publication(exchange=UNROUTABLE, routing_key="", message=stray)).result(5)

    done = repair(transport)

    assert (done.dead, done.moved, done.missing) == (1, {}, {})
    (letter,) = transport.messages(DEAD)
    assert (letter.body, letter.headers["kept"], letter.user_id) == (b"\xff", "yes", None)
    assert "odd" not in letter.headers
    assert "no job" in str(letter.headers["warren-dead-reason"])
    assert letter.headers["warren-dead-outcome"] == "undecodable"


def test_nothing_to_repair_is_told_at_once(transport: MemoryTransport) -> None:
    done = repair(transport)

    assert (done.found, done.looked_at, done.moved, done.missing, done.dead) == (0, 0, {}, {}, 0)


def test_more_than_a_batch_of_hopeless_jobs_does_not_hide_the_others(transport: MemoryTransport) -> None:
    lose(transport, "never", BATCH + 20)
    lose(transport, "gone", BATCH + 20)
    transport.declare(topology(["gone"])).result(5)

    done = repair(transport)

    assert (done.moved, done.missing) == ({"gone": BATCH + 20}, {"never": BATCH + 20})
    assert len(unroutable(transport)) == BATCH + 20
    assert settled(transport)


class Unbound(MemoryTransport):
    """A broker on which the queue is there, but not its binding."""

    def publish(self, publication: Publication, *, wait_seconds: float = 0.0) -> Future[None]:
        where = JOBS + ".nowhere" if publication.exchange == JOBS else publication.exchange
        message = publication.message
        return super().publish(Publication(exchange=where, routing_key="", message=message), wait_seconds=wait_seconds)


def test_a_queue_that_cannot_be_reached_after_all_loses_no_job() -> None:
    transport = Unbound()
    transport.start()
    transport.declare(topology(["here"])).result(5)
    job = Envelope(id=new_job_id(), task="t", queue="here", body=b"{}")
    message = job_publication(job).message
    for _ in range(3):
        transport.publish(Publication(exchange=UNROUTABLE, routing_key="", message=message)).result(5)

    done = repair(transport)

    assert (done.moved, done.missing) == ({}, {"here": 3})
    assert len(unroutable(transport)) == 3
    transport.stop()


def test_a_broker_that_goes_away_leaves_every_job_where_it_was(transport: MemoryTransport) -> None:
    lose(transport, "gone", 3)
    transport.declare(topology(["gone"])).result(5)
    transport.hold_confirms()

    class Falling:
        """Loses the connection when the first message is on its way."""

        def __getattr__(self, name: str) -> object:
            return getattr(transport, name)

        def publish(self, publication: Publication, *, wait_seconds: float = 0.0) -> Future[None]:
            if transport.status.unconfirmed:
                transport.disconnect()
            return transport.publish(publication)

    with pytest.raises(Unavailable):
        repair(Falling())  # type: ignore[arg-type]

    transport.reconnect()
    assert len(unroutable(transport)) == 3
