"""Killing a child process with all that came of it, wherever it went: other process groups, sessions, parents.

A descendant is known by its parents, or by a mark in its environment that it inherited: one whose parents ended, a
daemon, has only that. What has neither any more, a daemon with an environment of its own making, gets away.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "WARREN_CHILD"
"""Environment variable whose value is a child's own, and that of all it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as `/proc` shows it."""

    pid: int
    parent: int
    marked: bool


def kill_all(root: int | None, mark: str, proc: Path = Path("/proc")) -> None:
    """Kill a process and everything that came of it; without `/proc` only the process.

    All are stopped before any is killed, until no new one is found: what is stopped starts nothing, and what is not
    yet killed still has its parent.

    Args:
        root: The process, or None when it is gone already and its number may be another's.
        mark: Value of its `MARK`.
        proc: Where processes are shown.
    """
    known: set[int] = set()
    while new := family(root, processes(mark, proc)) - known:
        for pid in new:
            _send(pid, signal.SIGSTOP)
        known |= new
    for pid in known:
        _send(pid, signal.SIGKILL)


def family(root: int | None, processes: list[Process]) -> set[int]:
    """Return the process, those marked, and all descendants of any of them."""
    found = {process.pid for process in processes if process.marked} | ({root} if root is not None else set())
    while True:
        more = {process.pid for process in processes if process.parent in found} - found
        if not more:
            return found
        found |= more


def processes(mark: str, proc: Path = Path("/proc")) -> list[Process]:
    """Return the processes that are there now."""
    wanted = f"{MARK}={mark}".encode()
    return [] if not proc.is_dir() else list(_read(proc, wanted))


def _read(proc: Path, wanted: bytes) -> Iterator[Process]:
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended while we looked
            # The name in brackets may hold anything, brackets and blanks too.
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            yield Process(pid=int(entry.name), parent=parent, marked=wanted in _environment(entry))


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        # Of another user, after a setuid program: its parents still tell.
        return []


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
