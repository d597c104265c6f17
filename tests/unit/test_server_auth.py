from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_kit import Kit, database, running
from warren.envelope import decode
from warren.errors import SettingsError
from warren_server.auth import refuse_open_door
from warren_server.errors import StoreDown
from warren_server.settings import AuthSettings, ServerSettings
from warren_server.store.tokens import TokenStore

JOB = {"task": "greet", "arguments": {"cmd": "a"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path, auth="tokens") as made:
        yield made


def bearer(kit: Kit, *scopes: str, expires_in: float | None = None) -> dict[str, str]:
    _, secret = kit.parts.tokens.create("test", scopes, expires_in)
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic d3JuXzp4"},
        {"Authorization": "Bearer wrn_" + "a" * 43},
        {"Authorization": "Bearer wrn_" + "a" * 5000},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_without_a_good_token_there_is_a_challenge(kit: Kit, headers: dict[str, str]) -> None:
    answer = kit.client.post("/v1/jobs", json=JOB, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert kit.queued() == []


def test_a_token_in_the_query_string_opens_nothing(kit: Kit) -> None:
    secret = bearer(kit, "admin")["Authorization"].removeprefix("Bearer ")

    assert kit.client.get(f"/v1/jobs?token={secret}").status_code == 401
    assert kit.client.get(f"/v1/jobs?access_token={secret}").status_code == 401


def test_expired_and_revoked_tokens_open_nothing(kit: Kit) -> None:
    expired = bearer(kit, "read", expires_in=0.001)
    token, secret = kit.parts.tokens.create("gone", ["read"])
    kit.parts.tokens.revoke(token.id)

    assert kit.client.get("/v1/jobs", headers=expired).status_code == 401
    assert kit.client.get("/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_scopes_open_what_they_name_and_admin_opens_all(kit: Kit) -> None:
    submit, read, admin = bearer(kit, "submit"), bearer(kit, "read"), bearer(kit, "admin")

    def statuses(headers: dict[str, str]) -> list[int]:
        return [
            kit.client.post("/v1/jobs", json=JOB, headers=headers).status_code,
            kit.client.get("/v1/jobs", headers=headers).status_code,
            kit.client.get("/v1/tokens", headers=headers).status_code,
        ]

    assert statuses(submit) == [202, 403, 403]
    assert statuses(read) == [403, 200, 403]
    assert statuses(admin) == [202, 200, 200]


def test_probes_need_no_token(kit: Kit) -> None:
    assert [kit.client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 401]


def test_tokens_are_made_listed_and_revoked_over_http(kit: Kit) -> None:
    admin = bearer(kit, "admin")

    made = kit.client.post("/v1/tokens", json={"scopes": ["read"], "name": "ci"}, headers=admin)
    mine = {"Authorization": f"Bearer {made.json['token']}"}
    listed = kit.client.get("/v1/tokens", headers=admin).json["tokens"]
    gone = kit.client.delete(f"/v1/tokens/{made.json['id']}", headers=admin)
    again = kit.client.delete(f"/v1/tokens/{made.json['id']}", headers=admin)

    assert (made.status_code, gone.status_code, again.status_code) == (201, 204, 404)
    assert made.json["token"].startswith("wrn_")
    assert [token["name"] for token in listed] == ["test", "ci"]
    assert all("token" not in token for token in listed)
    assert kit.client.get("/v1/jobs", headers=mine).status_code == 401


def test_the_store_holds_no_secret(kit: Kit, tmp_path: Path) -> None:
    secret = bearer(kit, "admin")["Authorization"].removeprefix("Bearer ")

    kept = b"".join(path.read_bytes() for path in tmp_path.glob("warren.db*"))

    assert secret.encode() not in kept


def test_a_token_seen_before_opens_while_the_store_is_away(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    known, unknown = bearer(kit, "submit"), bearer(kit, "submit")
    kit.client.post("/v1/jobs", json=JOB, headers=known)

    def down(_hash: str) -> None:
        raise StoreDown

    monkeypatch.setattr(kit.parts.tokens, "find", down)
    monkeypatch.setattr("warren_server.auth._FRESH_SECONDS", -1.0)

    assert kit.client.post("/v1/jobs", json=JOB, headers=known).status_code == 202
    assert kit.client.post("/v1/jobs", json=JOB, headers=unknown).status_code == 503


def test_a_loopback_server_is_open_until_the_first_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren_server.auth._FRESH_SECONDS", -1.0)
    with running(tmp_path) as kit:
        before = kit.client.get("/v1/jobs").status_code
        kit.parts.tokens.create("first", ["admin"])

        assert (before, kit.client.get("/v1/jobs").status_code) == (200, 401)


def test_a_server_others_can_reach_needs_a_token_or_a_word(tmp_path: Path) -> None:
    tokens = TokenStore(database(tmp_path))
    outside, inside = ServerSettings(bind="0.0.0.0:8000"), ServerSettings(bind="[::1]:8000")

    with pytest.raises(SettingsError, match=r"WARREN_SERVER_BIND is '0.0.0.0:8000'.*WARREN_AUTH=none"):
        refuse_open_door(outside, AuthSettings(), tokens)
    refuse_open_door(inside, AuthSettings(), tokens)
    refuse_open_door(outside, AuthSettings(auth="none"), tokens)
    tokens.create("first", ["admin"])
    refuse_open_door(outside, AuthSettings(), tokens)


def tenant_bearer(kit: Kit, tenant: str | None, *scopes: str) -> dict[str, str]:
    _, secret = kit.parts.tokens.create("test", scopes, tenant=tenant)
    return {"Authorization": f"Bearer {secret}"}


def test_a_tenants_token_submits_for_it_and_sees_its_jobs_only(kit: Kit) -> None:
    acme, other, all_ = (tenant_bearer(kit, tenant, "submit", "read") for tenant in ("acme", "other", None))
    mine = kit.client.post("/v1/jobs", json=JOB, headers=acme).json
    batch = kit.client.post("/v1/jobs/batch", json={"jobs": [JOB]}, headers=other).json["jobs"][0]

    def listed(headers: dict[str, str]) -> set[str]:
        return {job["id"] for job in kit.client.get("/v1/jobs", headers=headers).json["jobs"]}

    assert listed(acme) == {mine["id"]}
    assert listed(other) == {batch["id"]}
    assert listed(all_) == {mine["id"], batch["id"]}
    assert kit.client.get(f"{mine['url']}?wait=0.1", headers=acme).status_code == 200
    assert kit.client.get(mine["url"], headers=all_).status_code == 200
    missing = kit.client.get("/v1/jobs/018f4e8a-0000-7000-8000-000000000001", headers=other)
    foreign = kit.client.get(f"{mine['url']}?wait=30", headers=other)
    assert (foreign.status_code, foreign.json["type"]) == (404, missing.json["type"])
    assert [decode(message).tenant for message in kit.queued()] == ["acme", "other"]


def test_a_tenants_token_opens_nothing_that_is_about_all_tenants(kit: Kit) -> None:
    acme = tenant_bearer(kit, "acme", "admin")

    for path in ("/v1/dead-letters", "/v1/tokens", "/metrics"):
        assert kit.client.get(path, headers=acme).status_code == 403
    assert kit.client.post("/v1/tokens", json={"scopes": ["admin"]}, headers=acme).status_code == 403
    for path in ("/v1/tasks", "/v1/queues", "/v1/queues/default"):
        assert kit.client.get(path, headers=acme).status_code == 200


def test_a_token_is_made_for_a_tenant_of_a_proper_name(kit: Kit) -> None:
    admin = bearer(kit, "admin")

    made = kit.client.post("/v1/tokens", json={"scopes": ["read"], "tenant": "acme"}, headers=admin)
    refused = kit.client.post("/v1/tokens", json={"scopes": ["read"], "tenant": "a b"}, headers=admin)

    assert (made.status_code, made.json["tenant"]) == (201, "acme")
    assert (refused.status_code, refused.json["problems"][0]["field"]) == (422, "tenant")
