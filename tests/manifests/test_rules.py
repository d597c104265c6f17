"""Names, labels, images, secrets, references and pods: the charts keep the rules, and each breach is found."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from manifests import rules
from manifests.charts import NAMESPACE, RELEASE, Chart, render
from manifests.documents import Manifest
from manifests.values import merged

LABELS = {
    "app.kubernetes.io/name": "x",
    "app.kubernetes.io/instance": RELEASE,
    "app.kubernetes.io/version": "1",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/part-of": "x",
}
POD: Manifest = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "x", "labels": LABELS},
    "spec": {
        "automountServiceAccountToken": False,
        "serviceAccountName": "x",
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "secrets", "projected": {"sources": [{"secret": {"name": "login"}}]}},
        ],
        "containers": [
            {
                "name": "main",
                "image": "registry:5000/x:1",
                "env": [{"name": "X_PASSWORD_FILE", "value": "/x"}, {"name": "URL", "value": "amqp://host/x"}],
                "securityContext": {"readOnlyRootFilesystem": True},
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"memory": "1Mi"}},
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "secrets", "mountPath": "/s"}],
            }
        ],
    },
}


def changed(path: str, value: Any) -> Manifest:
    """Return the pod with one value put in, or taken out where it is None."""
    pod = copy.deepcopy(POD)
    found: Any = pod
    *parts, last = path.split("|")
    for part in parts:
        found = found[int(part)] if isinstance(found, list) else found[part]
    if value is None:
        del found[last]
    else:
        found[last] = value
    return pod


MAIN = "spec|containers|0"
BREACHES = [
    ("metadata|name", "x" * 64, "no DNS label of at most 63"),
    ("metadata|name", "Warren", "no DNS label"),
    ("metadata|namespace", "other", "goes into the namespace other"),
    ("metadata|labels|team", "a b", "label team is 'a b'"),
    ("metadata|labels|team", 1, "label team is 1"),
    ("metadata|labels|app.kubernetes.io/version", None, "no label app.kubernetes.io/version"),
    ("metadata|labels|app.kubernetes.io/instance", "b", "of another release: b"),
    (f"{MAIN}|image", "registry:5000/x", "which moves"),
    (f"{MAIN}|image", "x:latest", "which moves"),
    (f"{MAIN}|image", 'x:say "so"', "which is no reference"),
    (f"{MAIN}|image", "x@sha256:abc", "whose digest is none"),
    (f"{MAIN}|env", [{"name": "X_PASSWORD", "value": "hunter2"}], "X_PASSWORD is said in the open"),
    (f"{MAIN}|env", [{"name": "URL", "value": "amqp://u:p@host"}], "env.0.value holds a URL with a password"),
    (f"{MAIN}|env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "env has A 2 times"),
    (f"{MAIN}|env", [{"name": "A", "value": 1}], "env A is 1, which is no text"),
    (f"{MAIN}|securityContext|readOnlyRootFilesystem", None, "readOnlyRootFilesystem is not true"),
    (f"{MAIN}|resources|requests|cpu", None, "requests lacks cpu or memory"),
    (f"{MAIN}|resources|limits", None, "limits lacks memory"),
    (f"{MAIN}|volumeMounts|1|name", "nothing", "has nothing, which is no volume"),
    (f"{MAIN}|volumeMounts|1|mountPath", "/tmp", "volumeMounts has /tmp 2 times"),
    (f"{MAIN}|volumeMounts", [{"name": "tmp", "mountPath": "/a"}], "'secrets' is mounted nowhere"),
    ("spec|automountServiceAccountToken", None, "automountServiceAccountToken is not false"),
    ("spec|volumes|0|emptyDir", {}, "may fill the node"),
]


def test_every_values_file_renders_by_the_rules(chart: Chart, case: str) -> None:
    values = chart.cases()[case]
    if "extraManifests" in chart.values:
        # Objects of the user's own need not have our labels.
        values = values | {"extraManifests": []}

    assert rules.faults(render(chart, values), RELEASE, NAMESPACE) == []


def test_every_values_file_refers_only_to_what_is_made_or_given(chart: Chart, case: str) -> None:
    values = chart.cases()[case]

    assert rules.missing_references(render(chart, values), merged(chart.values, values)) == []


def test_a_good_pod_breaks_no_rule() -> None:
    assert rules.faults([POD], RELEASE, NAMESPACE) == []


@pytest.mark.parametrize(("path", "value", "said"), BREACHES, ids=[said for _, _, said in BREACHES])
def test_a_breach_is_found(path: str, value: Any, said: str) -> None:
    found = rules.faults([changed(path, value)], RELEASE, NAMESPACE)

    assert any(said in fault for fault in found), found


def test_an_object_made_twice_is_found() -> None:
    assert "Pod/x is there 2 times" in rules.faults([POD, POD], RELEASE, NAMESPACE)


@pytest.mark.parametrize(
    ("kind", "name", "right"),
    [
        ("Service", "1x", False),
        ("Service", "x1", True),
        ("CronJob", "x" * 52, True),
        ("CronJob", "x" * 53, False),
        ("RabbitmqCluster", "x" * 45, True),
        ("RabbitmqCluster", "x" * 46, False),
        ("RabbitmqCluster", "1", False),
    ],
)
def test_names_that_others_are_made_of_are_shorter(kind: str, name: str, right: bool) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "labels": LABELS},
        # What each of these kinds is asked for elsewhere.
        "spec": {"image": "x:1", "jobTemplate": {"spec": {"template": {"spec": {}}}}},
    }

    found = [fault for fault in rules.faults([manifest], RELEASE, NAMESPACE) if "name" in fault]

    assert (found == []) is right


def test_references_to_what_nobody_makes_are_found() -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}

    assert rules.missing_references([POD, account], {"secret": "login"}) == []
    assert rules.missing_references([POD], {}) == [
        "Pod/x refers to the Secret login, which nobody makes",
        "Pod/x refers to the ServiceAccount x, which nobody makes",
    ]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}, "ConfigMap c"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "Secret s"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "p"}}]}, "PersistentVolumeClaim p"),
        (
            {"containers": [{"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "k", "key": "a"}}}]}]},
            "Secret k",
        ),
        (
            {"containers": [{"env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}}]}]},
            "ConfigMap m",
        ),
    ],
)
def test_each_way_to_refer_is_seen(part: dict[str, Any], said: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []} | part}

    assert rules.missing_references([pod], {}) == [f"Pod/x refers to the {said}, which nobody makes"]
