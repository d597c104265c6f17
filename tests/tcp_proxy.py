"""A TCP proxy between a test and its broker that can go silent or cut every connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from pydantic import SecretStr

from warren.settings import BrokerSettings


class Proxy:
    """Forwards to one address until frozen; what comes while frozen is held back, and sent when thawed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._flowing = threading.Event()
        self._flowing.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.held_bytes = 0
        self.port: int = self._server.getsockname()[1]
        self.settings = BrokerSettings()
        self._threads[0].start()

    @classmethod
    def before(cls, settings: BrokerSettings) -> Proxy:
        """Stand before a broker; the proxy's own `settings` lead through it."""
        assert settings.url is not None
        url = urlsplit(settings.url.get_secret_value())
        proxy = cls(url.hostname or "127.0.0.1", url.port or 5672)
        login = url.netloc.rpartition("@")[0]
        through = url._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()
        proxy.settings = settings.model_copy(update={"url": SecretStr(through)})
        return proxy

    def freeze(self) -> None:
        """Forward nothing more, and answer nothing."""
        self.held_bytes = 0
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection."""
        for each in self._sockets:
            _shut(each)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.thaw()
        _shut(self._server)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._forward, args=(source, sink), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        # A side that is cut ends the forwarding, and then the other side.
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._flowing.is_set():
                    self.held_bytes += len(data)
                    self._flowing.wait()
                sink.sendall(data)
        _shut(sink)


def _shut(each: socket.socket) -> None:
    # The peer may have closed it already.
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
