"""What clients may ask of dead letters and of cancels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from warren.delay import MAX_SECONDS
from warren.events import OUTCOMES
from warren_server.api.requests import JobId, Moment, QueueName, TaskName
from warren_server.dead import UNDECODABLE
from warren_server.store.dead_letters import DeadLetterFilter

MAX_CANCELLED: Final = 10_000
"""Ids in one request."""
_MONTH_SECONDS: Final = 30 * 86400
_OUTCOMES: Final = (*OUTCOMES, UNDECODABLE)
_SKEW: Final = timedelta(minutes=1)


def _outcome(value: object) -> object:
    if isinstance(value, str) and value not in _OUTCOMES:
        raise ValueError(f"must be one of {', '.join(_OUTCOMES)}")
    return value


Outcome = Annotated[str, BeforeValidator(_outcome), WithJsonSchema({"type": "string", "enum": list(_OUTCOMES)})]
Words = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]


class DeadLetterFilterRequest(BaseModel):
    """Which dead letters are meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    queue: QueueName | None = None
    """Only those of this queue."""
    task: TaskName | None = None
    """Only those of this task."""
    error: Words | None = None
    """Only those whose error is of this class, such as `ValueError`."""
    outcome: Outcome | None = None
    """Only those whose last attempt ended so."""
    reason: Words | None = None
    """Only those whose reason contains this, in whatever case."""
    worker: Words | None = None
    """Only those that this worker gave up."""
    since: Moment | None = None
    """Only those that died then or later."""
    until: Moment | None = None
    """Only those that died before."""
    job: JobId | None = None
    """Only the one of this job."""

    @property
    def wanted(self) -> DeadLetterFilter:
        """The filter as the store takes it."""
        return DeadLetterFilter(
            queue=self.queue,
            task=self.task,
            error=self.error,
            outcome=self.outcome,
            reason=self.reason,
            worker=self.worker,
            job=self.job,
            since_ms=None if self.since is None else milliseconds(self.since),
            until_ms=None if self.until is None else milliseconds(self.until),
        )


class DeadLettersQuery(DeadLetterFilterRequest):
    """Which dead letters to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    """Most to list."""
    cursor: Annotated[str, Field(max_length=100)] | None = None
    """The `cursor` of the page before."""


class _Many(BaseModel):
    """Something done to many dead letters."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    filter: DeadLetterFilterRequest = DeadLetterFilterRequest()
    """Which ones."""
    all: bool = False
    """All of them; needed when the filter is empty, so that a forgotten filter does nothing."""
    dry_run: bool = False
    """Count them and show some, and do nothing."""

    @model_validator(mode="after")
    def _says_which(self) -> _Many:
        if self.all and not self.filter.wanted.empty:
            raise ValueError("all and a filter contradict each other; give one")
        if not self.all and not self.dry_run and self.filter.wanted.empty:
            raise ValueError('the filter is empty; name what is meant, or say "all": true')
        return self


class RedriveRequest(_Many):
    """Dead letters to bring back to their queues."""

    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Jobs a second; as fast as it goes unless given."""


class PurgeRequest(_Many):
    """Dead letters to delete for good."""


class RetryRequest(BaseModel):
    """What to change about a dead job; without anything it runs again as it was."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    arguments: dict[str, Any] | None = None
    """All its arguments anew, checked against the task's schema."""
    queue: QueueName | None = None
    """Queue to go to, instead of its own."""
    delay: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = None
    """Whole seconds to wait first."""
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Runs before it is a dead letter again, counted from now."""
    timeout: Annotated[float, Field(gt=0, le=_MONTH_SECONDS)] | None = None
    """Limit of one attempt in seconds."""


class CancelRequest(BaseModel):
    """Jobs to cancel: by their ids, or all that match."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    jobs: Annotated[list[JobId], Field(min_length=1, max_length=MAX_CANCELLED)] | None = None
    """Their ids; ids the store does not know are cancelled too."""
    queue: QueueName | None = None
    """All of this queue."""
    task: TaskName | None = None
    """All of this task; with a queue only those that have both."""
    before: Moment | None = None
    """Only those submitted up to then; up to now unless given."""
    waiting_only: bool = False
    """Leave alone what runs when the order comes."""

    @model_validator(mode="after")
    def _says_which(self) -> CancelRequest:
        matching = (self.queue, self.task, self.before, self.waiting_only or None)
        if self.jobs is not None and any(value is not None for value in matching):
            raise ValueError("jobs stands alone; give ids, or what to match")
        if self.jobs is None and self.queue is None and self.task is None:
            raise ValueError("name jobs, a queue or a task")
        if self.before is not None and self.before > datetime.now(UTC) + _SKEW:
            raise ValueError("before is in the future; jobs not yet submitted cannot be cancelled")
        return self


def milliseconds(moment: datetime) -> int:
    """Return a time as milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)
