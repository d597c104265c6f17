"""Every route in one table: what it does, what it needs, what it takes and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from warren_server.api import (
    dead_letter_documents,
    dead_letter_requests,
    documents,
    requests,
    schedule_documents,
    schedule_requests,
)
from warren_server.auth import Scope

_ALWAYS: Final = ("bad-host", "internal-error")
_GUARDED: Final = ("unauthenticated", "forbidden", "store-unavailable")
_BODY: Final = ("bad-request", "bad-json", "too-large", "unsupported-media-type", "invalid-request")
_KEYED: Final = ("idempotency-key-busy", "idempotency-key-reused")
_SUBMIT: Final = (
    "unknown-task",
    "unknown-queue",
    "invalid-arguments",
    *_KEYED,
    "queue-full",
    "window-full",
    "broker-unavailable",
    "broker-blocked",
    "outcome-unknown",
)
_ORDER: Final = ("window-full", "broker-unavailable", "broker-blocked", "outcome-unknown")
_RETRY: Final = (
    *(kind for kind in _SUBMIT if kind != "unsupported-header"),
    "unknown-dead-letter",
    "dead-letter-busy",
    "not-redrivable",
    "cancel-requested",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route.

    Attributes:
        method: HTTP method.
        path: Path, with parameters in braces.
        summary: What it does.
        scope: What a token needs; None for routes open to all.
        status: Status of success.
        body: What it takes.
        query: What it takes in the query string.
        answer: What it answers; None for no document of ours.
        also: Other statuses of success, with what is answered then.
        body_optional: A request without a body is taken too.
        problems: What may go wrong here, beyond what may anywhere.
        for_tenants: A token of one tenant may use it too; the route sees to it that it only meets that tenant's jobs.
        keyed: It takes an Idempotency-Key.
        tutorial: It is there only with `WARREN_TUTORIAL=1`.
    """

    method: str
    path: str
    summary: str
    scope: Scope | None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    also: tuple[tuple[int, type[BaseModel]], ...] = ()
    body_optional: bool = False
    problems: tuple[str, ...] = ()
    for_tenants: bool = False
    keyed: bool = False
    tutorial: bool = False

    @property
    def all_problems(self) -> tuple[str, ...]:
        """All that may go wrong."""
        return (*_ALWAYS, *(_GUARDED if self.scope else ()), *(_BODY if self.body else ()), *self.problems)


ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/jobs",
        summary="Submit a job.",
        scope="submit",
        status=202,
        body=requests.JobRequest,
        answer=documents.SubmittedDocument,
        problems=_SUBMIT,
        keyed=True,
        for_tenants=True,
    ),
    Route(
        method="POST",
        path="/v1/jobs/batch",
        summary="Submit up to 1000 jobs; each is taken or refused by itself.",
        scope="submit",
        status=202,
        body=requests.BatchRequest,
        answer=documents.BatchDocument,
        problems=_KEYED,
        keyed=True,
        for_tenants=True,
    ),
    Route(
        method="GET",
        path="/v1/jobs",
        summary="List jobs, newest first.",
        scope="read",
        query=requests.JobsQuery,
        answer=documents.JobsDocument,
        problems=("invalid-request",),
        for_tenants=True,
    ),
    Route(
        method="GET",
        path="/v1/jobs/{job}",
        summary="Get a job, at once or when it is final.",
        scope="read",
        query=requests.WaitQuery,
        answer=documents.JobDocument,
        problems=("unknown-job", "invalid-request"),
        for_tenants=True,
    ),
    Route(
        method="GET",
        path="/v1/tasks",
        summary="List the tasks.",
        scope="read",
        answer=documents.TasksDocument,
        for_tenants=True,
    ),
    Route(
        method="GET",
        path="/v1/queues",
        summary="List the queues.",
        scope="read",
        answer=documents.QueuesDocument,
        for_tenants=True,
    ),
    Route(
        method="POST",
        path="/v1/jobs/cancel",
        summary="Ask for many jobs to be cancelled, by their ids or all that match.",
        scope="submit",
        status=202,
        body=dead_letter_requests.CancelRequest,
        answer=dead_letter_documents.CancelDocument,
        problems=_ORDER,
    ),
    Route(
        method="POST",
        path="/v1/jobs/{job}/cancel",
        summary="Ask for a job to be cancelled; its state changes when a worker says that it is.",
        scope="submit",
        status=202,
        answer=documents.JobDocument,
        problems=("unknown-job", "already-final", *_ORDER),
    ),
    Route(
        method="POST",
        path="/v1/jobs/{job}/retry",
        summary="Retry a dead job, with changes if so asked.",
        scope="submit",
        status=202,
        body=dead_letter_requests.RetryRequest,
        body_optional=True,
        answer=documents.JobDocument,
        problems=("unknown-job", "not-dead", *_RETRY),
    ),
    Route(
        method="GET",
        path="/v1/queues/{queue}",
        summary="Get a queue.",
        scope="read",
        answer=documents.QueueDocument,
        problems=("unknown-queue",),
        for_tenants=True,
    ),
    Route(
        method="POST",
        path="/v1/queues/{queue}/pause",
        summary="Start no more jobs of a queue; submits go on.",
        scope="admin",
        answer=documents.QueueDocument,
        problems=("unknown-queue", "queue-busy", "change-unfinished"),
    ),
    Route(
        method="POST",
        path="/v1/queues/{queue}/resume",
        summary="Start jobs of a queue again.",
        scope="admin",
        answer=documents.QueueDocument,
        problems=("unknown-queue", "queue-busy", "change-unfinished"),
    ),
    Route(
        method="POST",
        path="/v1/queues/{queue}/purge",
        summary="Cancel all jobs of a queue that wait now; workers record each as they meet it.",
        scope="admin",
        status=202,
        answer=documents.PurgeDocument,
        problems=("unknown-queue", "broker-unavailable", "broker-blocked", "window-full", "outcome-unknown"),
    ),
    Route(
        method="GET",
        path="/v1/queues/{queue}/scaling",
        summary="Tell how many workers a queue should have, and why; made for KEDA's metrics-api trigger.",
        scope="read",
        query=requests.ScalingQuery,
        answer=documents.ScalingDocument,
        problems=("unknown-queue", "invalid-request", "depths-unknown"),
    ),
    Route(
        method="GET",
        path="/v1/queues/{queue}/limits",
        summary="Get a queue's limits.",
        scope="read",
        answer=documents.LimitsDocument,
        problems=("unknown-queue",),
    ),
    Route(
        method="PUT",
        path="/v1/queues/{queue}/limits",
        summary="Set all limits of a queue; what is left out has none.",
        scope="admin",
        body=requests.LimitsRequest,
        answer=documents.LimitsDocument,
        problems=("unknown-queue", "no-token-queues", "broker-unavailable", "queue-busy", "change-unfinished"),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters",
        summary="List dead letters, latest first.",
        scope="read",
        query=dead_letter_requests.DeadLettersQuery,
        answer=documents.DeadLettersDocument,
        problems=("invalid-request",),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters/summary",
        summary="Count dead letters by queue, task and class of error.",
        scope="read",
        query=dead_letter_requests.DeadLetterFilterRequest,
        answer=dead_letter_documents.SummaryDocument,
        problems=("invalid-request",),
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/redrive",
        summary="Bring dead letters back to their queues, at a set rate if so asked; a dry run moves nothing.",
        scope="admin",
        status=202,
        body=dead_letter_requests.RedriveRequest,
        answer=dead_letter_documents.RedriveDocument,
        also=((200, dead_letter_documents.AffectedDocument),),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters/redrives",
        summary="List the latest redrives.",
        scope="read",
        answer=dead_letter_documents.RedrivesDocument,
    ),
    Route(
        method="GET",
        path="/v1/dead-letters/redrives/{redrive}",
        summary="Get a redrive: how far it is.",
        scope="read",
        answer=dead_letter_documents.RedriveDocument,
        problems=("unknown-redrive",),
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/redrives/{redrive}/stop",
        summary="Stop a redrive; what it moved stays moved.",
        scope="admin",
        answer=dead_letter_documents.RedriveDocument,
        problems=("unknown-redrive",),
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/purge",
        summary="Delete dead letters for good; a dry run deletes nothing.",
        scope="admin",
        body=dead_letter_requests.PurgeRequest,
        answer=dead_letter_documents.AffectedDocument,
    ),
    Route(
        method="GET",
        path="/v1/dead-letters/{letter}",
        summary="Get a dead letter with its message.",
        scope="read",
        answer=documents.DeadLetterDocument,
        problems=("unknown-dead-letter",),
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/{letter}/retry",
        summary="Retry a dead letter, with changes if so asked.",
        scope="submit",
        status=202,
        body=dead_letter_requests.RetryRequest,
        body_optional=True,
        answer=documents.JobDocument,
        problems=_RETRY,
    ),
    Route(
        method="DELETE",
        path="/v1/dead-letters/{letter}",
        summary="Delete a dead letter for good.",
        scope="admin",
        status=204,
        problems=("unknown-dead-letter", "dead-letter-busy"),
    ),
    Route(
        method="POST",
        path="/v1/tokens",
        summary="Make a token.",
        scope="admin",
        status=201,
        body=requests.TokenRequest,
        answer=documents.TokenDocument,
    ),
    Route(method="GET", path="/v1/tokens", summary="List the tokens.", scope="admin", answer=documents.TokensDocument),
    Route(
        method="DELETE",
        path="/v1/tokens/{token}",
        summary="Revoke a token.",
        scope="admin",
        status=204,
        problems=("unknown-token",),
    ),
    Route(
        method="GET",
        path="/v1/schedules",
        summary="List the schedules.",
        scope="read",
        answer=schedule_documents.SchedulesDocument,
    ),
    Route(
        method="PUT",
        path="/v1/schedules/{schedule}",
        summary="Make a schedule (201) or change it (200).",
        scope="admin",
        also=((201, schedule_documents.SchedulePutDocument),),
        body=schedule_requests.ScheduleRequest,
        query=schedule_requests.SchedulePutQuery,
        answer=schedule_documents.SchedulePutDocument,
        problems=("invalid-arguments", "schedule-from-file", "broker-unavailable"),
    ),
    Route(
        method="GET",
        path="/v1/schedules/{schedule}",
        summary="Get a schedule with its next and last ticks.",
        scope="read",
        answer=schedule_documents.ScheduleTicksDocument,
        problems=("unknown-schedule",),
    ),
    Route(
        method="DELETE",
        path="/v1/schedules/{schedule}",
        summary="Remove a schedule.",
        scope="admin",
        status=204,
        problems=("unknown-schedule", "schedule-from-file"),
    ),
    Route(
        method="POST",
        path="/v1/schedules/{schedule}/pause",
        summary="Let a schedule rest.",
        scope="admin",
        answer=schedule_documents.ScheduleDocument,
        problems=("unknown-schedule",),
    ),
    Route(
        method="POST",
        path="/v1/schedules/{schedule}/resume",
        summary="Let a paused schedule go on; its policy decides on the ticks it missed.",
        scope="admin",
        answer=schedule_documents.ScheduleDocument,
        problems=("unknown-schedule",),
    ),
    Route(
        method="POST",
        path="/v1/schedules/{schedule}/run",
        summary="Submit one job of a schedule now, outside its ticks.",
        scope="admin",
        status=202,
        answer=documents.SubmittedDocument,
        problems=("unknown-schedule", "invalid-request", *_SUBMIT),
    ),
    Route(
        method="GET",
        path="/healthz",
        summary="Tell whether the process lives.",
        scope=None,
        answer=documents.AliveDocument,
    ),
    Route(
        method="GET",
        path="/readyz",
        summary="Tell whether jobs are taken now.",
        scope=None,
        answer=documents.ReadyDocument,
        problems=("not-ready",),
    ),
    Route(method="GET", path="/metrics", summary="Metrics for Prometheus.", scope="read"),
    Route(method="GET", path="/openapi.json", summary="This interface, as OpenAPI 3.1.", scope=None),
    Route(
        method="GET",
        path="/add-job/{cmd}",
        summary="The tutorial's way to submit a greeting.",
        scope="submit",
        status=202,
        answer=documents.SubmittedDocument,
        problems=("invalid-request", *_SUBMIT),
        tutorial=True,
        for_tenants=True,
    ),
)
