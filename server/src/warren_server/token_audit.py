"""Looking after tokens: what a broker lost, by a restore or by hand, is made anew."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from warren.tokens import token_counts
from warren.topology import token_queue
from warren_server.queue_control import QueueControl, order_of
from warren_server.queues import QueueState
from warren_server.store.queue_settings import QueueSettings, QueueSettingsStore

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 30.0
"""The management API counts every few seconds, and a token on its way between queue and worker may be in neither."""
PATIENCE_MOST_SECONDS: Final = 3600.0


class TokenAudit:
    """Compares the tokens there are with those there should be. Every server does; one of them mends.

    Args:
        store: What there should be.
        read_depths: What there is, by the broker's names; None when the broker does not say.
        control: Makes new tokens.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        store: QueueSettingsStore,
        read_depths: Callable[[], Mapping[str, QueueState] | None],
        control: QueueControl,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._read_depths = read_depths
        self._control = control
        self._clock = clock
        self._short_since: dict[tuple[str, int], float] = {}
        self._patience: dict[str, float] = {}

    def look(self) -> list[str]:
        """Look once; return the queues whose tokens were made anew.

        Raises:
            TransportError: The broker did not take them.
            StoreError: The store is away.
        """
        limited = [each for each in self._store.all().values() if each.settled and token_counts(order_of(each))]
        depths = self._read_depths() if limited else None
        if depths is None:
            # Nobody knows: nobody was short either.
            self._short_since.clear()
            return []
        for each in limited:
            if not any(missing_tokens(each, depths).values()):
                self._patience.pop(each.queue, None)
        now = self._clock()
        short = {(each.queue, each.generation): each for each in limited if any(missing_tokens(each, depths).values())}
        self._short_since = {key: self._short_since.get(key, now) for key in short}
        mended = []
        for key, since in list(self._short_since.items()):
            patience = self._patience.get(key[0], PATIENCE_SECONDS)
            if now - since < patience:
                continue
            # Should the broker count wrongly for good, new tokens must not pile up.
            self._patience[key[0]] = min(2 * patience, PATIENCE_MOST_SECONDS)
            logger.warning(
                "queue %s lacks tokens: %s; making new ones",
                key[0],
                missing_tokens(short[key], depths),
                extra={"event": "tokens_missing", "queue": key[0]},
            )
            if self._control.refill(short[key]):
                mended.append(key[0])
            del self._short_since[key]
        return mended


def missing_tokens(settings: QueueSettings, depths: Mapping[str, QueueState]) -> dict[str, int]:
    """Return how many tokens of each kind a limited queue lacks; those out at workers are there."""
    return {kind: max(wanted - there, 0) for kind, (wanted, there) in tokens(settings, depths).items()}


def tokens(settings: QueueSettings, depths: Mapping[str, QueueState]) -> dict[str, tuple[int, int]]:
    """Return for each kind of token of a limited queue how many there should be and how many there are.

    A queue that is not there has none; one whose messages the broker has not counted is left out.
    """
    found = {}
    for kind, wanted in token_counts(order_of(settings)).items():
        state = depths.get(token_queue(settings.queue, kind), QueueState(ready=0, unacked=0))
        if state.ready is not None:
            found[str(kind)] = (wanted, state.ready + (state.unacked or 0))
    return found
