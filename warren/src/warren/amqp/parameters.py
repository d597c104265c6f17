"""From settings to what pika connects with. Credential files are read here, so that each connect sees the newest."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pika

from warren.errors import SettingsError
from warren.settings import BrokerSettings

DEFAULT_PORT: Final = 5672
DEFAULT_TLS_PORT: Final = 5671
MANAGEMENT_PORT_OFFSET: Final = 10_000
_HANDSHAKE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A broker's address and login.

    Attributes:
        host: Host name or address.
        port: AMQP port.
        vhost: Virtual host, decoded.
        tls: Whether the connection is encrypted.
        username: Login.
        password: Never shown.
    """

    host: str
    port: int
    vhost: str
    tls: bool
    username: str
    password: str = field(repr=False)

    @property
    def address(self) -> str:
        """Where it is, without any credentials, for logs."""
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port} vhost {self.vhost!r}"


def endpoint(settings: BrokerSettings) -> Endpoint:
    """Work out where the broker is and as whom to log in; the URL wins over the pieces, the files over both.

    Raises:
        SettingsError: A credential file cannot be read.
    """
    parts = urlsplit(settings.url.get_secret_value()) if settings.url else urlsplit("")
    tls = settings.tls or parts.scheme == "amqps"
    password = settings.password.get_secret_value() if settings.password else None
    return Endpoint(
        host=parts.hostname or settings.host,
        port=parts.port or settings.port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT),
        vhost=unquote(parts.path[1:]) or settings.vhost,
        tls=tls,
        username=_read(settings.username_file) or unquote(parts.username or "") or settings.username or "guest",
        password=_read(settings.password_file) or unquote(parts.password or "") or password or "guest",
    )


def login_source(settings: BrokerSettings) -> str:
    """Tell where the login comes from, so that whoever reads that it was refused knows what to mend."""
    url = urlsplit(settings.url.get_secret_value()) if settings.url else urlsplit("")
    sources = (
        _source("user name", settings.username_file, url.username, settings.username, "USERNAME"),
        _source("password", settings.password_file, url.password, settings.password, "PASSWORD"),
    )
    return " and ".join(sources)


def management_login(settings: BrokerSettings) -> tuple[str, str]:
    """Return user name and password for the management API: of its own files, else of its URL, else the broker's.

    Raises:
        SettingsError: A credential file cannot be read.
    """
    username, password = _read(settings.management_username_file), _read(settings.management_password_file)
    if username is not None and password is not None:
        return username, password
    url = urlsplit(settings.management_url.get_secret_value() if settings.management_url else "")
    where = endpoint(settings)
    return unquote(url.username or "") or where.username, unquote(url.password or "") or where.password


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Trust the configured or the system's authorities, check the host name, show our certificate if there is one.

    Raises:
        SettingsError: A file cannot be read or holds no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        if settings.cert_file and settings.key_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise SettingsError(
            f"WARREN_AMQP_CA_FILE, _CERT_FILE or _KEY_FILE cannot be used ({settings.ca_file}, {settings.cert_file}, "
            f"{settings.key_file}): {error}; they must be readable PEM files"
        ) from error
    return context


def connection_parameters(settings: BrokerSettings, name: str) -> Any:
    """Make pika's parameters for one connection.

    Args:
        settings: The broker's settings.
        name: What the management pages call the connection.

    Raises:
        SettingsError: A credential or certificate file cannot be used.
    """
    where = endpoint(settings)
    return pika.ConnectionParameters(
        host=where.host,
        port=where.port,
        virtual_host=where.vhost,
        credentials=pika.PlainCredentials(where.username, where.password),
        heartbeat=settings.heartbeat_seconds,
        ssl_options=pika.SSLOptions(tls_context(settings), where.host) if where.tls else None,
        connection_attempts=1,
        socket_timeout=_HANDSHAKE_SECONDS,
        stack_timeout=_HANDSHAKE_SECONDS,
        # No blocked_connection_timeout: during an alarm new publishes are refused at once, and closing the connection
        # would only turn those under way from late into unknown.
        client_properties={"connection_name": name, "product": "Warren"},
    )


def _source(what: str, file: Path | None, in_url: str | None, given: object, field: str) -> str:
    if file is not None:
        return f"{what} of file {file}"
    if in_url:
        return f"{what} of WARREN_AMQP_URL"
    return f"{what} of WARREN_AMQP_{field}" if given else f"{what} guest, for none is set"


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"credential file {path} cannot be read: {error.strerror}") from error
