"""Sends several jobs at a time and says of each what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from warren.errors import OutcomeUnknown, TransportError
from warren.transport import Publication, Transport


class Sender:
    """Publishes and waits for confirms.

    Args:
        transport: Where to.
        wait_seconds: How long to wait for a connection or for room in the window.
        confirm_seconds: How long to wait for the confirms.
    """

    def __init__(self, transport: Transport, wait_seconds: float, confirm_seconds: float) -> None:
        self._transport = transport
        self._wait_seconds = wait_seconds
        self._confirm_seconds = confirm_seconds

    @property
    def longest_seconds(self) -> float:
        """How long sending takes at most."""
        return self._wait_seconds + self._confirm_seconds

    def send(self, publications: Sequence[Publication]) -> list[TransportError | None]:
        """Send messages, all under way at once.

        Returns:
            For each, in order, None when the broker has it safe, else why that is not so or not known.
        """
        deadline = time.monotonic() + self._wait_seconds
        sent = [self._publish(publication, deadline) for publication in publications]
        deadline = time.monotonic() + self._confirm_seconds
        return [one if isinstance(one, TransportError) else self._outcome(one, deadline) for one in sent]

    def _publish(self, publication: Publication, deadline: float) -> Future[None] | TransportError:
        try:
            return self._transport.publish(publication, wait_seconds=max(deadline - time.monotonic(), 0))
        except TransportError as error:
            return error

    def _outcome(self, sent: Future[None], deadline: float) -> TransportError | None:
        try:
            sent.result(max(deadline - time.monotonic(), 0))
        except FutureTimeout:
            return OutcomeUnknown(f"the broker did not confirm within {self._confirm_seconds:g} s")
        except TransportError as error:
            return error
        return None
