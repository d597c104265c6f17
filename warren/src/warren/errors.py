"""Every error Warren raises, in one tree.

```
WarrenError
├── SettingsError
├── TaskError
│   ├── DuplicateTask
│   ├── UnknownTask
│   └── InvalidArguments
├── EnvelopeError
├── TransportError
│   ├── NotAccepted            certainly not with the broker: safe to send again
│   │   ├── Unavailable        no connection
│   │   ├── Blocked            the broker's memory or disk alarm
│   │   ├── WindowFull         too many unconfirmed messages
│   │   ├── QueueFull          the broker refused: the queue is at its limit
│   │   └── Unroutable         no such queue
│   ├── OutcomeUnknown         sent, never confirmed: may or may not be with the broker
│   └── TopologyError
│       └── NotPermitted       the broker's login may not do it
├── KubernetesError
│   ├── KubernetesForbidden    the account may not do it
│   └── KindMissing            the cluster does not know that kind of object
├── LocalStackError
├── UnsupportedDatabase        warren.sql on another database than PostgreSQL or SQLite
├── RequestFailed              the server answered with a problem
└── Steering                   raised by task code to say what happens next
    ├── Discard
    ├── RetryAfter
    ├── Cancelled
    └── TimeLimitExceeded
```

The docstring of a class is its default message. Foreign exceptions are translated where they are met, with their cause
kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class WarrenError(Exception):
    """Something in Warren failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or "").split("\n")[0])


class SettingsError(WarrenError):
    """A setting has a value that its rule forbids."""


class TaskError(WarrenError):
    """A task is declared or used wrongly."""


class DuplicateTask(TaskError):
    """Two functions claim the same task name."""


class UnknownTask(TaskError):
    """No task of that name is registered here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one field of some input.

    Attributes:
        field: Path of the field, dotted, such as `arguments.width`.
        rule: Short stable name of the rule that was broken, such as `int_type`.
        message: What the rule wants, as a sentence.
    """

    field: str
    rule: str
    message: str


class InvalidArguments(TaskError):
    """The arguments do not fit the task's signature."""

    def __init__(self, task: str, problems: Sequence[Problem]) -> None:
        self.task = task
        self.problems = tuple(problems)
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        super().__init__(f"arguments of task {task!r} are invalid: {listed}")

    def __reduce__(self) -> tuple[type[InvalidArguments], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.task, self.problems)


class EnvelopeError(WarrenError):
    """A message is not a valid envelope.

    Attributes:
        raw: The message as it came, so that it can be dead-lettered unchanged.
    """

    def __init__(self, message: str, raw: Any = None) -> None:
        self.raw = raw
        super().__init__(message)


class TransportError(WarrenError):
    """The message broker could not do what was asked."""


class NotAccepted(TransportError):
    """The broker has certainly not taken the message."""


class Unavailable(NotAccepted):
    """There is no connection to the broker."""


class Blocked(NotAccepted):
    """The broker refuses publishes because of a memory or disk alarm."""


class WindowFull(NotAccepted):
    """Too many messages wait for their confirm."""


class QueueFull(NotAccepted):
    """The broker refused the message because the queue is at its limit."""


class Unroutable(NotAccepted):
    """No queue is bound for the message."""


class OutcomeUnknown(TransportError):
    """The message was sent but its confirm never came."""


class TopologyError(TransportError):
    """The broker's exchanges, queues or policies are not what Warren needs."""


class NotPermitted(TopologyError):
    """The login may not ask the broker for this."""


class KubernetesError(WarrenError):
    """Kubernetes could not be asked."""


class KubernetesForbidden(KubernetesError):
    """The account may not ask Kubernetes for this."""


class KindMissing(KubernetesError):
    """The cluster does not know this kind of object."""


class LocalStackError(WarrenError):
    """The local stack could not be started."""


class UnsupportedDatabase(WarrenError):
    """The database is none that `warren.sql` runs on."""


class RequestFailed(WarrenError):
    """The server answered a request with a problem.

    Attributes:
        status: HTTP status, 0 when no answer came at all.
        kind: Last part of the problem's type URI, such as `unknown-task`.
        detail: The problem's own explanation.
        problems: What is wrong with which field, where the server said so.
        retry_after_seconds: The server's wish for the next try, if it has one.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        problems: Sequence[Problem] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.problems = tuple(problems)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{status} {kind}: {detail}" if status else f"{kind}: {detail}")

    def __reduce__(self) -> tuple[type[RequestFailed], tuple[Any, ...]]:
        return type(self), (self.status, self.kind, self.detail, self.problems, self.retry_after_seconds)


class Steering(WarrenError):
    """Raised by task code to say what happens to the job."""


class Discard(Steering):
    """The job is not worth another attempt; it goes to the dead letters at once."""

    def __init__(self, reason: str = "discarded by the task") -> None:
        self.reason = reason
        super().__init__(reason)


class RetryAfter(Steering):
    """The job asks for another attempt after a delay of its own choice.

    Attributes:
        seconds: Delay before the next attempt, 0 or more.
    """

    def __init__(self, seconds: float, reason: str = "the task asked to be retried") -> None:
        if not seconds >= 0:  # NaN is refused too
            raise ValueError(f"Retry.after({seconds}): the delay must be 0 or more seconds")
        self.seconds = float(seconds)
        self.reason = reason
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[RetryAfter], tuple[float, str]]:
        return type(self), (self.seconds, self.reason)


class Cancelled(Steering):
    """The job was cancelled, and its code stops here: no further attempt, no dead letter."""


class TimeLimitExceeded(Steering):
    """The attempt ran longer than its timeout."""
