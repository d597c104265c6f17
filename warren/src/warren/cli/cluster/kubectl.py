"""Ask a cluster by kubectl, which brings the user's contexts, logins and proxies."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from warren.cli.cluster.port import Kind, Object
from warren.errors import KindMissing, KubernetesError, KubernetesForbidden

_SECONDS: Final = 60
_REQUEST_SECONDS: Final = 20
_FORWARD_SECONDS: Final = 20


class Kubectl:
    """A cluster behind kubectl.

    Args:
        program: Path of kubectl.
        context: Context of the kubeconfig; None for the current one.
        namespace: Namespace that is looked at.
    """

    def __init__(self, program: str, *, context: str | None, namespace: str) -> None:
        self._command = [program, *(["--context", context] if context else [])]
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        return self._namespace

    def every(self, kind: Kind, *, selector: str = "", everywhere: bool = False) -> list[Object]:
        where = ["--all-namespaces"] if everywhere else self._where(kind)
        return self._get(kind, [*where, *(["--selector", selector] if selector else [])])

    def named(self, kind: Kind, names: Sequence[str]) -> list[Object]:
        return self._get(kind, [*self._where(kind), "--ignore-not-found", *names]) if names else []

    @contextmanager
    def reach(self, service: str, port: int) -> Iterator[str]:
        command = [
            *self._command, "--namespace", self._namespace, "port-forward", f"service/{service}", f":{port}",
            "--address", "127.0.0.1",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield f"127.0.0.1:{_forwarded(process, service)}"
            finally:
                process.terminate()

    def _where(self, kind: Kind) -> list[str]:
        return ["--namespace", self._namespace] if kind.namespaced else []

    def _get(self, kind: Kind, words: Sequence[str]) -> list[Object]:
        text = _run([
            *self._command, "get", kind.name, "--output", "json", f"--request-timeout={_REQUEST_SECONDS}s", *words,
        ])  # fmt: skip
        if not text.strip():
            return []  # nothing was found by name
        document = json.loads(text)
        # One object that was asked for by name comes without a list around it.
        return list(document["items"]) if "items" in document else [document]


def current_namespace(program: str, context: str | None) -> str:
    """Return the namespace of a context.

    Raises:
        KubernetesError: There is no such context.
    """
    chosen = ["--context", context] if context else []
    return _run([program, *chosen, "config", "view", "--minify", "--output", "jsonpath={..namespace}"]) or "default"


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KubernetesError(f"{' '.join(command[:6])}: {error}") from error
    if done.returncode:
        raise _failure(done.stderr)
    return done.stdout


def _failure(told: str) -> KubernetesError:
    lines = [line for line in told.splitlines() if line.strip()]
    last = lines[-1] if lines else "kubectl failed and said nothing"
    if "(Forbidden)" in told:
        return KubernetesForbidden(last)
    if "the server doesn't have a resource type" in told or "could not find the requested resource" in told:
        return KindMissing(last)
    return KubernetesError(last)


def _forwarded(process: subprocess.Popen[str], service: str) -> str:
    """Wait until kubectl says which local port it took."""
    assert process.stdout is not None  # noqa: S101  # both are pipes
    assert process.stderr is not None  # noqa: S101
    patience = threading.Timer(_FORWARD_SECONDS, process.kill)
    patience.start()
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
    finally:
        patience.cancel()
    if found is None:
        process.kill()
        said = process.stderr.read().strip()
        raise KubernetesError(f"kubectl port-forward service/{service}: {said or f'not ready in {_FORWARD_SECONDS} s'}")
    return found[1]
