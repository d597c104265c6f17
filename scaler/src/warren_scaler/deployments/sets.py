"""A worker set: a Deployment of workers, and the annotations that say how it is to be scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from warren.envelope import QUEUE_NAME
from warren.errors import SettingsError
from warren.scaling import Bounds, Policy

PREFIX: Final = "warren.dev/"
MODE: Final = "warren.dev/autoscaling"
"""Annotation of a Deployment that has the value `scaler` when the scaler is its one writer."""
DEFAULT_STABLE_SECONDS: Final = 60.0
MOST_SECONDS: Final = 30 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSet:
    """A Deployment as the scaler sees it.

    Attributes:
        name: Of the Deployment.
        uid: Of the Deployment, for its events.
        labels: What its pods are known by.
        replicas: How many pods it is told to have.
        settled: The Deployment's controller has seen the newest specification.
        queues: The queues it works on, without priorities.
        policy: What it is held to.
        expected_seconds: How long a job of its queues is expected to run, or None to learn it from the workers.
        paused: Left alone, by annotation.
        dry_run: Decided on and not changed, by annotation.
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    replicas: int
    settled: bool
    queues: tuple[str, ...]
    policy: Policy
    expected_seconds: float | None = None
    paused: bool = False
    dry_run: bool = False


def is_ours(deployment: Mapping[str, Any]) -> bool:
    """Say whether the annotations hand a Deployment to the scaler."""
    return _annotations(deployment).get(MODE) == "scaler"


def read_set(deployment: Mapping[str, Any]) -> WorkerSet:
    """Read a Deployment, as the API server tells it.

    Raises:
        SettingsError: An annotation breaks its rule; the message names it.
    """
    metadata, spec = deployment["metadata"], deployment["spec"]
    name, told = metadata["name"], _annotations(deployment)
    queues = tuple(
        part.partition("=")[0].strip() for part in told.get(f"{PREFIX}queues", "").split(",") if part.strip()
    )
    for queue in queues:
        if not QUEUE_NAME.fullmatch(queue):
            raise SettingsError(
                f"{name}: annotation {PREFIX}queues names {queue!r:.100}: must match {QUEUE_NAME.pattern}"
            )
    if not queues:
        raise SettingsError(f"{name}: annotation {PREFIX}queues is empty: name the queues the set works on")
    status = deployment.get("status") or {}
    return WorkerSet(
        name=name,
        uid=metadata["uid"],
        labels=dict(spec["selector"]["matchLabels"]),
        # Kubernetes' own default, which it writes into every Deployment.
        replicas=int(spec.get("replicas", 1)),
        settled=int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0)),
        queues=queues,
        policy=_policy(name, told),
        expected_seconds=_seconds(name, told, "expected-job-seconds", None),
        paused=_flag(name, told, "paused"),
        dry_run=_flag(name, told, "dry-run"),
    )


def _policy(name: str, told: Mapping[str, str]) -> Policy:
    try:
        bounds = Bounds(minimum=_number(name, told, "min", 0), maximum=_number(name, told, "max", 10))
    except ValueError as error:
        raise SettingsError(f"{name}: annotations {PREFIX}min and {PREFIX}max: {error}") from error
    concurrency = _number(name, told, "concurrency", 10, least=1)
    return Policy(
        bounds=bounds,
        concurrency=concurrency,
        jobs_per_worker=_number(name, told, "target-per-worker", concurrency, least=1),
        slo_seconds=_seconds(name, told, "latency-slo-seconds", 30.0) or 30.0,
        stable_seconds=_seconds(name, told, "stabilization-seconds", DEFAULT_STABLE_SECONDS, least=0.0) or 0.0,
    )


def _annotations(deployment: Mapping[str, Any]) -> Mapping[str, str]:
    return deployment["metadata"].get("annotations") or {}


def _number(name: str, told: Mapping[str, str], field: str, default: int, *, least: int = 0) -> int:
    text = told.get(PREFIX + field, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= 1_000_000:
        raise SettingsError(f"{name}: annotation {PREFIX}{field} is {text!r:.50}: must be an integer from {least}")
    return int(text)


def _seconds(
    name: str, told: Mapping[str, str], field: str, default: float | None, *, least: float = 0.001
) -> float | None:
    text = told.get(PREFIX + field, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds <= MOST_SECONDS:
        raise SettingsError(f"{name}: annotation {PREFIX}{field} is {text!r:.50}: must be seconds from {least:g}")
    return seconds


def _flag(name: str, told: Mapping[str, str], field: str) -> bool:
    text = told.get(PREFIX + field, "").strip().lower()
    if text not in ("", "true", "false"):
        raise SettingsError(f"{name}: annotation {PREFIX}{field} is {text!r:.50}: must be true or false")
    return text == "true"
