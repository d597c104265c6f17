"""Routes for queues and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from flask import Blueprint, Response

from warren.envelope import QUEUE_NAME
from warren_server.api import views
from warren_server.api.problems import Refusal
from warren_server.api.responses import answer
from warren_server.api.views import Document
from warren_server.errors import StoreDown
from warren_server.queues import Queues, QueueState
from warren_server.store.jobs import JobStore
from warren_server.store.queue_settings import QueueSettings, QueueSettingsStore
from warren_server.tasks import KnownTasks

Counts: TypeAlias = Mapping[str, Mapping[str, int]]
"""How many jobs are in which state, by queue."""


def routes(queues: Queues, tasks: KnownTasks, jobs: JobStore, settings: QueueSettingsStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("queues", __name__)

    @blueprint.get("/v1/tasks")
    def list_tasks() -> Response:
        return answer({"tasks": [views.task(task) for task in tasks.all()]})

    @blueprint.get("/v1/queues")
    def list_queues() -> Response:
        return answer({"queues": all_queues(queues, counts_of(jobs), settings_of(settings))})

    @blueprint.get("/v1/queues/<queue>")
    def get_queue(queue: str) -> Response:
        return answer(one_queue(queues, queue, counts_of(jobs), settings_of(settings)))

    return blueprint


def all_queues(queues: Queues, counts: Counts | None, known: Mapping[str, QueueSettings] | None) -> list[Document]:
    """Show all queues; counts and settings are None when the store is away."""
    depths = queues.all_states()
    return [
        views.queue(name, state, _of(counts, name), _settings(known, name), depths)
        for name, state in queues.states().items()
    ]


def one_queue(queues: Queues, queue: str, counts: Counts | None, known: Mapping[str, QueueSettings] | None) -> Document:
    """Show a queue; counts and settings are None when the store is away.

    Raises:
        Refusal: There is none of that name.
    """
    state = existing(queues, queue)
    return views.queue(queue, state, _of(counts, queue), _settings(known, queue), queues.all_states())


def existing(queues: Queues, queue: str) -> QueueState:
    """Return the state of a queue.

    Raises:
        Refusal: There is none of that name.
    """
    state = queues.state(queue) if QUEUE_NAME.fullmatch(queue) else None
    if state is None:
        raise Refusal("unknown-queue", f"there is no queue {queue!r:.200}")
    return state


def settings_of(store: QueueSettingsStore) -> Mapping[str, QueueSettings] | None:
    """Read how queues are worked on; without the store the broker's side is still worth an answer."""
    try:
        return store.all()
    except StoreDown:
        return None


def _settings(known: Mapping[str, QueueSettings] | None, queue: str) -> QueueSettings | None:
    return None if known is None else known.get(queue, QueueSettings(queue=queue))


def counts_of(jobs: JobStore) -> Counts | None:
    """Count jobs; without the store the broker's side is still worth an answer."""
    try:
        return jobs.counts()
    except StoreDown:
        return None


def _of(counts: Counts | None, queue: str) -> Mapping[str, int] | None:
    return None if counts is None else counts.get(queue, {})
