"""A schedule as a value, and what changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from warren_server.schedules.catch_up import CatchUp
from warren_server.schedules.timing import Timing, next_tick

Change = Literal["created", "changed", "unchanged"]

API: Final = "api"
FILE: Final = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a user says of a schedule.

    Attributes:
        cron: Cron expression, or None.
        interval_seconds: Seconds from tick to tick, or None; one of the two is given.
        timezone: IANA time zone of the expression.
        start_ms: No tick before it, intervals count from it; None for the schedule's making.
        jitter_seconds: Most seconds by which a tick's job is delayed.
        catch_up: What becomes of missed ticks.
        task: Name of the task.
        arguments: Its arguments.
        options: Options of its jobs, as a submit takes them.
        paused: Whether it rests; None for as it was.
    """

    cron: str | None = None
    interval_seconds: int | None = None
    timezone: str = "UTC"
    start_ms: int | None = None
    jitter_seconds: int = 0
    catch_up: CatchUp = "one"
    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    paused: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as the store has it.

    Attributes:
        name: Its name.
        definition: What its user said; `paused` is never None here.
        file: The file it comes from; None when it was made by the API.
        created_ms: When it was made.
        updated_ms: When it was changed last; no two changes share a time.
        next_ms: First tick that was not dealt with; None when there is none.
    """

    name: str
    definition: Definition
    file: str | None = None
    created_ms: int
    updated_ms: int
    next_ms: int | None

    @property
    def source(self) -> str:
        """Where it comes from."""
        return API if self.file is None else FILE

    @property
    def paused(self) -> bool:
        """Whether it rests."""
        return bool(self.definition.paused)

    @property
    def timing(self) -> Timing:
        """When it ticks."""
        start_ms = self.definition.start_ms
        return Timing(
            cron=self.definition.cron,
            interval_seconds=self.definition.interval_seconds,
            timezone=self.definition.timezone,
            # Whole seconds: ticks at 12:00:07 are easier to follow than those at 12:00:07.393.
            anchor_ms=self.created_ms // 1000 * 1000 if start_ms is None else start_ms,
        )


def put(old: Schedule | None, name: str, definition: Definition, file: str | None, now_ms: int) -> Schedule:
    """Make a schedule, or change one to what its user says now.

    One whose times stay the same keeps its place in them, so that saying the same twice changes nothing.

    Args:
        old: The schedule as it was, or None.
        name: Its name.
        definition: What its user says.
        file: The file that says so, or None.
        now_ms: The time.
    """
    if old is None:
        settled = replace(definition, paused=bool(definition.paused))
        new = Schedule(name=name, definition=settled, file=file, created_ms=now_ms, updated_ms=now_ms, next_ms=None)
        return replace(new, next_ms=next_tick(new.timing, now_ms))
    paused = old.paused if definition.paused is None else definition.paused
    new = replace(old, definition=replace(definition, paused=old.paused), file=file)
    if new.timing != old.timing:
        new = replace(new, next_ms=next_tick(new.timing, now_ms))
    new = set_paused(new, paused=paused, now_ms=now_ms)
    return old if new == old else replace(new, updated_ms=max(now_ms, old.updated_ms + 1))


def set_paused(old: Schedule, *, paused: bool, now_ms: int) -> Schedule:
    """Let a schedule rest, or go on.

    Ticks that came meanwhile were missed: with `skip` it goes on with the next one, else its policy decides.
    """
    if paused == old.paused:
        return old
    new = replace(old, definition=replace(old.definition, paused=paused), updated_ms=max(now_ms, old.updated_ms + 1))
    if not paused and new.definition.catch_up == "skip":
        return replace(new, next_ms=next_tick(new.timing, max(now_ms, (old.next_ms or 0) - 1)))
    return new


def change(old: Schedule | None, new: Schedule) -> Change:
    """Say what became of a schedule."""
    if old is None:
        return "created"
    return "unchanged" if new == old else "changed"
