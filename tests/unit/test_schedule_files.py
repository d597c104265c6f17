"""Files that declare schedules: reading them, and what a server does with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server_kit import Kit, registry, running
from waiting import eventually
from warren.errors import SettingsError
from warren.schedules import read_schedules
from warren_server.errors import StoreDown
from warren_server.parts import Parts, read_config
from warren_server.schedules.declared import DeclaredSchedules, apply_declared, read_declared
from warren_server.tasks import from_registry

TASKS = from_registry(registry())
HEY = 'task = "greet"\narguments = { cmd = "hey" }\n'
TWO = f"[schedules.a]\ninterval = 3600\n{HEY}\n[schedules.b]\ncron = '0 3 * * *'\ntimezone = 'Europe/Berlin'\n{HEY}"


def declared(tmp_path: Path, text: str) -> DeclaredSchedules:
    path = tmp_path / "schedules.toml"
    path.write_text(text)
    return read_declared(path, TASKS)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[schedules.a", "cannot be read as TOML"),
        ("[schedule.a]\ninterval = 1", "schedule: must hold tables [schedules.<name>]"),
        ("schedules = 1", "schedules: must hold tables"),
        ("[schedules]\na = 1", "schedule 'a': must be a table"),
        ("[schedules.a]\nstart = 2030-01-01T00:00:00", "schedule 'a': 2030-01-01T00:00:00 has no time zone"),
        ("[schedules.a]\narguments = { x = [2030-01-01] }", "schedule 'a': 2030-01-01 has no time zone"),
        ("[schedules.a]\narguments = { x = nan }", "schedule 'a': nan is no number"),
        (f"[schedules.A]\ninterval = 1\n{HEY}", "schedule 'A': is no name of a schedule"),
        (f"[schedules.a]\n{HEY}", "schedule 'a': cron and interval"),
        (f"[schedules.a]\ninterval = 0\n{HEY}", "schedule 'a': interval: Input should be greater"),
        (f"[schedules.a]\ncron = '61 * * * *'\n{HEY}", "schedule 'a': cron: '61 * * * *' is no cron expression"),
        (f"[schedules.a]\ncron = '* * * * *'\ntimezone = 'Mars'\n{HEY}", "schedule 'a': timezone: 'Mars' is no IANA"),
        ("[schedules.a]\ninterval = 1\ntask = 'nope'", "schedule 'a': task: task 'nope' is not known"),
        ("[schedules.a]\ninterval = 1\ntask = 'greet'", "schedule 'a': arguments.cmd"),
        (f"[schedules.a]\ninterval = 1\nowner = 'me'\n{HEY}", "schedule 'a': owner: Extra inputs"),
        (f"[schedules.a]\ninterval = 1\ntimeout = 9999\n{HEY}", "schedule 'a': timeout: must be at most"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_a_bad_file_is_told_by_file_schedule_and_rule(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        declared(tmp_path, text)

    assert f"{tmp_path}/schedules.toml" in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_SCHEDULES", str(tmp_path / "none.toml"))

    with pytest.raises(SettingsError, match=r"WARREN_SCHEDULES is .*none\.toml"):
        read_config()


def test_times_with_a_zone_become_what_the_api_takes(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[schedules.a]\nstart = 2030-01-01T01:00:00+01:00\nlist = [1.5, 'x', { y = true }]")

    assert read_schedules(path) == {"a": {"start": "2030-01-01T00:00:00Z", "list": [1.5, "x", {"y": True}]}}


def test_a_servers_file_is_applied_at_its_start_and_shown_with_its_source(tmp_path: Path) -> None:
    with running(tmp_path) as kit:
        parts = Parts(
            config=replace(kit.parts.config, declared=declared(tmp_path, TWO)),
            transport=kit.transport,
            prepare=kit.parts.prepare,
            provide_tokens=kit.parts.provide_tokens,
        )
        parts.ticker.start()
        eventually(lambda: len(parts.schedules.all()) == 2)
        parts.ticker.stop()
        listed = kit.client.get("/v1/schedules").json["schedules"]

    assert [(item["name"], item["source"]) for item in listed] == [("a", "file"), ("b", "file")]
    assert listed[0]["file"] == f"{tmp_path}/schedules.toml"


def test_a_schedule_that_vanished_from_the_file_goes_and_those_of_the_api_stay(kit: Kit, tmp_path: Path) -> None:
    kit.client.put("/v1/schedules/mine", json={"interval": 3600, "task": "greet", "arguments": {"cmd": "a"}})
    store = kit.parts.schedules

    apply_declared(declared(tmp_path, TWO), store, 1000)
    both = [item.name for item in store.all()]
    apply_declared(declared(tmp_path, f"[schedules.b]\ninterval = 60\n{HEY}"), store, 2000)

    assert both == ["a", "b", "mine"]
    assert [(item.name, item.source, item.definition.interval_seconds) for item in store.all()] == [
        ("b", "file", 60),
        ("mine", "api", 3600),
    ]


def test_a_file_does_not_take_what_the_api_made(kit: Kit, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kit.client.put("/v1/schedules/a", json={"interval": 7, "task": "greet", "arguments": {"cmd": "a"}})

    apply_declared(declared(tmp_path, TWO), kit.parts.schedules, 1000)

    assert kit.client.get("/v1/schedules/a").json["interval"] == 7
    assert "schedule a of" in caplog.text
    assert "made by the API and stays as it is" in caplog.text


def test_a_start_with_the_same_file_changes_nothing_and_keeps_a_pause(kit: Kit, tmp_path: Path) -> None:
    store, file = kit.parts.schedules, declared(tmp_path, TWO)
    apply_declared(file, store, 1000)
    kit.client.post("/v1/schedules/a/pause")
    before = store.all()

    apply_declared(file, store, 9_000_000)

    assert store.all() == before
    assert store.all()[0].paused


def test_a_schedule_of_a_file_can_be_paused_and_run_but_not_changed(kit: Kit, tmp_path: Path) -> None:
    apply_declared(declared(tmp_path, TWO), kit.parts.schedules, 1000)
    document = {"interval": 7, "task": "greet", "arguments": {"cmd": "a"}}

    refused = [
        kit.client.put("/v1/schedules/a", json=document),
        kit.client.put("/v1/schedules/a?dry_run=true", json=document),
        kit.client.delete("/v1/schedules/a"),
    ]

    for answer in refused:
        assert (answer.status_code, answer.json["type"]) == (409, "/problems/schedule-from-file")
        assert f"{tmp_path}/schedules.toml" in answer.json["detail"]
    assert kit.client.post("/v1/schedules/a/pause").json["paused"]
    assert not kit.client.post("/v1/schedules/a/resume").json["paused"]
    assert kit.client.post("/v1/schedules/a/run").status_code == 202


def test_a_store_that_is_away_at_start_gets_the_file_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_args: object) -> None:
        raise StoreDown

    with running(tmp_path) as kit:
        config = replace(kit.parts.config, declared=declared(tmp_path, TWO))
        parts = Parts(
            config=config,
            transport=kit.transport,
            prepare=kit.parts.prepare,
            provide_tokens=kit.parts.provide_tokens,
        )
        with monkeypatch.context() as patch:
            patch.setattr(parts.schedules, "edit", down)
            with pytest.raises(StoreDown):
                parts.ticker.step()

        parts.ticker.step()

        assert len(parts.schedules.all()) == 2
        parts.database.close()
