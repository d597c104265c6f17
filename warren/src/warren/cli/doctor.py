"""`warren doctor`: look at everything a setup needs, and say what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import click

from warren.cli import findings
from warren.cli.exits import FAILED
from warren.cli.findings import Finding
from warren.cli.output import Output
from warren.cli.parameters import with_output
from warren.errors import RequestFailed, TransportError, WarrenError
from warren.settings import BrokerSettings, ClientSettings, LogSettings, Settings, TaskSettings, load
from warren.task import load_tasks
from warren.topology import UNROUTABLE, policies

S = TypeVar("S", bound=Settings)

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What the doctor looks at: each part is None when its settings are wrong."""

    broker: BrokerSettings | None
    client: ClientSettings | None
    tasks: TaskSettings | None


@click.command()
@click.option("--no-server", is_flag=True, help="Do not look for a server.")
@with_output
def doctor(out: Output, no_server: bool) -> None:
    """Check settings, broker, policies, server and tasks; exit 1 when something is broken."""
    found = list(examine(no_server=no_server, transport=click.get_current_context().obj))
    if out.as_json:
        out.document(found)
    else:
        for finding in found:
            out.text(f"{finding.level:<7} {finding.check}: {finding.message}")
            if finding.fix:
                out.text(f"{'':<7} fix: {finding.fix}")
    if any(finding.level == "broken" for finding in found):
        raise click.exceptions.Exit(FAILED)


def examine(*, no_server: bool, transport: Any) -> Iterator[Finding]:
    """Look at every part, each only if what it stands on is well."""
    complaints: list[Finding] = []
    patient = Patient(
        broker=_settings(BrokerSettings, complaints),
        client=_settings(ClientSettings, complaints),
        tasks=_settings(TaskSettings, complaints),
    )
    _settings(LogSettings, complaints)
    yield from complaints or [Finding(check="settings", level="ok", message="every variable keeps its rule")]
    if patient.tasks is not None:
        yield from _guarded("tasks", partial(_tasks, patient.tasks.tasks))
    if patient.broker is not None:
        yield from _broker(patient.broker, patient.tasks)
    if patient.client is not None and not no_server:
        yield from _guarded("server", partial(_server, patient.client, transport))


def _settings(group: type[S], complaints: list[Finding]) -> S | None:
    try:
        return load(group)
    except WarrenError as error:
        complaints.append(
            Finding(check="settings", level="broken", message=str(error), fix="set it to a value it takes")
        )
        return None


def _tasks(modules: str) -> list[Finding]:
    known = load_tasks(modules)
    return [findings.of_tasks([task.name for task in known], modules)]


def _broker(settings: BrokerSettings, tasks: TaskSettings | None) -> Iterator[Finding]:
    reached = list(_guarded("broker", partial(_connection, settings)))
    yield from reached
    if all(finding.level == "ok" for finding in reached):
        yield from _guarded("broker management", partial(_management, settings, _timeouts(tasks)))


def _connection(settings: BrokerSettings) -> list[Finding]:
    from warren import amqp

    log = _LastWarning()
    logging.getLogger("warren.amqp").addHandler(log)
    transport = amqp.connect(settings)
    transport.start()
    try:
        if transport.wait_ready(_CONNECT_SECONDS):
            return [Finding(check="broker", level="ok", message="connects, logs in and takes messages")]
        blocked = transport.status.blocked
    finally:
        transport.stop(1.0)
        logging.getLogger("warren.amqp").removeHandler(log)
    reason = "it has a memory or disk alarm" if blocked else f"in {_CONNECT_SECONDS:g} s, {log.text}"
    raise TransportError(f"the broker takes no messages: {reason}")


def _timeouts(settings: TaskSettings | None) -> dict[str, float]:
    """Return the tasks' time limits; that tasks cannot be loaded is a finding of its own."""
    try:
        return {} if settings is None else {task.name: task.timeout_seconds for task in load_tasks(settings.tasks)}
    except WarrenError:
        return {}


def _management(settings: BrokerSettings, timeouts: Mapping[str, float]) -> list[Finding]:
    from warren.amqp.management import Management

    with Management(settings) as management:
        depths = management.queue_depths()
        version = management.version()
        return [
            *findings.of_version(version),
            *findings.of_long_tasks(version, timeouts),
            findings.of_policies(management.missing_policies(policies())),
            *findings.of_behaviour(management.behaviour()),
            findings.of_unroutable(depths[UNROUTABLE].ready if UNROUTABLE in depths else 0),
        ]


def _server(settings: ClientSettings, transport: Any) -> list[Finding]:
    from warren.client import Client

    with Client(settings.url, transport=transport) as client:
        health = client.health()
        found = [findings.of_health(settings.url, health)]
        if not health.ready:
            return found
        try:
            return [*found, *findings.of_queues(client.queues())]
        except RequestFailed as error:
            return [*found, findings.of_hidden_queues(error)]


def _guarded(check: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Turn a failure to look into a finding."""
    try:
        return look()
    except WarrenError as error:
        return [Finding(check=check, level="broken", message=str(error), fix=_FIXES[check])]


class _LastWarning(logging.Handler):
    """Keeps the transport's last complaint, and keeps its log out of the terminal."""

    text = "no connection"

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.text = record.getMessage()


_FIXES = {
    "tasks": "put the module on PYTHONPATH and make it import without errors",
    "broker": "start RabbitMQ, and check WARREN_AMQP_URL or WARREN_AMQP_HOST, the login and the virtual host",
    "broker management": "enable the plugin rabbitmq_management and check WARREN_AMQP_MANAGEMENT_URL",
    "server": "start it (warren server) and check WARREN_URL and WARREN_TOKEN",
}
