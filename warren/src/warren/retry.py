"""When a failed job runs again, and when it has failed for good. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from warren import delay
from warren.envelope import Envelope
from warren.errors import Discard, InvalidArguments, RetryAfter


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A task's retry policy: exponential back-off with full jitter.

    Attributes:
        max_attempts: Runs of the task's code before the job is a dead letter, 1 or more.
        min_delay: Upper bound of the first delay in seconds; doubles with each attempt.
        max_delay: Upper bound of every delay in seconds, at most 48 days.
    """

    max_attempts: int = 5
    min_delay: float = 1.0
    max_delay: float = 600.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"Retry(max_attempts={self.max_attempts}): must be 1 or more")
        if not 0 <= self.min_delay <= self.max_delay <= delay.MAX_SECONDS:
            raise ValueError(
                f"Retry(min_delay={self.min_delay}, max_delay={self.max_delay}): "
                f"must hold 0 <= min_delay <= max_delay <= {delay.MAX_SECONDS} s"
            )

    def delay(self, attempt: int, rng: Random) -> int:
        """Choose the delay after a failed attempt, in whole seconds of at most two set bits.

        Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform between 0 and the bound, so that
        jobs which failed together do not come back together. 0 means at once.

        Args:
            attempt: The attempt that failed, from 1.
            rng: Source of jitter, injected so tests can fix it.
        """
        # Past 2^64 the bound is max_delay whatever min_delay is; larger powers overflow a float.
        bound = min(self.max_delay, self.min_delay * 2.0 ** min(attempt - 1, 64))
        return delay.quantise(rng.uniform(0, bound) + 0.5)

    @staticmethod
    def after(seconds: float, reason: str = "the task asked to be retried") -> RetryAfter:
        """Make the exception that asks for another attempt after a delay: `raise Retry.after(30)`."""
        return RetryAfter(seconds, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an attempt failed.

    Attributes:
        error: What was raised, by the task or on its behalf (time limit, lost child).
    """

    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The job gets another attempt.

    Attributes:
        delay_seconds: Whole seconds until then, 0 for at once.
    """

    delay_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The job is a dead letter.

    Attributes:
        reason: Why, as a sentence.
    """

    reason: str


def next_step(failure: Failure, job: Envelope, counted: int, policy: Retry, rng: Random) -> Again | Dead:
    """Decide what follows a failed attempt.

    Args:
        failure: What the attempt ended with.
        job: The envelope that was run; its own `max_attempts` beats the policy's.
        counted: Which of the attempts that count it was, from 1: hand-outs that did not run the job are left out.
        policy: The task's retry policy.
        rng: Source of jitter.

    Returns:
        `Again` with the delay, or `Dead` with the reason.
    """
    limit = job.max_attempts or policy.max_attempts
    match failure.error:
        case Discard() as discard:
            return Dead(reason=discard.reason)
        case InvalidArguments() as invalid:
            return Dead(reason=str(invalid))
        case _ if counted >= limit:
            return Dead(reason=f"failed {counted} of {limit} attempts")
        case RetryAfter() as wish:
            return Again(delay_seconds=round(min(wish.seconds, delay.MAX_SECONDS)))
        case _:
            return Again(delay_seconds=policy.delay(counted, rng))
