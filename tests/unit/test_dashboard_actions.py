"""What the forms of the dashboard do, on the in-memory transport."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letter_kit import arguments, die, junk
from server_kit import Kit, running
from waiting import eventually
from warren.control import CancelJobs, CancelMatching, Drain, Order, Pause, Resume, Undrain, decode_order
from warren.envelope import decode, new_job_id
from warren.errors import Unavailable
from warren.events import Event, State
from warren.topology import CONTROL
from warren_server.errors import StoreDown

OWN = {"Sec-Fetch-Site": "same-origin"}
SCHEDULE = {"cron": "0 3 * * *", "task": "greet", "arguments": {"cmd": "tick"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def send(kit: Kit, path: str, status: int = 303, **fields: str) -> Any:
    """Send a form."""
    answer = kit.client.post(path, data=fields, headers=OWN)
    assert answer.status_code == status, answer.text
    return answer


def after(kit: Kit, path: str, **fields: str) -> str:
    """Send a form, and return the page it leads to."""
    page = kit.client.get(send(kit, path, **fields).headers["Location"])
    assert page.status_code == 200
    return html.unescape(page.text)


def orders(kit: Kit) -> list[Order]:
    read = [decode_order(message) for message in kit.transport.messages(CONTROL)]
    return [order for order in read if order is not None]


def run(kit: Kit, worker: str) -> str:
    job = new_job_id()
    told = {"task": "greet", "queue": "default", "enqueued_ms": 1, "at_ms": 2, "started_ms": 2, "worker": worker}
    kit.parts.jobs.project([Event(job=job, state=State.RUNNING, attempt=1, **told)])
    return job


def test_a_queue_is_paused_and_resumed(kit: Kit) -> None:
    paused = after(kit, "/ui/queues/media/pause")
    resumed = after(kit, "/ui/queues/media/resume")

    assert "The queue is paused." in paused
    assert "Resume" in paused
    assert "The queue is worked on again." in resumed
    assert orders(kit) == [Pause(queue="media"), Resume(queue="media")]


def test_a_queue_is_purged_only_when_its_name_is_typed(kit: Kit) -> None:
    for typed in ("", "default", "MEDIA"):
        page = send(kit, "/ui/queues/media/purge", 422, confirm=typed)
        assert "must be the queue&#39;s name, media" in page.text
        assert f'value="{typed}"' in page.text
    before = orders(kit)

    page = after(kit, "/ui/queues/media/purge", confirm=" media ")

    (order,) = orders(kit)
    assert before == []
    assert isinstance(order, CancelMatching)
    assert (order.queue, order.waiting_only) == ("media", True)
    assert "The order to cancel all waiting jobs is out." in page


@pytest.mark.parametrize("action", ["pause", "resume", "purge"])
def test_what_is_done_to_a_queue_that_is_not_there_is_nothing(kit: Kit, action: str) -> None:
    send(kit, f"/ui/queues/nowhere/{action}", 404, confirm="nowhere")

    assert orders(kit) == []


def test_a_job_is_cancelled(kit: Kit) -> None:
    job = kit.submit().json["id"]

    page = after(kit, f"/ui/jobs/{job}/cancel")

    assert "The cancel is asked for." in page
    assert "cancel asked for" in page
    assert orders(kit) == [CancelJobs(jobs=(job,))]
    send(kit, "/ui/jobs/nonsense/cancel", 404)


def test_a_job_that_ended_cannot_be_cancelled_and_one_that_did_not_cannot_be_retried(kit: Kit) -> None:
    dead, queued = die(kit), kit.submit().json["id"]

    assert "it cannot be cancelled any more" in send(kit, f"/ui/jobs/{dead}/cancel", 409).text
    assert f"job {queued} is queued" in send(kit, f"/ui/jobs/{queued}/retry", 409).text
    send(kit, "/ui/jobs/nonsense/retry", 404)


def test_a_dead_job_is_retried_as_it_was(kit: Kit) -> None:
    job = die(kit, body=b'{"cmd":"a\xc3\xa4", "extra": [1, 2]}', task="gone.from.here")
    page = html.unescape(kit.client.get(f"/ui/jobs/{job}").text)
    shown = re.search(r'<textarea id="arguments"[^>]*>(.*?)</textarea>', page, re.DOTALL)[1]  # type: ignore[index]

    # Browsers send the lines of a text with both ends, and all fields.
    after(kit, f"/ui/jobs/{job}/retry", arguments=shown.replace("\n", "\r\n"), queue="", delay="", timeout=" ")

    (message,) = kit.queued()
    assert message.body == b'{"cmd":"a\xc3\xa4", "extra": [1, 2]}'
    assert "queued" in kit.client.get(f"/ui/jobs/{job}").text


def test_a_dead_letter_is_edited_and_retried(kit: Kit) -> None:
    letter = die(kit)

    page = after(
        kit,
        f"/ui/dead-letters/{letter}/retry",
        arguments='{"cmd": "better"}',
        queue="media",
        max_attempts="9",
        timeout="1.5",
    )

    (message,) = kit.queued("media")
    job = decode(message)
    assert "The job is back in its queue." in page
    assert arguments(message.body) == {"cmd": "better"}
    assert (job.id, job.max_attempts, job.timeout_seconds) == (letter, 9, 1.5)
    assert kit.client.get(f"/ui/dead-letters/{letter}").status_code == 404


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"arguments": '{"cmd": }'}, "not JSON: Expecting value"),
        ({"arguments": '["a"]'}, "must be an object"),
        ({"arguments": '{"cmd": 5}'}, "valid string"),
        ({"delay": "soon"}, "delay: must be a whole number"),
        ({"timeout": "inf"}, "timeout: must be a number"),
        ({"max_attempts": "0"}, "greater than or equal to 1"),
        ({"queue": "No Name"}, "is no name of a queue"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/ui/jobs/{}/retry", "/ui/dead-letters/{}/retry"])
def test_what_was_typed_wrongly_is_shown_again_with_the_rule(
    kit: Kit, path: str, fields: dict[str, str], rule: str
) -> None:
    letter = die(kit)

    answer = kit.client.post(path.format(letter), data=fields, headers=OWN)

    page = html.unescape(answer.text)
    assert answer.status_code in (400, 422)
    assert rule in page
    assert next(iter(fields.values())) in page
    assert kit.queued() == []


def test_a_dead_letter_that_is_no_job_is_not_retried(kit: Kit) -> None:
    letter = junk(kit)

    assert f"dead letter {letter} is no job" in send(kit, f"/ui/dead-letters/{letter}/retry", 409).text


def test_dead_letters_are_counted_before_they_are_redriven_and_then_followed(kit: Kit) -> None:
    bad, other = die(kit), die(kit, error="app.Other")

    dry = html.unescape(kit.client.get("/ui/dead-letters/redrive?error=ValueError").text)
    begun = send(kit, "/ui/dead-letters/redrive", error="ValueError", rate="50").headers["Location"]

    assert "Redrive 1" in dry
    assert bad in dry
    assert other not in dry
    assert begun.startswith("/ui/dead-letters/redrives/")

    def page() -> str:
        return html.unescape(kit.client.get(begun).text)

    eventually(lambda: "done: 1 of 1 moved" in page())
    assert '<progress id="moved" max="1" value="1">' in page()
    assert "50 a second" in page()
    assert "<code>error</code> ValueError" in page()
    assert "hx-trigger" not in page()
    assert [decode(message).id for message in kit.queued()] == [bad]
    assert begun.rpartition("/")[2].partition("?")[0] in kit.client.get("/ui/dead-letters/redrives").text


def test_all_dead_letters_are_redriven_when_no_filter_says_otherwise(kit: Kit) -> None:
    letters = {die(kit), die(kit, error="app.Other")}

    send(kit, "/ui/dead-letters/redrive", rate="")

    eventually(lambda: {decode(message).id for message in kit.queued()} == letters)


@pytest.mark.parametrize("rate", ["fast", "0", "-1", "1e9"])
def test_a_rate_that_makes_no_sense_moves_nothing(kit: Kit, rate: str) -> None:
    die(kit)

    page = send(kit, "/ui/dead-letters/redrive", 422, rate=rate)

    assert 'role="alert"' in page.text
    assert f'name="rate" inputmode="decimal" value="{rate}"' in page.text
    assert kit.parts.redrives.list(10) == []


def test_a_filter_that_breaks_a_rule_redrives_nothing(kit: Kit) -> None:
    die(kit)

    send(kit, "/ui/dead-letters/redrive", 422, queue="No Name")

    assert kit.parts.redrives.list(10) == []


def test_a_redrive_is_followed_and_stopped(kit: Kit) -> None:
    for _ in range(3):
        die(kit)
    begun = send(kit, "/ui/dead-letters/redrive", rate="0.01").headers["Location"].partition("?")[0]
    assert 'hx-trigger="every 2s"' in kit.client.get(begun).text

    page = after(kit, f"{begun}/stop")

    assert "The redrive is told to stop." in page
    assert "stopped:" in page
    send(kit, "/ui/dead-letters/redrives/nonsense/stop", 404)


def test_a_schedule_rests_goes_on_and_is_run_now(kit: Kit) -> None:
    kit.client.put("/v1/schedules/nightly", json=SCHEDULE)

    rests = after(kit, "/ui/schedules/nightly/pause")
    goes_on = after(kit, "/ui/schedules/nightly/resume")
    job = after(kit, "/ui/schedules/nightly/run")

    assert "The schedule rests." in rests
    assert "these are the ticks it would have" in rests
    assert "The schedule goes on." in goes_on
    assert "The job is taken." in job
    (message,) = kit.queued()
    assert arguments(message.body) == {"cmd": "tick"}
    for action in ("pause", "resume", "run"):
        send(kit, f"/ui/schedules/none/{action}", 404)


def test_a_worker_is_drained_and_undrained(kit: Kit) -> None:
    name = "pod-1/<b>:" + "x" * 240
    run(kit, name)
    run(kit, "pod-2")

    drained = after(kit, "/ui/workers/drain", worker=name)
    undrained = after(kit, "/ui/workers/undrain", worker=name)

    assert "The worker is told to drain" in drained
    assert drained.count("told to drain") == 2
    assert "The worker is told to take work again." in undrained
    assert undrained.count("told to drain") == 0
    assert orders(kit) == [Drain(workers=(name,)), Undrain(workers=(name,))]


@pytest.mark.parametrize("worker", ["", "a\nb", "x" * 256])
def test_a_worker_of_an_impossible_name_is_told_nothing(kit: Kit, worker: str) -> None:
    send(kit, "/ui/workers/drain", 422, worker=worker)
    send(kit, "/ui/workers/undrain", 422, worker=worker)

    assert orders(kit) == []


def test_a_job_is_submitted_by_a_form(kit: Kit) -> None:
    fields = {"argument.width": "7", "argument.name": "", "queue": "spare", "priority": "3", "max_attempts": "2"}

    page = after(kit, "/ui/tasks/resize/submit", **fields)

    (message,) = kit.queued("spare")
    job = decode(message)
    assert "The job is taken." in page
    assert arguments(message.body)["width"] == 7
    assert (job.priority, job.max_attempts) == (3, 2)


def test_a_form_that_is_sent_twice_submits_one_job(kit: Kit) -> None:
    form = kit.client.get("/ui/tasks/greet").text
    key = re.search(r'name="key" value="([^"]+)"', form)[1]  # type: ignore[index]

    first, second = (send(kit, "/ui/tasks/greet/submit", key=key, **{"argument.cmd": "a"}) for _ in range(2))

    assert first.headers["Location"] == second.headers["Location"]
    assert len(kit.queued()) == 1


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "argument.width"),
        ({"argument.width": "wide"}, "width: must be a whole number"),
        ({"argument.width": "1", "delay": "x"}, "delay: must be a whole number"),
        ({"argument.width": "1", "queue": "nowhere"}, "queue 'nowhere' does not exist"),
        ({"argument.width": "1", "key": "two words"}, "Idempotency-Key"),
    ],
    ids=str,
)
def test_a_form_that_was_filled_in_wrongly_is_shown_again(kit: Kit, fields: dict[str, str], rule: str) -> None:
    answer = kit.client.post("/ui/tasks/resize/submit", data=fields, headers=OWN)

    page = html.unescape(answer.text)
    assert answer.status_code in (404, 422)
    assert rule in page
    assert kit.queued("media") == []


def test_a_job_of_a_task_that_is_not_there_is_not_submitted(kit: Kit) -> None:
    send(kit, "/ui/tasks/none/submit", 404)


def test_without_the_store_a_form_says_that_nothing_was_taken(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kit.client.get("/ui/tasks/greet").status_code == 200

    def down(*_args: Any) -> Any:
        raise StoreDown("the store cannot be reached: gone")

    monkeypatch.setattr(type(kit.parts.database), "_transaction", down)

    page = send(kit, "/ui/tasks/greet/submit", 503, key="k", **{"argument.cmd": "a"})

    assert "The store cannot be reached" in page.text
    assert kit.queued() == []


def test_a_form_that_needs_the_store_leads_to_no_page_that_refreshes_itself(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kit.client.get("/ui/queues/media").status_code == 200

    def down(*_args: Any) -> Any:
        raise StoreDown("the store cannot be reached: gone")

    monkeypatch.setattr(type(kit.parts.database), "_transaction", down)

    page = send(kit, "/ui/queues/media/pause", 503)

    assert "The store cannot be reached." in page.text
    assert "hx-trigger" not in page.text
    assert orders(kit) == []


def test_a_job_that_the_store_could_not_note_is_said_to_be_taken(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.parts.writer, "record", lambda _events: False)
    kit.client.put("/v1/schedules/nightly", json=SCHEDULE)

    submitted = after(kit, "/ui/tasks/greet/submit", **{"argument.cmd": "a"})
    run_now = after(kit, "/ui/schedules/nightly/run")

    assert "The store does not know it yet" in submitted
    assert "The store does not know it yet" in run_now
    assert len(kit.queued()) == 2


def test_without_the_broker_a_form_says_so(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_args: Any, **_more: Any) -> Any:
        raise Unavailable("no connection")

    monkeypatch.setattr(kit.transport, "publish", unavailable)

    answer = send(kit, "/ui/tasks/greet/submit", 503, **{"argument.cmd": "a"})

    assert "There is no connection to the broker" in answer.text
    assert answer.headers["Retry-After"] == "2"


def test_a_form_larger_than_any_is_not_read(kit: Kit) -> None:
    send(kit, "/ui/tasks/greet/submit", 413, **{"argument.cmd": "x" * 2_000_000})
