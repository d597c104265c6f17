"""Tokens: what bounds how many jobs of a queue run or start on all workers together.

A token is a message in a queue of its own, `warren.tokens.<queue>.slots` or `.rate`. A worker that holds one, delivered
and not settled, may start a job; it gives it back unharmed. Nobody publishes a token that exists: the broker has each
once, in the queue or out at one worker, and takes it back when that worker is gone (ADR 5).

A change of limits is a new generation: the tokens first, confirmed, then the order `warren.control.Limits`. Workers
throw away tokens of older generations when they meet them, and leave those of newer ones alone until the order has
reached them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from warren.control import Limits
from warren.envelope import APP_ID, Message, new_job_id
from warren.topology import (
    TOKEN_KINDS,
    TOKEN_POLICY,
    TOKENS,
    Binding,
    Exchange,
    Queue,
    TokenKind,
    Topology,
    token_queue,
)
from warren.transport import Publication

MESSAGE_TYPE: Final = "warren.token"
GENERATION: Final = "warren-generation"
"""Header of a token: the generation it belongs to."""


def token_publications(limits: Limits) -> list[Publication]:
    """Make all tokens of a queue for one generation, to be published once, each confirmed.

    A generation whose publishing was interrupted is not to be published again, which would make some tokens twice:
    announce the next one.

    Args:
        limits: The limits they enforce; a kind without a limit has no tokens.
    """
    return [
        Publication(
            exchange=TOKENS,
            routing_key=token_queue(limits.queue, kind),
            message=Message(
                body=b"",
                message_id=new_job_id(),
                type=MESSAGE_TYPE,
                app_id=APP_ID,
                headers={GENERATION: limits.generation},
            ),
        )
        for kind, count in token_counts(limits).items()
        for _ in range(count)
    ]


def token_topology(queue: str) -> Topology:
    """Describe what the broker needs for the tokens of a queue.

    Args:
        queue: Name of the job queue, without prefix.
    """
    names = [token_queue(queue, kind) for kind in TOKEN_KINDS]
    return Topology(
        exchanges=(Exchange(name=TOKENS, type="direct"),),
        queues=tuple(Queue(name=name) for name in names),
        bindings=tuple(Binding(source=TOKENS, destination=name, key=name) for name in names),
        policies=(TOKEN_POLICY,),
    )


def token_counts(limits: Limits) -> Mapping[TokenKind, int]:
    """Return how many tokens there are of each kind that is limited."""
    counts: dict[TokenKind, int] = {}
    if limits.concurrency is not None:
        counts["slots"] = limits.concurrency
    if limits.rate_count is not None:
        counts["rate"] = limits.rate_count
    return counts
