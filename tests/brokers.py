"""Brokers for the tests: one private node for all processes of a run, and brokers that others run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from waiting import eventually
from warren.local.node import PrivateNode
from warren.local.ports import MANAGEMENT_OFFSET
from warren.local.processes import is_alive


@dataclass(frozen=True)
class ExternalBroker:
    """A broker that somebody else runs; another process of this test run, or nobody of ours.

    Attributes:
        folder: The node's folder, when it is the run's own.
        owner: Id of the process that started it, when it is the run's own.
    """

    url: str
    management_url: str
    folder: str = ""
    owner: int = 0

    @classmethod
    def from_url(cls, url: str) -> ExternalBroker:
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        where = f"{parts.hostname}:{(parts.port or 5672) + MANAGEMENT_OFFSET}"
        with_path = url if parts.path else f"{url}/"
        return cls(with_path, urlunsplit(("http", f"{login}@{where}" if login else where, "", "", "")))


class SharedNode:
    """A private node that the first process starts, all use, and the first stops when the last is done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine = folder / f"user-{os.getpid()}"
        self._node: PrivateNode | None = None

    def join(self) -> ExternalBroker:
        with self._locked():
            address = self._folder / "address.json"
            if address.exists():
                self._mine.touch()
                return ExternalBroker(**json.loads(address.read_text()))
            self._node = PrivateNode(self._folder / "node")
            self._node.start()
            self._mine.touch()
            shared = ExternalBroker(
                self._node.url, self._node.management_url, folder=str(self._node.folder), owner=os.getpid()
            )
            address.write_text(json.dumps(asdict(shared)))
            return shared

    def leave(self) -> None:
        self._mine.unlink(missing_ok=True)
        if self._node is None:
            return
        # The kernel stops the node when the process that started it ends, so that one waits for the others.
        eventually(self._nobody_is_left, timeout_seconds=1800, interval_seconds=0.1)
        self._node.stop()

    def _nobody_is_left(self) -> bool:
        with self._locked():
            users = [user for user in self._folder.glob("user-*") if is_alive(int(user.name.removeprefix("user-")))]
            if not users:
                (self._folder / "address.json").unlink(missing_ok=True)
            return not users

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
