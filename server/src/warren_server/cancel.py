"""Cancels jobs: an order to the workers first, then a note in the store.

Only a worker knows whether it comes in time, so the state of a job changes when one says so; until then the job shows
when its cancel was asked for.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from warren.control import MAX_IDS, CancelJobs, CancelMatching
from warren.events import FINAL, State
from warren_server.announcer import Announcer
from warren_server.api.problems import Refusal
from warren_server.errors import StoreDown
from warren_server.store.cancels import CancelStore
from warren_server.store.jobs import JobStore

KEEP_SECONDS: Final = 50 * 86400
"""A job may be delayed for 48 days: so long some worker may have to know."""
NOTE_SECONDS: Final = 10.0
"""How long a request notes the wish on the rows of a large number of jobs; the order is out by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """What came of a wish to cancel many jobs.

    Attributes:
        jobs: How many jobs it concerns, as far as the store knows; None when it could not count them.
        before_ms: Jobs submitted later are not meant; None for jobs by id.
    """

    jobs: int | None
    before_ms: int | None = None


class Canceller:
    """Cancels jobs.

    Args:
        announcer: Tells the workers.
        jobs: What the store knows of jobs.
        cancels: Where the wish is noted.
    """

    def __init__(self, announcer: Announcer, jobs: JobStore, cancels: CancelStore) -> None:
        self._announcer = announcer
        self._jobs = jobs
        self._cancels = cancels

    def cancel(self, job: str) -> None:
        """Ask for one job to be cancelled; harmless when it is cancelled already.

        Raises:
            Refusal: There is no such job, or it has another end.
            WarrenError: The order did not get out, or the wish could not be noted; asking again is harmless.
        """
        state = self._jobs.state(job)
        if state is None:
            raise Refusal("unknown-job", f"there is no job {job}; POST /v1/jobs/cancel takes ids the store has not")
        if state == State.CANCELLED:
            return
        if State(state) in FINAL:
            raise Refusal("already-final", f"job {job} is {state}")
        now_ms = _now_ms()
        self._announcer.announce(CancelJobs(jobs=(job,)), f"cancel:{job}", now_ms + KEEP_SECONDS * 1000)
        self._cancels.mark([job], now_ms)

    def cancel_jobs(self, jobs: Sequence[str]) -> Requested:
        """Ask for jobs to be cancelled by their ids; those the store does not know too, but not those that are final.

        Raises:
            WarrenError: An order did not get out, or could not be kept; asking again is harmless.
        """
        now_ms = _now_ms()
        final = self._cancels.final(jobs)
        # Sorted, so that the same wish takes the place of the one before.
        meant = iter(sorted({job for job in jobs if job not in final}))
        requested = 0
        while chunk := tuple(islice(meant, MAX_IDS)):
            subject = f"cancel-jobs:{_digest(''.join(chunk))}"
            self._announcer.announce(CancelJobs(jobs=chunk), subject, now_ms + KEEP_SECONDS * 1000)
            self._cancels.mark(chunk, now_ms)
            requested += len(chunk)
        return Requested(jobs=requested)

    def cancel_matching(
        self, queue: str | None, task: str | None, before_ms: int | None, *, waiting_only: bool
    ) -> Requested:
        """Ask for all jobs to be cancelled that match and were submitted up to a moment, now unless given.

        Raises:
            WarrenError: The order did not get out, or could not be kept; asking again is harmless.
        """
        now_ms = _now_ms()
        until_ms = now_ms if before_ms is None else min(before_ms, now_ms)
        order = CancelMatching(before_ms=until_ms, queue=queue, task=task, waiting_only=waiting_only)
        self._announcer.announce(order, f"cancel-matching:{_digest(repr(order))}", now_ms + KEEP_SECONDS * 1000)
        return Requested(jobs=self._mark(order, now_ms), before_ms=until_ms)

    def _mark(self, order: CancelMatching, now_ms: int) -> int | None:
        deadline = time.monotonic() + NOTE_SECONDS
        marked, last = 0, ""
        while time.monotonic() < deadline:
            try:
                noted = self._cancels.mark_matching(
                    order.queue,
                    order.task,
                    order.before_ms,
                    waiting_only=order.waiting_only,
                    now_ms=now_ms,
                    after=last,
                )
            except StoreDown:
                return None
            if not noted:
                return marked
            marked, last = marked + len(noted), noted[-1]
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
