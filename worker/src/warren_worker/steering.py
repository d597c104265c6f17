"""What orders make a worker do while it runs: cancel jobs, pause queues, drain and go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from warren.control import CancelJobs, CancelMatching, Drain, Limits, Order, Pause, Resume, Undrain
from warren_worker.consuming import Consuming
from warren_worker.control import Control
from warren_worker.health import Pulse
from warren_worker.job import Run
from warren_worker.meters import Meters
from warren_worker.slots import Slots
from warren_worker.timers import Timers

logger = logging.getLogger(__name__)

DRAINED: Final = "drained by order"


class Steering:
    """Does what orders say, on the transport's thread; what takes longer than a moment is left to the timers' thread.

    Args:
        name: This worker's name.
        control: What all orders come to.
        slots: The jobs at hand.
        consuming: The subscriptions.
        timers: Who does what takes longer.
        pulse: Told whether work is taken.
        meters: Likewise.
        drop: Ends jobs that were cancelled before they began.
        give_back: Gives back jobs that are not wanted any more.
        fill: Starts what may be started.
    """

    def __init__(
        self,
        name: str,
        control: Control,
        slots: Slots,
        consuming: Consuming,
        timers: Timers,
        pulse: Pulse,
        meters: Meters,
        *,
        drop: Callable[[Iterable[Run]], None],
        give_back: Callable[[Iterable[Run]], None],
        fill: Callable[[], None],
    ) -> None:
        self._name = name
        self._control = control
        self._slots = slots
        self._consuming = consuming
        self._timers = timers
        self._pulse = pulse
        self._meters = meters
        self._drop = drop
        self._give_back = give_back
        self._fill = fill
        self._lock = threading.Lock()
        self._draining = False
        self._ended = False

    def on_order(self, order: Order) -> None:
        """Act on an order. One from before this worker's start only counts for what is to come."""
        if not self._control.synced:
            return
        match order:
            case CancelJobs() | CancelMatching():
                self._cancel()
            case Pause() | Resume():
                self._consuming.refresh()
                self.return_unwanted()
            case Limits():
                self._fill()
            case Drain() if self._name in order.workers:
                self._drain()
            case Undrain() if self._name in order.workers:
                self._undrain()
            case _:
                return

    def take_no_more(self) -> None:
        """Drain without an order: what runs is the last there will be."""
        self._drain()

    def end(self) -> None:
        """Heed no more orders to drain or to go on: the process ends."""
        with self._lock:
            self._ended = True

    def on_left(self) -> None:
        """Look whether this was the last job of a worker that was told to drain."""
        with self._lock:
            if not self._draining or self._ended or self._slots.running:
                return
            self._pulse.drain(DRAINED)
        logger.info("drained: nothing runs, and nothing is taken until told to go on", extra={"event": "drained"})

    def return_unwanted(self) -> list[Run]:
        """Give back waiting jobs of queues that are not consumed any more, and return them."""
        unwanted = self._slots.withdraw(lambda run: not self._consuming.takes(run.queue))
        self._give_back(unwanted)
        return unwanted

    def _cancel(self) -> None:
        self._drop(self._slots.withdraw(lambda run: self._control.cancels(run.job.envelope)))
        for run in self._slots.running:
            if not run.stopped and self._control.cancels(run.job.envelope, running=True):
                logger.info(
                    "job %s is cancelled while it runs",
                    run.job.envelope.id,
                    extra={"event": "job_stopping", "job": run.job.envelope.id, "task": run.job.task.name},
                )
                # A child is killed and waited for.
                self._timers.after(0, run.stop)

    def _drain(self) -> None:
        with self._lock:
            if self._draining or self._ended:
                return
            self._draining = True
            self._pulse.wind_down()
        self._meters.draining.set(1)
        self._consuming.close()
        returned = self.return_unwanted()
        logger.info(
            "told to drain: %d jobs run on, %d were given back",
            len(self._slots.running),
            len(returned),
            extra={"event": "drain_ordered", "given_back": len(returned)},
        )
        self.on_left()

    def _undrain(self) -> None:
        with self._lock:
            if not self._draining or self._ended:
                return
            self._draining = False
            self._pulse.undrain()
        self._meters.draining.set(0)
        logger.info("told to go on", extra={"event": "undrained"})
        self._consuming.open()
