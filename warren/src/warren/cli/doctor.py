"""`warren doctor`: look at everything a setup needs, and say what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import click

from warren.cli import findings
from warren.cli.exits import FAILED
from warren.cli.finding import Finding, Rule, ok
from warren.cli.output import Output
from warren.cli.parameters import with_output
from warren.errors import RequestFailed, TransportError, WarrenError
from warren.settings import BrokerSettings, ClientSettings, LogSettings, Settings, TaskSettings, load
from warren.task import Task, load_tasks

S = TypeVar("S", bound=Settings)

_CONNECT_SECONDS = 5.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What the doctor looks at: each part is None when its settings are wrong."""

    broker: BrokerSettings | None
    client: ClientSettings | None
    tasks: TaskSettings | None


@click.command()
@click.option("--no-server", is_flag=True, help="Do not look for a server.")
@click.option(
    "--kubernetes",
    is_flag=True,
    help="Look at an installation on a cluster instead of this environment, with kubectl or a pod's account.",
)
@click.option("--namespace", metavar="NAME", help="Namespace of the installation; else the context's or the pod's.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; else the current one.")
@click.option("--release", metavar="NAME", help="Only what has the label app.kubernetes.io/instance=NAME.")
@with_output
def doctor(
    out: Output, no_server: bool, kubernetes: bool, namespace: str | None, context: str | None, release: str | None
) -> None:
    """Check settings, broker, policies, server and tasks; exit 1 when something is broken.

    With --kubernetes: workloads, pods, scalers, operators and the broker of a namespace.
    """
    if kubernetes:
        from warren.cli.cluster.examine import examine as examine_cluster

        found = list(examine_cluster(namespace=namespace, context=context, release=release))
    elif namespace or context or release:
        raise click.UsageError("--namespace, --context and --release go with --kubernetes")
    else:
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
    yield from complaints or [ok("settings", "every variable keeps its rule")]
    if patient.tasks is not None:
        yield from _guarded(findings.BROKEN_TASKS, partial(_tasks, patient.tasks.tasks))
    if patient.broker is not None:
        yield from _broker(patient.broker, patient.tasks)
    if patient.client is not None and not no_server:
        yield from _guarded(findings.NO_SERVER, partial(_server, patient.client, transport))


def _settings(group: type[S], complaints: list[Finding]) -> S | None:
    try:
        return load(group)
    except WarrenError as error:
        complaints.append(findings.BAD_SETTING.found(str(error)))
        return None


def _tasks(modules: str) -> list[Finding]:
    known = load_tasks(modules)
    return [findings.of_tasks([task.name for task in known], modules)]


def _broker(settings: BrokerSettings, tasks: TaskSettings | None) -> Iterator[Finding]:
    reached = list(_guarded(findings.NO_BROKER, partial(_connection, settings)))
    yield from reached
    if all(finding.level == "ok" for finding in reached):
        yield from _guarded(findings.NO_MANAGEMENT, partial(_management, settings, _known(tasks)))


def _connection(settings: BrokerSettings) -> list[Finding]:
    from warren import amqp

    log = _LastWarning()
    logging.getLogger("warren.amqp").addHandler(log)
    transport = amqp.connect(settings)
    transport.start()
    try:
        if transport.wait_ready(_CONNECT_SECONDS):
            return [ok("broker", "connects, logs in and takes messages")]
        blocked = transport.status.blocked
    finally:
        transport.stop(1.0)
        logging.getLogger("warren.amqp").removeHandler(log)
    reason = "it has a memory or disk alarm" if blocked else f"in {_CONNECT_SECONDS:g} s, {log.text}"
    raise TransportError(f"the broker takes no messages: {reason}")


def _known(settings: TaskSettings | None) -> Sequence[Task[..., Any]]:
    """Return the tasks; that they cannot be loaded is a finding of its own."""
    try:
        return [] if settings is None else list(load_tasks(settings.tasks))
    except WarrenError:
        return []


def _management(settings: BrokerSettings, tasks: Sequence[Task[..., Any]]) -> Iterator[Finding]:
    from warren.amqp.parameters import endpoint
    from warren.cli.broker import Expected, look

    where = endpoint(settings)
    own_login = None if where.host in _LOOPBACK else where.username
    expected = Expected(
        timeouts={task.name: task.timeout_seconds for task in tasks},
        oom_queues={task.name: task.oom_queue for task in tasks if task.oom_queue is not None},
        own_login=own_login,
    )
    return look(settings, expected)


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


def _guarded(rule: Rule, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Turn a failure to look into a finding."""
    try:
        yield from look()
    except WarrenError as error:
        yield rule.found(str(error))


class _LastWarning(logging.Handler):
    """Keeps the transport's last complaint, and keeps its log out of the terminal."""

    text = "no connection"

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.text = record.getMessage()
