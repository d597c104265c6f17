"""A job longer than the broker lets a delivery be, on a RabbitMQ 4.3 of this test's own whose limit is one minute."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from brokers import ExternalBroker
from processes import free_port
from waiting import eventually
from warren.events import State
from warren.settings import BrokerSettings
from worker_processes import stage_on

IMAGE = "rabbitmq:4.3-management"
BROKER_LIMIT_SECONDS = 60


def has_image() -> bool:
    docker = shutil.which("docker")
    return bool(docker) and not subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True).returncode


@pytest.fixture
def strict_broker(tmp_path: Path) -> Iterator[BrokerSettings]:
    """A broker in a container that takes back what is not settled within a minute."""
    conf = tmp_path / "limits.conf"
    conf.write_text(f"consumer_timeout = {BROKER_LIMIT_SECONDS * 1000}\n")
    conf.chmod(0o644)
    port, management_port, name = free_port(), free_port(), f"warren-test-{uuid.uuid4().hex[:12]}"
    ports = ["-p", f"127.0.0.1:{port}:5672", "-p", f"127.0.0.1:{management_port}:15672"]
    subprocess.run(["docker", "create", "--name", name, *ports, IMAGE], check=True, capture_output=True)
    try:
        # Copied, not mounted: the daemon may see other folders than we do.
        subprocess.run(["docker", "cp", str(conf), f"{name}:/etc/rabbitmq/conf.d/90-limits.conf"], check=True)
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
        broker = ExternalBroker(
            f"amqp://guest:guest@127.0.0.1:{port}/", f"http://guest:guest@127.0.0.1:{management_port}"
        )
        eventually(lambda: answers(broker), 60, 0.5)
        yield BrokerSettings.model_validate({"url": broker.url, "management_url": broker.management_url})
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def answers(broker: ExternalBroker) -> bool:
    try:
        overview = httpx.get(f"{broker.management_url}/api/health/checks/virtual-hosts", timeout=5, trust_env=False)
    except httpx.TransportError:
        return False
    return overview.status_code == 200


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.skipif(not has_image(), reason=f"Docker with the image {IMAGE} is not here")
def test_a_job_longer_than_the_brokers_limit_runs_once_to_its_end(
    strict_broker: BrokerSettings, tmp_path: Path
) -> None:
    seconds = BROKER_LIMIT_SECONDS + 30
    with stage_on(tmp_path, strict_broker) as stage:
        worker = stage.start_worker()
        began = time.monotonic()
        job = stage.submit("check.overlong", {"seconds": seconds})

        done = stage.event(job, State.SUCCEEDED, seconds + 60)

        assert time.monotonic() - began >= seconds
        assert done.result == "[1,false]"
        assert worker.log.count("was interrupted") == 0
        assert not stage.dead
