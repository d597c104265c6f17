"""Exchanges, queues, bindings and policies Warren needs on the broker, as data. No I/O.

Declares carry only the queue type; everything else is policy, so that a production user of the broker needs no
configure right and an operator can change behaviour without deleting a queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from warren import delay
from warren.envelope import QUEUE_NAME

JOBS: Final = "warren.jobs"
DUE: Final = "warren.due"
DEAD: Final = "warren.dead"
UNROUTABLE: Final = "warren.unroutable"
EVENTS: Final = "warren.events"
CONTROL: Final = "warren.control"
TOKENS: Final = "warren.tokens"

DEFAULT_QUEUE: Final = "default"
DELIVERY_LIMIT: Final = 50
"""Backstop against jobs that kill every worker before it can count them. Brokers before 4.3 count every hand-back, a
drain's too, so it is far above any sane number of attempts."""
STORE_DELIVERY_LIMIT: Final = 1_000_000
"""Messages for the store have no way out but the store: 4.x would drop them after 20 hand-backs (brokers before 4.0
refuse -1 for "no limit")."""
CONTROL_MAX_AGE: Final = "7D"
TOKEN_TIMEOUT_MS: Final = 31 * 86_400_000
"""A token is out for as long as its job runs, which is at most 30 days."""

TokenKind: TypeAlias = Literal["slots", "rate"]
TOKEN_KINDS: Final[tuple[TokenKind, ...]] = ("slots", "rate")

_AT_LEAST_ONCE: Final = {"dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["direct", "fanout", "topic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable queue."""

    name: str
    type: Literal["quorum", "stream"] = "quorum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding of an exchange to a queue or to another exchange."""

    source: str
    destination: str
    key: str = ""
    to: Literal["queue", "exchange"] = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy: behaviour of all queues or exchanges whose name matches.

    Attributes:
        since: Parts of the definition that older brokers refuse and do without, with the version they came with.
    """

    name: str
    pattern: str
    apply_to: Literal["queues", "exchanges"]
    definition: dict[str, str | int]
    priority: int = 0
    since: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def definition_for(self, version: tuple[int, int]) -> dict[str, str | int]:
        """Return the definition as a broker of that version takes it; empty when it needs none of it."""
        return {key: value for key, value in self.definition.items() if self.since.get(key, (0, 0)) <= version}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything to declare, in order: policies and exchanges before queues, queues before bindings."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    policies: tuple[Policy, ...]


def queue_name(queue: str) -> str:
    """Return the broker's name of a queue.

    Raises:
        ValueError: The queue's own name breaks the rule for names.
    """
    return f"warren.q.{_checked(queue)}"


def token_queue(queue: str, kind: TokenKind) -> str:
    """Return the broker's name of the queue that holds a job queue's tokens of a kind; also their routing key."""
    return f"{TOKENS}.{_checked(queue)}.{kind}"


def level_name(level: int) -> str:
    """Return the name of a level of the delay ladder, the same for its exchange and its queue."""
    return f"warren.delay.{level:02d}"


def route(queue: str, delay_seconds: int = 0) -> tuple[str, str]:
    """Return the exchange and routing key that bring a job to a queue, now or after a delay.

    Raises:
        ValueError: The delay is negative or over 48 days.
    """
    if delay_seconds == 0:
        return JOBS, queue
    return level_name(delay.entry_level(delay_seconds)), delay.routing_key(delay_seconds, queue)


def topology(queues: Iterable[str], limited: Iterable[str] = ()) -> Topology:
    """Describe all that the broker must have for the given queues.

    Args:
        queues: Names of the job queues, without prefix.
        limited: Those of them that have a cap or a rate, or may get one.
    """
    names = sorted(set(queues))
    job_queues = [queue_name(name) for name in names]
    token_queues = [token_queue(name, kind) for name in sorted(set(limited)) for kind in TOKEN_KINDS]
    levels = range(delay.LEVELS)
    return Topology(
        exchanges=(
            Exchange(name=JOBS, type="direct"),
            Exchange(name=TOKENS, type="direct"),
            Exchange(name=DUE, type="topic"),
            *(Exchange(name=name, type="fanout") for name in (DEAD, UNROUTABLE, EVENTS, CONTROL)),
            *(Exchange(name=level_name(level), type="topic") for level in levels),
        ),
        queues=(
            *(Queue(name=name) for name in (DEAD, UNROUTABLE, EVENTS)),
            Queue(name=CONTROL, type="stream"),
            *(Queue(name=level_name(level)) for level in levels),
            *(Queue(name=name) for name in (*job_queues, *token_queues)),
        ),
        bindings=(
            *(Binding(source=name, destination=name) for name in (DEAD, UNROUTABLE, EVENTS, CONTROL)),
            *(binding for level in levels for binding in _level_bindings(level)),
            *(Binding(source=JOBS, destination=queue_name(name), key=name) for name in names),
            *(Binding(source=DUE, destination=queue_name(name), key=f"#.{name}") for name in names),
            *(Binding(source=TOKENS, destination=name, key=name) for name in token_queues),
        ),
        policies=policies(),
    )


TOKEN_POLICY: Final = Policy(
    name="warren-tokens",
    pattern=r"^warren\.tokens\.",
    apply_to="queues",
    # A token goes back and forth for good. Without a limit a quorum queue takes it back at its end and can forget the
    # log of its travels (https://www.rabbitmq.com/docs/quorum-queues#repeated-requeues); ADR 5 has the measurement.
    definition={"delivery-limit": -1, "consumer-timeout": TOKEN_TIMEOUT_MS},
    since={"delivery-limit": (4, 0), "consumer-timeout": (3, 12)},
)


def policies() -> tuple[Policy, ...]:
    """Describe the policies; they do not depend on which job queues there are."""
    return (
        Policy(
            name="warren-jobs",
            pattern=r"^warren\.q\.",
            apply_to="queues",
            definition={
                "dead-letter-exchange": DEAD,
                "delivery-limit": DELIVERY_LIMIT,
                **_AT_LEAST_ONCE,
            },
        ),
        *(_level_policy(level) for level in range(delay.LEVELS)),
        Policy(
            name="warren-store",
            pattern=r"^warren\.(dead|events|unroutable)$",
            apply_to="queues",
            definition={"delivery-limit": STORE_DELIVERY_LIMIT},
        ),
        Policy(
            name="warren-due",
            pattern=_exactly(DUE),
            apply_to="exchanges",
            definition={"alternate-exchange": UNROUTABLE},
        ),
        Policy(
            name="warren-control",
            pattern=_exactly(CONTROL),
            apply_to="queues",
            definition={"max-age": CONTROL_MAX_AGE},
        ),
        TOKEN_POLICY,
    )


def _level_policy(level: int) -> Policy:
    below = level_name(level - 1) if level else DUE
    return Policy(
        name=f"warren-delay-{level:02d}",
        pattern=_exactly(level_name(level)),
        apply_to="queues",
        definition={
            "message-ttl": 1000 * 2**level,
            "dead-letter-exchange": below,
            **_AT_LEAST_ONCE,
        },
    )


def _level_bindings(level: int) -> tuple[Binding, Binding]:
    """Bit set: wait in this level's queue. Bit clear: on to the next level in memory."""
    above = "*." * (delay.LEVELS - 1 - level)
    name = level_name(level)
    below = level_name(level - 1) if level else DUE
    return (
        Binding(source=name, destination=name, key=f"{above}1.#"),
        Binding(source=name, destination=below, key=f"{above}0.#", to="exchange"),
    )


def _checked(queue: str) -> str:
    if not QUEUE_NAME.fullmatch(queue):
        raise ValueError(f"queue {queue!r:.200}: a name is 1 to 190 of a-z, 0-9, '_' and '-', no '_' or '-' in front")
    return queue


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"
