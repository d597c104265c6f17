"""What clients, and files, may say of a schedule, and how strictly it is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from warren.envelope import MAX_PRIORITY
from warren_server.api.requests import Moment, QueueName, TaskName
from warren_server.schedules.schedule import Definition
from warren_server.schedules.timing import check_cron, check_timezone

SCHEDULE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}", re.ASCII)

_YEAR_SECONDS: Final = 366 * 86400
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def _checked(check: Callable[[str], None]) -> AfterValidator:
    def run(value: str) -> str:
        check(value)
        return value

    return AfterValidator(run)


def _start(value: datetime) -> datetime:
    if not _FIRST <= value < _LAST:
        raise ValueError("must be between the years 1970 and 2200")
    return value


class ScheduleRequest(BaseModel):
    """A schedule, by `cron` or by `interval`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: TaskName
    """Name of the task."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments by name, checked against the task's schema."""
    cron: Annotated[str, _checked(check_cron)] | None = None
    """Cron expression: minute, hour, day of month, month, day of week; with a sixth field in front, seconds."""
    interval: Annotated[int, Field(ge=1, le=_YEAR_SECONDS)] | None = None
    """Whole seconds from tick to tick, instead of `cron`."""
    timezone: Annotated[str, _checked(check_timezone)] = "UTC"
    """IANA time zone that `cron` is meant in."""
    start: Annotated[Moment, AfterValidator(_start)] | None = None
    """No tick comes before it, and intervals count from it; when the schedule is made unless given."""
    jitter: Annotated[int, Field(ge=0, le=86400)] = 0
    """Most seconds by which the job of a tick is delayed; how many follows from the tick."""
    catch_up: Literal["skip", "one", "all"] = "one"
    """What becomes of ticks missed while no server ran or the schedule was paused: none fires, the latest does, or each
    of the latest 1000."""
    paused: bool | None = None
    """Whether it rests; as it was unless given."""
    queue: QueueName | None = None
    """Queue its jobs go to, instead of the task's."""
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] = 0
    """Higher is served first."""
    timeout: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    """Limit of one attempt in seconds, instead of the task's."""
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Runs before a job is a dead letter, instead of the task's."""
    expires_in: Annotated[float, Field(gt=0, le=_YEAR_SECONDS)] | None = None
    """Seconds after which a job is no longer worth starting."""

    @model_validator(mode="after")
    def _one_timing(self) -> ScheduleRequest:
        if (self.cron is None) == (self.interval is None):
            raise ValueError("cron and interval are two ways to say when; give one")
        return self

    def definition(self) -> Definition:
        """Return what it says as a value."""
        options = {
            "queue": self.queue,
            "priority": self.priority,
            "timeout": self.timeout,
            "max_attempts": self.max_attempts,
            "expires_in": self.expires_in,
        }
        return Definition(
            cron=self.cron,
            interval_seconds=self.interval,
            timezone=self.timezone,
            start_ms=None if self.start is None else int(self.start.timestamp() * 1000),
            jitter_seconds=self.jitter,
            catch_up=self.catch_up,
            task=self.task,
            arguments=self.arguments,
            options=options,
            paused=self.paused,
        )


class SchedulePutQuery(BaseModel):
    """How to put a schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    dry_run: bool = False
    """Check it and say what would come of it, and change nothing."""
