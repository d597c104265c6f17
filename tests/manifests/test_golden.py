"""Golden renders: what each values file comes to, so that a change shows what it changes.

`make golden` writes them anew.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.charts import CHARTS, Chart, render
from manifests.documents import Manifest, identity
from manifests.rules import generated

GOLDEN = Path(__file__).parent / "golden"
# Read before the environment is cleared for each test.
WRITE = os.environ.get("WARREN_GOLDEN") == "write"
GENERATED = "<generated>"


def text_of(manifests: list[Manifest], random: dict[str, set[tuple[str, ...]]]) -> str:
    """Return a render as stable text: sorted, and without what is new each time."""
    plain = [_masked(one, random.get(str(identity(one)), set())) for one in sorted(manifests, key=identity)]
    return yaml.safe_dump_all(plain, sort_keys=True, width=120, allow_unicode=True)


def _masked(value: Any, hidden: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Any:
    if path in hidden:
        return GENERATED
    if isinstance(value, dict):
        return {key: _masked(child, hidden, (*path, str(key))) for key, child in value.items()}
    if isinstance(value, list):
        return [_masked(child, hidden, (*path, str(number))) for number, child in enumerate(value)]
    return value


def test_a_values_file_renders_what_it_did(chart: Chart, case: str) -> None:
    values = chart.cases()[case]
    manifests = render(chart, values)
    # Helm 4 renders the same, so its render tells what is random.
    rendered = text_of(manifests, generated(manifests, render(chart, values, helm="helm4")))
    file = GOLDEN / chart.name / f"{case}.yaml"
    if WRITE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered, encoding="utf-8")

    before = file.read_text(encoding="utf-8") if file.exists() else ""

    if before != rendered:
        changes = difflib.unified_diff(
            before.splitlines(), rendered.splitlines(), str(file), "rendered now", lineterm=""
        )
        pytest.fail("\n".join(["run `make golden` if this is meant:", *changes]), pytrace=False)


def test_no_golden_render_is_left_of_a_values_file_that_is_gone() -> None:
    wanted = {GOLDEN / chart.name / f"{case}.yaml" for chart in CHARTS for case in chart.cases()}

    assert set(GOLDEN.rglob("*.yaml")) == wanted


def test_what_is_random_is_hidden_and_nothing_else() -> None:
    first = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "1", "b": "2"}}
    second = first | {"data": {"a": "1", "b": "3"}}

    shown = text_of([first], generated([first], [second]))

    assert yaml.safe_load(shown)["data"] == {"a": "1", "b": GENERATED}


@pytest.mark.skipif(WRITE, reason="golden renders are being written")
def test_a_drift_fails_with_a_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = CHARTS[0]
    case = next(iter(chart.cases()))
    (tmp_path / chart.name).mkdir()
    (tmp_path / chart.name / f"{case}.yaml").write_text("kind: Other\n", encoding="utf-8")
    monkeypatch.setattr("manifests.test_golden.GOLDEN", tmp_path)

    with pytest.raises(pytest.fail.Exception, match=r"(?s)make golden.*-kind: Other"):
        test_a_values_file_renders_what_it_did(chart, case)
