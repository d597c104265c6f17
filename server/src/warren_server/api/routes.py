"""Every route in one table: what it does, what it needs, what it takes and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from warren_server.api import documents, requests
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
        method="GET",
        path="/v1/queues/{queue}",
        summary="Get a queue.",
        scope="read",
        answer=documents.QueueDocument,
        problems=("unknown-queue",),
        for_tenants=True,
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
