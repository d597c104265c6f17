"""One submit on its way: what is sent next, and when to stop. No I/O, the same for both clients.

Every submit carries an `Idempotency-Key`, the caller's or one made for this call, so that it may be sent again when
nobody knows whether it got through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from uuid import uuid4

from warren.client import patience
from warren.client.patience import Patience
from warren.client.views import JobView
from warren.client.wire import Request
from warren.errors import RequestFailed


class Sending:
    """A submit and its tries.

    Args:
        request: The submit; without a key it is given one.
        limits: How long to try.
        rng: Source of jitter.
        now: The time, seconds on some clock.

    Attributes:
        request: What to send next.
    """

    def __init__(self, request: Request, limits: Patience, rng: Random, now: float) -> None:
        self._own_key = request.key is None
        self.request = replace(request, key=str(uuid4())) if request.key is None else request
        self._rng = rng
        self._deadline = now + limits.submit_seconds
        self._tries = 0
        self._open = False

    def again(self, failure: RequestFailed, now: float) -> float | None:
        """Decide whether the submit is sent again after it failed.

        Args:
            failure: What the server answered, or that it did not.
            now: The time.

        Returns:
            Seconds to pause before the next try, or None to give up.
        """
        self._tries += 1
        self._open = self._open or failure.kind in patience.UNKNOWN
        if failure.kind == "store-unavailable" and self._own_key and not self._open:
            # Without a key the server takes jobs while its store is away. No try so far can have brought any in.
            self.request = replace(self.request, key=None)
        return patience.submit_again(
            failure,
            tries=self._tries,
            remaining_seconds=self._deadline - now,
            rng=self._rng,
            keyed=self.request.key is not None,
        )

    def again_for(self, results: Sequence[JobView | RequestFailed], now: float) -> float | None:
        """Decide whether a batch is sent again for the jobs of it that were not accepted, or not certainly.

        Under its key the others are not submitted twice.

        Args:
            results: What became of its jobs.
            now: The time.

        Returns:
            Seconds to pause before the next try, or None to leave it at that.
        """
        self._tries += 1
        later = [one for one in results if isinstance(one, RequestFailed) and one.status in (429, 503)]
        if not later or self.request.key is None:
            return None
        self._open = True
        pause = patience.pause(1.0, self._tries, self._rng)
        return pause if pause < self._deadline - now else None
