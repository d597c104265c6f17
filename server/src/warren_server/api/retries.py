"""Routes that retry one dead job."""

from __future__ import annotations

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.dead_letter_requests import RetryRequest
from warren_server.api.problems import Refusal
from warren_server.api.requests import is_job_id, read_body, validate
from warren_server.api.responses import answer
from warren_server.retry import Changes, Retrier
from warren_server.store.jobs import JobStore


def routes(retrier: Retrier, jobs: JobStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("retries", __name__)

    @blueprint.post("/v1/dead-letters/<letter>/retry")
    def retry_dead_letter(letter: str) -> Response:
        changes = _changes()
        if not is_job_id(letter):
            raise Refusal("unknown-dead-letter", f"there is no dead letter {letter!r:.100}")
        return _show(retrier.retry(letter, changes))

    @blueprint.post("/v1/jobs/<job>/retry")
    def retry_job(job: str) -> Response:
        changes = _changes()
        if not is_job_id(job):
            raise Refusal("unknown-job", f"there is no job {job!r:.100}")
        return _show(retrier.retry_job(job, changes))

    def _show(job: str) -> Response:
        found = jobs.get(job)
        if found is None:
            raise Refusal("unknown-job", f"job {job} is back in its queue, but its record is gone from the store")
        document = views.job(*found)
        return answer(document, 202, {"Location": document["url"]})

    return blueprint


def _changes() -> Changes:
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return Changes()
    return changes_of(validate(RetryRequest, read_body(request)))


def changes_of(asked: RetryRequest) -> Changes:
    """Return what is to be changed about a job."""
    return Changes(
        arguments=asked.arguments,
        queue=asked.queue,
        delay=asked.delay,
        max_attempts=asked.max_attempts,
        timeout=asked.timeout,
    )
