"""What tasks tell of themselves, at less than a microsecond each: counts in memory that the bench maps too.

Each process has a file of its own. Counting is the same for every contender, needs no broker and no clock of another
machine: `CLOCK_MONOTONIC` is one for all processes of a Linux system. Standard library only.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.place import here

LATENCIES: Final = 100_000
"""Most latencies that a process keeps."""
_HEADER: Final = struct.Struct("=QQQQQ")
_LATENCY: Final = struct.Struct("=q")
_BYTES: Final = _HEADER.size + LATENCIES * _LATENCY.size


class Recorder:
    """The counts of one process.

    Args:
        file: Where they are; made when absent.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._jobs = self._cpu_ns = self._latencies = self._first_ns = 0
        with file.open("w+b") as stream:
            stream.truncate(_BYTES)
            self._map = mmap.mmap(stream.fileno(), _BYTES)

    def note(self, *, cpu_ns: int = 0, latency_ns: int | None = None) -> None:
        """Count a job that is done.

        Args:
            cpu_ns: Processor time it used.
            latency_ns: How long after its due time it began, if that is measured.
        """
        with self._lock:
            now_ns = time.monotonic_ns()
            self._first_ns = self._first_ns or now_ns
            self._jobs += 1
            self._cpu_ns += cpu_ns
            if latency_ns is not None and self._latencies < LATENCIES:
                _LATENCY.pack_into(self._map, _HEADER.size + self._latencies * _LATENCY.size, latency_ns)
                self._latencies += 1
            _HEADER.pack_into(self._map, 0, self._jobs, self._cpu_ns, self._latencies, self._first_ns, now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The counts of all processes of a run.

    Attributes:
        processes: How many processes did a job.
        jobs: Jobs done.
        cpu_ns: Processor time the tasks themselves used.
        first_ns: When the first job was done, on the monotonic clock; 0 when none was.
        last_ns: When the last one was.
    """

    processes: int
    jobs: int
    cpu_ns: int
    first_ns: int
    last_ns: int


def totals(folder: Path) -> Totals:
    """Add up the counts in a folder."""
    found = [_HEADER.unpack(head) for head in map(_head, folder.glob("*.records")) if len(head) == _HEADER.size]
    found = [counts for counts in found if counts[0]]
    return Totals(
        processes=len(found),
        jobs=sum(counts[0] for counts in found),
        cpu_ns=sum(counts[1] for counts in found),
        first_ns=min((counts[3] for counts in found), default=0),
        last_ns=max((counts[4] for counts in found), default=0),
    )


def latencies_ns(folder: Path) -> list[int]:
    """Return the latencies that were kept in a folder, in ascending order."""
    kept: list[int] = []
    for file in folder.glob("*.records"):
        content = file.read_bytes()
        count = _HEADER.unpack_from(content)[2]
        kept += struct.unpack_from(f"={count}q", content, _HEADER.size)
    return sorted(kept)


def recorder() -> Recorder:
    """Return this process' recorder."""
    global _mine  # noqa: PLW0603 - one a process, made with its first job
    if _mine is None:
        with _making:
            if _mine is None:
                folder = here().records
                folder.mkdir(parents=True, exist_ok=True)
                _mine = Recorder(folder / f"{os.getpid()}.records")
    return _mine


_mine: Recorder | None = None
_making = threading.Lock()


def _forget() -> None:
    """A child that was forked has counts of its own."""
    global _mine, _making
    _mine, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_HEADER.size)
