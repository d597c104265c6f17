"""What parent and child say to each other: JSON objects, each behind its length, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
import struct
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I")


class Frames:
    """Reads and writes frames on a socket.

    Args:
        connection: Our end of the pair; closed by whoever owns it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def send(self, frame: dict[str, Any]) -> None:
        """Write a frame.

        Raises:
            OSError: The other side is gone.
        """
        body = json.dumps(frame, separators=(",", ":")).encode()
        self._connection.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self, timeout_seconds: float | None = None) -> dict[str, Any] | None:
        """Read a frame; None when the other side is gone.

        Raises:
            TimeoutError: No whole frame came in time; what came of it is kept for the next call.
        """
        if not self._fill(_LENGTH.size, timeout_seconds):
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if not self._fill(_LENGTH.size + length, timeout_seconds):
            return None
        frame: dict[str, Any] = json.loads(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        return frame

    def _fill(self, size: int, timeout_seconds: float | None) -> bool:
        while len(self._buffer) < size:
            # Not the socket's own timeout: that is shared with the thread that writes.
            if timeout_seconds is not None and not _readable(self._connection, timeout_seconds):
                raise TimeoutError
            try:
                part = self._connection.recv(65536)
            except ConnectionError:
                return False
            if not part:
                return False
            self._buffer += part
        return True


def _readable(connection: socket.socket, timeout_seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))
