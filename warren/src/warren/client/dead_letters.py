"""Dead letters and cancels: requests as values, and answers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from warren.client import views
from warren.client.views import DeadLetterView, _time
from warren.client.wire import Answer, Request, _given, _understood, _word

MAX_CANCELLED: Final = 10_000
"""Ids the server takes in one request."""


class DeadLetterFilter(TypedDict, total=False):
    """Which dead letters are meant; what is left out may be anything.

    Attributes:
        queue: Their queue.
        task: Their task.
        error: Class of their error, such as `ValueError`.
        outcome: How their last attempt ended, in a word.
        reason: Text that their reason contains, in whatever case.
        worker: The worker that gave them up.
        since: They died then or later, aware.
        until: They died before, aware.
        job: Their job.
    """

    queue: str | None
    task: str | None
    error: str | None
    outcome: str | None
    reason: str | None
    worker: str | None
    since: datetime | None
    until: datetime | None
    job: str | None


class RetryOptions(TypedDict, total=False):
    """What to change about a job that is retried; what is left out stays as it was.

    Attributes:
        arguments: All its arguments by name.
        queue: Its queue.
        delay: Whole seconds it waits first.
        max_attempts: Runs before it is a dead letter again, counted from the retry.
        timeout: Limit of one attempt in seconds.
    """

    arguments: Mapping[str, Any] | None
    queue: str | None
    delay: int | None
    max_attempts: int | None
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPage:
    """Some of the dead letters that match.

    Attributes:
        dead_letters: The letters, latest first.
        cursor: What to ask the next page with, or None on the last one.
    """

    dead_letters: tuple[DeadLetterView, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """Dead letters that have queue, task and class of error in common.

    Attributes:
        queue: Their queue, if known.
        task: Their task, if known.
        error: Class of their error, if there was one.
        count: How many there are.
        first_at: When the first of them died.
        last_at: When the last of them died.
    """

    queue: str | None = None
    task: str | None = None
    error: str | None = None
    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSummary:
    """Dead letters counted.

    Attributes:
        total: How many there are.
        groups: What they have in common, the largest group first.
    """

    total: int
    groups: tuple[DeadLetterGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """Dead letters something was done to, or would be.

    Attributes:
        dry_run: Nothing was done.
        count: How many.
        complete: False when there was no time for all; ask again for the rest.
        sample: Some of them, in a dry run.
    """

    dry_run: bool
    count: int
    complete: bool = True
    sample: tuple[DeadLetterView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveView:
    """Dead letters on their way back to their queues.

    Attributes:
        id: Id of the redrive.
        state: `running`, `stopped`, `done` or `failed`.
        total: Letters it found at its start.
        moved: Letters moved so far.
        failed: Letters that cannot be moved.
        rate: Jobs a second, or None for as fast as it goes.
        filter: Which letters it moves.
        created_at: When it began.
        finished_at: When it ended.
        error: The last thing that went wrong.
        url: Where the server tells of it.
    """

    id: str
    state: str
    total: int = 0
    moved: int = 0
    failed: int = 0
    rate: float | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    url: str = ""

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self.state == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelView:
    """What was asked to be cancelled.

    Attributes:
        requested: How many jobs, or None where the server could not count them.
        before: Jobs submitted later are not meant; None for jobs by id.
    """

    requested: int | None
    before: datetime | None = None


def list_letters(wanted: DeadLetterFilter, limit: int | None, cursor: str | None) -> Request:
    """Build the request for a page of dead letters."""
    params = _given({**_filter(wanted), "limit": limit, "cursor": cursor})
    return Request(method="GET", path="/v1/dead-letters", params=params)


def letter(letter_id: str) -> Request:
    """Build the request for one dead letter, whole."""
    return Request(method="GET", path=f"/v1/dead-letters/{_word(letter_id)}")


def summary(wanted: DeadLetterFilter) -> Request:
    """Build the request that counts dead letters."""
    return Request(method="GET", path="/v1/dead-letters/summary", params=_given(_filter(wanted)))


def redrive(wanted: DeadLetterFilter, *, everything: bool, rate: float | None = None, dry_run: bool = False) -> Request:
    """Build the request that begins a redrive, or says what it would move."""
    body = _many(wanted, everything=everything, dry_run=dry_run)
    return Request(
        method="POST", path="/v1/dead-letters/redrive", body=body if rate is None else {**body, "rate": rate}
    )


def get_redrive(redrive_id: str) -> Request:
    """Build the request for a redrive."""
    return Request(method="GET", path=f"/v1/dead-letters/redrives/{_word(redrive_id)}")


def stop_redrive(redrive_id: str) -> Request:
    """Build the request that stops a redrive."""
    return Request(method="POST", path=f"/v1/dead-letters/redrives/{_word(redrive_id)}/stop")


def purge(wanted: DeadLetterFilter, *, everything: bool, dry_run: bool) -> Request:
    """Build the request that deletes dead letters."""
    body = _many(wanted, everything=everything, dry_run=dry_run)
    return Request(method="POST", path="/v1/dead-letters/purge", body=body)


def delete(letter_id: str) -> Request:
    """Build the request that deletes one dead letter."""
    return Request(method="DELETE", path=f"/v1/dead-letters/{_word(letter_id)}")


def retry_job(job_id: str, changes: RetryOptions) -> Request:
    """Build the request that retries a dead job."""
    return Request(method="POST", path=f"/v1/jobs/{_word(job_id)}/retry", body=_changes(changes))


def retry_letter(letter_id: str, changes: RetryOptions) -> Request:
    """Build the request that retries a dead letter."""
    return Request(method="POST", path=f"/v1/dead-letters/{_word(letter_id)}/retry", body=_changes(changes))


def cancel(job_id: str) -> Request:
    """Build the request that cancels a job."""
    return Request(method="POST", path=f"/v1/jobs/{_word(job_id)}/cancel")


def cancel_jobs(jobs: Sequence[str]) -> Request:
    """Build the request that cancels up to `MAX_CANCELLED` jobs."""
    return Request(method="POST", path="/v1/jobs/cancel", body={"jobs": list(jobs)})


def cancel_matching(queue: str | None, task: str | None, before: datetime | None, *, waiting_only: bool) -> Request:
    """Build the request that cancels all jobs that match."""
    body = {"queue": queue, "task": task, "before": _moment(before), "waiting_only": waiting_only or None}
    return Request(
        method="POST", path="/v1/jobs/cancel", body={name: value for name, value in body.items() if value is not None}
    )


REDRIVES: Final = Request(method="GET", path="/v1/dead-letters/redrives")


def read_page(answer: Answer) -> DeadLetterPage:
    """Read an answer that is a page of dead letters."""
    return _understood(
        answer,
        lambda found: DeadLetterPage(dead_letters=_letters(found["dead_letters"]), cursor=found.get("cursor")),
    )


def read_letter(answer: Answer) -> DeadLetterView:
    """Read an answer that is a dead letter."""
    return _understood(answer, views.read_dead_letter)


def read_summary(answer: Answer) -> DeadLetterSummary:
    """Read an answer that counts dead letters."""
    return _understood(
        answer,
        lambda found: DeadLetterSummary(total=int(found["total"]), groups=tuple(map(_group, found["groups"]))),
    )


def read_affected(answer: Answer) -> Affected:
    """Read an answer that says what was or would be done to how many."""
    return _understood(
        answer,
        lambda found: Affected(
            dry_run=bool(found["dry_run"]),
            count=int(found["count"]),
            complete=bool(found.get("complete", True)),
            sample=_letters(found.get("sample") or ()),
        ),
    )


def read_redrive(answer: Answer) -> RedriveView:
    """Read an answer that is a redrive."""
    return _understood(answer, _redrive)


def read_redrives(answer: Answer) -> list[RedriveView]:
    """Read an answer that lists redrives."""
    return _understood(answer, lambda found: [_redrive(item) for item in found["redrives"]])


def read_cancel(answer: Answer) -> CancelView:
    """Read an answer that says what was asked to be cancelled."""
    return _understood(
        answer,
        lambda found: CancelView(requested=found["requested"], before=_time(found.get("before"))),
    )


def together(cancelled: Sequence[CancelView]) -> CancelView:
    """Add up what several requests asked to be cancelled."""
    return CancelView(requested=sum(each.requested or 0 for each in cancelled))


def chunks(jobs: Sequence[str]) -> list[Sequence[str]]:
    """Cut a list of ids into what one request takes."""
    return [jobs[start : start + MAX_CANCELLED] for start in range(0, len(jobs), MAX_CANCELLED)]


def _letters(items: Sequence[Mapping[str, Any]]) -> tuple[DeadLetterView, ...]:
    return tuple(views.read_dead_letter(item) for item in items)


def _group(document: Mapping[str, Any]) -> DeadLetterGroup:
    return DeadLetterGroup(
        queue=document.get("queue"),
        task=document.get("task"),
        error=document.get("error"),
        count=int(document["count"]),
        first_at=_time(document.get("first_at")),
        last_at=_time(document.get("last_at")),
    )


def _redrive(document: Mapping[str, Any]) -> RedriveView:
    return RedriveView(
        id=str(document["id"]),
        state=str(document["state"]),
        total=document.get("total") or 0,
        moved=document.get("moved") or 0,
        failed=document.get("failed") or 0,
        rate=document.get("rate"),
        filter=document.get("filter") or {},
        created_at=_time(document.get("created_at")),
        finished_at=_time(document.get("finished_at")),
        error=document.get("error"),
        url=document.get("url") or "",
    )


def _many(wanted: DeadLetterFilter, *, everything: bool, dry_run: bool) -> dict[str, Any]:
    flags = {"all": everything, "dry_run": dry_run}
    return {"filter": _filter(wanted), **{name: True for name, said in flags.items() if said}}


def _filter(wanted: DeadLetterFilter) -> dict[str, Any]:
    moments = ("since", "until")
    told = {name: _moment(value) if name in moments else value for name, value in wanted.items()}  # type: ignore[arg-type]
    return {name: value for name, value in told.items() if value is not None}


def _changes(changes: RetryOptions) -> dict[str, Any]:
    told = {name: value for name, value in changes.items() if value is not None}
    return {**told, "arguments": dict(changes["arguments"])} if told.get("arguments") is not None else told  # type: ignore[arg-type]


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware datetime")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
