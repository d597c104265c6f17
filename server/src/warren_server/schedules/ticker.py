"""The ticker: one thread of each server process that fires what is due.

It sleeps until the next tick it knows of and looks at the store at least every second, for what other servers changed.
A tick is claimed, its job submitted under the tick's own id, and the tick marked. A server that dies in between leaves
a claim that runs out: another one looks whether the job is in the store, and submits it if not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from warren import metrics
from warren.errors import TransportError, Unroutable
from warren_server.errors import StoreDown
from warren_server.schedules.catch_up import MAX_MISSED, Plan, jitter_seconds, plan
from warren_server.schedules.job import job_request
from warren_server.schedules.schedule import Schedule
from warren_server.store.jobs import JobStore
from warren_server.store.ticks import Result, Tick, TickStore
from warren_server.submit import Accepted, Identity, Submitter
from warren_server.tasks import KnownTasks

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2
UNKNOWN_SECONDS: Final = 5
"""How long a tick is left to other servers by one that does not know its task: during a roll-out they may."""
PRUNE_SECONDS: Final = 60.0
MAX_STEP: Final = 1000
"""Ticks that one step claims."""
_MAX_ERROR: Final = 1000

Plans = list[tuple[Schedule, Plan]]


class Ticker:
    """Fires schedules; any number of processes may do it at a time.

    Args:
        ticks: Where ticks are claimed.
        jobs: Where it is looked up whether a job was submitted.
        submitter: Takes the jobs.
        tasks: The tasks this server knows.
        ready: Tells whether the broker takes jobs now.
        lease_seconds: How long a claim holds; longer than a submit takes.
        prepare: Called once there is a store, before the first tick; again until it does not raise `StoreDown`.
        clock: The time in milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        ticks: TickStore,
        jobs: JobStore,
        submitter: Submitter,
        tasks: KnownTasks,
        ready: Callable[[], bool],
        lease_seconds: float,
        prepare: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ticks = ticks
        self._jobs = jobs
        self._submitter = submitter
        self._tasks = tasks
        self._ready = ready
        self._lease_ms = int(lease_seconds * 1000)
        self._prepare = prepare
        self._clock = clock
        self._changed = threading.Condition()
        self._woken = False
        self._stopping = False
        self._prepared = False
        self._prune_at = time.monotonic() + PRUNE_SECONDS
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Idempotent."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="warren-ticker", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Finish the ticks at hand, then end. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._stopping = True
                self._changed.notify_all()
            thread.join(timeout_seconds)

    def wake(self) -> None:
        """Look at the schedules now: they changed."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def step(self) -> float:
        """Fire what is due, and return the seconds until it is worth looking again.

        Raises:
            StoreDown: The store is away; nothing was claimed, or it will be found again.
        """
        if not self._prepared:
            self._prepare()
            self._prepared = True
        now_ms = self._clock()
        agenda = self._ticks.agenda(now_ms)
        if not self._ready():
            if agenda.due:
                _measure(now_ms - min(schedule.next_ms or now_ms for schedule in agenda.due))
            return LOOK_SECONDS
        plans = [(schedule, _plan(schedule, now_ms)) for schedule in agenda.due if self._is_ours(schedule, now_ms)]
        chosen = _bounded(plans)
        moved, claimed = self._claim(chosen, now_ms)
        fired = self._fire(claimed + self._take_over(agenda.left, now_ms))
        self._prune(now_ms)
        behind = len(chosen) < len(plans) or any((planned.next_ms or now_ms + 1) <= now_ms for _, planned in moved)
        if (moved and behind) or (agenda.left and fired):
            return 0
        until_next = LOOK_SECONDS if agenda.next_ms is None else (agenda.next_ms - self._clock()) / 1000
        return min(max(until_next, 0), LOOK_SECONDS)

    def _run(self) -> None:
        down = False
        while not self._stopping:
            try:
                pause = self.step()
                down = False
            except StoreDown as error:
                if not down:
                    logger.warning("cannot fire schedules: %s; trying on", error, extra={"event": "store_down"})
                down, pause = True, LOOK_SECONDS
            except Exception:
                # A mistake of ours must not end the thread: claims run out, and are found again.
                logger.exception("could not fire schedules", extra={"event": "schedules_failed"})
                pause = LOOK_SECONDS
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._stopping, pause)
                self._woken = False

    def _is_ours(self, schedule: Schedule, now_ms: int) -> bool:
        late_ms = now_ms - (schedule.next_ms or now_ms)
        return schedule.definition.task in self._tasks or late_ms >= UNKNOWN_SECONDS * 1000

    def _claim(self, plans: Plans, now_ms: int) -> tuple[Plans, list[tuple[Schedule, Tick]]]:
        if not plans:
            return [], []
        names, claimed = self._ticks.claim(plans, now_ms, now_ms + self._lease_ms)
        moved = [(schedule, planned) for schedule, planned in plans if schedule.name in names]
        for schedule, planned in moved:
            _tell(schedule, planned)
        return moved, claimed

    def _take_over(self, left: Sequence[tuple[Schedule, Tick]], now_ms: int) -> list[tuple[Schedule, Tick]]:
        """Claim what was left behind; jobs that are in the store already only need their tick marked."""
        to_fire = []
        for schedule, tick in left:
            if not self._ticks.take_over(tick, now_ms + self._lease_ms):
                continue
            if self._jobs.state(tick.job) is None:
                to_fire.append((schedule, tick))
            else:
                self._settle([Result(tick=tick, state="fired", fired_ms=self._clock())])
        return to_fire

    def _fire(self, claimed: Sequence[tuple[Schedule, Tick]]) -> bool:
        """Submit the jobs of ticks and mark the ticks; tell whether any fired."""
        if not claimed:
            return False
        requests = [job_request(schedule.definition, _jitter(schedule, tick)) for schedule, tick in claimed]
        identities = [Identity(id=tick.job, enqueued_ms=tick.claimed_ms) for _, tick in claimed]
        outcomes = self._submitter.submit_many(requests, identities)
        now_ms = self._clock()
        results = [_result(tick, outcome, now_ms) for (_, tick), outcome in zip(claimed, outcomes, strict=True)]
        self._settle(results)
        return any(result.state == "fired" for result in results)

    def _settle(self, results: Sequence[Result]) -> None:
        self._ticks.settle(results)
        for result in results:
            if result.state != "claimed":
                _count(result.state)
            if result.state == "fired":
                _measure((result.fired_ms or 0) - result.tick.tick_ms)
        _warn([result for result in results if result.state != "fired"])
        waiting = [result.tick.tick_ms for result in results if result.state == "claimed"]
        if waiting:
            _measure(self._clock() - min(waiting))

    def _prune(self, now_ms: int) -> None:
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_SECONDS
            self._ticks.prune(now_ms)


def _bounded(plans: Plans) -> Plans:
    """Return as many plans as one step takes."""
    chosen: Plans = []
    ticks = 0
    for schedule, planned in plans:
        ticks += len(planned.fire)
        if ticks > MAX_STEP:
            break
        chosen.append((schedule, planned))
    return chosen


def _plan(schedule: Schedule, now_ms: int) -> Plan:
    assert schedule.next_ms is not None  # noqa: S101 - it is due
    return plan(schedule.timing, schedule.definition.catch_up, schedule.next_ms, now_ms)


def _jitter(schedule: Schedule, tick: Tick) -> int:
    return jitter_seconds(schedule.name, tick.tick_ms, schedule.definition.jitter_seconds)


def _result(tick: Tick, outcome: Accepted | Exception, now_ms: int) -> Result:
    if isinstance(outcome, Accepted):
        return Result(tick=tick, state="fired", fired_ms=now_ms)
    error = str(outcome)[:_MAX_ERROR].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(outcome, TransportError) and not isinstance(outcome, Unroutable):
        return Result(tick=tick, state="claimed", lease_ms=now_ms + RETRY_SECONDS * 1000, error=error)
    return Result(tick=tick, state="refused", error=error)


def _tell(schedule: Schedule, planned: Plan) -> None:
    """Say which ticks are let go of."""
    if planned.skipped:
        _count("skipped", planned.skipped)
    if planned.skipped or planned.dropped:
        logger.warning(
            "schedule %s missed ticks: %d are skipped%s",
            schedule.name,
            planned.skipped,
            f", and all before the latest {MAX_MISSED}" if planned.dropped else "",
            extra={"event": "ticks_skipped", "schedule": schedule.name},
        )


def _warn(results: Sequence[Result]) -> None:
    """Say once for each schedule what keeps its ticks from firing."""
    for schedule, result in {result.tick.schedule: result for result in results}.items():
        told = {"schedule": schedule, "tick_ms": result.tick.tick_ms, "job": result.tick.job}
        if result.state == "refused":
            logger.error("schedule %s cannot fire: %s", schedule, result.error, extra={"event": "tick_refused", **told})
        else:
            logger.warning("schedule %s waits: %s", schedule, result.error, extra={"event": "tick_waits", **told})


def _count(outcome: str, number: int = 1) -> None:
    metrics.counter("warren_schedule_ticks_total").labels(outcome=outcome).inc(number)


def _measure(late_ms: int) -> None:
    metrics.gauge("warren_schedule_lag_seconds", mode="livemostrecent").set(max(late_ms, 0) / 1000)
