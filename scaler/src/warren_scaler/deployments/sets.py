"""A worker set: a Deployment of workers, and the annotations that say how it is to be scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from warren.envelope import QUEUE_NAME
from warren.errors import SettingsError
from warren.scaling import Bounds

PREFIX: Final = "warren.dev/"
MODE: Final = "warren.dev/autoscaling"
"""Annotation of a Deployment that has the value `scaler` when the scaler is its one writer."""
DEFAULT_STABLE_SECONDS: Final = 60.0


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
        bounds: Limits of its size.
        stable_seconds: How long fewer workers must have been enough before one is let go.
        paused: Left alone, by annotation.
        dry_run: Decided on and not changed, by annotation.
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    replicas: int
    settled: bool
    queues: tuple[str, ...]
    bounds: Bounds
    stable_seconds: float = DEFAULT_STABLE_SECONDS
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
    queues = tuple(part.partition("=")[0].strip() for part in told.get(f"{PREFIX}queues", "").split(",") if part.strip())
    for queue in queues:
        if not QUEUE_NAME.fullmatch(queue):
            raise SettingsError(f"{name}: annotation {PREFIX}queues names {queue!r:.100}: must match {QUEUE_NAME.pattern}")
    if not queues:
        raise SettingsError(f"{name}: annotation {PREFIX}queues is empty: name the queues the set works on")
    concurrency = _number(name, told, "concurrency", 10, least=1)
    try:
        bounds = Bounds(
            minimum=_number(name, told, "min", 0),
            maximum=_number(name, told, "max", 10),
            jobs_per_worker=_number(name, told, "target-per-worker", concurrency, least=1),
        )
    except ValueError as error:
        raise SettingsError(f"{name}: annotations {PREFIX}min and {PREFIX}max: {error}") from error
    status = deployment.get("status") or {}
    return WorkerSet(
        name=name,
        uid=metadata["uid"],
        labels=dict(spec["selector"]["matchLabels"]),
        # Kubernetes' own default, which it writes into every Deployment.
        replicas=int(spec.get("replicas", 1)),
        settled=int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0)),
        queues=queues,
        bounds=bounds,
        stable_seconds=float(_number(name, told, "stabilization-seconds", int(DEFAULT_STABLE_SECONDS))),
        paused=_flag(name, told, "paused"),
        dry_run=_flag(name, told, "dry-run"),
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


def _flag(name: str, told: Mapping[str, str], field: str) -> bool:
    text = told.get(PREFIX + field, "").strip().lower()
    if text not in ("", "true", "false"):
        raise SettingsError(f"{name}: annotation {PREFIX}{field} is {text!r:.50}: must be true or false")
    return text == "true"
