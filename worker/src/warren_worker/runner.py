"""The worker: takes deliveries, gives them slots, settles what came of them, and drains."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import wait
from random import Random
from typing import Final

from warren.control import Order
from warren.envelope import Envelope
from warren.events import State
from warren.status import WorkerStatus
from warren.task import Registry
from warren.topology import queue_name
from warren.transport import Delivery, Subscription, Transport
from warren_worker import settle
from warren_worker.batch import Batcher
from warren_worker.cancel import judge
from warren_worker.consuming import Consuming
from warren_worker.control import Control
from warren_worker.copies import Copies
from warren_worker.health import Pulse
from warren_worker.intake import is_expired, receive
from warren_worker.job import Job, Run
from warren_worker.meters import Meters
from warren_worker.outbox import Outbox
from warren_worker.outcome import Cancelled, Outcome, Succeeded
from warren_worker.pools import Pools
from warren_worker.process import Children
from warren_worker.progress import Throttle
from warren_worker.settings import WorkerSettings
from warren_worker.settle import Moment, Settlement
from warren_worker.settler import Settler
from warren_worker.slots import Ask, Slots
from warren_worker.steering import Steering
from warren_worker.suspects import Suspects
from warren_worker.tally import Tally
from warren_worker.timers import Timers
from warren_worker.tokens import Grant, Tokens

logger = logging.getLogger(__name__)

CONSUMER_TIMEOUT_SECONDS: Final = 300.0
CONSUMER_MARGIN_SECONDS: Final = 120.0
CANCEL_SECONDS: Final = 1.0
"""How long a job may take to notice that it is cancelled at the end of a drain."""
FLUSH_SECONDS: Final = 5.0
TOKEN_WAIT_SECONDS: Final = 60.0
"""How long a job may wait here for tokens before it goes to the end of its queue: well below the consumer timeout."""


class Worker:
    """Runs jobs from a transport.

    Args:
        transport: Started by the caller, and stopped by the caller after `drain`.
        registry: The tasks this worker knows.
        settings: How much at once, from which queues.
        meters: What is counted.
        modules: Modules that declare the tasks, for child processes.
        clock: Seconds since the epoch, injected so tests can fix it.
        rng: Source of jitter, likewise.
    """

    def __init__(
        self,
        transport: Transport,
        registry: Registry,
        settings: WorkerSettings,
        meters: Meters,
        *,
        modules: str = "",
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._settings = settings
        self._meters = meters
        self._clock = clock
        self._rng = rng or Random()
        self._name = settings.worker
        self._timers = Timers()
        self._outbox = Outbox(transport, self._timers, self._rng)
        self._batcher = Batcher(self._timers, self._outbox)
        self._settler = Settler(self._outbox, self._batcher)
        self._pools = Pools(self._timers, Children(modules), self._ended)
        self._suspects = Suspects(
            self._outbox,
            self._timers,
            starts=self._announced_runs,
            is_idle=lambda: self._settler.idle,
            begin=self._start,
        )
        self._control = Control(transport, self._outbox, self._suspects.listening(self._on_order), self._on_synced)
        self._tally = Tally()
        self._copies = Copies(self._control.forget_id)
        self._tokens = Tokens(transport, self._timers, self._rng, self._control.limits, self._fill)
        self._slots = Slots(settings.slots, self._priority, self._tokens, meters.running, self._on_gone)
        self.pulse = Pulse(transport, self._timers)
        self._consuming = Consuming(self.queues, self._subscribe, self._control.paused, self.pulse.watch)
        self._steering = Steering(
            self._name,
            self._control,
            self._slots,
            self._consuming,
            self._timers,
            self.pulse,
            meters,
            drop=self._drop_cancelled,
            give_back=self._give_back,
            fill=self._fill,
        )

    @property
    def queues(self) -> list[str]:
        """The queues this worker works on."""
        return list(self._settings.priorities) or self._registry.queues()

    @property
    def status(self) -> WorkerStatus:
        """What it does at this moment."""
        running = self._slots.running
        now_ms = self._now_ms()
        oldest_ms = min((run.started_ms for run in running if run.started_ms), default=now_ms)
        return WorkerStatus(
            worker=self._name,
            concurrency=self._settings.slots,
            running=len(running),
            waiting=self._slots.waiting,
            oldest_job_seconds=max(now_ms - oldest_ms, 0) / 1000,
            draining=self.pulse.draining,
            ended=self._tally.ended,
            ended_seconds=self._tally.seconds,
        )

    def start(self) -> None:
        """Begin to work, once the orders given so far are known."""
        self._timers.start()
        self._meters.slots.set(self._settings.slots)
        self._control.start()

    def _on_order(self, order: Order) -> None:
        self._steering.on_order(order)

    def _on_synced(self) -> None:
        self._consuming.open()

    def _subscribe(self, queue: str) -> Subscription:
        return self._transport.consume(
            queue_name(queue),
            self._on_delivery,
            prefetch=self._settings.held,
            consumer_timeout_seconds=consumer_timeout_seconds(self._registry),
        )

    def _priority(self, queue: str) -> int:
        ordered = self._control.ordered_limits(queue)
        return self._settings.priorities.get(queue, 0) if ordered is None else ordered.priority

    def drain(self, seconds: float) -> bool:
        """Take no more work, finish what runs, give back the rest, flush. Idempotent.

        Args:
            seconds: How long running jobs may go on.

        Returns:
            Whether every job that ran came to its end.
        """
        end = time.monotonic() + seconds
        self._stop_intake()
        finished = self._slots.wait_idle(seconds)
        if not finished:
            self._give_up()
        self._control.stop()
        self._tokens.wait_returned(end - time.monotonic())
        self._pools.stop()
        if not self._settler.wait_settled(FLUSH_SECONDS) or not self._outbox.wait_empty(FLUSH_SECONDS):
            logger.warning(
                "not everything was confirmed before the exit; the broker hands those jobs out again",
                extra={"event": "flush_incomplete"},
            )
        self._timers.stop()
        return finished

    def _stop_intake(self) -> None:
        self._steering.end()
        self.pulse.drain()
        self._meters.draining.set(1)
        stopped = self._consuming.end()
        returned = self._steering.return_unwanted()
        for run in self._suspects.withdraw():
            self._turn_away(run)
        wait(stopped, timeout=FLUSH_SECONDS)
        running = len(self._slots.running)
        logger.info(
            "draining: %d jobs run on, %d were given back",
            running,
            len(returned),
            extra={"event": "drain_started", "running": running, "given_back": len(returned)},
        )

    def _give_up(self) -> None:
        """Cancel what still runs, and give back what does not end at once."""
        for run in self._slots.running:
            run.out_of_time = True
            run.cancel()
        self._slots.wait_idle(CANCEL_SECONDS)
        overdue = [run for run in self._slots.running if run.claim()]
        # Children die before their jobs go back, so that no job runs twice at a time.
        self._pools.stop()
        self._give_back(overdue)
        logger.warning(
            "%d jobs were still running when the drain's time was up; they were given back",
            len(overdue),
            extra={"event": "drain_overdue", "jobs": [run.job.envelope.id for run in overdue]},
        )

    def _give_back(self, runs: Iterable[Run]) -> None:
        for run in runs:
            run.claim()
            self._carry_out(run, settle.give_back(run.job, self._moment(run), announced=run.announced))

    def _turn_away(self, run: Run) -> None:
        """Give back a run that has a slot and cannot begin."""
        self._give_back([run])
        self._leave(run)

    def _on_gone(self, run: Run) -> None:
        self._copies.settled(run, finished=False)

    def _drop_cancelled(self, runs: Iterable[Run]) -> None:
        for run in runs:
            job = run.job
            run.claim()
            self._settle_unrun(run, settle.cancelled(job.envelope, job.attempt, self._moment(run)))

    def _announced_runs(self, job: Envelope) -> int:
        return self._control.starts(job)

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.redelivered:
            self._meters.redelivered(delivery.queue)
        if self._copies.take(delivery):
            return
        decided = receive(delivery, self._registry, self._moment(), self._announced_runs, self._control.cancels)
        if isinstance(decided, Settlement):
            self._settle_at_once(delivery, decided)
        else:
            self._admit(Run(job=decided, delivery=delivery))

    def _admit(self, run: Run) -> None:
        self._copies.add(run)
        if self._slots.add(run, lambda: self._consuming.takes(run.queue)):
            self._fill()
        else:
            self._give_back([run])

    def _settle_at_once(self, delivery: Delivery, settlement: Settlement) -> None:
        """Settle what is no job to run, or none any more."""
        self._tell_unrun(delivery, settlement)
        message = delivery.message

        def settled(finished: bool) -> None:
            if finished and any(event.state.final for event in settlement.events):
                self._copies.ended_unrun(message)

        self._settler.carry_out(delivery, settlement, settled=settled)

    def _settle_unrun(self, run: Run, settlement: Settlement) -> None:
        self._tell_unrun(run.delivery, settlement)
        self._carry_out(run, settlement)

    def _tell_unrun(self, delivery: Delivery, settlement: Settlement) -> None:
        logger.info(
            "a message from %s was settled unrun: %s",
            delivery.queue,
            settlement.outcome,
            extra={"event": "job_not_run", "outcome": settlement.outcome, "job": delivery.message.message_id},
        )
        self._meters.ended(delivery.queue, delivery.message.type or "", settlement.outcome)

    def _carry_out(self, run: Run, settlement: Settlement) -> None:
        self._settler.carry_out(run.delivery, settlement, lambda finished: self._copies.settled(run, finished=finished))

    def _fill(self) -> None:
        """Start waiting jobs while there are free slots."""
        while (following := self._slots.next()) is not None:
            if isinstance(following, Ask):
                self._tokens.ask(following.queue, self._on_tokens)
            else:
                self._begin(following)

    def _on_tokens(self, queue: str, grant: Grant | None) -> None:
        """Start the job that tokens were asked for, or leave its slot to others."""
        run = self._slots.redeem(queue, granted=grant is not None)
        if run is not None:
            run.grant = grant
            self._begin(run)
        elif grant is not None:
            self._tokens.ended(grant)
        else:
            self._return_overdue(queue)
        self._fill()

    def _return_overdue(self, queue: str) -> None:
        before = time.monotonic() - TOKEN_WAIT_SECONDS
        for run in self._slots.withdraw(lambda run: run.queue == queue and run.arrived < before):
            run.claim()
            self._carry_out(run, settle.renew(run.job))

    def _begin(self, run: Run) -> None:
        if (unrun := self._not_to_run(run)) is not None:
            self._end_unrun(run, unrun)
        elif not self._suspects.begin(run):
            self._turn_away(run)

    def _end_unrun(self, run: Run, settlement: Settlement) -> None:
        run.claim()
        self._settle_unrun(run, settlement)
        self._leave(run)

    def _start(self, run: Run) -> None:
        if run.job.exhausted:
            self._end_unrun(run, settle.lost(run.job, self._moment(run)))
            self._timers.after(0, self._fill)
            return
        run.started_ms = self._now_ms()
        if self._settings.once:
            self._steering.take_no_more()
        run.throttle = Throttle(self._timers, self._tell_running)
        self._meters.started(run)
        self._tell_running(run)
        if run.grant is not None:
            # Before the code begins: it may have ended before `start` returns.
            self._tokens.started(run.grant)
        self._pools.start(run)

    def _not_to_run(self, run: Run) -> Settlement | None:
        """Return how a job is settled that has its slot and is not wanted any more, or None."""
        job = run.job
        if self._control.cancels(job.envelope):
            return settle.cancelled(job.envelope, job.attempt, self._moment(run))
        if is_expired(job.envelope, self._now_ms()):
            return settle.expired(job.envelope, job.attempt, self._moment(run))
        return None

    def _tell_running(self, run: Run) -> None:
        self._batcher.tell([settle.event(run.job, State.RUNNING, self._moment(run))])

    def _ended(self, run: Run, outcome: Outcome) -> None:
        try:
            if run.throttle is not None:
                run.throttle.close()
            if run.claim():
                self._settle(run, outcome)
        finally:
            self._follow(run)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        # An order that came a moment before the run was among the running ones counts as well.
        ordered = run.stopped or self._control.cancels(run.job.envelope, running=True)
        judged = judge(outcome, ordered=ordered, out_of_time=run.out_of_time, noticed=run.noticed)
        if judged is None:
            settlement = settle.give_back(run.job, self._moment(run))
        else:
            settlement = settle.settle(judged, run.job, self._moment(run), self._rng)
        seconds = (self._now_ms() - run.started_ms) / 1000
        self._meters.ended(run.delivery.queue, run.job.task.name, settlement.outcome, seconds)
        if judged is not None:
            self._tally.add(seconds)
        _log_end(run.job, judged or outcome, settlement)
        if not settlement.again and not isinstance(judged, Cancelled):
            self._control.forget(run.job.envelope)
        self._carry_out(run, settlement)

    def _leave(self, run: Run) -> None:
        """Free a job's slot; the caller sees to what follows."""
        self._slots.leave(run)
        if run.grant is not None:
            self._tokens.ended(run.grant)
        self._steering.on_left()

    def _follow(self, run: Run) -> None:
        """Free a job's slot and start what comes next."""
        if run.grant is not None and self._tokens.may_pass_on(run.grant):
            self._slots.leave(run)
            following = self._slots.next_of(run.queue)
            if following is not None:
                following.grant, run.grant = run.grant, None
                self._begin(following)
        self._leave(run)
        self._fill()

    def _moment(self, run: Run | None = None) -> Moment:
        if run is None:
            return Moment(worker=self._name, image=self._settings.image, now_ms=self._now_ms())
        return Moment(
            worker=self._name,
            image=self._settings.image,
            now_ms=self._now_ms(),
            started_ms=run.started_ms or None,
            state=run.state,
            progress=run.progress,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def consumer_timeout_seconds(registry: Registry) -> float:
    """Say how long the broker lets a delivery be: above any attempt, so that it only strikes when the worker hangs.

    A prefetched job may wait for one whole attempt before its own; and any task may be submitted to any queue.
    """
    longest = max((task.timeout_seconds for task in registry), default=0.0)
    return max(CONSUMER_TIMEOUT_SECONDS, 2 * longest + CONSUMER_MARGIN_SECONDS)


def _log_end(job: Job, outcome: Outcome, settlement: Settlement) -> None:
    fields = {
        "event": "job_ended",
        "job": job.envelope.id,
        "task": job.task.name,
        "attempt": job.attempt,
        "outcome": settlement.outcome,
    }
    if isinstance(outcome, Succeeded):
        level = logging.DEBUG if outcome.note is None else logging.WARNING
        logger.log(level, "job succeeded%s", f"; {outcome.note}" if outcome.note else "", extra=fields)
        return
    if isinstance(outcome, Cancelled):
        logger.info("job cancelled after %.300s", outcome.error.message, extra=fields)
        return
    then = "it is tried again" if settlement.again else "it is a dead letter"
    if settlement.oom_queue is not None:
        then = f"it goes to queue {settlement.oom_queue}"
    logger.warning(
        "job %s: %s: %.300s; %s", settlement.outcome, outcome.error.type, outcome.error.message, then, extra=fields
    )
