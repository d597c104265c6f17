"""Settings from the environment: a value that breaks its rule stops the program with variable, value and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from warren.errors import SettingsError
from warren.settings import BrokerSettings, ClientSettings, LogSettings, Settings, load, variable, with_credentials


def test_without_any_variable_the_defaults_hold() -> None:
    broker = load(BrokerSettings)

    assert (broker.host, broker.vhost, broker.heartbeat_seconds, broker.topology) == ("127.0.0.1", "/", 15, "apply")
    assert load(ClientSettings).url == "http://127.0.0.1:8000"


def test_variables_are_read_and_empty_ones_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_AMQP_HOST", "rabbit")
    monkeypatch.setenv("WARREN_AMQP_PORT", "5673")
    monkeypatch.setenv("WARREN_AMQP_VHOST", "")

    broker = load(BrokerSettings)

    assert (broker.host, broker.port, broker.vhost) == ("rabbit", 5673, "/")


def test_what_is_given_beats_the_environment_and_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_LOG_LEVEL", "debug")
    monkeypatch.setenv("WARREN_LOG_FORMAT", "console")

    settings = load(LogSettings, level="error", format=None)

    assert (settings.level, settings.format) == ("error", "console")


@pytest.mark.parametrize(
    ("group", "name", "value", "rule"),
    [
        (BrokerSettings, "WARREN_AMQP_PORT", "70000", "less than or equal to 65535"),
        (BrokerSettings, "WARREN_AMQP_PORT", "amqp", "valid integer"),
        (BrokerSettings, "WARREN_AMQP_HEARTBEAT_SECONDS", "1", "greater than or equal to 5"),
        (BrokerSettings, "WARREN_AMQP_RECONNECT_MAX_SECONDS", "nan", "less than or equal to 86400"),
        (BrokerSettings, "WARREN_AMQP_TOPOLOGY", "maybe", "'apply' or 'check'"),
        (BrokerSettings, "WARREN_AMQP_TLS", "perhaps", "boolean"),
        (LogSettings, "WARREN_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        (ClientSettings, "WARREN_URL", "ftp://x", "must be http://host:port"),
    ],
)
def test_a_wrong_value_is_refused_with_variable_value_and_rule(
    monkeypatch: pytest.MonkeyPatch, group: type[Settings], name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=rule) as caught:
        load(group)

    assert str(caught.value).startswith(f"{name} is '{value}': ")


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_LOG_LEVEL", "loud")
    monkeypatch.setenv("WARREN_LOG_FORMAT", "xml")

    with pytest.raises(SettingsError, match=r"WARREN_LOG_LEVEL is 'loud'.*; WARREN_LOG_FORMAT is 'xml'"):
        load(LogSettings)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        (BrokerSettings, "WARREN_AMQP_URL", "http://user:hunter2@rabbit"),
        (BrokerSettings, "WARREN_AMQP_URL", "amqp://user:hunter2@"),
        (BrokerSettings, "WARREN_AMQP_URL", "amqp://user:hunter2@[bad"),
        (BrokerSettings, "WARREN_AMQP_CERT_FILE", "hunter2"),
    ],
)
def test_a_secret_never_shows_in_an_error(
    monkeypatch: pytest.MonkeyPatch, group: type[Settings], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("WARREN_AMQP_PASSWORD", "hunter2")

    with pytest.raises(SettingsError, match="WARREN_AMQP") as caught:
        load(group)

    assert "hunter2" not in str(caught.value)


def test_a_secret_never_shows_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://user:hunter2@rabbit")
    monkeypatch.setenv("WARREN_TOKEN", "hunter3")

    assert "hunter" not in f"{load(BrokerSettings)!r} {load(ClientSettings)!r}"


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="WARREN_AMQP_CERT_FILE and WARREN_AMQP_KEY_FILE go together"):
        load(BrokerSettings, cert_file=tmp_path)


def test_settings_are_frozen() -> None:
    settings = load(LogSettings)

    with pytest.raises(ValueError, match="frozen"):
        settings.level = "debug"


def test_every_field_is_documented() -> None:
    for group in (BrokerSettings, ClientSettings, LogSettings):
        for name, field in group.model_fields.items():
            assert field.description, variable(group, name)


def test_credentials_are_put_into_a_url_percent_encoded() -> None:
    assert with_credentials("amqp://old:x@host:5672/v", "a@b", "p/w:d") == "amqp://a%40b:p%2Fw%3Ad@host:5672/v"
    assert with_credentials("amqp://host", "a", "b") == "amqp://a:b@host"
