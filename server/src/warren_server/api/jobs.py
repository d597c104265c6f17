"""Routes for jobs: submit, batch, get, list."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from flask import Blueprint, Response, request

from warren.events import FINAL
from warren_server.api import views
from warren_server.api.caller import may_see, tenant
from warren_server.api.problems import Refusal, refusal_for
from warren_server.api.requests import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ITEMS,
    BatchRequest,
    JobRequest,
    JobsQuery,
    WaitQuery,
    is_job_id,
    query,
    read_body,
    validate,
)
from warren_server.api.responses import answer
from warren_server.idempotency import HEADER, REPLAYED, Keys, Known, Post, Reply, Result, read_key
from warren_server.store.fold import Row
from warren_server.store.jobs import JobFilter, JobStore
from warren_server.submit import Accepted

_FINAL: Final = frozenset(state.value for state in FINAL)
_POLL_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_CROWDED_SECONDS: Final = 0.2


class Waiters:
    """Bounds how many requests wait for jobs at a time, so that submits always find a thread.

    Args:
        most: How many may wait long; others are answered soon, and ask again.
    """

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    def wait(self, jobs: JobStore, job: str, seconds: float) -> None:
        """Wait until a job is final, is not there, or the time is up.

        The store is polled, because the event may come to any process.
        """
        has_place = self._places.acquire(blocking=False)
        try:
            self._poll(jobs, job, seconds if has_place else min(seconds, _CROWDED_SECONDS))
        finally:
            if has_place:
                self._places.release()

    def _poll(self, jobs: JobStore, job: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        polls = 0
        while (left := deadline - time.monotonic()) > 0:
            state = jobs.state(job)
            if state is None or state in _FINAL:
                return
            time.sleep(min(_POLL_SECONDS[min(polls // 4, len(_POLL_SECONDS) - 1)], left))
            polls += 1


def routes(keys: Keys, jobs: JobStore, waiters: Waiters) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("jobs", __name__)

    @blueprint.post("/v1/jobs")
    def submit() -> Response:
        key, body = read_key(request.headers.get(HEADER)), read_body(request)
        post = Post(tenant=tenant(), endpoint="jobs", key=key, document=body, single=True)
        reply = keys.submit(post, [validate(JobRequest, body)], single)
        return answer(reply.document, reply.status, {"Location": reply.document["url"], **_marks(reply)})

    @blueprint.post("/v1/jobs/batch")
    def submit_batch() -> Response:
        key, body = (
            read_key(request.headers.get(HEADER)),
            read_body(request, MAX_BATCH_BYTES, max_items=MAX_BATCH_ITEMS),
        )
        post = Post(tenant=tenant(), endpoint="jobs/batch", key=key, document=body, single=False)
        reply = keys.submit(post, [_item(item) for item in validate(BatchRequest, body).jobs], _all)
        return answer(reply.document, reply.status, _marks(reply))

    @blueprint.get("/v1/jobs")
    def list_jobs() -> Response:
        return answer(page(jobs, query(JobsQuery, request), tenant()))

    @blueprint.get("/v1/jobs/<job>")
    def get_job(job: str) -> Response:
        seconds = query(WaitQuery, request).wait
        found = _find(jobs, waiters, job, seconds) if is_job_id(job) else None
        if found is not None:
            return answer(views.job(*found))
        raise Refusal("unknown-job", f"there is no job {job!r:.100}")

    return blueprint


def page(jobs: JobStore, asked: JobsQuery, mine: str | None, prefix: str | None = None) -> views.Document:
    """Show a page of jobs, with the cursor of the next one if there is one.

    Args:
        jobs: Where they are.
        asked: Which ones.
        mine: Only those of this tenant.
        prefix: Only those whose id begins so.

    Raises:
        Refusal: The cursor is none.
    """
    if asked.cursor is not None and not is_job_id(asked.cursor):
        raise Refusal("invalid-request", "cursor: must be the cursor of a page before")
    wanted = JobFilter(
        state=asked.state, queue=asked.queue, task=asked.task, tenant=mine, before=asked.cursor, prefix=prefix
    )
    found = jobs.list(wanted, asked.limit + 1)
    listed = found[: asked.limit]
    cursor = listed[-1][0]["id"] if len(found) > asked.limit else None
    return {"jobs": [views.job(*item) for item in listed], "cursor": cursor}


def _find(jobs: JobStore, waiters: Waiters, job: str, seconds: float) -> tuple[Row, list[Row]] | None:
    """Return a job the caller may see, at once or when it is final."""
    # Whose job it is comes first: how long an answer takes would tell too.
    found = jobs.get(job) if seconds == 0 or tenant() is not None else None
    if seconds and (found is None or may_see(found[0])):
        waiters.wait(jobs, job, seconds)
        found = jobs.get(job)
    return found if found is not None and may_see(found[0]) else None


def single(results: Sequence[Result]) -> views.Document:
    """Show what came of the submit of one job.

    Raises:
        Exception: Why it was not taken.
    """
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return _taken(result)


def _all(results: Sequence[Result]) -> views.Document:
    return {"jobs": [_result(result) for result in results]}


def _marks(reply: Reply) -> dict[str, str]:
    return {REPLAYED: "true"} if reply.replayed else {}


def _item(item: object) -> JobRequest | Refusal:
    try:
        return validate(JobRequest, item)
    except Refusal as refusal:
        return refusal


def _taken(result: Accepted | Known) -> views.Document:
    return views.known(result.row) if isinstance(result, Known) else views.accepted(result)


def _result(result: Result) -> Mapping[str, object]:
    if not isinstance(result, Exception):
        return {"status": 202, **_taken(result)}
    refusal = refusal_for(result)
    return {"status": refusal.status, "problem": refusal.document()}
