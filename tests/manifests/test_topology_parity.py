"""The topology chart makes what `warren.topology` describes, no more and no less, with the rights the docs name."""

from __future__ import annotations

import re
from typing import Any

import pytest

import topology_data
from manifests.charts import CHARTS, ROOT, Values, render
from manifests.documents import Manifest
from warren.topology import topology

[CHART] = [chart for chart in CHARTS if chart.name == "warren-topology"]
QUEUES = ["default", "mail_out", "mail-out", "0-first", "x" * 190, "ends-with-"]
LIMITED = ["mail_out", "x" * 190]
VALUES: Values = {"queues": {name: {"limited": True} if name in LIMITED else {} for name in QUEUES}}
WANTED = topology(QUEUES, LIMITED)


def of_kind(kind: str, values: Values = VALUES) -> list[Manifest]:
    return [manifest for manifest in render(CHART, values) if manifest["kind"] == kind]


def specs(kind: str, values: Values = VALUES) -> list[dict[str, Any]]:
    return [manifest["spec"] for manifest in of_kind(kind, values)]


def test_the_data_of_the_chart_is_that_of_the_code() -> None:
    assert topology_data.FILE.read_text(encoding="utf-8") == topology_data.text(), "run `make k8s`"


def test_exchanges_are_those_of_the_code() -> None:
    made = {(spec["name"], spec["type"], spec["durable"]) for spec in specs("Exchange")}

    assert made == {(each.name, each.type, True) for each in WANTED.exchanges}


def test_queues_are_those_of_the_code_and_carry_their_type_only() -> None:
    made = [(spec["name"], spec["arguments"], spec["durable"]) for spec in specs("Queue")]

    assert sorted(made) == sorted((each.name, {"x-queue-type": each.type}, True) for each in WANTED.queues)


def test_bindings_are_those_of_the_code() -> None:
    made = [
        (spec["source"], spec["destinationType"], spec["destination"], spec.get("routingKey", ""))
        for spec in specs("Binding")
    ]

    assert sorted(made) == sorted((each.source, each.to, each.destination, each.key) for each in WANTED.bindings)


@pytest.mark.parametrize("version", ["3.10", "3.12", "4.0", "4.3", "4.10"])
def test_policies_are_those_of_the_code_as_that_broker_takes_them(version: str) -> None:
    major, minor = map(int, version.split("."))

    made = {
        spec["name"]: (spec["pattern"], spec["applyTo"], spec["priority"], spec["definition"])
        for spec in specs("Policy", VALUES | {"cluster": {"version": version}})
    }

    assert made == {
        each.name: (each.pattern, each.apply_to, each.priority, definition)
        for each in WANTED.policies
        if (definition := each.definition_for((major, minor)))
    }


def test_numbers_of_policies_stay_whole() -> None:
    [slowest] = [spec for spec in specs("Policy") if spec["name"] == "warren-delay-21"]

    assert isinstance(slowest["definition"]["message-ttl"], int)


def test_every_object_has_a_name_of_its_own_that_kubernetes_takes() -> None:
    manifests = render(CHART, VALUES)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]

    assert len(names) == len(set(names))
    part = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert [name for _, name in names if not re.fullmatch(rf"{part}(\.{part})*", name) or len(name) > 253] == []


@pytest.mark.parametrize("kind", ["Queue", "Vhost"])
@pytest.mark.parametrize("kept", [True, False])
def test_queues_and_virtual_host_stay_on_the_broker_whatever_happens_to_their_objects(kind: str, kept: bool) -> None:
    assert {spec["deletionPolicy"] for spec in specs(kind, {"keepOnUninstall": kept})} == {"retain"}


@pytest.mark.parametrize("kept", [True, False])
def test_all_but_users_outlive_the_release_unless_told_otherwise(kept: bool) -> None:
    staying = {
        manifest["kind"]
        for manifest in render(CHART, {"keepOnUninstall": kept})
        if manifest["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }

    assert staying == ({"Vhost", "Exchange", "Queue", "Binding", "Policy"} if kept else set())


def documented() -> dict[str, dict[str, str]]:
    """Read the table of permissions in docs/reference/topology.md."""
    text = (ROOT / "docs" / "reference" / "topology.md").read_text(encoding="utf-8")
    rows = [
        [cell.replace(r"\|", "|").strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.partition("## Permissions")[2].splitlines()
        if line.startswith("|")
    ]
    return {
        who.split()[0]: {"configure": configure, "write": write, "read": read} for who, configure, write, read in rows
    }


def test_rights_are_those_the_reference_names() -> None:
    made = {
        manifest["spec"]["userReference"]["name"].removeprefix("warren-"): manifest["spec"]["permissions"]
        for manifest in of_kind("Permission")
    }

    assert set(made) == {"server", "worker", "monitor", "scaler"}
    assert made == {who: rights for who, rights in documented().items() if who in made}


@pytest.mark.parametrize("who", ["server", "worker"])
def test_server_and_worker_have_a_right_on_all_they_look_at(who: str) -> None:
    """RabbitMQ 4.3 answers a passive declare only to a user with some right on that thing."""
    rights = [re.compile(pattern) for pattern in documented()[who].values()]

    unseen = [
        each.name
        for each in (*WANTED.exchanges, *WANTED.queues)
        if not any(right.search(each.name) for right in rights)
    ]

    assert unseen == []


@pytest.mark.parametrize("who", ["server", "worker", "monitor", "scaler"])
def test_nobody_may_configure_or_touch_other_names(who: str) -> None:
    rights = documented()[who]

    assert rights["configure"] == "^$"
    assert not any(
        re.search(pattern, name) for pattern in rights.values() for name in ("orders", "amq.topic", "xwarren.jobs")
    )


def test_every_object_points_at_the_same_broker() -> None:
    by_name = {str(spec["rabbitmqClusterReference"]) for spec in (m["spec"] for m in render(CHART, {}))}
    by_secret = {
        str(m["spec"]["rabbitmqClusterReference"]) for m in render(CHART, {"cluster": {"connectionSecret": "broker"}})
    }

    assert by_name == {"{'name': 'warren-rabbitmq'}"}
    assert by_secret == {"{'connectionSecret': {'name': 'broker'}}"}
