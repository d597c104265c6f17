"""Publishing: confirmed, mandatory, through a bounded window.

A publish is *accepted* (in the outbox), *written* (its delivery tag is pending) or *settled*. When the connection goes,
what was accepted is certainly not sent, what was written has an unknown outcome.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Final

from warren.amqp.connection import explain
from warren.amqp.frames import PUBLISHING_CHANNEL, publish_frames
from warren.amqp.loop import Loop
from warren.amqp.meters import PublishMeters
from warren.errors import Blocked, OutcomeUnknown, QueueFull, Unavailable, Unroutable, WindowFull
from warren.transport import Publication, TransportStatus

logger = logging.getLogger(__name__)

_FRAME_MAX_BYTES: Final = 131_072
_FRAME_OVERHEAD_BYTES: Final = 8
_REOPEN_SECONDS: Final = 0.2


@dataclass(slots=True, eq=False)
class _Publish:
    publication: Publication
    frames: bytes
    future: Future[None]
    started: float

    @property
    def identity(self) -> tuple[str | None, str, str]:
        """What a `basic.return` can be matched by: it carries no delivery tag."""
        return self.publication.message.message_id, self.publication.exchange, self.publication.routing_key


class Publisher:
    """The publishing side of a transport; `Tenant` of the publishing connection.

    Args:
        loop: The I/O thread.
        window: Most publishes accepted and not settled.
    """

    def __init__(self, loop: Loop, window: int) -> None:
        self._loop = loop
        self._window = window
        self._meters = PublishMeters()
        self._body_max_bytes = _FRAME_MAX_BYTES - _FRAME_OVERHEAD_BYTES
        # Shared by all threads, guarded by `_changed`.
        self._changed = threading.Condition()
        self._ready = False
        self._blocked = False
        self._closed = False
        self._unconfirmed = 0
        self._waiters = 0
        self._outbox: deque[_Publish] = deque()
        # Of the I/O thread alone.
        self._connection: Any = None
        self._channel: Any = None
        self._next_tag = 1
        self._lowest_pending = 1
        self._pending: dict[int, _Publish] = {}
        self._returned: dict[tuple[str | None, str, str], str] = {}

    # Any thread.

    @property
    def status(self) -> TransportStatus:
        """How publishing is doing."""
        with self._changed:
            return TransportStatus(connected=self._ready, blocked=self._blocked, unconfirmed=self._unconfirmed)

    def publish(self, publication: Publication, wait_seconds: float) -> Future[None]:
        """Accept a publish, or refuse it at once; see `Transport.publish`."""
        frames = publish_frames(publication, self._body_max_bytes)
        publish = _Publish(publication, frames, Future(), time.perf_counter())
        with self._changed:
            if wait_seconds > 0 and not self._waiting_is_over():
                self._wait(wait_seconds)
            self._check_acceptance()
            self._unconfirmed += 1
            self._outbox.append(publish)
        self._loop.call(self._write)
        return publish.future

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Wait until publishing is possible."""
        return self._wait_for(lambda: self._ready or self._closed, timeout_seconds) and self._ready

    def wait_confirmed(self, timeout_seconds: float) -> bool:
        """Wait until nothing is unconfirmed."""
        return self._wait_for(lambda: self._unconfirmed == 0, timeout_seconds)

    def refuse_all(self) -> None:
        """Accept no more publishes: the transport stops."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _check_acceptance(self) -> None:
        if not self._ready or self._closed:
            self._meters.count("unavailable")
            raise Unavailable
        if self._blocked:
            self._meters.count("refused")
            raise Blocked
        if self._unconfirmed >= self._window:
            self._meters.count("refused")
            raise WindowFull(
                f"{self._unconfirmed} publishes are unconfirmed, the window (WARREN_AMQP_WINDOW) is {self._window}"
            )

    def _waiting_is_over(self) -> bool:
        return self._closed or (self._ready and (self._blocked or self._unconfirmed < self._window))

    def _wait(self, seconds: float) -> None:
        self._waiters += 1
        try:
            self._changed.wait_for(self._waiting_is_over, seconds)
        finally:
            self._waiters -= 1

    def _wait_for(self, condition: Any, timeout_seconds: float) -> bool:
        with self._changed:
            self._waiters += 1
            try:
                return bool(self._changed.wait_for(condition, timeout_seconds))
            finally:
                self._waiters -= 1

    # The I/O thread.

    def connected(self, connection: Any) -> None:
        """Open the publishing channel."""
        self._connection = connection
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        self._open_channel()

    def disconnected(self) -> None:
        """Everything under way fails."""
        self._connection = None
        self._meters.lost_connection()
        self._channel_gone("the connection was lost")

    def fail_rest(self) -> None:
        """Fail whatever never got an answer: the loop ends."""
        self._channel_gone("the transport was stopped")

    def _open_channel(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(PUBLISHING_CHANNEL, on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._on_confirming(channel))

    def _on_confirming(self, channel: Any) -> None:
        self._channel = channel
        self._next_tag = self._lowest_pending = 1
        self._body_max_bytes = channel.connection._body_max_length  # negotiated, and not public in pika
        with self._changed:
            self._ready = True
            self._changed.notify_all()
        self._meters.set_connected(True)

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        """A publish to an exchange that does not exist closes the channel; the connection stays."""
        self._channel_gone(explain(reason))
        if self._connection is not None and self._connection.is_open:
            logger.warning(
                "the broker closed the publishing channel: %s",
                explain(reason),
                extra={"event": "broker_channel_closed"},
            )
            self._loop.later(_REOPEN_SECONDS, self._open_channel)

    def _write(self) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        outgoing = []
        while self._outbox:
            publish = self._outbox.popleft()
            self._pending[self._next_tag] = publish
            self._next_tag += 1
            outgoing.append(publish.frames)
        if outgoing:
            # What `basic_publish` ends in, for many messages at once; see `frames.publish_frames`.
            channel.connection._output_marshaled_frames([b"".join(outgoing)])

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        identity = properties.message_id, method.exchange, method.routing_key
        self._returned[identity] = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        settled = self._take(method.delivery_tag, method.multiple)
        refused = method.NAME == "Basic.Nack"
        confirmed = 0
        for publish in settled:
            error = self._verdict(publish, refused)
            confirmed += error is None
            _settle(publish, error)
        self._meters.settled(settled, confirmed, refused)
        self._release(len(settled))

    def _take(self, tag: int, multiple: bool) -> list[_Publish]:
        if not multiple:
            single = self._pending.pop(tag, None)
            return [] if single is None else [single]
        candidates = (self._pending.pop(each, None) for each in range(self._lowest_pending, tag + 1))
        settled = [publish for publish in candidates if publish is not None]
        self._lowest_pending = tag + 1
        return settled

    def _verdict(self, publish: _Publish, refused: bool) -> Exception | None:
        if refused:
            return QueueFull(f"the broker refused a publish to {_target(publish)}: the queue is at its limit")
        # The return comes before the ack, so an ack alone does not mean queued.
        if self._returned and (reason := self._returned.pop(publish.identity, None)):
            return Unroutable(f"no queue is bound for {_target(publish)} ({reason})")
        return None

    def _channel_gone(self, reason: str) -> None:
        self._channel = None
        self._returned.clear()
        with self._changed:
            self._ready = False
            self._blocked = False
            unsent, self._outbox = self._outbox, deque()
        unknown, self._pending = self._pending, {}
        self._meters.set_connected(False)
        self._meters.set_blocked(False)
        for publish in unknown.values():
            self._fail_written(publish, reason)
        for publish in unsent:
            self._meters.count("unavailable")
            _settle(publish, Unavailable(f"not sent: {reason}"))
        self._release(len(unknown) + len(unsent))

    def _fail_written(self, publish: _Publish, reason: str) -> None:
        if f"no exchange '{publish.publication.exchange}'" in reason:
            self._meters.count("unroutable")
            _settle(publish, Unroutable(f"{_target(publish)}: {reason}; declare the topology"))
            return
        self._meters.count("unknown")
        _settle(publish, OutcomeUnknown(f"sent to {_target(publish)} and never confirmed: {reason}"))

    def _release(self, settled: int) -> None:
        with self._changed:
            self._unconfirmed -= settled
            if self._waiters:
                self._changed.notify_all()

    def _set_blocked(self, blocked: bool) -> None:
        with self._changed:
            self._blocked = blocked
            self._changed.notify_all()
        self._meters.set_blocked(blocked)
        logger.warning(
            "the broker %s publishes",
            "has an alarm and blocks" if blocked else "takes",
            extra={"event": "broker_blocked" if blocked else "broker_unblocked"},
        )


def _target(publish: _Publish) -> str:
    return f"exchange {publish.publication.exchange!r} with key {publish.publication.routing_key!r}"


def _settle(publish: _Publish, error: Exception | None) -> None:
    try:
        if error is None:
            publish.future.set_result(None)
        else:
            publish.future.set_exception(error)
    except InvalidStateError:
        # The caller cancelled and does not want to know; the message went its way all the same.
        logger.debug("nobody waits for a confirm any more", extra={"event": "publish_abandoned"})
