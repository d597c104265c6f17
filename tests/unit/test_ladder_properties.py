"""The delay ladder on the in-memory broker, which does what RabbitMQ does with the same declarations."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from warren.delay import LEVELS, MAX_SECONDS, quantise
from warren.envelope import Envelope, Message
from warren.memory_broker import Broker
from warren.topology import UNROUTABLE, level_name, queue_name, topology
from warren.transport import job_publication

# Short ones often, so that jobs meet on the ladder; each power of two, and any.
delays = st.one_of(
    st.integers(1, 40),
    st.integers(0, LEVELS - 1).map(lambda level: 1 << level),
    st.integers(1, MAX_SECONDS),
)
WORK = queue_name("work")


def job(number: int, queue: str = "work") -> Envelope:
    return Envelope(id=f"00000000-0000-7000-8000-{number:012d}", task="greet", queue=queue)


def submit(broker: Broker, envelope: Envelope, delay_seconds: int, now: float) -> None:
    publication = job_publication(envelope, delay_seconds)
    broker.move_to(now)
    for queue in broker.route(publication.exchange, publication.routing_key):
        broker.put(queue, publication, now)


def arrived(broker: Broker, queue: str = WORK) -> dict[str | None, Message]:
    return {stored.message.message_id: stored.message for stored in broker.peek(queue)}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), delays), min_size=1, max_size=8))
def test_jobs_submitted_at_any_time_are_neither_early_nor_late(plan: list[tuple[int, int]]) -> None:
    broker = Broker()
    broker.declare(topology(["work"]))
    due = {job(number).id: at + delay for number, (at, delay) in enumerate(plan)}
    submitted: set[str] = set()
    for now in sorted({at for at, _ in plan} | set(due.values())):
        broker.move_to(now - 0.001)
        assert set(arrived(broker)) == {one for one in submitted if due[one] < now}
        for number, (at, delay) in enumerate(plan):
            if at == now:
                submit(broker, job(number), delay, now)
                submitted.add(job(number).id)
        broker.move_to(now)
        assert set(arrived(broker)) == {one for one in submitted if due[one] <= now}

    assert set(arrived(broker)) == set(due)


@settings(deadline=None)
@given(delays)
def test_a_job_passes_exactly_the_levels_of_its_set_bits_highest_first(delay: int) -> None:
    broker = Broker()
    broker.declare(topology(["work", "1", "0"]))

    submit(broker, job(1), delay, 0)
    broker.move_to(delay)

    (message,) = arrived(broker).values()
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    passed = [death["queue"] for death in reversed(deaths) if isinstance(death, dict)]
    assert passed == [level_name(level) for level in reversed(range(LEVELS)) if delay >> level & 1]
    assert arrived(broker, queue_name("1")) == arrived(broker, queue_name("0")) == {}


@settings(deadline=None)
@given(delays)
def test_a_delayed_job_whose_queue_is_gone_is_unroutable_when_due_and_not_before(delay: int) -> None:
    broker = Broker()
    broker.declare(topology(["work"]))

    submit(broker, job(1, "gone"), delay, 0)
    broker.move_to(delay - 0.001)
    before = arrived(broker, UNROUTABLE)
    broker.move_to(delay)

    assert before == {}
    assert len(arrived(broker, UNROUTABLE)) == 1


@given(st.integers(0, 5000), st.integers(1, 3))
def test_a_quantised_delay_is_the_longest_that_few_bits_can_tell(whole: int, bits: int) -> None:
    longest = max(number for number in range(whole + 1) if number.bit_count() <= bits)

    assert quantise(whole, bits) == longest
