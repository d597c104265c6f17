"""Schedules as the documents clients see: described for OpenAPI, and made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from warren_server.api.documents import Described, Time
from warren_server.api.views import Document, job_url, time
from warren_server.schedules.schedule import Change, Schedule
from warren_server.store.ticks import Tick


class ScheduleDocument(Described):
    """A schedule."""

    name: str
    source: Literal["api", "file"]
    file: str | None
    cron: str | None
    interval: int | None
    timezone: str
    start: Time | None
    jitter: int
    catch_up: Literal["skip", "one", "all"]
    task: str
    arguments: dict[str, Any]
    queue: str | None
    priority: int
    timeout: float | None
    max_attempts: int | None
    expires_in: float | None
    paused: bool
    created_at: Time | None
    updated_at: Time | None
    next_at: Time | None


class SchedulesDocument(Described):
    """The schedules, by name."""

    schedules: list[ScheduleDocument]


class SchedulePutDocument(ScheduleDocument):
    """A schedule just put, and what came of it."""

    change: Literal["created", "changed", "unchanged"]
    next_ticks: list[Time]


class TickDocument(Described):
    """A tick: `claimed` while its job is on its way, with the error it waits for, `fired`, or `refused` for good."""

    at: Time | None
    state: Literal["claimed", "fired", "refused"]
    job: str
    url: str
    fired_at: Time | None
    error: str | None


class ScheduleTicksDocument(ScheduleDocument):
    """A schedule with the ticks to come, and the last ones, latest first."""

    next_ticks: list[Time]
    last_ticks: list[TickDocument]


def schedule(known: Schedule) -> Document:
    """Show a schedule."""
    definition = known.definition
    options = definition.options
    return {
        "name": known.name,
        "source": known.source,
        "file": known.file,
        "cron": definition.cron,
        "interval": definition.interval_seconds,
        "timezone": definition.timezone,
        "start": time(definition.start_ms),
        "jitter": definition.jitter_seconds,
        "catch_up": definition.catch_up,
        "task": definition.task,
        "arguments": dict(definition.arguments),
        "queue": options.get("queue"),
        "priority": options.get("priority", 0),
        "timeout": options.get("timeout"),
        "max_attempts": options.get("max_attempts"),
        "expires_in": options.get("expires_in"),
        "paused": known.paused,
        "created_at": time(known.created_ms),
        "updated_at": time(known.updated_ms),
        "next_at": None if known.paused else time(known.next_ms),
    }


def put_schedule(known: Schedule, change: Change, next_ticks: Sequence[int]) -> Document:
    """Show a schedule just put."""
    return {**schedule(known), "change": change, "next_ticks": [time(tick) for tick in next_ticks]}


def schedule_with_ticks(known: Schedule, next_ticks: Sequence[int], last: Sequence[Tick]) -> Document:
    """Show a schedule with its ticks."""
    return {
        **schedule(known),
        "next_ticks": [time(tick) for tick in next_ticks],
        "last_ticks": [_tick(tick) for tick in last],
    }


def _tick(tick: Tick) -> Document:
    return {
        "at": time(tick.tick_ms),
        "state": tick.state,
        "job": tick.job,
        "url": job_url(tick.job),
        "fired_at": time(tick.fired_ms),
        "error": tick.error,
    }
