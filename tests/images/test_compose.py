"""The stack of the Compose file, and its monitoring profile."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from containers import IMAGE_PREFIX, ROOT, Images, run_docker
from processes import free_port
from tutorial import commands, files, matches
from waiting import eventually
from warren.amqp import connect
from warren.lifecycle import Closing
from warren.local.compose import ComposeBroker
from warren.settings import BrokerSettings

FILE = ROOT / "docker-compose.yaml"
MONITORING = ROOT / "compose"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A Compose project of the test's own.

    Attributes:
        project: Its name.
        variables: What the file reads from the environment.
    """

    project: str
    variables: dict[str, str]

    def compose(self, *arguments: str) -> str:
        """Run docker compose; fail with what it and the services said when it fails."""
        done = self._run(*arguments)
        if done.returncode:
            logs = self._run("logs", "--tail", "40")
            raise AssertionError(f"{arguments}: {done.stderr[-3000:]}\n{logs.stdout[-6000:]}")
        return done.stdout.strip()

    def workers(self) -> list[dict[str, Any]]:
        """Return the worker containers that run."""
        lines = self.compose("ps", "--format", "json", "worker").splitlines()
        return [json.loads(line) for line in lines]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        before = ["compose", "--file", str(FILE), "--project-name", self.project]
        return run_docker(*before, *arguments, env={**os.environ, **self.variables}, timeout_seconds=300)


@pytest.fixture(scope="module")
def stack(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, up as a user has it who follows the tutorial, and taken down with its volumes."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, content in files():
        (folder / name).write_text(content)
    folder.chmod(0o755)
    ports = {f"WARREN_{name}PORT": str(free_port()) for name in ("", "RABBITMQ_", "RABBITMQ_MANAGEMENT_")}
    choice = {"WARREN_TASKS_FOLDER": str(folder), "WARREN_TASKS": "my_tasks"}
    built = {"WARREN_IMAGE_PREFIX": IMAGE_PREFIX, "WARREN_IMAGE_TAG": images.tag}
    made = Stack(project=f"warren-test-{uuid.uuid4().hex[:8]}", variables=ports | choice | built)
    try:
        made.compose("up", "--detach", "--no-build", "--wait")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "40")


def resolved(*profiles: str) -> dict[str, Any]:
    """Return the file as Compose reads it, without a variable set."""
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    done = run_docker("compose", "--file", FILE, *chosen, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(900)
def test_the_tutorial_works_on_the_stack(stack: Stack, tmp_path: Path) -> None:
    port = stack.variables["WARREN_PORT"]
    for name, content in files():
        (tmp_path / name).write_text(content)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "WARREN_URL": f"http://127.0.0.1:{port}",
    }

    for command in commands():
        line = command.line.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        ran = subprocess.run(
            shlex.split(line), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90
        )

        said = ran.stdout + ran.stderr
        assert ran.returncode == command.exit_code, f"{line}: {said}"
        assert matches(command.expected, said), f"{line} printed {said!r}, the page says {command.expected!r}"


@pytest.mark.timeout(900)
def test_workers_are_scaled_and_all_of_them_work(stack: Stack) -> None:
    stack.compose("up", "--detach", "--no-build", "--wait", "--scale", "worker=3", "worker")

    assert [worker["Health"] for worker in stack.workers()] == ["healthy"] * 3

    stack.compose("up", "--detach", "--no-build", "--scale", "worker=1", "worker")
    eventually(lambda: len(stack.workers()) == 1, 60, 0.2)
    said = stack.compose("exec", "--no-TTY", "server", "warren", "submit", "greet", "cmd=hey", "--wait")
    assert "hey there!" in said


@pytest.mark.timeout(900)
def test_jobs_are_kept_when_the_containers_are_not(stack: Stack) -> None:
    stack.compose("stop", "worker")
    said = stack.compose("exec", "--no-TTY", "server", "warren", "submit", "greet", "cmd=hello", "--json")
    job = json.loads(said)["id"]

    stack.compose("down", "--timeout", "40")
    stack.compose("up", "--detach", "--no-build", "--wait")

    shown = stack.compose("exec", "--no-TTY", "server", "warren", "watch", job)
    assert "succeeded" in shown


@pytest.mark.timeout(300)
def test_make_up_starts_the_broker_alone(engine: None, tmp_path: Path) -> None:
    project = f"warren-test-{uuid.uuid4().hex[:8]}"
    broker = ComposeBroker(FILE, tmp_path, project)
    try:
        broker.start()
        settings = BrokerSettings.model_validate({"url": broker.url})
        with Closing() as closing:
            transport = connect(settings)
            closing.add("transport", transport.stop)
            transport.start()
            assert transport.wait_ready(20)
        services = run_docker("compose", "--project-name", project, "ps", "--services").stdout.split()
    finally:
        broker.stop()
        run_docker("volume", "rm", f"{project}_rabbitmq")

    assert services == ["rabbitmq"]


@pytest.mark.timeout(120)
def test_ports_are_published_on_loopback_only(engine: None) -> None:
    services = resolved("monitoring")["services"]

    published = {name: port["host_ip"] for name, service in services.items() for port in service.get("ports", [])}
    assert published == dict.fromkeys(("rabbitmq", "server", "prometheus", "grafana"), "127.0.0.1")


@pytest.mark.timeout(120)
def test_monitoring_is_a_profile(engine: None) -> None:
    assert set(resolved()["services"]) == {"rabbitmq", "postgres", "server", "worker"}
    assert set(resolved("monitoring")["services"]) == {
        "rabbitmq",
        "postgres",
        "server",
        "worker",
        "prometheus",
        "grafana",
    }


@pytest.mark.timeout(120)
def test_the_default_images_are_those_that_make_builds(engine: None) -> None:
    version = subprocess.run(["make", "version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    services = resolved()["services"]

    for program in ("server", "worker"):
        assert services[program]["image"] == f"warren-{program}:{version}"
        assert services[program]["build"]["target"] == program
        assert services[program]["build"]["args"]["VERSION"] == version
