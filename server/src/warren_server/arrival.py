"""When a request has arrived: pure, fed with bytes as they come.

Only framing is looked at, to know how long to wait before a thread is spent; what the bytes mean, and whether they may
mean it, is the HTTP parser's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

MAX_HEAD_BYTES: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)")
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:")
_EXPECT: Final = re.compile(rb"\r\nexpect:")


class Verdict(Enum):
    """What to do with a connection after some bytes came."""

    WAIT = auto()
    """More is to come."""
    READY = auto()
    """The request is here, or as much of it as is needed to answer: hand it to a thread."""
    HEAD_TOO_LARGE = auto()
    """The head goes on and on."""


class Arrival:
    """One request on its way in.

    Args:
        max_body_bytes: Bodies announced larger are not waited for: they are refused by their length.
        larger: Limits of those request lines, by their beginning in lower case, that may bring more.
    """

    def __init__(self, max_body_bytes: int, larger: Mapping[bytes, int] | None = None) -> None:
        self._max_body_bytes = max_body_bytes
        self._larger = larger or {}
        self._max_bytes = max([max_body_bytes, *self._larger.values()])
        self._wanted: int | None = None
        self._chunked = False
        self.data = bytearray()

    def feed(self, received: bytes) -> Verdict:
        """Take some bytes and tell what to do."""
        # The end of the head may be split between this piece and the one before.
        searched = max(len(self.data) - 3, 0)
        self.data += received
        if self._wanted is None and not self._chunked:
            end = self.data.find(b"\r\n\r\n", searched)
            if end < 0:
                return Verdict.HEAD_TOO_LARGE if len(self.data) > MAX_HEAD_BYTES else Verdict.WAIT
            self._read_head(end + 4)
        if self._chunked:
            return Verdict.READY if self._looks_ended() else Verdict.WAIT
        assert self._wanted is not None  # noqa: S101 - set by _read_head
        return Verdict.READY if len(self.data) >= self._wanted else Verdict.WAIT

    def _read_head(self, size: int) -> None:
        head = bytes(self.data[:size]).lower()
        if _EXPECT.search(head):
            # The client waits for a word of ours before it sends the body.
            self._wanted = size
            return
        self._chunked = _CHUNKED.search(head) is not None
        if not self._chunked:
            # None, or several that contradict each other: the parser answers at once.
            announced = _LENGTH.findall(head)
            length = int(announced[0]) if len(announced) == 1 else 0
            self._wanted = size if length > self._limit(head) else size + length

    def _limit(self, head: bytes) -> int:
        first = head.split(b"\r\n", 1)[0]
        return next((limit for start, limit in self._larger.items() if first.startswith(start)), self._max_body_bytes)

    def _looks_ended(self) -> bool:
        """Whether a chunked body may be whole; if this is wrong, the thread waits, for as long as it is let."""
        return self.data.endswith(b"0\r\n\r\n") or len(self.data) > self._max_bytes + MAX_HEAD_BYTES
