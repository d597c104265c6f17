"""Routes for queues and tasks."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from warren.envelope import QUEUE_NAME
from warren_server.api import views
from warren_server.api.problems import Refusal
from warren_server.api.responses import answer
from warren_server.errors import StoreDown
from warren_server.queues import Queues
from warren_server.store.jobs import JobStore
from warren_server.tasks import KnownTasks


def routes(queues: Queues, tasks: KnownTasks, jobs: JobStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("queues", __name__)

    @blueprint.get("/v1/tasks")
    def list_tasks() -> Response:
        return answer({"tasks": [views.task(task) for task in tasks.all()]})

    @blueprint.get("/v1/queues")
    def list_queues() -> Response:
        counts = _counts(jobs)
        states = queues.states()
        return answer({"queues": [views.queue(name, state, _of(counts, name)) for name, state in states.items()]})

    @blueprint.get("/v1/queues/<queue>")
    def get_queue(queue: str) -> Response:
        state = queues.state(queue) if QUEUE_NAME.fullmatch(queue) else None
        if state is None:
            raise Refusal("unknown-queue", f"there is no queue {queue!r:.200}")
        return answer(views.queue(queue, state, _of(_counts(jobs), queue)))

    return blueprint


def _counts(jobs: JobStore) -> Mapping[str, Mapping[str, int]] | None:
    """Count jobs; without the store the broker's side is still worth an answer."""
    try:
        return jobs.counts()
    except StoreDown:
        return None


def _of(counts: Mapping[str, Mapping[str, int]] | None, queue: str) -> Mapping[str, int] | None:
    return None if counts is None else counts.get(queue, {})
