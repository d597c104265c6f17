"""What the server tells, as values. Fields a newer server adds are ignored; times are aware datetimes in UTC."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from warren.events import State


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """How an attempt failed.

    Attributes:
        type: Class of the exception.
        message: Its message.
        traceback: Its traceback, possibly cut.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One run of a job's code.

    Attributes:
        attempt: Its number, from 1.
        outcome: How it ended, or None while it runs.
        worker: Name of the worker.
        started_at: When its code began.
        finished_at: When it ended.
        run_seconds: How long it ran.
        error: How it failed, if it did.
    """

    attempt: int
    outcome: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run_seconds: float | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as the server knows it now.

    Attributes:
        id: Job id.
        state: Where it is.
        task: Name of its task.
        queue: Name of its queue.
        url: Where the server tells of it.
        attempt: Number of the latest attempt, 0 before the first.
        max_attempts: Runs it gets before it is a dead letter.
        submitted_at: When it was submitted.
        scheduled_for: When its next attempt is due, if it waits for a time.
        started_at: When its latest attempt began.
        finished_at: When it reached its final state.
        wait_seconds: From submit to first start.
        run_seconds: How long the latest attempt ran.
        progress: 0 to 1, as the task said.
        progress_message: What the task said it was doing.
        result: What the task returned.
        error: How the latest attempt failed.
        attempts: All attempts known, oldest first.
        tracking: `deferred` when the server's store was away at submit: the job is safe, its record comes later.
        round: How often it was brought back from the dead letters.
        cancel_requested_at: When somebody asked to cancel it; its state says what came of that.
    """

    id: str
    state: State
    task: str
    queue: str
    url: str = ""
    attempt: int = 0
    max_attempts: int | None = None
    submitted_at: datetime | None = None
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wait_seconds: float | None = None
    run_seconds: float | None = None
    progress: float | None = None
    progress_message: str | None = None
    result: Any = None
    error: JobError | None = None
    attempts: tuple[AttemptView, ...] = ()
    tracking: str | None = None
    round: int = 0
    cancel_requested_at: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether the job is done for good."""
        return self.state.final

    @property
    def succeeded(self) -> bool:
        """Whether the job ended well."""
        return self.state is State.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some of the jobs that match.

    Attributes:
        jobs: The jobs, newest first.
        cursor: What to ask the next page with, or None on the last one.
    """

    jobs: tuple[JobView, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How a queue is worked on by all workers together; None means no limit.

    Attributes:
        priority: Of several queues at one worker, those of higher priority go first.
        max_length: Submits are refused while so many jobs are ready.
        concurrency: Jobs that may run at once.
        rate_count: Jobs that may start within any `rate_seconds`.
        rate_seconds: Length of the window of the rate.
    """

    priority: int = 0
    max_length: int | None = None
    concurrency: int | None = None
    rate_count: int | None = None
    rate_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensView:
    """Tokens of one kind that a limited queue has.

    Attributes:
        wanted: How many there should be.
        present: How many there are, in their queue or out at a worker.
    """

    wanted: int
    present: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeView:
    """A purge under way.

    Attributes:
        queue: Name of the queue.
        before: Jobs submitted up to then are meant.
        ready: Jobs that waited in the queue when it was ordered; those delayed come on top.
        paused: The queue is paused: its jobs end when it is resumed.
    """

    queue: str
    before: datetime | None = None
    ready: int | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A queue as the broker knows it now.

    Attributes:
        name: Its name.
        ready: Jobs waiting for a worker.
        unacked: Jobs handed out and not settled.
        consumers: Workers attached.
        paused: No more jobs of it start; None when the server does not know now.
        limits: How it is worked on; None when the server does not know now.
        tokens: What enforces its concurrency (`slots`) and `rate`; None when the server does not know now.
    """

    name: str
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    paused: bool | None = None
    limits: QueueLimits | None = None
    tokens: Mapping[str, TokensView] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """A task the server takes jobs for.

    Attributes:
        name: Its name.
        queue: Queue its jobs go to unless the submit says otherwise.
        timeout_seconds: Limit of one attempt.
        max_attempts: Runs before a job is a dead letter.
        isolation: Where it runs: `thread`, `asyncio` or `process`.
        oom_queue: Queue its jobs go to once when they run out of memory, or None.
        description: What it does.
        schema: JSON Schema of its arguments.
    """

    name: str
    queue: str
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    isolation: str | None = None
    oom_queue: str | None = None
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    """A job, or an undecodable message, that ended among the dead letters.

    Attributes:
        id: Id of the dead letter.
        job: Id of its job, or None when the message was no job.
        task: Name of its task, if known.
        queue: Name of its queue, if known.
        reason: Why it died, as a sentence.
        attempt: Attempts it had.
        at: When it died.
        worker: Name of the worker that gave it up.
        error: How its last attempt failed.
        message: Properties and headers of the message, only when asked for by id.
        body: Its body, only when asked for by id.
        outcome: How its last attempt ended, in a word.
        image: Image of that worker, if it said so.
    """

    id: str
    job: str | None = None
    task: str | None = None
    queue: str | None = None
    reason: str = ""
    attempt: int | None = None
    at: datetime | None = None
    worker: str | None = None
    error: JobError | None = None
    message: Mapping[str, Any] | None = None
    body: bytes | None = None
    outcome: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """An API token.

    Attributes:
        id: What to revoke it by.
        name: What it is for.
        scopes: What it may do.
        token: The secret itself, only in the answer that made it.
        created_at: When it was made.
        expires_at: When it ends, or None.
        tenant: Whose jobs its bearer submits and sees, or None for all.
    """

    id: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a server is doing.

    Attributes:
        ready: It takes jobs now.
        checks: What it says of its parts.
    """

    ready: bool
    checks: Mapping[str, Any] = field(default_factory=dict)


def read_job(document: Mapping[str, Any]) -> JobView:
    """Read a job.

    Raises:
        KeyError, TypeError, ValueError: The document is no job.
    """
    fraction, message = _progress(document)
    return JobView(
        id=str(document["id"]),
        state=State(document["state"]),
        task=str(document["task"]),
        queue=str(document["queue"]),
        url=document.get("url") or "",
        attempt=document.get("attempt") or 0,
        max_attempts=document.get("max_attempts"),
        submitted_at=_time(document.get("submitted_at")),
        scheduled_for=_time(document.get("scheduled_for")),
        started_at=_time(document.get("started_at")),
        finished_at=_time(document.get("finished_at")),
        wait_seconds=document.get("wait_seconds"),
        run_seconds=document.get("run_seconds"),
        progress=fraction,
        progress_message=message,
        result=document.get("result"),
        error=_error(document.get("error")),
        attempts=tuple(_attempt(item) for item in document.get("attempts") or ()),
        tracking=document.get("tracking"),
        round=document.get("round") or 0,
        cancel_requested_at=_time(document.get("cancel_requested_at")),
    )


def read_page(document: Mapping[str, Any]) -> JobPage:
    """Read a page of jobs."""
    return JobPage(jobs=tuple(read_job(item) for item in document["jobs"]), cursor=document.get("cursor"))


def read_queue(document: Mapping[str, Any]) -> QueueView:
    """Read a queue."""
    return QueueView(
        name=str(document["name"]),
        ready=document.get("ready"),
        unacked=document.get("unacked"),
        consumers=document.get("consumers"),
        paused=document.get("paused"),
        limits=None if document.get("limits") is None else read_limits(document["limits"]),
        tokens=_tokens(document.get("tokens")),
    )


def read_limits(document: Mapping[str, Any]) -> QueueLimits:
    """Read a queue's limits."""
    rate = document.get("rate") or {}
    return QueueLimits(
        priority=document.get("priority") or 0,
        max_length=document.get("max_length"),
        concurrency=document.get("concurrency"),
        rate_count=rate.get("count"),
        rate_seconds=rate.get("seconds"),
    )


def read_purge(document: Mapping[str, Any]) -> PurgeView:
    """Read a purge."""
    return PurgeView(
        queue=str(document["queue"]),
        before=_time(document.get("before")),
        ready=document.get("ready"),
        paused=bool(document.get("paused")),
    )


def read_task(document: Mapping[str, Any]) -> TaskView:
    """Read a task."""
    return TaskView(
        name=str(document["name"]),
        queue=str(document["queue"]),
        timeout_seconds=document.get("timeout_seconds"),
        max_attempts=document.get("max_attempts"),
        isolation=document.get("isolation"),
        oom_queue=document.get("oom_queue"),
        description=document.get("description") or "",
        schema=document.get("schema") or {},
    )


def read_dead_letter(document: Mapping[str, Any]) -> DeadLetterView:
    """Read a dead letter."""
    return DeadLetterView(
        id=str(document["id"]),
        job=document.get("job"),
        task=document.get("task"),
        queue=document.get("queue"),
        reason=document.get("reason") or "",
        attempt=document.get("attempt"),
        at=_time(document.get("at")),
        worker=document.get("worker"),
        error=_error(document.get("error")),
        message=document.get("message"),
        body=None if document.get("body") is None else base64.b64decode(document["body"]),
        outcome=document.get("outcome"),
        image=document.get("image"),
    )


def read_token(document: Mapping[str, Any]) -> TokenView:
    """Read a token."""
    return TokenView(
        id=str(document["id"]),
        name=document.get("name") or "",
        scopes=tuple(document.get("scopes") or ()),
        token=document.get("token"),
        created_at=_time(document.get("created_at")),
        expires_at=_time(document.get("expires_at")),
        tenant=document.get("tenant"),
    )


def _tokens(document: Mapping[str, Any] | None) -> Mapping[str, TokensView] | None:
    if document is None:
        return None
    return {
        kind: TokensView(wanted=int(found["wanted"]), present=int(found["present"])) for kind, found in document.items()
    }


def _attempt(document: Mapping[str, Any]) -> AttemptView:
    return AttemptView(
        attempt=int(document["attempt"]),
        outcome=document.get("outcome"),
        worker=document.get("worker"),
        started_at=_time(document.get("started_at")),
        finished_at=_time(document.get("finished_at")),
        run_seconds=document.get("run_seconds"),
        error=_error(document.get("error")),
    )


def _error(document: Mapping[str, Any] | None) -> JobError | None:
    if not document:
        return None
    return JobError(
        type=str(document.get("type", "")),
        message=str(document.get("message", "")),
        traceback=str(document.get("traceback") or ""),
    )


def _progress(document: Mapping[str, Any]) -> tuple[float | None, str | None]:
    progress = document.get("progress")
    if isinstance(progress, Mapping):
        return progress.get("fraction"), progress.get("message")
    return progress, document.get("progress_message")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
