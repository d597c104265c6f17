"""The three charts in a namespace: installed, changed and taken away by Helm, reached by HTTP."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from e2e.commands import ENVIRONMENT, ROOT, forwarded, helm
from e2e.namespaces import TOPOLOGY, Namespace
from waiting import eventually
from warren.client import Client

CHARTS = {"rabbitmq": "warren-rabbitmq", "topology": "warren-topology"}
"""Of the releases; every other one is of `warren`."""

MADE = ",".join(f"{kind}.rabbitmq.com" for kind in TOPOLOGY)
"""Kinds of the topology operator's objects."""

TINY = yaml.safe_load((ROOT / "helm/warren-rabbitmq/ci/tiny-values.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images under test, which the cluster has or can pull.

    Attributes:
        prefix: What stands before `server`, `worker` and `scaler`.
        tag: Their tag.
    """

    prefix: str
    tag: str

    @classmethod
    def from_environment(cls) -> Images:
        """Return those named by `WARREN_E2E_IMAGE_PREFIX` and `_TAG`, else those of `make images`."""
        version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        return cls(
            prefix=ENVIRONMENT.get("WARREN_E2E_IMAGE_PREFIX") or "warren-",
            tag=ENVIRONMENT.get("WARREN_E2E_IMAGE_TAG") or version,
        )

    def values(self) -> dict[str, Any]:
        """Return the values of the chart `warren` that name them."""
        registry, _, path = self.prefix.rpartition("/") if self._has_registry() else ("", "", self.prefix)
        host, _, folder = registry.partition("/")
        first = f"{folder}/{path}" if folder else path
        return {
            "image": {"registry": host, "tag": self.tag},
            "server": {"image": {"repository": f"{first}server"}},
            "workerDefaults": {"image": {"repository": f"{first}worker"}},
            "scaler": {"image": {"repository": f"{first}scaler"}},
        }

    def _has_registry(self) -> bool:
        return "/" in self.prefix and any(sign in self.prefix.partition("/")[0] for sign in ".:")


class Installation:
    """Releases in one namespace.

    Attributes:
        namespace: Where.
        images: Of what.
        helm: Which Helm works on it, `helm3` or `helm4`.
        broker: Values of the release `rabbitmq`.
        topology: Values of the release `topology`.
        warren: Values of the release `warren`, beside the images.
    """

    def __init__(
        self,
        namespace: Namespace,
        images: Images,
        *,
        broker: Mapping[str, Any] | None = None,
        topology: Mapping[str, Any] | None = None,
        warren: Mapping[str, Any] | None = None,
    ) -> None:
        self.namespace = namespace
        self.images = images
        self.helm = "helm3"
        self.broker = merged(TINY, broker or {})
        self.topology = dict(topology or {})
        self.warren = dict(warren or {})

    def install(self, release: str, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Install a release with the installation's values, `values` over them."""
        return self._put("install", release, words, values)

    def upgrade(self, release: str, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Upgrade a release to the installation's values, `values` over them."""
        return self._put("upgrade", release, words, values)

    def _put(self, verb: str, release: str, words: Sequence[str], values: Mapping[str, Any] | None) -> str:
        own = {"rabbitmq": self.broker, "topology": self.topology}.get(release)
        if own is None:
            own = merged(self.images.values(), self.warren)
        chart = str(ROOT / "helm" / CHARTS.get(release, "warren"))
        return self.command(verb, release, chart, *words, values=merged(own, values or {}))

    def command(self, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Run Helm in the namespace."""
        return helm(self.helm, "--namespace", self.namespace.name, *words, values=values)

    def install_all(self) -> None:
        """Install the broker, its topology and Warren, one command after the other; return when all is ready."""
        self.install("rabbitmq")
        self.install("topology")
        self.install("warren", "--wait", "--timeout=4m")

    def rollback(self, release: str, *words: str) -> str:
        return self.command("rollback", release, *words)

    def uninstall(self, *releases: str) -> None:
        for release in releases:
            self.command("uninstall", release, "--wait", "--timeout=2m")

    def wait_for_topology(self) -> None:
        """Return when the broker runs and the topology operator has made everything on it."""
        broker = self.broker.get("clusterName", "warren-rabbitmq")
        self.namespace.kubectl(
            "wait", "--for=condition=AllReplicasReady", f"rabbitmqcluster/{broker}", "--timeout=180s", timeout=200
        )
        # One question for all: `kubectl wait` asks for each object by itself.
        eventually(lambda: not self._not_made() and self.namespace.items(MADE), 120, 1)

    def _not_made(self) -> list[str]:
        """Name the topology's objects that the operator has not made yet."""
        return [
            f"{one['kind']} {one['metadata']['name']}"
            for one in self.namespace.items(MADE)
            if not any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in one.get("status", {}).get("conditions", [])
            )
        ]

    def wait_ready(self, *deployments: str, timeout_seconds: int = 180) -> None:
        """Return when each Deployment has rolled out; without a name, when all have."""
        for name in deployments or [one["metadata"]["name"] for one in self.namespace.items("deployments")]:
            self.namespace.kubectl(
                "rollout", "status", f"deployment/{name}", f"--timeout={timeout_seconds}s", timeout=timeout_seconds + 20
            )

    @contextmanager
    def client(self, release: str = "warren") -> Iterator[Client]:
        """Reach the server as its administrator, through one of its pods."""
        full = release if "warren" in release else f"{release}-warren"
        token = self.namespace.secret(f"{full}-tokens")["token"]
        with (
            forwarded(self.namespace.name, f"service/{full}-server", 80) as (port,),
            Client(f"http://127.0.0.1:{port}", token) as client,
        ):
            yield client

    def pods(self, selector: str = "app.kubernetes.io/part-of=warren") -> list[dict[str, Any]]:
        return self.namespace.items("pods", "--selector", selector)

    def restarts(self) -> dict[str, int]:
        """Count restarts of containers, of those pods that had any; the broker's as well."""
        counts = {
            pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
            for pod in self.namespace.items("pods")
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """When a step was over.

    Attributes:
        step: What was done.
        seconds: Since the first command.
    """

    step: str
    seconds: float


class Stopwatch:
    """Seconds since its start, step by step."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin at zero."""
        self.began = time.monotonic()
        self.laps: list[Lap] = []

    def lap(self, step: str) -> None:
        self.laps.append(Lap(step=step, seconds=time.monotonic() - self.began))

    @property
    def seconds(self) -> float:
        """When the last step was over."""
        return self.laps[-1].seconds

    def __str__(self) -> str:
        return ", ".join(f"{lap.step} {lap.seconds:.0f} s" for lap in self.laps)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over others, as Helm does."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
