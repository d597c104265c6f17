"""What docs/how-to/scale-with-an-hpa.md tells to write into values files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "scale-with-an-hpa.md"


def values_of(title: str, page: Path = PAGE) -> dict[str, Any]:
    """Return the values of a page's block with a title."""
    [block] = re.findall(
        rf'^```yaml title="{re.escape(title)}"\n(.*?)^```', page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def adapter_rules() -> dict[str, list[dict[str, Any]]]:
    """Return the rules for prometheus-adapter by the API they serve, `external` and `custom`."""
    rules = values_of("values of prometheus-adapter")["rules"]
    return {kind: rules[kind] for kind in ("external", "custom")}


def series(rule: dict[str, Any]) -> str:
    """Return the metric a rule is made of."""
    return str(rule["seriesQuery"]).partition("{")[0]


def served_name(rule: dict[str, Any]) -> str:
    """Return the name a rule's metric has in Kubernetes."""
    return str(rule.get("name", {}).get("as") or series(rule))


def query(rule: dict[str, Any], matchers: str, group_by: str = "pod") -> str:
    """Return what the adapter asks Prometheus, as it fills in the template."""
    filled = str(rule["metricsQuery"])
    for name, value in (("Series", series(rule)), ("LabelMatchers", matchers), ("GroupBy", group_by)):
        filled = filled.replace(f"<<.{name}>>", value)
    return filled
