"""Write the table of values in a chart's README from its schema and defaults.

Run by `make docs`; `tests/unit/test_chart_values.py` fails when a table is not what this would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HELM = Path(__file__).parent.parent / "helm"
CHARTS = ("warren",)
BEGIN, END = "<!-- values, written by `make docs` from values.schema.json and values.yaml -->\n", "<!-- end of values -->\n"


def readme(chart: Path) -> str:
    """Return the README of a chart with its table as it should be."""
    text = (chart / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(chart)}\n{END}{after}"


def table(chart: Path) -> str:
    """Return the table of all values of a chart."""
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, rule in leaves(schema, schema):
        lines.append(f"| `{path}` | {_shown(_at(values, path))} | {_cell(rule)} |")
    return "\n".join(lines)


def leaves(schema: dict[str, Any], whole: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the values that hold no others, with their rules, in the schema's order."""
    for name, found in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        rule = resolved(found, whole)
        if "properties" in rule:
            yield from leaves(rule, whole, here)
        else:
            yield here, rule


def resolved(rule: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Put the definition in the place of a reference to it."""
    for each in (rule, *rule.get("allOf", ())):
        if "$ref" in each:
            definition: dict[str, Any] = whole["definitions"][each["$ref"].removeprefix("#/definitions/")]
            return {**definition, **{key: value for key, value in rule.items() if key not in ("$ref", "allOf")}}
    return rule


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 80 else "see values.yaml"


def _cell(rule: dict[str, Any]) -> str:
    text = rule["description"]
    if "enum" in rule:
        text += " One of " + ", ".join(f"`{json.dumps(word)}`" for word in rule["enum"]) + "."
    return text.replace("|", "\\|")


def main() -> None:
    """Write all tables."""
    for name in CHARTS:
        (HELM / name / "README.md").write_text(readme(HELM / name), encoding="utf-8")


if __name__ == "__main__":
    main()
