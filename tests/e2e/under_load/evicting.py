"""Drains as `kubectl drain` does them, by the eviction API, of chosen pods: one node has nowhere else to go."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.commands import ENVIRONMENT
from e2e.namespaces import Namespace

PAUSE_SECONDS = 2.0
"""Between tries; `kubectl drain` takes 5."""


@dataclass(slots=True, kw_only=True)
class Drain:
    """What a drain came to.

    Attributes:
        evicted: Seconds after which each pod's eviction was granted.
        refused: Evictions refused for a budget.
        fewest: Fewest ready pods of each selector that were seen.
    """

    evicted: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    fewest: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        last = max(self.evicted.values(), default=0.0)
        return (
            f"{len(self.evicted)} pods evicted in {last:.0f} s, {self.refused} evictions refused with 429, "
            f"fewest ready {self.fewest}"
        )


def evict(namespace: Namespace, pod: str) -> bool:
    """Ask for the eviction of a pod.

    Returns:
        Whether it was granted; not when a disruption budget forbids it now (429).
    """
    path = f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction"
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace.name},
    }
    done = subprocess.run(
        ["kubectl", "create", "--raw", path, "--filename", "-"],
        env=ENVIRONMENT,
        input=json.dumps(body),
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode and "violate the pod's disruption budget" in done.stderr:
        return False
    assert done.returncode == 0, done.stderr
    return True


def drain(namespace: Namespace, selectors: Sequence[str], timeout_seconds: float = 300) -> Drain:
    """Evict all pods there are of some selectors, each as soon as the budgets allow it.

    Args:
        namespace: Where.
        selectors: Labels of the pods.
        timeout_seconds: How long it may take.
    """
    there = {selector: ready(namespace, selector) for selector in selectors}
    waiting = [pod for pods in there.values() for pod in pods]
    done = Drain(fewest={selector: len(pods) for selector, pods in there.items()})
    began = time.monotonic()
    while waiting:
        assert time.monotonic() - began < timeout_seconds, f"{waiting} were not evicted: {done}"
        for pod in list(waiting):
            if evict(namespace, pod):
                done.evicted[pod] = time.monotonic() - began
                waiting.remove(pod)
            else:
                done.refused += 1
        for selector in selectors:
            done.fewest[selector] = min(done.fewest[selector], len(ready(namespace, selector)))
        time.sleep(PAUSE_SECONDS)
    return done


def ready(namespace: Namespace, selector: str) -> list[str]:
    """Return the names of the pods that are ready and not on their way out."""
    return [
        pod["metadata"]["name"]
        for pod in namespace.items("pods", "--selector", selector)
        if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod["status"])
    ]


def _is_ready(status: Mapping[str, Any]) -> bool:
    # A pod just made has no conditions yet.
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))
