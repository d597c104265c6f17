"""Changing how queues are worked on: the row first, then the tokens, then the order to the workers.

Whoever changes a queue has its lease meanwhile, so that orders about one queue are given in the order of their rows. A
change that was begun and not carried out, because the broker or the server went away, stays visible in the row, and
any server finishes it (`settle`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final

from warren.control import CancelMatching, Limits, Pause, Resume
from warren.errors import OutcomeUnknown, TopologyError, TransportError
from warren.tokens import token_counts, token_publications
from warren.transport import Transport
from warren_server.announcer import Announcer
from warren_server.api.problems import Refusal
from warren_server.store.queue_settings import QueueSettings, QueueSettingsStore

logger = logging.getLogger(__name__)

PURGE_KEPT_MS: Final = 50 * 86_400_000
"""The longest delay is 48 days and a half; a job enqueued before the purge may be on the ladder for that long."""
FILL_SECONDS: Final = 20.0
_SPARE_SECONDS: Final = 30.0


class QueueControl:
    """Pauses, resumes, purges and limits queues.

    Args:
        store: Where their settings are.
        announcer: Tells workers.
        transport: Where tokens are published.
        provide_tokens: Makes sure that the broker has the token queues of a job queue; raises `TopologyError`.
        confirm_seconds: How long an order waits for the broker, twice.
    """

    def __init__(
        self,
        store: QueueSettingsStore,
        announcer: Announcer,
        transport: Transport,
        provide_tokens: Callable[[str], None],
        confirm_seconds: float,
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._transport = transport
        self._provide_tokens = provide_tokens
        self._lease_ms = int((FILL_SECONDS + 6 * confirm_seconds + _SPARE_SECONDS) * 1000)

    def pause(self, queue: str, *, paused: bool) -> QueueSettings:
        """Pause or resume a queue; saying it twice is harmless.

        Raises:
            Refusal: Another change is under way, or workers could not be told yet.
            StoreError: Nothing was changed.
        """
        return self._finish(self._claim(queue, {"paused": paused}), self._tell_pause)

    def purge(self, queue: str) -> int:
        """Order that every job of a queue that waits now ends cancelled.

        Returns:
            Up to when jobs must have been submitted to be meant, milliseconds since the epoch.

        Raises:
            TransportError: The broker did not take the order, or did not say so in time; giving it again is harmless.
            StoreError: It was given, but cannot be kept; giving it again is harmless.
        """
        now_ms = _now_ms()
        order = CancelMatching(before_ms=now_ms, queue=queue, waiting_only=True)
        self._announcer.announce(order, f"purge:{queue}", now_ms + PURGE_KEPT_MS)
        return now_ms

    def limit(self, queue: str, wanted: Mapping[str, int | None]) -> QueueSettings:
        """Set all limits of a queue.

        Args:
            queue: Its name.
            wanted: `priority`, `max_length`, `concurrency`, `rate_count` and `rate_seconds`.

        Raises:
            Refusal: The broker lacks the token queues and this server may not make them (nothing is changed), another
                change is under way, or workers could not be told yet.
            StoreError: Nothing was changed.
        """
        seen = self._store.get(queue)
        told = {name: value for name, value in wanted.items() if name != "max_length"}
        if seen.generation == seen.told_generation and all(getattr(seen, name) == told[name] for name in told):
            # Only the server minds the length.
            return self._finish(self._claim(queue, wanted, seen=seen))
        if wanted["concurrency"] is not None or wanted["rate_count"] is not None:
            self._provide(queue)
        return self._finish(self._claim(queue, wanted, new_tokens=True, seen=seen), self._tell_limits)

    def refill(self, seen: QueueSettings) -> bool:
        """Make a new set of tokens in place of one that lost some; False when another was first.

        Raises:
            TransportError: It is not complete; `settle` tries again.
            StoreError: It cannot be recorded.
        """
        self._provide_tokens(seen.queue)
        claimed = self._try_claim(seen.queue, {}, new_tokens=True, seen=seen)
        if claimed is not None:
            self._carry_out(claimed, self._tell_limits)
        return claimed is not None

    def settle(self) -> int:
        """Finish what others began and could not carry out; return how many queues that were.

        Raises:
            TransportError: The broker does not take it; the next call tries again.
            StoreError: The store is away.
        """
        finished, failures = 0, []
        for seen in self._store.unsettled(_now_ms()):
            try:
                finished += self._settle(seen)
            except TransportError as error:
                # One queue must not keep the others from being looked after.
                failures.append(error)
        if failures:
            raise failures[0]
        return finished

    def _settle(self, seen: QueueSettings) -> bool:
        new_tokens = seen.generation != seen.told_generation
        if new_tokens and token_counts(order_of(seen)):
            self._provide_tokens(seen.queue)
        claimed = self._try_claim(seen.queue, {}, new_tokens=new_tokens, seen=seen)
        if claimed is None:
            return False
        self._carry_out(claimed, self._tell_pause, *([self._tell_limits] if new_tokens else []))
        logger.info("the change of %s is carried out", seen.queue, extra={"event": "queue_settled"})
        return True

    def _claim(self, queue: str, changes: Mapping[str, Any], **conditions: Any) -> QueueSettings:
        claimed = self._try_claim(queue, changes, **conditions)
        if claimed is None:
            raise Refusal("queue-busy", f"another change of queue {queue!r} is under way; try again in a moment")
        return claimed

    def _try_claim(self, queue: str, changes: Mapping[str, Any], **conditions: Any) -> QueueSettings | None:
        now_ms = _now_ms()
        return self._store.claim(queue, now_ms, now_ms + self._lease_ms, changes, **conditions)

    def _provide(self, queue: str) -> None:
        try:
            self._provide_tokens(queue)
        except TopologyError as error:
            raise Refusal("no-token-queues", str(error)) from error

    def _finish(self, claimed: QueueSettings, *tell: Callable[[QueueSettings], Mapping[str, Any]]) -> QueueSettings:
        try:
            self._carry_out(claimed, *tell)
        except TransportError as error:
            raise Refusal(
                "change-unfinished", f"the change of queue {claimed.queue!r} is recorded, but not carried out: {error}"
            ) from error
        return claimed

    def _carry_out(self, claimed: QueueSettings, *tell: Callable[[QueueSettings], Mapping[str, Any]]) -> None:
        told: dict[str, Any] = {}
        try:
            for each in tell:
                told.update(each(claimed))
        finally:
            if not self._store.release(claimed, **told):
                # We took longer than our lease: a later change may have been announced before ours.
                self._store.doubt(claimed.queue)

    def _tell_pause(self, claimed: QueueSettings) -> Mapping[str, Any]:
        subject = f"pause:{claimed.queue}"
        if claimed.paused:
            self._announcer.announce(Pause(queue=claimed.queue), subject)
        else:
            self._announcer.withdraw(subject, Resume(queue=claimed.queue))
        return {"told_paused": claimed.paused}

    def _tell_limits(self, claimed: QueueSettings) -> Mapping[str, Any]:
        """Publish exactly the tokens of the new generation, and only then let workers look for them."""
        order = order_of(claimed)
        deadline = time.monotonic() + FILL_SECONDS
        confirms = [self._transport.publish(token, wait_seconds=_left(deadline)) for token in token_publications(order)]
        try:
            for confirm in confirms:
                confirm.result(_left(deadline))
        except FutureTimeout:
            raise OutcomeUnknown(f"the broker did not confirm the tokens within {FILL_SECONDS:g} s") from None
        self._announcer.announce(order, f"limits:{claimed.queue}")
        return {"told_generation": claimed.generation}


def order_of(settings: QueueSettings) -> Limits:
    """Return what workers are told of a queue's limits."""
    names = ("queue", "priority", "concurrency", "rate_count", "rate_seconds", "generation")
    return Limits(**{name: getattr(settings, name) for name in names})


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
