"""The database behind the store: connections, transactions, migrations; every failure becomes a `StoreError`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from warren_server.errors import StoreDown, StoreError, StoreRefused
from warren_server.settings import StoreSettings
from warren_server.store.migrations import HEAD

logger = logging.getLogger(__name__)

_MIGRATION_LOCK: Final = 0x77617272656E
"""Key of PostgreSQL's advisory lock: any number, the same in every server."""
_BUSY_MS: Final = 2000
_MIGRATION_BUSY_MS: Final = 30_000
_WRITES: Final = "warren_writes"


class Database:
    """A pool of connections to SQLite or PostgreSQL. Constructing it connects to nothing.

    The first transaction of a process brings the schema up to date, under a lock that holds between processes; so a
    server starts, and takes jobs, while its database is away.

    Args:
        settings: Where the database is.
        pool_size: Connections kept at most.
    """

    def __init__(self, settings: StoreSettings, pool_size: int = 16) -> None:
        self._url = _url(settings)
        self._password_file = settings.password_file
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = self._make_engine(pool_size)
        self._migrating = threading.Lock()
        self._migrated = False

    @property
    def address(self) -> str:
        """The URL without its password, for people."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads.

        Raises:
            StoreDown: The database is away.
        """
        with self._transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes, committed at the end of the block.

        Raises:
            StoreDown: The database is away.
            StoreRefused: It cannot hold a value.
        """
        with self._transaction(self._engine.execution_options(**{_WRITES: True})) as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema up to date, once for each process; safe in many processes at a time.

        A schema of a newer release is left as it is and used: migrations only add, so that servers of two releases can
        work on one store, in a roll-out and after a rollback.

        Raises:
            StoreDown: The database is away.
        """
        with self._migrating:
            if self._migrated:
                return
            with translated(), self._engine.connect() as connection:
                current = _revision(connection)
            if current is not None and current > HEAD:
                _warn_newer(current)
            elif current != HEAD:
                with translated(), self._engine.execution_options(**{_WRITES: True}).connect() as connection:
                    self._migrate(connection)
            self._migrated = True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        if not self._migrated:
            self.migrate()
        with translated(), engine.begin() as connection:
            yield connection

    def _migrate(self, connection: Connection) -> None:
        # Imported when there is something to migrate: it takes as long as half of a server's start.
        import alembic.command
        from alembic.config import Config

        if self.sqlite:
            connection.connection.cursor().execute(f"PRAGMA busy_timeout={_MIGRATION_BUSY_MS}")
        try:
            with connection.begin():
                if not self.sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                current = _revision(connection)
                if current is not None and current > HEAD:
                    # A newer server was faster.
                    return
                config = Config()
                config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        finally:
            if self.sqlite:
                connection.connection.cursor().execute(f"PRAGMA busy_timeout={_BUSY_MS}")

    def _make_engine(self, pool_size: int) -> Engine:
        if self.sqlite:
            engine = create_engine(self._url, pool_size=pool_size, max_overflow=0, pool_timeout=2)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        engine = create_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=2,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 2,
                "tcp_user_timeout": 5000,
                "options": "-c statement_timeout=10000 -c lock_timeout=5000",
            },
        )
        if self._password_file is not None:
            event.listen(engine, "do_connect", self._add_password)
        return engine

    def _add_password(self, _dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        assert self._password_file is not None  # noqa: S101 - only listened to with a file
        try:
            parameters["password"] = self._password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StoreDown(f"WARREN_STORE_PASSWORD_FILE cannot be read: {error}") from error


def _warn_newer(current: str) -> None:
    logger.warning(
        "the store's schema is of revision %s, newer than %s of this server; it is used as it is",
        current,
        HEAD,
        extra={"event": "schema_newer", "revision": current},
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@contextmanager
def translated() -> Iterator[None]:
    """Turn database errors into the store's own: away and worth another try, or refused for good."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise StoreDown(f"the store cannot be reached: {_reason(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreDown(f"the store's connection is gone: {_reason(error)}") from error
        raise StoreRefused(f"the store refuses the value: {_reason(error)}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"the store failed: {_reason(error)}") from error


def _reason(error: SQLAlchemyError) -> str:
    """First line only: the rest of SQLAlchemy's message repeats the values."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().split("\n", 1)[0][:300]


def _url(settings: StoreSettings) -> URL:
    if settings.url is None:
        return URL.create("sqlite", database=str(Path.cwd() / "warren.db"))
    url = make_url(settings.url.get_secret_value())
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own idea of transactions would begin them late, and none around DDL.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL: after a power cut the last commits may be gone, never the database's integrity. The jobs themselves are in
    # the broker, and their events write the rows again.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Writers take the lock at once: a reader that turns writer late fails without waiting (SQLITE_BUSY_SNAPSHOT).
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
