"""Tasks: their schema, and a form that submits a job."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from flask import Response, request

from warren_server.api import jobs as jobs_api
from warren_server.api import views
from warren_server.api.problems import Refusal, refusal_for
from warren_server.api.requests import JobRequest, validate
from warren_server.dashboard import arguments
from warren_server.dashboard.forms import given, numbers
from warren_server.dashboard.paging import page
from warren_server.dashboard.retrying import editing_failed
from warren_server.dashboard.site import Site
from warren_server.idempotency import Post, read_key
from warren_server.tasks import KnownTask

logger = logging.getLogger(__name__)

_OPTIONS = ("queue", "delay", "priority", "timeout", "max_attempts", "expires_in")


def add(site: Site) -> None:
    """Add the pages."""
    parts = site.parts

    @site.page("/ui/tasks")
    def tasks() -> Response:
        listed = page(parts.config.tasks.all(), request.args.get("page"))
        return site.render("tasks.html", listed=listed)

    @site.page("/ui/tasks/<task>")
    def task(task: str) -> Response:
        return _show(parts.config.tasks.get(task))

    @site.action("/ui/tasks/<task>/submit", "submit")
    def submit_job(task: str) -> Response:
        known = parts.config.tasks.get(task)
        try:
            document = _document(known)
            # The form's own key: sent twice, it submits one job.
            key = read_key(request.form.get("key"))
            post = Post(tenant=None, endpoint="jobs", key=key, document=document, single=True)
            reply = parts.keys.submit(post, [validate(JobRequest, document)], jobs_api.single)
        except Exception as error:
            if not editing_failed(error):
                raise
            return _show(known, refusal_for(error))
        if "tracking" in reply.document:
            return site.done("deferred", "task", task=task)
        return site.done("submitted", "job", job=reply.document["id"])

    def _show(known: KnownTask, refused: Refusal | None = None) -> Response:
        return site.render(
            "task.html",
            200 if refused is None else refused.status,
            task=views.task(known),
            fields=arguments.fields(known.schema, request.form),
            key=secrets.token_urlsafe(16),
            typed={name: request.form.get(name, "") for name in _OPTIONS},
            refused=refused,
        )


def _document(task: KnownTask) -> dict[str, Any]:
    """Read the form as the body of a submit."""
    options = numbers(
        given(request.form, _OPTIONS),
        whole=("delay", "priority", "max_attempts"),
        decimal=("timeout", "expires_in"),
    )
    return {"task": task.name, "arguments": arguments.read(task.name, task.schema, request.form), **options}
