"""RabbitMQ as the `rabbitmq` service of a Compose file, on loopback ports of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import quote

from warren.errors import LocalStackError
from warren.local.ports import MANAGEMENT_OFFSET, free_port

_ANSWER_SECONDS: Final = 10
_START_SECONDS: Final = 300


class ComposeBroker:
    """A broker that Docker Compose runs; its volume keeps the data.

    Args:
        file: The Compose file.
        folder: Where the password is kept.
        project: Name of the Compose project.
    """

    def __init__(self, file: Path, folder: Path, project: str = "warren-local") -> None:
        self._file = file
        self._folder = folder
        self._project = project
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        """AMQP URL with login, default virtual host; only after `start`."""
        return f"amqp://warren:{quote(self._password, safe='')}@127.0.0.1:{self._port}/%2F"

    def start(self) -> None:
        """Start the service and wait until its health check passes.

        Raises:
            LocalStackError: Compose failed; with its output.
        """
        self._password = self._remembered_password()
        self._port = free_port(also_offset=MANAGEMENT_OFFSET)
        self._compose("up", "--detach", "--wait", "rabbitmq")

    def stop(self) -> None:
        """Remove the container and its network; the volume with the data stays."""
        if self._port:
            self._compose("down")
            self._port = 0

    def _remembered_password(self) -> str:
        file = self._folder / "compose-password"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
                stream.write(secrets.token_urlsafe(24))
        return file.read_text(encoding="ascii")

    def _compose(self, *arguments: str) -> None:
        environment = os.environ | {
            "WARREN_RABBITMQ_PASSWORD": self._password,
            "WARREN_RABBITMQ_PORT": str(self._port),
            "WARREN_RABBITMQ_MANAGEMENT_PORT": str(self._port + MANAGEMENT_OFFSET),
        }
        command = ["docker", "compose", "--file", str(self._file), "--project-name", self._project, *arguments]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LocalStackError(f"{' '.join(command)} took longer than {_START_SECONDS} s") from error
        if done.returncode:
            raise LocalStackError(f"{' '.join(command)} failed with status {done.returncode}:\n{done.stderr.strip()}")


def engine_answers() -> bool:
    """Whether a container engine with Compose answers on this machine."""
    if shutil.which("docker") is None:
        return False
    try:
        return not any(
            subprocess.run(command, capture_output=True, timeout=_ANSWER_SECONDS).returncode
            for command in (["docker", "info"], ["docker", "compose", "version"])
        )
    except subprocess.TimeoutExpired:
        return False
