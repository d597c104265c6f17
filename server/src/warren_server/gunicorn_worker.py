"""Gunicorn's threaded worker, with requests read before a thread is spent on them.

The stock worker gives each connection a thread at once and lets it wait for bytes without a limit: a few clients that
send slowly, or announce a body and send none, hold every thread. Here the worker's main loop reads; a thread gets a
request when all of it is there. What takes longer than `WARREN_SERVER_READ_SECONDS` is answered 408 and closed.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from warren_server.api.requests import MAX_BATCH_BYTES, MAX_REQUEST_BYTES
from warren_server.arrival import Arrival, Verdict
from warren_server.serving import READ_SECONDS, drain

_MAX_BUFFERED_BYTES: Final = 256 * 1024 * 1024
_LARGER: Final = {b"post /v1/jobs/batch ": MAX_BATCH_BYTES}
_RECEIVE_BYTES: Final = 64 * 1024
_ANSWERS: Final = {
    408: b"HTTP/1.1 408 Request Timeout",
    431: b"HTTP/1.1 431 Request Header Fields Too Large",
    503: b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1",
}


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """A worker whose threads only ever see requests that have arrived."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[TConn, tuple[Arrival, float]] = {}
        self._reading: dict[TConn, float] = {}
        self._buffered = 0
        self._read_seconds = float(self.cfg.env[READ_SECONDS])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Become unready with the first signal; requests at hand are finished."""
        drain()
        super().handle_exit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection and begin to read its first request."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        self._expect(TConn(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: Any) -> None:
        """Read the next request of a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._expect(conn)

    def murder_pending(self) -> None:
        """Give up on requests that take too long to arrive, whether the loop reads them or a thread."""
        super().murder_pending()
        now = time.monotonic()
        for conn, (arrival, deadline) in list(self._arriving.items()):
            if now > deadline:
                self._turn_away(conn, 408 if arrival.data else None)
        for conn, deadline in list(self._reading.items()):
            if now > deadline:
                del self._reading[conn]
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """Let go of the reading deadline when the thread is done."""
        self._reading.pop(conn, None)
        super().finish_request(conn, fs)

    def _expect(self, conn: TConn) -> None:
        conn.sock.setblocking(False)
        self._arriving[conn] = (Arrival(MAX_REQUEST_BYTES, _LARGER), time.monotonic() + self._read_seconds)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_bytes, conn))

    def _on_bytes(self, conn: TConn, _client: Any) -> None:
        arrival, deadline = self._arriving[conn]
        try:
            received = conn.sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            received = b""
        if not received:
            self._turn_away(conn, None)
            return
        self._buffered += len(received)
        match arrival.feed(received):
            case Verdict.READY:
                self._hand_over(conn, arrival, deadline)
            case Verdict.HEAD_TOO_LARGE:
                self._turn_away(conn, 431)
            case Verdict.WAIT if self._buffered > _MAX_BUFFERED_BYTES:
                self._turn_away(conn, 503)
            case Verdict.WAIT:
                return

    def _hand_over(self, conn: TConn, arrival: Arrival, deadline: float) -> None:
        self._forget(conn)
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(bytes(arrival.data))
        # Chunks that only looked complete, or a body the client holds back until it is asked for it.
        self._reading[conn] = deadline
        self.enqueue_req(conn)

    def _turn_away(self, conn: TConn, status: int | None) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        if status is not None:
            with suppress(OSError):
                conn.sock.send(_ANSWERS[status] + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        conn.close()

    def _forget(self, conn: TConn) -> None:
        arrival, _ = self._arriving.pop(conn)
        self._buffered -= len(arrival.data)
        self.poller.unregister(conn.sock)

    def run(self) -> None:
        """Serve until told to stop."""
        super().run()
        for conn in list(self._arriving):
            with suppress(OSError, ValueError, KeyError):
                conn.close()
