"""Requests as values and answers read: everything about the server's HTTP interface but the sending."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote

from warren import __version__
from warren.client import scaling_views, schedule_views, views
from warren.client.request import document
from warren.client.scaling_views import ScalingOptions, ScalingView
from warren.client.schedule_views import ScheduleDefinition, ScheduleView
from warren.client.views import (
    Health,
    JobPage,
    JobView,
    PurgeView,
    QueueLimits,
    QueueView,
    TaskView,
    TokenView,
)
from warren.errors import Problem, RequestFailed
from warren.request import JobRequest, check_key

T = TypeVar("T")

USER_AGENT: Final = f"warren-python/{__version__}"
MAX_BATCH: Final = 1000
"""Jobs the server takes in one batch."""
LONG_POLL_SECONDS: Final = 20.0
"""Longest single wait asked of the server; proxies commonly cut requests at 30 s or 60 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        method: HTTP method.
        path: Path under the server's base URL.
        params: Query parameters.
        body: JSON document to send, or None.
        extra_seconds: How long the server may take over what is usual, because it was asked to wait.
        key: Idempotency key of a submit, or None.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    extra_seconds: float = 0.0
    key: str | None = None

    @property
    def content(self) -> bytes | None:
        """The body as sent."""
        return None if self.body is None else json.dumps(self.body, ensure_ascii=False, allow_nan=False).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers beyond those of every request."""
        headers = {} if self.body is None else {"content-type": "application/json"}
        if self.key is not None:
            # A string of structured fields (RFC 9651, 4.1.6).
            headers["idempotency-key"] = '"' + self.key.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: HTTP status.
        headers: Headers, names in lower case.
        content: Body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


def submit(job: JobRequest, key: str | None = None) -> Request:
    """Build the request that submits a job.

    Raises:
        InvalidArguments: The job breaks a rule, or the key does.
    """
    check_key(job.task_name, key)
    return Request(method="POST", path="/v1/jobs", body=document(job), key=key)


def submit_many(jobs: Sequence[JobRequest], key: str | None = None, batch: int = 0) -> Request:
    """Build the request that submits up to `MAX_BATCH` jobs.

    Args:
        jobs: The jobs.
        key: Idempotency key of the call.
        batch: Number of this request in the call, from 0; those after the first have keys of their own.

    Raises:
        InvalidArguments: A job breaks a rule, or the key does.
    """
    own = key if key is None or batch == 0 else f"{key}/{batch}"
    check_key(jobs[0].task_name, own)
    body = {"jobs": [document(job) for job in jobs]}
    return Request(method="POST", path="/v1/jobs/batch", body=body, key=own)


def job(job_id: str, wait_seconds: float = 0) -> Request:
    """Build the request for a job, answered at once or when it is final or the wait is over."""
    params = {"wait": f"{wait_seconds:g}"} if wait_seconds > 0 else {}
    return Request(method="GET", path=f"/v1/jobs/{_word(job_id)}", params=params, extra_seconds=wait_seconds)


def jobs(
    *,
    state: str | None = None,
    queue: str | None = None,
    task: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request:
    """Build the request for a page of jobs."""
    filters = {"state": state, "queue": queue, "task": task, "limit": limit, "cursor": cursor}
    return Request(method="GET", path="/v1/jobs", params=_given(filters))


def queue(name: str) -> Request:
    """Build the request for one queue."""
    return Request(method="GET", path=f"/v1/queues/{_word(name)}")


def queue_scaling(name: str, options: ScalingOptions) -> Request:
    """Build the request for how many workers a queue should have."""
    return Request(method="GET", path=f"/v1/queues/{_word(name)}/scaling", params=_given(options))


def pause_queue(name: str) -> Request:
    """Build the request that pauses a queue."""
    return Request(method="POST", path=f"/v1/queues/{_word(name)}/pause")


def resume_queue(name: str) -> Request:
    """Build the request that resumes a queue."""
    return Request(method="POST", path=f"/v1/queues/{_word(name)}/resume")


def purge_queue(name: str) -> Request:
    """Build the request that purges a queue."""
    return Request(method="POST", path=f"/v1/queues/{_word(name)}/purge")


def queue_limits(name: str) -> Request:
    """Build the request for a queue's limits."""
    return Request(method="GET", path=f"/v1/queues/{_word(name)}/limits")


def limit_queue(name: str, limits: QueueLimits) -> Request:
    """Build the request that sets all limits of a queue."""
    rate = None
    if limits.rate_count is not None or limits.rate_seconds is not None:
        rate = {"count": limits.rate_count, "seconds": limits.rate_seconds}
    body = {
        "priority": limits.priority,
        "max_length": limits.max_length,
        "concurrency": limits.concurrency,
        "rate": rate,
    }
    return Request(method="PUT", path=f"/v1/queues/{_word(name)}/limits", body=body)


def create_token(scopes: Sequence[str], name: str, expires_in: float | None, tenant: str | None) -> Request:
    """Build the request that makes a token."""
    body = {"scopes": list(scopes), "name": name, "expires_in": expires_in, "tenant": tenant}
    return Request(method="POST", path="/v1/tokens", body={key: value for key, value in body.items() if value})


def revoke_token(token_id: str) -> Request:
    """Build the request that revokes a token."""
    return Request(method="DELETE", path=f"/v1/tokens/{_word(token_id)}")


def schedule(name: str) -> Request:
    """Build the request for one schedule, with its ticks."""
    return Request(method="GET", path=f"/v1/schedules/{_word(name)}")


def put_schedule(name: str, definition: ScheduleDefinition, *, dry_run: bool) -> Request:
    """Build the request that makes or changes a schedule."""
    params = {"dry_run": "true"} if dry_run else {}
    return Request(method="PUT", path=f"/v1/schedules/{_word(name)}", params=params, body=dict(definition))


def delete_schedule(name: str) -> Request:
    """Build the request that removes a schedule."""
    return Request(method="DELETE", path=f"/v1/schedules/{_word(name)}")


def schedule_order(name: str, order: str) -> Request:
    """Build the request that pauses, resumes or runs a schedule."""
    return Request(method="POST", path=f"/v1/schedules/{_word(name)}/{order}")


SCHEDULES: Final = Request(method="GET", path="/v1/schedules")
QUEUES: Final = Request(method="GET", path="/v1/queues")
TASKS: Final = Request(method="GET", path="/v1/tasks")
TOKENS: Final = Request(method="GET", path="/v1/tokens")
READY: Final = Request(method="GET", path="/readyz")


def read(answer: Answer) -> Any:
    """Read an answer's JSON document.

    Raises:
        RequestFailed: The answer is a problem, or no JSON.
    """
    if not 200 <= answer.status < 300:
        raise _failure(answer)
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise _not_ours(answer.status, "it is not JSON") from error


def read_job(answer: Answer) -> JobView:
    """Read an answer that is a job."""
    return _understood(answer, views.read_job)


def read_jobs(answer: Answer) -> JobPage:
    """Read an answer that is a page of jobs."""
    return _understood(answer, views.read_page)


def read_batch(answer: Answer) -> list[JobView | RequestFailed]:
    """Read the results of a batch, in the order of its jobs."""
    return _understood(answer, lambda found: [_batch_item(item) for item in found["jobs"]])


def read_queue(answer: Answer) -> QueueView:
    """Read an answer that is a queue."""
    return _understood(answer, views.read_queue)


def read_queues(answer: Answer) -> list[QueueView]:
    """Read an answer that lists queues."""
    return _understood(answer, lambda found: [views.read_queue(item) for item in found["queues"]])


def read_scaling(answer: Answer) -> ScalingView:
    """Read an answer that is how many workers a queue should have."""
    return _understood(answer, scaling_views.read_scaling)


def read_limits(answer: Answer) -> QueueLimits:
    """Read an answer that is a queue's limits."""
    return _understood(answer, views.read_limits)


def read_purge(answer: Answer) -> PurgeView:
    """Read an answer that is a purge."""
    return _understood(answer, views.read_purge)


def read_tasks(answer: Answer) -> list[TaskView]:
    """Read an answer that lists tasks."""
    return _understood(answer, lambda found: [views.read_task(item) for item in found["tasks"]])


def read_token(answer: Answer) -> TokenView:
    """Read an answer that is a token."""
    return _understood(answer, views.read_token)


def read_tokens(answer: Answer) -> list[TokenView]:
    """Read an answer that lists tokens."""
    return _understood(answer, lambda found: [views.read_token(item) for item in found["tokens"]])


def read_schedule(answer: Answer) -> ScheduleView:
    """Read an answer that is a schedule."""
    return _understood(answer, schedule_views.read_schedule)


def read_schedules(answer: Answer) -> list[ScheduleView]:
    """Read an answer that lists schedules."""
    return _understood(answer, lambda found: [schedule_views.read_schedule(item) for item in found["schedules"]])


def read_health(answer: Answer) -> Health:
    """Read the answer of the readiness route; unready is an answer here, not a failure."""
    if answer.status not in (200, 503):
        raise _failure(answer)
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = {}
    return Health(ready=answer.status == 200, checks=found if isinstance(found, dict) else {})


def no_answer(url: str, error: Exception, *, connected: bool) -> RequestFailed:
    """Say that no answer came.

    Args:
        url: Base URL of the server.
        error: What happened.
        connected: Whether the request may have reached the server.
    """
    reason = str(error) or type(error).__name__
    if connected:
        return RequestFailed(0, "no-answer", f"the connection to {url} ended before an answer came: {reason}")
    return RequestFailed(0, "unreachable", f"no server answers at {url}: {reason}; is it running, is WARREN_URL right?")


def _understood(answer: Answer, reader: Callable[[Any], T]) -> T:
    found = read(answer)
    try:
        return reader(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_ours(answer.status, f"{type(error).__name__}: {error}") from error


def _batch_item(item: Mapping[str, Any]) -> JobView | RequestFailed:
    if "id" in item and "state" in item:
        return views.read_job(item)
    return _problem(int(item.get("status") or 0), item.get("problem") or item, None)


def _failure(answer: Answer) -> RequestFailed:
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        found = {"type": f"http-{answer.status}", "detail": answer.content[:200].decode(errors="replace")}
    return _problem(answer.status, found, _seconds(answer.headers.get("retry-after")))


def _problem(status: int, found: Mapping[str, Any], retry_after_seconds: float | None) -> RequestFailed:
    kind = str(found.get("type") or f"http-{status}").rsplit("/", 1)[-1]
    detail = str(found.get("detail") or found.get("title") or "no detail given")
    listed = found.get("problems")
    problems = [_field(item) for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return RequestFailed(status, kind, detail, problems, retry_after_seconds)


def _field(item: Mapping[str, Any]) -> Problem:
    return Problem(field=str(item.get("field")), rule=str(item.get("rule")), message=str(item.get("message")))


def _not_ours(status: int, why: str) -> RequestFailed:
    return RequestFailed(status, "bad-answer", f"the answer is not Warren's: {why}; is WARREN_URL a Warren server?")


def _seconds(text: str | None) -> float | None:
    """Read Retry-After as seconds (RFC 9110, 10.2.3); its date form is not used by Warren and is ignored."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def _given(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _word(text: str) -> str:
    return quote(text, safe="") or "-"
