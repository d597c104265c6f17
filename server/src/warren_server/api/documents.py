"""What the server answers, described for OpenAPI; `views` makes the documents."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from warren.events import State

Time = str


class Described(BaseModel):
    """A document; newer servers may add fields."""

    model_config = ConfigDict(extra="allow")


class ErrorDocument(Described):
    """How an attempt failed."""

    type: str
    message: str
    traceback: str


class AttemptDocument(Described):
    """One run of a job's code."""

    attempt: int
    outcome: str | None
    worker: str | None
    redelivered: bool
    duplicate: bool
    started_at: Time | None
    finished_at: Time | None
    run_seconds: float | None
    error: ErrorDocument | None


class SubmittedDocument(Described):
    """A job just taken."""

    id: str
    state: State
    task: str
    queue: str
    url: str
    tracking: Literal["deferred"] | None = None


class JobDocument(Described):
    """A job."""

    id: str
    state: State
    task: str
    queue: str
    url: str
    attempt: int
    round: int
    max_attempts: int | None
    submitted_at: Time | None
    scheduled_for: Time | None
    started_at: Time | None
    finished_at: Time | None
    cancel_requested_at: Time | None
    wait_seconds: float | None
    run_seconds: float | None
    progress: float | None
    progress_message: str | None
    result: Any
    error: ErrorDocument | None
    attempts: list[AttemptDocument]


class JobsDocument(Described):
    """A page of jobs."""

    jobs: list[JobDocument]
    cursor: str | None


class FieldProblem(Described):
    """What is wrong with a field."""

    field: str
    rule: str
    message: str


class ProblemDocument(Described):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[FieldProblem] | None = None


class BatchItemDocument(Described):
    """What became of one job of a batch: the job, or the problem."""

    status: int
    id: str | None = None
    state: State | None = None
    task: str | None = None
    queue: str | None = None
    url: str | None = None
    tracking: Literal["deferred"] | None = None
    problem: ProblemDocument | None = None


class BatchDocument(Described):
    """What became of a batch, in its order."""

    jobs: list[BatchItemDocument]


class TaskDocument(Described):
    """A task."""

    name: str
    queue: str
    timeout_seconds: float
    max_attempts: int
    isolation: str
    oom_queue: str | None
    description: str
    schema_: dict[str, Any]

    model_config = ConfigDict(extra="allow", alias_generator=lambda name: name.rstrip("_"))


class TasksDocument(Described):
    """The tasks jobs can be for."""

    tasks: list[TaskDocument]


class RateDocument(Described):
    """Jobs that may start within any window of some seconds."""

    count: int
    seconds: int


class LimitsDocument(Described):
    """How a queue is worked on by all workers together; null means no limit."""

    priority: int
    max_length: int | None
    concurrency: int | None
    rate: RateDocument | None


class TokensOfQueueDocument(Described):
    """Tokens of one kind: those there should be, and those there are, in their queue or out at a worker."""

    wanted: int
    present: int


class QueueDocument(Described):
    """A queue: what the broker says of it, its jobs by state, and how it is worked on.

    `paused` and `limits` are null while the store is away, `tokens` also while the broker does not say.
    """

    name: str
    ready: int | None
    unacked: int | None
    consumers: int | None
    jobs: dict[str, int] | None
    paused: bool | None
    limits: LimitsDocument | None
    tokens: dict[str, TokensOfQueueDocument] | None


class ScalingDocument(Described):
    """How many workers a queue should have, and why.

    `reason` is `backlog` (expected work over the latency goal), `depth` (no job has ended yet), `busy`, `idle`,
    `minimum` or `maximum`; `unbounded_workers` is the number before the bounds. `leaving_jobs` are unsettled jobs that
    more workers hold than are attached. `expected_seconds` is a faded mean over the last `samples` jobs. `running`
    is what events say, null while the store was never reached. The broker counts every 5 s, on top of
    `data_age_seconds`.
    """

    queue: str
    desired_workers: int
    unbounded_workers: int
    reason: str
    explanation: str
    ready: int
    unacked: int
    leaving_jobs: int
    consumers: int | None
    paused: bool
    data_age_seconds: float
    expected_seconds: float | None
    samples: int
    running: int | None
    concurrency: int
    slo_seconds: float
    jobs_per_worker: int
    min: int
    max: int


class PurgeDocument(Described):
    """A purge under way: workers end each job meant, when they meet it."""

    queue: str
    before: Time | None
    ready: int | None
    paused: bool


class QueuesDocument(Described):
    """The queues."""

    queues: list[QueueDocument]


class DeadLetterDocument(Described):
    """A dead letter; `message` and `body` (base64) only when asked for by its id."""

    id: str
    job: str | None
    task: str | None
    queue: str | None
    reason: str
    attempt: int | None
    outcome: str | None
    worker: str | None
    image: str | None
    at: Time | None
    error: ErrorDocument | None
    message: dict[str, Any] | None = None
    body: str | None = None


class DeadLettersDocument(Described):
    """A page of dead letters."""

    dead_letters: list[DeadLetterDocument]
    cursor: str | None


class TokenDocument(Described):
    """A token; the secret `token` only in the answer that made it."""

    id: str
    name: str
    scopes: list[str]
    created_at: Time | None
    expires_at: Time | None
    tenant: str | None
    token: str | None = None


class TokensDocument(Described):
    """The tokens that are not revoked."""

    tokens: list[TokenDocument]


class AliveDocument(Described):
    """The process answers."""

    alive: bool


class ReadyDocument(Described):
    """Whether jobs are taken, and what the parts say."""

    ready: bool
    broker: bool
    store: bool
    serving: bool
