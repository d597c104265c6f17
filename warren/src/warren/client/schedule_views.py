"""Schedules as the server tells of them, and as it is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict


class ScheduleDefinition(TypedDict, total=False):
    """What a schedule is to be; `task` and one of `cron` and `interval` must be there.

    Attributes:
        cron: Cron expression: minute, hour, day of month, month, day of week; with a sixth field in front, seconds.
        interval: Whole seconds from tick to tick, instead of `cron`.
        timezone: IANA time zone that `cron` is meant in.
        start: No tick comes before it, RFC 3339; intervals count from it.
        jitter: Most seconds by which the job of a tick is delayed.
        catch_up: What becomes of missed ticks: `skip`, `one` or `all`.
        task: Name of the task.
        arguments: Its arguments.
        queue: Queue its jobs go to, instead of the task's.
        priority: 0 to 9, higher is served first.
        timeout: Limit of one attempt in seconds.
        max_attempts: Runs before a job is a dead letter.
        expires_in: Seconds after which a job is no longer worth starting.
        paused: Whether it rests; as it was unless given.
    """

    cron: str
    interval: int
    timezone: str
    start: str
    jitter: int
    catch_up: str
    task: str
    arguments: Mapping[str, Any]
    queue: str
    priority: int
    timeout: float
    max_attempts: int
    expires_in: float
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TickView:
    """A tick of a schedule.

    Attributes:
        at: Its time.
        state: `claimed` while its job is on its way, `fired`, or `refused` for good.
        job: Id of its job.
        fired_at: When the broker had taken its job.
        error: Why it was refused, or why it waits.
    """

    at: datetime | None
    state: str
    job: str
    fired_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule as the server knows it now.

    Attributes:
        name: Its name.
        source: `api`, or `file` when a file of the server declares it.
        file: That file.
        cron: Its cron expression, or None.
        interval: Its seconds from tick to tick, or None.
        timezone: Time zone of the expression.
        start: No tick comes before it.
        jitter: Most seconds by which the job of a tick is delayed.
        catch_up: What becomes of missed ticks.
        task: Name of its task.
        arguments: Arguments of its jobs.
        queue: Queue its jobs go to, instead of the task's.
        priority: Priority of its jobs.
        timeout: Limit of one attempt in seconds.
        max_attempts: Runs before a job is a dead letter.
        expires_in: Seconds after which a job is no longer worth starting.
        paused: Whether it rests.
        created_at: When it was made.
        updated_at: When it was changed last.
        next_at: Its next tick, or None while it rests.
        next_ticks: Ticks to come, when it was asked for by name or put.
        last_ticks: Its last ticks, latest first, when it was asked for by name.
        change: What came of a put: `created`, `changed` or `unchanged`.
    """

    name: str
    source: str = "api"
    file: str | None = None
    cron: str | None = None
    interval: int | None = None
    timezone: str = "UTC"
    start: datetime | None = None
    jitter: int = 0
    catch_up: str = "one"
    task: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int = 0
    timeout: float | None = None
    max_attempts: int | None = None
    expires_in: float | None = None
    paused: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    next_at: datetime | None = None
    next_ticks: tuple[datetime | None, ...] = ()
    last_ticks: tuple[TickView, ...] = ()
    change: str | None = None


_PLAIN = (
    "source", "file", "cron", "interval", "timezone", "jitter", "catch_up", "task", "arguments", "queue", "priority",
    "timeout", "max_attempts", "expires_in", "paused", "change",
)  # fmt: skip


def read_schedule(document: Mapping[str, Any]) -> ScheduleView:
    """Read a schedule.

    Raises:
        KeyError, TypeError, ValueError: The document is no schedule.
    """
    return ScheduleView(
        name=str(document["name"]),
        **{name: document[name] for name in _PLAIN if name in document},
        start=_time(document.get("start")),
        created_at=_time(document.get("created_at")),
        updated_at=_time(document.get("updated_at")),
        next_at=_time(document.get("next_at")),
        next_ticks=tuple(_time(tick) for tick in document.get("next_ticks") or ()),
        last_ticks=tuple(_tick(tick) for tick in document.get("last_ticks") or ()),
    )


def _tick(document: Mapping[str, Any]) -> TickView:
    return TickView(
        at=_time(document["at"]),
        state=str(document["state"]),
        job=str(document["job"]),
        fired_at=_time(document.get("fired_at")),
        error=document.get("error"),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
