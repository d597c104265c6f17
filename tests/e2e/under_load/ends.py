"""How pods end while a test works on them: watched, for a pod that is gone cannot be asked."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from e2e.commands import ENVIRONMENT

_LINE = (
    "{{.metadata.name}}"
    "{{range .status.containerStatuses}} {{.restartCount}}"
    "{{with .state.terminated}} {{.exitCode}} {{.reason}}{{end}}"
    "{{end}}\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the container of a pod ended.

    Attributes:
        code: Exit status; 137 when it had to be killed.
        reason: As the kubelet says.
        at: When that was seen, seconds since the epoch.
    """

    code: int
    reason: str
    at: float


class Ends:
    """What became of the pods of one container each.

    Attributes:
        of: How those ended that did, by name of the pod.
        restarts: Pods whose container was started again.
    """

    def __init__(self) -> None:
        self.of: dict[str, End] = {}
        self.restarts: set[str] = set()

    def read(self, line: str) -> None:
        """Take in one line of the watch."""
        name, *words = line.split()
        if words and int(words[0]):
            self.restarts.add(name)
        if len(words) > 1 and name not in self.of:
            self.of[name] = End(code=int(words[1]), reason=words[2], at=time.time())

    @property
    def killed(self) -> dict[str, End]:
        """Those that did not end by themselves."""
        return {name: end for name, end in self.of.items() if end.code}


@contextmanager
def watched(namespace: str, selector: str) -> Iterator[Ends]:
    """Watch the pods a selector finds, while the block runs.

    Args:
        namespace: Where.
        selector: Labels; every pod has one container.
    """
    ends = Ends()
    words = ("get", "pods", "--selector", selector, "--watch", "--output", f"go-template={_LINE}")
    with followed(namespace, *words, take=ends.read):
        yield ends


@contextmanager
def followed(namespace: str, *words: str, take: Callable[[str], object]) -> Iterator[None]:
    """Run a kubectl that does not end, while the block runs, and take in each line it prints.

    Args:
        namespace: Where.
        words: What it is to do.
        take: Gets each line, in a thread of its own.
    """
    command = ["kubectl", "--namespace", namespace, *words]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout

        def follow() -> None:
            for line in lines:
                take(line)

        thread = threading.Thread(target=follow, name=f"kubectl {words[0]}")
        thread.start()
        try:
            yield
        finally:
            process.terminate()
            thread.join()
