"""Jobs: finding them, looking at one, cancelling and retrying it."""

from __future__ import annotations

import re
from typing import Final

from flask import Response, request, url_for

from warren.events import State
from warren_server.api import jobs as jobs_api
from warren_server.api import views
from warren_server.api.caller import tenant
from warren_server.api.problems import Refusal, refusal_for
from warren_server.api.requests import JobsQuery, is_job_id, validate
from warren_server.api.retries import changes_of
from warren_server.dashboard import NAME
from warren_server.dashboard.forms import given, wrong
from warren_server.dashboard.retrying import editing, editing_failed, retry_request, trace_link
from warren_server.dashboard.site import Site, lead

STATES: Final = tuple(state.value for state in State)
_PREFIX: Final = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}", re.ASCII)


def add(site: Site) -> None:
    """Add the pages."""
    _add_list(site)
    _add_job(site)


def _add_list(site: Site) -> None:
    parts = site.parts

    @site.page("/ui/jobs")
    def jobs() -> Response:
        search = request.args.get("q", "").strip().lower()
        if is_job_id(search):
            return lead(url_for(f"{NAME}.job", job=search))
        typed = given(request.args, ("state", "queue", "task", "cursor"))
        refused: Refusal | None = None
        found: views.Document = {"jobs": [], "cursor": None}
        try:
            if search and not _PREFIX.fullmatch(search):
                raise wrong("q", "job id", "must be a job's id, or its first four letters or more")
            found = jobs_api.page(parts.jobs, validate(JobsQuery, typed), tenant(), search or None)
        except Refusal as refusal:
            refused = refusal
        return site.render(
            "jobs.html",
            200 if refused is None else refused.status,
            found=found,
            typed={**typed, "q": search},
            states=STATES,
            queues=list(parts.queues.states())[:200],
            tasks=[task.name for task in parts.config.tasks.all()][:200],
            refused=refused,
        )


def _add_job(site: Site) -> None:
    parts = site.parts

    @site.page("/ui/jobs/<job>")
    def job(job: str) -> Response:
        return _show(job)

    @site.action("/ui/jobs/<job>/cancel", "submit")
    def cancel_job(job: str) -> Response:
        if not is_job_id(job):
            raise _unknown(job)
        parts.canceller.cancel(job)
        return site.done("cancelled", "job", job=job)

    @site.action("/ui/jobs/<job>/retry", "submit")
    def retry_job(job: str) -> Response:
        if not is_job_id(job):
            raise _unknown(job)
        try:
            parts.retrier.retry_job(job, changes_of(retry_request(request.form, parts.letters.get(job))))
        except Exception as error:
            if not editing_failed(error):
                raise
            return _show(job, refusal_for(error))
        return site.done("retried", "job", job=job)

    def _show(job: str, refused: Refusal | None = None) -> Response:
        found = parts.jobs.get(job) if is_job_id(job) else None
        if found is None:
            raise _unknown(job)
        shown = views.job(*found)
        letter = parts.letters.get(job) if shown["state"] == State.DEAD else None
        return site.render(
            "job.html",
            200 if refused is None else refused.status,
            job=shown,
            tenant=found[0]["tenant"],
            final=State(shown["state"]).final,
            letter=letter is not None,
            editing=None if letter is None else editing(letter, request.form),
            trace=None if letter is None else trace_link(letter, parts.config.offer.trace_url),
            refused=refused,
        )


def _unknown(job: str) -> Refusal:
    return Refusal("unknown-job", f"there is no job {job!r:.100}")
