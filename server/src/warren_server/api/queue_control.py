"""Routes that change how queues are worked on."""

from __future__ import annotations

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.queues import existing
from warren_server.api.requests import LimitsRequest, read_body, validate
from warren_server.api.responses import answer
from warren_server.queue_control import QueueControl
from warren_server.queues import Queues
from warren_server.room import Room
from warren_server.store.queue_settings import QueueSettingsStore


def routes(queues: Queues, store: QueueSettingsStore, control: QueueControl, room: Room) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("queue_control", __name__)

    @blueprint.post("/v1/queues/<queue>/pause")
    def pause(queue: str) -> Response:
        return _paused(queue, paused=True)

    @blueprint.post("/v1/queues/<queue>/resume")
    def resume(queue: str) -> Response:
        return _paused(queue, paused=False)

    def _paused(queue: str, *, paused: bool) -> Response:
        state = existing(queues, queue)
        settings = control.pause(queue, paused=paused)
        return answer(views.queue(queue, state, None, settings, queues.all_states()))

    @blueprint.post("/v1/queues/<queue>/purge")
    def purge(queue: str) -> Response:
        state = existing(queues, queue)
        paused = store.get(queue).paused
        before_ms = control.purge(queue)
        document = {"queue": queue, "before": views.time(before_ms), "ready": state.ready, "paused": paused}
        return answer(document, 202)

    @blueprint.get("/v1/queues/<queue>/limits")
    def get_limits(queue: str) -> Response:
        existing(queues, queue)
        return answer(views.limits(store.get(queue)))

    @blueprint.put("/v1/queues/<queue>/limits")
    def put_limits(queue: str) -> Response:
        wanted = validate(LimitsRequest, read_body(request))
        existing(queues, queue)
        changed = control.limit(
            queue,
            {
                "priority": wanted.priority or 0,
                "max_length": wanted.max_length,
                "concurrency": wanted.concurrency,
                "rate_count": None if wanted.rate is None else wanted.rate.count,
                "rate_seconds": None if wanted.rate is None else wanted.rate.seconds,
            },
        )
        # This process heeds a new length at once, the others within a second.
        room.refresh()
        return answer(views.limits(changed))

    return blueprint
