"""The load of the fault tests says of each submit what is known of it, and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from faults.history import History
from faults.load import Sort, send

QUICK = Sort(task="fault.quick", options={"delay": 3})


def answer_of(history: History, transport: httpx.MockTransport) -> list[tuple[str, str, str]]:
    """Send two jobs and return what the history says of them."""
    with httpx.Client(base_url="http://server", transport=transport) as client:
        send(client, history, [("a", QUICK), ("b", QUICK)])
    lines = history.read()
    assert [(line.kind, line.data["expect"], line.data["delay"]) for line in lines[:2]] == [
        ("sent", "succeeded", 3)
    ] * 2
    return [(line.kind, line.key, line.job) for line in lines[2:]]


def problem(status: int, kind: str) -> dict[str, Any]:
    return {"status": status, "problem": {"type": f"/problems/{kind}", "status": status}}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


@pytest.mark.parametrize(
    ("status", "kind", "known"),
    [
        (503, "outcome-unknown", "unknown"),
        (500, "internal-error", "unknown"),
        (503, "broker-unavailable", "refused"),
        (503, "broker-blocked", "refused"),
        (429, "queue-full", "refused"),
        (422, "invalid-arguments", "refused"),
    ],
)
def test_each_job_of_a_batch_has_its_own_answer(history: History, status: int, kind: str, known: str) -> None:
    items = [{"status": 202, "id": "job-a"}, problem(status, kind)]
    transport = httpx.MockTransport(lambda _request: httpx.Response(202, json={"jobs": items}))

    assert answer_of(history, transport) == [("accepted", "a", "job-a"), (known, "b", "")]


@pytest.mark.parametrize(
    ("status", "kind", "known"), [(503, "not-ready", "refused"), (500, "internal-error", "unknown")]
)
def test_an_answer_to_the_whole_batch_is_one_to_each_job(history: History, status: int, kind: str, known: str) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json={"type": f"/problems/{kind}"}))

    assert answer_of(history, transport) == [(known, "a", ""), (known, "b", "")]


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (httpx.ConnectError, "refused"),
        (httpx.ConnectTimeout, "refused"),
        (httpx.ReadTimeout, "unknown"),
        (httpx.ReadError, "unknown"),
        (httpx.RemoteProtocolError, "unknown"),
    ],
)
def test_a_submit_that_may_have_been_read_is_unknown(
    history: History, error: type[httpx.TransportError], known: str
) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error("broken")

    assert answer_of(history, httpx.MockTransport(fail)) == [(known, "a", ""), (known, "b", "")]


def test_the_key_is_an_argument_and_the_options_are_fields(history: History) -> None:
    bodies: list[bytes] = []

    def keep(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(202, json={"jobs": [{"status": 202, "id": "1"}, {"status": 202, "id": "2"}]})

    answer_of(history, httpx.MockTransport(keep))

    assert b'"arguments":{"key":"a"},"delay":3' in bodies[0].replace(b": ", b":").replace(b", ", b",")
