"""Settings of the relay as a program of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from warren.settings import Seconds, Settings


class OutboxSettings(Settings):
    """Where the outbox is that `python -m warren.sql` sends jobs from."""

    model_config = SettingsConfigDict(env_prefix="WARREN_OUTBOX_")

    url: SecretStr | None = None
    """URL of the database, as SQLAlchemy takes it; `postgresql://` means psycopg 3. Secret, because it may hold a
    password. No default."""
    password_file: Path | None = None
    """File that holds the database password, read at each connect so that rotation needs no restart. No default."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most jobs sent at a time. Default 500."""
    poll_seconds: Seconds = 0.5
    """How long to wait when there is nothing to send. Default 0.5 s."""

    @field_validator("url")
    @classmethod
    def _url_is_a_databases(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                name = make_url(value.get_secret_value()).get_backend_name()
            except ArgumentError:
                name = ""
            if name not in ("postgresql", "postgres", "sqlite"):
                raise ValueError("must begin with postgresql:// or sqlite://")
        return value
