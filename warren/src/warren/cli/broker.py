"""Look at the broker by its management API, as far as the login may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warren.cli import broker_findings, findings
from warren.cli.finding import Finding
from warren.errors import NotPermitted
from warren.settings import BrokerSettings
from warren.topology import UNROUTABLE, policies

if TYPE_CHECKING:
    from warren.amqp.management import Management


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of those who use the broker.

    Attributes:
        timeouts: Time limit in seconds by task.
        worked_on: Job queues that workers wait for.
        oom_queues: Queue by task that its jobs go to when they run out of memory.
        logins: Logins of servers and workers.
        own_login: The login of this process, to be judged; None where it is not Warren's own, or the broker is on this
            machine, where RabbitMQ's own login is as good as any.
    """

    timeouts: Mapping[str, float] = field(default_factory=dict)
    worked_on: Iterable[str] = ()
    oom_queues: Mapping[str, str] = field(default_factory=dict)
    logins: Iterable[str] = ()
    own_login: str | None = None


def look(settings: BrokerSettings, expected: Expected) -> Iterator[Finding]:
    """Look at all the login may see, and say what it may not.

    Raises:
        Unavailable: The API does not answer.
        TopologyError: It answers with an error that is not about rights.
    """
    from warren.amqp.management import Management

    with Management(settings) as management:
        try:
            name, tags = management.identity()
        except NotPermitted as error:
            yield broker_findings.HIDDEN.found(f"version, policies, queues and alarms were not looked at: {error}")
            return
        if expected.own_login is not None:
            yield from broker_findings.of_login(expected.own_login, name, tags)
        for part, judge in _parts(expected).items():
            try:
                yield from judge(management)
            except NotPermitted as error:
                yield broker_findings.HIDDEN.found(f"{part}: not looked at: {error}")


def _parts(expected: Expected) -> dict[str, Callable[[Management], Iterable[Finding]]]:
    """Return what is looked at, each part by what it is called when it may not be seen."""
    logins = list(expected.logins)
    parts: dict[str, Callable[[Management], Iterable[Finding]]] = {
        "version": lambda management: _of_overview(management.overview(), expected.timeouts),
        "policies": lambda management: [findings.of_policies(management.missing_policies(policies()))],
        "dead-lettering": lambda management: findings.of_behaviour(management.behaviour()),
        "queues": lambda management: _of_queues(management.queue_types(), expected),
        "depths": lambda management: [findings.of_unroutable(_unroutable(management))],
        "alarms": lambda management: broker_findings.of_alarms(management.alarms()),
        "nodes": lambda management: broker_findings.of_stopped_nodes(management.stopped_nodes()),
        "feature flags": lambda management: broker_findings.of_flags(management.feature_flags()),
    }
    if logins:
        parts["users' rights"] = lambda management: broker_findings.of_rights(
            logins, management.user_tags(), management.permissions()
        )
    return parts


def _of_queues(types: Mapping[str, str], expected: Expected) -> Iterator[Finding]:
    yield from broker_findings.of_types(types, expected.worked_on)
    yield from broker_findings.of_oom_queues(types, expected.oom_queues)


def _of_overview(overview: Mapping[str, Any], timeouts: Mapping[str, float]) -> Iterator[Finding]:
    version = str(overview["rabbitmq_version"])
    yield from findings.of_version(version)
    yield from findings.of_long_tasks(version, timeouts)
    yield from broker_findings.of_statistics(overview)


def _unroutable(management: Management) -> int:
    depths = management.queue_depths()
    return depths[UNROUTABLE].ready if UNROUTABLE in depths else 0
