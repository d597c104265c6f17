"""Retries one dead letter, at once and with changes if so asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warren import delay
from warren.envelope import MAX_BODY_BYTES, Envelope, new_job_id
from warren.errors import Problem, TransportError, Unroutable
from warren.events import State
from warren.transport import job_publication
from warren_server.api.problems import Refusal
from warren_server.queues import Queues
from warren_server.redrive import Edits, envelope_of, redriven, redriven_event
from warren_server.sending import Sender
from warren_server.store.claims import Claim, Results
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.fold import Row
from warren_server.store.jobs import JobStore
from warren_server.store.redrives import RedriveStore
from warren_server.tasks import KnownTasks

_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the caller wants changed; None leaves it as it was.

    Attributes:
        arguments: All arguments by name.
        queue: The queue.
        delay: Whole seconds to wait first.
        max_attempts: The limit of attempts, counted from this retry.
        timeout: The limit of one attempt in seconds.
    """

    arguments: Mapping[str, Any] | None = None
    queue: str | None = None
    delay: int | None = None
    max_attempts: int | None = None
    timeout: float | None = None


class Retrier:
    """Retries dead letters one at a time.

    Args:
        sender: Publishes jobs.
        letters: The dead letters.
        redrives: What is known of their jobs.
        jobs: Where their new states are told.
        tasks: The tasks whose arguments can be checked.
        queues: The queues there are.
    """

    def __init__(
        self,
        sender: Sender,
        letters: DeadLetterStore,
        redrives: RedriveStore,
        jobs: JobStore,
        tasks: KnownTasks,
        queues: Queues,
    ) -> None:
        self._sender = sender
        self._letters = letters
        self._redrives = redrives
        self._jobs = jobs
        self._tasks = tasks
        self._queues = queues

    def retry_job(self, job: str, changes: Changes) -> str:
        """Retry a job by its id; return the id.

        Raises:
            Refusal: There is no such job, it is not dead, or as for `retry`.
        """
        state = self._jobs.state(job)
        if state is None:
            raise Refusal("unknown-job", f"there is no job {job}")
        if state != State.DEAD:
            raise Refusal("not-dead", f"job {job} is {state}")
        return self.retry(job, changes)

    def retry(self, letter: str, changes: Changes) -> str:
        """Retry a dead letter; return the id of its job.

        Raises:
            Refusal: There is no such letter, it is no job, or a change breaks its rule.
            WarrenError: The broker did not take the job; the letter stays.
        """
        found = self._letters.get(letter)
        if found is None:
            raise Refusal("unknown-dead-letter", f"there is no dead letter {letter}: it was redriven or purged")
        edits = self._edits(envelope_of(found), changes)
        self._refuse_cancelled(found)
        now_ms = _now_ms()
        claim = Claim(
            holder=new_job_id(), until_ms=now_ms + int((self._sender.longest_seconds + _MARGIN_SECONDS) * 1000)
        )
        claimed = self._letters.claim(letter, claim, now_ms)
        if claimed is None:
            raise Refusal("dead-letter-busy", f"dead letter {letter} is at the hand of a redrive or of another retry")
        known = self._redrives.known_jobs([claimed["job"]])
        job = redriven(claimed, known.get(claimed["job"]), now_ms, edits)
        self._send(job, edits, claim, claimed)
        return job.id

    def _send(self, job: Envelope, edits: Edits, claim: Claim, letter: Row) -> None:
        (error,) = self._sender.send([job_publication(job, edits.delay_seconds)])
        if error is not None:
            self._letters.close(claim, Results(released=[letter["id"]]), _now_ms())
            raise _told(error, job.queue)
        self._jobs.project([redriven_event(job, _now_ms(), edits.delay_seconds)])
        self._letters.close(claim, Results(moved={letter["id"]: letter["attempt"] or 0}), _now_ms())

    def _edits(self, job: Envelope, changes: Changes) -> Edits:
        if changes.queue is not None or changes.delay:
            # A delayed job finds out only when it is due that its queue is gone.
            self._queues.check(changes.queue or job.queue)
        return Edits(
            body=None if changes.arguments is None else self._body(job.task, changes.arguments),
            queue=changes.queue,
            delay_seconds=min(changes.delay or 0, delay.MAX_SECONDS),
            max_attempts=changes.max_attempts,
            timeout_seconds=self._timeout(job.task, changes.timeout),
        )

    def _body(self, task: str, arguments: Mapping[str, Any]) -> bytes:
        body = self._tasks.get(task).write(arguments)
        if len(body) > MAX_BODY_BYTES:
            raise Refusal("too-large", f"the arguments have {len(body)} bytes, the limit is {MAX_BODY_BYTES}")
        return body

    def _timeout(self, task: str, timeout: float | None) -> float | None:
        limit = self._tasks.get(task).timeout_seconds if timeout is not None and task in self._tasks else None
        if timeout is not None and limit is not None and timeout > limit:
            message = f"must be at most the task's own limit of {limit:g} s"
            problem = Problem(field="timeout", rule="less_than_equal", message=message)
            raise Refusal("invalid-request", f"timeout of {timeout:g} s is over the task's", problems=[problem])
        return timeout

    def _refuse_cancelled(self, letter: Row) -> None:
        known = self._redrives.known_jobs([letter["job"]]).get(letter["job"])
        if known is not None and known["cancel_requested_ms"] is not None:
            raise Refusal(
                "cancel-requested",
                f"somebody asked to cancel job {letter['job']}, and workers still would; submit its work as a new job",
            )


def _told(error: TransportError, queue: str) -> TransportError:
    if isinstance(error, Unroutable):
        return Unroutable(f"queue {queue!r} does not exist; GET /v1/queues lists those that do")
    return error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
