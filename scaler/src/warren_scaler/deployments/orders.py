"""Orders to workers: drain, and go on, over `warren.control`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from warren.control import MAX_IDS, Drain, Order, Undrain, encode_order
from warren.errors import OutcomeUnknown
from warren.transport import Transport, control_publication

CONFIRM_SECONDS: Final = 5.0


class Orders:
    """Sends orders, and returns when the broker has them.

    Args:
        transport: Started and stopped by the caller; its login needs the right to write to `warren.control`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def drain(self, workers: Sequence[str]) -> None:
        """Tell workers to take no more work.

        Raises:
            TransportError: The broker did not take it, or did not say so in time; giving it again is harmless.
        """
        self._give(Drain, workers)

    def undrain(self, workers: Sequence[str]) -> None:
        """Tell workers to go on; raises as `drain` does."""
        self._give(Undrain, workers)

    def _give(self, order: type[Drain] | type[Undrain], workers: Sequence[str]) -> None:
        for begin in range(0, len(workers), MAX_IDS):
            self._send(order(workers=tuple(workers[begin : begin + MAX_IDS])))

    def _send(self, order: Order) -> None:
        sent = self._transport.publish(control_publication(encode_order(order)), wait_seconds=CONFIRM_SECONDS)
        try:
            sent.result(CONFIRM_SECONDS)
        except FutureTimeout:
            raise OutcomeUnknown(f"the broker did not confirm the order within {CONFIRM_SECONDS:g} s") from None
