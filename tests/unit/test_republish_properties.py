"""Whatever comes of a delivery, no trace of an earlier dead-lettering goes out again.

RabbitMQ before 4.0 takes a message that carries `x-death` for a dead-letter loop and drops it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from warren import Registry, Retry, task
from warren.envelope import Envelope, HeaderValue, Message, encode
from warren.events import ErrorInfo
from warren_worker import outcome, settle
from warren_worker.intake import receive
from warren_worker.settle import Moment, Settlement

JOB = Envelope(id="0190c8a4-5b1e-7c3a-9f00-0123456789ab", task="greet", queue="default", enqueued_ms=1)
AT = Moment(worker="pod-1", now_ms=10**12, state='{"at": 1}')
DAY_MS = 24 * 3600 * 1000
ERROR = ErrorInfo(type="ValueError", message="no")
REGISTRY = Registry()


@task(name="greet", retry=Retry(max_attempts=3), registry=REGISTRY)
def greet() -> None:
    pass


traces = st.dictionaries(
    st.sampled_from(["x-death", "x-first-death-reason", "x-last-death-queue", "x-delivery-count", "x-acquired-count"])
    | st.text(max_size=10).map("x-".__add__),
    st.integers(0, 9) | st.text(max_size=5) | st.just([{"count": 1, "reason": "expired", "queue": "warren.delay.03"}]),
    max_size=5,
)
strange = st.dictionaries(st.text(max_size=10).filter(lambda name: not name.startswith("x-")), st.text(), max_size=3)
jobs = st.builds(
    JOB.evolve,
    attempt=st.integers(1, 6),
    max_attempts=st.none() | st.integers(1, 4),
    task=st.sampled_from(["greet", "unknown"]),
    expires_ms=st.sampled_from([None, 5]),
    parked_ms=st.sampled_from([None, 10**12 - 1000, 10**12 - DAY_MS]),
)
outcomes = st.sampled_from(
    [
        outcome.Succeeded(result="1"),
        outcome.Failed(error=ERROR),
        outcome.RetryAsked(error=ERROR, seconds=30),
        outcome.Discarded(error=ERROR),
        outcome.Invalid(error=ERROR),
        outcome.TimedOut(error=ERROR),
        outcome.Crashed(error=ERROR),
    ]
)


@dataclass(frozen=True)
class Handed:
    message: Message
    queue: str = "warren.q.default"
    redelivered: bool = True
    delivery_count: int = 0


def check(settlement: Settlement) -> None:
    for publication in settlement.publications:
        assert not [name for name in publication.message.headers if name.startswith("x-")]
        assert publication.message.user_id is None


def came(envelope: Envelope, headers: dict[str, HeaderValue]) -> Message:
    message = encode(envelope)
    return replace(message, headers={**headers, **message.headers}, user_id="somebody")


@given(jobs, traces, strange, outcomes)
def test_a_job_goes_on_without_traces(
    envelope: Envelope, trace: dict[str, HeaderValue], other: dict[str, HeaderValue], ended: outcome.Outcome
) -> None:
    decided = receive(Handed(came(envelope, {**trace, **other})), REGISTRY, AT)  # type: ignore[arg-type]

    if isinstance(decided, Settlement):
        check(decided)
        return
    check(settle.settle(ended, decided, AT, Random(1)))
    check(settle.give_back(decided, AT))
    check(settle.lost(decided, AT))


@given(traces, strange, st.integers(0, 20), st.sampled_from([1000, DAY_MS]))
def test_what_cannot_be_read_goes_on_without_traces_and_keeps_the_rest(
    trace: dict[str, HeaderValue], other: dict[str, HeaderValue], count: int, parked_for_ms: int
) -> None:
    parked: dict[str, HeaderValue] = {"warren-parked-count": count, "warren-parked-ms": AT.now_ms - parked_for_ms}
    message = came(JOB, {**trace, **other})
    newer = replace(message, headers={**message.headers, **parked, "warren-v": 2})
    broken = replace(message, headers={**message.headers, "warren-attempt": "one"})

    for each in (newer, broken):
        decided = receive(Handed(each), REGISTRY, AT)  # type: ignore[arg-type]
        assert isinstance(decided, Settlement)
        check(decided)
        (publication,) = decided.publications
        assert publication.message.body == message.body
        assert publication.message.message_id == JOB.id


def test_a_message_of_a_newer_version_that_nobody_ever_reads_ends_dead() -> None:
    headers: dict[str, HeaderValue] = {**encode(JOB).headers, "warren-v": 2, "warren-parked-ms": AT.now_ms - DAY_MS}

    decided = receive(Handed(replace(encode(JOB), headers=headers)), REGISTRY, AT)  # type: ignore[arg-type]

    assert isinstance(decided, Settlement)
    assert [(event.job, event.state, event.outcome) for event in decided.events] == [(JOB.id, "dead", "invalid")]
    assert [publication.exchange for publication in decided.publications] == ["warren.dead"]
