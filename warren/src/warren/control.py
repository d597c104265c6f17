"""Control messages: what steers workers, kept in the stream `warren.control` and replayed by every worker that starts.

A message is one order. Later ones about the same thing take the place of earlier ones; reading the stream twice, or
from anywhere before the newest order, leads to the same state. Orders older than the stream's age are announced anew by
the server while anybody can need them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeAlias

from warren.envelope import APP_ID, CONTENT_TYPE, JOB_ID, QUEUE_NAME, TASK_NAME, Message, new_job_id
from warren.errors import EnvelopeError

VERSION: Final = 1
MESSAGE_TYPE: Final = "warren.control"
MAX_IDS: Final = 1000
"""Job ids to a message; more go into several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJobs:
    """Cancel jobs by id.

    Attributes:
        jobs: Job ids, at most `MAX_IDS`.
    """

    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelMatching:
    """Cancel all jobs that were submitted up to a moment and match: those waiting and those running.

    Attributes:
        before_ms: Jobs enqueued after it are not meant, milliseconds since the epoch.
        queue: Only jobs of this queue, or None for any.
        task: Only jobs of this task, or None for any.
        waiting_only: Leave jobs alone that run when the order comes.
    """

    before_ms: int
    queue: str | None = None
    task: str | None = None
    waiting_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Start no more jobs of a queue, until resumed."""

    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Start jobs of a queue again."""

    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a queue is worked on by all workers together.

    Attributes:
        queue: Its name.
        priority: Of several queues at one worker, those of higher priority go first; 0 is usual.
        concurrency: Jobs of the queue that may run at once on all workers together, or None for no limit.
        rate_count: Jobs that may start within any `rate_seconds`, or None for no limit.
        rate_seconds: Length of the window of the rate.
        generation: Which set of tokens is valid; rises with each change.
    """

    queue: str
    priority: int = 0
    concurrency: int | None = None
    rate_count: int | None = None
    rate_seconds: int | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker is about to run a job that an earlier worker held when it died.

    Only runs that are announced so, or the first of all, can have been the cause of a death, so only they count.

    Attributes:
        job: Job id.
        attempt: Attempt number in the envelope that is run.
        run: Which announced run of that envelope this is, from 1.
        round: Round of the envelope: a job brought back from the dead letters counts anew.
        nonce: What the worker knows its own announcement by, so that it begins only after those before it are known.
    """

    job: str
    attempt: int
    run: int
    round: int = 0
    nonce: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Tell workers to drain: finish what runs and take no more work.

    Attributes:
        workers: Names of workers.
    """

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrain:
    """Tell workers that drain, and are not told to stop otherwise, to go on.

    Attributes:
        workers: Names of workers.
    """

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A worker that starts marks the end of what it has to replay.

    Attributes:
        nonce: What it knows its own mark by.
    """

    nonce: str


Order: TypeAlias = CancelJobs | CancelMatching | Pause | Resume | Limits | Started | Drain | Undrain | Hello

_KINDS: Final[Mapping[str, type[Order]]] = {
    "cancel-jobs": CancelJobs,
    "cancel-matching": CancelMatching,
    "pause": Pause,
    "resume": Resume,
    "limits": Limits,
    "started": Started,
    "drain": Drain,
    "undrain": Undrain,
    "hello": Hello,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def encode_order(order: Order) -> Message:
    """Pack an order into a message."""
    told = {name: value for name, value in asdict(order).items() if value is not None}
    body = json.dumps({"v": VERSION, "kind": _NAMES[type(order)], **told}, separators=(",", ":"))
    return as_message(body.encode())


def as_message(body: bytes) -> Message:
    """Wrap an order that is packed already."""
    return Message(
        body=body,
        message_id=new_job_id(),
        type=MESSAGE_TYPE,
        content_type=CONTENT_TYPE,
        app_id=APP_ID,
        headers={"warren-v": VERSION},
    )


def decode_order(message: Message) -> Order | None:
    """Unpack an order, strictly.

    Returns:
        The order, or None when it is of a kind this program does not know, from a newer release.

    Raises:
        EnvelopeError: The message is no order.
    """
    try:
        told = json.loads(message.body)
        kind = told.pop("kind")
        if not isinstance(kind, str) or not isinstance(told.pop("v"), int):
            raise TypeError("kind must be text and v an integer")
        wanted = _KINDS.get(kind)
        if wanted is None:
            return None
        known = {field.name for field in fields(wanted)}
        return wanted(**{name: _CHECKS[name](name, value) for name, value in told.items() if name in known})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvelopeError(f"not a control message: {error!r:.200}", message) from error


def _integer(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{name} is {value!r:.50}, must be an integer from 0")
    return value


def _flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{name} is {value!r:.50}, must be true or false")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ValueError(f"{name} is {value!r:.50}, must be text of at most 255 characters")
    return value


def _job(name: str, value: object) -> str:
    if not isinstance(value, str) or not JOB_ID.fullmatch(value):
        raise ValueError(f"{name} is {value!r:.50}, must be a job id")
    return value


def _queue(name: str, value: object) -> str:
    if not isinstance(value, str) or not QUEUE_NAME.fullmatch(value):
        raise ValueError(f"{name} is {value!r:.50}, must match {QUEUE_NAME.pattern}")
    return value


def _task(name: str, value: object) -> str:
    if not isinstance(value, str) or not TASK_NAME.fullmatch(value):
        raise ValueError(f"{name} is {value!r:.50}, must match {TASK_NAME.pattern}")
    return value


def _many(one: Callable[[str, object], str]) -> Callable[[str, object], tuple[str, ...]]:
    def check(name: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MAX_IDS:
            raise ValueError(f"{name} must be a list of at most {MAX_IDS}")
        return tuple(one(name, item) for item in value)

    return check


_CHECKS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "jobs": _many(_job),
    "workers": _many(_text),
    "before_ms": _integer,
    "waiting_only": _flag,
    "queue": _queue,
    "task": _task,
    "priority": _integer,
    "concurrency": _integer,
    "rate_count": _integer,
    "rate_seconds": _integer,
    "generation": _integer,
    "job": _job,
    "attempt": _integer,
    "run": _integer,
    "round": _integer,
    "nonce": _text,
}
