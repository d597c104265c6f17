"""How many workers a queue should have, as the server tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict


class ScalingOptions(TypedDict, total=False):
    """What a fleet is held to; what is left out is the server's setting.

    Attributes:
        min: Fewest workers.
        max: Most workers.
        concurrency: Jobs that one worker runs at once.
        slo_seconds: How long a job may wait for its start.
        jobs_per_worker: Jobs to a worker while none has ended yet.
    """

    min: int | None
    max: int | None
    concurrency: int | None
    slo_seconds: float | None
    jobs_per_worker: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingView:
    """How many workers a queue should have.

    Attributes:
        queue: The queue.
        desired_workers: How many.
        reason: What decided: `backlog`, `depth`, `busy`, `idle`, `minimum` or `maximum`.
        explanation: The same as a sentence.
        ready: Jobs waiting for a worker.
        unacked: Jobs handed out and not settled.
        consumers: Workers attached.
        running: Jobs that run, as far as the server knows.
        expected_seconds: How long a job is expected to take, if that is known.
        data_age_seconds: How long ago the broker was asked.
    """

    queue: str
    desired_workers: int
    reason: str
    explanation: str
    ready: int
    unacked: int
    consumers: int | None = None
    running: int | None = None
    expected_seconds: float | None = None
    data_age_seconds: float = 0.0


def read_scaling(document: Mapping[str, Any]) -> ScalingView:
    """Read how many workers a queue should have."""
    return ScalingView(
        queue=str(document["queue"]),
        desired_workers=int(document["desired_workers"]),
        reason=str(document["reason"]),
        explanation=str(document["explanation"]),
        ready=int(document["ready"]),
        unacked=int(document["unacked"]),
        consumers=document.get("consumers"),
        running=document.get("running"),
        expected_seconds=document.get("expected_seconds"),
        data_age_seconds=float(document.get("data_age_seconds") or 0),
    )
