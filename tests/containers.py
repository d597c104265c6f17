"""Real containers of a test, removed with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RABBITMQ = "rabbitmq:4.3-management"
IMAGE_PREFIX = "warren-test-"
PROGRAMS = ("server", "worker", "scaler")


def missing_engine() -> str | None:
    """Return why no container can be run on this machine, or None."""
    if shutil.which("docker") is None:
        return "there is no docker program on PATH"
    for command in (["docker", "info"], ["docker", "buildx", "version"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            return f"{' '.join(command)} says: {done.stderr.strip()[-200:]}"
    return None


def docker(*arguments: str | Path, timeout_seconds: float = 120, **options: Any) -> str:
    """Run docker and return what it printed; fail with all it said when it fails."""
    done = run_docker(*arguments, timeout_seconds=timeout_seconds, **options)
    assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


def run_docker(
    *arguments: str | Path, timeout_seconds: float = 120, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run docker, whatever its exit status."""
    command = ["docker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, **options)


def inspect(name: str) -> dict[str, Any]:
    """Return what docker knows of an image or a container."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return found[0]


@dataclass(frozen=True, kw_only=True)
class Images:
    """What was built.

    Attributes:
        tag: Of all three.
        revision: The commit that the build was told.
        flags: What a build needs here.
    """

    tag: str
    revision: str
    flags: list[str]

    def __getitem__(self, program: str) -> str:
        return f"{IMAGE_PREFIX}{program}:{self.tag}"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """How a container ended.

    Attributes:
        exit_code: Of its first process; 137 when it had to be killed.
        seconds: How long it took after the signal.
    """

    exit_code: int
    seconds: float


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    id: str

    def address(self, port: int) -> str:
        """Return `host:port` on this machine of a published port."""
        return docker("port", self.id, str(port)).splitlines()[0]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, whatever the exit status."""
        return run_docker("exec", self.id, *command)

    def stop(self, grace_seconds: int) -> Stopped:
        """Send SIGTERM to its first process, SIGKILL after the grace."""
        began = time.monotonic()
        docker("stop", "-t", str(grace_seconds), self.id, timeout_seconds=grace_seconds + 30)
        return Stopped(exit_code=inspect(self.id)["State"]["ExitCode"], seconds=time.monotonic() - began)

    @property
    def running(self) -> bool:
        return bool(inspect(self.id)["State"]["Running"])

    def close(self) -> None:
        """End and remove it with its volumes."""
        docker("rm", "--force", "--volumes", self.id)

    def log(self) -> str:
        """Return the end of what it wrote."""
        done = run_docker("logs", "--tail", "60", self.id)
        return done.stdout + done.stderr


@dataclass
class Containers:
    """Containers that see each other by name on a network of their own.

    Attributes:
        network: Its name.
        password: Of their broker's user `warren`.
        started: Ids of all that were started.
    """

    network: str = field(default_factory=lambda: f"warren-test-{uuid.uuid4().hex[:8]}")
    password: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[str] = field(default_factory=list)

    def __enter__(self) -> Containers:
        docker("network", "create", self.network)
        return self

    def __exit__(self, *_exc: object) -> None:
        for container in self.started:
            run_docker("rm", "--force", "--volumes", container)
        run_docker("network", "rm", self.network)

    def run(
        self,
        image: str,
        *command: str,
        name: str = "",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Container:
        """Start a container in the background.

        Args:
            image: What to run.
            command: Arguments of its entry point.
            name: Its name on the network.
            options: Further options of `docker run`.
            environment: Its variables.
        """
        variables = [part for key, value in (environment or {}).items() for part in ("--env", f"{key}={value}")]
        alias = ["--network-alias", name] if name else []
        started = docker("run", "--detach", "--network", self.network, *alias, *variables, *options, image, *command)
        self.started.append(started)
        return Container(started)
