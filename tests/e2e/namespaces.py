"""Namespaces of the suite: made restricted, shown when a test fails, taken away without a leftover."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from e2e.commands import ENVIRONMENT, apply, helm, kubectl, serves
from waiting import eventually

TOPOLOGY = ("bindings", "exchanges", "policies", "permissions", "queues", "users", "vhosts")
KEEP = ENVIRONMENT.get("WARREN_E2E_KEEP", "")
"""Not empty: namespaces stay, to be looked at."""

LIVE: list[Namespace] = []
"""Those there are now, for the report of a failed test."""


class Namespace:
    """A namespace of its own under the restricted Pod Security profile, as a context manager.

    Attributes:
        name: Its name.
    """

    def __init__(self, purpose: str) -> None:
        self.name = f"warren-e2e-{purpose}-{uuid.uuid4().hex[:6]}"

    def __enter__(self) -> Namespace:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}})
        LIVE.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        LIVE.remove(self)
        if not KEEP:
            self.remove()

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 120) -> str:
        return kubectl("--namespace", self.name, *words, stdin=stdin, timeout=timeout)

    def get(self, *words: str) -> Any:
        """Return what `kubectl get` says, read: one object, or `items`."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def items(self, *words: str) -> list[dict[str, Any]]:
        return list(self.get(*words)["items"])

    def secret(self, name: str) -> dict[str, str]:
        """Return what a Secret holds."""
        return {key: base64.b64decode(value).decode() for key, value in self.get("secret", name)["data"].items()}

    def releases(self) -> list[str]:
        return [str(one["name"]) for one in json.loads(helm("helm3", "--namespace", self.name, "list", "-o", "json"))]

    def remove(self) -> None:
        """Take everything away, what asks the broker before the broker; a step that fails does not stop the next."""
        steps: list[Callable[[], object]] = [
            lambda: [helm("helm3", "--namespace", self.name, "uninstall", one) for one in self.releases()]
        ]
        if serves("queues.rabbitmq.com"):
            steps.append(self._remove_topology)
        if serves("rabbitmqclusters.rabbitmq.com"):
            steps.append(lambda: self.kubectl("delete", "rabbitmqclusters.rabbitmq.com", "--all", "--timeout=100s"))
        steps.append(lambda: kubectl("delete", "namespace", self.name, "--timeout=110s"))
        errors = []
        for step in steps:
            try:
                step()
            except AssertionError as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup(f"namespace {self.name} could not be taken away cleanly", errors)

    def _remove_topology(self) -> None:
        """Delete about a hundred objects; kubectl would wait for each by itself, one after the other."""
        kinds = ",".join(f"{kind}.rabbitmq.com" for kind in TOPOLOGY)
        self.kubectl("delete", kinds, "--all", "--wait=false")
        eventually(lambda: not self.items(kinds), 150, 1)

    def described(self) -> str:
        """Tell what is in it: pods, events, and each container's last lines."""
        parts = [
            self.kubectl("get", "pods,rabbitmqclusters.rabbitmq.com", "--output", "wide"),
            "\n".join(self.kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-40:]),
        ]
        parts += [
            f"-- {pod['metadata']['name']}, {status['restartCount']} restarts\n{self._logs(pod, status)}"
            for pod in self.items("pods")
            for status in pod["status"].get("containerStatuses", [])
            if "waiting" not in status["state"]
        ]
        return "\n".join(parts)

    def _logs(self, pod: Mapping[str, Any], status: Mapping[str, Any]) -> str:
        try:
            return self.kubectl("logs", pod["metadata"]["name"], "--container", status["name"], "--tail=30")
        except AssertionError as error:
            # The pod may have gone since it was listed; the report of the other failure is to be had all the same.
            return str(error)
