"""Settings read from the environment, once, at start.

Every field has its unit, default and reason in the text under it; `docs/reference/settings.md` lists them all. Names
are `WARREN_<GROUP>_<FIELD>`. A value that breaks its rule stops the program with the variable, the value and the rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as PydanticSettingsError,
)

from warren.errors import SettingsError

S = TypeVar("S", bound="Settings")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class Settings(BaseSettings):
    """Base of all groups: frozen, documented by the text under each field, read from the environment only."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        hide_input_in_errors=False,
    )


class BrokerSettings(Settings):
    """How to reach RabbitMQ. Either the URL or the pieces; the URL wins."""

    model_config = SettingsConfigDict(env_prefix="WARREN_AMQP_")

    url: SecretStr | None = None
    """`amqp://user:password@host:port/vhost` or `amqps://…`. Secret, because it holds the password. No default."""
    host: str = "127.0.0.1"
    """Host name of the broker, without a URL. Default 127.0.0.1."""
    port: Port | None = None
    """Port of the broker. Default 5672, with TLS 5671."""
    vhost: str = "/"
    """Virtual host. Default `/`."""
    username: str | None = None
    """Login. Default `guest`, which RabbitMQ accepts on loopback only."""
    password: SecretStr | None = None
    """Password. Default `guest`. Prefer the file."""
    username_file: Path | None = None
    """File that holds the login, read anew at each connect so that rotation needs no restart. No default."""
    password_file: Path | None = None
    """File that holds the password, read anew at each connect. No default."""
    tls: bool = False
    """Connect with TLS and verify the broker's certificate. Default off; an `amqps` URL switches it on."""
    ca_file: Path | None = None
    """Certificates to trust, PEM. Default: the system's."""
    cert_file: Path | None = None
    """Client certificate for mutual TLS, PEM. No default."""
    key_file: Path | None = None
    """Key of the client certificate, PEM. No default."""
    management_url: SecretStr | None = None
    """Base URL of the management API, used to apply policies and to read depths. Default: same host and login, AMQP
    port plus 10000."""
    management_username_file: Path | None = None
    """File that holds a login for the management API only, so that the broker's own needs no tag; read anew at each
    request. Beats a login in the URL. No default: the broker's login."""
    management_password_file: Path | None = None
    """File that holds the password of that login, read anew at each request. No default."""
    heartbeat_seconds: Annotated[int, Field(ge=5, le=600)] = 15
    """Heartbeat interval; a silent peer is given up after about twice that. Default 15 s."""
    window: Annotated[int, Field(ge=1, le=65536)] = 2000
    """Most messages published but not yet confirmed, per process. Default 2000: past 1000 RabbitMQ gains little."""
    reconnect_max_seconds: Seconds = 10.0
    """Upper bound of the back-off between connection attempts (full jitter, doubling from 0.2 s). Default 10 s."""
    topology: Literal["apply", "check"] = "apply"
    """`apply` declares queues and sets policies at start; `check` only looks whether they are there, for users
    without configure right. Default `apply`."""

    @field_validator("url")
    @classmethod
    def _url_is_amqp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
                raise ValueError("must be amqp://host or amqps://host, with login, port and vhost as needed")
        return value

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> BrokerSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("WARREN_AMQP_CERT_FILE and WARREN_AMQP_KEY_FILE go together: set both or neither")
        if (self.management_username_file is None) != (self.management_password_file is None):
            raise ValueError(
                "WARREN_AMQP_MANAGEMENT_USERNAME_FILE and WARREN_AMQP_MANAGEMENT_PASSWORD_FILE go together: "
                "set both or neither"
            )
        return self


class LogSettings(Settings):
    """What is logged, and how."""

    model_config = SettingsConfigDict(env_prefix="WARREN_LOG_")

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written. Default `info`."""
    format: Literal["json", "console"] = "json"
    """`json`: one object a line; `console`: for people. Default `json`."""


class TaskSettings(Settings):
    """Where task functions come from."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    tasks: str = ""
    """Modules that declare tasks, separated by commas. Default: none."""


class ClientSettings(Settings):
    """How clients and the command line reach the server."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    url: str = "http://127.0.0.1:8000"
    """Base URL of the server. Default `http://127.0.0.1:8000`."""
    token: SecretStr | None = None
    """Bearer token. No default: a server on loopback needs none."""

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://host:port or https://host:port")
        return value.rstrip("/")


class LifeSettings(Settings):
    """How a worker ends, and where worker and scaler tell how they are."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    drain_seconds: Annotated[float, Field(ge=0, le=86400)] = 30.0
    """How long a worker's running jobs may go on after SIGTERM before they are given back; the local scaler hands it
    to its workers. Default 30 s; on Kubernetes stay ten seconds below `terminationGracePeriodSeconds`."""
    probe_bind: str = "127.0.0.1:0"
    """`host:port` of `/healthz`, `/readyz` and `/metrics`; port 0 takes a free one. Default `127.0.0.1:0`."""

    @field_validator("probe_bind")
    @classmethod
    def _is_address(cls, value: str) -> str:
        read_address(value)
        return value


def load(group: type[S], **overrides: Any) -> S:
    """Read a group of settings from the environment.

    Args:
        group: The settings class.
        **overrides: Values that beat the environment; None means not given.

    Raises:
        SettingsError: A value breaks its rule; the message names variable, value and rule.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return group(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(group, dict(item)) for item in error.errors())) from error
    except PydanticSettingsError as error:
        raise SettingsError(str(error)) from error


def variable(group: type[Settings], field: str) -> str:
    """Return the environment variable of a field."""
    return f"{group.model_config.get('env_prefix', '')}{field}".upper()


def _complaint(group: type[Settings], item: dict[str, object]) -> str:
    location = item["loc"]
    message = str(item["msg"]).removeprefix("Value error, ")
    if not isinstance(location, tuple) or not location:
        return message
    name = str(location[0])
    annotation = str(group.model_fields[name].annotation) if name in group.model_fields else ""
    shown = "(secret)" if "Secret" in annotation else repr(item.get("input"))
    return f"{variable(group, name)} is {shown}: {message}"


def with_credentials(url: str, username: str, password: str) -> str:
    """Return a URL with its login replaced, percent-encoded."""
    parts = urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    login = f"{quote(username, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


def read_address(text: str) -> tuple[str, int]:
    """Read `host:port`.

    Raises:
        ValueError: It is something else.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:9100; port 0 takes a free one")
    return host.strip("[]"), int(port)
