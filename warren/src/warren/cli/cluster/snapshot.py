"""Read all of an installation that the doctor judges, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from warren.cli.cluster.port import (
    BROKERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    POD_AUTOSCALERS,
    PODS,
    SCALED_JOBS,
    SCALED_OBJECTS,
    SECRETS,
    TOPOLOGY,
    Cluster,
    Kind,
    Object,
)
from warren.cli.cluster.workload import Data, Workload, contents, of_deployment, of_scaled_job, references
from warren.errors import KindMissing, KubernetesForbidden

OPERATORS: Final = ("rabbitmq-cluster-operator", "messaging-topology-operator")
_OPERATORS_SELECTOR: Final = f"app.kubernetes.io/name in ({', '.join(OPERATORS)})"
_PART_OF: Final = "app.kubernetes.io/part-of=warren"
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What there is in a namespace.

    Attributes:
        namespace: The namespace.
        objects: What was read, by kind.
        missing: Kinds the cluster does not know.
        forbidden: Kinds the account may not look at.
        workloads: Warren's own workloads.
        operators: Deployments of RabbitMQ's operators in all namespaces; None when they may not be looked at.
        data: What the Secrets and ConfigMaps hold that templates name.
    """

    namespace: str
    objects: Mapping[Kind, Sequence[Object]] = field(default_factory=dict)
    missing: frozenset[Kind] = frozenset()
    forbidden: frozenset[Kind] = frozenset()
    workloads: tuple[Workload, ...] = ()
    operators: Sequence[Object] | None = None
    data: Data = field(default_factory=Data, repr=False)

    def of(self, kind: Kind) -> Sequence[Object]:
        """Return the objects of a kind; none when they could not be looked at."""
        return self.objects.get(kind, ())

    def saw(self, kind: Kind) -> bool:
        """Tell whether the kind could be looked at."""
        return kind in self.objects


def read(cluster: Cluster, release: str | None) -> Snapshot:
    """Read a namespace.

    Args:
        cluster: What is asked.
        release: Only workloads of this release; None for all of Warren's.

    Raises:
        KubernetesError: The cluster does not answer.
    """
    own = f"{_PART_OF},app.kubernetes.io/instance={release}" if release else _PART_OF
    questions = {
        NAMESPACES: partial(cluster.named, NAMESPACES, [cluster.namespace]),
        DEPLOYMENTS: partial(cluster.every, DEPLOYMENTS, selector=own),
        SCALED_JOBS: partial(cluster.every, SCALED_JOBS, selector=own),
        **{
            kind: partial(cluster.every, kind)
            for kind in (PODS, DISRUPTION_BUDGETS, POD_AUTOSCALERS, SCALED_OBJECTS, BROKERS, *TOPOLOGY)
        },
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        operators = pool.submit(
            _answer, partial(cluster.every, DEPLOYMENTS, selector=_OPERATORS_SELECTOR, everywhere=True)
        )
        answers = dict(zip(questions, pool.map(_answer, questions.values()), strict=True))
    workloads = (
        *map(of_deployment, _listed(answers[DEPLOYMENTS])),
        *map(of_scaled_job, _listed(answers[SCALED_JOBS])),
    )
    answers |= _named_data(cluster, workloads)
    seen = {kind: answer for kind, answer in answers.items() if isinstance(answer, list)}
    operators_seen = operators.result()
    return Snapshot(
        namespace=cluster.namespace,
        objects=seen,
        missing=frozenset(kind for kind, answer in answers.items() if isinstance(answer, KindMissing)),
        forbidden=frozenset(kind for kind, answer in answers.items() if isinstance(answer, KubernetesForbidden)),
        workloads=workloads,
        operators=operators_seen if isinstance(operators_seen, list) else None,
        data=Data(
            secrets={one["metadata"]["name"]: contents(one) for one in seen.get(SECRETS, [])},
            config_maps={one["metadata"]["name"]: contents(one) for one in seen.get(CONFIG_MAPS, [])},
        ),
    )


_Answer = list[Object] | KindMissing | KubernetesForbidden


def _answer(question: partial[list[Object]]) -> _Answer:
    """Ask, and keep a refusal as an answer; that nobody answers ends everything."""
    try:
        return question()
    except (KindMissing, KubernetesForbidden) as refusal:
        return refusal


def _named_data(cluster: Cluster, workloads: Sequence[Workload]) -> dict[Kind, _Answer]:
    named = {(one.kind, one.name) for workload in workloads for one in references(workload)}
    return {
        kind: _answer(partial(cluster.named, kind, sorted(name for its_kind, name in named if its_kind == text)))
        for kind, text in ((SECRETS, "Secret"), (CONFIG_MAPS, "ConfigMap"))
    }


def _listed(answer: _Answer) -> list[Object]:
    return answer if isinstance(answer, list) else []
