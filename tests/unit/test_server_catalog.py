"""A server that knows its tasks by a catalog checks arguments as one that loads their code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from warren.cli import main
from warren.errors import InvalidArguments, SettingsError, UnknownTask
from warren_server.catalog import from_catalog


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog as `warren tasks export` writes it."""
    monkeypatch.setenv("WARREN_TASKS", "fault_tasks")
    path = tmp_path / "catalog.json"
    ran = CliRunner().invoke(main, ["tasks", "export", "--output", str(path)])
    assert ran.exit_code == 0, ran.output
    return path


def test_an_exported_catalog_is_read_with_queue_and_limits(catalog: Path) -> None:
    known = from_catalog(catalog).get("fault.record")

    assert (known.queue, known.max_attempts, known.timeout_seconds) == ("faults", 8, 300)


def test_a_catalog_tells_the_larger_queue_and_one_of_an_older_release_tells_none(tmp_path: Path) -> None:
    entries = [
        {"name": "old", "queue": "q", "schema": {}},
        {"name": "new", "queue": "q", "schema": {}, "oom_queue": "l"},
    ]
    (tmp_path / "catalog.json").write_text(json.dumps({"tasks": entries}))

    known = from_catalog(tmp_path / "catalog.json")

    assert (known.get("old").oom_queue, known.get("new").oom_queue) == (None, "l")
    assert (known.queues(), known.oom_queues()) == (["q"], ["l"])


def test_arguments_that_fit_the_schema_become_the_body(catalog: Path) -> None:
    body = from_catalog(catalog).get("fault.record").write({"history": "h", "number": 1})

    assert json.loads(body) == {"history": "h", "number": 1}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"history": "h", "number": "1"}, "arguments.number"),
        ({"history": "h"}, "arguments"),
        ({"history": "h", "number": 1, "more": 2}, "arguments"),
    ],
)
def test_arguments_that_do_not_fit_are_named(catalog: Path, arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        from_catalog(catalog).get("fault.record").write(arguments)

    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_task_that_is_not_in_the_catalog_is_unknown(catalog: Path) -> None:
    with pytest.raises(UnknownTask, match=r"no\.such"):
        from_catalog(catalog).get("no.such")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"tasks": [{"name": "x"}]}',
        '{"tasks": [{"name": "X Y", "queue": "q", "schema": {}}]}',
        '{"tasks": [{"name": "x", "queue": "q", "schema": {"type": 5}}]}',
        '{"tasks": [{"name": "x", "queue": "q", "schema": {}, "oom_queue": "a.b"}]}',
    ],
)
def test_a_file_that_is_no_catalog_stops_the_server_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(text)

    with pytest.raises(SettingsError, match=r"WARREN_CATALOG is .*catalog\.json"):
        from_catalog(path)
