"""Settings of the server, read from the environment once, at start."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from warren.settings import Seconds, Settings


class ServerSettings(Settings):
    """Where and how the server listens."""

    model_config = SettingsConfigDict(env_prefix="WARREN_SERVER_")

    bind: str = "127.0.0.1:8000"
    """Address and port, `host:port`, IPv6 in brackets. Default `127.0.0.1:8000`."""
    processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Server processes, each with its own connection to the broker. Default 2."""
    threads: Annotated[int, Field(ge=4, le=256)] = 32
    """Requests a process answers at a time; half of them at most are long polls. Default 32."""
    trusted_hosts: str = ""
    """Host names requests may carry, separated by commas, `.example.com` for a domain with its subdomains. Default:
    bound to loopback the names of loopback, which keeps web pages from reaching the server by DNS rebinding; else
    any."""
    read_seconds: Annotated[float, Field(ge=1, le=300)] = 10.0
    """Time a client has for a whole request, first byte to last. Default 10 s: slow clients hold no thread."""
    publish_wait_seconds: Annotated[float, Field(ge=0, le=30)] = 1.0
    """How long a submit waits for the broker's connection or for room in the window before 503. Default 1 s."""
    confirm_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long a submit waits for the broker's confirm before its outcome is unknown. Default 5 s."""
    drain_seconds: Seconds = 20.0
    """Time running requests have to finish at a stop. Default 20 s."""
    idempotency_seconds: Annotated[float, Field(ge=1, le=90 * 86400)] = 86400.0
    """How long an `Idempotency-Key` is remembered, from its first use. Default 86400 s, a day: longer than clients try
    again."""

    @field_validator("bind")
    @classmethod
    def _bind_is_host_and_port(cls, value: str) -> str:
        try:
            parts = urlsplit(f"//{value}")
            whole = bool(parts.hostname) and parts.port is not None and not parts.path
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("must be host:port, such as 127.0.0.1:8000 or [::1]:8000")
        return value

    @property
    def host(self) -> str:
        """The host to bind to, without brackets."""
        return urlsplit(f"//{self.bind}").hostname or ""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> list[str] | None:
        """Host names to trust, or None for any."""
        named = [host.strip() for host in self.trusted_hosts.split(",") if host.strip()]
        if named:
            return named
        return ["localhost", "127.0.0.1", "[::1]", self.host] if self.loopback else None


class StoreSettings(Settings):
    """Where the server records jobs."""

    model_config = SettingsConfigDict(env_prefix="WARREN_STORE_")

    url: SecretStr | None = None
    """`sqlite:////absolute/path.db` or `postgresql://user:password@host/database`. Secret, because it may hold a
    password. Default: `warren.db` in the working folder."""
    password_file: Path | None = None
    """File that holds the database password, read at each connect so that rotation needs no restart. No default."""
    wait_seconds: Annotated[float, Field(gt=0, le=30)] = 2.0
    """How long a submit waits for its record before it answers with deferred tracking. Default 2 s."""
    keep_days: Annotated[float, Field(ge=0, le=36500)] = 30.0
    """Days a job is kept after its end, with its attempts; a dead one at least as long as its dead letter. 0 keeps all
    for ever. Default 30 days."""

    @field_validator("url")
    @classmethod
    def _url_is_known(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            scheme = urlsplit(value.get_secret_value()).scheme
            if scheme not in ("sqlite", "postgresql", "postgres"):
                raise ValueError("must begin with sqlite:// or postgresql://")
        return value


class AuthSettings(Settings):
    """Who may use the server."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    auth: Literal["auto", "tokens", "none"] = "auto"
    """`auto`: bearer tokens; while none exists a server on loopback is open, any other refuses to start. `tokens`:
    tokens always. `none`: open to whoever reaches it. Default `auto`."""
    auth_token_file: Path | None = None
    """File that holds a token with scope `admin`, `wrn_` and 32 or more letters, digits, `-` or `_`, for the first
    steps and for machines; read anew every 5 s. Counts as a token that exists. No default."""
    auth_read_token_file: Path | None = None
    """File that holds a token with scope `read`, such as Prometheus sends for `/metrics`; otherwise as above. No
    default."""


class OfferSettings(Settings):
    """What the server offers."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    catalog: Path | None = None
    """File written by `warren tasks export`, to know tasks without importing their code. Beats `WARREN_TASKS`. No
    default."""
    dashboard: bool = True
    """Offer the dashboard, the pages for people at `/`. Whoever may use the API may use it, with the same tokens.
    Default on."""
    trace_url: str | None = None
    """Address of a trace in your tracing system, with `{trace_id}` in it, such as
    `https://grafana.example/explore?trace={trace_id}`: what the dashboard links jobs to. No default: no links."""
    tutorial: bool = False
    """Offer `/add-job/<cmd>`, the tutorial's route. Default off: it changes things on GET."""

    @field_validator("trace_url")
    @classmethod
    def _trace_url_is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith(("https://", "http://")) and value.count("{trace_id}") == 1):
            raise ValueError("must begin with https:// or http:// and hold {trace_id} once")
        return value


class ScalingSettings(Settings):
    """What `GET /v1/queues/<queue>/scaling` goes by where a request does not say."""

    model_config = SettingsConfigDict(env_prefix="WARREN_SCALING_")

    min: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Fewest workers. Default 0."""
    max: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Most workers. Default 100, KEDA's own most."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Jobs that one worker runs at once, its `WARREN_WORKER_CONCURRENCY`. Default 10, that one's default."""
    slo_seconds: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] = 30.0
    """How long a job may wait for its start. Default 30 s."""
    jobs_per_worker: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Jobs, waiting and running, to a worker while none has ended yet. Default: as many as it runs at once."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> ScalingSettings:
        if self.min > self.max:
            raise ValueError(
                f"WARREN_SCALING_MIN {self.min} is above WARREN_SCALING_MAX {self.max}: must hold min <= max"
            )
        return self


class ScheduleSettings(Settings):
    """Which schedules are declared, not made by the API."""

    model_config = SettingsConfigDict(env_prefix="WARREN_")

    schedules: Path | None = None
    """TOML file of schedules, read at each start: those that are new or differ are written to the store, those that
    vanished from it are removed, those made by the API are left alone. No default: schedules stay as they are."""
