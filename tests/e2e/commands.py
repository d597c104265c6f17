"""kubectl and Helm, as the person who runs the suite would call them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gotools

# Read before the environment is cleared for each test.
ENVIRONMENT = dict(os.environ)
ROOT = Path(__file__).resolve().parents[2]


def run(words: Sequence[str], *, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a command and return what it printed; fail with what it complained about."""
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, input=stdin, timeout=timeout)
    assert done.returncode == 0, f"{shlex.join(words)} exited {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


def kubectl(*words: str, stdin: str | None = None, timeout: float = 120) -> str:
    return run(["kubectl", *words], stdin=stdin, timeout=timeout)


def helm(version: str, *words: str, values: Mapping[str, Any] | None = None, timeout: float = 360) -> str:
    """Run Helm.

    Args:
        version: Which one, `helm3` or `helm4`: on PATH, or built by `make tools`.
        words: Arguments.
        values: Values for install and upgrade.
        timeout: How long it may take, in seconds.

    Returns:
        What it printed.
    """
    given = [] if values is None else ["--values", "-"]
    return run([*gotools.command(version), *words, *given], stdin=json.dumps(values), timeout=timeout)


def apply(*objects: Mapping[str, Any]) -> None:
    kubectl("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def serves(resource: str) -> bool:
    """Whether the cluster has a resource, such as `servicemonitors.monitoring.coreos.com`."""
    return bool(kubectl("get", "customresourcedefinition", resource, "--ignore-not-found", "--output", "name"))


@contextmanager
def forwarded(namespace: str, target: str, *ports: int) -> Iterator[list[int]]:
    """Bring ports of a Service or pod to this machine's loopback, each to a free port, while the block runs.

    It is bound to one pod: when that goes, connections are refused.
    """
    command = ["kubectl", "--namespace", namespace, "port-forward", "--address", "127.0.0.1", target]
    with subprocess.Popen(
        [*command, *(f":{port}" for port in ports)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            here: list[int] = []
            while len(here) < len(ports):
                line = process.stdout.readline()
                found = re.search(r"127\.0\.0\.1:(\d+) -> \d+", line)
                assert found, f"kubectl port-forward {target} says {line!r}"
                here.append(int(found.group(1)))
            yield here
        finally:
            process.terminate()
