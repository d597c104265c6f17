"""What the doctor makes of an installation's objects: each finding both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import cluster_kit as kit
from warren.cli.cluster import examine, operator_findings, pod_findings, scaling_findings, workload_findings
from warren.cli.cluster.port import (
    BROKERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    PERMISSIONS,
    POD_AUTOSCALERS,
    PODS,
    SCALED_JOBS,
    SCALED_OBJECTS,
    SECRETS,
    TOPOLOGY,
    USERS,
    VHOSTS,
    Kind,
    Object,
    rules,
)
from warren.cli.cluster.selecting import selects
from warren.cli.cluster.snapshot import read
from warren.cli.cluster.workload import Data, contents, login, of_deployment, pre_stop_seconds, references
from warren.cli.finding import Finding, Rule
from warren.errors import KindMissing, KubernetesError, KubernetesForbidden

Objects = dict[Kind, list[Object]]


def judged(objects: Objects, errors: dict[Kind, Exception] | None = None) -> list[Finding]:
    return list(examine.of_snapshot(kit.snapshot(objects, errors)))


def of_rule(rule: Rule, found: Sequence[Finding]) -> list[str]:
    """Return what was said by a rule, which is told by its fix and level."""
    start = rule.fix.partition("{")[0]
    return [
        one.message
        for one in found
        if one.check == rule.check and one.level == rule.level and one.fix.startswith(start)
    ]


def worker(**changes: Any) -> Objects:
    return {**kit.healthy(), DEPLOYMENTS: [kit.deployment(**changes)]}


def waiting(reason: str) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": "because"}}}


def test_a_healthy_installation_has_no_complaint() -> None:
    found = judged(kit.healthy())

    assert {one.level for one in found} == {"ok"}
    assert [one.check for one in found] == [
        "workloads", "grace period", "references", "images", "disruption budget", "pod security", "autoscalers", "pods",
        "readiness", "service account token", "operators", "broker quorum", "broker object", "topology objects",
        "declared permissions",
    ]  # fmt: skip


CASES: list[tuple[Rule, Objects, str]] = [
    (workload_findings.NO_WORKLOADS, {**kit.healthy(), DEPLOYMENTS: []}, "none in namespace jobs"),
    (
        workload_findings.SHORT_GRACE,
        worker(pod={"terminationGracePeriodSeconds": 39}),
        "39 s is less than preStop 0 + drain 30 + 10 = 40 s",
    ),
    (
        workload_findings.MISSING_REFERENCE,
        worker(pod={"imagePullSecrets": [{"name": "registry"}]}),
        "Secret registry is not there; named by Deployment warren-worker",
    ),
    (
        workload_findings.MISSING_REFERENCE,
        {**kit.healthy(), SECRETS: [kit.secret("warren-worker-user-credentials", username="warren-worker")]},
        (
            "key password of Secret warren-worker-user-credentials is not there; named by Deployment warren-worker, "
            "Deployment warren-server"
        ),
    ),
    (workload_findings.MOVING_IMAGE, worker(image="registry:5000/warren-worker"), "registry:5000/warren-worker of"),
    (workload_findings.MOVING_IMAGE, worker(image="warren-worker:latest"), "warren-worker:latest of Deployment"),
    (
        workload_findings.GUEST_LOGIN,
        worker(container={"env": kit.environment(WARREN_AMQP_HOST="elsewhere")}),
        "Deployment warren-worker: logs in as guest",
    ),
    (workload_findings.POD_SECURITY, {**kit.healthy(), NAMESPACES: [kit.namespace(None)]}, "has no label"),
    (workload_findings.POD_SECURITY, {**kit.healthy(), NAMESPACES: [kit.namespace("baseline")]}, "enforces baseline"),
    (
        workload_findings.NO_DISRUPTION_BUDGET,
        {**kit.healthy(), DISRUPTION_BUDGETS: [kit.budget("other")]},
        "none for Deployment warren-worker, RabbitmqCluster warren-rabbitmq",
    ),
    (
        scaling_findings.TWO_SCALERS,
        {**kit.healthy(), POD_AUTOSCALERS: [kit.pod_autoscaler("warren-worker")]},
        "sized by ScaledObject warren-worker-scaled, HorizontalPodAutoscaler warren-worker-hpa",
    ),
    (
        scaling_findings.SCALER_NOT_READY,
        {**kit.healthy(), SCALED_OBJECTS: [kit.scaled_object("warren-worker", ("Ready", "False"))]},
        "ScaledObject warren-worker-scaled: Why: Ready said",
    ),
    (
        scaling_findings.SCALER_BLIND,
        {
            **kit.healthy(),
            SCALED_OBJECTS: [kit.scaled_object("warren-worker", ("Ready", "True"), ("Fallback", "True"))],
        },
        "Fallback said",
    ),
    (
        scaling_findings.SCALER_UNSEEN,
        {**kit.healthy(), SCALED_OBJECTS: [kit.scaled_object("warren-worker")]},
        "has no conditions",
    ),
    (
        pod_findings.CRASHING,
        {**kit.healthy(), PODS: [kit.pod(container={"restartCount": 4, **waiting("CrashLoopBackOff")})]},
        "warren-worker-abc (because)",
    ),
    (pod_findings.NO_IMAGE, {**kit.healthy(), PODS: [kit.pod(container=waiting("ErrImagePull"))]}, "(because)"),
    (
        pod_findings.BAD_CONTAINER,
        {**kit.healthy(), PODS: [kit.pod(container=waiting("CreateContainerConfigError"))]},
        "warren-worker-abc",
    ),
    (
        pod_findings.OUT_OF_MEMORY,
        {**kit.healthy(), PODS: [kit.pod(container={"lastState": {"terminated": {"reason": "OOMKilled"}}})]},
        "warren-worker-abc (worker)",
    ),
    (
        pod_findings.RESTARTED,
        {
            **kit.healthy(),
            PODS: [kit.pod(container={"restartCount": 2, "lastState": {"terminated": {"exitCode": 3}}})],
        },
        "(2 times, last exit code 3)",
    ),
    (
        pod_findings.NO_NODE,
        {
            **kit.healthy(),
            PODS: [kit.pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "too big"}])],
        },
        "warren-worker-abc (too big)",
    ),
    (
        pod_findings.REFUSED_PODS,
        worker(ready=0, conditions=[{"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]),
        "Deployment warren-worker: violates PodSecurity",
    ),
    (pod_findings.NONE_READY, worker(ready=0), "Deployment warren-worker"),
    (pod_findings.SOME_UNREADY, worker(replicas=3, ready=2), "Deployment warren-worker 2 of 3"),
    (
        pod_findings.TOKEN_MOUNTED,
        {**kit.healthy(), PODS: [kit.pod(mounts=["/var/run/secrets/kubernetes.io/serviceaccount"])]},
        "warren-worker-abc",
    ),
    (
        operator_findings.OPERATOR_DOWN,
        {
            **kit.healthy(),
            DEPLOYMENTS: [kit.operator("rabbitmq-cluster-operator", 0), kit.operator("messaging-topology-operator")],
        },
        "rabbitmq-cluster-operator",
    ),
    (operator_findings.NO_BROKER, {**kit.healthy(), BROKERS: []}, "none in namespace jobs"),
    (operator_findings.UNSEEN_BROKER, {**kit.healthy(), BROKERS: [kit.broker(seen=0)]}, "last change"),
    (operator_findings.QUORUM, {**kit.healthy(), BROKERS: [kit.broker(quorum="quorum-critical: a, b")]}, "a, b"),
    (operator_findings.QUORUM, {**kit.healthy(), BROKERS: [kit.broker(quorum="unavailable")]}, "unavailable"),
    (operator_findings.NODES_AWAY, {**kit.healthy(), BROKERS: [kit.broker(quorum="ok (1 unavailable)")]}, "1 unavail"),
    (operator_findings.NO_QUORUM_STATUS, {**kit.healthy(), BROKERS: [kit.broker(quorum=None)]}, "no status.quorum"),
    (
        operator_findings.CONDITION,
        {**kit.healthy(), BROKERS: [kit.broker(("AllReplicasReady", "False"))]},
        "AllReplicasReady is False: AllReplicasReadyReason",
    ),
    (
        operator_findings.UNSURE,
        {**kit.healthy(), BROKERS: [kit.broker(("NoWarnings", "False"))]},
        "NoWarnings is False",
    ),
    (
        operator_findings.UNSURE,
        {**kit.healthy(), BROKERS: [kit.broker(("ReconcileSuccess", "Unknown"))]},
        "ReconcileSuccess is Unknown",
    ),
    (operator_findings.ONE_NODE, {**kit.healthy(), BROKERS: [kit.broker(replicas=1)]}, "has 1 for Deployment warren-w"),
    (
        operator_findings.NO_VOLUME,
        {**kit.healthy(), BROKERS: [kit.broker(persistence={"storage": "0"})]},
        "emptyDir",
    ),
    (
        operator_findings.TOPOLOGY_NOT_READY,
        {**kit.healthy(), VHOSTS: [kit.declared("Vhost", "warren", ready="False", message="refused", name="warren")]},
        "Vhost warren: refused",
    ),
    (
        operator_findings.TOPOLOGY_NOT_READY,
        {**kit.healthy(), VHOSTS: [kit.declared("Vhost", "warren", ready=None, name="warren")]},
        "has not looked at it",
    ),
    (
        operator_findings.DECLARED_WIDE,
        {**kit.healthy(), PERMISSIONS: [kit.declared("Permission", "p", permissions={"configure": ".*"})]},
        "Permission p (configure .*)",
    ),
    (
        operator_findings.DECLARED_WIDE,
        {**kit.healthy(), USERS: [kit.declared("User", "u", tags=["administrator"])]},
        "User u (tag administrator)",
    ),
]


@pytest.mark.parametrize(
    ("rule", "objects", "said"), CASES, ids=[f"{rule.check}-{said[:30]}" for rule, _, said in CASES]
)
def test_each_fault_is_found_and_is_not_found_where_it_is_not(rule: Rule, objects: Objects, said: str) -> None:
    found, well = judged(objects), judged(kit.healthy())

    (message,) = of_rule(rule, found)
    assert said in message
    assert of_rule(rule, well) == []
    # Nobody is told that the same thing is well and is not.
    assert not {one.check for one in found if one.level == "ok"} & {rule.check} - {"broker object"}


def test_every_rule_of_the_cluster_that_objects_can_break_has_a_case() -> None:
    modules = (workload_findings, scaling_findings, pod_findings, operator_findings)
    tested = {id(rule) for rule, _, _ in CASES}

    named = {name for module in modules for name, one in vars(module).items() if isinstance(one, Rule)}
    untested = {
        name
        for module in modules
        for name, one in vars(module).items()
        if isinstance(one, Rule) and id(one) not in tested
    }

    assert len(named) > 20
    assert untested == {"NO_CLUSTER_OPERATOR", "NO_TOPOLOGY_OPERATOR"}  # below: a kind is missing, not an object


def test_kinds_that_the_cluster_does_not_know_are_said_but_break_nothing() -> None:
    kinds = (BROKERS, *TOPOLOGY, SCALED_OBJECTS, SCALED_JOBS)

    found = judged(kit.healthy(), dict.fromkeys(kinds, KindMissing("no such kind")))

    assert of_rule(operator_findings.NO_CLUSTER_OPERATOR, found)
    assert of_rule(operator_findings.NO_TOPOLOGY_OPERATOR, found)
    assert not of_rule(operator_findings.NO_BROKER, found)
    assert "broken" not in {one.level for one in found}


def test_what_may_not_be_looked_at_is_said_with_the_role_that_is_missing() -> None:
    found = judged(kit.healthy(), {kind: KubernetesForbidden("no") for kind in (SECRETS, PODS, DISRUPTION_BUDGETS)})

    (hidden,) = [one for one in found if one.level == "unknown"]
    assert hidden.message == "may not look at poddisruptionbudgets.policy, pods, secrets"
    assert 'apiGroups: [""], resources: [pods, secrets], verbs: [get, list]' in hidden.fix
    assert not {"pods", "disruption budget", "service account token"} & {one.check for one in found}
    assert "every ConfigMap that is named is there" in [one.message for one in found]


def test_an_account_that_may_see_nothing_learns_only_that() -> None:
    found = judged(kit.healthy(), dict.fromkeys(kit.KINDS, KubernetesForbidden("no")))

    assert {one.level for one in found} == {"unknown"}
    assert {one.check for one in found} == {"kubernetes", "operators"}


def test_a_cluster_that_does_not_answer_ends_the_look() -> None:
    with pytest.raises(KubernetesError, match="away"):
        read(kit.FakeCluster({}, {PODS: KubernetesError("away")}), None)


def test_a_release_narrows_what_is_looked_at() -> None:
    cluster = kit.FakeCluster(kit.healthy())

    mine, other = read(cluster, "mine"), read(cluster, "other")

    assert [one.name for one in mine.workloads] == ["warren-worker", "warren-server"]
    assert other.workloads == ()


def test_preliminary_sleep_and_drain_are_counted_into_the_grace_period() -> None:
    hook = {"lifecycle": {"preStop": {"sleep": {"seconds": 15}}}, "env": kit.environment(WARREN_DRAIN_SECONDS="120")}

    short = judged(worker(container=hook, pod={"terminationGracePeriodSeconds": 144}))
    enough = judged(worker(container=hook, pod={"terminationGracePeriodSeconds": 145}))

    (finding,) = [one for one in short if one.check == "grace period"]
    assert finding.message.endswith("144 s is less than preStop 15 + drain 120 + 10 = 145 s")
    assert "to 145," in finding.fix
    assert [one.level for one in enough if one.check == "grace period"] == ["ok"]


def test_a_server_needs_no_grace_for_jobs_and_a_pod_that_says_nothing_has_30_seconds() -> None:
    server = {"containers": [{"image": "a:1"}], "terminationGracePeriodSeconds": 5}
    silent = kit.deployment()
    del silent["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    of_server = judged({DEPLOYMENTS: [kit.deployment("warren-server", "server", pod=server)]})
    of_silent = judged({DEPLOYMENTS: [silent]})

    assert not [one for one in of_server if one.check == "grace period"]
    assert "30 s is less" in of_rule(workload_findings.SHORT_GRACE, of_silent)[0]


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({"sleep": {"seconds": 7}}, 7),
        ({"exec": {"command": ["sleep", "5"]}}, 5),
        ({"exec": {"command": ["sh", "-c", "echo bye; sleep 2.5s; echo gone"]}}, 2.5),
        ({"exec": {"command": ["sleep", "$SECONDS"]}}, 0),
        ({"exec": {"command": ["sleep"]}}, 0),
        ({"httpGet": {"path": "/drain"}}, 0),
        ({}, 0),
    ],
)
def test_the_seconds_of_a_prestop_hook(hook: dict[str, Any], seconds: float) -> None:
    workload = of_deployment(kit.deployment(container={"lifecycle": {"preStop": hook}}))

    assert pre_stop_seconds(workload) == seconds


@pytest.mark.parametrize(
    ("drain", "least"),
    [
        ({"configMapKeyRef": {"name": "settings", "key": "drain"}}, "drain 90"),
        ({"secretKeyRef": {"name": "absent", "key": "drain", "optional": True}}, "drain 30"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "drain 30"),
    ],
)
def test_a_drain_from_elsewhere_is_followed_as_far_as_it_can_be(drain: dict[str, Any], least: str) -> None:
    objects = worker(
        container={"env": [{"name": "WARREN_DRAIN_SECONDS", "valueFrom": drain}]},
        pod={"terminationGracePeriodSeconds": 1},
    )

    found = judged({**objects, CONFIG_MAPS: [kit.config_map("settings", drain="90")]})

    assert least in of_rule(workload_findings.SHORT_GRACE, found)[0]


def test_a_drain_that_is_no_number_counts_as_the_default() -> None:
    found = judged(worker(container={"env": kit.environment(WARREN_DRAIN_SECONDS="soon")}))

    assert [one.level for one in found if one.check == "grace period"] == ["ok"]


def test_settings_from_a_whole_configmap_are_seen() -> None:
    container = {"envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "WARREN_"}]}

    found = judged({**worker(container=container), CONFIG_MAPS: [kit.config_map("settings", DRAIN_SECONDS="500")]})

    assert "drain 500" in of_rule(workload_findings.SHORT_GRACE, found)[0]


def test_all_ways_to_name_a_secret_or_configmap_are_followed() -> None:
    pod = {
        "initContainers": [{"image": "a:1", "envFrom": [{"secretRef": {"name": "whole"}}]}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "files", "items": [{"key": "crt", "path": "ca.crt"}]}},
            {
                "name": "b",
                "projected": {"sources": [{"secret": {"name": "part", "items": [{"key": "k", "path": "k"}]}}]},
            },
            {"name": "c", "configMap": {"name": "code"}},
            {"name": "d", "secret": {"secretName": "perhaps", "optional": True}},
            {"name": "e", "emptyDir": {}},
        ],
    }
    container = {
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "x"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "two", "key": "y", "optional": True}}},
        ]
    }

    workload = of_deployment(kit.deployment(container=container, pod=pod))
    found = {(one.kind, one.name, *sorted(one.keys)) for one in references(workload)}

    assert found == {
        ("Secret", "whole"),
        ("Secret", "files", "crt"),
        ("Secret", "part", "k"),
        ("ConfigMap", "code"),
        ("Secret", "one", "x"),
    }


def test_an_optional_file_that_a_variable_names_is_needed_all_the_same() -> None:
    items = [{"key": key, "path": f"login/{key}"} for key in ("username", "password")]
    source = {"secret": {"name": "login", "items": items, "optional": True}}
    pod = {"volumes": [{"name": "v", "projected": {"sources": [source, {"downwardAPI": {}}]}}]}
    mounts = [
        {"name": "gone", "mountPath": "/etc/warren"},
        {"name": "v", "mountPath": "/etc/warren/login/password", "subPath": "x"},
        {"name": "v", "mountPath": "/etc/warren"},
    ]
    env = kit.environment(
        WARREN_AMQP_USERNAME_FILE="/etc/warren/login/username",
        WARREN_AMQP_PASSWORD_FILE="/etc/warren/login/password",
        WARREN_STORE_PASSWORD_FILE="/etc/warren/login/other",
        WARREN_X_FILE="/elsewhere",
        OTHER_FILE="/etc/warren/login/other",
    )
    workload = of_deployment(kit.deployment(container={"env": env, "volumeMounts": mounts}, pod=pod))

    found = references(workload)
    user = login(workload, Data(secrets={"login": {"username": "me"}}))

    assert [(one.kind, one.name, sorted(one.keys)) for one in found] == [("Secret", "login", ["password", "username"])]
    assert user == "me"


def login_of(env: list[dict[str, Any]], data: Data | None = None, **pod: Any) -> str | None:
    return login(
        of_deployment(kit.deployment(container={"env": env, **pod.pop("container", {})}, pod=pod)), data or Data()
    )


def test_the_login_of_a_workload_is_worked_out_as_the_program_does() -> None:
    hidden = [{"name": "WARREN_AMQP_URL", "valueFrom": {"secretKeyRef": {"name": "s", "key": "url"}}}]

    seen = Data(secrets={"s": {"url": "amqp://n%40me:x@host/"}})

    assert login_of(kit.environment(WARREN_AMQP_URL="amqp://me:secret@host")) == "me"
    assert login_of(kit.environment(WARREN_AMQP_URL="amqp://host", WARREN_AMQP_USERNAME="you")) == "you"
    assert login_of(kit.environment(WARREN_AMQP_URL="amqp://host")) == "guest"
    assert login_of(kit.environment(WARREN_AMQP_USERNAME="you")) == "you"
    assert login_of(hidden, seen) == "n@me"
    assert login_of(hidden) is None
    assert login_of([]) is None
    assert (
        login_of(kit.environment(WARREN_AMQP_HOST="h"), container={"envFrom": [{"secretRef": {"name": "s"}}]}) is None
    )


def test_the_login_in_a_file_is_read_from_the_secret_behind_it() -> None:
    env = kit.environment(WARREN_AMQP_USERNAME_FILE="/amqp/user")
    data = Data(secrets={"s": {"username": "me\n"}})
    mounted = {"container": {"volumeMounts": [{"name": "v", "mountPath": "/amqp/"}]}}
    renamed = [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "username", "path": "user"}]}}]
    as_it_is = [{"name": "v", "secret": {"secretName": "s"}}]

    assert login_of(env, data, volumes=renamed, **mounted) == "me"
    assert login_of(env, data, volumes=as_it_is, **mounted) is None
    assert login_of(env, data) is None


def test_bytes_that_are_no_text_are_not_shown_but_their_key_is() -> None:
    assert contents({"kind": "Secret", "data": {"a": "/w==", "b": "?"}}) == {"a": "", "b": ""}
    assert contents({"kind": "ConfigMap", "data": {"a": "1"}, "binaryData": {"b": "AA=="}}) == {"a": "1", "b": ""}


def test_a_digest_fixes_an_image_whatever_its_tag() -> None:
    found = judged(worker(image="warren-worker:latest@sha256:abc"))

    assert [one.level for one in found if one.check == "images"] == ["ok"]


def test_scaled_jobs_are_workloads_too() -> None:
    template = {"spec": {"containers": [{"image": "a"}], "terminationGracePeriodSeconds": 5}}
    job = {
        "metadata": kit.metadata("long", kit.labels("worker", "long")),
        "spec": {"jobTargetRef": {"template": template}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no such queue"}]},
    }

    found = judged({**kit.healthy(), SCALED_JOBS: [job]})

    assert "ScaledJob long" in of_rule(workload_findings.SHORT_GRACE, found)[0]
    assert "a of ScaledJob long" in of_rule(workload_findings.MOVING_IMAGE, found)[0]
    assert "ScaledJob long" in of_rule(scaling_findings.SCALER_NOT_READY, found)[0]


def test_autoscalers_of_other_things_do_not_count() -> None:
    other = kit.pod_autoscaler("warren-worker")
    other["spec"]["scaleTargetRef"]["kind"] = "StatefulSet"
    foreign = kit.scaled_object("somebody-else", ("Ready", "False"))

    found = judged({**kit.healthy(), POD_AUTOSCALERS: [other], SCALED_OBJECTS: [foreign]})

    assert [one.message for one in found if one.check == "autoscalers"] == ["none"]


def test_an_autoscaled_workload_of_one_pod_needs_a_budget_too() -> None:
    objects = worker()
    objects[DISRUPTION_BUDGETS] = []
    objects[BROKERS] = []

    scaled = judged(objects)
    fixed = judged({**objects, SCALED_OBJECTS: []})

    assert of_rule(workload_findings.NO_DISRUPTION_BUDGET, scaled)
    assert not of_rule(workload_findings.NO_DISRUPTION_BUDGET, fixed)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors_select_as_kubernetes_says(selector: dict[str, Any] | None, selected: bool) -> None:
    assert selects(selector, {"a": "1"}) is selected


def test_secrets_are_not_shown_by_accident() -> None:
    shown = repr(kit.snapshot(kit.healthy()))

    assert "warren-worker" in shown
    assert "data=" not in shown


def test_a_role_lists_kinds_by_group() -> None:
    assert rules([PODS, DEPLOYMENTS, SECRETS]) == (
        'apiGroups: [""], resources: [pods, secrets], verbs: [get, list]; '
        'apiGroups: ["apps"], resources: [deployments], verbs: [get, list]'
    )


def test_every_finding_that_is_not_well_has_a_fix_without_gaps() -> None:
    found = [one for _, objects, _ in CASES for one in judged(objects) if one.level != "ok"]

    assert all(one.fix and "{" not in one.fix for one in found)
