"""How events become rows. Pure, and the same rows come out in whatever order and how often events come in.

A column follows one of three rules, each of which commutes and repeats without effect: it is the smallest or the
largest value seen (when a job was submitted, its number of attempts), or it belongs to the *winning* event, the one
that stands highest by `warren.events.position`, then by its time, then by a digest of its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from operator import attrgetter
from typing import Any, TypeAlias

from warren.events import ErrorInfo, Event, State, position

Row: TypeAlias = dict[str, Any]
Rank: TypeAlias = tuple[int, int, str]

_values = attrgetter(*(field.name for field in fields(Event)))


def rank(event: Event) -> Rank:
    """Place an event among all events of its job; no two different ones stand at the same place."""
    # What `astuple` makes of it, without its deep copies: the digests of rows written before must not change.
    values = tuple(astuple(value) if isinstance(value, ErrorInfo) else value for value in _values(event))
    digest = hashlib.blake2b(repr(values).encode("utf-8", "replace"), digest_size=16).hexdigest()
    return position(event.state, event.attempt, event.round), event.at_ms, digest


def fold_job(row: Row | None, event: Event) -> Row:
    """Return a job's row after an event.

    Args:
        row: The row before, or None when there is none.
        event: What happened.
    """
    mine = rank(event)
    new = _job_row(event, mine)
    if row is None:
        return new
    wins = mine > (row["position"], row["at_ms"], row["tie"])
    kept = dict(new) if wins else dict(row)
    kept["attempt"] = max(row["attempt"], new["attempt"])
    kept["round"] = max(row["round"], new["round"])
    kept["max_attempts"] = _largest(row["max_attempts"], new["max_attempts"])
    kept["tenant"] = _largest(row["tenant"], new["tenant"])
    kept["submitted_ms"] = min(row["submitted_ms"], new["submitted_ms"])
    kept["first_started_ms"] = _smallest(row["first_started_ms"], new["first_started_ms"])
    return kept


def fold_attempt(row: Row | None, event: Event) -> Row:
    """Return an attempt's row after an event of that attempt."""
    mine = rank(event)
    new = _attempt_row(event, mine)
    if row is None:
        return new
    # An event that says how the attempt ended beats all that do not: a dead letter may come first, and know less.
    theirs = (row["outcome"] is not None, row["position"], row["at_ms"], row["tie"])
    kept = dict(new) if (new["outcome"] is not None, *mine) > theirs else dict(row)
    kept["started_ms"] = _smallest(row["started_ms"], new["started_ms"])
    kept["redelivered"] = row["redelivered"] or new["redelivered"]
    # Every event of a run carries the moment it began; the row has the earliest. So the second of two different ones
    # that are ever seen differs from the row, whichever comes first.
    differs = None not in (row["started_ms"], new["started_ms"]) and row["started_ms"] != new["started_ms"]
    kept["duplicate"] = row["duplicate"] or differs
    return kept


def fold(
    jobs: Mapping[str, Row], attempts: Mapping[tuple[str, int], Row], events: Iterable[Event]
) -> tuple[dict[str, Row], dict[tuple[str, int], Row]]:
    """Return the rows after some events, only those that the events touch."""
    new_jobs: dict[str, Row] = {}
    new_attempts: dict[tuple[str, int], Row] = {}
    for event in events:
        new_jobs[event.job] = fold_job(new_jobs.get(event.job) or jobs.get(event.job), event)
        if event.attempt > 0 and (event.started_ms is not None or event.outcome is not None):
            key = (event.job, event.attempt)
            new_attempts[key] = fold_attempt(new_attempts.get(key) or attempts.get(key), event)
    return new_jobs, new_attempts


def _job_row(event: Event, mine: Rank) -> Row:
    waits = event.state in (State.SCHEDULED, State.RETRYING, State.PARKED)
    shows_error = event.state is not State.SUCCEEDED
    return {
        "id": event.job,
        "tenant": event.tenant,
        "task": event.task,
        "queue": event.queue,
        "state": event.state.value,
        "position": mine[0],
        "at_ms": mine[1],
        "tie": mine[2],
        "attempt": event.attempt,
        "round": event.round,
        "max_attempts": event.max_attempts,
        "submitted_ms": event.enqueued_ms,
        "scheduled_ms": event.retry_at_ms if waits else None,
        "first_started_ms": event.started_ms,
        "finished_ms": event.at_ms if event.state.final else None,
        "progress": None if event.progress is None else float(event.progress),
        "progress_message": event.progress_message,
        "result": event.result,
        **_error_columns(event if shows_error else None),
    }


def _attempt_row(event: Event, mine: Rank) -> Row:
    return {
        "job": event.job,
        "attempt": event.attempt,
        "position": mine[0],
        "at_ms": mine[1],
        "tie": mine[2],
        "outcome": event.outcome,
        "worker": event.worker or None,
        "started_ms": event.started_ms,
        "finished_ms": event.at_ms if event.outcome is not None else None,
        "redelivered": event.redelivered,
        "duplicate": False,
        **_error_columns(event),
    }


def _error_columns(event: Event | None) -> Row:
    error = None if event is None else event.error
    return {
        "error_type": None if error is None else error.type,
        "error_message": None if error is None else error.message,
        "error_traceback": None if error is None else error.traceback or None,
    }


def _smallest(one: Any, other: Any) -> Any:
    return min((value for value in (one, other) if value is not None), default=None)


def _largest(one: Any, other: Any) -> Any:
    return max((value for value in (one, other) if value is not None), default=None)
