"""Bad requests over real sockets, at a real server on a real broker."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from processes import Stack
from waiting import eventually
from warren.settings import BrokerSettings

GOOD = json.dumps({"task": "fault.record", "arguments": {"history": "/dev/null", "number": 1}}).encode()
READ_SECONDS = 2


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stack]]:
    started: dict[str, Stack] = {}
    yield started
    for stack in started.values():
        stack.stop()


@pytest.fixture
def server(
    broker: object, request: pytest.FixtureRequest, servers: dict[str, Stack], tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    url = str(broker.url)  # type: ignore[attr-defined]
    if url not in servers:
        settings = BrokerSettings.model_validate(
            {"url": url, "management_url": broker.management_url}  # type: ignore[attr-defined]
        )
        stack = Stack(folder=tmp_path_factory.mktemp("server"), broker=settings, tasks="fault_tasks")
        servers[url] = stack
        stack.start_server(WARREN_SERVER_READ_SECONDS=str(READ_SECONDS), WARREN_SERVER_THREADS="4")
    return servers[url]


def request(body: bytes = b"", *headers: str, line: str = "POST /v1/jobs HTTP/1.1", length: bool = True) -> bytes:
    head = [line, "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def get(*headers: str, line: str = "GET /v1/tasks HTTP/1.1") -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


def send(server: Stack, raw: bytes, timeout_seconds: float = 10) -> int:
    """Send bytes and return the status of the answer, 0 for a connection closed without one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout_seconds) as connection:
        try:
            connection.sendall(raw)
            answer = connection.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return 0
    return int(answer.split(b" ", 2)[1]) if answer else 0


@contextmanager
def nothing_accepted(server: Stack) -> Iterator[None]:
    """Check that no job came of it, and that the next good request is taken."""
    before = newest(server)
    yield
    assert newest(server) == before
    assert send(server, request(GOOD)) == 202


def newest(server: Stack) -> object:
    jobs = httpx.get(f"{server.url}/v1/jobs?limit=1", timeout=10).json()["jobs"]
    return jobs[0]["id"] if jobs else None


MIB = 1024 * 1024
CHUNKED = "Transfer-Encoding: chunked"

CASES: dict[str, tuple[bytes, set[int]]] = {
    "1 body over the limit": (request(b" " * (MIB + 1)), {413}),
    "1 announced over the limit": (request(b"", f"Content-Length: {MIB + 1}", length=False), {413}),
    "2 chunks over the limit": (
        request(b"100001\r\n" + b" " * (MIB + 1) + b"\r\n0\r\n\r\n", CHUNKED, length=False), {413},
    ),
    "3 a gigabyte announced": (request(b"", "Content-Length: 1000000000", length=False), {413, 408}),
    "3 a body announced, not sent": (request(b"", "Content-Length: 100", length=False), {408, 0}),
    "4 half a head": (b"POST /v1/jobs HTTP/1.1\r\nHost: 127", {408, 0}),
    "4 half a chunk": (request(b"ff\r\nabc", CHUNKED, length=False), {408, 0}),
    "4 chunks that look ended": (request(b"ff\r\n0\r\n\r\n", CHUNKED, length=False), {400, 408, 0}),
    "5 depth 33": (request(b'{"a":' * 33 + b"1" + b"}" * 33), {400}),
    "5 depth 1000": (request(b"[" * 1000 + b"]" * 1000), {400}),
    "5 depth 100k": (request(b"[" * 100_000), {400}),
    "6 half a million elements": (request(b'{"a":[' + b"0," * 500_000 + b"0]}"), {400, 413}),
    "7 NaN": (request(b'{"task":NaN}'), {400}),
    "7 1e999": (request(b'{"task":1e999}'), {400}),
    "8 5000 digits": (request(b'{"priority":' + b"9" * 5000 + b"}"), {400}),
    "8 over 2^63": (request(b'{"priority":9223372036854775808}'), {400}),
    "9 float": (request(GOOD[:-1] + b',"priority":1.5}'), {422}),
    "9 bool": (request(GOOD[:-1] + b',"delay":true}'), {422}),
    "10 negative": (request(GOOD[:-1] + b',"delay":-1}'), {422}),
    "10 2^31": (request(GOOD[:-1] + b',"max_attempts":2147483648}'), {422}),
    "10 255": (request(GOOD[:-1] + b',"priority":255}'), {422}),
    "11 invalid UTF-8": (request(b'{"task":"\xff\xfe"}'), {400}),
    "12 UTF-16": (request(GOOD.decode().encode("utf-16")), {400}),
    "12 BOM": (request(b"\xef\xbb\xbf" + GOOD), {400}),
    "13 lone surrogate": (request(b'{"task":"fault.record","arguments":{"history":"\\ud800","number":1}}'), {400}),
    "14 NUL in a name": (request(b'{"task":"fault\\u0000record"}'), {422}),
    "15 duplicate key": (request(b'{"task":"x","task":"fault.record"}'), {400}),
    "16 unknown field": (request(GOOD[:-1] + b',"__proto__":{}}'), {422}),
    "17 empty": (request(b""), {400}),
    "17 null": (request(b"null"), {400}),
    "17 trailing garbage": (request(GOOD + b"x"), {400}),
    "18 no type": (request(GOOD).replace(b"Content-Type: application/json\r\n", b""), {415}),
    "18 utf-16 charset": (request(GOOD).replace(b"/json\r", b"/json;charset=utf-16\r"), {415}),
    "19 gzip": (request(GOOD, "Content-Encoding: gzip"), {415}),
    "20 length and chunked": (request(b"0\r\n\r\n", CHUNKED), {400}),
    "20 two lengths": (request(GOOD, f"Content-Length: {len(GOOD) + 1}"), {400}),
    "20 folded header": (request(GOOD, "X-A: b\r\n c"), {400}),
    "20 two hosts": (request(GOOD, "Host: localhost"), {400}),
    "21 bare CR in a value": (request(GOOD, "X-A: b\rc"), {400}),
    "22 101 headers": (request(GOOD, *(f"X-{number}: a" for number in range(101))), {431}),
    "22 9 KB header": (request(GOOD, "X-A: " + "a" * 9000), {431}),
    "22 endless head": (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, {431, 0}),
    "22 5 KB line": (request(GOOD, line=f"POST /v1/jobs?{'a' * 5000} HTTP/1.1"), {414, 400}),
    "23 underscore twin": (request(GOOD, "X_User: root", "X-User: me"), {400}),
    "24 untrusted host": (request(GOOD).replace(b"Host: 127.0.0.1", b"Host: evil.example"), {400}),
    "25 path as task": (request(b'{"task":"../../etc/passwd"}'), {422}),
    "25 unknown task": (request(b'{"task":"os.system"}'), {404}),
    "28 client sets attempt": (request(GOOD[:-1] + b',"attempt":9,"owner":"x"}'), {422}),
    "40 TRACE": (request(GOOD, line="TRACE /v1/jobs HTTP/1.1"), {405}),
    "40 PUT": (request(GOOD, line="PUT /v1/jobs HTTP/1.1"), {405}),
    "40 override": (request(GOOD, "X-HTTP-Method-Override: DELETE"), {400}),
    "40 //": (request(GOOD, line="POST //v1/jobs HTTP/1.1"), {404, 400}),
    "40 trailing slash": (request(GOOD, line="POST /v1/jobs/ HTTP/1.1"), {404, 405}),
    "40 dots": (request(GOOD, line="POST /v1/%2e%2e/v1/jobs HTTP/1.1"), {404, 400}),
    "40 parameters": (request(GOOD, line="POST /v1/jobs;a=b HTTP/1.1"), {404, 400}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_request_gets_its_answer_and_leaves_nothing(server: Stack, case: str) -> None:
    raw, expected = CASES[case]

    with nothing_accepted(server):
        assert send(server, raw, READ_SECONDS + 8) in expected


def test_slow_clients_hold_no_thread(server: Stack) -> None:
    slow: list[Callable[[], bytes]] = [
        lambda: b"POST /v1/jobs HTTP/1.1\r\nHo",
        lambda: request(b"", "Content-Length: 50", length=False),
        lambda: request(b"5\r\nhe", CHUNKED, length=False),
    ]
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(slow[number % 3]())
        began = time.monotonic()

        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: send(server, request(GOOD)), range(20)))

        assert statuses == [202] * 20
        assert time.monotonic() - began < READ_SECONDS
        eventually(lambda: all(_closed(connection) for connection in connections), READ_SECONDS + 8)
    finally:
        for connection in connections:
            connection.close()


def _closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_bytes_that_drip_in_make_a_request(server: Stack) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        raw = request(GOOD)
        for start in range(0, len(raw), 20):
            connection.sendall(raw[start : start + 20])

        assert connection.recv(65536).startswith(b"HTTP/1.1 202")


def test_one_connection_carries_many_requests_even_sent_at_once(server: Stack) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        answers = b""
        connection.sendall(request(GOOD) * 3)
        while answers.count(b"HTTP/1.1 202") < 3:
            received = connection.recv(65536)
            assert received
            answers += received


def test_a_body_is_asked_for_when_the_client_waits_for_that(server: Stack) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request(b"", "Expect: 100-continue", f"Content-Length: {len(GOOD)}", length=False))
        asked = connection.recv(1024)
        connection.sendall(GOOD)

        assert asked.startswith(b"HTTP/1.1 100")
        assert connection.recv(65536).startswith(b"HTTP/1.1 202")


def test_forwarding_headers_change_nothing(server: Stack) -> None:
    forged = request(GOOD, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")

    assert send(server, forged) == 202
