"""Making the broker ready, or checking that an operator did."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from warren import topology
from warren.amqp.management import Management
from warren.amqp.transport import AmqpTransport
from warren.errors import TopologyError
from warren.settings import BrokerSettings

logger = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 60.0


def prepare(
    transport: AmqpTransport, settings: BrokerSettings, queues: Iterable[str], oom_queues: Iterable[str] = ()
) -> None:
    """Give the broker what Warren needs, or check that it is there, as `WARREN_AMQP_TOPOLOGY` says.

    Args:
        transport: A started transport with a connection.
        settings: The broker's settings.
        queues: Names of the job queues, without prefix.
        oom_queues: Names of those that jobs go to when they run out of memory; that one is missing is only warned of.

    Raises:
        TopologyError: Something is missing, or there otherwise than needed, or may not be made by this user.
        Unavailable: The broker or its management API does not answer.
    """
    names = set(queues)
    if settings.topology == "check":
        check(transport, topology.topology(names))
        _warn_of_missing(transport, sorted(set(oom_queues) - names))
        return
    provide(transport, settings, topology.topology(names.union(oom_queues)))


def provide(transport: AmqpTransport, settings: BrokerSettings, wanted: topology.Topology) -> None:
    """Give the broker a topology, or check that it is there; otherwise as `prepare`."""
    if settings.topology == "check":
        check(transport, wanted)
        return
    with Management(settings) as management:
        # First the policies: a queue must not take a message before it knows where its dead letters go.
        management.apply_policies(wanted.policies)
    transport.declare(wanted).result(_ANSWER_SECONDS)
    logger.info("the broker has what Warren needs", extra={"event": "topology_applied"})


def check(transport: AmqpTransport, wanted: topology.Topology) -> None:
    """Look for every exchange and queue, without the right to make any. Bindings and policies cannot be seen this way.

    Raises:
        TopologyError: Names all that is missing.
    """
    lacking = missing(transport, wanted)
    if lacking:
        raise TopologyError(
            f"the broker lacks {len(lacking)} exchanges or queues: {'; '.join(lacking)}; have the operator apply the "
            "topology, or set WARREN_AMQP_TOPOLOGY=apply with a user that may configure"
        )


def _warn_of_missing(transport: AmqpTransport, oom_queues: Iterable[str]) -> None:
    for queue in oom_queues:
        try:
            transport.look(topology.Queue(name=topology.queue_name(queue))).result(_ANSWER_SECONDS)
        except TopologyError as error:
            logger.warning(
                "queue %s is the oom_queue of a task and is not there (%s): jobs that run out of memory would wait in "
                "%s; have the operator make it, then run `warren topology repair`",
                queue,
                error,
                topology.UNROUTABLE,
                extra={"event": "oom_queue_missing", "queue": queue},
            )


def missing(transport: AmqpTransport, wanted: topology.Topology) -> list[str]:
    """Return what cannot be found of a topology's exchanges and queues, each with the broker's words."""
    lacking = []
    things: tuple[topology.Exchange | topology.Queue, ...] = (*wanted.exchanges, *wanted.queues)
    for thing in things:
        try:
            transport.look(thing).result(_ANSWER_SECONDS)
        except TopologyError as error:
            lacking.append(f"{thing.name} ({error})")
    return lacking
