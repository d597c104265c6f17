"""The load over HTTP: what is counted, and that a stall is charged to all who had to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.http_load import Client, Load, closed, figures, open_, read_head, request_bytes, schedule

Answer = Callable[[int], Awaitable[bytes]]


def answer_bytes(status: int, body: bytes, *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    """Serve on a port of loopback; each request is answered by its number."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                requests += 1
                writer.write(await answer(requests))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def client_for(port: int) -> Client:
    return Client("127.0.0.1", port, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")


def test_the_times_of_an_open_load_are_fixed_beforehand() -> None:
    assert list(schedule(10.0, 4, 1)) == [10.0, 10.25, 10.5, 10.75]


def test_a_request_says_its_length() -> None:
    found = request_bytes("127.0.0.1:80", "/v1/jobs", {"task": "é"})

    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_an_answer_is_read_by_its_head() -> None:
    assert read_head(b"HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n") == (202, 12, True)
    assert read_head(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nConnection: close\r\n\r\n") == (503, 0, False)
    with pytest.raises(ValueError, match="without Content-Length"):
        read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_only_what_is_recorded_counts_as_accepted() -> None:
    load = Load()

    load.count(202, b'{"id":"a","state":"queued"}', 1)
    load.count(202, b'{"id":"a","tracking":"deferred"}', 1)
    load.count(503, b"{}", 1)

    assert (load.accepted, load.deferred, load.refused) == (1, 1, 1)


def test_the_jobs_of_a_batch_are_counted_one_by_one() -> None:
    load = Load()

    load.count(200, b'{"jobs":[{"status":202},{"status":422},{"status":202,"tracking":"deferred"}]}', 3)

    assert (load.accepted, load.deferred, load.refused) == (1, 1, 1)


def test_figures_are_in_milliseconds() -> None:
    load = Load(accepted=50, latencies=[0.003, 0.001, 0.002])

    found = figures(load, 5.0)

    assert (found["rate"], found["p50"], found["max"]) == (10.0, 2.0, 3.0)


def test_a_closed_load_goes_on_over_one_connection_each() -> None:
    async def run() -> Load:
        load = Load()
        async with serving(_accept) as port:
            clients = [client_for(port) for _ in range(2)]
            await closed(clients, 1, 0.1, load)
            for client in clients:
                client.close()
        return load

    load = asyncio.run(run())

    assert load.accepted == len(load.latencies) > 2
    assert load.refused == 0


def test_a_client_connects_anew_when_the_server_closes() -> None:
    async def close(_number: int) -> bytes:
        return answer_bytes(503, b"", "Connection: close")

    async def run() -> list[int]:
        async with serving(close) as port:
            client = client_for(port)
            statuses = [(await client.send())[0] for _ in range(2)]
            client.close()
        return statuses

    assert asyncio.run(run()) == [503, 503]


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile() -> None:
    stall_seconds = 0.3

    async def stall_once(number: int) -> bytes:
        if number == 1:
            # The whole loop stands still, as a server does that has one thread.
            time.sleep(stall_seconds)  # noqa: ASYNC251
        return await _accept(number)

    async def run() -> Load:
        load = Load()
        async with serving(stall_once) as port:
            client = client_for(port)
            await open_([client], 100, 0.5, load)
            client.close()
        return load

    latencies = sorted(asyncio.run(run()).latencies)

    assert len(latencies) == 50
    # 30 requests were due during the stall; one after another waited less. A closed loop would have seen a single one.
    assert sum(latency > stall_seconds / 3 for latency in latencies) >= 15


async def _accept(_number: int) -> bytes:
    return answer_bytes(202, b"{}")
