"""Job events: what workers tell the store, and the order that makes any sequence of them converge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

from warren.envelope import APP_ID, CONTENT_TYPE, MAX_ROUND, Message, new_job_id
from warren.errors import EnvelopeError

VERSION: Final = 1
MESSAGE_TYPE: Final = "warren.events"
MAX_TRACEBACK_CHARS: Final = 16 * 1024
MAX_MESSAGE_CHARS: Final = 2 * 1024
MAX_RESULT_BYTES: Final = 64 * 1024


class State(StrEnum):
    """Where a job is. The first five change, the last four are final."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    PARKED = "parked"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD = "dead"
    SUCCEEDED = "succeeded"

    @property
    def final(self) -> bool:
        """Whether a job in this state is done for good."""
        return self in FINAL


OUTCOMES: Final = (
    "succeeded",
    "failed",
    "timeout",
    "crashed",
    "out-of-memory",
    "lost",
    "given-back",
    "discarded",
    "invalid",
    "expired",
    "cancelled",
)
"""How an attempt can end. `crashed`: its child process was killed by a signal or went away; `out-of-memory`: the
kernel killed it for memory, or it met its own memory limit; `lost`: its worker died or lost its connection; `given-
back`: its worker drained. Only `failed`, `timeout`, `crashed`, `out-of-memory` and, where the code really ran, `lost`
count against the limit of attempts."""

FINAL: Final = frozenset({State.EXPIRED, State.CANCELLED, State.DEAD, State.SUCCEEDED})

_RANK: Final = {state: rank for rank, state in enumerate(State)}
_FINAL_POSITION: Final = 1 << 40
_ROUND: Final = 1 << 41


def position(state: State, attempt: int, round: int = 0) -> int:  # noqa: A002 - the field's name
    """Place an event in the one order every store agrees on; the highest position is a job's state.

    A later round beats an earlier one. Within a round any final state is above every other; among finals success wins,
    whichever came first, because the work was done. Otherwise the later attempt wins, then the later state. So events
    may come in any order and any number of times.

    Args:
        state: The state the event announces.
        attempt: The attempt it belongs to; 0 for the submit.
        round: How often the job was brought back from the dead letters.
    """
    base = min(round, MAX_ROUND) * _ROUND
    if state.final:
        return base + _FINAL_POSITION + _RANK[state]
    return base + min(attempt, 2**31) * 16 + _RANK[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """How an attempt failed, in text.

    Attributes:
        type: Name of the exception's class, with its module unless built in.
        message: Its message, cut to 2 KiB.
        traceback: Its traceback, the last 16 KiB.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job.

    Events carry all that a row in the store needs, so that one without a row makes it.

    Attributes:
        job: Job id.
        state: The state it announces.
        attempt: The attempt it belongs to, from 1.
        at_ms: When, milliseconds since the epoch, by the worker's clock.
        task: Task name.
        queue: Queue name.
        enqueued_ms: When the job was submitted.
        worker: Name of the worker.
        started_ms: When this attempt's code began, if it did.
        max_attempts: Limit of attempts.
        retry_at_ms: When the next attempt is due, for `retrying` and `parked`.
        progress: 0 to 1 with an optional message, for `running`.
        progress_message: What the task says it is doing.
        result: JSON text of the return value, for `succeeded`.
        outcome: How the attempt ended, a word of `OUTCOMES`, or None while it runs.
        error: How it failed, if it did.
        tenant: Whose job it is.
        redelivered: The broker had handed the message out before, so that this may be a second run.
        round: How often the job was brought back from the dead letters.
    """

    job: str
    state: State
    attempt: int
    at_ms: int
    task: str
    queue: str
    enqueued_ms: int
    worker: str = ""
    started_ms: int | None = None
    max_attempts: int | None = None
    retry_at_ms: int | None = None
    progress: float | None = None
    progress_message: str | None = None
    result: str | None = None
    outcome: str | None = None
    error: ErrorInfo | None = None
    tenant: str | None = None
    redelivered: bool = False
    round: int = 0


def encode_batch(events: Sequence[Event]) -> Message:
    """Pack events into one message."""
    packed = [_without_empty(_shallow(event)) for event in events]
    body = json.dumps({"v": VERSION, "events": packed}, separators=(",", ":"), ensure_ascii=False)
    return Message(
        # A task's error may quote a file name that is not UTF-8; that must not stop its event.
        body=body.encode(errors="replace"),
        message_id=new_job_id(),
        type=MESSAGE_TYPE,
        content_type=CONTENT_TYPE,
        app_id=APP_ID,
        headers={"warren-v": VERSION},
    )


def decode_batch(message: Message) -> list[Event]:
    """Unpack a message of events.

    Raises:
        EnvelopeError: The message is no batch of events this program reads.
    """
    try:
        packed = json.loads(message.body)
        if packed["v"] > VERSION:
            raise EnvelopeError(f"events version {packed['v']} is newer than {VERSION}", message)
        return [_event(item) for item in packed["events"]]
    except EnvelopeError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvelopeError(f"not a batch of events: {error!r:.200}", message) from error


_NO_ROUND: Final = ("round", 0)
_ORDERED: Final = tuple(field.name for field in fields(Event))
_NAMES: Final = frozenset(_ORDERED)
_REQUIRED: Final = frozenset(field.name for field in fields(Event) if field.default is MISSING)
_OPTIONAL_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "worker": str,
    "progress": (int, float),
    "progress_message": str,
    "result": str,
    "outcome": str,
    "tenant": str,
    "redelivered": bool,
}


def _event(item: dict[str, Any]) -> Event:
    known = {name: value for name, value in item.items() if name in _NAMES and value is not None}
    known["state"] = State(known["state"])
    if known.get("error") is not None:
        known["error"] = ErrorInfo(
            **{key: str(known["error"].get(key, "")) for key in ("type", "message", "traceback")}
        )
    for name in ("attempt", "at_ms", "enqueued_ms"):
        _check_integer(name, known[name])
    for name in ("started_ms", "max_attempts", "retry_at_ms", "round"):
        if known.get(name) is not None:
            _check_integer(name, known[name])
    for name in ("job", "task", "queue"):
        if type(known[name]) is not str:
            raise TypeError(f"{name} is {known[name]!r:.50}, must be text")
    for name, wanted in _OPTIONAL_TYPES.items():
        if known.get(name) is not None and not isinstance(known[name], wanted):
            raise TypeError(f"{name} is {known[name]!r:.50}, must be {wanted}")
    if known.get("progress") is not None and not 0 <= known["progress"] <= 1:
        raise ValueError(f"progress is {known['progress']!r:.50}, must be between 0 and 1")
    return Event(**known)


def _check_integer(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{name} is {value!r:.50}, must be an integer from 0")


def _shallow(event: Event) -> dict[str, Any]:
    """Return an event's fields as `asdict` does, without its copies."""
    values = {name: getattr(event, name) for name in _ORDERED}
    if event.error is not None:
        values["error"] = asdict(event.error)
    return values


def _without_empty(packed: dict[str, Any]) -> dict[str, Any]:
    # By identity: 0 equals False, and an attempt, a time or a progress of 0 says something.
    return {
        name: value
        for name, value in packed.items()
        if name in _REQUIRED
        or (value is not None and value is not False and value != "" and (name, value) != _NO_ROUND)
    }
