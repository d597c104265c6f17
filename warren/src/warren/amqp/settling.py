"""Which acks to send so that few frames settle many deliveries. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class Acks:
    """Follows one channel's delivery tags, which count from 1, and turns acks into the fewest frames."""

    def __init__(self) -> None:
        self._floor = 0
        self._settled_above: set[int] = set()

    def settled_singly(self, tag: int) -> None:
        """Note a delivery that was settled by a frame of its own, such as a nack."""
        self._settled_above.add(tag)

    def plan(self, acked: Iterable[int]) -> list[tuple[int, bool]]:
        """Choose the frames for newly acked deliveries.

        Everything up to a tag may be settled by one `multiple` ack once all below it is settled or newly acked too.

        Returns:
            Delivery tags to ack, each with whether it stands for all up to it.
        """
        new = set(acked)
        reach, top, covered = self._floor + 1, 0, 0
        while reach in new or reach in self._settled_above:
            if reach in new:
                top, covered = reach, covered + 1
                new.discard(reach)
            self._settled_above.discard(reach)
            reach += 1
        self._floor = reach - 1
        self._settled_above |= new
        prefix = [(top, covered > 1)] if covered else []
        return prefix + [(tag, False) for tag in sorted(new)]
