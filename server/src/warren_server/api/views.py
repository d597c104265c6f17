"""Rows as the documents clients see."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from warren.events import State
from warren_server.queues import QueueState
from warren_server.store.fold import Row
from warren_server.store.queue_settings import QueueSettings
from warren_server.store.redrives import Redrive
from warren_server.store.tokens import Token
from warren_server.submit import DEFERRED, Accepted
from warren_server.tasks import KnownTask
from warren_server.token_audit import tokens

Document = dict[str, Any]

_LOST: Final = {
    "type": "warren_worker.Lost",
    "message": "its worker died or lost its connection before the end",
    "traceback": "",
}


def job_url(job: str) -> str:
    """Return the address of a job on this server."""
    return f"/v1/jobs/{job}"


def accepted(taken: Accepted) -> Document:
    """Show a job just taken."""
    event = taken.order.event
    document: Document = {
        "id": event.job,
        "state": event.state.value,
        "task": event.task,
        "queue": event.queue,
        "url": job_url(event.job),
    }
    if not taken.recorded:
        document["tracking"] = DEFERRED
    return document


def known(row: Row) -> Document:
    """Show a job that an earlier request has submitted, as a job just taken is shown."""
    return {**{name: row[name] for name in ("id", "state", "task", "queue")}, "url": job_url(row["id"])}


def job(row: Row, attempts: Sequence[Row]) -> Document:
    """Show a job."""
    last = attempts[-1] if attempts else None
    started_ms = None if last is None else last["started_ms"]
    ended_ms = None if last is None else last["finished_ms"]
    first_ms = row["first_started_ms"]
    return {
        "id": row["id"],
        "state": row["state"],
        "task": row["task"],
        "queue": row["queue"],
        "url": job_url(row["id"]),
        "attempt": row["attempt"],
        "round": row["round"],
        "max_attempts": row["max_attempts"],
        "submitted_at": time(row["submitted_ms"]),
        "scheduled_for": time(row["scheduled_ms"]),
        "started_at": time(started_ms),
        "finished_at": time(row["finished_ms"]),
        "cancel_requested_at": time(row["cancel_requested_ms"]),
        "wait_seconds": _seconds(row["submitted_ms"], first_ms),
        "run_seconds": _seconds(started_ms, ended_ms),
        "progress": row["progress"],
        "progress_message": row["progress_message"],
        "result": _result(row["result"]),
        "error": _error(row),
        "attempts": _attempts(row, attempts),
    }


def task(known: KnownTask) -> Document:
    """Show a task."""
    names = ("name", "queue", "timeout_seconds", "max_attempts", "isolation", "oom_queue", "description", "schema")
    return {name: getattr(known, name) for name in names}


def queue(
    name: str,
    state: QueueState,
    counts: Mapping[str, int] | None,
    settings: QueueSettings | None,
    depths: Mapping[str, QueueState] | None,
) -> Document:
    """Show a queue; counts and settings are None when the store is away, depths when the broker does not say."""
    found = None if settings is None or depths is None else tokens(settings, depths)
    return {
        "name": name,
        "ready": state.ready,
        "unacked": state.unacked,
        "consumers": state.consumers,
        "jobs": None if counts is None else dict(sorted(counts.items())),
        "paused": None if settings is None else settings.paused,
        "limits": None if settings is None else limits(settings),
        "tokens": None
        if found is None
        else {kind: {"wanted": wanted, "present": present} for kind, (wanted, present) in found.items()},
    }


def limits(settings: QueueSettings) -> Document:
    """Show a queue's limits."""
    rate = None
    if settings.rate_count is not None:
        rate = {"count": settings.rate_count, "seconds": settings.rate_seconds}
    names = ("priority", "max_length", "concurrency")
    return {**{name: getattr(settings, name) for name in names}, "rate": rate}


def dead_letter(row: Row, *, whole: bool = False) -> Document:
    """Show a dead letter, whole with its message."""
    names = ("id", "job", "task", "queue", "reason", "attempt", "outcome", "worker", "image")
    document: Document = {name: row[name] for name in names}
    document["at"] = time(row["at_ms"])
    document["error"] = _error(row)
    if whole:
        document["message"] = json.loads(row["message"])
        document["body"] = base64.b64encode(row["body"]).decode()
    return document


def dead_letter_group(row: Row) -> Document:
    """Show how many dead letters have something in common."""
    return {
        "queue": row["queue"],
        "task": row["task"],
        "error": row["error_type"],
        "count": row["letters"],
        "first_at": time(row["first_ms"]),
        "last_at": time(row["last_ms"]),
    }


def redrive(known: Redrive) -> Document:
    """Show a redrive."""
    wanted = known.wanted.given()
    moments = {"since_ms": "since", "until_ms": "until"}
    names = ("id", "state", "total", "moved", "failed", "rate")
    return {
        **{name: getattr(known, name) for name in names},
        "filter": {moments.get(key, key): time(value) if key in moments else value for key, value in wanted.items()},
        "created_at": time(known.created_ms),
        "finished_at": time(known.finished_ms),
        "error": known.error,
        "url": f"/v1/dead-letters/redrives/{known.id}",
    }


def token(known: Token, secret: str | None = None) -> Document:
    """Show a token; its secret only when it was just made."""
    document: Document = {
        "id": known.id,
        "name": known.name,
        "scopes": sorted(known.scopes),
        "created_at": time(known.created_ms),
        "expires_at": time(known.expires_ms),
        "tenant": known.tenant,
    }
    return document if secret is None else {**document, "token": secret}


def time(milliseconds: int | None) -> str | None:
    """Write a time by RFC 3339, in UTC; one no calendar holds is left out."""
    if milliseconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _attempts(job: Row, rows: Sequence[Row]) -> list[Document]:
    """Show the attempts; one without an end that a later one, or the job's end, came after was lost with its worker."""
    over = State(job["state"]).final
    shown = [_attempt(row) for row in rows]
    for place, document in enumerate(shown):
        if document["outcome"] is None and (over or place < len(shown) - 1):
            document.update(outcome="lost", error=dict(_LOST))
    return shown


def _attempt(row: Row) -> Document:
    return {
        "attempt": row["attempt"],
        "outcome": row["outcome"],
        "worker": row["worker"],
        "redelivered": row["redelivered"],
        "duplicate": row["duplicate"],
        "started_at": time(row["started_ms"]),
        "finished_at": time(row["finished_ms"]),
        "run_seconds": _seconds(row["started_ms"], row["finished_ms"]),
        "error": _error(row),
    }


def _error(row: Row) -> Document | None:
    if row["error_type"] is None:
        return None
    return {
        "type": row["error_type"],
        "message": row["error_message"] or "",
        "traceback": row["error_traceback"] or "",
    }


def _seconds(start_ms: int | None, end_ms: int | None) -> float | None:
    if start_ms is None or end_ms is None:
        return None
    # Clocks of different machines may disagree by some milliseconds.
    return max(end_ms - start_ms, 0) / 1000


def _result(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
