"""Random values: whatever the schema allows renders by the rules, or is refused by one that names the value."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from manifests import restricted, rules, schemas, wiring
from manifests.charts import HELMS, NAMESPACE, RELEASE, Chart, RefusedError, Values, is_plain_refusal, render
from manifests.documents import Manifest, identity, pods
from manifests.values import merged, properties, random_values

# Read before the environment is cleared for each test. The same examples each time, unless a number is asked for.
ASKED = os.environ.get("WARREN_EXAMPLES")
EXAMPLES = int(ASKED or 60)
random_settings = partial(
    settings,
    deadline=None,
    derandomize=ASKED is None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
RELEASES = st.sampled_from([RELEASE, RELEASE, RELEASE, "w", "123", "true", "my-release", "a" * 53])
NAMESPACES = st.sampled_from([NAMESPACE, "456", "n" * 63])


def test_random_values_render_by_all_rules_or_are_refused_plainly(chart: Chart) -> None:
    outcomes: Counter[str] = Counter()

    @random_settings(max_examples=EXAMPLES)
    @given(random_values(chart), st.sampled_from(schemas.VERSIONS), RELEASES, NAMESPACES)
    def judge(values: Values, kubernetes: str, release: str, namespace: str) -> None:
        note(f"values: {values}")
        manifests = outcome(chart, values, kubernetes=kubernetes, release=release, namespace=namespace)
        if isinstance(manifests, RefusedError):
            outcomes["refused"] += 1
            event("refused")
            assert is_plain_refusal(str(manifests)), manifests
            assert names_a_value(str(manifests), chart), manifests
            return
        outcomes["rendered"] += 1
        everything = merged(chart.values, values)

        assert [fault for manifest in manifests for fault in schemas.faults(manifest, kubernetes)] == []
        assert rules.faults(manifests, release, namespace) == []
        assert rules.missing_references(manifests, everything) == []
        assert wiring.faults(manifests) == []
        broken = [(identity(owner), restricted.violations(pod)) for owner, pod in pods(manifests)]
        assert [(owner, found) for owner, found in broken if found] == []

    judge()

    # Many must render, or the rules were asked about nothing.
    assert outcomes["rendered"] > EXAMPLES // 2, outcomes


def names_a_value(message: str, chart: Chart) -> bool:
    """Whether a refusal names a value by its path, or the last part of it, or the kind that the cluster lacks."""
    schema = chart.schema
    paths = [".".join(path).replace(".*", r"\.[\w-]+") for path, _ in properties(schema, schema)]
    return any(re.search(rf"(^|[\s:'/.]){path}\b", message) for path in paths)


def test_selectors_stay_the_same_over_any_change_of_values(chart: Chart) -> None:
    # Kubernetes refuses an upgrade that changes one.
    before = [wiring.selectors(render(chart, values)) for values in chart.cases().values()]
    known: dict[str, Any] = {name: selector for found in before for name, selector in found.items()}

    @random_settings(max_examples=EXAMPLES // 2)
    @given(random_values(chart))
    def judge(values: Values) -> None:
        if values.keys() & {"nameOverride", "fullnameOverride"}:
            return
        manifests = outcome(chart, values)
        after = {} if isinstance(manifests, RefusedError) else wiring.selectors(manifests)

        assert {name: after[name] for name in after.keys() & known.keys()} == {
            name: known[name] for name in after.keys() & known.keys()
        }

    judge()

    assert all(found.get(name, selector) == selector for found in before for name, selector in known.items())


def test_helm_3_and_helm_4_agree_on_random_values(chart: Chart) -> None:
    @random_settings(max_examples=EXAMPLES // 4)
    @given(random_values(chart))
    def judge(values: Values) -> None:
        three, four = (outcome(chart, values, helm=helm) for helm in HELMS)

        assert isinstance(three, RefusedError) == isinstance(four, RefusedError), (three, four)
        if not isinstance(three, RefusedError) and not isinstance(four, RefusedError):
            different = rules.generated(three, four)
            assert {name for name in different if not name.startswith("Secret/")} == set()

    judge()


def outcome(chart: Chart, values: Values, **how: str) -> list[Manifest] | RefusedError:
    """Return what Helm renders, or its refusal."""
    try:
        return render(chart, values, **how)  # type: ignore[arg-type]
    except RefusedError as error:
        return error


def test_every_kind_of_value_is_drawn(chart: Chart) -> None:
    """The strategy reaches every property of the schema but those it leaves alone on purpose."""
    schema = chart.schema

    @random_settings(max_examples=20)
    @given(random_values(chart))
    def judge(values: Values) -> None:
        assert values.keys() <= schema["properties"].keys()

    judge()

    assert len(list(properties(schema, schema))) > 10


@pytest.mark.parametrize(
    ("over", "wanted"),
    [
        ({"a": {"b": 2}}, {"a": {"b": 2, "c": 1}}),
        ({"a": None}, {}),
        ({"a": [1]}, {"a": [1]}),
    ],
)
def test_values_are_merged_as_helm_does(over: Values, wanted: Values) -> None:
    assert merged({"a": {"b": 1, "c": 1}}, over) == wanted
