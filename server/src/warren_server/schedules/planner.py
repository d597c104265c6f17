"""The planner: what users may do with schedules, each a short transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from warren.errors import Problem, Unroutable
from warren_server.api.problems import Refusal
from warren_server.queues import Queues
from warren_server.schedules.job import check_job, job_request
from warren_server.schedules.schedule import Change, Definition, Schedule, change, put, set_paused
from warren_server.store.schedules import ScheduleStore
from warren_server.store.ticks import Tick, TickStore
from warren_server.submit import Accepted, Submitter
from warren_server.tasks import KnownTasks

LAST_TICKS = 20


class Planner:
    """Makes, changes and removes schedules.

    Args:
        schedules: Where they are kept.
        ticks: Where their ticks are.
        submitter: Takes the jobs that are run at once.
        tasks: The tasks they may be for.
        queues: The queues their jobs may go to.
        on_change: Called after each change.
        clock: The time in milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        schedules: ScheduleStore,
        ticks: TickStore,
        submitter: Submitter,
        tasks: KnownTasks,
        queues: Queues,
        on_change: Callable[[], None],
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._schedules = schedules
        self._ticks = ticks
        self._submitter = submitter
        self._tasks = tasks
        self._queues = queues
        self._on_change = on_change
        self._clock = clock

    def all(self) -> list[Schedule]:
        """Return all schedules, by name."""
        return self._schedules.all()

    def get(self, name: str) -> tuple[Schedule, list[Tick]]:
        """Return a schedule and its last ticks, the latest first.

        Raises:
            Refusal: There is no such schedule.
        """
        schedule = _known(self._schedules.get(name), name)
        return schedule, self._ticks.last(name, LAST_TICKS)

    def put(self, name: str, definition: Definition, *, dry_run: bool = False) -> tuple[Schedule, Change]:
        """Make a schedule or change it.

        Args:
            name: Its name.
            definition: What it is to be.
            dry_run: Only check, and say what would come of it.

        Raises:
            Refusal: It breaks a rule, or is declared in a file.
            InvalidArguments: The arguments do not fit the task.
            TransportError: The broker does not say whether its queue exists.
        """
        check_job(definition, self._tasks)
        self._check_queue(definition)
        if dry_run:
            old = self._schedules.get(name)
            new = self._put(old, name, definition)
        else:
            old, edited = self._schedules.edit(name, lambda found: self._put(found, name, definition))
            assert edited is not None  # noqa: S101 - a put never removes
            new = edited
            self._on_change()
        return new, change(old, new)

    def delete(self, name: str) -> None:
        """Remove a schedule with its ticks; jobs that were submitted stay.

        Raises:
            Refusal: There is no such schedule, or it is declared in a file.
        """

        def remove(old: Schedule | None) -> None:
            _refuse_declared(_known(old, name))

        self._schedules.edit(name, remove)
        self._on_change()

    def set_paused(self, name: str, *, paused: bool) -> Schedule:
        """Let a schedule rest, or go on.

        Raises:
            Refusal: There is no such schedule.
        """

        def set_it(old: Schedule | None) -> Schedule:
            return set_paused(_known(old, name), paused=paused, now_ms=self._clock())

        _, new = self._schedules.edit(name, set_it)
        self._on_change()
        return _known(new, name)

    def run(self, name: str) -> Accepted:
        """Submit one job of a schedule now, outside its ticks, also while it is paused.

        Raises:
            Refusal: There is no such schedule, or the job breaks a rule.
            WarrenError: As for any submit.
        """
        schedule = _known(self._schedules.get(name), name)
        return self._submitter.submit(job_request(schedule.definition))

    def _put(self, old: Schedule | None, name: str, definition: Definition) -> Schedule:
        if old is not None:
            _refuse_declared(old)
        return put(old, name, definition, None, self._clock())

    def _check_queue(self, definition: Definition) -> None:
        queue = definition.options.get("queue")
        if queue is None:
            return
        try:
            self._queues.check(queue)
        except Unroutable as error:
            problem = Problem(field="queue", rule="unknown_queue", message=str(error))
            raise Refusal("invalid-request", f"queue: {error}", problems=[problem]) from error


def _known(schedule: Schedule | None, name: str) -> Schedule:
    if schedule is None:
        raise Refusal("unknown-schedule", f"there is no schedule {name!r:.120}")
    return schedule


def _refuse_declared(schedule: Schedule) -> None:
    if schedule.file is not None:
        raise Refusal(
            "schedule-from-file",
            f"schedule {schedule.name!r} is declared in {schedule.file}; change it there and restart the servers",
        )
