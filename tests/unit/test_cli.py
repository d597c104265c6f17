"""The command line: what it prints, and the exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from warren.cli import findings, main, run
from warren.cli.exits import exit_code
from warren.cli.output import clean
from warren.client import Health, QueueView, TokensView
from warren.errors import (
    InvalidArguments,
    LocalStackError,
    RequestFailed,
    SettingsError,
    Unavailable,
    UnknownTask,
    WarrenError,
)
from warren.task import default_registry

ID = "018f4e8a-0000-7000-8000-000000000001"
JOB: dict[str, Any] = {"id": ID, "state": "queued", "task": "add", "queue": "default", "url": f"/v1/jobs/{ID}"}
DONE = {**JOB, "state": "succeeded", "result": {"sum": 3}, "attempt": 1, "max_attempts": 5, "run_seconds": 0.5}
DEAD = {**JOB, "state": "dead", "error": {"type": "ValueError", "message": "bad\x1b[31m", "traceback": "Traceback: x"}}


class Server:
    """Answers by method and path; a list of answers is given one by one, the last for ever."""

    def __init__(self, **routes: Any) -> None:
        self.routes: dict[str, Any] = {name.replace("__", " "): answer for name, answer in routes.items()}
        self.requests: list[httpx.Request] = []

    def on(self, route: str, *documents: Any, status: int = 200) -> Server:
        self.routes[route] = [httpx.Response(status, json=document) for document in documents]
        return self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answers = self.routes.get(f"{request.method} {request.url.path}")
        if not answers:
            return httpx.Response(404, json={"type": "/problems/not-found", "detail": "nothing here"})
        answer: httpx.Response = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer


def warren(server: Callable[[httpx.Request], httpx.Response] | None, *words: str, stdin: str | None = None) -> Result:
    transport = None if server is None else httpx.MockTransport(server)
    return CliRunner().invoke(main, words, obj=transport, input=stdin)


def test_submit_sends_text_and_json_arguments_and_options() -> None:
    server = Server().on("POST /v1/jobs", JOB, status=202)

    result = warren(server, "submit", "add", "a=1", "b:=2", "c:=[true]", "--delay", "1.5m", "--priority", "3")

    assert result.exit_code == 0
    assert ID in result.stdout
    sent = json.loads(server.requests[0].content)
    assert sent == {"task": "add", "arguments": {"a": "1", "b": 2, "c": [True]}, "delay": 90.0, "priority": 3}


def test_arguments_come_from_standard_input_and_words_beat_them() -> None:
    server = Server().on("POST /v1/jobs", JOB, status=202)

    warren(server, "submit", "add", "--arguments", "-", "b:=5", stdin='{"a":1,"b":2}')

    assert json.loads(server.requests[0].content)["arguments"] == {"a": 1, "b": 5}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["add", "word"], "neither key=text nor key:=json"),
        (["add", "a=1", "a=2"], "given twice"),
        (["add", "a:=nope"], "is not JSON"),
        (["add", "--delay", "soon"], "is no duration"),
        (["add", "--run-at", "soon"], "is no time"),
        (["add", "--delay", "5", "--run-at", "2030-01-01T00:00:00Z"], "give one"),
        (["add", "--priority", "10"], "0<=x<=9"),
        (["add", "--arguments", "-"], "must hold a JSON object"),
    ],
)
def test_wrong_usage_is_exit_2_and_sends_nothing(words: list[str], complaint: str) -> None:
    server = Server()

    result = warren(server, "submit", *words, stdin="[]")

    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""
    assert server.requests == []


@pytest.mark.parametrize(("end", "code"), [(DONE, 0), (DEAD, 1)])
def test_submit_and_wait_ends_as_the_job_does(end: dict[str, Any], code: int) -> None:
    server = Server().on("POST /v1/jobs", JOB, status=202).on(f"GET /v1/jobs/{ID}", JOB, end)

    result = warren(server, "submit", "add", "--wait", "--json")

    assert result.exit_code == code
    assert json.loads(result.stdout)["state"] == end["state"]


def test_status_shows_a_job_without_sending_its_escape_sequences_to_the_terminal() -> None:
    server = Server().on(f"GET /v1/jobs/{ID}", DEAD)

    result = warren(server, "status", ID)

    assert result.exit_code == 0
    assert "ValueError: bad\\x1b[31m" in result.stdout
    assert "\x1b" not in result.stdout


def test_watch_tells_each_change_and_ends_with_the_job() -> None:
    running = {**JOB, "state": "running", "attempt": 1, "progress": 0.5}
    server = Server().on(f"GET /v1/jobs/{ID}", JOB, running, running, DONE)

    result = warren(server, "watch", ID, "--json")

    assert result.exit_code == 0
    assert [json.loads(line)["state"] for line in result.stdout.splitlines()] == ["queued", "running", "succeeded"]


def test_watch_of_a_job_that_dies_is_exit_1_and_says_why() -> None:
    result = warren(Server().on(f"GET /v1/jobs/{ID}", DEAD), "watch", ID)

    assert result.exit_code == 1
    assert "dead  ValueError: bad" in result.stdout


def test_watch_gives_up_when_its_time_is_over() -> None:
    result = warren(Server().on(f"GET /v1/jobs/{ID}", JOB), "watch", ID, "--timeout", "0.3")

    assert result.exit_code == 1
    assert "is not final after 0.3 s" in result.stderr


def test_jobs_follows_pages_up_to_the_limit_and_sends_filters() -> None:
    server = Server().on("GET /v1/jobs", {"jobs": [JOB, JOB], "cursor": "next"}, {"jobs": [DONE, DONE]})

    result = warren(server, "jobs", "--state", "dead", "--task", "add", "--limit", "3", "--json")

    assert [job["state"] for job in json.loads(result.stdout)] == ["queued", "queued", "succeeded"]
    assert server.requests[0].url.params["state"] == "dead"
    assert server.requests[1].url.params["cursor"] == "next"


LISTS = [
    (["jobs"], "GET /v1/jobs", {"jobs": [JOB]}, ID),
    (["queues"], "GET /v1/queues", {"queues": [{"name": "fast", "ready": 7}]}, "fast"),
    (["queues", "fast"], "GET /v1/queues/fast", {"name": "fast", "ready": 7}, "fast"),
    (["tasks", "list"], "GET /v1/tasks", {"tasks": [{"name": "add", "queue": "fast"}]}, "add"),
    (["dead", "list"], "GET /v1/dead-letters", {"dead_letters": [{"id": "d1", "reason": "poison"}]}, "poison"),
    (["token", "list"], "GET /v1/tokens", {"tokens": [{"id": "t1", "scopes": ["read"]}]}, "t1"),
]


@pytest.mark.parametrize(("words", "route", "document", "word"), LISTS)
def test_lists_are_tables_for_people_and_one_json_list_for_programs(
    words: list[str], route: str, document: Any, word: str
) -> None:
    table = warren(Server().on(route, document), *words)
    listed = warren(Server().on(route, document), *words, "--json")

    assert (table.exit_code, listed.exit_code) == (0, 0)
    assert word in table.stdout
    assert len(json.loads(listed.stdout)) == 1


LETTER = {
    "id": "d1",
    "task": "add",
    "reason": "failed 1 of 1 attempts",
    "error": {"type": "ValueError", "message": "bad", "traceback": "Traceback: x"},
    "message": {"headers": {}},
    "body": "eyJhIjoxff8=",
}


def test_dead_show_prints_reason_traceback_and_the_body_whatever_its_bytes() -> None:
    result = warren(Server().on("GET /v1/dead-letters/d1", LETTER), "dead", "show", "d1")

    assert "failed 1 of 1 attempts" in result.stdout
    assert "Traceback: x" in result.stdout
    assert '{"a":1}\\xff' in result.stdout


def test_dead_show_as_json_has_the_body_in_base64() -> None:
    result = warren(Server().on("GET /v1/dead-letters/d1", LETTER), "dead", "show", "d1", "--json")

    assert json.loads(result.stdout)["body"] == LETTER["body"]


def test_up_runs_the_local_stack_and_ends_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from warren.local import stack

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(stack, "up", lambda **options: asked.append(options) or 7)

    result = warren(None, "up", "--tasks", "mine", "--min", "1", "--max", "2")

    assert asked == [{"tasks": "mine", "bind": None, "minimum": 1, "maximum": 2}]
    assert result.exit_code == 7


def test_a_new_token_is_alone_on_standard_output_so_that_it_can_be_captured() -> None:
    server = Server().on("POST /v1/tokens", {"id": "t1", "token": "wrn_x"}, status=201)

    result = warren(server, "token", "create", "--scope", "read", "--scope", "submit", "--expires-in", "1d")

    assert result.stdout == "wrn_x\n"
    assert "only time it is shown" in result.stderr
    assert json.loads(server.requests[0].content) == {"scopes": ["read", "submit"], "expires_in": 86400.0}


def test_a_token_is_revoked() -> None:
    server = Server()
    server.routes["DELETE /v1/tokens/t1"] = [httpx.Response(204)]

    result = warren(server, "token", "revoke", "t1", "--json")

    assert json.loads(result.stdout) == {"id": "t1", "revoked": True}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestFailed(0, "wait-timeout", "x"), 1),
        (LocalStackError(), 1),
        (SettingsError(), 2),
        (RequestFailed(0, "unreachable", "x"), 3),
        (Unavailable(), 3),
        (RequestFailed(404, "unknown-job", "x"), 4),
        (UnknownTask(), 4),
        (RequestFailed(422, "invalid-arguments", "x"), 5),
        (RequestFailed(503, "not-ready", "x"), 5),
        (InvalidArguments("t", []), 5),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error: WarrenError, code: int) -> None:
    assert exit_code(error) == code


def test_a_refusal_is_one_line_with_every_field() -> None:
    fields = [{"field": "arguments.a", "rule": "int_type", "message": "must be\nan integer"}]
    document = {"type": "/problems/invalid-arguments", "detail": "no", "problems": fields}

    result = warren(Server().on("POST /v1/jobs", document, status=422), "submit", "add")

    assert result.exit_code == 5
    assert result.stderr == "Error: 422 invalid-arguments: no (arguments.a: must be an integer)\n"
    assert result.stdout == ""


def test_an_unreachable_server_is_exit_3_and_one_line() -> None:
    result = warren(None, "status", ID, "--url", "http://127.0.0.1:1")

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "http://127.0.0.1:1" in result.stderr


def test_a_wrong_setting_is_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_URL", "nonsense")

    result = warren(None, "status", ID)

    assert result.exit_code == 2
    assert "WARREN_URL is 'nonsense'" in result.stderr


def test_export_writes_what_a_server_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exported_tasks.py").write_text(
        "import warren\n@warren.task(name='exported.add', queue='q')\ndef add(a: int):\n    'Add.'\n"
        "@warren.task(name='exported.big', isolation='process', oom_queue='large')\ndef big(): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    # What is exported is not for later tests: their brokers have no queue `large`.
    monkeypatch.setattr(default_registry, "_tasks", {})
    output = tmp_path / "catalog.json"

    result = warren(None, "tasks", "export", "--tasks", "exported_tasks", "--output", str(output))

    assert result.exit_code == 0, result.output
    entries = {item["name"]: item for item in json.loads(output.read_text())["tasks"]}
    entry = entries["exported.add"]
    assert (entry["queue"], entry["description"], entry["isolation"]) == ("q", "Add.", "thread")
    assert (entry["oom_queue"], entries["exported.big"]["oom_queue"]) == (None, "large")
    assert entry["schema"]["required"] == ["a"]


def test_export_without_modules_says_what_to_set() -> None:
    result = warren(None, "tasks", "export")

    assert result.exit_code == 2
    assert "WARREN_TASKS" in result.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    assert "_WARREN_COMPLETE" in warren(None, "completion", shell).stdout


def test_version_is_json_when_asked() -> None:
    assert set(json.loads(warren(None, "version", "--json").stdout)) == {"warren", "python"}


def test_help_documents_the_exit_codes() -> None:
    shown = warren(None, "--help").stdout

    assert "Exit codes:" in shown
    for code in range(6):
        assert f"  {code}  " in shown


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [found for name, child in command.commands.items() for found in _commands(child, (*path, name))]


@pytest.mark.parametrize(("path", "command"), _commands(main), ids=str)
def test_every_command_that_reports_has_json_and_every_one_has_help(
    path: tuple[str, ...], command: click.Command
) -> None:
    options = {option for parameter in command.params for option in parameter.opts}

    assert command.help
    assert "--json" in options or path[0] in {"server", "worker", "up", "completion"}


def test_server_and_worker_become_their_module_with_the_settings_given(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _path, words, environment: started.append((words, environment)))

    warren(None, "server", "--bind", "127.0.0.1:1234")
    warren(None, "worker", "--concurrency", "3", "--tasks", "a,b")

    assert [words for words, _ in started] == [
        [sys.executable, "-m", "warren_server"],
        [sys.executable, "-m", "warren_worker"],
    ]
    assert started[0][1]["WARREN_SERVER_BIND"] == "127.0.0.1:1234"
    assert started[1][1]["WARREN_WORKER_CONCURRENCY"] == "3"
    assert "WARREN_WORKER_QUEUES" not in started[1][1]


def test_a_part_that_is_not_installed_is_said_plainly() -> None:
    with pytest.raises(click.ClickException, match="warren-missing is not installed here; install it"):
        run.become("warren_missing", {})


def test_doctor_finds_what_is_broken_and_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["warren.cli.doctor"], "_CONNECT_SECONDS", 0.3)
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://127.0.0.1:1")
    monkeypatch.setenv("WARREN_TASKS", "no_such_module_of_tasks")
    monkeypatch.setenv("WARREN_LOG_LEVEL", "loud")
    server = Server().on("GET /readyz", {"broker": False}, status=503)

    result = warren(server, "doctor", "--json")

    found = {(item["check"], item["level"]) for item in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert found == {("settings", "broken"), ("tasks", "broken"), ("broker", "broken"), ("server", "broken")}
    assert all(item["fix"] for item in json.loads(result.stdout))


@pytest.mark.parametrize(
    ("version", "levels"),
    [
        ("3.9.1", ["broken"]),
        ("3.10.8", ["ok", "note", "note"]),
        ("3.13.0", ["ok", "note"]),
        ("4.3.0", ["ok"]),
        ("?", ["note"]),
    ],
)
def test_an_older_broker_is_told_what_it_lacks(version: str, levels: list[str]) -> None:
    assert [finding.level for finding in findings.of_version(version)] == levels


KEEPING = {"dead-letter-exchange": "x", "dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}


def test_every_queue_that_may_lose_jobs_or_hold_up_others_is_broken() -> None:
    held = {f"warren.q.{name}": {**KEEPING, "overflow": "drop-head"} for name in "abcdefg"}

    careless, bounded = findings.of_behaviour({**held, "warren.q.h": {**KEEPING, "max-length-bytes": 1}})

    assert (careless.level, bounded.level) == ("broken", "broken")
    assert "warren.q.a, warren.q.b, warren.q.c, warren.q.d, warren.q.e and 2 more" in careless.message
    assert "warren.q.h" in bounded.message
    assert "--max-length" in bounded.fix


@pytest.mark.parametrize(("version", "told"), [("3.11.9", True), ("3.12.0", False), ("4.3.6", False), ("?", False)])
def test_tasks_longer_than_an_old_broker_waits_are_named(version: str, told: bool) -> None:
    found = findings.of_long_tasks(version, {"long": 7200.0, "short": 5.0})

    assert [("long" in finding.message, "7200000" in finding.fix) for finding in found] == [(True, True)] * told


def test_doctor_looks_at_queues_when_the_server_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["warren.cli.doctor"], "_CONNECT_SECONDS", 0.3)
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://127.0.0.1:1")
    ready = Server().on("GET /readyz", {"broker": True})
    paused = (
        Server().on("GET /readyz", {"broker": True}).on("GET /v1/queues", {"queues": [{"name": "a", "paused": True}]})
    )

    hidden = json.loads(warren(ready, "doctor", "--json").stdout)
    shown = json.loads(warren(paused, "doctor", "--json").stdout)

    (of_hidden,) = [item for item in hidden if item["check"] == "queues"]
    (of_paused,) = [item for item in shown if item["check"] == "queues"]
    assert (of_hidden["level"], of_paused["level"]) == ("unknown", "note")
    assert "resume" in of_paused["fix"]


def test_findings_without_ok_always_have_a_fix_or_a_reason() -> None:
    bad = [
        findings.of_policies(["warren-jobs"]),
        findings.of_unroutable(3),
        *findings.of_behaviour({"warren.q.a": {**KEEPING, "overflow": "drop-head"}}),
        *findings.of_behaviour({"warren.q.a": {**KEEPING, "max-length": 5}}),
        *findings.of_behaviour({"warren.delay.03": {"message-ttl": 8000}}),
        *findings.of_long_tasks("3.10.8", {"long": 1800.0, "short": 5.0}),
        *findings.of_queues([QueueView(name="a", paused=True)]),
        *findings.of_queues([QueueView(name="a", tokens={"slots": TokensView(wanted=2, present=1)})]),
        findings.of_hidden_queues(RequestFailed(401, "unauthenticated", "no token")),
        findings.of_health("http://x", Health(ready=False)),
        findings.of_tasks([], "module"),
        findings.of_tasks([], ""),
    ]
    good = [
        findings.of_policies([]),
        findings.of_unroutable(0),
        *findings.of_behaviour({"warren.q.a": KEEPING, "warren.delay.03": KEEPING, "warren.events": {}}),
        *findings.of_queues([QueueView(name="a", tokens={"slots": TokensView(wanted=2, present=2)})]),
        findings.of_health("http://x", Health(ready=True)),
        findings.of_tasks(["add"], "module"),
    ]

    assert all(finding.level != "ok" and finding.fix for finding in bad)
    assert all(finding.level == "ok" for finding in good)


def test_control_characters_are_shown_and_line_breaks_kept() -> None:
    assert clean("a\x1b[31m\nb\tc\u202e") == "a\\x1b[31m\nb\tc\\x202e"


def test_a_submit_may_be_named_by_a_key_and_a_token_belong_to_a_tenant() -> None:
    server = Server().on("POST /v1/jobs", JOB).on("POST /v1/tokens", {"id": "t1", "token": "wrn_x"})

    assert warren(server, "submit", "add", "--key", "order-7").exit_code == 0
    assert warren(server, "token", "create", "--scope", "submit", "--tenant", "acme").exit_code == 0

    assert server.requests[0].headers["idempotency-key"] == '"order-7"'
    assert json.loads(server.requests[1].content)["tenant"] == "acme"
