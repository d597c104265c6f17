"""The tutorial's route, kept as it was where Warren comes from; only with `WARREN_TUTORIAL=1`."""

from __future__ import annotations

from flask import Blueprint, Response

from warren_server.api import views
from warren_server.api.caller import tenant
from warren_server.api.requests import JobRequest, validate
from warren_server.api.responses import answer
from warren_server.submit import Identity, Submitter


def routes(submitter: Submitter) -> Blueprint:
    """Make the route."""
    blueprint = Blueprint("tutorial", __name__)

    @blueprint.get("/add-job/<cmd>")
    def add_job(cmd: str) -> Response:
        taken = submitter.submit(
            validate(JobRequest, {"task": "greet", "arguments": {"cmd": cmd}}), Identity(tenant=tenant())
        )
        document = views.accepted(taken)
        return answer(document, 202, {"Location": document["url"]})

    return blueprint
