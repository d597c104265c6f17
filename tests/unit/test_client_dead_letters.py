"""Clients and command line for dead letters and cancels, against the server's own application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from letter_kit import die, junk, listed, row
from server_kit import Kit, running
from waiting import eventually
from warren.cli import main, redrives
from warren.client import AsyncClient, Client, RedriveView
from warren.control import CancelJobs, CancelMatching, decode_order
from warren.envelope import decode, new_job_id
from warren.errors import RequestFailed
from warren.events import Event, State, encode_batch
from warren.topology import CONTROL
from warren.transport import event_publication

URL = "http://localhost"


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def bridge(kit: Kit) -> httpx.MockTransport:
    """Hand requests to the application, from either client."""
    inner = httpx.WSGITransport(app=kit.client.application)

    def handle(request: httpx.Request) -> httpx.Response:
        answered = inner.handle_request(request)
        answered.read()
        return httpx.Response(answered.status_code, headers=answered.headers, content=answered.content)

    return httpx.MockTransport(handle)


@pytest.fixture
def client(kit: Kit) -> Iterator[Client]:
    with Client(URL, transport=bridge(kit)) as made:
        yield made


def warren(kit: Kit, *words: str, stdin: str | None = None) -> Result:
    environment = {"WARREN_URL": URL}
    return CliRunner().invoke(main, words, obj=bridge(kit), input=stdin, env=environment)


def orders(kit: Kit) -> list[Any]:
    return [decode_order(message) for message in kit.transport.messages(CONTROL)]


def test_a_client_cancels_one_job_or_many(kit: Kit, client: Client) -> None:
    job = client.submit("greet", {"cmd": "x"})

    view = client.cancel(job)
    many = client.cancel_many([job, new_job_id()])
    matching = client.cancel_many(queue="default", before=datetime.now(UTC), waiting_only=True)

    assert view.cancel_requested_at is not None
    assert many.requested == 2
    assert matching.requested == 0
    assert matching.before is not None
    assert [type(order) for order in orders(kit)] == [CancelJobs, CancelJobs, CancelMatching]


def test_more_ids_than_a_request_takes_go_out_in_several(kit: Kit, client: Client) -> None:
    told = client.cancel_many([new_job_id() for _ in range(10_001)])

    assert told.requested == 10_001
    assert len(orders(kit)) == 11


def test_a_client_finds_counts_and_pages_dead_letters(kit: Kit, client: Client) -> None:
    kit.parts.letters.add([row(dead_ms=1000), row(dead_ms=2000, error="KeyError", image="app:2"), row(dead_ms=3000)])

    first = client.dead_letters(limit=2)
    second = client.dead_letters(limit=2, cursor=first.cursor)
    keys = client.dead_letters(error="KeyError", since=datetime(1970, 1, 1, tzinfo=UTC), until=datetime.now(UTC))
    summary = client.dead_letter_summary(queue="default")

    assert [len(first.dead_letters), len(second.dead_letters), second.cursor] == [2, 1, None]
    assert [(each.image, each.outcome) for each in keys.dead_letters] == [("app:2", "failed")]
    assert (summary.total, [(group.error, group.count) for group in summary.groups]) == (
        3,
        [("ValueError", 2), ("KeyError", 1)],
    )


def test_a_time_without_a_zone_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        client.dead_letters(since=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake


def test_a_client_redrives_stops_retries_and_purges(kit: Kit, client: Client) -> None:
    jobs = [die(kit) for _ in range(4)]

    preview = client.preview_redrive(queue="default")
    begun = client.redrive(everything=True, rate=1)
    stopped = client.stop_redrive(begun.id)
    eventually(lambda: not kit.parts.redrives.pending(begun.id))
    left = [letter.id for letter in client.dead_letters().dead_letters]
    retried = client.retry(left[0], arguments={"cmd": "new"}, max_attempts=1)
    again = client.retry_dead_letter(left[1])
    dry = client.purge_dead_letters(dry_run=True, queue="default")

    assert (preview.dry_run, preview.count, len(preview.sample)) == (True, 4, 4)
    assert begun.running
    assert (stopped.state, stopped.rate, client.get_redrive(begun.id).id) == ("stopped", 1.0, begun.id)
    assert [each.id for each in client.redrives()] == [begun.id]
    assert (retried.round, again.round) == (1, 1)
    assert dry.count == len(left) - 2
    for letter in client.dead_letters().dead_letters[:1]:
        client.delete_dead_letter(letter.id)
    assert client.purge_dead_letters(everything=True).complete
    assert client.dead_letters().dead_letters == ()
    assert {decode(message).id for message in kit.queued()} <= set(jobs)
    with pytest.raises(RequestFailed, match="the filter is empty"):
        client.redrive()


def test_the_client_for_asyncio_does_the_same(kit: Kit) -> None:
    kit.parts.letters.add([row() for _ in range(3)])
    job, dead = kit.submit().json["id"], die(kit)

    async def use() -> list[Any]:
        async with AsyncClient(URL, transport=bridge(kit)) as client:
            told: list[Any] = [await client.cancel(job), await client.cancel_many([job])]
            told.append(await client.cancel_many(task="greet"))
            page = await client.dead_letters(queue="default")
            told.append(await client.dead_letter(page.dead_letters[0].id))
            told.append(await client.dead_letter_summary())
            told.append(await client.preview_redrive())
            told.append(await client.retry(dead))
            begun = await client.redrive(queue="nowhere")
            told += [await client.stop_redrive(begun.id), await client.get_redrive(begun.id), *await client.redrives()]
            rest = (await client.dead_letters()).dead_letters
            told.append(await client.retry_dead_letter(rest[0].id))
            await client.delete_dead_letter(rest[1].id)
            told.append(await client.purge_dead_letters(everything=True))
            return told

    told = asyncio.run(use())

    assert told[4].total == 4
    assert told[5].count == 4
    assert told[-1].count == 1
    assert listed(kit) == []


def test_cancel_on_the_command_line_takes_ids(kit: Kit) -> None:
    first, second = kit.submit().json["id"], kit.submit().json["id"]

    one = warren(kit, "cancel", first)
    both = warren(kit, "cancel", first, second, "--json")
    unknown = warren(kit, "cancel", new_job_id())

    assert (one.exit_code, both.exit_code, unknown.exit_code) == (0, 0, 4)
    assert "cancel requested" in one.stdout
    assert json.loads(both.stdout)["requested"] == 2
    assert "cancel requested" in warren(kit, "status", first).stdout


def test_cancel_on_the_command_line_asks_before_it_cancels_a_queue(kit: Kit) -> None:
    kit.submit()

    no = warren(kit, "cancel", "--queue", "default", stdin="n\n")
    assert (no.exit_code, orders(kit)) == (1, [])
    asked = warren(kit, "cancel", "--queue", "default", "--task", "greet", "--waiting-only", stdin="y\n")
    said = warren(kit, "cancel", "--task", "greet", "--before", "2020-01-01T00:00:00Z", "--yes", "--json")

    assert "Cancel all waiting jobs of queue default and task greet?" in asked.stderr
    assert "asked for 1 jobs to be cancelled" in asked.stderr
    assert json.loads(said.stdout) == {"requested": 0, "before": "2020-01-01T00:00:00Z"}
    assert len(orders(kit)) == 2


@pytest.mark.parametrize("words", [(), ("x", "--queue", "q"), ("--waiting-only",), ("--before", "2020-01-01")])
def test_cancel_on_the_command_line_wants_to_know_which(kit: Kit, words: tuple[str, ...]) -> None:
    assert warren(kit, "cancel", *words).exit_code == 2


def test_dead_letters_are_listed_by_filter_and_counted(kit: Kit) -> None:
    kit.parts.letters.add([row(error="KeyError"), row(), row()])

    keys = warren(kit, "dead", "list", "--error", "KeyError", "--json")
    counted = warren(kit, "dead", "summary", "--queue", "default")
    as_json = warren(kit, "dead", "summary", "--json")

    assert len(json.loads(keys.stdout)) == 1
    assert "ValueError" in counted.stdout
    assert "3 dead letters" in counted.stderr
    assert json.loads(as_json.stdout)["total"] == 3


def test_a_redrive_is_asked_about_and_waited_for(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrives, "_POLL_SECONDS", 0.05)
    kit.parts.letters.add([row() for _ in range(12)])

    dry = warren(kit, "dead", "redrive", "--all", "--dry-run")
    no = warren(kit, "dead", "redrive", "--task", "greet", stdin="n\n")
    done = warren(kit, "dead", "redrive", "--task", "greet", "--rate", "40", "--wait", stdin="y\n")

    assert "12 dead letters would be moved; nothing was done" in dry.stderr
    assert (dry.exit_code, no.exit_code, done.exit_code) == (0, 1, 0)
    assert "Bring 12 dead letters back to their queues?" in done.stderr
    assert "of 12" in done.stderr
    assert "12 of 12" in done.stdout
    assert listed(kit) == []
    assert "done" in warren(kit, "dead", "redrives").stdout


def test_a_redrive_that_leaves_some_behind_is_exit_1(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrives, "_POLL_SECONDS", 0.05)
    junk(kit)

    done = warren(kit, "dead", "redrive", "--all", "--yes", "--wait", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["failed"] == 1
    assert done.stderr == ""


def test_a_redrive_that_is_not_over_in_time_goes_on(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrives, "_POLL_SECONDS", 0.01)
    kit.parts.letters.add([row() for _ in range(3)])

    late = warren(kit, "dead", "redrive", "--all", "--yes", "--rate", "0.5", "--wait", "--wait-timeout", "0.05")
    (running_one,) = json.loads(warren(kit, "dead", "redrives", "--json").stdout)
    stopped = warren(kit, "dead", "stop", running_one["id"])

    assert late.exit_code == 1
    assert "it goes on" in late.stderr
    assert "stopped" in stopped.stdout


def test_a_redrive_begun_is_shown_at_once(kit: Kit) -> None:
    begun = warren(kit, "dead", "redrive", "--queue", "spare", "--yes", "--json")

    assert json.loads(begun.stdout)["filter"] == {"queue": "spare"}


@pytest.mark.parametrize(
    "words",
    [
        ("redrive",),
        ("redrive", "--all", "--queue", "q"),
        ("redrive", "--all", "--rate", "0"),
        ("purge",),
        ("purge", "x", "--all"),
    ],
)
def test_what_is_not_clear_is_exit_2(kit: Kit, words: tuple[str, ...]) -> None:
    assert warren(kit, "dead", *words).exit_code == 2


def test_a_dead_letter_is_retried_with_some_arguments_changed(kit: Kit) -> None:
    job = die(kit, task="resize", queue="media", body=b'{"width":1,"name":"a"}')

    result = warren(kit, "dead", "retry", job, "width:=2", "--delay", "1.5", "--queue", "spare", "--max-attempts", "2")

    assert result.exit_code == 0, result.stderr
    (message,) = [each for level in range(3) for each in kit.transport.messages(f"warren.delay.{level:02d}")]
    envelope = decode(message)
    assert json.loads(envelope.body) == {"width": 2, "name": "a"}
    assert (envelope.queue, envelope.max_attempts) == ("spare", 2)
    assert kit.client.get(f"/v1/jobs/{job}").json["state"] == "scheduled"


def test_a_dead_letter_is_retried_with_all_arguments_from_a_file_or_none(kit: Kit) -> None:
    first, second = die(kit, body=b'{"cmd":"a"}'), die(kit)

    warren(kit, "dead", "retry", first, "--arguments", "-", stdin='{"cmd":"b"}')
    plain = warren(kit, "dead", "retry", second, "--json")

    assert [json.loads(message.body) for message in kit.queued()] == [{"cmd": "b"}, {"cmd": "hey"}]
    assert json.loads(plain.stdout)["state"] == "queued"


@pytest.mark.parametrize(("stdin", "said"), [("nope", "not JSON"), ("[]", "must hold a JSON object")])
def test_a_file_that_is_no_arguments_is_told(kit: Kit, stdin: str, said: str) -> None:
    result = warren(kit, "dead", "retry", new_job_id(), "--arguments", "-", stdin=stdin)

    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.parametrize(("state", "code"), [(State.SUCCEEDED, 0), (State.DEAD, 1)])
def test_a_retry_that_is_waited_for_ends_as_the_job_does(
    kit: Kit, state: State, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = die(kit)
    retry = kit.parts.retrier.retry

    def and_run(*told: Any) -> str:
        done = retry(*told)
        event = Event(
            job=job, state=state, attempt=6, at_ms=9000, task="greet", queue="default", enqueued_ms=1000, round=1
        )
        kit.transport.publish(event_publication(encode_batch([event]))).result(5)
        return str(done)

    monkeypatch.setattr(kit.parts.retrier, "retry", and_run)

    result = warren(kit, "dead", "retry", job, "--wait", "--wait-timeout", "20", "--json")

    assert result.exit_code == code
    assert json.loads(result.stdout)["state"] == state.value


def test_a_purge_is_asked_about(kit: Kit) -> None:
    jobs = [die(kit) for _ in range(4)]

    dry = warren(kit, "dead", "purge", "--queue", "default", "--dry-run", "--json")
    shown = warren(kit, "dead", "purge", jobs[0], "--dry-run")
    no = warren(kit, "dead", "purge", "--all", stdin="n\n")
    assert (json.loads(dry.stdout)["count"], no.exit_code) == (4, 1)
    assert jobs[0] in shown.stdout
    assert len(listed(kit)) == 4

    one = warren(kit, "dead", "purge", jobs[0], stdin="y\n")
    other = warren(kit, "dead", "purge", jobs[1], "--yes", "--json")
    some = warren(kit, "dead", "purge", "--job", jobs[2], "--yes")
    rest = warren(kit, "dead", "purge", "--all", "--yes", "--json")

    assert "for good?" in one.stderr
    assert "deleted" in one.stderr
    assert json.loads(other.stdout) == {"id": jobs[1], "deleted": True}
    assert "deleted 1 dead letters" in some.stderr
    assert json.loads(rest.stdout)["count"] == 1
    assert listed(kit) == []


def test_a_redrive_knows_whether_it_runs() -> None:
    assert RedriveView(id="r", state="running").running
    assert not RedriveView(id="r", state="failed").running
