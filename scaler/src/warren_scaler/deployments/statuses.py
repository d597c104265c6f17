"""What the workers of pods do: asked at each one's probe port."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import httpx

from warren.status import WorkerStatus, decode_status
from warren_scaler.deployments.pods import Pod

ASK_SECONDS: Final = 1.0
_AT_ONCE: Final = 32


class Statuses:
    """Asks pods, several at once. A pod that does not answer in time, or nonsense, is one that counts as busy.

    Args:
        port: The probe port of workers.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        # A proxy is for the world outside. A kept connection to a pod that goes away is of no use.
        self._client = httpx.Client(timeout=ASK_SECONDS, trust_env=False, headers={"Connection": "close"})
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="warren-status")

    def close(self) -> None:
        """End the threads and the client. Idempotent."""
        self._threads.shutdown()
        self._client.close()

    def ask(self, pods: Iterable[Pod]) -> list[Pod]:
        """Return the pods with what their workers do."""
        return list(self._threads.map(self._complete, pods))

    def _complete(self, pod: Pod) -> Pod:
        return replace(pod, status=self._status(pod.address)) if pod.started and pod.address else pod

    def _status(self, address: str) -> WorkerStatus | None:
        host = f"[{address}]" if ":" in address else address
        try:
            answer = self._client.get(f"http://{host}:{self._port}/status")
            return decode_status(answer.content) if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError):
            return None
