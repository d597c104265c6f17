"""Tasks of the release after this one, which also writes and reads a newer envelope."""

from __future__ import annotations

from warren import envelope, task

__all__ = ["novelty", "work"]

from skew_tasks import work

envelope.VERSION = 2  # type: ignore[misc]


@task(name="skew.novelty", queue="skew")
def novelty() -> str:
    return "new"
