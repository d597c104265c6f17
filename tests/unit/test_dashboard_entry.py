"""Who gets into the dashboard, what they may do there, and what other sites cannot make them do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from server_kit import Kit, running
from warren_server.app import create_app
from warren_server.dashboard import origin
from warren_server.dashboard.entry import inside
from warren_server.dashboard.pages import site
from warren_server.errors import StoreDown

OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path, auth="tokens") as made:
        yield made


def secret(kit: Kit, *scopes: str, tenant: str | None = None) -> str:
    return kit.parts.tokens.create("test", scopes, tenant=tenant)[1]


def sign_in(kit: Kit, *scopes: str, **headers: str) -> Any:
    return kit.client.post(
        "/ui/sign-in", data={"token": secret(kit, *scopes), "next": "/ui/jobs"}, headers=OWN | headers
    )


def test_somebody_unknown_is_led_to_the_sign_in_and_back(kit: Kit) -> None:
    first = kit.client.get("/ui/jobs?state=dead")
    form = kit.client.get(first.headers["Location"])

    assert (first.status_code, first.headers["Location"]) == (303, "/ui/sign-in?next=/ui/jobs?state%3Ddead")
    assert form.status_code == 200
    assert 'name="next" value="/ui/jobs?state=dead"' in form.text
    assert 'type="password"' in form.text


def test_a_token_opens_a_session_that_scripts_and_other_sites_cannot_use(kit: Kit) -> None:
    answer = sign_in(kit, "read")

    cookie = answer.headers["Set-Cookie"]
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/jobs")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"))
    assert "Secure" not in cookie
    assert kit.client.get("/ui/jobs").status_code == 200
    assert kit.client.get("/v1/jobs").status_code == 401


def test_over_https_the_cookie_is_bound_to_it(kit: Kit) -> None:
    answer = sign_in(kit, "read", Origin="https://localhost")

    assert answer.headers["Set-Cookie"].startswith("__Host-warren_session=wrn_")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert kit.client.get("/ui/jobs", base_url="https://localhost").status_code == 200


def test_signing_out_ends_the_session(kit: Kit) -> None:
    sign_in(kit, "read")

    answer = kit.client.post("/ui/sign-out", headers=OWN)

    assert answer.headers["Location"] == "/ui/sign-in?done=signed-out"
    assert "You are signed out." in kit.client.get(answer.headers["Location"]).text
    assert kit.client.get("/ui/jobs").status_code == 303


def test_who_is_signed_in_needs_no_sign_in_page(kit: Kit) -> None:
    sign_in(kit, "read")

    answer = kit.client.get("/ui/sign-in?next=/ui/queues")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/queues")


def test_a_revoked_token_ends_its_session(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren_server.auth._FRESH_SECONDS", -1.0)
    sign_in(kit, "read")

    (token,) = kit.parts.tokens.all()
    kit.parts.tokens.revoke(token.id)

    assert kit.client.get("/ui/jobs").status_code == 303


@pytest.mark.parametrize(
    ("token", "status"), [("", 401), ("nonsense", 401), ("wrn_" + "a" * 43, 401), ("wrn_" + "a" * 5000, 401)]
)
def test_a_bad_token_is_refused_on_the_form(kit: Kit, token: str, status: int) -> None:
    answer = kit.client.post("/ui/sign-in", data={"token": token}, headers=OWN)

    assert answer.status_code == status
    assert "Set-Cookie" not in answer.headers
    assert 'role="alert"' in answer.text


def test_a_token_that_may_not_read_or_is_a_tenants_does_not_sign_in(kit: Kit) -> None:
    submit, tenants = secret(kit, "submit"), secret(kit, "admin", tenant="acme")

    for token in (submit, tenants):
        assert kit.client.post("/ui/sign-in", data={"token": token}, headers=OWN).status_code == 403
    answer = kit.client.get("/ui/jobs", headers={"Authorization": f"Bearer {tenants}"})
    assert answer.status_code == 403
    assert "all tenants" in answer.text
    assert "<nav" not in answer.text


def test_the_authorization_header_opens_too(kit: Kit) -> None:
    assert kit.client.get("/", headers={"Authorization": f"Bearer {secret(kit, 'read')}"}).status_code == 200


def test_nobody_is_led_to_another_site() -> None:
    evil = [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/ui/\\x",
        "/uix",
        "/ui/\n",
        "",
        None,
        "/v1/jobs",
    ]

    assert {inside(address) for address in evil} == {"/"}
    assert [inside(address) for address in ("/", "/?page=2", "/ui/jobs?q=a")] == ["/", "/?page=2", "/ui/jobs?q=a"]


def test_a_link_from_another_site_arrives_by_a_page_that_brings_the_cookie_along(kit: Kit) -> None:
    first = kit.client.get("/ui/jobs?q=a&state=dead", headers={"Sec-Fetch-Site": "cross-site"})
    again = kit.client.get("/ui/jobs?q=a&state=dead", headers=OWN)

    assert first.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/ui/jobs?q=a&amp;state=dead">' in first.text
    assert again.status_code == 303


def test_a_live_part_of_a_page_is_told_that_the_session_ended(kit: Kit) -> None:
    answer = kit.client.get("/ui/jobs", headers={"HX-Request": "true"})

    assert answer.status_code == 401
    assert "/ui/sign-in" in answer.text


def test_readers_see_no_forms_that_act_and_cannot_send_them(kit: Kit) -> None:
    sign_in(kit, "read")

    pages = [kit.client.get(path).text for path in ("/ui/queues", "/ui/queues/media", "/ui/tasks/greet", "/ui/workers")]
    # Signing out is the one form they have.
    assert [page.count('method="post"') for page in pages] == [1, 1, 1, 1]
    for path in ("/ui/queues/media/pause", "/ui/queues/media/purge", "/ui/tasks/greet/submit", "/ui/workers/drain"):
        answer = kit.client.post(path, data={"confirm": "media", "worker": "w", "argument.cmd": "a"}, headers=OWN)
        assert answer.status_code == 403
    assert kit.parts.queue_settings.get("media").paused is False


def test_who_may_submit_but_not_administer_sees_and_does_that(kit: Kit) -> None:
    sign_in(kit, "read", "submit")

    assert kit.client.get("/ui/tasks/greet").text.count('method="post"') == 2
    assert kit.client.get("/ui/queues/media").text.count('method="post"') == 1
    assert kit.client.post("/ui/tasks/greet/submit", data={"argument.cmd": "a"}, headers=OWN).status_code == 303
    assert kit.client.post("/ui/queues/media/pause", headers=OWN).status_code == 403


def test_an_unknown_sender_of_a_form_is_told_so_and_nothing_happens(kit: Kit) -> None:
    answer = kit.client.post("/ui/queues/media/pause", headers=OWN)

    assert answer.status_code == 401
    assert kit.parts.queue_settings.get("media").paused is False


FORGED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://[::1"},
    {},
]


@pytest.mark.parametrize("headers", FORGED, ids=str)
def test_no_form_of_another_site_does_anything(tmp_path: Path, headers: dict[str, str]) -> None:
    with running(tmp_path) as kit:
        rules = [rule for rule in create_app(kit.parts).url_map.iter_rules() if "POST" in (rule.methods or set())]
        paths = [rule.rule for rule in rules if rule.rule.startswith("/ui/")]

        answers = {
            path: kit.client.post(path.replace("<queue>", "media").replace("<task>", "greet"), headers=headers)
            for path in paths
        }

        assert len(paths) >= 12
        assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 403)
        assert "nothing was done" in answers["/ui/queues/<queue>/pause"].text


def test_where_browsers_say_no_more_than_the_origin_that_decides() -> None:
    assert origin.own(None, "http://warren.example:8000", "warren.example:8000")
    assert not origin.own(None, "http://warren.example", "warren.example:8000")
    assert not origin.own(None, "http://warren.example", None)
    assert not origin.own(None, None, "warren.example")


def test_every_page_is_listed_with_what_it_needs_and_what_acts_needs_more_than_reading(kit: Kit) -> None:
    made = site(kit.parts)
    rules = [rule for rule in create_app(kit.parts).url_map.iter_rules() if rule.endpoint.startswith("dashboard.")]

    open_to_all = {endpoint for endpoint, scope in made.scopes().items() if scope is None}
    assert open_to_all == {"static_file", "sign_in", "do_sign_in", "sign_out", "nowhere"}
    assert {rule.endpoint.removeprefix("dashboard.") for rule in rules} == set(made.scopes())
    for rule in rules:
        scope = made.scopes()[rule.endpoint.removeprefix("dashboard.")]
        assert scope is None or (scope != "read") == ("POST" in (rule.methods or set())), rule.endpoint


def answers(client: FlaskClient, *paths: str) -> list[Any]:
    return [client.get(path) for path in paths]


def test_every_answer_forbids_what_is_written_into_a_page_to_run(tmp_path: Path) -> None:
    with running(tmp_path) as kit:
        unknown, refused = "/ui/jobs/018f4e8a-0000-7000-8000-000000000001", "/ui/jobs?state=nonsense"

        for answer in answers(kit.client, "/", "/ui/queues/media", "/ui/sign-in", "/ui/nowhere", unknown, refused):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "<script>" not in answer.text
            assert " style=" not in answer.text
            assert " onclick=" not in answer.text


def test_what_pages_bring_is_kept_by_browsers_under_the_hash_of_its_content(tmp_path: Path) -> None:
    with running(tmp_path, auth="tokens") as kit:
        page = kit.client.get("/ui/sign-in").text
        style = page.split('rel="stylesheet" href="')[1].split('"')[0]

        answer = kit.client.get(style)

        assert (answer.status_code, answer.content_type) == (200, "text/css; charset=utf-8")
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for wrong in (
            style.replace("style", "other"),
            "/ui/static/0123456789abcdef/style.css",
            "/ui/static/x/../site.py",
        ):
            assert kit.client.get(wrong).status_code == 404


def test_without_the_store_nobody_new_gets_in(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    token = secret(kit, "read")

    def down(_hash: str) -> None:
        raise StoreDown

    monkeypatch.setattr(kit.parts.tokens, "find", down)

    page = kit.client.get("/", headers={"Authorization": f"Bearer {token}"})
    entry = kit.client.post("/ui/sign-in", data={"token": token}, headers=OWN)
    assert (page.status_code, entry.status_code) == (503, 503)
    assert "default" not in page.text
    assert page.headers["Retry-After"] == "2"


def test_the_dashboard_can_be_left_out(tmp_path: Path) -> None:
    with running(tmp_path, dashboard=False) as kit:
        assert [answer.status_code for answer in answers(kit.client, "/", "/ui/jobs")] == [404, 404]
