"""A worker set and what sizes it: put to rest, set to work, watched."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from e2e.autoscaling.watching import Watch, watched
from e2e.installation import Installation
from e2e.namespaces import Namespace
from waiting import eventually

KEDA_DEFAULT = Path(__file__).with_name("keda-default.yaml")
ANNOTATION = "warren.dev/"
MOST = 20


class Fleet(ABC):
    """A worker set of one job to a worker, at most `MOST` of them.

    Args:
        installation: Where.
        worker_set: Its name, and its queue's.
        mode: What sizes it, as the table calls it.

    Attributes:
        mode: What sizes it.
        queue: Its queue.
        deployment: Its Deployment.
        selector: Labels of its pods.
    """

    poll_seconds = 0.0
    """How often the autoscaler looks, if that is so seldom that it matters when a job comes."""
    window_seconds = 0.0
    """How long fewer workers must have been enough before some are let go."""
    cooldown_seconds = float("inf")
    """How long a fleet without any work is left alone at most, whatever the window."""
    drain_seconds = 30.0
    """How long a worker that is told to end may go on with its job."""

    def __init__(self, installation: Installation, worker_set: str, mode: str) -> None:
        self.mode = mode
        self.queue = worker_set
        self.deployment = f"warren-worker-{worker_set}"
        self.selector = f"warren.dev/worker-set={worker_set}"
        self.namespace: Namespace = installation.namespace
        self._installation = installation
        self._rests = False
        self._attached_at = 0.0

    def __repr__(self) -> str:
        return f"<{self.mode}: {self.deployment}>"

    @abstractmethod
    def release(self) -> None:
        """Take the hands of the autoscaler off the Deployment."""

    @abstractmethod
    def attach(self) -> None:
        """Let the autoscaler work on the Deployment, as if it had never done before."""

    def engage(self) -> None:
        """Set it to work."""
        self._rests = False
        self._attached_at = time.monotonic()
        self.attach()

    def rest(self) -> None:
        """Bring the set to no workers at all, with nobody to size it."""
        if not self._rests:
            self.release()
            self.scale(0)
            eventually(lambda: not self.pods(), 120, 1)
            self._rests = True

    def between_polls(self) -> None:
        """Return in the middle between two looks, if they are seldom: what comes then waits as long as the mean."""
        if self.poll_seconds:
            passed = (time.monotonic() - self._attached_at) % self.poll_seconds
            middle = self.poll_seconds / 2
            time.sleep(middle - passed if passed <= middle else middle - passed + self.poll_seconds)

    def scale(self, replicas: int) -> None:
        """Set the number of replicas by hand."""
        self._rests = False
        self.namespace.kubectl("scale", "deployment", self.deployment, f"--replicas={replicas}")

    def annotate(self, **values: str | int | None) -> None:
        """Set annotations of Warren's on the Deployment, or take them away."""
        words = [
            f"{ANNOTATION}{name.replace('_', '-')}" + ("-" if value is None else f"={value}")
            for name, value in values.items()
        ]
        self.namespace.kubectl("annotate", "--overwrite", "deployment", self.deployment, *words)

    def replicas(self) -> int:
        return int(self.namespace.get("deployment", self.deployment)["spec"]["replicas"])

    def pods(self) -> list[dict[str, Any]]:
        return self.namespace.items("pods", "--selector", self.selector)

    def watch(self) -> AbstractContextManager[Watch]:
        """Watch replicas and pods while a block runs."""
        return watched(self.namespace.name, self.deployment, self.selector)

    def empty(self) -> None:
        """Throw away what a test that failed left in the queue."""
        rabbitmqctl = ("exec", "warren-rabbitmq-server-0", "--container", "rabbitmq", "--", "rabbitmqctl", "--quiet")
        self.namespace.kubectl(*rabbitmqctl, "purge_queue", "--vhost", "warren", f"warren.q.{self.queue}")


class KedaFleet(Fleet):
    """Sized by KEDA. Each scenario gets a ScaledObject just made: its HPA remembers nothing of the last one."""

    def __init__(self, installation: Installation, worker_set: str, mode: str) -> None:
        super().__init__(installation, worker_set, mode)
        self._objects = self._plain() if worker_set == "plain" else self._of_the_chart()
        (scaled,) = (one for one in self._objects if one["kind"] == "ScaledObject")
        template = self.namespace.get("deployment", self.deployment)["spec"]["template"]["spec"]
        environment = {one["name"]: one.get("value") for one in template["containers"][0]["env"]}
        self.drain_seconds = float(environment["WARREN_DRAIN_SECONDS"])
        # KEDA's and Kubernetes' defaults, where nothing is said.
        self.poll_seconds = float(scaled["spec"].get("pollingInterval", 30))
        self.cooldown_seconds = float(scaled["spec"].get("cooldownPeriod", 300))
        self.window_seconds = 300.0

    def release(self) -> None:
        self.namespace.kubectl("delete", "scaledobject", self.deployment, "--ignore-not-found", "--timeout=60s")
        eventually(lambda: not self._hpa(), 60, 0.5)

    def attach(self) -> None:
        self.namespace.kubectl("apply", "--filename", "-", stdin=json.dumps(_listed(self._objects)))
        wait = ("wait", "--for=condition=Ready", f"scaledobject/{self.deployment}", "--timeout=60s")
        self.namespace.kubectl(*wait)
        eventually(self._hpa, 30, 0.5)

    def _hpa(self) -> str:
        name = f"keda-hpa-{self.deployment}"
        return self.namespace.kubectl("get", "hpa", name, "--ignore-not-found", "--output", "name").strip()

    def _plain(self) -> list[dict[str, Any]]:
        text = KEDA_DEFAULT.read_text(encoding="utf-8").replace("NAMESPACE", self.namespace.name)
        return list(yaml.safe_load_all(text))

    def _of_the_chart(self) -> list[dict[str, Any]]:
        rendered = yaml.safe_load_all(self._installation.command("get", "manifest", "warren"))
        named = {"ScaledObject": self.deployment}
        return [one for one in rendered if one and named.get(one["kind"]) == one["metadata"]["name"]]


class ScalerFleet(Fleet):
    """Sized by Warren's own scaler. Its leader goes on living, and knows of the last scenario how long jobs ran."""

    window_seconds = 60.0

    def release(self) -> None:
        self.annotate(paused="true")

    def attach(self) -> None:
        self.annotate(
            paused=None,
            expected_job_seconds=None,
            max=MOST,
            stabilization_seconds=f"{self.window_seconds:g}",
        )


def _listed(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": objects}
