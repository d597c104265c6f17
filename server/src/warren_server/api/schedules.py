"""Routes for schedules."""

from __future__ import annotations

import logging
import time

from flask import Blueprint, Response, request

from warren.errors import Problem
from warren_server.api import schedule_documents, views
from warren_server.api.problems import Refusal
from warren_server.api.requests import query, read_body, validate
from warren_server.api.responses import answer
from warren_server.api.schedule_requests import SCHEDULE_NAME, SchedulePutQuery, ScheduleRequest
from warren_server.schedules.planner import Planner
from warren_server.schedules.schedule import Schedule
from warren_server.schedules.timing import upcoming

logger = logging.getLogger(__name__)

NEXT_TICKS = 5


def routes(planner: Planner) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("schedules", __name__)

    @blueprint.get("/v1/schedules")
    def list_schedules() -> Response:
        return answer({"schedules": [schedule_documents.schedule(found) for found in planner.all()]})

    @blueprint.put("/v1/schedules/<schedule>")
    def put_schedule(schedule: str) -> Response:
        asked = query(SchedulePutQuery, request)
        definition = validate(ScheduleRequest, read_body(request)).definition()
        new, change = planner.put(_new_name(schedule), definition, dry_run=asked.dry_run)
        if not asked.dry_run:
            logger.info("schedule %s %s", schedule, change, extra={"event": f"schedule_{change}", "schedule": schedule})
        document = schedule_documents.put_schedule(new, change, next_ticks(new))
        return answer(document, 201 if change == "created" and not asked.dry_run else 200)

    @blueprint.get("/v1/schedules/<schedule>")
    def get_schedule(schedule: str) -> Response:
        found, last = planner.get(known_name(schedule))
        return answer(schedule_documents.schedule_with_ticks(found, next_ticks(found), last))

    @blueprint.delete("/v1/schedules/<schedule>")
    def delete_schedule(schedule: str) -> Response:
        planner.delete(known_name(schedule))
        logger.info("schedule %s deleted", schedule, extra={"event": "schedule_deleted", "schedule": schedule})
        return Response(status=204)

    @blueprint.post("/v1/schedules/<schedule>/pause")
    def pause_schedule(schedule: str) -> Response:
        return answer(schedule_documents.schedule(planner.set_paused(known_name(schedule), paused=True)))

    @blueprint.post("/v1/schedules/<schedule>/resume")
    def resume_schedule(schedule: str) -> Response:
        return answer(schedule_documents.schedule(planner.set_paused(known_name(schedule), paused=False)))

    @blueprint.post("/v1/schedules/<schedule>/run")
    def run_schedule(schedule: str) -> Response:
        document = views.accepted(planner.run(known_name(schedule)))
        return answer(document, 202, {"Location": document["url"]})

    return blueprint


def known_name(text: str) -> str:
    """Return a name that a schedule may have.

    Raises:
        Refusal: No schedule can have it.
    """
    if not SCHEDULE_NAME.fullmatch(text):
        raise Refusal("unknown-schedule", f"there is no schedule {text!r:.120}")
    return text


def _new_name(text: str) -> str:
    if not SCHEDULE_NAME.fullmatch(text):
        message = f"is no name of a schedule: must match {SCHEDULE_NAME.pattern}"
        problem = Problem(field="name", rule="name", message=message)
        raise Refusal("invalid-request", f"name {text!r:.120} {message}", problems=[problem])
    return text


def next_ticks(schedule: Schedule) -> list[int]:
    """Return the ticks to come from now on; of a paused schedule those that would."""
    return upcoming(schedule.timing, time.time_ns() // 1_000_000, NEXT_TICKS)
