"""What the server answers about dead letters and cancels, described for OpenAPI."""

from __future__ import annotations

from typing import Any, Literal

from warren_server.api.documents import DeadLetterDocument, Described, Time


class GroupDocument(Described):
    """Dead letters that have queue, task and class of error in common."""

    queue: str | None
    task: str | None
    error: str | None
    count: int
    first_at: Time | None
    last_at: Time | None


class SummaryDocument(Described):
    """Dead letters counted, the largest group first; groups beyond the thousandth are in the total only."""

    total: int
    groups: list[GroupDocument]


class AffectedDocument(Described):
    """How many dead letters something was done to, or would be in a dry run, with some of them."""

    dry_run: bool
    count: int
    complete: bool
    sample: list[DeadLetterDocument]


class RedriveDocument(Described):
    """A redrive."""

    id: str
    state: Literal["running", "stopped", "done", "failed"]
    total: int
    moved: int
    failed: int
    rate: float | None
    filter: dict[str, Any]
    created_at: Time | None
    finished_at: Time | None
    error: str | None
    url: str


class RedrivesDocument(Described):
    """The latest redrives."""

    redrives: list[RedriveDocument]


class CancelDocument(Described):
    """What was asked to be cancelled: how many jobs, where the store could count them, submitted until when."""

    requested: int | None
    before: Time | None
