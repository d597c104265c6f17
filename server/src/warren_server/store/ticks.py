"""Ticks in the store: who fires which, and what came of it.

A tick is claimed by moving its schedule's `next_ms` and inserting the tick, in one transaction: of any number of
servers that try, the row lets one through. A claim is a lease: what its server did not finish in time, another one
does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, select, update

from warren_server.schedules.catch_up import Plan, job_id
from warren_server.schedules.schedule import Schedule
from warren_server.store.engine import Database
from warren_server.store.schedules import read
from warren_server.store.schema import schedules, ticks

TickState = Literal["claimed", "fired", "refused"]

MAX_OPEN: Final = 100
"""Ticks of a schedule that wait for the broker to take them; while there are more, none is claimed."""
KEEP: Final = 100
KEEP_SECONDS: Final = 7 * 86400
_LOOK: Final = 500
_PRUNE_SCHEDULES: Final = 200
_PRUNE_TICKS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A tick that was claimed.

    Attributes:
        schedule: Name of its schedule.
        tick_ms: Its time.
        job: Id of its job.
        state: What came of it so far.
        claimed_ms: When it was claimed first.
        lease_ms: Until when the claim holds.
        fired_ms: When the broker had taken its job.
        error: Why it was refused, or why it waits.
    """

    schedule: str
    tick_ms: int
    job: str
    state: TickState
    claimed_ms: int
    lease_ms: int
    fired_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What is to be done now, and when to look again.

    Attributes:
        due: Schedules with ticks that are due, the longest due first; none with `MAX_OPEN` ticks that wait.
        left: Ticks whose claim ran out, with their schedules.
        next_ms: First tick that is not due yet, or None.
    """

    due: Sequence[Schedule]
    left: Sequence[tuple[Schedule, Tick]]
    next_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a tick.

    Attributes:
        tick: The tick.
        state: `claimed` when it is to be tried again.
        fired_ms: When the broker had taken its job.
        lease_ms: When to try again.
        error: What went wrong.
    """

    tick: Tick
    state: TickState
    fired_ms: int | None = None
    lease_ms: int = 0
    error: str | None = None


class TickStore:
    """The ticks table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def agenda(self, now_ms: int) -> Agenda:
        """Look what is to be done."""
        awake = schedules.c.paused.is_(False)
        waiting = select(ticks.c.schedule).where(ticks.c.state == "claimed").group_by(ticks.c.schedule)
        crowded = waiting.having(func.count() >= MAX_OPEN)
        due = (
            select(schedules)
            .where(awake, schedules.c.next_ms <= now_ms, schedules.c.name.not_in(crowded))
            .order_by(schedules.c.next_ms, schedules.c.name)
            .limit(_LOOK)
        )
        left = (
            select(ticks)
            .where(ticks.c.state == "claimed", ticks.c.lease_ms <= now_ms)
            .order_by(ticks.c.lease_ms, ticks.c.schedule, ticks.c.tick_ms)
            .limit(_LOOK)
        )
        following = select(func.min(schedules.c.next_ms)).where(awake, schedules.c.next_ms > now_ms)
        with self._database.read() as connection:
            found = [read(row) for row in connection.execute(due).mappings()]
            expired = [Tick(**row) for row in connection.execute(left).mappings()]
            owners = _schedules(connection, {tick.schedule for tick in expired})
            return Agenda(
                due=found,
                left=[(owners[tick.schedule], tick) for tick in expired if tick.schedule in owners],
                next_ms=connection.scalar(following),
            )

    def claim(
        self, plans: Sequence[tuple[Schedule, Plan]], now_ms: int, lease_ms: int
    ) -> tuple[set[str], list[tuple[Schedule, Tick]]]:
        """Claim the ticks of plans, in one transaction.

        Args:
            plans: Schedules as they were read, with what to do about their ticks.
            now_ms: The time.
            lease_ms: Until when the claims hold.

        Returns:
            Names of the schedules that were moved on, and the ticks that are now this server's to fire. Not among them
            are schedules that another server has dealt with, or that were changed meanwhile.
        """
        moved, claimed = set(), []
        with self._database.write() as connection:
            # By name, so that servers wait for each other in turn and never in a circle.
            for schedule, plan in sorted(plans, key=lambda item: item[0].name):
                if _move(connection, schedule, plan):
                    moved.add(schedule.name)
                    fresh = _unknown(connection, schedule, plan)
                    claimed += [(schedule, _tick(schedule, tick_ms, now_ms, lease_ms)) for tick_ms in fresh]
            if claimed:
                connection.execute(insert(ticks), [_row(tick) for _, tick in claimed])
        return moved, claimed

    def take_over(self, tick: Tick, lease_ms: int) -> bool:
        """Claim a tick whose claim ran out; False when another server was faster."""
        taken = (
            update(ticks)
            .where(_is(tick), ticks.c.state == "claimed", ticks.c.lease_ms == tick.lease_ms)
            .values(lease_ms=lease_ms)
        )
        with self._database.write() as connection:
            return bool(connection.execute(taken).rowcount)

    def settle(self, results: Sequence[Result]) -> None:
        """Write down what came of ticks, in one transaction."""
        with self._database.write() as connection:
            for result in sorted(results, key=lambda result: (result.tick.schedule, result.tick.tick_ms)):
                values = {"state": result.state, "fired_ms": result.fired_ms, "error": result.error}
                if result.state == "claimed":
                    values["lease_ms"] = result.lease_ms
                connection.execute(update(ticks).where(_is(result.tick), ticks.c.state == "claimed").values(**values))

    def last(self, schedule: str, most: int) -> list[Tick]:
        """Return a schedule's ticks, the latest first."""
        found = select(ticks).where(ticks.c.schedule == schedule).order_by(ticks.c.tick_ms.desc()).limit(most)
        with self._database.read() as connection:
            return [Tick(**row) for row in connection.execute(found).mappings()]

    def prune(self, now_ms: int) -> int:
        """Forget old ticks: all but the last `KEEP` of a schedule, and whatever is older than `KEEP_SECONDS`.

        Returns:
            How many were forgotten; a bounded number, the rest goes next time.
        """
        done = ticks.c.state != "claimed"
        crowded = (
            select(ticks.c.schedule)
            .where(done)
            .group_by(ticks.c.schedule)
            .having(func.count() > KEEP)
            .order_by(ticks.c.schedule)
            .limit(_PRUNE_SCHEDULES)
        )
        with self._database.read() as connection:
            names = list(connection.scalars(crowded))
            oldest = [(name, connection.scalar(_oldest_kept(name))) for name in names]
        forgotten = self._forget(and_(done, ticks.c.tick_ms < now_ms - KEEP_SECONDS * 1000))
        for name, tick_ms in oldest:
            forgotten += self._forget(and_(done, ticks.c.schedule == name, ticks.c.tick_ms < tick_ms))
        return forgotten

    def _forget(self, which: ColumnElement[bool]) -> int:
        old = select(ticks.c.schedule, ticks.c.tick_ms).where(which).limit(_PRUNE_TICKS)
        with self._database.read() as connection:
            keys = [(name, tick_ms) for name, tick_ms in connection.execute(old)]
        if not keys:
            return 0
        with self._database.write() as connection:
            this = and_(ticks.c.schedule == bindparam("name"), ticks.c.tick_ms == bindparam("at_ms"))
            connection.execute(
                delete(ticks).where(this), [{"name": name, "at_ms": at_ms} for name, at_ms in sorted(keys)]
            )
        return len(keys)


def _move(connection: Connection, schedule: Schedule, plan: Plan) -> bool:
    """Move a schedule on by its plan, unless it is no longer as it was read."""
    as_read = and_(
        schedules.c.name == schedule.name,
        schedules.c.created_ms == schedule.created_ms,
        schedules.c.updated_ms == schedule.updated_ms,
        schedules.c.next_ms == schedule.next_ms,
        schedules.c.paused.is_(False),
    )
    return bool(connection.execute(update(schedules).where(as_read).values(next_ms=plan.next_ms)).rowcount)


def _unknown(connection: Connection, schedule: Schedule, plan: Plan) -> list[int]:
    """Return the ticks of a plan that nobody has claimed before."""
    if not plan.fire:
        return []
    known = select(ticks.c.tick_ms).where(ticks.c.schedule == schedule.name, ticks.c.tick_ms.in_(plan.fire))
    before = set(connection.scalars(known))
    return [tick_ms for tick_ms in plan.fire if tick_ms not in before]


def _tick(schedule: Schedule, tick_ms: int, now_ms: int, lease_ms: int) -> Tick:
    return Tick(
        schedule=schedule.name,
        tick_ms=tick_ms,
        job=job_id(schedule.name, schedule.created_ms, tick_ms),
        state="claimed",
        claimed_ms=now_ms,
        lease_ms=lease_ms,
    )


def _schedules(connection: Connection, names: set[str]) -> dict[str, Schedule]:
    if not names:
        return {}
    found = connection.execute(select(schedules).where(schedules.c.name.in_(sorted(names)))).mappings()
    return {row["name"]: read(row) for row in found}


def _oldest_kept(name: str) -> Select[int]:
    done = select(ticks.c.tick_ms).where(ticks.c.schedule == name, ticks.c.state != "claimed")
    return done.order_by(ticks.c.tick_ms.desc()).offset(KEEP - 1).limit(1)


def _is(tick: Tick) -> ColumnElement[bool]:
    return and_(ticks.c.schedule == tick.schedule, ticks.c.tick_ms == tick.tick_ms)


def _row(tick: Tick) -> dict[str, object]:
    return {column.name: getattr(tick, column.name) for column in ticks.c}
