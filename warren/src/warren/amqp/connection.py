"""A connection that mends itself: full-jitter back-off, one log line per failed attempt, never a credential in it."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from typing import Any, Final, Protocol

import pika
from pika import exceptions

from warren.amqp.loop import Loop
from warren.amqp.parameters import connection_parameters, endpoint, login_source
from warren.errors import SettingsError
from warren.settings import BrokerSettings

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS: Final = 0.2
SILENT_INTERVALS: Final = 2
"""Heartbeat intervals without a byte, after which the broker is taken to be gone; it beats twice in each."""
_LOOKS_PER_INTERVAL: Final = 4


def backoff_seconds(attempt: int, max_seconds: float, rng: random.Random) -> float:
    """Choose how long to wait after a failed attempt: uniform up to 0.2 s doubling per attempt (full jitter).

    Args:
        attempt: Failed attempts in a row, from 1.
        max_seconds: Upper bound of the wait.
        rng: Source of jitter.
    """
    return rng.uniform(0.0, min(max_seconds, FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt - 1, 32)))


class Tenant(Protocol):
    """Who lives on a connection. All calls come on the I/O thread."""

    def connected(self, connection: Any) -> None:
        """The connection is open."""

    def disconnected(self) -> None:
        """The connection is gone, and all its channels with it."""


class Link:
    """One connection to the broker, opened again whenever it is lost, until closed.

    Args:
        settings: The broker's settings; credential files are read at each attempt.
        loop: The I/O thread; all methods but the constructor belong to it.
        role: What the connection is for, such as `publishing`.
        tenant: Who uses it.
    """

    def __init__(self, settings: BrokerSettings, loop: Loop, role: str, tenant: Tenant) -> None:
        self._settings = settings
        self._loop = loop
        self._role = role
        self._tenant = tenant
        self._rng = random.Random()
        self._connection: Any = None
        self._address = ""
        self._failures = 0
        self._bytes_heard = 0
        self._silent_looks = 0
        self._retry: object | None = None
        self._on_closed: Callable[[], None] | None = None

    def open(self) -> None:
        """Begin to connect."""
        self._retry = None
        try:
            self._address = endpoint(self._settings).address
            parameters = connection_parameters(self._settings, f"warren {self._role} {os.getpid()}")
            self._connection = pika.SelectConnection(
                parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_open_error,
                on_close_callback=self._on_close,
                custom_ioloop=self._loop.pika,
            )
        except (SettingsError, exceptions.AMQPError, OSError) as error:
            self._failed(error)

    def close(self, on_closed: Callable[[], None]) -> None:
        """Disconnect in order and stay disconnected; the callback comes when the socket is closed."""
        self._on_closed = on_closed
        if self._retry is not None:
            self._loop.cancel(self._retry)
            self._retry = None
        if self._connection is None or self._connection.is_closed:
            on_closed()
        elif not self._connection.is_closing:
            self._connection.close()

    def abort(self) -> None:
        """Close the socket without a word: the broker does not answer the orderly close."""
        if self._connection is not None and not self._connection.is_closed:
            self._connection._adapter_disconnect_stream()  # pika has no public way

    def drop(self) -> None:
        """Give the connection up, to be opened anew: its state cannot be trusted any more."""
        connection = self._connection
        if connection is not None and not connection.is_closed and not connection.is_closing:
            connection.close(reply_code=541, reply_text="client failed")

    def _on_open(self, connection: Any) -> None:
        self._failures = 0
        logger.info(
            "connected to the broker, %s",
            self._role,
            extra={"event": "broker_connected", "role": self._role, "broker": self._address},
        )
        self._silent_looks = 0
        self._listen(connection)
        self._tenant.connected(connection)

    def _listen(self, connection: Any) -> None:
        """Give up a broker that is silent; pika alone takes up to two heartbeats and ten seconds.

        Looks are counted, not time: a process that was stopped for a while has not listened meanwhile.
        """
        heartbeat_seconds = connection.params.heartbeat
        if connection is not self._connection or connection.is_closed or not heartbeat_seconds:
            return
        if connection.bytes_received != self._bytes_heard:
            self._bytes_heard = connection.bytes_received
            self._silent_looks = 0
        else:
            self._silent_looks += 1
        if self._silent_looks >= SILENT_INTERVALS * _LOOKS_PER_INTERVAL:
            why = f"nothing heard for {SILENT_INTERVALS} heartbeats of {heartbeat_seconds} s"
            connection._terminate_stream(exceptions.AMQPHeartbeatTimeout(why))  # pika has no public way
            return
        self._loop.later(heartbeat_seconds / _LOOKS_PER_INTERVAL, lambda: self._listen(connection))

    def _on_open_error(self, _connection: Any, error: BaseException) -> None:
        self._failed(error)

    def _on_close(self, _connection: Any, error: BaseException) -> None:
        self._tenant.disconnected()
        self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._connection = None
        if self._on_closed is not None:
            self._on_closed()
            return
        self._failures += 1
        wait = backoff_seconds(self._failures, self._settings.reconnect_max_seconds, self._rng)
        logger.warning(
            "no connection to the broker (%s, attempt %d): %s; next try in %.1f s",
            self._role,
            self._failures,
            explain(error, login_source(self._settings)),
            wait,
            extra={"event": "broker_unavailable", "role": self._role, "attempt": self._failures},
        )
        self._retry = self._loop.later(wait, self.open)


def explain(error: BaseException, login: str = "") -> str:
    """Say in words why a connection or channel failed, with what to look at; pika's own exceptions nest and repeat.

    Args:
        error: What came out of pika.
        login: Where the login came from, told when it was refused.
    """
    cause = _innermost(error)
    if isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        source = f": {login}" if login else ""
        return f"the broker refused the login; check the user name and password{source}"
    if isinstance(cause, exceptions.ProbableAccessDeniedError):
        return "the broker refused the virtual host; check that it exists and the user may use it"
    if isinstance(cause, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return f"{cause.reply_code} {cause.reply_text}"
    if isinstance(cause, SettingsError | OSError):
        return str(cause) or type(cause).__name__
    return f"{type(cause).__name__}: {cause}".rstrip(": ")


def _innermost(error: BaseException) -> BaseException:
    """Unwrap `AMQPConnectionError(AMQPConnectionWorkflowFailed(AMQPConnectorException(...)))`."""
    nested: tuple[object, ...] = (
        getattr(error, "exception", None),
        *reversed(getattr(error, "exceptions", None) or error.args),
    )
    inner = next((each for each in nested if isinstance(each, BaseException)), None)
    return error if inner is None else _innermost(inner)
