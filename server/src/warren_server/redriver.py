"""The redriver: brings dead letters back to their queues, in the background, on whichever server comes first.

A letter is claimed, published, and a tombstone once the broker has confirmed; so none is lost, whenever a server dies.
One that dies between confirm and tombstone leaves a letter that is published again: the same job in the same round,
which the state of the job does not show, though its code may run twice, as with every delivery.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from warren.envelope import Envelope, new_job_id
from warren.errors import TransportError, Unroutable
from warren.transport import job_publication
from warren_server.errors import NotRedrivable, StoreDown, StoreError
from warren_server.redrive import redriven, redriven_event
from warren_server.sending import Sender
from warren_server.store.claims import Claim, Results
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore
from warren_server.store.fold import Row
from warren_server.store.jobs import JobStore
from warren_server.store.redrives import DONE, FAILED, RUNNING, Redrive, RedriveStore

logger = logging.getLogger(__name__)

BATCH: Final = 100
LOOK_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 10.0
TICK_SECONDS: Final = 0.1
"""How often a batch is sent at a set rate, and so about how late a stop may be heard."""
TOMBSTONE_SECONDS: Final = 30 * 86400
_TIDY_SECONDS: Final = 3600.0
_MARGIN_SECONDS: Final = 5.0
_SIGN_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
_MOST: Final = 8
"""Redrives one process works on at a time; more wait."""


class Pace:
    """Spaces batches so that a rate is kept on average, without catching up after a halt.

    Args:
        rate: Jobs a second, or None for no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._next = 0.0

    @property
    def batch(self) -> int:
        """Jobs to send at once."""
        return BATCH if self._rate is None else max(1, min(BATCH, int(self._rate * TICK_SECONDS)))

    def pause(self, sent: int, now: float) -> float:
        """Return the seconds to wait after some jobs were sent.

        Args:
            sent: How many.
            now: Monotonic time before they were sent.
        """
        if self._rate is None:
            return 0.0
        self._next = max(self._next, now) + sent / self._rate
        return self._next - now


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What came of one batch.

    Attributes:
        sent: How many jobs it sent.
        after: Where the next one begins; None for the front.
        problem: What kept some back, if anything did.
        idle_seconds: How long to wait at least.
        over: There is no next one.
    """

    sent: int = 0
    after: tuple[int, str] | None = None
    problem: Exception | None = None
    idle_seconds: float = 0.0
    over: bool = False


class Redriver:
    """Works on redrives.

    Args:
        sender: Publishes jobs.
        letters: The dead letters.
        redrives: The redrives.
        jobs: Where the new states of jobs are told.
    """

    def __init__(self, sender: Sender, letters: DeadLetterStore, redrives: RedriveStore, jobs: JobStore) -> None:
        self._sender = sender
        self._letters = letters
        self._redrives = redrives
        self._jobs = jobs
        self._claim_ms = int((sender.longest_seconds + _MARGIN_SECONDS) * 1000)
        self._lease_ms = max(int(LEASE_SECONDS * 1000), self._claim_ms)
        self._owner = ""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._working: dict[str, threading.Thread] = {}

    def begin(self, wanted: DeadLetterFilter, rate: float | None) -> Redrive:
        """Begin a redrive.

        Args:
            wanted: Which letters, of those the store has now.
            rate: Jobs a second, or None for as fast as it goes.
        """
        now_ms = _now_ms()
        redrive = Redrive(
            id=new_job_id(),
            state=RUNNING,
            wanted=wanted,
            rate=rate,
            total=self._letters.count(wanted, now_ms),
            moved=0,
            failed=0,
            created_ms=now_ms,
            finished_ms=None,
            error=None,
        )
        self._redrives.create(redrive)
        self._wake.set()
        return redrive

    def start(self) -> None:
        """Look for redrives to work on. Idempotent."""
        if self._thread is None:
            # Made here, after a fork: each process is an owner of its own.
            self._owner = f"{os.getpid()}-{new_job_id()}"
            self._stopping.clear()
            self._thread = threading.Thread(target=self._look, name="warren-redriver", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Finish what is at hand and leave the rest to other servers. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        self._wake.set()
        deadline = time.monotonic() + timeout_seconds
        for each in (thread, *list(self._working.values())):
            each.join(max(deadline - time.monotonic(), 0))
        try:
            self._redrives.leave(self._owner)
        except StoreError as error:
            logger.warning("cannot leave redrives to others: %s", error, extra={"event": "redrive_not_left"})

    def tidy(self) -> None:
        """Delete old tombstones."""
        before_ms = _now_ms() - TOMBSTONE_SECONDS * 1000
        while self._letters.forget(before_ms, BATCH) == BATCH:
            continue

    def _look(self) -> None:
        tidied = time.monotonic()
        while not self._stopping.is_set():
            # First, so that a redrive begun while we look is looked for again.
            self._wake.clear()
            try:
                self._adopt()
                if time.monotonic() - tidied > _TIDY_SECONDS:
                    tidied = time.monotonic()
                    self.tidy()
            except StoreError as error:
                logger.warning("cannot look for redrives: %s", error, extra={"event": "redrive_store_down"})
            self._wake.wait(LOOK_SECONDS)

    def _adopt(self) -> None:
        self._working = {key: thread for key, thread in self._working.items() if thread.is_alive()}
        while len(self._working) < _MOST and not self._stopping.is_set():
            now_ms = _now_ms()
            redrive = self._redrives.adopt(self._owner, now_ms, now_ms + self._lease_ms)
            if redrive is None:
                return
            thread = threading.Thread(target=self._work, args=(redrive,), name="warren-redrive", daemon=True)
            self._working[redrive.id] = thread
            thread.start()

    def _work(self, redrive: Redrive) -> None:
        told = {"redrive": redrive.id, "moved": redrive.moved, "total": redrive.total}
        logger.info("redriving %d dead letters", redrive.total, extra={"event": "redrive_started", **told})
        try:
            self._drive(redrive)
        except Exception as error:
            logger.exception("redrive %s failed", redrive.id, extra={"event": "redrive_failed", **told})
            with suppress(StoreDown):
                # Another server takes it over when this one cannot even say so.
                self._finish(redrive, FAILED, f"{type(error).__name__}: {error}")

    def _drive(self, redrive: Redrive) -> None:
        pace = Pace(redrive.rate)
        step = _Step()
        failures = 0
        while True:
            began = time.monotonic()
            step = self._step(redrive, pace.batch, step.after)
            if step.over:
                return
            if step.problem is None:
                failures = 0
                pause = max(step.idle_seconds, pace.pause(step.sent, began) - (time.monotonic() - began))
            else:
                logger.warning(
                    "redrive %s is held up: %s", redrive.id, step.problem, extra={"event": "redrive_held_up"}
                )
                pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            if not self._pause(redrive, pause):
                return

    def _step(self, redrive: Redrive, limit: int, after: tuple[int, str] | None) -> _Step:
        now_ms = _now_ms()
        claim = Claim(holder=redrive.id, until_ms=now_ms + self._claim_ms)
        try:
            rows = self._redrives.claim(
                redrive, self._owner, claim, now_ms=now_ms, lease_ms=now_ms + self._lease_ms, limit=limit, after=after
            )
            if rows is None:
                return _Step(over=True)
            if rows:
                problem = self._move(redrive, claim, rows)
                last = (rows[-1]["at_ms"], rows[-1]["id"])
                return _Step(sent=len(rows), after=last if problem is None else None, problem=problem)
            if after is not None:
                # Letters that were at another's hand when their turn came may be free by now.
                return _Step()
            if self._redrives.pending(redrive.id):
                return _Step(idle_seconds=_SIGN_SECONDS)
        except StoreDown as error:
            return _Step(problem=error)
        self._finish(redrive, DONE)
        return _Step(over=True)

    def _move(self, redrive: Redrive, claim: Claim, rows: Sequence[Row]) -> TransportError | None:
        """Publish letters at hand; return what kept some of them back for now."""
        now_ms = _now_ms()
        jobs, failed = self._jobs_of(rows, now_ms)
        outcomes = dict(zip(jobs, self._sender.send([job_publication(job) for job in jobs.values()]), strict=True))
        failed.update((letter, str(error)) for letter, error in outcomes.items() if isinstance(error, Unroutable))
        held_up = {letter: error for letter, error in outcomes.items() if error is not None and letter not in failed}
        moved = {row["id"]: row["attempt"] or 0 for row in rows if row["id"] not in {*failed, *held_up}}
        problem = next(iter(held_up.values()), None)
        told = [f"dead letter {letter}: {why}" for letter, why in failed.items()]
        error = str(problem) if problem is not None else next(iter(told), None)
        results = Results(moved=moved, failed=list(failed), released=list(held_up))
        # The new state first: a letter is not gone before its job shows where it went.
        if moved:
            self._surely(lambda: self._jobs.project([redriven_event(jobs[letter], now_ms) for letter in moved]))
        self._surely(lambda: self._redrives.close(redrive.id, claim, results, _now_ms(), error))
        return problem

    def _jobs_of(self, rows: Sequence[Row], now_ms: int) -> tuple[dict[str, Envelope], dict[str, str]]:
        """Return the jobs in the letters by the letters' ids, and why some hold none."""
        known = self._redrives.known_jobs([row["job"] for row in rows if row["job"]])
        jobs: dict[str, Envelope] = {}
        failed: dict[str, str] = {}
        for row in rows:
            try:
                jobs[row["id"]] = redriven(row, known.get(row["job"]), now_ms)
            except NotRedrivable as error:
                failed[row["id"]] = str(error)
        return jobs, failed

    def _finish(self, redrive: Redrive, state: str, error: str | None = None) -> None:
        self._surely(lambda: self._redrives.finish(redrive.id, self._owner, state, _now_ms(), error))
        told = {"redrive": redrive.id, "state": state}
        logger.info("redrive %s is %s", redrive.id, state, extra={"event": "redrive_ended", **told})

    def _surely(self, write: Callable[[], None]) -> None:
        """Write to a store that may be away for a moment; what was published should not be published again.

        Raises:
            StoreDown: It stays away; the claims end by themselves, and the letters are moved once more.
        """
        deadline = time.monotonic() + self._claim_ms / 1000
        while True:
            try:
                write()
            except StoreDown:
                if time.monotonic() > deadline or self._stopping.wait(_SIGN_SECONDS):
                    raise
            else:
                return

    def _pause(self, redrive: Redrive, seconds: float) -> bool:
        """Wait before the next batch; False when there shall be none."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._stopping.wait(min(left, _SIGN_SECONDS)):
                return False
            if left > _SIGN_SECONDS and not self._keep(redrive):
                return False
        return not self._stopping.is_set()

    def _keep(self, redrive: Redrive) -> bool:
        try:
            return self._redrives.keep(redrive.id, self._owner, _now_ms() + self._lease_ms)
        except StoreDown:
            # Nobody else can take it either.
            return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
