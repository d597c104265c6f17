"""A TCP proxy in front of one or more addresses whose weather can turn: slow, stalling, dripping, silent, reset."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

CHUNK_BYTES = 65536
_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What happens to bytes in one direction.

    Attributes:
        latency_seconds: How long each takes.
        stall_share: Share of chunks that take `stall_seconds` more, as a lost segment sent again does.
        stall_seconds: How long those take.
        bytes_per_second: Most bytes a second, or None.
        silent: Nothing arrives; what is sent meanwhile arrives afterwards.
    """

    latency_seconds: float = 0.0
    stall_share: float = 0.0
    stall_seconds: float = 0.3
    bytes_per_second: int | None = None
    silent: bool = False


FAIR = Weather()


class Service:
    """Leads each connection to one of its targets, in turn, the next that listens; a context manager.

    Args:
        targets: Addresses it stands in front of.
        port: Where it listens on loopback; 0 for any.
        seed: Of the stalls.
    """

    def __init__(self, targets: Sequence[tuple[str, int]], port: int = 0, seed: int = 1) -> None:
        self._targets = list(targets)
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.port: int = self._listener.getsockname()[1]
        self.up = FAIR
        self.down = FAIR
        self.refusing = False
        self._turned = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._far: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def turn(self, *, up: Weather | None = None, down: Weather | None = None, refusing: bool = False) -> None:
        """Change the weather, towards the targets (`up`) and from them; `refusing` turns new connections away."""
        self.up, self.down, self.refusing = up or FAIR, down or FAIR, refusing
        asyncio.run_coroutine_threadsafe(self._announce(), self._loop).result(10)

    def reset(self) -> None:
        """Break every connection with an RST to both sides."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(10)

    def forget(self) -> None:
        """Drop every connection at the targets' side only: those in front hear nothing of it."""
        asyncio.run_coroutine_threadsafe(self._forget(), self._loop).result(10)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener))
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    async def _announce(self) -> None:
        async with self._turned:
            self._turned.notify_all()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()

    async def _forget(self) -> None:
        for writer in list(self._far):
            writer.transport.abort()

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        target = None if self.refusing else await self._connect()
        if target is None:
            near_writer.transport.abort()
            return
        far_reader, far_writer = target
        self._writers |= {near_writer, far_writer}
        self._far.add(far_writer)
        try:
            await asyncio.gather(
                self._forward(near_reader, far_writer, "up"), self._forward(far_reader, near_writer, "down")
            )
        finally:
            self._writers -= {near_writer, far_writer}
            self._far.discard(far_writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            self._targets.append(self._targets.pop(0))
            try:
                return await asyncio.open_connection(*self._targets[-1])
            except OSError:
                continue
        return None

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        # Bounded, so that a sender is held back by a slow receiver as on a real network.
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        sending = asyncio.create_task(self._send(chunks, writer, direction))
        # A side that is cut ends the forwarding, and then the other side.
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await chunks.put((self._loop.time() + self._latency(direction), data))
        await chunks.put((0.0, b""))
        await sending

    async def _send(
        self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, direction: str
    ) -> None:
        with suppress(OSError):
            while (item := await chunks.get())[1]:
                due, data = item
                await asyncio.sleep(max(due - self._loop.time(), 0))
                await self._drip(data, writer, direction)
        writer.close()
        # The rest is read, so that whoever still puts into the queue is not held up for ever.
        while not chunks.empty():
            chunks.get_nowait()

    async def _drip(self, data: bytes, writer: asyncio.StreamWriter, direction: str) -> None:
        async with self._turned:
            await self._turned.wait_for(lambda: not self._weather(direction).silent)
        rate = self._weather(direction).bytes_per_second
        piece = len(data) if rate is None else max(rate // 10, 1)
        for start in range(0, len(data), piece):
            writer.write(data[start : start + piece])
            await writer.drain()
            if rate is not None:
                await asyncio.sleep(0.1)

    def _weather(self, direction: str) -> Weather:
        return self.up if direction == "up" else self.down

    def _latency(self, direction: str) -> float:
        weather = self._weather(direction)
        stalled = weather.stall_share and self._rng.random() < weather.stall_share
        return weather.latency_seconds + (weather.stall_seconds if stalled else 0.0)
