"""Route that tells how many workers a queue should have: what KEDA's metrics-api trigger reads."""

from __future__ import annotations

from flask import Blueprint, Response, request

from warren.errors import Problem
from warren.scaling import Bounds, Policy, find_target
from warren_server.api.problems import Refusal
from warren_server.api.queues import existing
from warren_server.api.requests import ScalingQuery, query
from warren_server.api.responses import answer
from warren_server.api.views import Document
from warren_server.errors import StoreDown
from warren_server.queues import Queues
from warren_server.scaling import Expectations, observe
from warren_server.settings import ScalingSettings
from warren_server.store.queue_settings import QueueSettingsStore


def routes(
    queues: Queues, settings: QueueSettingsStore, expectations: Expectations, defaults: ScalingSettings
) -> Blueprint:
    """Make the route."""
    blueprint = Blueprint("scaling", __name__)

    @blueprint.get("/v1/queues/<queue>/scaling")
    def get_scaling(queue: str) -> Response:
        policy = policy_of(query(ScalingQuery, request), defaults)
        return answer(document(queue, policy, queues, settings, expectations))

    return blueprint


def document(
    queue: str, policy: Policy, queues: Queues, settings: QueueSettingsStore, expectations: Expectations
) -> Document:
    """Show how many workers a queue should have, and why.

    Raises:
        Refusal: There is no such queue, or the broker does not tell how deep it is.
    """
    state = existing(queues, queue)
    if state.ready is None or state.unacked is None:
        raise Refusal(
            "depths-unknown",
            f"the broker's management API does not tell how deep {queue!r} is, so nobody can say how many workers "
            "it needs; keep those there are",
        )
    recent = expectations.of(queue)
    paused = _paused(settings, queue)
    seen = observe(state, recent, policy.concurrency, paused=paused)
    target = find_target(seen, policy)
    return {
        "queue": queue,
        "desired_workers": target.workers,
        "unbounded_workers": target.unbounded,
        "reason": target.cause,
        "explanation": target.explanation,
        "ready": state.ready,
        "unacked": state.unacked,
        "leaving_jobs": seen.leaving_jobs,
        "consumers": state.consumers,
        "paused": paused,
        "data_age_seconds": round(queues.age_seconds, 3),
        "expected_seconds": recent.expected_seconds,
        "samples": recent.samples,
        "running": recent.running,
        "concurrency": policy.concurrency,
        "slo_seconds": policy.slo_seconds,
        "jobs_per_worker": policy.jobs_per_worker or policy.concurrency,
        "min": policy.bounds.minimum,
        "max": policy.bounds.maximum,
    }


def policy_of(asked: ScalingQuery, defaults: ScalingSettings) -> Policy:
    """Return what a fleet is held to: what the request says, else the server's settings.

    Raises:
        Refusal: The bounds are out of order.
    """
    minimum = defaults.min if asked.min is None else asked.min
    maximum = defaults.max if asked.max is None else asked.max
    if minimum > maximum:
        rule = f"min {minimum} is above max {maximum}: must hold min <= max"
        raise Refusal("invalid-request", rule, problems=[Problem(field="min", rule="min <= max", message=rule)])
    return Policy(
        bounds=Bounds(minimum=minimum, maximum=maximum),
        concurrency=asked.concurrency or defaults.concurrency,
        slo_seconds=asked.slo_seconds or defaults.slo_seconds,
        jobs_per_worker=asked.jobs_per_worker or defaults.jobs_per_worker,
    )


def _paused(settings: QueueSettingsStore, queue: str) -> bool:
    """Whether a queue is paused; while the store is away it is taken to run."""
    try:
        return settings.get(queue).paused
    except StoreDown:
        return False
