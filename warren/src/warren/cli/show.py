"""How jobs look on a terminal."""

from __future__ import annotations

from warren.cli.output import Output
from warren.client import JobView


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


def _of(view: JobView) -> str:
    return f"{view.attempt} of {view.max_attempts}" if view.max_attempts else str(view.attempt)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f} s"
