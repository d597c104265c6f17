"""values.schema.json: closed, typed, described, and at one with values.yaml, the templates and the README."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import chart_values
from manifests.charts import ROOT, Chart
from manifests.documents import leaves, read
from manifests.values import resolve

Schema = dict[str, Any]


def walk(schema: Schema, root: Schema, path: str = "") -> list[tuple[str, Schema]]:
    """Return every value a schema describes, maps' entries as `*` and lists' items as `[]`."""
    schema = resolve(schema, root)
    found = [(path, schema)]
    for name, child in (schema.get("properties") or {}).items():
        found += walk(child, root, f"{path}.{name}".removeprefix("."))
    if isinstance(schema.get("additionalProperties"), dict):
        found += walk(schema["additionalProperties"], root, f"{path}.*")
    if isinstance(schema.get("items"), dict):
        found += walk(schema["items"], root, f"{path}[]")
    return found


def test_every_object_is_closed(chart: Chart) -> None:
    open_ones = [
        path
        for path, schema in walk(chart.schema, chart.schema)
        if "properties" in schema and schema.get("additionalProperties") is not False
    ]

    assert open_ones == []


def test_every_value_is_typed_and_described(chart: Chart) -> None:
    bare = [
        path
        for path, schema in walk(chart.schema, chart.schema)
        if not path.endswith(("*", "[]"))
        and not (schema.get("description", "").strip() and schema.keys() & {"type", "enum", "anyOf", "oneOf"})
    ]

    assert bare == []


def test_every_default_is_in_the_schema_and_every_value_has_a_default(chart: Chart) -> None:
    described = {path for path, _ in named(chart.schema, chart.schema)}
    defaults = set(keys(chart.values, chart.schema, chart.schema))
    # What is in a map that is empty by default is for the user to say, and so is a CPU limit. Helm itself hands
    # `global` to every chart.
    empty = {".".join(path) for path, value in leaves(chart.values) if value == {}}
    optional = {path for path in described if any(path.startswith(f"{above}.") for above in empty)}

    optional |= {path for path in described - defaults if path.endswith("resources.limits.cpu")}

    assert (described - optional) ^ defaults <= {"global"}


def named(schema: Schema, root: Schema, path: str = "") -> list[tuple[str, Schema]]:
    """Return every value that values.yaml can have by name: not what is inside of maps and lists."""
    schema = resolve(schema, root)
    found = []
    for name, child in (schema.get("properties") or {}).items():
        here = f"{path}.{name}".removeprefix(".")
        found += [(here, resolve(child, root)), *named(child, root, here)]
    return found


def keys(values: dict[str, Any], schema: Schema, root: Schema, path: str = "") -> list[str]:
    """Return every key of values.yaml; a map whose entries the schema does not name is one key."""
    schema = resolve(schema, root)
    found = []
    for name, value in values.items():
        here = f"{path}.{name}".removeprefix(".")
        found.append(here)
        child = resolve((schema.get("properties") or {}).get(name, {}), root)
        if isinstance(value, dict) and "properties" in child:
            found += keys(value, child, root, here)
    return found


def test_every_value_is_used_in_a_template(chart: Chart) -> None:
    text = templates(chart)

    unused = [
        path
        for path, schema in named(chart.schema, chart.schema)
        if path != "global" and "properties" not in schema and not used(path, text)
    ]

    assert unused == []


def used(path: str, text: str) -> bool:
    """Whether a template reads a value, or hands a map it is in on as a whole."""
    *above, name = path.split(".")
    if re.search(rf'(\.{name}|"{name}")\b' if name.isidentifier() else re.escape(name), text):
        return True
    whole = r"toYaml [^}}]*[.\"]{0}\b|\.{0} (-)?}}}}\s*(\w+:\s*)?{{{{-? *toYaml \."
    return any(re.search(whole.format(parent), text) for parent in above)


def test_every_value_a_template_reads_is_in_the_schema(chart: Chart) -> None:
    read = {found.strip(".") for found in re.findall(r"\.Values((?:\.[A-Za-z]\w*)+)", templates(chart))}

    assert read
    assert [path for path in sorted(read) if not known(path.split("."), chart.schema, chart.schema)] == []


def known(path: list[str], schema: Schema, root: Schema) -> bool:
    """Whether a schema has a value at a path."""
    schema = resolve(schema, root)
    if not path or "properties" not in schema:
        return True
    return path[0] in schema["properties"] and known(path[1:], schema["properties"][path[0]], root)


def templates(chart: Chart) -> str:
    """Return the text of all templates."""
    files = [file for file in sorted(chart.folder.glob("templates/**/*")) if file.is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_the_readme_lists_the_values_as_they_are(chart: Chart) -> None:
    readme = chart.folder / "README.md"
    text = readme.read_text(encoding="utf-8")

    assert text == chart_values.with_table(text, chart.folder), "run `make docs`"


def test_chart_application_and_images_are_of_the_projects_version(chart: Chart) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    described = read((chart.folder / "Chart.yaml").read_text(encoding="utf-8"))

    assert described["version"] == project
    if chart.name == "warren":
        assert described["appVersion"] == chart.values["image"]["tag"] == project
