"""A whole Warren without threads: server, broker, workers and store take one step at a time, and time is a number.

The real `Worker` works on the real in-memory broker. Only what would bring threads and clocks is replaced: the
transport is stepped by hand, timers run on the world's clock, and runs of tasks end when a test says so. So the same
calls always lead to the same world.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from threading import current_thread
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from warren import Context, Discard, Registry, Retry, task
from warren.control import Order, encode_order
from warren.envelope import Envelope, Message
from warren.errors import TransportError
from warren.events import ErrorInfo, Event, State
from warren.memory import MemoryTransport, _MemorySubscription
from warren.memory_broker import Broker, Stored
from warren.topology import DEAD, EVENTS, UNROUTABLE, level_name, queue_name, topology
from warren.transport import Publication, control_publication, job_publication
from warren_server.projection import read
from warren_server.redrive import redriven, redriven_event
from warren_server.store.fold import Row, fold
from warren_worker import execute, health, runner, settle
from warren_worker.job import Run
from warren_worker.meters import Meters
from warren_worker.outcome import Crashed, Outcome
from warren_worker.settings import WorkerSettings
from warren_worker.timers import Timer

START_SECONDS = 1_700_000_000
"""The world begins in 2023: a clock at 0 would make times that count as absent."""
QUEUE = "default"
MAX_ATTEMPTS = 3
KNOWN = ("work", "late")
PARK_LIMIT_SECONDS = 3600
"""Instead of a day, which takes 300 hand-outs of a parked job."""
_ENDLESS = 20_000
_NEVER = 1e9


class Clock:
    """The one time of a world, and what is due when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, SteppedTimers, Timer]] = []
        self._order = itertools.count()

    def at(self, due: float, owner: SteppedTimers, timer: Timer) -> None:
        heapq.heappush(self._due, (due, next(self._order), owner, timer))

    def next_due(self) -> float | None:
        while self._due and (self._due[0][3].call is None or self._due[0][2].dead):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def run_due(self) -> bool:
        """Make the calls that are due; whether there were any."""
        called = False
        while (due := self.next_due()) is not None and due <= self.now:
            timer = heapq.heappop(self._due)[3]
            assert timer.call is not None
            timer.call()
            called = True
        return called


class SteppedTimers:
    """Stands in for `warren_worker.timers.Timers`."""

    clock: Clock

    def __init__(self) -> None:
        self.dead = False

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Go on until the process is gone: a drain that cannot wait here has not flushed yet."""

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = Timer(call, _forget)
        if seconds < _NEVER:
            self.clock.at(self.clock.now + seconds, self, timer)
        return timer


def _forget(timer: Timer) -> None:
    timer.call = None


class SteppedPools:
    """Stands in for `warren_worker.pools.Pools`: a run goes on until it is told to end."""

    def __init__(self, _timers: object, _children: object, done: Callable[[Run, Outcome], None]) -> None:
        self._done = done
        self.runs: list[Run] = []

    def start(self, run: Run) -> None:
        self.runs.append(run)

    def stop(self) -> None:
        """Nothing to stop."""

    def end(self, run: Run) -> None:
        """Run the task's code to its end."""
        self.runs.remove(run)
        if word_of(run.job.envelope, run.job.attempt) == "crash":
            outcome: Outcome = Crashed(error=ErrorInfo(type="Crashed", message="killed by signal 9"))
        else:
            outcome = execute.run(run.job, run.context())
        self._done(run, outcome)


class SteppedTransport(MemoryTransport):
    """A connection to a broker it shares with others; works when it is told to."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        super().__init__()
        self._broker = broker
        self._shared_clock = clock
        self._read: dict[int, int] = defaultdict(int)

    def start(self) -> None:
        self._thread = current_thread()

    def step(self) -> bool:
        """Do what there is to do now; whether there was anything."""
        self._worked = False
        # A transport that is to stop does what is left, and returns.
        self._stopping = True
        self._run()
        self._stopping = False
        return self._worked

    def unconfirmed(self) -> list[Message]:
        """Messages whose publisher does not know yet whether the broker has them."""
        return [publication.message for publication, _ in self._outbox] + list(self._unheard)

    def held(self) -> list[Message]:
        """Messages handed out and not settled."""
        return [each.message for one in (*self._subscriptions, *self._ended) for each in one.unsettled.values()]

    def vanish(self) -> None:
        """Be gone with the process: what it held goes back, and nobody hears of its confirms."""
        self._online = False
        self._outbox.clear()
        self._confirms.clear()
        self._give_back(counted=True)
        self._subscriptions.clear()

    def leave(self) -> None:
        """Close the connection in order."""
        self._online = False
        self._give_back(counted=False)
        self._subscriptions.clear()

    def _now(self) -> float:
        return self._shared_clock.now

    @property
    def _unheard(self) -> Iterator[Message]:
        return iter(self._written) if self._confirms else iter(())

    def _put(self, publication: Publication) -> Exception | None:
        if not self._confirms:
            self._written: list[Message] = []
        self._written.append(publication.message)
        return super()._put(publication)

    def _take_confirms(self) -> Any:
        taken = super()._take_confirms()
        self._worked |= bool(taken)
        return taken

    def _take_deliveries(self) -> Any:
        taken = super()._take_deliveries()
        self._worked |= bool(taken)
        return taken

    def _next(self, subscription: _MemorySubscription) -> Stored | None:
        if not self._broker.is_stream(subscription.queue):
            return super()._next(subscription)
        # Each connection reads the shared stream from its own place.
        log = list(self._broker.log(subscription.queue))
        place = self._read[id(subscription)]
        if place >= len(log):
            return None
        self._read[id(subscription)] = place + 1
        return log[place]


@dataclass(eq=False)
class WorkerProcess:
    """A worker and its connection."""

    name: str
    worker: runner.Worker
    transport: SteppedTransport
    knows: tuple[str, ...]
    draining: bool = False

    @property
    def pools(self) -> SteppedPools:
        pools: Any = self.worker._pools
        assert isinstance(pools, SteppedPools)
        return pools

    def begun(self) -> list[Run]:
        """Runs that workers may have been told of: those that go on, and those announced."""
        return [*self.pools.runs, *self.worker._suspects._waiting.values()]

    def leave(self) -> None:
        """Take what belongs to the process away with it."""
        timers: Any = self.worker._timers
        timers.dead = True


@dataclass(eq=False)
class Story:
    """What was done with a job, to judge what became of it."""

    envelope: Envelope
    newer: bool = False
    accepted: bool | None = False
    """None: nobody knows, and it may run or not."""
    copies: int = 0
    """How many messages of it there may be beyond the one."""
    disturbed: bool = False
    """Something happened to it that allows for more than the plain course."""
    lost: int = 0
    """How often it ran, or was about to, at a worker that died or lost its connection."""
    interrupted: int = 0
    """How often a drain ended its run."""
    overtaken: int = 0
    """How often its message went to others while it ran, or before its end was acked."""
    cancel_asked: bool = False
    must_be_cancelled: bool = False
    """It waited in a queue or on the ladder when it was cancelled."""
    most_runs: int | None = None
    """How often it may run after it was cancelled: as often as it had, with what ran just then."""
    redrives: int = 0
    runs: list[tuple[int, int, str]] = field(default_factory=list)
    """Round, attempt, and word of the script."""
    terminal: list[Event] = field(default_factory=list)
    """Each final event once, in whatever order and number they came."""

    @property
    def parked_out(self) -> bool:
        """Whether it met only workers that do not know it, until the limit of parking."""
        return self.envelope.task == "late" and any(event.outcome == "invalid" for event in self.terminal)

    @property
    def limit(self) -> int:
        return self.envelope.max_attempts or MAX_ATTEMPTS


class Store:
    """Folds what comes as the server's tables do."""

    def __init__(self) -> None:
        self.jobs: dict[str, Row] = {}
        self.attempts: dict[tuple[str, int], Row] = {}
        self.letters: dict[str, Row] = {}
        self.gone: set[str] = set()
        """Letters that were redriven: only a newer death takes their place."""
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Keep a submit, as `JobStore.record` does: a row that events made already stays."""
        jobs, _ = fold({}, {}, [event])
        self.jobs.setdefault(event.job, jobs[event.job])

    def project(self, events: tuple[Event, ...], letter: Row | None) -> None:
        jobs, attempts = fold(self.jobs, self.attempts, events)
        self.jobs.update(jobs)
        self.attempts.update(attempts)
        self.events += events
        if letter is not None:
            known = self.letters.get(letter["id"])
            if known is None or _order(letter) > _order(known):
                self.letters[letter["id"]] = letter
                self.gone.discard(letter["id"])


class World:
    """Server, broker, workers and store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker()
        self.broker.declare(topology([QUEUE]))
        self.server = SteppedTransport(self.broker, self.clock)
        self.server.start()
        self.workers: list[WorkerProcess] = []
        self.store = Store()
        self.stories: dict[str, Story] = {}
        self.blocked = False
        self._numbers = itertools.count(1)

    def now_ms(self) -> int:
        return int((START_SECONDS + self.clock.now) * 1000)

    # -- What people do ------------------------------------------------------------------------------------------

    def submit(self, task: str, script: list[str], *, delay_seconds: int, tracked: bool, **fields: Any) -> Story:
        """Submit a job as the server does: accepted after the confirm, then recorded."""
        envelope = Envelope(
            id=f"00000000-0000-7000-8000-{next(self._numbers):012d}",
            task=task.removeprefix("newer-"),
            queue=QUEUE,
            body=b"[]" if task == "mangled" else json.dumps({"script": script}).encode(),
            enqueued_ms=self.now_ms(),
            **fields,
        )
        story = Story(envelope=envelope, newer=task.startswith("newer-"))
        self.stories[envelope.id] = story
        publication = job_publication(envelope, delay_seconds)
        if story.newer:
            message = publication.message
            newer = replace(message, headers={**message.headers, "warren-v": 2})
            publication = replace(publication, message=newer)
        state = State.SCHEDULED if delay_seconds else State.QUEUED
        self._publish(story, publication, _submitted(envelope, state) if tracked else None)
        return story

    def cancel(self, order: Order, meant: list[Story]) -> None:
        """Send an order to every worker, until the broker has it."""
        self.recover()
        begun = [run.job.envelope.id for process in self.workers for run in process.begun()]
        names = [queue_name(QUEUE), *(level_name(level) for level in range(22))]
        waiting = {stored.message.message_id for name in names for stored in self.broker.peek(name)}
        for story in meant:
            runs = len(story.runs) + begun.count(story.envelope.id)
            story.cancel_asked = True
            story.must_be_cancelled |= story.envelope.id in waiting
            story.most_runs = runs if story.most_runs is None else min(story.most_runs, runs)
        self.server.publish(control_publication(encode_order(order)))
        self.pump()

    def redrive(self, letter: Row) -> None:
        """Bring a dead letter's job back, as the server does; the letter stays as a tombstone."""
        self.store.gone.add(letter["id"])
        story = self.stories[letter["job"]]
        # A new round is reached by no cancel of all that was there before.
        story.must_be_cancelled, story.most_runs = False, None
        again = redriven(letter, self.store.jobs.get(letter["job"]), self.now_ms())
        self._publish(story, job_publication(again), redriven_event(again, self.now_ms()))
        story.redrives += 1

    def _publish(self, story: Story, publication: Publication, event: Event | None) -> None:
        try:
            sent = self.server.publish(publication)
        except TransportError:
            return
        self.pump()
        if not sent.done():
            # The client hung up; the message is with the broker.
            story.accepted = None if not story.accepted else True
            return
        if sent.exception() is None:
            story.accepted = True
            if event is not None:
                self.store.record(event) if event.round == 0 else self.store.project((event,), None)

    # -- Workers -------------------------------------------------------------------------------------------------

    def start_worker(self, *, knows: tuple[str, ...] = KNOWN) -> WorkerProcess:
        number = next(self._numbers)
        transport = SteppedTransport(self.broker, self.clock)
        transport.start()
        if self.blocked:
            transport.block()
        registry = self._registry(knows)
        SteppedTimers.clock = self.clock
        worker = runner.Worker(
            transport,
            registry,
            WorkerSettings(name=f"worker-{number}", concurrency=2, prefetch=6, queues=QUEUE),
            Meters(registry, CollectorRegistry()),
            clock=lambda: START_SECONDS + self.clock.now,
            rng=Random(number),
        )
        started = WorkerProcess(f"worker-{number}", worker, transport, knows)
        self.workers.append(started)
        worker.start()
        return started

    def runs(self) -> list[tuple[WorkerProcess, Run]]:
        return [(process, run) for process in self.workers for run in process.pools.runs]

    def end_run(self, process: WorkerProcess, run: Run) -> None:
        job = run.job
        word = word_of(job.envelope, job.attempt)
        # The arguments of a mangled job are refused before its code begins.
        if job.task.name != "mangled":
            self.stories[job.envelope.id].runs.append((job.envelope.round, job.attempt, word))
        if word == "kill":
            self.kill(process)
        else:
            process.pools.end(run)

    def kill(self, process: WorkerProcess) -> None:
        """End a worker between two of its instructions."""
        self._disturb(process.transport, [run.job.envelope.id for run in process.begun()])
        self._lose(process)
        process.leave()
        self.workers.remove(process)
        process.transport.vanish()

    def begin_drain(self, process: WorkerProcess) -> None:
        """Take no more work, and give back what does not run."""
        process.draining = True
        process.worker._stop_intake()

    def end_drain(self, process: WorkerProcess) -> None:
        """Give back what still runs, flush, and go."""
        self._interrupt(process)
        process.worker.drain(0)
        self.pump()
        # What could not be flushed comes again.
        self._disturb(process.transport, [run.job.envelope.id for run in process.begun()])
        process.leave()
        self.workers.remove(process)
        process.transport.leave()

    # -- Faults --------------------------------------------------------------------------------------------------

    def cut_off(self, process: WorkerProcess) -> None:
        """Let a worker lose its connection, and go on."""
        self._disturb(process.transport, [run.job.envelope.id for run in process.begun()])
        self._lose(process)
        for run in process.begun():
            self.stories[run.job.envelope.id].overtaken += 1
        process.transport.disconnect()

    def cut_off_server(self) -> None:
        self._disturb(self.server)
        self.server.disconnect()

    def block(self) -> None:
        self.blocked = True
        for transport in self._transports():
            transport.block()

    def recover(self) -> None:
        """End all faults of the broker."""
        self.blocked = False
        for transport in self._transports():
            transport.reconnect()
            transport.unblock()
            transport.release_confirms()
        self.pump()

    def duplicate(self, queue: str) -> None:
        """Put the oldest message of a queue into it again, as an at-least-once transfer may."""
        stored = self.broker.peek(queue)[0]
        self.story_of(stored.message).copies += 1
        self.story_of(stored.message).disturbed = True
        again = Publication(exchange=stored.exchange, routing_key=stored.routing_key, message=stored.message)
        self.broker.put(queue, again, self.clock.now)

    def _disturb(self, transport: SteppedTransport, begun: Collection[str] = ()) -> None:
        """Note which jobs may come again, and of which there may be two messages: nobody hears of their confirm."""
        for message in [*transport.held(), *transport.unconfirmed()]:
            if message.message_id in self.stories:
                self.story_of(message).disturbed = True
        for message in transport.unconfirmed():
            if message.message_id in self.stories:
                self.story_of(message).copies += 1
        for message in transport.held():
            # Its run may have ended, and its ack be on the way.
            if message.message_id in self.stories and self.story_of(message).runs and message.message_id not in begun:
                self.story_of(message).overtaken += 1

    def _lose(self, process: WorkerProcess) -> None:
        """Note which jobs a worker's end or loss may be put down to: those that ran, never those it only held."""
        for run in process.begun():
            self.stories[run.job.envelope.id].lost += 1

    def _interrupt(self, process: WorkerProcess) -> None:
        for run in process.pools.runs:
            story = self.stories[run.job.envelope.id]
            story.disturbed = True
            story.interrupted += 1

    # -- The store -----------------------------------------------------------------------------------------------

    def project(self, queue: str, *, crash: bool = False) -> bool:
        """Let the store take one message; after a crash before the ack it gets it again. False when there is none."""
        stored = self.broker.take(queue)
        if stored is None:
            return False
        reading = read(_Handed(queue=queue, message=stored.message))  # type: ignore[arg-type]
        self.store.project(reading.events, reading.letter)
        if crash:
            self.broker.give_back(queue, stored, counted=True)
        return True

    def project_all(self) -> None:
        """Let the store take everything there is."""
        while self.project(EVENTS) or self.project(DEAD):
            pass

    # -- Time ----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Let everybody do what there is to do, until there is nothing, at this moment."""
        for _ in range(_ENDLESS):
            stepped = [transport.step() for transport in self._transports()]
            if not self.clock.run_due() and not any(stepped):
                return
        raise AssertionError("the world does not come to rest")

    def next_due(self) -> float | None:
        """When something happens by itself: a timer, or a message that leaves a level of the ladder."""
        expiries = [stored[0].expires for level in range(22) if (stored := self.broker.peek(level_name(level)))]
        moments = [moment for moment in (self.clock.next_due(), *expiries) if moment is not None]
        return min(moments, default=None)

    def advance_to(self, moment: float) -> None:
        """Let time pass, stopping wherever something is due."""
        while (due := self.next_due()) is not None and due <= moment:
            self._set(max(due, self.clock.now))
            self.pump()
        self._set(max(moment, self.clock.now))
        self.pump()

    def settle(self) -> None:
        """End all faults and let everything come to its end."""
        self.recover()
        self.start_worker()
        # Those that do not know all tasks are replaced, as in a roll-out.
        for process in [each for each in self.workers if each.draining or each.knows != KNOWN]:
            self.end_drain(process)
        for _ in range(_ENDLESS):
            self.pump()
            for process, run in self.runs():
                if process in self.workers:
                    self.end_run(process, run)
            self.pump()
            if not self.workers:
                self.start_worker()
                continue
            self.project_all()
            due = self.next_due()
            if due is None:
                if not self.runs():
                    return
            else:
                self._set(max(due, self.clock.now))
        raise AssertionError(f"still not settled: {self.left()}")

    def left(self) -> dict[str, int]:
        """Return what is not finished, by where it is."""
        names = [queue_name(QUEUE), UNROUTABLE, DEAD, EVENTS, *(level_name(level) for level in range(22))]
        counted = {name: self.broker.ready(name) or 0 for name in names}
        counted["held"] = sum(len(transport.held()) for transport in self._transports())
        counted["unconfirmed"] = sum(len(transport.unconfirmed()) for transport in self._transports())
        return {name: number for name, number in counted.items() if number}

    def story_of(self, message: Message) -> Story:
        assert message.message_id is not None
        return self.stories[message.message_id]

    def _set(self, now: float) -> None:
        self.clock.now = now
        self.broker.move_to(now)

    def _transports(self) -> list[SteppedTransport]:
        return [self.server, *(process.transport for process in self.workers)]

    def _registry(self, knows: tuple[str, ...]) -> Registry:
        made = Registry()

        def scripted(ctx: Context, script: list[str]) -> str:
            word = _word(script, ctx.attempt)
            if word == "fail":
                raise RuntimeError("as the script says")
            if word == "later":
                raise Retry.after(5)
            if word == "discard":
                raise Discard("as the script says")
            return word

        for name in (*knows, "mangled"):
            retry = Retry(max_attempts=MAX_ATTEMPTS, min_delay=1, max_delay=8)
            task(name=name, queue=QUEUE, retry=retry, registry=made)(scripted)
        return made


@contextmanager
def world() -> Iterator[World]:
    """Make a world; inside the block workers have no threads, and nothing waits."""
    with (
        patch.object(settle, "PARK_LIMIT_MS", 1000 * PARK_LIMIT_SECONDS),
        patch.object(runner, "Timers", SteppedTimers),
        patch.object(runner, "Pools", SteppedPools),
        patch.object(runner, "FLUSH_SECONDS", 0),
        patch.object(runner, "CANCEL_SECONDS", 0),
        patch.object(health, "BEAT_SECONDS", _NEVER),
    ):
        logging.disable()
        try:
            yield World()
        finally:
            logging.disable(logging.NOTSET)


def word_of(envelope: Envelope, attempt: int) -> str:
    """Return what the script of a job says about an attempt; the last word holds for all that follow."""
    arguments = json.loads(envelope.body)
    return _word(arguments["script"], attempt) if isinstance(arguments, dict) else "mangled"


@dataclass(frozen=True, kw_only=True)
class _Handed:
    queue: str
    message: Message


def _submitted(envelope: Envelope, state: State) -> Event:
    return Event(
        job=envelope.id,
        state=state,
        attempt=0,
        at_ms=envelope.enqueued_ms,
        task=envelope.task,
        queue=envelope.queue,
        enqueued_ms=envelope.enqueued_ms,
    )


def _word(script: list[str], attempt: int) -> str:
    return script[min(attempt, len(script)) - 1]


def _order(row: Row) -> tuple[int, int]:
    return row["attempt"] or 0, row["at_ms"]
