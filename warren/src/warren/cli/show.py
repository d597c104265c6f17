"""How jobs and dead letters look on a terminal."""

from __future__ import annotations

from warren.cli.output import Output, note
from warren.client import Affected, DeadLetterView, JobError, JobView


def submitted(out: Output, job: JobView) -> None:
    """Show a job that was just submitted."""
    rows = [("id", job.id), ("state", job.state.value), ("task", job.task), ("queue", job.queue), ("url", job.url)]
    out.pairs(job, [*rows, ("tracking", job.tracking)])


def job(out: Output, view: JobView) -> None:
    """Show all that is known of a job."""
    error = view.error
    out.pairs(
        view,
        [
            ("id", view.id),
            ("state", view.state.value),
            ("task", view.task),
            ("queue", view.queue),
            ("attempt", _of(view)),
            ("submitted", view.submitted_at),
            ("scheduled for", view.scheduled_for),
            ("started", view.started_at),
            ("finished", view.finished_at),
            ("cancel requested", view.cancel_requested_at),
            ("waited", _seconds(view.wait_seconds)),
            ("ran", _seconds(view.run_seconds)),
            ("progress", progress(view)),
            ("result", view.result),
            ("error", None if error is None else f"{error.type}: {error.message}"),
        ],
    )


def summary(view: JobView) -> str:
    """Say in a line where a job is."""
    parts = [view.state.value, f"attempt {_of(view)}" if view.attempt else None, progress(view)]
    if view.error is not None and view.state.value != "succeeded":
        parts.append(f"{view.error.type}: {view.error.message}")
    return "  ".join(part for part in parts if part)


def progress(view: JobView) -> str | None:
    """Say how far a job is, or None."""
    if view.progress is None:
        return None
    return f"{view.progress:.0%} {view.progress_message or ''}".rstrip()


def dead_letters(out: Output, letters: tuple[DeadLetterView, ...]) -> None:
    """Show dead letters."""
    rows = [
        (letter.id, letter.task, letter.queue, letter.attempt, letter.at, letter.reason, error(letter.error))
        for letter in letters
    ]
    out.table(letters, ("id", "task", "queue", "attempt", "died", "reason", "last error"), rows)


def affected(out: Output, found: Affected, what: str) -> None:
    """Show what a dry run found."""
    if out.as_json:
        out.document(found)
        return
    dead_letters(out, found.sample)
    note(f"{found.count} dead letters {what}; nothing was done")


def error(view: JobError | None) -> str | None:
    """Say in a line how an attempt failed, or None."""
    return None if view is None else f"{view.type}: {view.message}"


def _of(view: JobView) -> str:
    return f"{view.attempt} of {view.max_attempts}" if view.max_attempts else str(view.attempt)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f} s"
