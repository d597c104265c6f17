"""Processor time and memory of processes with their children, by psutil."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of processes with their children, in MiB.

    Attributes:
        processes: How many processes there are.
        resident: Resident memory of all; what forked processes share counts several times.
        proportional: The same, each shared page counted once (PSS); 0 where the system does not tell.
        largest: Resident memory of the largest process without children: one that does the work, no helper beside it.
    """

    processes: int
    resident: float
    proportional: float
    largest: float


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time of processes and their children, user and system, of those that still live."""
    seconds = 0.0
    for process in _trees(pids):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory of processes and their children."""
    count, resident, proportional = 0, 0, 0
    leaves: list[int] = []
    for process in _trees(pids):
        with suppress(psutil.NoSuchProcess):
            full = process.memory_full_info()
            count += 1
            resident += full.rss
            proportional += getattr(full, "pss", 0)
            if not process.children():
                leaves.append(full.rss)
    return Memory(
        processes=count,
        resident=resident / MEBIBYTE,
        proportional=proportional / MEBIBYTE,
        largest=max(leaves, default=0) / MEBIBYTE,
    )


def _trees(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            yield process
            yield from process.children(recursive=True)
