"""Taking tokens for jobs of limited queues, and giving them back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

from warren.control import Limits
from warren.errors import TransportError
from warren.tokens import GENERATION, token_counts
from warren.topology import TokenKind, token_queue
from warren.transport import Delivery, Transport
from warren_worker.timers import Timers

logger = logging.getLogger(__name__)

FIRST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 0.25
PASS_ON_SECONDS: Final = 0.25
"""How long a slot's token may go from one short job to the next at one worker before others get their chance."""
MANNERS: Final = 0.05
"""Part of the time a token was held here for which it is left to other workers before it is asked for here again."""
WARN_AFTER_TRIES: Final = 20


@dataclass(slots=True, kw_only=True, eq=False)
class Grant:
    """Tokens that were taken for one job.

    Attributes:
        queue: The job's queue.
        rate_seconds: How long a token of the rate is kept after the start.
        generation: The generation the tokens are of.
        tokens: The tokens by their kind, delivered and not settled.
        taken: When they were taken from the broker, seconds on the monotonic clock.
        started: Whether the code of a job has begun by them.
    """

    queue: str
    rate_seconds: float = 0.0
    generation: int = 0
    tokens: dict[TokenKind, Delivery] = field(default_factory=dict)
    taken: float = field(default_factory=time.monotonic)
    started: bool = False


Answer: TypeAlias = Callable[[str, Grant | None], None]


@dataclass(slots=True)
class _Patience:
    """How often a queue had no token in a row, and when it is asked again."""

    tries: int = 0
    until: float = 0.0


class Tokens:
    """Asks for tokens when there is a job for them, with full-jitter back-off while there are none.

    Args:
        transport: Where they are.
        timers: Who wakes us.
        rng: Source of jitter.
        limits: How a queue is limited.
        on_chance: Called when it makes sense to ask again.
    """

    def __init__(
        self,
        transport: Transport,
        timers: Timers,
        rng: Random,
        limits: Callable[[str], Limits],
        on_chance: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._timers = timers
        self._rng = rng
        self._limits = limits
        self._on_chance = on_chance
        self._changed = threading.Condition()
        self._patience: dict[str, _Patience] = {}
        self._kept = 0

    def limited(self, queue: str) -> bool:
        """Whether jobs of a queue need tokens."""
        limits = self._limits(queue)
        return limits.concurrency is not None or limits.rate_count is not None

    def may_ask(self, queue: str) -> bool:
        """Whether the last refusal is long enough ago."""
        with self._changed:
            patience = self._patience.get(queue)
            return patience is None or time.monotonic() >= patience.until

    def ask(self, queue: str, answer: Answer) -> None:
        """Take one token of each kind the queue is limited by.

        Args:
            queue: A job's queue.
            answer: Called once, with the tokens or None if there are not enough now.
        """
        limits = self._limits(queue)
        grant = Grant(queue=queue, rate_seconds=limits.rate_seconds or 0, generation=limits.generation)
        self._take(limits, grant, answer)

    def started(self, grant: Grant) -> None:
        """Note that the job's code has begun: its token of the rate is kept for the length of the window from now."""
        grant.started = True
        rate = grant.tokens.pop("rate", None)
        if rate is None:
            return
        with self._changed:
            self._kept += 1
        self._timers.after(grant.rate_seconds, lambda: self._return_rate(grant.queue, rate))

    def may_pass_on(self, grant: Grant) -> bool:
        """Whether the job that ended may leave its tokens to the next of its queue here, which saves the way there."""
        limits = self._limits(grant.queue)
        return (
            limits.generation == grant.generation
            and limits.rate_count is None
            and time.monotonic() - grant.taken < PASS_ON_SECONDS
            and all(token.alive for token in grant.tokens.values())
        )

    def ended(self, grant: Grant) -> None:
        """Give back what a job ran by; one that was not started gives back all."""
        slot = grant.tokens.get("slots")
        if slot is not None and not slot.alive:
            logger.warning(
                "the connection that brought a token of queue %s was lost while its job ran; "
                "another worker may have used the token meanwhile",
                grant.queue,
                extra={"event": "token_lost", "queue": grant.queue},
            )
        _give_back(grant)
        held = time.monotonic() - grant.taken if grant.started else 0.0
        self._ask_again_in(grant.queue, min(held * MANNERS, LONGEST_SECONDS))

    def wait_returned(self, seconds: float) -> bool:
        """Wait until no token of a rate is kept any more; one that goes back early lets others start too soon."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._kept, seconds)

    def _take(self, limits: Limits, grant: Grant, answer: Answer) -> None:
        missing = token_counts(limits).keys() - grant.tokens.keys()
        if not missing:
            with self._changed:
                self._patience.pop(grant.queue, None)
            answer(grant.queue, grant)
            return
        kind: TokenKind = "slots" if "slots" in missing else "rate"
        try:
            future = self._transport.get(token_queue(grant.queue, kind))
        except TransportError as error:
            self._refuse(grant, answer, error)
        else:
            future.add_done_callback(lambda done: self._taken(done, kind, limits, grant, answer))

    def _taken(
        self, done: Future[Delivery | None], kind: TokenKind, limits: Limits, grant: Grant, answer: Answer
    ) -> None:
        error = done.exception()
        token = None if error is not None else done.result()
        if token is None:
            self._refuse(grant, answer, error)
            return
        generation = token.message.headers.get(GENERATION)
        if not isinstance(generation, int) or generation < limits.generation:
            # From before the limits were changed.
            token.ack()
        else:
            grant.tokens[kind] = token
        if isinstance(generation, int) and generation > limits.generation:
            # The order that goes with it has not come yet.
            self._refuse(grant, answer, None)
        else:
            self._take(limits, grant, answer)

    def _refuse(self, grant: Grant, answer: Answer, error: BaseException | None) -> None:
        _give_back(grant)
        with self._changed:
            patience = self._patience.setdefault(grant.queue, _Patience())
            patience.tries += 1
            tries = patience.tries
            wait = self._rng.uniform(0, min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries - 1, 10)))
            patience.until = time.monotonic() + wait
        if error is not None and tries % WARN_AFTER_TRIES == 0:
            logger.warning(
                "tokens of queue %s cannot be taken, for the %dth time in a row: %s; its jobs wait",
                grant.queue,
                tries,
                error,
                extra={"event": "tokens_unavailable", "queue": grant.queue, "tries": tries},
            )
        self._timers.after(wait, self._on_chance)
        answer(grant.queue, None)

    def _ask_again_in(self, queue: str, seconds: float) -> None:
        """Ask again after a while, unless that is to be sooner anyway: of many jobs that end, none puts it off."""
        now = time.monotonic()
        with self._changed:
            patience = self._patience.setdefault(queue, _Patience())
            patience.tries = 0
            patience.until = min(patience.until, now + seconds) if patience.until > now else now + seconds
        if seconds:
            self._timers.after(seconds, self._on_chance)

    def _return_rate(self, queue: str, rate: Delivery) -> None:
        rate.nack()
        with self._changed:
            self._kept -= 1
            self._changed.notify_all()
        self._ask_again_in(queue, 0.0)
        self._on_chance()


def _give_back(grant: Grant) -> None:
    for token in grant.tokens.values():
        token.nack()
    grant.tokens.clear()
