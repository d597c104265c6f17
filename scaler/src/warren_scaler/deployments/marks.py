"""Marks that keep node scalers off a pod while its worker is busy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from warren_scaler.deployments.pods import DO_NOT_DISRUPT, SAFE_TO_EVICT, Pod

LONG_SECONDS: Final = 30.0
"""A job that has run for so long is worth a request to the API server."""


def marks(pods: Sequence[Pod]) -> dict[str, dict[str, str | None]]:
    """Return annotations to set or to take away, by pod: on while a long job runs, off when nothing does.

    The cluster autoscaler heeds `safe-to-evict`, Karpenter `do-not-disrupt`. A pod that does not answer is left
    as it is.
    """
    wanted: dict[str, dict[str, str | None]] = {}
    for pod in pods:
        if pod.terminating or pod.status is None:
            continue
        if pod.guarded and not pod.status.held:
            wanted[pod.name] = {SAFE_TO_EVICT: None, DO_NOT_DISRUPT: None}
        elif not pod.guarded and pod.status.oldest_job_seconds >= LONG_SECONDS:
            wanted[pod.name] = {SAFE_TO_EVICT: "false", DO_NOT_DISRUPT: "true"}
    return wanted
