"""Write the tables of values into the charts' READMEs, from values.yaml and values.schema.json.

Run by `make docs`; `tests/manifests` fails when a table is not what this would write. A README says where the table
goes: between the lines `<!-- values -->` and `<!-- /values -->`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parent.parent / "helm"
START, END = "<!-- values -->", "<!-- /values -->"
LONGEST = 60
"""Characters of a default that a table shows; longer ones are in values.yaml."""


def main() -> None:
    """Write all tables."""
    for file in sorted(CHARTS.glob("*/README.md")):
        file.write_text(with_table(file.read_text(encoding="utf-8"), file.parent), encoding="utf-8")
        print(file.relative_to(CHARTS.parent), file=sys.stderr)


def with_table(readme: str, chart: Path) -> str:
    """Return a README with the table of a chart's values in its place."""
    if readme.count(START) != 1 or readme.count(END) != 1:
        raise ValueError(f"{chart}/README.md has no place for the values: give it the lines {START} and {END}")
    before, _, rest = readme.partition(START)
    after = rest.partition(END)[2]
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8")) or {}
    rows = "\n".join(
        f"| `{path}` | {_default(default)} | {_meaning(found)} |"
        for path, found, default in _values(schema, schema, values)
    )
    return f"{before}{START}\n\n| value | default | meaning |\n|---|---|---|\n{rows}\n\n{END}{after}"


def _values(
    schema: dict[str, Any], root: dict[str, Any], values: Any, path: str = ""
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Walk to every value; a map's entries are described once, as `<name>`, unless they repeat another value's."""
    schema = _resolve(schema, root)
    for name, child in (schema.get("properties") or {}).items():
        found = _resolve(child, root)
        here = f"{path}.{name}".removeprefix(".")
        default = values.get(name) if isinstance(values, dict) else None
        if "properties" in found:
            yield from _values(found, root, default, here)
            continue
        yield here, found, default
        entry = found.get("additionalProperties")
        if isinstance(entry, dict) and "properties" in _resolve(entry, root):
            yield from _values(entry, root, None, f"{here}.<name>")


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema or "allOf" in schema:
        # One definition with words of its own beside it: `allOf` of a reference, as draft 7 wants it.
        reference = schema["$ref"] if "$ref" in schema else schema["allOf"][0]["$ref"]
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        schema = found | {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
    return schema


def _meaning(found: dict[str, Any]) -> str:
    text = " ".join(found.get("description", "").split())
    if "enum" in found:
        text += f" One of {', '.join(f'`{json.dumps(choice)}`' for choice in found['enum'])}."
    return text.replace("|", r"\|")


def _default(value: object) -> str:
    if value is None:
        return "–"
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST else "see values.yaml"


if __name__ == "__main__":
    main()
