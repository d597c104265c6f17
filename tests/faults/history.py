"""The history of a run: what was submitted, what ran, what came of it. One JSON object a line, from many processes.

Each line is one `write` to a file opened with `O_APPEND`, so a writer that is killed cannot tear the line of another.
Times are the machine's monotonic clock, which all processes share and no clock skew touches.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["sent", "accepted", "unknown", "refused", "start", "effect", "end", "terminal", "fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened.

    Attributes:
        kind: `sent`, then one of `accepted` (202), `unknown`, `refused` for each submit; `start`, `effect`, `end` of a
            run of a task's code; `terminal` for a final state seen in the store; `fault` for what the test did.
        at: When, seconds of the monotonic clock.
        key: The submit's own name, an argument of its task: what joins a run to a submit whose answer never came.
        job: Id of the job.
        data: What else is known: `expect`, `delay`, `run`, `attempt`, `max_attempts`, `attempts_left`,
            `pid`, `state`, `what`.
    """

    kind: Kind
    at: float
    key: str = ""
    job: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class History:
    """A history file.

    Args:
        path: The file; made when absent.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._counted = 0
        self._counts: Counter[str] = Counter()

    def add(self, kind: Kind, key: str = "", job: str = "", **data: Any) -> None:
        """Append one line, now."""
        self.extend([Line(kind=kind, at=time.monotonic(), key=key, job=job, data=data)])

    def extend(self, lines: Iterable[Line]) -> None:
        """Append lines in one write."""
        text = "".join(f"{_write(line)}\n" for line in lines).encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if text and os.write(descriptor, text) != len(text):
                raise OSError(f"{self.path} took only a part of {len(text)} bytes; is the disk full?")
        finally:
            os.close(descriptor)

    def read(self) -> list[Line]:
        """Return all lines, in the order in which they were written."""
        return list(self.lines())

    def lines(self) -> Iterator[Line]:
        """Read line by line; a last line still being written is left out."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as file:
            for text in file:
                if text.endswith("\n"):
                    yield Line(**json.loads(text))

    def count(self, kind: Kind) -> int:
        """Count the lines of a kind; each call reads only what is new."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._counted)
                for text in file:
                    if not text.endswith(b"\n"):
                        break
                    self._counted += len(text)
                    self._counts[text.split(b'"', 4)[3].decode()] += 1
        return self._counts[kind]

    @contextmanager
    def run(self, key: str, job: str, **data: Any) -> Iterator[str]:
        """Record start and end of a run of a task; an exception ends it as `failed`.

        Yields:
            The run's own name, for its effect.
        """
        run = os.urandom(8).hex()
        self.add("start", key, job, run=run, pid=os.getpid(), **data)
        try:
            yield run
        except BaseException as error:
            self.add("end", key, job, run=run, outcome=type(error).__name__)
            raise
        self.add("end", key, job, run=run, outcome="ok")


def _write(line: Line) -> str:
    document = {"kind": line.kind, "at": line.at, "key": line.key, "job": line.job, "data": line.data}
    return json.dumps(document, separators=(",", ":"))
