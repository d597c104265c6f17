"""Every route in one table: what it does, what it needs, what it takes and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from warren_server.api import documents, requests, schedule_documents, schedule_requests
from warren_server.auth import Scope

_ALWAYS: Final = ("bad-host", "internal-error")
_GUARDED: Final = ("unauthenticated", "forbidden", "store-unavailable")
_BODY: Final = ("bad-request", "bad-json", "too-large", "unsupported-media-type", "invalid-request")
_SUBMIT: Final = (
    "unknown-task",
    "unknown-queue",
    "invalid-arguments",
    "unsupported-header",
    "queue-full",
    "window-full",
    "broker-unavailable",
    "broker-blocked",
    "outcome-unknown",
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
        also: Further statuses of success.
        body: What it takes.
        query: What it takes in the query string.
        answer: What it answers; None for no document of ours.
        problems: What may go wrong here, beyond what may anywhere.
        tutorial: It is there only with `WARREN_TUTORIAL=1`.
    """

    method: str
    path: str
    summary: str
    scope: Scope | None
    status: int = 200
    also: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    problems: tuple[str, ...] = ()
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
    ),
    Route(
        method="POST",
        path="/v1/jobs/batch",
        summary="Submit up to 1000 jobs; each is taken or refused by itself.",
        scope="submit",
        status=202,
        body=requests.BatchRequest,
        answer=documents.BatchDocument,
        problems=("unsupported-header",),
    ),
    Route(
        method="GET",
        path="/v1/jobs",
        summary="List jobs, newest first.",
        scope="read",
        query=requests.JobsQuery,
        answer=documents.JobsDocument,
        problems=("invalid-request",),
    ),
    Route(
        method="GET",
        path="/v1/jobs/{job}",
        summary="Get a job, at once or when it is final.",
        scope="read",
        query=requests.WaitQuery,
        answer=documents.JobDocument,
        problems=("unknown-job", "invalid-request"),
    ),
    Route(method="GET", path="/v1/tasks", summary="List the tasks.", scope="read", answer=documents.TasksDocument),
    Route(method="GET", path="/v1/queues", summary="List the queues.", scope="read", answer=documents.QueuesDocument),
    Route(
        method="GET",
        path="/v1/queues/{queue}",
        summary="Get a queue.",
        scope="read",
        answer=documents.QueueDocument,
        problems=("unknown-queue",),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters",
        summary="List dead letters, latest first.",
        scope="read",
        query=requests.DeadLettersQuery,
        answer=documents.DeadLettersDocument,
        problems=("invalid-request",),
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
        also=(201,),
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
    ),
)
