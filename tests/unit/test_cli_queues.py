"""`warren queues` and `warren topology`, and the clients' side of queues."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from warren.cli import main
from warren.client import AsyncClient, Client, PurgeView, QueueLimits, QueueView, ScalingView, TokensView
from warren.topology import topology

LIMITS = {"priority": 2, "max_length": 50, "concurrency": None, "rate": {"count": 100, "seconds": 60}}
KNOWN = QueueLimits(priority=2, max_length=50, rate_count=100, rate_seconds=60)
QUEUE = {
    "name": "fast", "ready": 7, "unacked": 1, "consumers": 2, "paused": True, "limits": LIMITS,
    "tokens": {"rate": {"wanted": 100, "present": 99}},
}  # fmt: skip
PURGE = {"queue": "fast", "before": "2030-01-31T12:00:00.000Z", "ready": 7, "paused": True}
SCALING = {
    "queue": "fast", "desired_workers": 3, "reason": "backlog", "explanation": "much to do", "ready": 7, "unacked": 1,
    "consumers": 2, "running": 1, "expected_seconds": 2.5, "data_age_seconds": 0.25, "new": "field",
}  # fmt: skip
ANSWERS = {
    "GET /v1/queues/fast/scaling": SCALING,
    "GET /v1/queues": {"queues": [QUEUE]},
    "GET /v1/queues/fast": QUEUE,
    "POST /v1/queues/fast/pause": QUEUE,
    "POST /v1/queues/fast/resume": {**QUEUE, "paused": False},
    "POST /v1/queues/fast/purge": PURGE,
    "GET /v1/queues/fast/limits": LIMITS,
    "PUT /v1/queues/fast/limits": LIMITS,
}


class Server:
    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=ANSWERS[f"{request.method} {request.url.path}"])

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]


def warren(server: Callable[[httpx.Request], httpx.Response], *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, words, obj=httpx.MockTransport(server), input=stdin)


def test_both_clients_steer_queues() -> None:
    server = Server()

    async def asynchronously() -> list[object]:
        async with AsyncClient("http://server", transport=httpx.MockTransport(server)) as client:
            return [
                await client.queue("fast"),
                await client.pause_queue("fast"),
                await client.resume_queue("fast"),
                await client.purge_queue("fast"),
                await client.queue_limits("fast"),
                await client.limit_queue("fast", KNOWN),
            ]

    with Client("http://server", transport=httpx.MockTransport(server)) as client:
        found = [
            client.queue("fast"),
            client.pause_queue("fast"),
            client.resume_queue("fast"),
            client.purge_queue("fast"),
            client.queue_limits("fast"),
            client.limit_queue("fast", KNOWN),
        ]

    assert found == asyncio.run(asynchronously())
    assert server.asked[:6] == server.asked[6:]
    view, _, resumed, purge, limits, _ = found
    assert isinstance(view, QueueView)
    assert isinstance(resumed, QueueView)
    assert isinstance(purge, PurgeView)
    assert (view.paused, view.limits, view.tokens) == (True, KNOWN, {"rate": TokensView(wanted=100, present=99)})
    assert (resumed.paused, limits) == (False, KNOWN)
    assert (purge.ready, purge.paused, purge.before is not None) == (7, True, True)
    assert json.loads(server.requests[5].content) == LIMITS


def test_an_older_server_tells_less_of_a_queue() -> None:
    def old(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"name": "fast", "ready": 1})

    with Client("http://server", transport=httpx.MockTransport(old)) as client:
        view = client.queue("fast")

    assert (view.paused, view.limits, view.tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], "GET /v1/queues"),
        (["--json"], "GET /v1/queues"),
        (["list"], "GET /v1/queues"),
        (["fast"], "GET /v1/queues/fast"),
        (["--url", "http://other", "fast", "--json"], "GET /v1/queues/fast"),
        (["--url", "http://other"], "GET /v1/queues"),
        (["show", "fast"], "GET /v1/queues/fast"),
        (["scaling", "fast"], "GET /v1/queues/fast/scaling"),
        (["pause", "fast"], "POST /v1/queues/fast/pause"),
        (["resume", "fast"], "POST /v1/queues/fast/resume"),
        (["purge", "fast", "--yes"], "POST /v1/queues/fast/purge"),
        (["limits", "fast"], "GET /v1/queues/fast/limits"),
    ],
)
def test_each_command_asks_what_it_says(words: list[str], asked: str) -> None:
    server = Server()

    result = warren(server, "queues", *words)

    assert (result.exit_code, server.asked) == (0, [asked]), result.output
    assert "fast" in result.stdout or asked.endswith(("/limits", "/scaling"))


def test_both_clients_ask_how_many_workers_a_queue_should_have() -> None:
    server = Server()

    async def asynchronously() -> ScalingView:
        async with AsyncClient("http://server", transport=httpx.MockTransport(server)) as client:
            return await client.queue_scaling("fast", max=20, slo_seconds=60)

    with Client("http://server", transport=httpx.MockTransport(server)) as client:
        told = client.queue_scaling("fast", max=20, slo_seconds=60)

    assert told == asyncio.run(asynchronously())
    assert (told.desired_workers, told.reason, told.expected_seconds, told.data_age_seconds) == (
        3,
        "backlog",
        2.5,
        0.25,
    )
    assert [dict(request.url.params) for request in server.requests] == [{"max": "20", "slo_seconds": "60"}] * 2


def test_the_workers_a_queue_should_have_are_shown_with_the_reason() -> None:
    server = Server()

    result = warren(server, "queues", "scaling", "fast", "--min", "1", "--max", "9", "--concurrency", "4", "--slo", "5")

    assert "desired workers    3\n" in result.stdout
    assert "much to do" in result.stdout
    assert dict(server.requests[0].url.params) == {"min": "1", "max": "9", "concurrency": "4", "slo_seconds": "5.0"}


def test_a_queue_is_shown_with_how_it_is_worked_on() -> None:
    shown = warren(Server(), "queues").stdout

    assert "paused" in shown
    assert "priority 2, length 50, rate 100/60" in shown


@pytest.mark.parametrize(("typed", "code", "asked"), [("fast\n", 0, 1), ("other\n", 2, 0), ("", 1, 0)])
def test_a_purge_asks_for_the_queues_name(typed: str, code: int, asked: int) -> None:
    server = Server()

    result = warren(server, "queues", "purge", "fast", "--json", stdin=typed)

    assert (result.exit_code, len(server.requests)) == (code, asked)
    if code == 0:
        assert json.loads(result.stdout)["ready"] == 7
        assert "is paused: its jobs end when it is resumed" in result.stderr


def test_limits_that_are_given_are_set_and_the_others_kept() -> None:
    server = Server()

    result = warren(
        server,
        "queues",
        "limits",
        "fast",
        "--max-length",
        "none",
        "--concurrency",
        "4",
        "--rate",
        "5/1",
        "--priority",
        "0",
    )

    assert server.asked == ["GET /v1/queues/fast/limits", "PUT /v1/queues/fast/limits"]
    assert json.loads(server.requests[1].content) == {
        "priority": 0, "max_length": None, "concurrency": 4, "rate": {"count": 5, "seconds": 1},
    }  # fmt: skip
    assert "100/60" in result.stdout


def test_a_limit_is_taken_away_by_its_name() -> None:
    server = Server()

    warren(server, "queues", "limits", "fast", "--rate", "none")

    assert json.loads(server.requests[1].content) == {**LIMITS, "rate": None}


@pytest.mark.parametrize(
    "words",
    [["--rate", "5"], ["--rate", "0/1"], ["--concurrency", "0"], ["--max-length", "-1"], ["--priority", "101"]],
)
def test_limits_that_make_no_sense_are_wrong_usage(words: list[str]) -> None:
    server = Server()

    result = warren(server, "queues", "limits", "fast", *words)

    assert (result.exit_code, server.requests) == (2, [])


def test_queues_has_help_of_its_own() -> None:
    shown = warren(Server(), "queues", "--help").stdout

    assert "purge" in shown
    assert "limits" in shown


def test_the_topology_is_shown_without_a_broker() -> None:
    table = warren(Server(), "topology", "show", "--queue", "fast")
    document: dict[str, Any] = json.loads(warren(Server(), "topology", "show", "--queue", "fast", "--json").stdout)

    assert "warren.q.fast" in table.stdout
    assert len(document["policies"]) == len(topology([]).policies)
    assert {"name": "warren.q.fast", "type": "quorum"} in document["queues"]


def test_a_queue_name_that_breaks_the_rule_is_wrong_usage() -> None:
    result = warren(Server(), "topology", "show", "--queue", "a.b")

    assert result.exit_code == 2
    assert "a name is 1 to 190 of" in result.stderr


@pytest.mark.parametrize("words", [["apply"], ["check"], ["repair"]])
def test_without_a_broker_the_exit_code_says_so(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://127.0.0.1:1")
    monkeypatch.setattr(sys.modules["warren.cli.topology"], "_CONNECT_SECONDS", 0.2)

    result = warren(Server(), "topology", *words)

    assert result.exit_code == 3
    assert "warren doctor" in result.stderr
