"""Problems: every error the server answers with (RFC 9457), in one table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from warren import errors
from warren_server.errors import NotRedrivable, StoreDown, StoreError

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """A kind of problem.

    Attributes:
        status: HTTP status.
        title: What it means, the same in every occurrence.
        retry_after_seconds: When trying again makes sense, if it does.
    """

    status: int
    title: str
    retry_after_seconds: int | None = None


PROBLEMS: Final[Mapping[str, ProblemKind]] = MappingProxyType(
    {
        "bad-request": ProblemKind(status=400, title="The request cannot be understood."),
        "bad-json": ProblemKind(status=400, title="The body is not acceptable JSON."),
        "bad-host": ProblemKind(status=400, title="The Host header is not one this server answers to."),
        "unauthenticated": ProblemKind(status=401, title="A valid bearer token is needed."),
        "forbidden": ProblemKind(status=403, title="The token's scopes do not allow this."),
        "not-found": ProblemKind(status=404, title="There is nothing at this address."),
        "unknown-job": ProblemKind(status=404, title="There is no such job."),
        "unknown-task": ProblemKind(status=404, title="There is no such task."),
        "unknown-queue": ProblemKind(status=404, title="There is no such queue."),
        "unknown-dead-letter": ProblemKind(status=404, title="There is no such dead letter."),
        "unknown-redrive": ProblemKind(status=404, title="There is no such redrive."),
        "unknown-token": ProblemKind(status=404, title="There is no such token."),
        "unknown-schedule": ProblemKind(status=404, title="There is no such schedule."),
        "method-not-allowed": ProblemKind(status=405, title="The route does not take this method."),
        "request-timeout": ProblemKind(status=408, title="The request did not arrive in time."),
        "not-dead": ProblemKind(status=409, title="Only a dead job can be retried."),
        "no-token-queues": ProblemKind(
            status=409, title="The broker has no token queues for this queue, and this server may not make them."
        ),
        "queue-busy": ProblemKind(
            status=409, title="Another change of the queue is under way; nothing was changed.", retry_after_seconds=1
        ),
        "already-final": ProblemKind(status=409, title="The job has ended; it cannot be cancelled any more."),
        "cancel-requested": ProblemKind(status=409, title="Somebody asked to cancel the job; it cannot be retried."),
        "dead-letter-busy": ProblemKind(
            status=409, title="A redrive or another retry has the dead letter at hand.", retry_after_seconds=2
        ),
        "not-redrivable": ProblemKind(status=409, title="The dead letter is no job; no queue can take it back."),
        "idempotency-key-busy": ProblemKind(
            status=409, title="A request with the same Idempotency-Key is under way.", retry_after_seconds=1
        ),
        "schedule-from-file": ProblemKind(
            status=409, title="The schedule is declared in a file and can only be changed there."
        ),
        "too-large": ProblemKind(status=413, title="The body is larger than the route takes."),
        "unsupported-media-type": ProblemKind(
            status=415, title="The body must be application/json in UTF-8, not compressed."
        ),
        "invalid-request": ProblemKind(status=422, title="Fields of the request break their rules."),
        "invalid-arguments": ProblemKind(status=422, title="The arguments do not fit the task's signature."),
        "idempotency-key-reused": ProblemKind(
            status=422, title="The Idempotency-Key came with another request before."
        ),
        "queue-full": ProblemKind(
            status=429, title="The queue is at its limit; nothing was accepted.", retry_after_seconds=5
        ),
        "window-full": ProblemKind(
            status=429, title="Too many submits wait for the broker; nothing was accepted.", retry_after_seconds=1
        ),
        "internal-error": ProblemKind(status=500, title="The server failed; its log says why."),
        "broker-unavailable": ProblemKind(
            status=503, title="There is no connection to the broker; nothing was accepted.", retry_after_seconds=2
        ),
        "broker-blocked": ProblemKind(
            status=503, title="The broker has a resource alarm; nothing was accepted.", retry_after_seconds=10
        ),
        "depths-unknown": ProblemKind(
            status=503, title="The broker does not say how deep the queue is.", retry_after_seconds=5
        ),
        "outcome-unknown": ProblemKind(
            status=503, title="The broker did not confirm in time: the job may or may not run.", retry_after_seconds=1
        ),
        "store-unavailable": ProblemKind(
            status=503,
            title="The store cannot be reached; jobs without an Idempotency-Key are still accepted.",
            retry_after_seconds=2,
        ),
        "change-unfinished": ProblemKind(
            status=503,
            title="The change is recorded, but workers may not know it yet; the servers go on trying.",
            retry_after_seconds=2,
        ),
        "not-ready": ProblemKind(status=503, title="The server is not ready.", retry_after_seconds=2),
    }
)

_BY_ERROR: Final[tuple[tuple[type[Exception], str], ...]] = (
    (errors.UnknownTask, "unknown-task"),
    (errors.Unroutable, "unknown-queue"),
    (errors.QueueFull, "queue-full"),
    (errors.WindowFull, "window-full"),
    (errors.Blocked, "broker-blocked"),
    (errors.Unavailable, "broker-unavailable"),
    (errors.OutcomeUnknown, "outcome-unknown"),
    (errors.TransportError, "broker-unavailable"),
    (NotRedrivable, "not-redrivable"),
    (StoreDown, "store-unavailable"),
)
_BY_STATUS: Final = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    413: "too-large",
    415: "unsupported-media-type",
}


class Refusal(Exception):
    """A request is answered with a problem.

    Attributes:
        kind: Key of `PROBLEMS`.
        detail: What is wrong in this occurrence.
        problems: What is wrong with which field.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        problems: Sequence[errors.Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.detail = detail
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        super().__init__(f"{kind}: {detail}")

    @property
    def status(self) -> int:
        """HTTP status."""
        return PROBLEMS[self.kind].status

    def document(self) -> dict[str, object]:
        """Return the problem document."""
        kind = PROBLEMS[self.kind]
        document: dict[str, object] = {
            "type": f"/problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
        }
        if self.problems:
            document["problems"] = [
                {"field": problem.field, "rule": problem.rule, "message": problem.message} for problem in self.problems
            ]
        return document

    def response(self) -> Response:
        """Return the HTTP answer."""
        # ASCII, so that a lone surrogate quoted from the request cannot break the answer.
        response = Response(json.dumps(self.document()), status=self.status, mimetype=MEDIA_TYPE)
        response.headers["Cache-Control"] = "no-store"
        retry_after = PROBLEMS[self.kind].retry_after_seconds
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        response.headers.update(self.headers)
        return response


def refusal_for(error: Exception) -> Refusal:
    """Translate an error into the problem the client sees; one nobody foresaw is logged and told in general terms."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, errors.InvalidArguments):
        return Refusal("invalid-arguments", str(error), problems=error.problems)
    if isinstance(error, HTTPException):
        return _http_refusal(error)
    for kind_of_error, kind in _BY_ERROR:
        if isinstance(error, kind_of_error):
            return Refusal(kind, str(error))
    logger.error("could not answer a request", exc_info=error, extra={"event": "request_failed"})
    return Refusal("internal-error", "something in the server failed; nothing more is told here, see its log")


def install(app: Flask) -> None:
    """Answer every error of the app with a problem."""

    def answer(error: Exception) -> Response:
        return refusal_for(error).response()

    for kind_of_error in (Refusal, errors.WarrenError, StoreError, HTTPException, Exception):
        app.register_error_handler(kind_of_error, answer)


def _http_refusal(error: HTTPException) -> Refusal:
    status = error.code or 500
    kind = _BY_STATUS.get(status, "bad-request" if 400 <= status < 500 else "internal-error")
    headers = {}
    valid_methods = getattr(error, "valid_methods", None)
    if valid_methods:
        headers["Allow"] = ", ".join(sorted(valid_methods))
    detail = error.description if kind != "internal-error" else None
    return Refusal(kind, detail or HTTPStatus(status).phrase, headers=headers)
