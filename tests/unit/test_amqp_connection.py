"""From settings to a connection, and from a failure to words."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from pika import exceptions

from warren.amqp import connect
from warren.amqp.connection import Link, backoff_seconds, explain
from warren.amqp.management import Management
from warren.amqp.parameters import connection_parameters, endpoint, login_source, management_login, tls_context
from warren.errors import SettingsError, Unavailable
from warren.settings import BrokerSettings


def settings(**fields: object) -> BrokerSettings:
    return BrokerSettings.model_validate(fields)


def test_without_any_setting_it_is_the_local_broker_as_guest() -> None:
    where = endpoint(settings())

    assert (where.host, where.port, where.vhost, where.tls) == ("127.0.0.1", 5672, "/", False)
    assert (where.username, where.password) == ("guest", "guest")


def test_the_url_wins_over_the_pieces_and_is_decoded() -> None:
    url = "amqps://us%3Aer:p%40ss%2Fword@broker.example:5999/team%2Fa"
    where = endpoint(settings(url=url, host="other", port=1, vhost="x", username="y", password="z"))

    assert (where.host, where.port, where.vhost, where.tls) == ("broker.example", 5999, "team/a", True)
    assert (where.username, where.password) == ("us:er", "p@ss/word")


@pytest.mark.parametrize(("url", "port"), [("amqp://h", 5672), ("amqps://h", 5671)])
def test_the_port_follows_from_the_scheme(url: str, port: int) -> None:
    assert endpoint(settings(url=url)).port == port


def test_the_files_win_and_are_read_anew(tmp_path: Path) -> None:
    username, password = tmp_path / "username", tmp_path / "password"
    username.write_text("app\n")
    password.write_text("first\n")
    given = settings(url="amqp://u:p@h", username_file=username, password_file=password)
    before = endpoint(given)

    password.write_text("second")

    assert (before.username, before.password) == ("app", "first")
    assert endpoint(given).password == "second"


def test_a_credential_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothere cannot be read: No such file"):
        endpoint(settings(password_file=tmp_path / "nothere"))


def test_an_endpoint_never_shows_its_password() -> None:
    where = endpoint(settings(url="amqp://app:hidden@h:1/v"))

    assert "hidden" not in repr(where) + where.address
    assert where.address == "amqp://h:1 vhost 'v'"


def test_tls_verifies_the_brokers_certificate_and_name() -> None:
    parameters = connection_parameters(settings(url="amqps://broker.example"), "test")

    context = parameters.ssl_options.context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert parameters.ssl_options.server_hostname == "broker.example"


def test_a_certificate_file_that_is_none_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")

    with pytest.raises(SettingsError, match=r"WARREN_AMQP_CA_FILE.*ca\.pem"):
        tls_context(settings(ca_file=wrong))


def test_a_missing_client_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="_CERT_FILE"):
        tls_context(settings(cert_file=tmp_path / "a", key_file=tmp_path / "b"))


def test_the_connection_carries_its_purpose_and_heartbeat() -> None:
    parameters = connection_parameters(settings(heartbeat_seconds=7), "warren publishing 1")

    assert parameters.heartbeat == 7
    assert parameters.client_properties["connection_name"] == "warren publishing 1"


def test_back_off_is_full_jitter_that_doubles_up_to_its_bound() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0
            return b

    waits = [backoff_seconds(attempt, 10.0, Highest()) for attempt in (1, 2, 3, 6, 7, 1000)]

    assert waits == [0.2, 0.4, 0.8, 6.4, 10.0, 10.0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.ProbableAuthenticationError("x"), "check the user name and password"),
        (exceptions.ProbableAccessDeniedError("x"), "check that it exists"),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), "320 CONNECTION_FORCED"),
        (exceptions.AMQPConnectionError(ConnectionRefusedError(111, "refused")), r"refused"),
        (exceptions.StreamLostError("gone"), "StreamLostError"),
        (SettingsError("the file is missing"), "the file is missing"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_failure_is_told_in_words(error: Exception, words: str) -> None:
    assert words in explain(error)


def test_making_a_transport_does_no_io() -> None:
    transport = connect(settings(host="broker.invalid"))

    assert not transport.status.connected
    with pytest.raises(Unavailable, match=r"call start\(\) first"):
        transport.wait_ready(1)
    transport.stop()


def test_the_management_api_has_a_login_of_its_own_if_files_hold_one(tmp_path: Path) -> None:
    for name, held in (("username", "monitor\n"), ("password", "m-secret")):
        (tmp_path / name).write_text(held)
    files = {"management_username_file": tmp_path / "username", "management_password_file": tmp_path / "password"}
    of_url = {"management_url": "http://url:u%2Fsecret@h:15672", "username": "app", "password": "a-secret"}

    assert management_login(settings(**of_url, **files)) == ("monitor", "m-secret")
    assert management_login(settings(**of_url)) == ("url", "u/secret")
    assert management_login(settings(username="app", password="a-secret")) == ("app", "a-secret")


def test_one_file_of_the_management_login_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="WARREN_AMQP_MANAGEMENT_PASSWORD_FILE go together"):
        settings(management_username_file=tmp_path / "username")


def test_a_missing_credential_file_spoils_a_management_request_but_not_its_client(tmp_path: Path) -> None:
    files = {"management_username_file": tmp_path / "username", "management_password_file": tmp_path / "password"}
    broker = {"username_file": tmp_path / "other", "password_file": tmp_path / "other"}

    with Management(settings(**broker, **files)) as management, pytest.raises(Unavailable) as told:
        management.version()

    assert f"credential file {tmp_path / 'username'} cannot be read: No such file" in str(told.value)


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        (
            {"username_file": "/s/user-credentials/username", "password_file": "/s/user-credentials/password"},
            "user name of file /s/user-credentials/username and password of file /s/user-credentials/password",
        ),
        ({"url": "amqp://app:hidden@h/v"}, "user name of WARREN_AMQP_URL and password of WARREN_AMQP_URL"),
        (
            {"username": "app", "password": "hidden"},
            "user name of WARREN_AMQP_USERNAME and password of WARREN_AMQP_PASSWORD",
        ),
        ({}, "user name guest, for none is set and password guest, for none is set"),
    ],
)
def test_a_refused_login_tells_where_it_came_from_and_not_what_it_is(fields: dict[str, object], source: str) -> None:
    told = explain(exceptions.ProbableAuthenticationError("x"), login_source(settings(**fields)))

    assert told == f"the broker refused the login; check the user name and password: {source}"
    assert "hidden" not in told


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"url": "amqp://u:p@h:5672/v"}, "http://h:15672"),
        ({"url": "amqps://u:p@h/v"}, "https://h:15671"),
        ({"url": "amqp://u:p@[::1]:6000/v"}, "http://[::1]:16000"),
        ({"management_url": "https://m:s@rabbit.example/base/"}, "https://rabbit.example/base"),
    ],
)
def test_the_management_api_is_found_and_its_url_holds_no_login(fields: dict[str, str], url: str) -> None:
    with Management(settings(**fields)) as management:
        assert management._url == url


class PaperLoop:
    """Time that passes when told to."""

    pika = None

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, callback: Callable[[], None]) -> object:
        self.timers.append((self.now + seconds, callback))
        return callback

    def cancel(self, handle: object) -> None:
        self.timers = [(at, callback) for at, callback in self.timers if callback is not handle]

    def pass_seconds(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


class PaperConnection:
    """A connection that hears what it is told, and keeps why it was ended."""

    is_closed = is_closing = False

    def __init__(self, parameters: Any, on_open_callback: Any, on_close_callback: Any, **_: Any) -> None:
        self.params = SimpleNamespace(heartbeat=parameters.heartbeat)
        self.bytes_received = 100
        self.open = lambda: on_open_callback(self)
        self._on_close = on_close_callback

    def _terminate_stream(self, error: Exception) -> None:
        self.is_closed = True
        self._on_close(self, error)


class Tenant:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connected(self, connection: Any) -> None:
        self.told.append("connected")

    def disconnected(self) -> None:
        self.told.append("disconnected")


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> tuple[PaperLoop, Tenant, list[PaperConnection]]:
    """An open link with a heartbeat of 8 s: its loop, its tenant, and the connections it made."""
    made: list[PaperConnection] = []

    def connect_on_paper(*words: Any, **named: Any) -> PaperConnection:
        made.append(PaperConnection(*words, **named))
        return made[-1]

    monkeypatch.setattr(pika, "SelectConnection", connect_on_paper)
    loop, tenant = PaperLoop(), Tenant()
    link = Link(settings(heartbeat_seconds=8, reconnect_max_seconds=0.5), loop, "publishing", tenant)  # type: ignore[arg-type]
    link.open()
    made[0].open()
    return loop, tenant, made


def test_a_broker_that_is_silent_for_two_heartbeats_is_given_up(
    linked: tuple[PaperLoop, Tenant, list[PaperConnection]], caplog: pytest.LogCaptureFixture
) -> None:
    loop, tenant, made = linked

    loop.pass_seconds(15.9)
    assert tenant.told == ["connected"]
    loop.pass_seconds(2.2)

    assert tenant.told == ["connected", "disconnected"]
    assert "nothing heard for 2 heartbeats of 8 s" in caplog.text
    loop.pass_seconds(0.5)
    assert len(made) == 2, "it connects again"


def test_a_broker_that_beats_is_kept(linked: tuple[PaperLoop, Tenant, list[PaperConnection]]) -> None:
    loop, tenant, made = linked

    for _ in range(20):
        loop.pass_seconds(4)
        made[0].bytes_received += 8

    assert tenant.told == ["connected"]


def test_a_lost_connection_is_listened_to_no_more(linked: tuple[PaperLoop, Tenant, list[PaperConnection]]) -> None:
    loop, tenant, made = linked
    made[0]._terminate_stream(exceptions.StreamLostError("gone"))
    loop.pass_seconds(0.5)
    made[1].open()

    for _ in range(10):
        loop.pass_seconds(4)
        made[1].bytes_received += 8

    assert tenant.told == ["connected", "disconnected", "connected"]


def test_without_heartbeats_silence_means_nothing(
    monkeypatch: pytest.MonkeyPatch, linked: tuple[PaperLoop, Tenant, list[PaperConnection]]
) -> None:
    loop, tenant, made = linked
    made[0].params.heartbeat = 0

    loop.pass_seconds(600)

    assert tenant.told == ["connected"]
