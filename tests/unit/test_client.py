"""The HTTP clients, against a server of the test's own making."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.client import AsyncClient, Client, JobRequest, JobView, Patience, patience
from warren.errors import InvalidArguments, RequestFailed, SettingsError
from warren.events import State
from warren.task import Registry, task

ID = "018f4e8a-0000-7000-8000-000000000001"
JOB = {"id": ID, "state": "queued", "task": "add", "queue": "default", "url": f"/v1/jobs/{ID}"}
DONE = {**JOB, "state": "succeeded", "result": 3}

Handler = Callable[[httpx.Request], httpx.Response]


def answers(*responses: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """Answer with each response in turn, the last one for ever; the list fills with the requests."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        response = responses[min(len(seen), len(responses) - 1)]
        seen.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    return handle, seen


def client(handle: Handler, **limits: float) -> Client:
    return Client("http://server", transport=httpx.MockTransport(handle), limits=Patience(**limits))


def problem(status: int, kind: str, retry_after: int | None = None, **more: Any) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    document = {"type": f"/problems/{kind}", "title": "t", "status": status, "detail": "because", **more}
    return httpx.Response(status, json=document, headers=headers)


def test_a_submit_sends_the_task_its_arguments_and_only_the_options_given() -> None:
    handle, seen = answers(httpx.Response(202, json=JOB))

    with client(handle) as server:
        job = server.submit("add", {"a": 1}, queue="fast", delay=5, priority=3)

    assert (job.id, job.state, job.url) == (ID, State.QUEUED, f"/v1/jobs/{ID}")
    assert (seen[0].method, seen[0].url.path) == ("POST", "/v1/jobs")
    assert seen[0].headers["content-type"] == "application/json"
    assert json.loads(seen[0].content) == {
        "task": "add",
        "arguments": {"a": 1},
        "queue": "fast",
        "delay": 5,
        "priority": 3,
    }


def test_a_submit_of_a_task_is_checked_before_anything_is_sent() -> None:
    @task(registry=Registry())
    def add(a: int, b: int = 2) -> int:
        return a + b

    handle, seen = answers(httpx.Response(202, json=JOB))

    with client(handle) as server, pytest.raises(InvalidArguments, match=r"arguments\.a"):
        server.submit(add, {"a": "one"})

    assert seen == []


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_arguments_that_are_not_json_are_refused_before_anything_is_sent(value: object) -> None:
    handle, seen = answers(httpx.Response(202, json=JOB))

    with client(handle) as server, pytest.raises(InvalidArguments, match="not JSON"):
        server.submit("add", {"a": value})

    assert seen == []


def test_run_at_goes_out_in_utc() -> None:
    handle, seen = answers(httpx.Response(202, json=JOB))
    moment = datetime(2030, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))

    with client(handle) as server:
        server.submit("add", run_at=moment)

    assert json.loads(seen[0].content)["run_at"] == "2030-01-31T09:30:00Z"


def test_a_time_without_a_zone_or_next_to_a_delay_is_refused() -> None:
    moment = datetime(2030, 1, 31, tzinfo=UTC)

    with pytest.raises(InvalidArguments, match="no time zone"):
        JobRequest(task="add", run_at=moment.replace(tzinfo=None))
    with pytest.raises(InvalidArguments, match="give one"):
        JobRequest(task="add", run_at=moment, delay=0)


def test_a_problem_becomes_an_error_with_all_its_parts() -> None:
    fields = [{"field": "arguments.a", "rule": "int_type", "message": "must be an integer"}]
    handle, _ = answers(problem(422, "invalid-arguments", problems=fields))

    with client(handle) as server, pytest.raises(RequestFailed) as caught:
        server.submit("add")

    assert (caught.value.status, caught.value.kind, caught.value.detail) == (422, "invalid-arguments", "because")
    assert [(item.field, item.rule) for item in caught.value.problems] == [("arguments.a", "int_type")]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(200, text="<html>"), "bad-answer"),
        (httpx.Response(200, json=[1]), "bad-answer"),
        (httpx.Response(200, json={**JOB, "state": "unheard-of"}), "bad-answer"),
        (httpx.Response(502, text="<html>"), "http-502"),
        (httpx.Response(502, json=["x"]), "http-502"),
        (httpx.Response(302, headers={"location": "/login"}), "http-302"),
    ],
)
def test_an_answer_that_is_not_warrens_is_told_as_such(response: httpx.Response, kind: str) -> None:
    handle, _ = answers(response)

    with client(handle) as server, pytest.raises(RequestFailed) as caught:
        server.job(ID)

    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), "unreachable"),
        (httpx.ConnectTimeout("slow"), "unreachable"),
        (httpx.ReadTimeout("slow"), "no-answer"),
        (httpx.RemoteProtocolError("closed"), "no-answer"),
    ],
)
def test_no_answer_is_status_0_and_says_whether_the_request_may_have_arrived(error: Exception, kind: str) -> None:
    handle, seen = answers(error)

    with client(handle) as server, pytest.raises(RequestFailed, match="http://server") as caught:
        server.job(ID)

    assert (caught.value.status, caught.value.kind) == (0, kind)
    assert len(seen) == 1


def test_a_submit_that_was_certainly_not_accepted_is_sent_again() -> None:
    handle, seen = answers(
        problem(503, "broker-unavailable", 0), problem(429, "window-full", 0), httpx.Response(202, json=JOB)
    )

    with client(handle) as server:
        job = server.submit("add")

    assert job.id == ID
    assert len(seen) == 3


@pytest.mark.parametrize(
    "response",
    [
        problem(503, "broker-unavailable"),
        problem(500, "internal-error", 0),
        problem(422, "invalid-arguments", 0),
        problem(422, "idempotency-key-reused", 0),
        httpx.ConnectError("refused"),
    ],
)
def test_a_submit_that_the_server_will_never_accept_is_not_sent_again(
    response: httpx.Response | Exception,
) -> None:
    handle, seen = answers(response)

    with client(handle) as server, pytest.raises(RequestFailed):
        server.submit("add")

    assert len(seen) == 1


def test_trying_again_ends_at_the_deadline() -> None:
    handle, seen = answers(problem(503, "broker-blocked", 10))

    with client(handle, submit_seconds=5) as server, pytest.raises(RequestFailed, match="broker-blocked") as caught:
        server.submit("add")

    assert caught.value.retry_after_seconds == 10
    assert len(seen) == 1


@given(
    status=st.sampled_from([0, 400, 429, 500, 503]),
    kind=st.sampled_from(["outcome-unknown", "queue-full", "unreachable", "no-answer", "idempotency-key-busy"]),
    wish=st.none() | st.integers(0, 100),
    tries=st.integers(1, 2000),
    remaining=st.floats(-1, 100),
    keyed=st.booleans(),
)
def test_a_pause_is_at_least_the_servers_wish_and_below_the_time_left(
    status: int, kind: str, wish: int | None, tries: int, remaining: float, keyed: bool
) -> None:
    failure = RequestFailed(status, kind, "x", retry_after_seconds=wish)

    pause = patience.submit_again(failure, tries=tries, remaining_seconds=remaining, rng=Random(1), keyed=keyed)

    if pause is not None:
        assert (wish or 0) <= pause < remaining
        if not keyed:
            assert status in (429, 503)
            assert kind != "outcome-unknown"
            assert wish is not None


def test_a_batch_is_split_at_1000_and_tells_of_each_job() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        jobs = json.loads(request.content)["jobs"]
        refused = {"status": 404, "type": "/problems/unknown-task", "detail": "no such task"}
        return httpx.Response(200, json={"jobs": [JOB if job["task"] == "add" else refused for job in jobs]})

    requests = [JobRequest(task="add", arguments={"n": n}) for n in range(1001)] + [JobRequest(task="nope")]

    with client(handle) as server:
        results = server.submit_many(requests)

    assert len(results) == 1002
    assert isinstance(results[0], JobView)
    refusal = results[-1]
    assert isinstance(refusal, RequestFailed)
    assert (refusal.status, refusal.kind) == (404, "unknown-task")


def test_a_job_is_read_whole() -> None:
    failed = {"type": "ValueError", "message": "bad", "traceback": "Traceback"}
    document = {
        **JOB,
        "state": "retrying",
        "attempt": 2,
        "max_attempts": 5,
        "submitted_at": "2030-01-01T00:00:00Z",
        "scheduled_for": "2030-01-01T00:01:00.5Z",
        "wait_seconds": 0.5,
        "progress": {"fraction": 0.25, "message": "page 1"},
        "error": failed,
        "attempts": [{"attempt": 1, "outcome": "failed", "worker": "w-1", "error": failed}],
        "added_by_a_newer_server": True,
    }
    handle, _ = answers(httpx.Response(200, json=document))

    with client(handle) as server:
        job = server.job(ID)

    assert job.submitted_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert job.scheduled_for == datetime(2030, 1, 1, 0, 1, 0, 500_000, tzinfo=UTC)
    assert (job.progress, job.progress_message) == (0.25, "page 1")
    assert job.error is not None
    assert job.error.type == "ValueError"
    assert [(attempt.attempt, attempt.outcome, attempt.worker) for attempt in job.attempts] == [(1, "failed", "w-1")]
    assert not job.final


def test_a_wait_polls_until_the_job_is_final() -> None:
    handle, seen = answers(httpx.Response(200, json=JOB), httpx.Response(200, json=DONE))

    with client(handle) as server:
        job = server.wait(ID, timeout_seconds=10)

    assert job.succeeded
    assert job.result == 3
    assert len(seen) == 2
    assert 0 < float(seen[0].url.params["wait"]) <= 10


def test_a_wait_outlives_a_restart_of_the_server() -> None:
    handle, _ = answers(httpx.ConnectError("refused"), problem(503, "not-ready", 0), httpx.Response(200, json=DONE))

    with client(handle) as server:
        job = server.wait(ID, timeout_seconds=10)

    assert job.succeeded


def test_a_wait_for_an_unknown_job_ends_at_once_but_not_for_one_the_store_has_not_seen_yet() -> None:
    handle, _ = answers(problem(404, "unknown-job"), httpx.Response(200, json=DONE))
    deferred = JobView(id=ID, state=State.QUEUED, task="add", queue="default", tracking="deferred")

    with client(handle) as server, pytest.raises(RequestFailed, match="unknown-job"):
        server.wait(ID, timeout_seconds=10)
    handle, _ = answers(problem(404, "unknown-job"), httpx.Response(200, json=DONE))
    with client(handle) as server:
        job = server.wait(deferred, timeout_seconds=10)

    assert job.succeeded


def test_a_wait_that_is_over_first_says_where_the_job_is() -> None:
    handle, _ = answers(httpx.Response(200, json=JOB))

    with client(handle) as server, pytest.raises(RequestFailed, match=r"is queued after 0\.1 s") as caught:
        server.wait(ID, timeout_seconds=0.1)

    assert caught.value.kind == "wait-timeout"


def test_lists_are_read_and_filters_sent() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        documents: dict[str, Any] = {
            "/v1/jobs": {"jobs": [JOB], "cursor": "next"},
            "/v1/queues": {"queues": [{"name": "default", "ready": 3, "unacked": 1, "consumers": 2}]},
            "/v1/queues/default": {"name": "default", "ready": 3},
            "/v1/tasks": {"tasks": [{"name": "add", "queue": "default", "schema": {"type": "object"}}]},
            "/v1/dead-letters": {"dead_letters": [{"id": ID, "reason": "failed 3 of 3 attempts"}]},
            "/v1/tokens": {"tokens": [{"id": "t1", "scopes": ["read"], "created_at": "2030-01-01T00:00:00Z"}]},
        }
        requests.append(request)
        return httpx.Response(200, json=documents[request.url.path])

    requests: list[httpx.Request] = []

    with client(handle) as server:
        page = server.jobs(state="dead", task="add", limit=5)
        queues, queue = server.queues(), server.queue("default")
        tasks, dead, tokens = server.tasks(), server.dead_letters(limit=7), server.tokens()

    assert (page.cursor, page.jobs[0].id) == ("next", ID)
    assert dict(requests[0].url.params) == {"state": "dead", "task": "add", "limit": "5"}
    assert (queues[0].ready, queues[0].unacked, queues[0].consumers, queue.ready) == (3, 1, 2, 3)
    assert tasks[0].schema == {"type": "object"}
    assert dead.dead_letters[0].reason == "failed 3 of 3 attempts"
    assert tokens[0].scopes == ("read",)


def test_a_tokens_secret_is_given_once_and_never_in_a_repr() -> None:
    handle, seen = answers(
        httpx.Response(201, json={"id": "t1", "token": "wrn_secret"}), httpx.Response(204), httpx.Response(204)
    )

    with client(handle) as server:
        token = server.create_token(["submit"], "ci", 60)
        server.revoke_token("t1")

    assert token.token == "wrn_secret"
    assert "wrn_secret" not in repr(token)
    assert json.loads(seen[0].content) == {"scopes": ["submit"], "name": "ci", "expires_in": 60}
    assert (seen[1].method, seen[1].url.path) == ("DELETE", "/v1/tokens/t1")


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_health_is_an_answer_even_when_it_is_bad(status: int, ready: bool) -> None:
    handle, _ = answers(httpx.Response(status, json={"broker": ready}))

    with client(handle) as server:
        health = server.health()

    assert (health.ready, health.checks) == (ready, {"broker": ready})


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    handle, seen = answers(problem(404, "unknown-job"))

    with client(handle) as server, pytest.raises(RequestFailed):
        server.job("../tokens?x=1")

    assert seen[0].url.raw_path == b"/v1/jobs/..%2Ftokens%3Fx%3D1"


def test_url_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_URL", "https://queue.example/base/")
    monkeypatch.setenv("WARREN_TOKEN", "secret")
    handle, seen = answers(httpx.Response(200, json=DONE))

    with Client(transport=httpx.MockTransport(handle)) as server:
        server.job(ID)

    assert str(seen[0].url) == f"https://queue.example/base/v1/jobs/{ID}"
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_a_url_that_is_none_is_refused_when_the_client_is_made() -> None:
    with pytest.raises(SettingsError, match=r"WARREN_URL is 'ftp://x'"):
        Client("ftp://x")


def test_the_asynchronous_client_does_all_that_the_other_does() -> None:
    async def scenario() -> tuple[JobView, JobView, int, str]:
        handle, seen = answers(
            problem(503, "broker-unavailable", 0),
            httpx.Response(202, json=JOB),
            httpx.ConnectError("refused"),
            httpx.Response(200, json=JOB),
            httpx.Response(200, json=DONE),
            httpx.Response(200, json={"jobs": [JOB]}),
            httpx.Response(200, json={"jobs": [JOB]}),
            httpx.Response(200, json={"queues": []}),
            httpx.Response(200, json={"name": "default"}),
            httpx.Response(200, json={"tasks": []}),
            httpx.Response(200, json={"dead_letters": []}),
            httpx.Response(200, json={"id": "d1", "body": "e30="}),
            httpx.Response(200, json={"id": "t1"}),
            httpx.Response(200, json={"tokens": []}),
            httpx.Response(204),
            httpx.Response(200, json={}),
            problem(404, "unknown-job"),
            problem(422, "invalid-arguments"),
        )
        async with AsyncClient("http://server", transport=httpx.MockTransport(handle)) as server:
            submitted = await server.submit("add", {"a": 1})
            done = await server.wait(submitted, timeout_seconds=10)
            await server.submit_many([JobRequest(task="add")])
            await server.jobs(limit=1)
            await server.queues()
            await server.queue("default")
            await server.tasks()
            await server.dead_letters()
            await server.dead_letter("d1")
            await server.create_token(["read"])
            await server.tokens()
            await server.revoke_token("t1")
            await server.health()
            with pytest.raises(RequestFailed) as caught:
                await server.wait(ID, timeout_seconds=1)
            with pytest.raises(RequestFailed):
                await server.submit("add")
            with pytest.raises(RequestFailed, match="wait-timeout"):
                await server.wait(ID, timeout_seconds=0)
        return submitted, done, len(seen), caught.value.kind

    submitted, done, requests, kind = asyncio.run(scenario())

    assert submitted.state is State.QUEUED
    assert done.succeeded
    assert requests == 18
    assert kind == "unknown-job"


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def key_of(request: httpx.Request) -> str | None:
    return request.headers.get("idempotency-key")


@pytest.mark.parametrize(
    "unknown",
    [
        problem(503, "outcome-unknown", 0),
        problem(409, "idempotency-key-busy", 0),
        httpx.Response(502, text="<html>"),
        httpx.Response(503, text="<html>"),
        httpx.RemoteProtocolError("closed"),
    ],
    ids=str,
)
def test_a_submit_whose_outcome_is_unknown_is_sent_again_under_the_same_key(
    unknown: httpx.Response | Exception,
) -> None:
    handle, seen = answers(unknown, httpx.Response(202, json=JOB))

    with client(handle) as server:
        server.submit("add")
        server.submit("add")

    first, again, other = map(key_of, seen)
    assert first == again
    assert first is not None
    assert other not in (None, first)


def test_a_server_that_goes_away_with_the_answer_is_waited_for() -> None:
    handle, seen = answers(
        httpx.RemoteProtocolError("closed"), httpx.ConnectError("refused"), httpx.Response(202, json=JOB)
    )

    with client(handle) as server:
        assert server.submit("add").id == ID

    assert len({key_of(request) for request in seen}) == 1


def test_the_callers_key_is_sent_as_a_structured_string() -> None:
    handle, seen = answers(httpx.Response(202, json=JOB))

    with client(handle) as server:
        server.submit("add", idempotency_key='say"\\"')

    assert key_of(seen[0]) == '"say\\"\\\\\\""'


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "a\n"])
def test_a_key_that_breaks_the_rule_is_refused_before_anything_is_sent(key: str) -> None:
    handle, seen = answers(httpx.Response(202, json=JOB))

    with client(handle) as server, pytest.raises(InvalidArguments, match="idempotency_key"):
        server.submit("add", idempotency_key=key)

    assert seen == []


def test_each_batch_of_a_call_has_a_key_of_its_own_that_follows_from_the_calls() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        keys.append(key_of(request))
        return httpx.Response(202, json={"jobs": [JOB] * len(json.loads(request.content)["jobs"])})

    keys: list[str | None] = []
    requests = [JobRequest(task="add")] * 2001

    with client(handle) as server:
        server.submit_many(requests, idempotency_key="night")
        server.submit_many(requests[:2])

    assert keys[:3] == ['"night"', '"night/1"', '"night/2"']
    assert keys[3] not in (None, *keys[:3])


def test_without_its_store_the_server_gets_the_submit_without_a_key() -> None:
    handle, seen = answers(problem(503, "store-unavailable", 0), httpx.Response(202, json=JOB))

    with client(handle) as server:
        server.submit("add")

    assert key_of(seen[0]) is not None
    assert key_of(seen[1]) is None


def test_a_key_of_the_callers_or_of_a_try_that_may_have_got_through_is_never_dropped() -> None:
    handle, seen = answers(problem(503, "store-unavailable", 0), httpx.Response(202, json=JOB))
    with client(handle) as server:
        server.submit("add", idempotency_key="mine")
    assert [key_of(request) for request in seen] == ['"mine"', '"mine"']

    handle, seen = answers(
        problem(503, "outcome-unknown", 0), problem(503, "store-unavailable", 0), httpx.Response(202, json=JOB)
    )
    with client(handle) as server:
        server.submit("add")
    assert len({key_of(request) for request in seen}) == 1


REFUSED = {"status": 503, "problem": {"type": "/problems/broker-unavailable", "detail": "gone"}}


def test_a_batch_is_sent_again_for_those_of_its_jobs_that_found_no_room() -> None:
    handle, seen = answers(
        httpx.Response(202, json={"jobs": [JOB, REFUSED]}), httpx.Response(202, json={"jobs": [JOB, JOB]})
    )

    with client(handle) as server:
        results = server.submit_many([JobRequest(task="add")] * 2)

    assert [type(result) for result in results] == [JobView, JobView]
    assert key_of(seen[0]) == key_of(seen[1])


def test_what_is_known_of_a_batch_is_told_when_it_cannot_be_sent_again() -> None:
    first = httpx.Response(202, json={"jobs": [JOB, REFUSED]})
    handle, _ = answers(first, problem(422, "idempotency-key-reused"))
    with client(handle) as server:
        results = server.submit_many([JobRequest(task="add")] * 2)
    assert [type(result) for result in results] == [JobView, RequestFailed]

    handle, seen = answers(first)
    with client(handle, submit_seconds=0) as server:
        results = server.submit_many([JobRequest(task="add")] * 2)
    assert [type(result) for result in results] == [JobView, RequestFailed]
    assert len(seen) == 1


def test_the_asynchronous_client_sends_batches_again_too() -> None:
    async def scenario() -> list[JobView | RequestFailed]:
        handle, _ = answers(
            httpx.Response(202, json={"jobs": [JOB, REFUSED]}),
            httpx.Response(202, json={"jobs": [JOB, REFUSED]}),
            problem(422, "idempotency-key-reused"),
        )
        async with AsyncClient("http://server", transport=httpx.MockTransport(handle)) as server:
            return await server.submit_many([JobRequest(task="add")] * 2, idempotency_key="k")

    assert [type(result) for result in asyncio.run(scenario())] == [JobView, RequestFailed]
