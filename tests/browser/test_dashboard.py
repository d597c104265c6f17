"""What people do with the dashboard, in a real browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.seed import event, fill, retrying_job
from browser.serving import Open, Serve, Served
from letter_kit import arguments, die
from waiting import eventually
from warren.envelope import new_job_id
from warren.events import ErrorInfo, State

XSS = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def test_signing_in_and_out(open_context: Open, serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, auth="tokens") as served:
        _, token = served.kit.parts.tokens.create("test", ["admin"])
        context = open_context(base_url=served.url, quiet=False)
        page = context.new_page()

        page.goto("/ui/queues/media")
        page.get_by_label("API token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("API token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{served.url}/ui/queues/media")

        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        page.goto("/ui/queues")
        expect(page).to_have_url(f"{served.url}/ui/sign-in?next=/ui/queues")


def test_a_link_from_another_site_opens_the_page_of_who_is_signed_in(
    open_context: Open, serve: Serve, tmp_path: Path
) -> None:
    with serve(tmp_path, auth="tokens") as served:
        _, token = served.kit.parts.tokens.create("test", ["read"])
        page = open_context(base_url=served.url, quiet=False).new_page()
        page.goto("/ui/sign-in")
        page.get_by_label("API token").fill(token)
        page.get_by_role("button", name="Sign in").click()

        with foreign_site(f'<a href="{served.url}/ui/queues?page=1">look</a>') as elsewhere:
            page.goto(elsewhere)
            page.get_by_role("link", name="look").click()

            expect(page.get_by_role("heading", name="Queues")).to_be_visible()


def test_a_form_of_another_site_does_nothing(open_context: Open, served: Served) -> None:
    form = f'<form method="post" action="{served.url}/ui/queues/media/pause"><button>win a prize</button></form>'
    page = open_context(quiet=False).new_page()

    with foreign_site(form) as elsewhere:
        page.goto(elsewhere)
        page.get_by_role("button", name="win a prize").click()

        expect(page.get_by_text("nothing was done")).to_be_visible()
    assert served.kit.parts.queue_settings.get("media").paused is False


def test_the_dashboard_is_not_shown_in_a_frame_of_another_site(open_context: Open, served: Served) -> None:
    page = open_context(quiet=False).new_page()

    with foreign_site(f'<iframe src="{served.url}/"></iframe>') as elsewhere:
        page.goto(elsewhere)

        frame = page.frames[-1]
        assert "Warren" not in frame.content()


def test_a_queue_is_paused_resumed_and_purged(page: Page, served: Served) -> None:
    page.goto("/ui/queues")
    page.get_by_role("button", name="Pause media").click()
    expect(page.get_by_role("status")).to_contain_text("The queue is paused.")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("worked on again")


def test_a_purge_wants_the_name_of_the_queue(open_context: Open, served: Served) -> None:
    page = open_context(base_url=served.url, quiet=False).new_page()
    page.goto("/ui/queues/media")

    page.get_by_label("To confirm, type the queue's name: media").fill("default")
    page.get_by_role("button", name="Purge media").click()
    expect(page.get_by_role("alert")).to_contain_text("must be the queue's name")
    page.get_by_label("To confirm, type the queue's name: media").fill("media")
    page.get_by_role("button", name="Purge media").click()

    expect(page.get_by_role("status")).to_contain_text("The order to cancel all waiting jobs is out.")


def test_a_job_is_submitted_and_cancelled(page: Page, served: Served) -> None:
    page.goto("/ui/tasks")
    page.get_by_role("link", name="resize").click()
    page.get_by_label("width").fill("640")
    page.get_by_text("Options").click()
    page.get_by_label("Priority, 0 to 9").fill("5")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status")).to_contain_text("The job is taken.")

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("status")).to_contain_text("The cancel is asked for.")
    (message,) = served.kit.queued("media")
    assert (arguments(message.body)["width"], message.priority) == (640, 5)


def test_without_javascript_pages_are_read_and_forms_are_sent(open_context: Open, served: Served) -> None:
    page = open_context(base_url=served.url, java_script_enabled=False).new_page()

    page.goto("/ui/tasks/greet")
    page.get_by_label("cmd").fill("hello")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status")).to_contain_text("The job is taken.")
    page.get_by_role("link", name="Jobs").click()

    expect(page.get_by_role("row")).to_have_count(2)
    assert arguments(served.kit.queued()[0].body) == {"cmd": "hello"}


def test_the_list_of_jobs_shows_new_ones_by_itself_until_it_is_stopped(page: Page, served: Served) -> None:
    page.goto("/ui/jobs")
    rows = page.locator("tbody tr th")
    expect(rows).to_have_count(0)

    served.kit.submit()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Stop live updates").click()
    served.kit.submit()
    page.wait_for_timeout(3500)
    assert rows.count() == 1
    page.reload()
    expect(rows).to_have_count(2)
    expect(page.get_by_role("button", name="Resume live updates")).to_be_visible()


def test_what_is_read_at_the_moment_is_not_replaced(page: Page, served: Served) -> None:
    job = retrying_job(served.kit)
    page.goto(f"/ui/jobs/{job}")
    page.get_by_text("Traceback").first.click()
    traceback = page.get_by_text('File "/tasks/media.py"')
    expect(traceback).to_be_visible()

    page.wait_for_timeout(2500)
    expect(traceback).to_be_visible()
    page.get_by_text("Traceback", exact=True).first.click()
    page.locator("h1").click()
    served.kit.parts.jobs.project([event(job, State.SUCCEEDED, 3, task="resize", queue="media", outcome="succeeded")])

    expect(page.locator("dd .state.succeeded")).to_be_visible()


def test_a_page_says_when_the_server_does_not_answer(open_context: Open, serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        page = open_context(base_url=served.url, quiet=False).new_page()
        page.goto("/ui/jobs")
        page.route("**/*", lambda route: route.abort())

        expect(page.get_by_text("The server does not answer; what is shown is old.")).to_be_visible()


def test_a_dead_letter_is_edited_until_it_fits_and_retried(open_context: Open, served: Served) -> None:
    letter = die(served.kit, queue="media", task="resize", body=b'{"width": "wide"}')
    page = open_context(base_url=served.url, quiet=False).new_page()
    page.goto("/ui/dead-letters")
    page.get_by_role("link", name=letter).click()

    page.get_by_label("Arguments, as JSON").fill('{"width": "wider"}')
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("alert")).to_contain_text("width")
    expect(page.get_by_label("Arguments, as JSON")).to_have_value('{"width": "wider"}')
    page.get_by_label("Arguments, as JSON").fill('{"width": 640}')
    page.get_by_role("button", name="Retry").click()

    expect(page.get_by_role("status")).to_contain_text("The job is back in its queue.")
    assert [arguments(message.body) for message in served.kit.queued("media")] == [{"width": 640}]


def test_dead_letters_are_redriven_after_a_dry_run_with_their_progress_shown(page: Page, served: Served) -> None:
    for _ in range(8):
        die(served.kit)
    other = die(served.kit, error="app.Other")
    page.goto("/ui/dead-letters")
    page.get_by_role("link", name="ValueError", exact=True).click()
    page.get_by_role("link", name="Redrive them").click()
    expect(page.get_by_text("Nothing has been moved.")).to_be_visible()

    page.get_by_label("Jobs a second").fill("4")
    page.get_by_role("button", name="Redrive 8").click()

    expect(page.get_by_text("done: 8 of 8 moved")).to_be_visible()
    assert len(served.kit.queued()) == 8
    assert served.kit.parts.letters.get(other) is not None


def test_a_worker_is_drained(page: Page, served: Served) -> None:
    fill(served.kit)
    page.goto("/ui/workers")

    page.get_by_role("button", name="Drain warren-media-5c8b-v8r2c").click()

    expect(page.get_by_role("row", name="warren-media-5c8b-v8r2c")).to_contain_text("told to drain")


def test_hostile_words_do_nothing_in_a_browser(open_context: Open, served: Served) -> None:
    job, error = new_job_id(), ErrorInfo(type=XSS, message=XSS, traceback=XSS)
    hostile = {"task": XSS, "queue": XSS, "worker": XSS}
    served.kit.parts.jobs.project(
        [
            event(job, State.RETRYING, 1, started_ms=1, outcome=XSS, error=error, **hostile),
            event(job, State.RUNNING, 2, started_ms=1, progress=0.5, progress_message=XSS, **hostile),
        ]
    )
    letter = die(served.kit, error=XSS, reason=XSS, worker=XSS, image=XSS)
    # Complaints of the console would be of a policy that had to step in; there is none to begin with.
    page = open_context(base_url=served.url).new_page()

    for path in ("/", "/ui/jobs", f"/ui/jobs/{job}", "/ui/dead-letters", f"/ui/dead-letters/{letter}", "/ui/workers"):
        page.goto(path)
        assert page.locator("img").count() == 1
        assert page.locator("script").count() == 2


def test_a_session_that_ended_is_said_in_the_live_part(
    open_context: Open, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warren_server.auth._FRESH_SECONDS", -1.0)
    with serve(tmp_path, auth="tokens") as served:
        token, secret = served.kit.parts.tokens.create("test", ["read"])
        page = open_context(base_url=served.url, quiet=False).new_page()
        page.goto("/ui/sign-in?next=/ui/jobs")
        page.get_by_label("API token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()

        served.kit.parts.tokens.revoke(token.id)

        expect(page.get_by_role("link", name="Sign in")).to_be_visible()


@contextmanager
def foreign_site(body: str) -> Iterator[str]:
    """Serve a page of another site: by the other name of loopback, which makes it one to a browser."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f"<!doctype html><title>elsewhere</title>{body}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_the_seed_has_all_that_pages_show(served: Served) -> None:
    paths = fill(served.kit)

    eventually(lambda: served.kit.client.get(paths["/ui/jobs/dead"]).status_code == 200)
