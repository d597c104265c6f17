"""Settings of the scaler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from warren.scaling import Bounds, Policy
from warren.settings import Seconds, Settings


class ScalerSettings(Settings):
    """How large the fleet may be, and how fast it changes."""

    model_config = SettingsConfigDict(env_prefix="WARREN_SCALER_")

    min: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Fewest workers. Default 0: nothing runs while there is nothing to do."""
    max: Annotated[int, Field(ge=0, le=10_000)] = 8
    """Most workers. Default 8."""
    slo_seconds: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = 30.0
    """How long a job may wait for its start. Default 30 s."""
    jobs_per_worker: Annotated[int, Field(ge=1)] = 10
    """Jobs, waiting and running, to a worker while none has ended yet. Default 10, a worker's default concurrency."""
    interval_seconds: Seconds = 1.0
    """Time between two looks at the queues. Default 1 s; the broker itself counts no more often."""
    stable_seconds: Annotated[float, Field(ge=0, le=86400)] = 5.0
    """How long fewer workers must have been enough before one is let go. Default 5 s, so that a gap between two bursts
    does not cost a fleet."""
    log_folder: Path = Path(".warren/logs")
    """Folder for the logs of local workers. Default `.warren/logs`."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> ScalerSettings:
        if self.min > self.max:
            raise ValueError(
                f"WARREN_SCALER_MIN {self.min} is above WARREN_SCALER_MAX {self.max}: must hold min <= max"
            )
        return self

    def policy(self, concurrency: int) -> Policy:
        """Return what the fleet is held to.

        Args:
            concurrency: Jobs that one worker runs at once.
        """
        return Policy(
            bounds=Bounds(minimum=self.min, maximum=self.max),
            concurrency=concurrency,
            slo_seconds=self.slo_seconds,
            jobs_per_worker=self.jobs_per_worker,
            stable_seconds=self.stable_seconds,
        )


class ClusterSettings(Settings):
    """Where the scaler finds its worker sets on Kubernetes; their own values are annotations of their Deployments."""

    model_config = SettingsConfigDict(env_prefix="WARREN_SCALER_")

    namespace: str = ""
    """Namespace of the worker sets. Default: the pod's own."""
    selector: str = "app.kubernetes.io/part-of=warren,app.kubernetes.io/component=worker"
    """Labels of the Deployments and pods of workers. Default: all workers of Warren; with several releases in a
    namespace name `app.kubernetes.io/instance` too."""
    lease: Annotated[str, Field(min_length=1, max_length=253)] = "warren-scaler"
    """Name of the Lease that says which replica leads. Default `warren-scaler`."""
    lease_seconds: Annotated[int, Field(ge=3, le=300)] = 10
    """How long a leader may be silent before another takes its place. Default 10 s; it renews every 1.5 s."""
    interval_seconds: Seconds = 2.0
    """Time between two looks at queues, Deployments and pods. Default 2 s."""
    status_port: Annotated[int, Field(ge=1, le=65535)] = 9100
    """Probe port of the workers, where they tell what they run. Default 9100."""
    guard: bool = False
    """Mark pods whose job has run for 30 s as not to be disrupted, for the cluster autoscaler and for Karpenter; off
    again when they are idle. Needs the right to patch pods. Default off."""
