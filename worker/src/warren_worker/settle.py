"""What follows an attempt: pure decisions from an outcome to what is published, told and settled.

The order is always: publish what follows (confirmed), then settle the delivery. Never the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Literal

from warren.envelope import JOB_ID, TASK_NAME, Envelope, HeaderValue, Message, encode
from warren.errors import Discard, EnvelopeError, RetryAfter, WarrenError
from warren.events import MAX_MESSAGE_CHARS, ErrorInfo, Event, State
from warren.retry import Again, Dead, Failure, next_step
from warren.topology import route
from warren.transport import Publication, job_publication
from warren_worker.dead import DeadOutcome, Death, dead_letter
from warren_worker.job import Job
from warren_worker.outcome import (
    Cancelled,
    Crashed,
    Discarded,
    Failed,
    Invalid,
    Outcome,
    OutOfMemory,
    RetryAsked,
    Succeeded,
    TimedOut,
    Unsuccessful,
    clean,
    describe,
)

PARK_SECONDS: Final = (32, 64, 128, 256, 288)
"""About 30 s doubling to about 5 min, in numbers with one or two set bits: each bit is one hop on the ladder."""
PARK_LIMIT_MS: Final = 24 * 3600 * 1000

_WORDS: Final[dict[type[Unsuccessful], DeadOutcome]] = {
    Failed: "failed",
    RetryAsked: "failed",
    Discarded: "discarded",
    Invalid: "invalid",
    TimedOut: "timeout",
    Crashed: "crashed",
    OutOfMemory: "out-of-memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What to do about a delivery.

    Attributes:
        outcome: One word for the metrics.
        publications: Messages that must be with the broker before the delivery is settled.
        again: Whether they put the job itself back in a queue: not needed when the broker hands the delivery out again
            anyway, because the connection that brought it is gone.
        events: What the store is told; those of a final state must be confirmed before the delivery is settled.
        final: How the delivery is settled.
        oom_queue: The larger worker set's queue the job goes to, if it does.
    """

    outcome: str
    publications: tuple[Publication, ...] = ()
    again: bool = False
    events: tuple[Event, ...] = ()
    final: Literal["ack", "nack"] = "ack"
    oom_queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When and where an attempt ended.

    Attributes:
        worker: Name of the worker.
        now_ms: The time, milliseconds since the epoch.
        started_ms: When the attempt's code began, None if it did not.
        state: The newest checkpoint, or None.
        progress: The last progress told, fraction and message, or None.
        image: The image the worker runs, if it is known.
    """

    worker: str
    now_ms: int
    started_ms: int | None = None
    state: str | None = None
    progress: tuple[float, str | None] | None = None
    image: str = ""


def settle(outcome: Outcome, job: Job, at: Moment, rng: Random) -> Settlement:
    """Decide what follows an attempt.

    Args:
        outcome: How it ended.
        job: What ran.
        at: When and where.
        rng: Source of the back-off's jitter.
    """
    if isinstance(outcome, Succeeded):
        told = event(
            job, State.SUCCEEDED, at, outcome="succeeded", result=outcome.result, progress_message=outcome.note
        )
        return Settlement(outcome="succeeded", events=(told,))
    if isinstance(outcome, Cancelled):
        return Settlement(outcome="cancelled", events=(event(job, State.CANCELLED, at, outcome="cancelled"),))
    if isinstance(outcome, OutOfMemory) and job.oom_queue is not None:
        return _escalate(outcome, job, job.oom_queue, at)
    word = _WORDS[type(outcome)]
    step = _next(outcome, job, rng)
    envelope = job.envelope if at.state is None else job.envelope.evolve(state=at.state)
    if isinstance(step, Dead):
        return Settlement(
            outcome=word,
            publications=(_dead(envelope, job.attempt, step.reason, word, outcome.error, at),),
        )
    following = envelope.evolve(attempt=job.attempt + 1, forgiven=job.forgiven, parked_ms=None, parked_count=0)
    due_ms = at.now_ms + step.delay_seconds * 1000
    return Settlement(
        outcome=word,
        publications=(job_publication(following, step.delay_seconds),),
        again=True,
        events=(event(job, State.RETRYING, at, outcome=word, error=outcome.error, retry_at_ms=due_ms),),
    )


def _escalate(outcome: OutOfMemory, job: Job, queue: str, at: Moment) -> Settlement:
    """Send a job that ran out of memory to a larger worker set's queue, at once: there is nothing to wait for.

    The run does not count, for its worker was too small; so a job's last attempt is escalated as well as its first.
    """
    moved = _anew(job, at.state).evolve(queue=queue, escalated_from=job.envelope.queue, parked_ms=None, parked_count=0)
    why = f"escalated from queue {job.envelope.queue} to {queue}"
    message = f"{why}: {outcome.error.message}" if outcome.error.message else why
    there = replace(job, envelope=job.envelope.evolve(queue=queue))
    told = event(
        there,
        State.RETRYING,
        at,
        outcome="out-of-memory",
        error=replace(outcome.error, message=clean(message, MAX_MESSAGE_CHARS)),
        retry_at_ms=at.now_ms,
    )
    return Settlement(
        outcome="out-of-memory",
        publications=(job_publication(moved),),
        again=True,
        events=(told,),
        oom_queue=queue,
    )


def give_back(job: Job, at: Moment, *, announced: bool = False) -> Settlement:
    """Decide how a job is handed back by a worker that drains.

    One that only waited goes back by a `nack`, to the front of its queue: RabbitMQ 4.3 does not count that, and what
    older brokers count is not held against the job. One that began is published anew, with its checkpoint: the run has
    a number of its own, and is forgiven.

    Args:
        job: What is handed back.
        at: When and where; without a start the job only waited.
        announced: Workers were told that it begins, even if it did not.
    """
    if at.started_ms is None and not announced:
        return Settlement(outcome="given-back", final="nack")
    told = event(job, State.RETRYING, at, outcome="given-back", retry_at_ms=at.now_ms)
    return Settlement(
        outcome="given-back",
        publications=(job_publication(_anew(job, at.state)),),
        again=True,
        events=(told,) if at.started_ms is not None else (),
    )


def renew(job: Job) -> Settlement:
    """Publish a job anew, at the end of its queue, with nothing held against it.

    For one that waited here too long to be started, and for one that the broker is about to take for poison because it
    was handed out too often. Not with a `nack`: brokers before 4.3 count that.
    """
    return Settlement(outcome="given-back", publications=(job_publication(_anew(job)),), again=True)


def lost(job: Job, at: Moment) -> Settlement:
    """Settle a job whose attempts all ended with the worker that ran them."""
    error = ErrorInfo(
        type="warren_worker.Lost",
        message=f"lost its worker {job.starts} times in a row, each time while it ran and before an outcome",
    )
    reason = f"no attempt left: {job.counted - 1} of {job.max_attempts} used, the last ones by workers that were lost"
    return Settlement(outcome="lost", publications=(_dead(job.envelope, job.attempt - 1, reason, "lost", error, at),))


def expired(envelope: Envelope, attempt: int, at: Moment) -> Settlement:
    """Settle a job that is no longer worth starting."""
    told = _event(envelope, State.EXPIRED, attempt, at, outcome="expired")
    return Settlement(outcome="expired", events=(told,))


def cancelled(envelope: Envelope, attempt: int, at: Moment) -> Settlement:
    """Settle a job that was cancelled before its code began."""
    told = _event(envelope, State.CANCELLED, attempt, at, outcome="cancelled")
    return Settlement(outcome="cancelled", events=(told,))


def park(envelope: Envelope, attempt: int, why: WarrenError, at: Moment) -> Settlement:
    """Set a job aside whose task no running worker of this kind knows yet; it burns no attempt."""
    since_ms = envelope.parked_ms or at.now_ms
    if at.now_ms - since_ms >= PARK_LIMIT_MS:
        reason = "parked for 24 h: no worker of this queue knows the task"
        return Settlement(
            outcome="invalid",
            publications=(_dead(envelope, attempt, reason, "invalid", describe(why), at),),
        )
    delay_seconds = _park_seconds(envelope.parked_count)
    parked = envelope.evolve(attempt=attempt, parked_ms=since_ms, parked_count=envelope.parked_count + 1)
    due_ms = at.now_ms + delay_seconds * 1000
    told = _event(envelope, State.PARKED, attempt, at, retry_at_ms=due_ms, error=describe(why))
    return Settlement(
        outcome="parked", publications=(job_publication(parked, delay_seconds),), again=True, events=(told,)
    )


def park_newer(message: Message, queue: str, why: EnvelopeError, at: Moment) -> Settlement:
    """Set a message of a newer version aside, as it is, until a worker comes that reads it.

    Args:
        message: The message, not decoded.
        queue: The queue it came from, where it goes back to.
        why: What the decoder said.
        at: When and where.
    """
    count = _header_int(message, "warren-parked-count")
    since_ms = _header_int(message, "warren-parked-ms") or at.now_ms
    if at.now_ms - since_ms >= PARK_LIMIT_MS:
        # The server that reads the dead letter may be no newer than this worker, so the job's end is told as well.
        return replace(
            undecodable(message, why, at),
            events=_newer_events(message, queue, State.DEAD, at, error=describe(why), outcome="invalid"),
        )
    delay_seconds = _park_seconds(count)
    due_ms = at.now_ms + delay_seconds * 1000
    headers: dict[str, HeaderValue] = {
        **{name: value for name, value in message.headers.items() if not name.startswith("x-")},
        "warren-parked-ms": since_ms,
        "warren-parked-count": count + 1,
    }
    exchange, routing_key = route(queue, delay_seconds)
    again = Publication(
        exchange=exchange, routing_key=routing_key, message=replace(message, headers=headers, user_id=None)
    )
    return Settlement(
        outcome="parked",
        publications=(again,),
        again=True,
        events=_newer_events(message, queue, State.PARKED, at, error=describe(why), retry_at_ms=due_ms),
    )


def undecodable(message: Message, why: EnvelopeError, at: Moment) -> Settlement:
    """Settle a message that is no job: kept whole among the dead letters."""
    death = Death(
        reason=f"not a Warren job: {why}",
        outcome="undecodable",
        error=describe(why),
        worker=at.worker,
        dead_ms=at.now_ms,
        attempt=1,
        image=at.image,
    )
    return Settlement(outcome="undecodable", publications=(dead_letter(message, death),))


def event(job: Job, state: State, at: Moment, **fields: Any) -> Event:
    """Tell the store something about a job."""
    fraction, message = at.progress or (None, None)
    progress = {"progress": fraction, "progress_message": message}
    told = {name: value for name, value in fields.items() if value is not None}
    return _event(
        job.envelope,
        state,
        job.attempt,
        at,
        max_attempts=job.max_attempts,
        redelivered=job.redelivered,
        **{**progress, **told},
    )


def _next(outcome: Unsuccessful, job: Job, rng: Random) -> Again | Dead:
    if isinstance(outcome, Invalid):
        return Dead(reason=outcome.error.message)
    failure: WarrenError
    match outcome:
        case Discarded():
            failure = Discard(outcome.error.message)
        case RetryAsked():
            failure = RetryAfter(outcome.seconds, outcome.error.message)
        case _:
            failure = WarrenError(outcome.error.message)
    return next_step(Failure(error=failure), job.envelope, job.counted, job.task.retry, rng)


def _anew(job: Job, state: str | None = None) -> Envelope:
    """Make the envelope of a run that takes the place of one that does not count."""
    return job.envelope.evolve(attempt=job.attempt + 1, forgiven=job.forgiven + 1, state=state or job.envelope.state)


def _dead(
    envelope: Envelope, attempt: int, reason: str, word: DeadOutcome, error: ErrorInfo, at: Moment
) -> Publication:
    death = Death(
        reason=reason,
        outcome=word,
        error=error,
        worker=at.worker,
        dead_ms=at.now_ms,
        attempt=attempt,
        started_ms=at.started_ms,
        image=at.image,
    )
    return dead_letter(encode(envelope), death)


def _event(envelope: Envelope, state: State, attempt: int, at: Moment, **fields: Any) -> Event:
    return Event(
        job=envelope.id,
        state=state,
        attempt=attempt,
        at_ms=at.now_ms,
        task=envelope.task,
        queue=envelope.queue,
        enqueued_ms=envelope.enqueued_ms,
        worker=at.worker,
        started_ms=at.started_ms,
        tenant=envelope.tenant,
        round=envelope.round,
        **fields,
    )


def _newer_events(message: Message, queue: str, state: State, at: Moment, **fields: Any) -> tuple[Event, ...]:
    """Tell of a message of a newer version, as far as its id and task can be read."""
    job, task = message.message_id or "", message.type or ""
    if not JOB_ID.fullmatch(job) or not TASK_NAME.fullmatch(task):
        return ()
    envelope = Envelope(id=job, task=task, queue=queue, enqueued_ms=max(_header_int(message, "warren-enqueued-ms"), 0))
    attempt = max(_header_int(message, "warren-attempt"), 1)
    return (_event(envelope, state, attempt, at, **fields),)


def _park_seconds(count: int) -> int:
    return PARK_SECONDS[min(max(count, 0), len(PARK_SECONDS) - 1)]


def _header_int(message: Message, name: str) -> int:
    value = message.headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
