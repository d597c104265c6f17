"""What the client does about dead letters and cancels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Unpack

from warren.client import dead_letters, wire
from warren.client.dead_letters import (
    Affected,
    CancelView,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterSummary,
    RedriveView,
    RetryOptions,
)
from warren.client.views import DeadLetterView, JobView
from warren.client.wire import Answer, Request


class DeadLetterCalls:
    """Part of `Client`; see `DeadLetterFilter` for what chooses dead letters."""

    def _send(self, request: Request) -> Answer:
        raise NotImplementedError

    def cancel(self, job: JobView | str) -> JobView:
        """Ask for a job to be cancelled; its state changes when a worker says that it is.

        Args:
            job: The job or its id.
        """
        job_id = job.id if isinstance(job, JobView) else job
        return wire.read_job(self._send(dead_letters.cancel(job_id)))

    def cancel_many(
        self,
        jobs: Iterable[JobView | str] | None = None,
        *,
        queue: str | None = None,
        task: str | None = None,
        before: datetime | None = None,
        waiting_only: bool = False,
    ) -> CancelView:
        """Ask for many jobs to be cancelled: those given, or all that match.

        Args:
            jobs: Jobs or their ids, also such as the server has no record of.
            queue: All of this queue.
            task: All of this task; with a queue only those that have both.
            before: Only those submitted up to then, aware; up to now unless given.
            waiting_only: Leave alone what runs when the order comes.
        """
        if jobs is None:
            matching = dead_letters.cancel_matching(queue, task, before, waiting_only=waiting_only)
            return dead_letters.read_cancel(self._send(matching))
        ids = [job.id if isinstance(job, JobView) else job for job in jobs]
        asked = [dead_letters.cancel_jobs(chunk) for chunk in dead_letters.chunks(ids)]
        return dead_letters.together([dead_letters.read_cancel(self._send(request)) for request in asked])

    def dead_letters(
        self, *, limit: int | None = None, cursor: str | None = None, **wanted: Unpack[DeadLetterFilter]
    ) -> DeadLetterPage:
        """Ask for a page of dead letters, latest first; pass its `cursor` for the next."""
        return dead_letters.read_page(self._send(dead_letters.list_letters(wanted, limit, cursor)))

    def dead_letter(self, letter_id: str) -> DeadLetterView:
        """Ask for one dead letter, with its message."""
        return dead_letters.read_letter(self._send(dead_letters.letter(letter_id)))

    def dead_letter_summary(self, **wanted: Unpack[DeadLetterFilter]) -> DeadLetterSummary:
        """Count dead letters by queue, task and class of error."""
        return dead_letters.read_summary(self._send(dead_letters.summary(wanted)))

    def redrive(
        self, *, everything: bool = False, rate: float | None = None, **wanted: Unpack[DeadLetterFilter]
    ) -> RedriveView:
        """Begin to bring dead letters back to their queues.

        Args:
            everything: All of them; needed when nothing chooses some.
            rate: Jobs a second; as fast as it goes unless given.
            **wanted: Which ones.
        """
        return dead_letters.read_redrive(self._send(dead_letters.redrive(wanted, everything=everything, rate=rate)))

    def preview_redrive(self, **wanted: Unpack[DeadLetterFilter]) -> Affected:
        """Ask what a redrive would move, and move nothing."""
        return dead_letters.read_affected(self._send(dead_letters.redrive(wanted, everything=False, dry_run=True)))

    def redrives(self) -> list[RedriveView]:
        """Ask for the latest redrives."""
        return dead_letters.read_redrives(self._send(dead_letters.REDRIVES))

    def get_redrive(self, redrive_id: str) -> RedriveView:
        """Ask how far a redrive is."""
        return dead_letters.read_redrive(self._send(dead_letters.get_redrive(redrive_id)))

    def stop_redrive(self, redrive_id: str) -> RedriveView:
        """Stop a redrive; what it moved stays moved."""
        return dead_letters.read_redrive(self._send(dead_letters.stop_redrive(redrive_id)))

    def retry(self, job: JobView | str, **changes: Unpack[RetryOptions]) -> JobView:
        """Retry a dead job, with changes if so asked.

        Args:
            job: The job or its id.
            **changes: See `RetryOptions`.
        """
        job_id = job.id if isinstance(job, JobView) else job
        return wire.read_job(self._send(dead_letters.retry_job(job_id, changes)))

    def retry_dead_letter(self, letter_id: str, **changes: Unpack[RetryOptions]) -> JobView:
        """Retry a dead letter by its own id, with changes if so asked."""
        return wire.read_job(self._send(dead_letters.retry_letter(letter_id, changes)))

    def purge_dead_letters(
        self, *, everything: bool = False, dry_run: bool = False, **wanted: Unpack[DeadLetterFilter]
    ) -> Affected:
        """Delete dead letters for good.

        Args:
            everything: All of them; needed when nothing chooses some.
            dry_run: Say what would be deleted, and delete nothing.
            **wanted: Which ones.
        """
        purged = dead_letters.purge(wanted, everything=everything, dry_run=dry_run)
        return dead_letters.read_affected(self._send(purged))

    def delete_dead_letter(self, letter_id: str) -> None:
        """Delete one dead letter for good."""
        wire.read(self._send(dead_letters.delete(letter_id)))
