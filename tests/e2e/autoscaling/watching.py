"""What becomes of a worker set while a test works on it: its replicas and its pods, watched from outside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from e2e.under_load.ends import followed

_LINE = (
    "{{.metadata.name}}"
    "{{range .status.containerStatuses}}"
    "{{if .state.running}} running{{end}}{{if .ready}} ready{{end}}"
    "{{with .state.terminated}} exit={{.exitCode}}{{end}}"
    "{{end}}"
    "{{with .metadata.deletionTimestamp}} deleted={{.}}{{end}}"
    "{{with .metadata.deletionGracePeriodSeconds}} grace={{.}}{{end}}"
    '{{with index .metadata "annotations"}}'
    '{{with index . "cluster-autoscaler.kubernetes.io/safe-to-evict"}} guarded={{.}}{{end}}'
    "{{end}}\n"
)


@dataclass(slots=True, kw_only=True)
class Life:
    """A pod's life, in seconds since the epoch; None for what did not happen.

    Attributes:
        seen: It was there.
        running: Its container ran.
        ready: It was ready.
        deleted: Its deletion was asked for, to the second below.
        exit_code: How its container ended.
        guarded: When it was marked as not to be disrupted.
        unguarded: When that mark was taken away.
    """

    seen: float
    running: float | None = None
    ready: float | None = None
    deleted: float | None = None
    exit_code: int | None = None
    guarded: float | None = None
    unguarded: float | None = None


@dataclass(slots=True)
class Watch:
    """What was seen of one worker set.

    Attributes:
        replicas: Each number the Deployment was told, once, with its time.
        pods: The pods, by name.
    """

    replicas: list[tuple[float, int]] = field(default_factory=list)
    pods: dict[str, Life] = field(default_factory=dict)

    def read_replicas(self, line: str) -> None:
        """Take in one line of the Deployment's watch."""
        if line.strip() and (not self.replicas or self.replicas[-1][1] != int(line)):
            self.replicas.append((time.time(), int(line)))

    def read_pod(self, line: str) -> None:
        """Take in one line of the pods' watch."""
        name, *words = line.split()
        now = time.time()
        pod = self.pods.setdefault(name, Life(seen=now))
        told = dict(word.partition("=")[::2] for word in words)
        if "running" in told and pod.running is None:
            pod.running = now
        if "ready" in told and pod.ready is None:
            pod.ready = now
        if "exit" in told and pod.exit_code is None:
            pod.exit_code = int(told["exit"])
        if "deleted" in told and pod.deleted is None:
            pod.deleted = datetime.fromisoformat(told["deleted"]).timestamp() - float(told.get("grace", 0))
        if told.get("guarded") == "false":
            pod.guarded = pod.guarded or now
        elif pod.guarded is not None and pod.unguarded is None:
            pod.unguarded = now

    def values(self, since: float = 0.0) -> list[int]:
        """Return the numbers the Deployment was told from a time on."""
        return [value for at, value in self.replicas if at >= since]

    def first_change(self, since: float) -> float | None:
        """Return when the Deployment was told another number first, from a time on."""
        return next((at for at, _ in self.replicas if at >= since), None)

    def running(self) -> int:
        """Count the pods that run and have not been told to end."""
        return sum(
            pod.running is not None and pod.deleted is None and pod.exit_code is None for pod in self.pods.values()
        )

    def reached(self, count: int) -> float | None:
        """Return when so many pods had come to run; as long as none went, they ran at that time."""
        return _nth([pod.running for pod in self.pods.values()], count)

    def reached_ready(self, count: int) -> float | None:
        """Return when so many pods had come to be ready."""
        return _nth([pod.ready for pod in self.pods.values()], count)


def _nth(times: list[float | None], count: int) -> float | None:
    known = sorted(at for at in times if at is not None)
    return known[count - 1] if len(known) >= count else None


@contextmanager
def watched(namespace: str, deployment: str, selector: str) -> Iterator[Watch]:
    """Watch a worker set while the block runs.

    Args:
        namespace: Where.
        deployment: Its Deployment.
        selector: Labels of its pods.
    """
    seen = Watch()
    replicas = ("get", "deployment", deployment, "--watch", "--output", r"jsonpath={.spec.replicas}{'\n'}")
    pods = ("get", "pods", "--selector", selector, "--watch", "--output", f"go-template={_LINE}")
    with (
        followed(namespace, *replicas, take=seen.read_replicas),
        followed(namespace, *pods, take=seen.read_pod),
    ):
        yield seen
