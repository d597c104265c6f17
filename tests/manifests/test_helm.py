"""Helm itself: lint, Helm 3 and Helm 4 alike, and every refusal at render time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from manifests.charts import CHARTS, HELMS, RELEASE, Chart, RefusedError, is_plain_refusal, render, run_helm
from manifests.documents import identity
from manifests.rules import generated
from manifests.test_golden import text_of

REFUSALS = [(chart, refusal) for chart in CHARTS for refusal in chart.refusals()]
NEEDS_A_CLUSTER = (
    "RabbitMQ cannot shrink",
    "lacks the label without which",
    "whose username is guest",
    "was made otherwise",
)
"""Parts of refusals that look at objects of the cluster, which `helm template` has not."""


@pytest.mark.parametrize("helm", HELMS)
def test_lint_finds_nothing(chart: Chart, case: str, helm: str) -> None:
    done = run_helm(helm, ["lint", "--strict", str(chart.folder), "--values", "-"], json.dumps(chart.cases()[case]))

    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_3_and_helm_4_render_the_same(chart: Chart, case: str) -> None:
    values = chart.cases()[case]
    three, four = (render(chart, values, helm=helm) for helm in HELMS)

    random = generated(three, four)

    # Only what is random in Helm 3 already may differ.
    assert {name for name in random if not name.startswith("Secret/")} == set()
    assert text_of(three, random) == text_of(four, random)


def test_two_releases_share_no_object() -> None:
    """Broker and topology have names of their own, whatever the release is called."""
    [warren] = [chart for chart in CHARTS if chart.name == "warren"]
    first = {identity(manifest) for manifest in render(warren, {}, release="one")}
    second = {identity(manifest) for manifest in render(warren, {}, release="two")}

    assert first & second == set()


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    "entry", REFUSALS, ids=[f"{chart.name}-{refusal['name']}".replace(" ", "-") for chart, refusal in REFUSALS]
)
def test_wrong_values_are_refused_with_their_path_and_the_rule(entry: tuple[Chart, dict[str, Any]], helm: str) -> None:
    chart, refusal = entry

    message = refused(chart, refusal, helm)

    assert refusal["message"] in message
    assert is_plain_refusal(message), message


def refused(chart: Chart, refusal: dict[str, Any], helm: str = "helm3") -> str:
    """Return Helm's message to an entry: its values, and the release's name and the cluster's kinds if it says so."""
    found = refusal.get("capabilities")
    capabilities = None if found is None else tuple(found)
    with pytest.raises(RefusedError) as caught:
        render(chart, refusal["values"], helm=helm, capabilities=capabilities, release=refusal.get("release", RELEASE))
    return str(caught.value)


def test_every_refusal_of_a_template_is_tried(chart: Chart) -> None:
    """Each `fail` of the templates is met by an entry of ci/refusals.yaml."""
    messages = [refused(chart, refusal) for refusal in chart.refusals()]
    formats = [text for file in sorted(chart.folder.glob("templates/**/*")) if file.is_file() for text in fails(file)]

    untried = [
        text
        for text in formats
        if not any(part in text for part in NEEDS_A_CLUSTER)
        and not any(re.search(as_pattern(text), message) for message in messages)
    ]

    assert untried == []


def fails(file: Path) -> list[str]:
    """Return the texts, or formats, that a template fails with."""
    text = file.read_text(encoding="utf-8")
    return [json.loads(found.group(1)) for found in re.finditer(r'\bfail \(?(?:printf )?("(?:[^"\\]|\\.)*")', text)]


def as_pattern(text: str) -> str:
    """Turn a format of Go into a pattern."""
    return "(?s)" + ".*".join(re.escape(part) for part in re.split(r"%[a-z]", text.replace("%%", "%")))


def tiny_chart(folder: Path, template: str) -> Chart:
    """Make a chart of one template."""
    chart = folder / "tiny"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n", encoding="utf-8")
    (chart / "values.yaml").write_text("size: 1\n", encoding="utf-8")
    (chart / "templates" / "object.yaml").write_text(template, encoding="utf-8")
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}, "additionalProperties": False}
    (chart / "values.schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return Chart(chart)


OBJECT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: x, namespace: {{ .Release.Namespace }}}
data:
  size: {{ .Values.size | quote }}
  kept: {{ .Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" | quote }}
"""


@pytest.mark.parametrize("helm", HELMS)
def test_a_chart_is_rendered_with_values_namespace_and_kinds_of_the_cluster(tmp_path: Path, helm: str) -> None:
    chart = tiny_chart(tmp_path, OBJECT)

    [with_keda] = render(chart, {"size": 2}, helm=helm, namespace="there")
    [without] = render(chart, {}, helm=helm, capabilities=())

    assert with_keda["metadata"]["namespace"] == "there"
    assert with_keda["data"] == {"size": "2", "kept": "true"}
    assert without["data"] == {"size": "1", "kept": "false"}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("template", "values", "plain"),
    [
        ('{{ fail "size is 3: at most 2" }}', {}, True),
        ('{{ define "x" }}{{ fail "size is 3: at most 2" }}{{ end }}{{ include "x" . }}', {}, True),
        (OBJECT, {"sise": 2}, True),
        (OBJECT, {"size": "2"}, True),
        ("{{ .Values.nothing.there }}", {}, False),
        ("a: {{ index .Values.size 3 }}", {}, False),
        ("a: b: c", {}, False),
    ],
)
def test_a_refusal_is_told_from_a_broken_template(
    tmp_path: Path, helm: str, template: str, values: dict[str, Any], plain: bool
) -> None:
    with pytest.raises(RefusedError) as caught:
        render(tiny_chart(tmp_path, template), values, helm=helm)

    assert is_plain_refusal(str(caught.value)) is plain, str(caught.value)


@pytest.mark.parametrize("helm", HELMS)
def test_a_key_said_twice_is_found(tmp_path: Path, helm: str) -> None:
    twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}\n"

    with pytest.raises(Exception, match=r"duplicate key|already (set|defined)"):
        render(tiny_chart(tmp_path, twice), {}, helm=helm)
