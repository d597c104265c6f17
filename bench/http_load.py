"""Load over HTTP from a process of its own: `python -m bench.http_load JSON`, answered in JSON.

Closed: each client submits again as soon as it has its answer; that gives a rate. Open: requests are due at fixed
times, whatever the server does; the latency of each counts from the time it was due, so that a server that stalls is
charged with all who had to wait (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.agent import MARK
from bench.figures import percentile

_CONNECT_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Load:
    """What came of a load.

    Attributes:
        accepted: Jobs that were accepted and recorded.
        deferred: Jobs that were accepted and are to be recorded later.
        refused: Requests that were not answered 202, or 200 in a batch, and jobs in a batch that were refused.
        latencies: Seconds that each request took, from the time it was due.
    """

    accepted: int = 0
    deferred: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)

    def count(self, status: int, body: bytes, jobs: int) -> None:
        """Count an answer."""
        if status not in (200, 202):
            self.refused += 1
            return
        deferred = body.count(b'"tracking"')
        taken = body.count(b'"status":202') + body.count(b'"status": 202') if jobs > 1 else 1
        self.refused += jobs - taken
        self.deferred += deferred
        self.accepted += taken - deferred


class Client:
    """One connection that is kept, and one request at a time."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._host, self._port, self._request = host, port, request
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self) -> tuple[int, bytes]:
        """Send the request and return status and body; connects when need be."""
        if self._reader is None or self._writer is None or self._writer.is_closing():
            async with asyncio.timeout(_CONNECT_SECONDS):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, length, keeps = read_head(head)
        body = await self._reader.readexactly(length)
        if not keeps:
            self.close()
        return status, body

    def close(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


def read_head(head: bytes) -> tuple[int, int, bool]:
    """Return status, length of the body and whether the connection is kept.

    Raises:
        ValueError: The answer does not say its length.
    """
    lines = head.lower().split(b"\r\n")
    fields = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
    if b"content-length" not in fields:
        raise ValueError(f"an answer without Content-Length: {head[:200]!r}")
    keeps = fields.get(b"connection", b"").strip() != b"close"
    return int(lines[0].split()[1]), int(fields[b"content-length"]), keeps


def request_bytes(host: str, path: str, document: Any) -> bytes:
    """Write a POST of a JSON document."""
    body = json.dumps(document, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def closed(clients: list[Client], jobs: int, seconds: float, load: Load) -> float:
    """Have every client submit again and again; return how long it took in all."""
    began = time.perf_counter()

    async def go_on(client: Client) -> None:
        while time.perf_counter() < began + seconds:
            sent = time.perf_counter()
            status, body = await client.send()
            load.latencies.append(time.perf_counter() - sent)
            load.count(status, body, jobs)

    await asyncio.gather(*map(go_on, clients))
    return time.perf_counter() - began


async def open_(clients: list[Client], rate: float, seconds: float, load: Load) -> float:
    """Submit at fixed times by whichever client is free; return how long it took in all."""
    began = time.perf_counter()
    due = schedule(began + 0.1, rate, seconds)

    async def go_on(client: Client) -> None:
        # Whoever is free takes the next time; when nobody is, it waits, and the wait counts.
        for at in due:
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            status, body = await client.send()
            load.latencies.append(time.perf_counter() - at)
            load.count(status, body, 1)

    await asyncio.gather(*map(go_on, clients))
    return time.perf_counter() - began


def schedule(start: float, rate: float, seconds: float) -> Iterator[float]:
    """Return the times at which requests are due."""
    return (start + number / rate for number in range(round(rate * seconds)))


async def _run(order: dict[str, Any]) -> dict[str, float]:
    jobs = order.get("batch", 1)
    job = {"task": order["task"], "arguments": {"payload": "x" * order["payload"]}}
    path, document = ("/v1/jobs", job) if jobs == 1 else ("/v1/jobs/batch", {"jobs": [job] * jobs})
    host, port = "127.0.0.1", order["port"]
    request = request_bytes(f"{host}:{port}", path, document)
    clients = [Client(host, port, request) for _ in range(order["clients"])]
    warm, load = Load(), Load()
    await closed(clients, jobs, min(order["seconds"] / 4, 1.0), warm)
    if "rate" in order:
        seconds = await open_(clients, order["rate"], order["seconds"], load)
    else:
        seconds = await closed(clients, jobs, order["seconds"], load)
    for client in clients:
        client.close()
    return figures(load, seconds)


def figures(load: Load, seconds: float) -> dict[str, float]:
    """Return what a load came to, latencies in milliseconds."""
    ordered = sorted(load.latencies)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        "rate": load.accepted / seconds,
        "accepted": load.accepted,
        "deferred": load.deferred,
        "refused": load.refused,
        **{name: percentile(ordered, share) * 1000 for name, share in shares.items()},
    }


if __name__ == "__main__":
    print(f"\n{MARK}{json.dumps(asyncio.run(_run(json.loads(sys.argv[1]))))}", flush=True)
