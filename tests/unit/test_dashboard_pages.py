"""What the pages of the dashboard show, on the in-memory transport."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from letter_kit import die, junk, row
from server_kit import Kit, running
from waiting import eventually
from warren.envelope import new_job_id
from warren.events import ErrorInfo, Event, State
from warren_server.errors import StoreDown
from warren_server.queues import QueueState

SCHEDULE = {"cron": "0 3 * * *", "task": "greet", "arguments": {"cmd": "tick"}}
XSS = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
NOBODY = "018f4e8a-0000-7000-8000-000000000001"


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    # Depths are asked for anew by each page.
    monkeypatch.setattr("warren_server.queues._DEPTHS_SECONDS", -1.0)
    with running(tmp_path) as made:
        yield made


def text(kit: Kit, path: str, status: int = 200) -> str:
    """Get a page, checked to be one."""
    answer = kit.client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.text.lstrip().startswith("<!doctype html>")
    return str(answer.text)


def told(page: str) -> str:
    """Return what a page says, without its tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def elements(page: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return the tags of a page with their attributes, as a browser would find them."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    Reader().feed(page)
    return found


def event(job: str, state: State, attempt: int = 1, **fields: Any) -> Event:
    usual = {"task": "greet", "queue": "default", "enqueued_ms": 1000, "at_ms": 3000, "worker": "pod-1"}
    return Event(**{**usual, **fields}, job=job, state=state, attempt=attempt)


def run(kit: Kit, job: str | None = None, **fields: Any) -> str:
    """Let a job run."""
    found = job or new_job_id()
    kit.parts.jobs.project([event(found, State.RUNNING, started_ms=2000, **fields)])
    return found


PAGES = {
    "/": "Overview",
    "/ui/queues": "default",
    "/ui/queues/media": "Purge media",
    "/ui/jobs": "No job is like that.",
    "/ui/dead-letters": "0 dead letters",
    "/ui/dead-letters/redrive": "Nothing has been moved.",
    "/ui/dead-letters/redrives": "None.",
    "/ui/schedules": "None.",
    "/ui/workers": "None was heard of yet.",
    "/ui/tasks": "Answer a greeting.",
    "/ui/tasks/greet": "Answer a greeting.",
    "/ui/scaling": "Desired",
}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_what_it_is_for_also_when_there_is_nothing_yet(kit: Kit, path: str) -> None:
    assert PAGES[path] in told(text(kit, path))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_landmarks_a_heading_and_a_way_past_the_menu(kit: Kit, path: str) -> None:
    page = text(kit, path)

    assert page.count("<h1>") == 1
    assert [page.count(f"<{tag}") for tag in ("main", "header ", "footer")] == [1, 1, 1]
    assert '<html lang="en">' in page
    assert '<a class="skip" href="#main">' in page
    assert page.count('aria-current="page"') == 1
    assert "<th>" not in page
    fields = set(re.findall(r'<(?:input|select|textarea) id="([^"]+)"', page))
    assert fields == set(re.findall(r'<label for="([^"]+)"', page)) - {"progress", "moved"}
    assert len(re.findall(r"<(?:input|select|textarea)(?! id=| type=.hidden)", page)) == 0


def test_the_overview_counts_jobs_by_state_and_the_largest_groups_of_dead_letters(kit: Kit) -> None:
    kit.submit()
    run(kit)
    die(kit)

    page = told(text(kit, "/"))

    assert "queued 1" in page
    assert "running 1" in page
    assert "1 dead letters" in page
    assert "1 × ValueError of greet in default" in page


def test_the_overview_draws_what_the_store_and_this_process_know(kit: Kit) -> None:
    kit.parts.history.look()
    kit.submit()
    kit.parts.history.look()

    page = text(kit, "/")

    assert page.count("<polyline") == 4
    assert 'role="img" aria-label="waiting 1 now; at most 1 in the last 30 minutes"' in page


def test_queues_are_listed_with_depths_and_jobs(kit: Kit) -> None:
    kit.submit()

    assert "default 1 – 0 0 0 open" in told(text(kit, "/ui/queues"))


def test_a_queue_is_shown_with_its_limits(kit: Kit) -> None:
    kit.client.put("/v1/queues/media/limits", json={"concurrency": 3, "rate": {"count": 10, "seconds": 60}})

    page = told(text(kit, "/ui/queues/media"))

    assert "At once 3" in page
    assert "Rate 10 in 1 min" in page


def test_jobs_are_found_by_state_queue_and_task(kit: Kit) -> None:
    running_, queued = run(kit), kit.submit(task="resize", arguments={"width": 1}).json["id"]

    def listed(query: str) -> set[str]:
        return set(re.findall(r'href="/ui/jobs/([0-9a-f-]{36})"', text(kit, f"/ui/jobs?{query}")))

    assert listed("") == listed("state=&queue=&task=&q=") == {running_, queued}
    assert listed("state=running") == listed("queue=default") == listed("task=greet") == {running_}
    assert listed("queue=media&state=queued") == {queued}
    assert listed("queue=media&state=dead") == set()


def test_a_job_is_found_by_its_id_or_the_beginning_of_it(kit: Kit) -> None:
    job = run(kit)

    whole = kit.client.get(f"/ui/jobs?q=%20{job.upper()}")
    assert (whole.status_code, whole.headers["Location"]) == (303, f"/ui/jobs/{job}")
    assert job in text(kit, f"/ui/jobs?q={job[:12]}")
    assert job not in text(kit, "/ui/jobs?q=ffff")
    assert "must be a job's id" in told(text(kit, "/ui/jobs?q=hello", 422))


@pytest.mark.parametrize("query", ["state=nonsense", "queue=A%20B", "task=%3Cscript%3E", "cursor=x"])
def test_a_filter_that_breaks_a_rule_is_shown_again_with_the_rule(kit: Kit, query: str) -> None:
    page = text(kit, f"/ui/jobs?{query}", 422)

    assert 'role="alert"' in page
    assert "<script>" not in page


def test_of_many_jobs_a_page_shows_some_and_leads_to_the_older_ones(kit: Kit) -> None:
    made = [new_job_id() for _ in range(60)]
    kit.parts.jobs.project([event(job, State.RUNNING, started_ms=1) for job in made])

    first = text(kit, "/ui/jobs?state=running")
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', first)[1])  # type: ignore[index]
    second = text(kit, older)

    def jobs(page: str) -> list[str]:
        return re.findall(r'<th scope="row"><a href="/ui/jobs/([^"]+)"', page)

    assert "state=running" in older
    assert len(jobs(first)) == 50
    assert sorted(jobs(first) + jobs(second)) == sorted(made)
    assert 'rel="next"' not in second
    assert 'hx-trigger="every 3s"' in first
    assert "hx-trigger" not in second


def test_a_job_is_shown_with_all_its_attempts(kit: Kit) -> None:
    job = new_job_id()
    error = ErrorInfo(type="app.Broken", message="no disk", traceback="Traceback\n  line 7")
    kit.parts.jobs.project(
        [
            event(job, State.RETRYING, 1, started_ms=1000, at_ms=2500, outcome="failed", error=error, max_attempts=5),
            event(
                job,
                State.RUNNING,
                2,
                started_ms=4000,
                worker="pod-2",
                redelivered=True,
                progress=0.25,
                progress_message="half of half",
                max_attempts=5,
            ),
        ]
    )

    page = text(kit, f"/ui/jobs/{job}")

    said = told(page)
    assert "Attempt 2 of 5" in said
    assert "Attempt 1: failed" in said
    assert "on pod-1" in said
    assert "app.Broken : no disk Traceback Traceback line 7" in said
    assert "Attempt 2: running" in said
    assert "on pod-2 , handed out again" in said
    assert "Progress: 25 %, half of half" in said
    assert '<progress id="progress" max="1" value="0.25">' in page
    assert 'hx-trigger="every 2s"' in page


def test_a_job_that_ended_is_shown_with_its_result_and_not_refreshed(kit: Kit) -> None:
    job = run(kit)
    kit.parts.jobs.project(
        [event(job, State.SUCCEEDED, started_ms=2000, outcome="succeeded", result='{"kept": "\\ud800 \\u00e9"}')]
    )

    page = text(kit, f"/ui/jobs/{job}")

    assert '"kept": "? é"' in html.unescape(page)
    assert "hx-trigger" not in page
    assert "Cancel" not in page


@pytest.mark.parametrize(
    "path",
    [
        f"/ui/jobs/{NOBODY}",
        "/ui/jobs/nonsense",
        "/ui/queues/nowhere",
        "/ui/queues/No%20Name",
        f"/ui/dead-letters/{NOBODY}",
        "/ui/dead-letters/nonsense",
        f"/ui/dead-letters/redrives/{NOBODY}",
        "/ui/schedules/none",
        "/ui/schedules/%3Cb%3E",
        "/ui/tasks/none",
        "/ui/nothing/here",
    ],
)
def test_what_is_not_there_is_said_on_a_page(kit: Kit, path: str) -> None:
    page = text(kit, path, 404)

    assert "<h1>There is no" in page
    assert "<b>" not in page


def test_dead_letters_are_grouped_by_error_and_found(kit: Kit) -> None:
    for _ in range(3):
        die(kit)
    other = die(kit, error="app.Other", queue="media", task="resize", reason="gave up")

    page = told(text(kit, "/ui/dead-letters"))
    found = text(kit, "/ui/dead-letters?error=app.Other&reason=GAVE")

    assert "ValueError greet default 3" in page
    assert "app.Other resize media 1" in page
    assert set(re.findall(r'href="/ui/dead-letters/([0-9a-f-]{36})"', found)) == {other}
    assert "/ui/dead-letters/redrive?error=app.Other&amp;reason=GAVE" in found
    assert "must be an RFC 3339 time" in told(text(kit, "/ui/dead-letters?since=yesterday", 422))


def test_of_many_dead_letters_a_page_shows_some_and_leads_to_the_older_ones(kit: Kit) -> None:
    kit.parts.letters.add([row(dead_ms=5000 + number) for number in range(60)])

    first = text(kit, "/ui/dead-letters?task=greet")
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', first)[1])  # type: ignore[index]
    second = text(kit, older)

    assert [page.count("<td>failed 5 of 5 attempts</td>") for page in (first, second)] == [50, 10]
    assert "task=greet" in older


def test_of_a_million_names_a_page_shows_some(kit: Kit) -> None:
    kit.parts.letters.add([row(task=f"task_{number}", error=f"E{number}") for number in range(300)])
    kit.parts.queues._read_depths = lambda: {f"warren.q.q{number}": QueueState(ready=0) for number in range(100_000)}

    groups, queues, jobs, scaling = (
        text(kit, path) for path in ("/ui/dead-letters", "/ui/queues?page=3", "/ui/jobs", "/ui/scaling?page=99999999")
    )

    assert groups.count("<tr>") == 1 + 50 + 1 + 50
    assert "300 dead letters" in told(groups)
    assert queues.count("<tr>") == 1 + 50
    assert "Page 3 of 2001" in queues
    assert jobs.count("<option value=") < 500
    assert "Page 2001 of 2001" in scaling
    assert max(map(len, (groups, queues, jobs, scaling))) < 200_000


def test_a_dead_letter_is_shown_with_arguments_error_and_message(kit: Kit) -> None:
    letter = die(kit, body=b'{"cmd":"b\xc3\xa4h"}')

    page = told(text(kit, f"/ui/dead-letters/{letter}"))

    assert '"cmd": "bäh"' in page
    assert "failed 5 of 5 attempts" in page
    assert "Image app:1" in page
    assert "warren-attempt" in page


def test_a_dead_letter_that_is_no_job_is_shown_and_cannot_be_retried(kit: Kit) -> None:
    page = text(kit, f"/ui/dead-letters/{junk(kit)}")

    assert "They are too large for a page, or no JSON" in told(page)
    assert "Edit and retry" not in page


def test_a_message_of_a_megabyte_and_a_long_traceback_do_not_blow_up_a_page(kit: Kit) -> None:
    letter = die(kit, body=b'{"cmd":"' + b"x" * 900_000 + b'"}')
    job = run(kit)
    error = ErrorInfo(type="E" * 5000, message="m" * 5000, traceback="first\n" + "t" * 10_000_000 + "\nlast")
    kit.parts.jobs.project([event(job, State.DEAD, started_ms=2000, outcome="failed", error=error)])

    pages = [text(kit, f"/ui/dead-letters/{letter}"), text(kit, f"/ui/jobs/{job}"), text(kit, "/ui/jobs")]

    assert max(map(len, pages)) < 150_000
    assert "characters before this are left out" in pages[1]
    assert "last</pre>" in pages[1]


def test_a_dead_job_is_linked_to_its_trace_where_there_is_a_place_to_look(tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with running(tmp_path, trace_url="https://traces.example/{trace_id}?x=1&y=2") as kit:
        traced = die(kit, traceparent=f"00-{trace}-b7ad6b7169203331-01")
        plain, odd = die(kit), die(kit, traceparent="00-<b>-x-01")

        for path in ("/ui/jobs/", "/ui/dead-letters/"):
            assert f'href="https://traces.example/{trace}?x=1&amp;y=2"' in text(kit, path + traced)
            assert "traces.example" not in text(kit, path + plain) + text(kit, path + odd)


def test_schedules_are_shown_with_the_ticks_to_come_and_those_that_were(kit: Kit) -> None:
    kit.client.put("/v1/schedules/nightly", json=SCHEDULE)
    kit.client.put("/v1/schedules/often", json={**SCHEDULE, "cron": None, "interval": 90, "paused": True})

    listed, page = told(text(kit, "/ui/schedules")), told(text(kit, "/ui/schedules/nightly"))

    assert "nightly 0 3 * * * UTC greet" in listed
    assert "often every 1 min 30 s greet – paused api" in listed
    assert len(re.findall(r"\d{4}-\d\d-\d\d 03:00:00", page)) == 5
    assert '"cmd": "tick"' in page
    assert "None yet." in page
    assert "these are the ticks it would have" in told(text(kit, "/ui/schedules/often"))


def test_workers_are_shown_with_what_they_run(kit: Kit) -> None:
    busy = run(kit, worker="pod-7")
    done = run(kit, worker="pod-8")
    kit.parts.jobs.project(
        [event(done, State.SUCCEEDED, started_ms=2000, at_ms=4000, outcome="succeeded", worker="pod-8")]
    )

    page = told(text(kit, "/ui/workers"))

    assert f"pod-7 1970-01-01 00:00:03 greet, attempt 1, since 1970-01-01 00:00:02 {busy} working" in page
    assert "pod-8 1970-01-01 00:00:04 nothing working" in page


def test_tasks_are_shown_with_a_field_for_each_argument(kit: Kit) -> None:
    page = text(kit, "/ui/tasks/resize")

    assert 'name="argument.width"' in page
    assert "width integer, required" in told(page)
    assert '"type": "integer"' in html.unescape(page)
    assert 'href="/ui/jobs?task=resize"' in page


def test_scaling_tells_what_is_desired_and_why_or_why_nobody_can_say(kit: Kit) -> None:
    unknown = told(text(kit, "/ui/scaling"))
    kit.parts.queues._read_depths = lambda: {"warren.q.media": QueueState(ready=100, unacked=0, consumers=2)}
    kit.parts.history.look()
    kit.parts.history.look()

    page = text(kit, "/ui/scaling")

    assert "does not tell how deep" in unknown
    assert re.search(r"media 10 2 100 0 – ", told(page))
    assert 'aria-label="desired 10, attached 2 now; at most 10 in the last 30 minutes"' in page


def test_what_comes_from_outside_is_text_on_every_page(kit: Kit) -> None:
    job = new_job_id()
    error = ErrorInfo(type=XSS, message=XSS, traceback=XSS)
    hostile = {"task": XSS, "queue": XSS, "worker": XSS}
    kit.parts.jobs.project(
        [
            event(job, State.RETRYING, 1, started_ms=1, outcome=XSS, error=error, **hostile),
            event(job, State.RUNNING, 2, started_ms=1, progress=0.5, progress_message=XSS, tenant=XSS, **hostile),
        ]
    )
    ended = new_job_id()
    kit.parts.jobs.project([event(ended, State.SUCCEEDED, started_ms=1, result=f'["{XSS[:20]}"]', **hostile)])
    body = ('{"cmd":"' + XSS.replace('"', "") + '"}').encode()
    bad = row(error=XSS, reason=XSS, worker=XSS, image=XSS, body=body)
    kit.parts.letters.add([{**bad, "task": XSS, "queue": XSS, "outcome": XSS, "error_message": XSS}])
    kit.client.put("/v1/schedules/nightly", json={**SCHEDULE, "arguments": {"cmd": XSS}})
    query = "q=%22%3E%3Cscript%3E&queue=%22%3E%3Cscript%3E&task=%27%3E%3Cscript%3E"

    paths = [
        *PAGES,
        f"/ui/jobs/{job}",
        f"/ui/jobs/{ended}",
        f"/ui/dead-letters/{bad['id']}",
        "/ui/schedules/nightly",
        "/?done=%3Cscript%3E",
        "/ui/%3Cscript%3Ealert(1)%3C/script%3E",
        "/ui/dead-letters/redrive?error=%3Cscript%3E",
        f"/ui/jobs?{query}",
        f"/ui/dead-letters?error=%22%3E%3Cscript%3E&{query.partition('&')[2]}",
    ]
    pages = [kit.client.get(path).text for path in paths]

    for path, page in zip(paths, pages, strict=True):
        tags = elements(page)
        assert [dict(attributes).get("src", "")[:11] for tag, attributes in tags if tag == "script"] == [
            "/ui/static/"
        ] * 2, path
        assert len([tag for tag, _ in tags if tag == "img"]) == 1, path
        assert [name for _, attributes in tags for name, _ in attributes if name.startswith("on")] == [], path
    assert sum("&lt;script&gt;" in page for page in pages) >= 8


def test_words_stay_within_their_attributes(kit: Kit) -> None:
    kit.parts.letters.add([row(error='x" onmouseover="alert(1)')])

    tags = elements(text(kit, "/ui/dead-letters") + text(kit, '/ui/dead-letters?error=x"%20onfocus="y'))

    assert [name for _, attributes in tags for name, _ in attributes if name.startswith("on")] == []


STORE_PAGES = ["/ui/jobs", f"/ui/jobs/{NOBODY}", "/ui/dead-letters", "/ui/dead-letters/redrives", "/ui/schedules"]


@pytest.fixture
def storeless(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Kit:
    kit.submit()
    kit.submit()

    def down(*_args: Any) -> Any:
        raise StoreDown("the store cannot be reached: gone")

    monkeypatch.setattr(type(kit.parts.database), "_transaction", down)
    return kit


@pytest.mark.parametrize("path", ["/", "/ui/queues", "/ui/queues/default", "/ui/workers", "/ui/tasks", "/ui/scaling"])
def test_without_the_store_pages_say_so_and_show_the_brokers_numbers(storeless: Kit, path: str) -> None:
    page = told(text(storeless, path))

    assert ("The store cannot be reached." in page) == (path not in ("/ui/tasks", "/ui/scaling"))
    if path in ("/", "/ui/queues"):
        assert "default 2 – 0" in page
    if path == "/ui/queues/default":
        assert "Waiting 2" in page


@pytest.mark.parametrize("path", STORE_PAGES)
def test_pages_that_need_the_store_show_the_brokers_numbers_instead(storeless: Kit, path: str) -> None:
    page = text(storeless, path, 503)

    assert "The store cannot be reached." in told(page)
    assert "default 2 – 0" in told(page)
    assert 'hx-trigger="every 5s"' in page


def test_without_the_broker_pages_say_so(kit: Kit) -> None:
    kit.transport.stop()
    eventually(lambda: not kit.transport.status.connected)

    assert "There is no connection to the broker." in told(text(kit, "/ui/queues"))


def test_a_mistake_of_ours_is_told_in_general_terms(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(kit.parts.planner, "all", fail)

    page = text(kit, "/ui/schedules", 500)

    assert "The server failed; its log says why." in page
    assert "secret" not in page
