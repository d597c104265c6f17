"""What the doctor asks of a Kubernetes cluster, whoever carries the question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

Object: TypeAlias = Mapping[str, Any]
"""An object as the API server writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of object.

    Attributes:
        plural: Its name in URLs.
        group: Its API group, empty for the core one.
        version: Its version.
        namespaced: Whether it lives in a namespace.
    """

    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def name(self) -> str:
        """Its full name, such as `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


NAMESPACES: Final = Kind(plural="namespaces", namespaced=False)
PODS: Final = Kind(plural="pods")
SECRETS: Final = Kind(plural="secrets")
CONFIG_MAPS: Final = Kind(plural="configmaps")
DEPLOYMENTS: Final = Kind(plural="deployments", group="apps")
DISRUPTION_BUDGETS: Final = Kind(plural="poddisruptionbudgets", group="policy")
POD_AUTOSCALERS: Final = Kind(plural="horizontalpodautoscalers", group="autoscaling", version="v2")
SCALED_OBJECTS: Final = Kind(plural="scaledobjects", group="keda.sh", version="v1alpha1")
SCALED_JOBS: Final = Kind(plural="scaledjobs", group="keda.sh", version="v1alpha1")
BROKERS: Final = Kind(plural="rabbitmqclusters", group="rabbitmq.com", version="v1beta1")
VHOSTS: Final = Kind(plural="vhosts", group="rabbitmq.com", version="v1beta1")
USERS: Final = Kind(plural="users", group="rabbitmq.com", version="v1beta1")
PERMISSIONS: Final = Kind(plural="permissions", group="rabbitmq.com", version="v1beta1")
TOPOLOGY: Final = (
    VHOSTS,
    USERS,
    PERMISSIONS,
    *(
        Kind(plural=plural, group="rabbitmq.com", version="v1beta1")
        for plural in ("queues", "exchanges", "bindings", "policies")
    ),
)


class Cluster(Protocol):
    """A cluster that can be asked.

    Every question raises `KubernetesForbidden` when the account may not ask it, `KindMissing` when the cluster does not
    know the kind, and `KubernetesError` when there is no answer.
    """

    @property
    def namespace(self) -> str:
        """The namespace that is looked at."""

    def every(self, kind: Kind, *, selector: str = "", everywhere: bool = False) -> list[Object]:
        """Return all objects of a kind.

        Args:
            kind: What to list.
            selector: Labels they must have.
            everywhere: In all namespaces instead of the one that is looked at.
        """

    def named(self, kind: Kind, names: Sequence[str]) -> list[Object]:
        """Return those of the named objects that exist."""

    def reach(self, service: str, port: int) -> AbstractContextManager[str]:
        """Make a service's port reachable for the time of a `with`; gives `host:port`."""


def rules(kinds: Iterable[Kind]) -> str:
    """Write what a Role must allow so that the kinds can be looked at."""
    groups: dict[str, list[str]] = {}
    for kind in kinds:
        groups.setdefault(kind.group, []).append(kind.plural)
    return "; ".join(
        f'apiGroups: ["{group}"], resources: [{", ".join(plurals)}], verbs: [get, list]'
        for group, plurals in groups.items()
    )
