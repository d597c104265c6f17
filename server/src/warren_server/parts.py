"""The parts of one server process, and the order in which they start and stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from warren.errors import SettingsError, TransportError
from warren.lifecycle import Closing
from warren.settings import BrokerSettings, TaskSettings, load
from warren.task import load_tasks
from warren.transport import Transport
from warren_server.announcer import Announcer
from warren_server.api.problems import Refusal
from warren_server.api.requests import ScalingQuery
from warren_server.api.scaling import document as scaling_document
from warren_server.api.scaling import policy_of
from warren_server.auth import Gate
from warren_server.backlog import Backlog
from warren_server.cancel import Canceller
from warren_server.dashboard.history import EVERY_SECONDS, History
from warren_server.errors import StoreError
from warren_server.idempotency import Keys
from warren_server.projection import Projection
from warren_server.queue_control import QueueControl
from warren_server.queues import Queues, QueueState, ReadDepths
from warren_server.redriver import Redriver
from warren_server.repeating import Repeating
from warren_server.retention import Retention
from warren_server.retry import Retrier
from warren_server.room import Room
from warren_server.scaling import Expectations
from warren_server.schedules.declared import DeclaredSchedules, apply_declared, read_declared
from warren_server.schedules.planner import Planner
from warren_server.schedules.ticker import Ticker
from warren_server.sending import Sender
from warren_server.settings import (
    AuthSettings,
    OfferSettings,
    ScalingSettings,
    ScheduleSettings,
    ServerSettings,
    StoreSettings,
)
from warren_server.store.announcements import AnnouncementStore
from warren_server.store.cancels import CancelStore
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.durations import DurationStore
from warren_server.store.engine import Database
from warren_server.store.idempotency import KeyStore
from warren_server.store.jobs import JobStore
from warren_server.store.queue_settings import QueueSettingsStore
from warren_server.store.redrives import RedriveStore
from warren_server.store.retention import RetentionStore
from warren_server.store.schedules import ScheduleStore
from warren_server.store.ticks import TickStore
from warren_server.store.tokens import TokenStore
from warren_server.store.workers import WorkerStore
from warren_server.store.writer import Writer
from warren_server.submit import Submitter
from warren_server.tasks import KnownTasks, from_registry
from warren_server.token_audit import TokenAudit
from warren_server.token_files import TokenFiles
from warren_server.workers import Workers

logger = logging.getLogger(__name__)

_PREPARE_PAUSE_SECONDS = 1.0
_LIMITS_SECONDS = 1.0
"""So long after a change other processes may still go by a queue's old length limit."""
_SETTLE_SECONDS = 5.0
_AUDIT_SECONDS = 10.0
_BACKLOG_SECONDS = 15.0
_RETENTION_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """All settings of a server and the tasks it knows: what every process of it shares.

    Attributes:
        server: Where it listens.
        store: Where it records.
        broker: Where it publishes.
        auth: Who may use it.
        offer: What it offers.
        tasks: The tasks it takes jobs for.
        declared: The schedules a file declares, if there is one.
        scaling: What a fleet of workers is held to where a request does not say.
    """

    server: ServerSettings
    store: StoreSettings
    broker: BrokerSettings
    auth: AuthSettings
    offer: OfferSettings
    tasks: KnownTasks
    declared: DeclaredSchedules | None = None
    scaling: ScalingSettings = field(default_factory=ScalingSettings)


def read_config() -> ServerConfig:
    """Read the environment.

    Raises:
        SettingsError: A setting breaks its rule, or tasks or schedules cannot be loaded.
    """
    offer = load(OfferSettings)
    modules = load(TaskSettings).tasks
    tasks = _from_catalog(offer.catalog) if offer.catalog is not None else from_registry(load_tasks(modules))
    if offer.tutorial and "greet" not in tasks:
        raise SettingsError("WARREN_TUTORIAL is 1: this needs a task called greet; name its module in WARREN_TASKS")
    schedules = load(ScheduleSettings).schedules
    return ServerConfig(
        server=load(ServerSettings),
        store=load(StoreSettings),
        broker=load(BrokerSettings),
        auth=load(AuthSettings),
        offer=offer,
        tasks=tasks,
        scaling=load(ScalingSettings),
        declared=None if schedules is None else read_declared(schedules, tasks),
    )


@dataclass(kw_only=True)
class Parts:
    """What one process consists of. Building it does no I/O; `start` begins, `stop` ends in reverse order.

    Attributes:
        config: The server's configuration.
        transport: The connection to the broker.
        prepare: Gives the broker its queues, or checks them; called once there is a connection.
        provide_tokens: Gives the broker the token queues of a job queue, or checks them.
        read_depths: Reads queue depths from the management API, if there is one.
    """

    config: ServerConfig
    transport: Transport
    prepare: Callable[[], None]
    provide_tokens: Callable[[str], None]
    read_depths: ReadDepths | None = None
    draining: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        config = self.config
        self.database = Database(config.store)
        self.jobs = JobStore(self.database)
        self.letters = DeadLetterStore(self.database)
        self.tokens = TokenStore(self.database)
        self.writer = Writer(self.jobs, config.store.wait_seconds)
        self.projection = Projection(self.transport, self.jobs, self.letters)
        self.announcer = Announcer(self.transport, AnnouncementStore(self.database), config.server.confirm_seconds)
        self.canceller = Canceller(self.announcer, self.jobs, CancelStore(self.database))
        self.queues = Queues(self.transport, config.tasks.queues(), self.read_depths)
        self.queue_settings = QueueSettingsStore(self.database)
        self.expectations = Expectations(DurationStore(self.database))
        self.room = Room(self.transport, self.queue_settings)
        self.queue_control = QueueControl(
            self.queue_settings, self.announcer, self.transport, self.provide_tokens, config.server.confirm_seconds
        )
        self.redrives = RedriveStore(self.database)
        sender = Sender(self.transport, config.server.publish_wait_seconds, config.server.confirm_seconds)
        self.redriver = Redriver(sender, self.letters, self.redrives, self.jobs)
        self.retrier = Retrier(sender, self.letters, self.redrives, self.jobs, config.tasks, self.queues)
        # Beyond loopback `auto` never opens by itself: that there was a token at start was checked there.
        closed = config.auth.auth == "auto" and not config.server.loopback
        self.gate = Gate(self.tokens, "tokens" if closed else config.auth.auth, TokenFiles.named_by(config.auth))
        self.submitter = Submitter(
            tasks=config.tasks,
            queues=self.queues,
            room=self.room,
            transport=self.transport,
            writer=self.writer,
            publish_wait_seconds=config.server.publish_wait_seconds,
            confirm_seconds=config.server.confirm_seconds,
        )
        self.keys = Keys(
            self.submitter,
            KeyStore(self.database),
            # Longer than a submit can take, so that a lock that ended is that of a request that was cut off.
            lock_seconds=(
                config.server.publish_wait_seconds + config.server.confirm_seconds + config.store.wait_seconds + 2
            ),
            keep_seconds=config.server.idempotency_seconds,
        )
        audit = TokenAudit(self.queue_settings, self.queues.all_states, self.queue_control)
        retention = Retention(RetentionStore(self.database), config.store.keep_days)
        self.workers = Workers(WorkerStore(self.database), self.announcer)
        self.history = History(self.queues.states, self._desired_workers)
        self._limits = Repeating("limits", _LIMITS_SECONDS, self.room.refresh)
        self._rounds = (
            Repeating("settling", _SETTLE_SECONDS, self.queue_control.settle),
            Repeating("token-audit", _AUDIT_SECONDS, audit.look),
            Repeating("backlog", _BACKLOG_SECONDS, Backlog(self.transport).look),
            Repeating("retention", _RETENTION_SECONDS, retention.look),
            *([Repeating("history", EVERY_SECONDS, self.history.look)] if config.offer.dashboard else []),
        )
        self._prepared = threading.Event()
        self.schedules = ScheduleStore(self.database)
        self.ticks = TickStore(self.database)
        self.ticker = Ticker(
            ticks=self.ticks,
            jobs=self.jobs,
            submitter=self.submitter,
            tasks=config.tasks,
            ready=self._broker_takes_jobs,
            lease_seconds=lease_seconds(config.server, config.store),
            prepare=self._apply_declared,
        )
        self.planner = Planner(
            schedules=self.schedules,
            ticks=self.ticks,
            submitter=self.submitter,
            tasks=config.tasks,
            queues=self.queues,
            on_change=self.ticker.wake,
        )
        self._stopping = threading.Event()
        self._closing = Closing()

    def start(self) -> None:
        """Start all parts; a broker or store that is away is waited for in the background."""
        self._closing.add("store", self.database.close)
        self.transport.start()
        self._closing.add("transport", self.transport.stop)
        self.writer.start()
        self._closing.add("writer", self.writer.stop)
        self._closing.add("projection", self.projection.stop)
        self._closing.add("announcer", self.announcer.stop)
        for each in (self._limits, *self._rounds):
            self._closing.add("rounds", each.stop)
        self._limits.start()
        self._closing.add("redriver", self.redriver.stop)
        self.ticker.start()
        self._closing.add("ticker", self.ticker.stop)
        preparing = threading.Thread(target=self._prepare, name="warren-prepare", daemon=True)
        preparing.start()
        self._closing.add("preparation", lambda: preparing.join(5))

    def drain(self) -> None:
        """Become unready; requests at hand go on. Safe in a signal handler."""
        self.draining.set()

    def stop(self) -> None:
        """Stop all parts, last started first. Idempotent."""
        self.draining.set()
        self._stopping.set()
        self._closing.close()

    def checks(self) -> Mapping[str, bool]:
        """Tell how the parts are doing."""
        return {
            "broker": self._broker_takes_jobs(),
            "store": self._store_answers(),
            "serving": not self.draining.is_set(),
        }

    def _broker_takes_jobs(self) -> bool:
        status = self.transport.status
        return status.connected and not status.blocked and self._prepared.is_set()

    def _desired_workers(self, queue: str) -> int | None:
        policy = policy_of(ScalingQuery(), self.config.scaling)
        try:
            found = scaling_document(queue, policy, self.queues, self.queue_settings, self.expectations)
        except (Refusal, TransportError):
            return None
        desired: int = found["desired_workers"]
        return desired

    def _apply_declared(self) -> None:
        if self.config.declared is not None:
            apply_declared(self.config.declared, self.schedules, time.time_ns() // 1_000_000)

    def _store_answers(self) -> bool:
        try:
            self.jobs.state("")
        except StoreError:
            return False
        return True

    def _prepare(self) -> None:
        """Prepare the broker, however long it takes to come up, then begin to consume."""
        while not self._stopping.is_set():
            if not self.transport.wait_ready(_PREPARE_PAUSE_SECONDS):
                continue
            try:
                self.prepare()
            except TransportError as error:
                logger.warning("the broker is not ready: %s; trying on", error, extra={"event": "broker_not_ready"})
                self._stopping.wait(_PREPARE_PAUSE_SECONDS)
                continue
            self._prepared.set()
            self.projection.start()
            self.announcer.start()
            for each in self._rounds:
                each.start()
            self.redriver.start()
            return


def lease_seconds(server: ServerSettings, store: StoreSettings) -> float:
    """Return how long a claimed tick is its server's: as long as a submit takes at most, and a second."""
    return server.publish_wait_seconds + server.confirm_seconds + store.wait_seconds + 1


def assemble(config: ServerConfig) -> Parts:
    """Build the parts of a process on RabbitMQ."""
    from warren.amqp import connect
    from warren.amqp.management import Management
    from warren.amqp.topology import prepare, provide
    from warren.tokens import token_topology

    transport = connect(config.broker)
    management = Management(config.broker)

    def read_depths() -> Mapping[str, QueueState]:
        found = management.queue_depths()
        return {
            name: QueueState(ready=depth.ready, unacked=depth.unacked, consumers=depth.consumers)
            if depth.counted
            else QueueState()
            for name, depth in found.items()
        }

    return Parts(
        config=config,
        transport=transport,
        prepare=lambda: prepare(transport, config.broker, config.tasks.queues(), config.tasks.oom_queues()),
        provide_tokens=lambda queue: provide(transport, config.broker, token_topology(queue)),
        read_depths=read_depths,
    )


def _from_catalog(path: Path) -> KnownTasks:
    # Imported when a catalog is named: the JSON Schema library is of no use otherwise, and slow to load.
    from warren_server.catalog import from_catalog

    return from_catalog(path)
