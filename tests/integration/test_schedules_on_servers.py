"""Schedules on real servers, broker and stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from postgres import PrivatePostgres
from processes import TESTS, Stack, free_port
from schedule_runs import servers, start_in
from waiting import eventually
from warren import Client
from warren.cli import main
from warren.settings import BrokerSettings

EXAMPLE = TESTS.parent / "examples" / "schedules.toml"

TICKS = 15


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    postgres = PrivatePostgres(free_port())
    try:
        postgres.start()
        yield postgres.url
    finally:
        postgres.remove()


@pytest.mark.timeout(240)
def test_two_servers_fire_each_tick_once_though_one_is_killed_at_the_worst_moments(
    amqp: BrokerSettings, tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with servers(tmp_path, amqp, store) as pair:
        start, first_ms = start_in(10)
        pair.put(start=start)

        pair.wait_for_ticks(first_ms, 2)
        pair.kill(1)
        pair.kill_at("claim", 1, tmp_path / "died-at-claim")
        pair.kill_at("publish", 1, tmp_path / "died-at-publish")
        pair.start(1)
        pair.wait_for_ticks(first_ms, TICKS)
        outcome = pair.outcome(TICKS)

    with capsys.disabled():
        print(f"\n{len(outcome.wanted)} ticks, {pair.kills} servers killed: {len(outcome.submitted)} jobs, "
              f"duplicate runs = {outcome.duplicates}")  # fmt: skip
    assert sorted(outcome.submitted) == sorted(outcome.wanted)
    assert sorted(outcome.runs) == sorted(outcome.wanted)
    assert outcome.duplicates <= pair.kills


@pytest.mark.timeout(240)
def test_the_example_file_is_declared_by_a_server_and_applied_by_the_command_line(
    amqp: BrokerSettings, tmp_path: Path
) -> None:
    stack = Stack(folder=tmp_path, broker=amqp, tasks="warren_examples.tasks", ready_seconds=90)
    renamed = tmp_path / "mine.toml"
    renamed.write_text(EXAMPLE.read_text().replace("[schedules.", "[schedules.my-"))
    try:
        stack.start_server(WARREN_SCHEDULES=str(EXAMPLE))
        stack.start_worker()
        declared = eventually(lambda: warren(stack, "list"))
        applied = warren(stack, "apply", "-f", str(renamed))
        again = warren(stack, "apply", "-f", str(renamed), "--prune")
        pruned = warren(stack, "set", "other", "greet", "cmd=hey", "--interval", "1h") and warren(
            stack, "apply", "-f", str(renamed), "--prune"
        )
        taken = CliRunner().invoke(main, ["schedules", "apply", "-f", str(EXAMPLE), "--url", stack.url])
        with Client(stack.url) as client:
            done = client.wait(client.run_schedule("my-greeting"), timeout_seconds=60)
            left = [(item.name, item.source) for item in client.schedules()]
    finally:
        stack.stop()

    names = ["greeting", "nightly-wordcount", "workdays"]
    assert [(item["name"], item["source"]) for item in declared] == [(name, "file") for name in names]
    assert {item["change"] for item in applied} == {"created"}
    assert {item["change"] for item in again} == {"unchanged"}
    assert [item["name"] for item in pruned if item["change"] == "deleted"] == ["other"]
    assert (taken.exit_code, str(EXAMPLE) in taken.stderr) == (5, True)
    assert done.result == "hey there"
    assert left == [*((name, "file") for name in names[:1]), *((f"my-{name}", "api") for name in names),
                    *((name, "file") for name in names[1:])]  # fmt: skip


def test_a_bad_file_stops_a_server_with_file_schedule_and_rule(amqp: BrokerSettings, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[schedules.nightly]\ncron = "0 25 * * *"\ntask = "greet"\narguments = { cmd = "hey" }\n')
    stack = Stack(folder=tmp_path, broker=amqp, tasks="warren_examples.tasks", ready_seconds=90)

    with pytest.raises(AssertionError, match="ended with 2") as caught:
        stack.start_server(WARREN_SCHEDULES=str(bad))

    assert f"{bad}': schedule 'nightly': cron: '0 25 * * *' is no cron expression (bad hour)" in str(caught.value)


def warren(stack: Stack, *words: str) -> Any:
    ended = CliRunner().invoke(main, ["schedules", *words, "--json", "--url", stack.url])
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)
