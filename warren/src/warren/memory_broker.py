"""The broker inside `warren.memory`: exchanges, queues and policies as plain data, with time as a number. No threads.

It does what RabbitMQ does with the same declarations; where versions differ it is RabbitMQ 4.3.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count

from warren.envelope import HeaderValue, Message
from warren.errors import TopologyError
from warren.topology import Binding, Exchange, Policy, Queue, Topology
from warren.transport import Publication


@dataclass(slots=True)
class Stored:
    """A message in a queue, and what its queue remembers of it."""

    sequence: int
    message: Message
    exchange: str
    routing_key: str
    expires: float | None = None
    handed_out: int = 0
    failures: int = 0


@dataclass(slots=True)
class _QueueState:
    declared: Queue
    ready: deque[Stored] = field(default_factory=deque)


class Broker:
    """All exchanges, bindings, queues and policies that were declared."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}
        self._queues: dict[str, _QueueState] = {}
        self._bindings: dict[str, list[Binding]] = {}
        self._policies: dict[str, Policy] = {}
        self._sequence = count(1)
        self._now = 0.0

    def declare(self, topology: Topology) -> None:
        """Add what is not there yet.

        Raises:
            TopologyError: Something of that name exists with another type.
        """
        for exchange in topology.exchanges:
            _same_type(self._exchanges.setdefault(exchange.name, exchange), exchange)
        for queue in topology.queues:
            _same_type(self._queues.setdefault(queue.name, _QueueState(queue)).declared, queue)
        for binding in topology.bindings:
            bound = self._bindings.setdefault(binding.source, [])
            if binding not in bound:
                bound.append(binding)
        self._policies.update((policy.name, policy) for policy in topology.policies)

    def ready(self, queue: str) -> int | None:
        """Return how many messages are ready, None when there is no such queue."""
        state = self._queues.get(queue)
        return None if state is None else len(state.ready)

    def peek(self, queue: str) -> Sequence[Stored]:
        """Return what is ready, oldest first."""
        state = self._queues.get(queue)
        return () if state is None else tuple(state.ready)

    def is_stream(self, queue: str) -> bool:
        """Whether reading leaves the messages where they are."""
        state = self._queues.get(queue)
        return state is not None and state.declared.type == "stream"

    def log(self, queue: str) -> Iterable[Stored]:
        """Return all of a stream, nothing of other queues."""
        return self._queues[queue].ready if self.is_stream(queue) else ()

    def is_full(self, queue: str) -> bool:
        """Whether a publish would be refused."""
        limit = self._policy(queue, "queues").get("max-length")
        return limit is not None and len(self._queues[queue].ready) >= int(limit)

    def route(self, exchange: str, key: str) -> set[str]:
        """Return the queues a message reaches, by bindings and alternate exchanges."""
        if not exchange:
            return {key} & self._queues.keys()
        return self._route(exchange, key, set())

    def put(self, queue: str, publication: Publication, now: float) -> Stored:
        """Append a message to a queue."""
        self._now = now
        return self._append(queue, publication.message, publication.exchange, publication.routing_key)

    def take(self, queue: str) -> Stored | None:
        """Hand out the oldest ready message."""
        state = self._queues.get(queue)
        if state is None or not state.ready:
            return None
        stored = state.ready.popleft()
        stored.handed_out += 1
        return stored

    def give_back(self, queue: str, stored: Stored, *, counted: bool) -> None:
        """Return a message to its place in the queue, or dead-letter it when it failed too often."""
        stored.failures += counted
        limit = int(self._policy(queue, "queues").get("delivery-limit", -1))
        if counted and 0 <= limit < stored.failures:
            self._dead_letter(queue, stored, "delivery_limit")
            return
        state = self._queues[queue]
        returned = list(state.ready)
        insort(returned, stored, key=lambda each: each.sequence)
        state.ready = deque(returned)

    def move_to(self, now: float) -> None:
        """Let time pass, one expiry after the other, so that a message climbs down the whole ladder."""
        while True:
            due = [
                (state.ready[0].expires, name)
                for name, state in self._queues.items()
                if state.ready and state.ready[0].expires is not None and state.ready[0].expires <= now
            ]
            if not due:
                break
            expires, name = min(due)
            self._now = expires
            self._dead_letter(name, self._queues[name].ready.popleft(), "expired")
        self._now = now

    def _append(self, queue: str, message: Message, exchange: str, key: str) -> Stored:
        ttl = self._policy(queue, "queues").get("message-ttl")
        stored = Stored(
            sequence=next(self._sequence),
            message=message,
            exchange=exchange,
            routing_key=key,
            expires=None if ttl is None else self._now + int(ttl) / 1000,
        )
        self._queues[queue].ready.append(stored)
        return stored

    def _dead_letter(self, queue: str, stored: Stored, reason: str) -> None:
        target = self._policy(queue, "queues").get("dead-letter-exchange")
        if target is None:
            return
        message = with_death(stored, queue, reason)
        for destination in self.route(str(target), stored.routing_key):
            self._append(destination, message, str(target), stored.routing_key)

    def _route(self, exchange: str, key: str, seen: set[str]) -> set[str]:
        if exchange in seen or exchange not in self._exchanges:
            return set()
        seen.add(exchange)
        kind = self._exchanges[exchange].type
        found: set[str] = set()
        for binding in self._bindings.get(exchange, ()):
            if _accepts(kind, binding.key, key):
                found |= {binding.destination} if binding.to == "queue" else self._route(binding.destination, key, seen)
        alternate = self._policy(exchange, "exchanges").get("alternate-exchange")
        return found or (self._route(str(alternate), key, seen) if alternate else set())

    def _policy(self, name: str, apply_to: str) -> dict[str, str | int]:
        matching = [
            policy
            for policy in self._policies.values()
            if policy.apply_to == apply_to and re.search(policy.pattern, name)
        ]
        return max(matching, key=lambda policy: policy.priority).definition if matching else {}


def with_death(stored: Stored, queue: str, reason: str) -> Message:
    """Return the message with the headers RabbitMQ adds when it dead-letters."""
    old = stored.message.headers.get("x-death")
    death: dict[str, HeaderValue] = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "exchange": stored.exchange,
        "routing-keys": [stored.routing_key],
    }
    headers: dict[str, HeaderValue] = {
        "x-first-death-reason": reason,
        "x-first-death-queue": queue,
        "x-first-death-exchange": stored.exchange,
        **stored.message.headers,
        "x-death": [death, *(old if isinstance(old, list) else ())],
        "x-last-death-reason": reason,
        "x-last-death-queue": queue,
        "x-last-death-exchange": stored.exchange,
    }
    return replace(stored.message, headers=headers)


def _accepts(kind: str, pattern: str, key: str) -> bool:
    if kind == "fanout":
        return True
    return topic_matches(pattern, key) if kind == "topic" else pattern == key


@lru_cache(maxsize=4096)
def topic_matches(pattern: str, key: str) -> bool:
    """Whether a routing key fits a topic pattern: `*` is one word, `#` any number of words."""
    return _words_match(tuple(pattern.split(".")), tuple(key.split(".")))


def _words_match(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return _words_match(pattern[1:], words) or (bool(words) and _words_match(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and _words_match(pattern[1:], words[1:])


def _same_type(existing: Exchange | Queue, wanted: Exchange | Queue) -> None:
    if existing.type != wanted.type:
        raise TopologyError(f"{wanted.name} exists as {existing.type}, wanted {wanted.type}; delete it or rename yours")
