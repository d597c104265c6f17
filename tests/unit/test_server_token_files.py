"""Tokens that files hold, as a mounted secret does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_kit import Kit, database, running
from warren.errors import SettingsError
from warren_server.auth import refuse_open_door
from warren_server.errors import StoreDown
from warren_server.settings import AuthSettings, ServerSettings
from warren_server.store.tokens import TokenStore
from warren_server.token_files import TokenFiles

ADMIN, READ, OTHER = "wrn_" + "a" * 43, "wrn_" + "r" * 43, "wrn_" + "o" * 43
OUTSIDE = ServerSettings(bind="0.0.0.0:8000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(ADMIN + "\n")
    (tmp_path / "read-token").write_text(READ)
    return tmp_path


def settings(folder: Path) -> AuthSettings:
    return AuthSettings(auth_token_file=folder / "token", auth_read_token_file=folder / "read-token")


@pytest.fixture
def kit(folder: Path) -> Iterator[Kit]:
    with running(folder, auth_token_file=folder / "token", auth_read_token_file=folder / "read-token") as made:
        yield made


def status(kit: Kit, path: str, secret: str) -> int:
    return kit.client.get(path, headers={"Authorization": f"Bearer {secret}"}).status_code


def test_each_file_opens_what_its_scope_opens(kit: Kit) -> None:
    assert [status(kit, path, ADMIN) for path in ("/v1/jobs", "/metrics", "/v1/tokens")] == [200, 200, 200]
    assert [status(kit, path, READ) for path in ("/v1/jobs", "/metrics", "/v1/tokens")] == [200, 200, 403]
    assert status(kit, "/v1/jobs", OTHER) == 401


def test_a_file_shuts_the_door_of_a_loopback_server_too(kit: Kit) -> None:
    assert kit.client.get("/v1/jobs").status_code == 401


def test_a_token_in_a_file_opens_while_the_store_is_away(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_hash: str) -> None:
        raise StoreDown

    monkeypatch.setattr(kit.parts.tokens, "find", down)

    assert status(kit, "/v1/tasks", READ) == 200
    assert status(kit, "/v1/tasks", OTHER) == 503


def test_a_rotated_file_opens_with_its_new_token_only(kit: Kit, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(kit, "/v1/jobs", ADMIN) == 200
    (folder / "token").write_text(OTHER)
    assert status(kit, "/v1/jobs", ADMIN) == 200, "a moment passes before the file is read again"

    monkeypatch.setattr("warren_server.token_files._FRESH_SECONDS", 0.0)

    assert (status(kit, "/v1/jobs", ADMIN), status(kit, "/v1/jobs", OTHER)) == (401, 200)


def test_a_file_that_goes_away_opens_nothing_and_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("warren_server.token_files._FRESH_SECONDS", 0.0)
    caplog.set_level(logging.WARNING, logger="warren_server")
    with running(folder, auth_token_file=folder / "token") as kit:
        (folder / "token").unlink()

        assert status(kit, "/v1/jobs", ADMIN) == 401

    assert f"WARREN_AUTH_TOKEN_FILE is '{folder / 'token'}': cannot be read: No such file" in caplog.text


@pytest.mark.parametrize("held", ["", "wrn_short", "a" * 50, "wrn_" + "ä" * 40, "wrn_" + "a" * 300])
def test_a_file_without_a_token_stops_the_server_by_name_and_rule_and_is_not_shown(folder: Path, held: str) -> None:
    (folder / "read-token").write_text(held)

    with pytest.raises(
        SettingsError, match=r"WARREN_AUTH_READ_TOKEN_FILE is '.*read-token': must hold one token, wrn_"
    ) as told:
        TokenFiles.named_by(settings(folder)).check()

    assert not held or held not in str(told.value)


def test_a_file_of_other_bytes_stops_the_server(folder: Path) -> None:
    (folder / "token").write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match="it is not UTF-8"):
        TokenFiles.named_by(settings(folder)).check()


def test_a_server_others_can_reach_starts_with_a_file_and_without_the_store(folder: Path) -> None:
    tokens = TokenStore(database(folder))

    refuse_open_door(OUTSIDE, settings(folder), tokens)

    assert not (folder / "warren.db").exists()


def test_a_server_others_can_reach_does_not_start_when_the_file_is_missing(folder: Path) -> None:
    (folder / "token").unlink()

    with pytest.raises(SettingsError, match="WARREN_AUTH_TOKEN_FILE"):
        refuse_open_door(OUTSIDE, settings(folder), TokenStore(database(folder)))


def test_no_file_is_no_token() -> None:
    files = TokenFiles.named_by(AuthSettings())

    assert not files
    assert files.find("0" * 64) is None
