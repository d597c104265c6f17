"""What clients may send, and how strictly it is read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from flask import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from warren.delay import MAX_SECONDS
from warren.envelope import JOB_ID, MAX_BODY_BYTES, MAX_PRIORITY, QUEUE_NAME, TASK_NAME, TENANT
from warren.errors import Problem
from warren_server.api.problems import Refusal
from warren_server.api.strict_json import load_object

M = TypeVar("M", bound=BaseModel)

MAX_REQUEST_BYTES: Final = MAX_BODY_BYTES
MAX_BATCH_BYTES: Final = 8 * MAX_BODY_BYTES
MAX_BATCH_JOBS: Final = 1000
MAX_BATCH_ITEMS: Final = 200_000
MAX_PROBLEMS: Final = 20
MAX_TOKENS: Final = 10_000
"""Each is a message in the broker; a server makes so many within seconds."""
_MONTH_SECONDS: Final = 30 * 86400
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _time(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with zone, such as 2030-01-31T12:00:00Z")
    moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def _name(rule: re.Pattern[str], what: str) -> Any:
    def check(value: object) -> object:
        # Python's own pattern, so that the rule is the one the envelope has.
        if isinstance(value, str) and not rule.fullmatch(value):
            raise ValueError(f"is no name of a {what}: must match {rule.pattern}")
        return value

    return BeforeValidator(check)


def _schema(rule: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{rule.pattern}$"})


TaskName = Annotated[str, _name(TASK_NAME, "task"), _schema(TASK_NAME)]
QueueName = Annotated[str, _name(QUEUE_NAME, "queue"), _schema(QUEUE_NAME)]
JobId = Annotated[str, _name(JOB_ID, "job"), _schema(JOB_ID)]
TenantName = Annotated[str, _name(TENANT, "tenant"), _schema(TENANT)]
Moment = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class JobRequest(BaseModel):
    """One job to submit."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    task: TaskName
    """Name of the task."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments by name, checked against the task's schema."""
    queue: QueueName | None = None
    """Queue to go to, instead of the task's."""
    delay: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = None
    """Whole seconds until the job may start."""
    run_at: Moment | None = None
    """When the job may start, instead of `delay`; at most 48 days away."""
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] = 0
    """Higher is served first."""
    timeout: Annotated[float, Field(gt=0, le=_MONTH_SECONDS)] | None = None
    """Limit of one attempt in seconds, instead of the task's."""
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Runs before the job is a dead letter, instead of the task's."""
    expires_in: Annotated[float, Field(gt=0, le=366 * 86400)] | None = None
    """Seconds after which the job is no longer worth starting."""

    @model_validator(mode="after")
    def _one_time(self) -> JobRequest:
        if self.delay is not None and self.run_at is not None:
            raise ValueError("delay and run_at are two ways to say one thing; give one")
        return self


class BatchRequest(BaseModel):
    """Several jobs to submit; each is taken or refused by itself."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    jobs: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH_JOBS)]
    """The jobs, each as for a single submit."""


class TokenRequest(BaseModel):
    """A token to make."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    scopes: Annotated[list[Literal["submit", "read", "admin"]], Field(min_length=1, max_length=3)]
    """What it may do; `admin` implies the others."""
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """What it is for."""
    expires_in: Annotated[float, Field(gt=0, le=10 * 366 * 86400)] | None = None
    """Seconds until it ends; never unless given."""
    tenant: TenantName | None = None
    """Whose jobs its bearer submits and sees; without one it sees the jobs of all."""


class RateRequest(BaseModel):
    """Jobs that may start within any window of some seconds."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    count: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    """Jobs."""
    seconds: Annotated[int, Field(ge=1, le=86400)]
    """Length of the window."""


class LimitsRequest(BaseModel):
    """All limits of a queue; what is left out or null has no limit."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    priority: Annotated[int, Field(ge=0, le=100)] | None = None
    """Of several queues at one worker, those of higher priority go first; null is 0."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Submits are refused while so many jobs are ready."""
    concurrency: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    """Jobs that may run at once on all workers together."""
    rate: RateRequest | None = None
    """Jobs that may start within a window, on all workers together."""


class JobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    state: (
        Literal["scheduled", "queued", "running", "retrying", "parked", "expired", "cancelled", "dead", "succeeded"]
        | None
    ) = None
    """Only jobs in this state."""
    queue: QueueName | None = None
    """Only jobs of this queue."""
    task: TaskName | None = None
    """Only jobs of this task."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    """Most jobs to list."""
    cursor: Annotated[str, Field(max_length=100)] | None = None
    """The `cursor` of the page before."""


class ScalingQuery(BaseModel):
    """What a fleet of workers is held to; what is left out is the server's setting `WARREN_SCALING_...`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    min: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Fewest workers."""
    max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most workers."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Jobs that one worker runs at once."""
    slo_seconds: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] | None = None
    """How long a job may wait for its start, in seconds."""
    jobs_per_worker: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Jobs, waiting and running, to a worker while none has ended yet."""


class WaitQuery(BaseModel):
    """How long to wait for a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    wait: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    """Seconds to wait for a final state; the answer may come sooner, with the job as it is then."""


def read_body(request: Request, limit_bytes: int = MAX_REQUEST_BYTES, **limits: int) -> dict[str, Any]:
    """Read a request's JSON object.

    Raises:
        Refusal: It is too large, not JSON by type or content, or compressed.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Refusal("unsupported-media-type", "Content-Encoding is not supported: send the body as it is")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in ("utf-8", "utf8"):
        raise Refusal(
            "unsupported-media-type",
            f"Content-Type is {request.headers.get('Content-Type', '')!r:.100}, must be application/json in UTF-8",
        )
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    # One byte more than is taken: at its own limit Werkzeug ends a chunked body silently.
    request.max_content_length = limit_bytes + 1
    raw = request.get_data(cache=False)
    if len(raw) > limit_bytes:
        raise _too_large(limit_bytes)
    return load_object(raw, **limits)


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal("too-large", f"the body is larger than {limit_bytes} bytes")


def validate(model: type[M], document: object) -> M:
    """Check a document against a model.

    Raises:
        Refusal: `invalid-request`, with a problem for each field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(
                field=".".join(map(str, item["loc"]))[:200],
                rule=str(item["type"]),
                message=str(item["msg"]).removeprefix("Value error, "),
            )
            for item in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_PROBLEMS]
        ]
        first = problems[0]
        raise Refusal(
            "invalid-request", f"{first.field or 'the request'}: {first.message}", problems=problems
        ) from None


def query(model: type[M], request: Request) -> M:
    """Read a request's query parameters.

    Raises:
        Refusal: `invalid-request`.
    """
    for name, values in request.args.lists():
        if len(values) > 1:
            problem = Problem(field=name[:200], rule="single", message="must be given once")
            raise Refusal("invalid-request", f"{name!r:.100}: must be given once", problems=[problem])
    return validate(model, request.args.to_dict())


def is_job_id(text: str) -> bool:
    """Whether a text can be a job's id."""
    return JOB_ID.fullmatch(text) is not None
