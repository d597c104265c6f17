"""Routes that cancel jobs."""

from __future__ import annotations

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.dead_letter_requests import CancelRequest, milliseconds
from warren_server.api.problems import Refusal
from warren_server.api.requests import is_job_id, read_body, validate
from warren_server.api.responses import answer
from warren_server.cancel import Canceller
from warren_server.store.jobs import JobStore


def routes(canceller: Canceller, jobs: JobStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("cancel", __name__)

    @blueprint.post("/v1/jobs/cancel")
    def cancel_many() -> Response:
        asked = validate(CancelRequest, read_body(request))
        if asked.jobs is not None:
            requested = canceller.cancel_jobs(asked.jobs)
        else:
            before_ms = None if asked.before is None else milliseconds(asked.before)
            requested = canceller.cancel_matching(asked.queue, asked.task, before_ms, waiting_only=asked.waiting_only)
        return answer({"requested": requested.jobs, "before": views.time(requested.before_ms)}, 202)

    @blueprint.post("/v1/jobs/<job>/cancel")
    def cancel_job(job: str) -> Response:
        if is_job_id(job):
            canceller.cancel(job)
            found = jobs.get(job)
            if found is not None:
                return answer(views.job(*found), 202)
        raise Refusal("unknown-job", f"there is no job {job!r:.100}")

    return blueprint
