"""Schedules over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from warren.envelope import decode
from warren.errors import TransportError

NIGHTLY = {
    "cron": "30 2 * * *", "timezone": "Europe/Berlin", "task": "greet", "arguments": {"cmd": "hey"}, "jitter": 60,
    "catch_up": "all", "start": "2030-01-01T00:00:00+01:00", "priority": 3, "max_attempts": 2, "timeout": 5,
    "expires_in": 3600, "queue": "spare",
}  # fmt: skip
HOURLY = {"interval": 3600, "task": "greet", "arguments": {"cmd": "hey"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def put(kit: Kit, name: str = "nightly", query: str = "", **document: Any) -> Any:
    return kit.client.put(f"/v1/schedules/{name}{query}", json=document)


def test_a_schedule_is_made_shown_changed_and_removed(kit: Kit) -> None:
    made = put(kit, **NIGHTLY)
    again = put(kit, **NIGHTLY)
    changed = put(kit, **{**NIGHTLY, "catch_up": "skip"})
    shown = kit.client.get("/v1/schedules/nightly")
    listed = kit.client.get("/v1/schedules")
    removed = kit.client.delete("/v1/schedules/nightly")

    assert [made.status_code, again.status_code, changed.status_code] == [201, 200, 200]
    assert [answer.json["change"] for answer in (made, again, changed)] == ["created", "unchanged", "changed"]
    expected = {**NIGHTLY, "start": "2029-12-31T23:00:00.000Z", "catch_up": "skip", "interval": None}
    assert {key: shown.json[key] for key in expected} == expected
    assert (shown.json["source"], shown.json["file"], shown.json["paused"]) == ("api", None, False)
    assert shown.json["next_ticks"][:2] == ["2030-01-01T01:30:00.000Z", "2030-01-02T01:30:00.000Z"]
    assert len(shown.json["next_ticks"]) == 5
    assert (shown.json["next_at"], shown.json["last_ticks"]) == (shown.json["next_ticks"][0], [])
    assert [item["name"] for item in listed.json["schedules"]] == ["nightly"]
    assert removed.status_code == 204
    assert kit.client.get("/v1/schedules/nightly").json["type"] == "/problems/unknown-schedule"


def test_what_a_get_shows_can_be_put(kit: Kit) -> None:
    put(kit, **NIGHTLY)
    shown = kit.client.get("/v1/schedules/nightly").json

    answer = put(kit, **{key: shown[key] for key in (*NIGHTLY, "paused")})

    assert (answer.status_code, answer.json["change"]) == (200, "unchanged")


def test_a_dry_run_tells_and_changes_nothing(kit: Kit) -> None:
    made = put(kit, query="?dry_run=true", **NIGHTLY)
    put(kit, **NIGHTLY)
    changed = put(kit, query="?dry_run=true", **{**NIGHTLY, "jitter": 0})

    assert (made.status_code, made.json["change"]) == (200, "created")
    assert changed.json["change"] == "changed"
    assert kit.client.get("/v1/schedules/nightly").json["jitter"] == 60


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"cron": None}, "", "give one"), ({"interval": 5}, "", "give one"),
        ({"cron": "61 * * * *"}, "cron", "bad minute"), ({"cron": "0 0 31 2 *"}, "cron", "bad day-of-month"),
        ({"cron": "@daily"}, "cron", "is no cron expression"), ({"cron": 5}, "cron", "valid string"),
        ({"cron": "* " * 150}, "cron", "at most 200"), ({"cron": "* * * * *\x00"}, "cron", "is no cron expression"),
        ({"timezone": "Mars/Olympus"}, "timezone", "is no IANA time zone"),
        ({"timezone": "../../etc/passwd"}, "timezone", "is no IANA time zone"),
        ({"start": "2030-01-01T00:00:00"}, "start", "RFC 3339"), ({"start": "1950-01-01T00:00:00Z"}, "start", "1970"),
        ({"start": "9999-12-31T23:59:59Z"}, "start", "2200"), ({"jitter": -1}, "jitter", "greater than or equal"),
        ({"jitter": 86401}, "jitter", "less than or equal"), ({"jitter": 1.5}, "jitter", "valid integer"),
        ({"catch_up": "some"}, "catch_up", "'skip', 'one' or 'all'"), ({"task": "nope"}, "task", "is not known"),
        ({"arguments": {"cmd": 1}}, "arguments.cmd", "valid string"),
        ({"arguments": {}}, "arguments.cmd", "required"), ({"arguments": {"cmd": "a", "x": 1}}, "arguments.x", "not"),
        ({"arguments": {"cmd": "x" * 70_000}}, "arguments", "the limit for schedules is 65536"),
        ({"queue": "nowhere"}, "queue", "does not exist"), ({"queue": "a.b"}, "queue", "no name of a queue"),
        ({"timeout": 301}, "timeout", "at most the task's own limit"), ({"priority": 10}, "priority", "less than"),
        ({"max_attempts": 0}, "max_attempts", "greater than"), ({"expires_in": 0}, "expires_in", "greater than"),
        ({"paused": 1}, "paused", "valid boolean"), ({"delay": 5}, "delay", "not permitted"),
        ({"owner": "me"}, "owner", "not permitted"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_broken_rule_is_named_and_nothing_is_kept(kit: Kit, change: dict[str, Any], field: str, said: str) -> None:
    answer = put(kit, **{**NIGHTLY, **change})

    assert answer.status_code == 422, answer.json
    assert answer.json["problems"][0]["field"] == field
    assert said in answer.json["problems"][0]["message"]
    assert kit.client.get("/v1/schedules").json["schedules"] == []


@pytest.mark.parametrize("interval", [0, -5, 1.5, "60", 366 * 86400 + 1, True, 2**40])
def test_an_interval_is_whole_seconds_from_one_to_a_year(kit: Kit, interval: object) -> None:
    answer = put(kit, **{**HOURLY, "interval": interval})

    assert (answer.status_code, answer.json["problems"][0]["field"]) == (422, "interval")


@pytest.mark.parametrize("name", ["A", "-a", "a b", "a" * 101, "%C3%A4", "a%00", ".a"])
def test_a_name_that_is_none_cannot_be_put_and_is_not_found(kit: Kit, name: str) -> None:
    answer = put(kit, name, **HOURLY)

    assert (answer.status_code, answer.json["problems"][0]["field"]) == (422, "name")
    assert kit.client.get(f"/v1/schedules/{name}").status_code == 404


def test_without_an_answer_of_the_broker_a_queue_cannot_be_checked(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_queue: str) -> None:
        raise TransportError("no answer")

    monkeypatch.setattr(kit.parts.queues, "check", silent)

    assert put(kit, **NIGHTLY).json["type"] == "/problems/broker-unavailable"
    assert put(kit, **HOURLY).status_code == 201


def test_pause_and_resume(kit: Kit) -> None:
    put(kit, **HOURLY)

    paused = kit.client.post("/v1/schedules/nightly/pause")
    still = put(kit, **{**HOURLY, "jitter": 1})
    resumed = kit.client.post("/v1/schedules/nightly/resume")

    assert (paused.json["paused"], paused.json["next_at"]) == (True, None)
    assert still.json["paused"]
    assert (resumed.json["paused"], resumed.json["next_at"]) == (False, still.json["next_ticks"][0])


def test_run_now_is_one_job_outside_the_ticks_also_while_paused(kit: Kit) -> None:
    put(kit, **{**NIGHTLY, "paused": True})

    answer = kit.client.post("/v1/schedules/nightly/run")

    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["url"]
    (job,) = [decode(message) for message in kit.queued("spare")]
    assert (job.id, job.priority, job.max_attempts) == (answer.json["id"], 3, 2)
    assert kit.client.get("/v1/schedules/nightly").json["last_ticks"] == []


@pytest.mark.parametrize(
    ("method", "path"), [("delete", ""), ("post", "/pause"), ("post", "/resume"), ("post", "/run"), ("get", "")]
)
def test_what_is_not_there_is_not_found(kit: Kit, method: str, path: str) -> None:
    answer = getattr(kit.client, method)(f"/v1/schedules/none{path}")

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/unknown-schedule")


def test_a_fired_tick_is_shown_with_its_job(kit: Kit) -> None:
    from waiting import eventually

    put(kit, "tick", **{**HOURLY, "interval": 1})

    last = eventually(lambda: kit.client.get("/v1/schedules/tick").json["last_ticks"])

    tick = eventually(lambda: [t for t in kit.client.get("/v1/schedules/tick").json["last_ticks"] if t["fired_at"]])[-1]
    assert last
    assert (tick["state"], tick["error"]) == ("fired", None)
    late = datetime.fromisoformat(tick["fired_at"]) - datetime.fromisoformat(tick["at"])
    assert timedelta() <= late < timedelta(seconds=5)
    assert kit.client.get(tick["url"]).json["id"] == tick["job"]
    assert b'warren_schedule_ticks_total{outcome="fired"}' in kit.client.get("/metrics").data


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "", "read"), ("get", "/x", "read"), ("put", "/x", "admin"), ("delete", "/x", "admin"),
        ("post", "/x/pause", "admin"), ("post", "/x/resume", "admin"), ("post", "/x/run", "admin"),
    ],
)  # fmt: skip
def test_looking_needs_read_and_changing_needs_admin(tmp_path: Path, method: str, path: str, scope: str) -> None:
    with running(tmp_path, auth="tokens") as kit:
        statuses = {}
        for given in ("submit", "read", "admin"):
            _, secret = kit.parts.tokens.create("test", [given])
            headers = {"Authorization": f"Bearer {secret}"}
            document = {"json": HOURLY} if method == "put" else {}
            answer = getattr(kit.client, method)(f"/v1/schedules{path}", headers=headers, **document)
            statuses[given] = answer.status_code

    assert statuses["submit"] == 403
    assert (statuses["read"] == 403) == (scope == "admin")
    assert statuses["admin"] != 403
