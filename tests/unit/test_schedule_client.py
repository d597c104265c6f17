"""Schedules through both clients and the command line, against answers made up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from warren import AsyncClient, Client, RequestFailed
from warren.cli import main
from warren.client import JobView, ScheduleView, TickView

ID = "018f4e8a-0000-7000-8000-000000000001"
JOB = {"id": ID, "state": "queued", "task": "add", "queue": "default", "url": f"/v1/jobs/{ID}"}
AT = "2030-01-31T02:30:00.000Z"
MOMENT = datetime(2030, 1, 31, 2, 30, tzinfo=UTC)
NIGHTLY: dict[str, Any] = {
    "name": "nightly", "source": "api", "file": None, "cron": "30 2 * * *", "interval": None,
    "timezone": "Europe/Berlin", "start": None, "jitter": 60, "catch_up": "one", "task": "add",
    "arguments": {"a": 1}, "queue": None, "priority": 0, "timeout": None, "max_attempts": 3, "expires_in": None,
    "paused": False, "created_at": AT, "updated_at": AT, "next_at": AT, "new_field": 1,
}  # fmt: skip
SHOWN = {
    **NIGHTLY,
    "next_ticks": [AT],
    "last_ticks": [{"at": AT, "state": "refused", "job": ID, "url": "", "fired_at": None, "error": "no such task"}],
}


class Server:
    """Answers by method and path, and remembers what it was asked."""

    def __init__(self, routes: dict[str, tuple[int, Any]]) -> None:
        self.routes = routes
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, document = self.routes.get(f"{request.method} {request.url.path}", (404, {"type": "/problems/x"}))
        return httpx.Response(status, json=document) if status != 204 else httpx.Response(204)

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]


ROUTES: dict[str, tuple[int, Any]] = {
    "GET /v1/schedules": (200, {"schedules": [NIGHTLY, {"name": "tick", "interval": 5, "paused": True}]}),
    "GET /v1/schedules/nightly": (200, SHOWN),
    "PUT /v1/schedules/nightly": (201, {**NIGHTLY, "change": "created", "next_ticks": [AT]}),
    "PUT /v1/schedules/tick": (200, {"name": "tick", "interval": 5, "change": "unchanged"}),
    "DELETE /v1/schedules/nightly": (204, None),
    "POST /v1/schedules/nightly/pause": (200, {**NIGHTLY, "paused": True}),
    "POST /v1/schedules/nightly/resume": (200, NIGHTLY),
    "POST /v1/schedules/nightly/run": (202, JOB),
}


def warren(server: Callable[[httpx.Request], httpx.Response], *words: str) -> Result:
    return CliRunner().invoke(main, ["schedules", *words], obj=httpx.MockTransport(server))


def test_both_clients_tell_the_same_of_schedules() -> None:
    def plainly() -> list[object]:
        with Client("http://server", transport=httpx.MockTransport(Server(ROUTES))) as client:
            return [
                client.schedules(),
                client.schedule("nightly"),
                client.put_schedule("nightly", {"cron": "30 2 * * *", "task": "add"}, dry_run=True),
                client.delete_schedule("nightly"),
                client.pause_schedule("nightly"),
                client.resume_schedule("nightly"),
                client.run_schedule("nightly"),
            ]

    async def asynchronously() -> list[object]:
        async with AsyncClient("http://server", transport=httpx.MockTransport(Server(ROUTES))) as client:
            return [
                await client.schedules(),
                await client.schedule("nightly"),
                await client.put_schedule("nightly", {"cron": "30 2 * * *", "task": "add"}, dry_run=True),
                await client.delete_schedule("nightly"),
                await client.pause_schedule("nightly"),
                await client.resume_schedule("nightly"),
                await client.run_schedule("nightly"),
            ]

    told = plainly()

    assert told == asyncio.run(asynchronously())
    listed, shown, made, _, paused, resumed, job = told
    assert isinstance(listed, list)
    assert [item.name for item in listed] == ["nightly", "tick"]
    assert isinstance(shown, ScheduleView)
    assert (shown.next_at, shown.next_ticks, shown.arguments, shown.max_attempts) == (MOMENT, (MOMENT,), {"a": 1}, 3)
    assert shown.last_ticks == (TickView(at=MOMENT, state="refused", job=ID, error="no such task"),)
    assert isinstance(made, ScheduleView)
    assert made.change == "created"
    assert isinstance(paused, ScheduleView)
    assert isinstance(resumed, ScheduleView)
    assert (paused.paused, resumed.paused) == (True, False)
    assert isinstance(job, JobView)
    assert job.id == ID


def test_a_put_sends_the_definition_and_whether_it_is_meant() -> None:
    server = Server(ROUTES)
    with Client("http://server", transport=httpx.MockTransport(server)) as client:
        client.put_schedule("nightly", {"cron": "30 2 * * *", "task": "add", "arguments": {"a": 1}})
        client.put_schedule("nightly", {"interval": 5, "task": "add"}, dry_run=True)

    assert json.loads(server.requests[0].content) == {"cron": "30 2 * * *", "task": "add", "arguments": {"a": 1}}
    assert [dict(request.url.params) for request in server.requests] == [{}, {"dry_run": "true"}]


def test_list_and_show_are_for_people_and_for_programs() -> None:
    table, listed = warren(Server(ROUTES), "list"), warren(Server(ROUTES), "list", "--json")
    shown = warren(Server(ROUTES), "show", "nightly")
    document = warren(Server(ROUTES), "show", "nightly", "--json")

    assert "30 2 * * * Europe/Berlin" in table.stdout
    assert "every 5 s" in table.stdout
    assert "paused" in table.stdout
    assert len(json.loads(listed.stdout)) == 2
    assert "up to 60 s" in shown.stdout
    assert "no such task" in shown.stdout
    assert json.loads(document.stdout)["last_ticks"][0]["error"] == "no such task"


def test_set_sends_what_was_said_and_nothing_else() -> None:
    server = Server(ROUTES)

    result = warren(
        server, "set", "nightly", "add", "a:=1", "b=x", "--interval", "5m", "--jitter", "10", "--catch-up", "all",
        "--start", "2030-01-31T03:30:00+01:00", "--priority", "3", "--expires-in", "1h", "--paused",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "schedule nightly created" in result.stderr
    assert json.loads(server.requests[0].content) == {
        "task": "add", "arguments": {"a": 1, "b": "x"}, "interval": 300, "jitter": 10, "catch_up": "all",
        "start": "2030-01-31T02:30:00Z", "priority": 3, "expires_in": 3600.0, "paused": True,
    }  # fmt: skip


def test_a_dry_run_shows_the_ticks_to_come() -> None:
    server = Server(ROUTES)

    result = warren(server, "set", "nightly", "add", "--cron", "30 2 * * *", "--dry-run")

    assert server.requests[0].url.params["dry_run"] == "true"
    assert "2030-01-31T02:30:00Z" in result.stdout
    assert "would be created" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "nightly", "add"], "give one"),
        (["set", "nightly", "add", "--cron", "* * * * *", "--interval", "5"], "give one"),
        (["set", "nightly", "add", "--interval", "1.5"], "must be whole seconds"),
        (["set", "nightly", "add", "word", "--interval", "5"], "neither key=text"),
        (["apply"], "Missing option"),
        (["apply", "-f", "/nonexistent.toml"], "does not exist"),
    ],
)
def test_wrong_usage_is_exit_2_and_sends_nothing(words: list[str], said: str) -> None:
    server = Server(ROUTES)

    result = warren(server, *words)

    assert (result.exit_code, server.requests) == (2, [])
    assert said in result.stderr


def test_pause_resume_run_and_delete_are_one_request_each() -> None:
    for order, method in (("pause", "POST"), ("resume", "POST"), ("run", "POST"), ("delete", "DELETE")):
        server = Server(ROUTES)

        result = warren(server, order, "nightly", "--json")

        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)
        assert [asked.split()[0] for asked in server.asked] == [method]
    assert "nightly deleted" in warren(Server(ROUTES), "delete", "nightly").stderr


def test_a_schedule_that_is_not_there_is_exit_4() -> None:
    assert warren(Server(ROUTES), "show", "other").exit_code == 4


FILE = """
[schedules.nightly]
cron = "30 2 * * *"
start = 2030-01-01T00:00:00+01:00
task = "add"

[schedules.tick]
interval = 5
task = "add"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "schedules.toml"
    path.write_text(FILE)
    return path


def test_apply_checks_all_then_puts_what_differs_and_prunes(file: Path) -> None:
    old = {"name": "old", "interval": 1, "source": "api"}
    theirs = {"name": "theirs", "interval": 1, "source": "file"}
    listed = {"schedules": [NIGHTLY, old, theirs]}
    server = Server({**ROUTES, "GET /v1/schedules": (200, listed), "DELETE /v1/schedules/old": (204, None)})

    result = warren(server, "apply", "-f", str(file), "--prune", "--json")

    assert result.exit_code == 0, result.output
    assert server.asked == [
        "PUT /v1/schedules/nightly", "PUT /v1/schedules/tick", "GET /v1/schedules", "PUT /v1/schedules/nightly",
        "DELETE /v1/schedules/old",
    ]  # fmt: skip
    assert ["dry_run" in request.url.params for request in server.requests] == [True, True, False, False, False]
    assert json.loads(server.requests[0].content)["start"] == "2029-12-31T23:00:00Z"
    assert {item["name"]: item["change"] for item in json.loads(result.stdout)} == {
        "nightly": "created", "tick": "unchanged", "old": "deleted",
    }  # fmt: skip


def test_apply_as_a_dry_run_changes_nothing(file: Path) -> None:
    server = Server(ROUTES)

    result = warren(server, "apply", "-f", str(file), "--prune", "--dry-run")

    assert result.exit_code == 0, result.output
    assert "DELETE" not in " ".join(server.asked)
    assert all("dry_run" in request.url.params for request in server.requests if request.method == "PUT")
    assert "would be" in result.stdout


def test_apply_changes_nothing_when_one_is_refused_and_names_each(file: Path) -> None:
    problem = {
        "type": "/problems/invalid-request", "status": 422, "detail": "d",
        "problems": [{"field": "cron", "rule": "value_error", "message": "never fires"}],
    }  # fmt: skip
    taken = {"type": "/problems/schedule-from-file", "status": 409, "detail": "declared in /etc/x.toml"}
    server = Server({"PUT /v1/schedules/nightly": (422, problem), "PUT /v1/schedules/tick": (409, taken)})

    result = warren(server, "apply", "-f", str(file))

    assert result.exit_code == 5
    assert f"{file}: schedule nightly: cron: never fires" in result.stderr
    assert "/etc/x.toml" in result.stderr
    assert len(server.requests) == 2


def test_apply_ends_when_the_server_does_not_answer_as_it_should(file: Path) -> None:
    down = {"type": "/problems/store-unavailable", "status": 503, "detail": "away"}

    result = warren(Server({"PUT /v1/schedules/nightly": (503, down)}), "apply", "-f", str(file))

    assert result.exit_code == 5
    assert "store-unavailable" in result.stderr


def test_apply_says_when_a_schedule_is_refused_after_it_was_checked(file: Path) -> None:
    class Fickle(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.method == "PUT" and "dry_run" not in request.url.params:
                self.routes = {}
            return super().__call__(request)

    result = warren(Fickle(dict(ROUTES)), "apply", "-f", str(file))

    assert result.exit_code == 4
    assert "schedule nightly" in result.stderr


def test_a_refusal_is_an_error_with_its_kind() -> None:
    taken = {"type": "/problems/schedule-from-file", "status": 409, "detail": "declared in x"}
    server = Server({"DELETE /v1/schedules/nightly": (409, taken)})

    with (
        Client("http://server", transport=httpx.MockTransport(server)) as client,
        pytest.raises(RequestFailed, match="schedule-from-file"),
    ):
        client.delete_schedule("nightly")
