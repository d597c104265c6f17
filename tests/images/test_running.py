"""The images at work: hardened, as process 1, and with a user's own tasks."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers import PROGRAMS, ROOT, Container, Containers, Images, docker, run_docker
from waiting import eventually

HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
GUIDE = ROOT / "docs" / "how-to" / "images.md"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tasks that the images' user can read."""
    folder = tmp_path_factory.mktemp("tasks")
    shutil.copy(Path(__file__).with_name("image_tasks.py"), folder)
    (folder / "my_tasks.py").write_text(blocks()["my_tasks.py"])
    folder.chmod(0o755)
    return folder


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Starts servers and workers on the module's broker."""

    images: Images
    containers: Containers
    tasks: Path
    environment: dict[str, str]

    @contextmanager
    def server(self, *options: str) -> Iterator[tuple[Container, httpx.Client]]:
        """Run a server with a store of its own, ready when it is given."""
        container = self.containers.run(
            self.images["server"],
            options=[*HARDENED, "--volume", "/data", "--publish", "127.0.0.1::8000", *options],
            environment={**self.environment, "WARREN_AUTH": "none"},
        )
        with closing(container), self._client(container, 8000) as client:
            yield container, client

    @contextmanager
    def worker(self, *options: str, image: str = "") -> Iterator[Container]:
        """Run a worker, ready when it is given."""
        container = self.containers.run(
            image or self.images["worker"],
            options=[*HARDENED, "--publish", "127.0.0.1::9100", *options],
            environment=self.environment,
        )
        with closing(container), self._client(container, 9100):
            yield container

    def mount(self, modules: str = "image_tasks") -> list[str]:
        return ["--volume", f"{self.tasks}:/tasks:ro", "--env", f"WARREN_TASKS={modules}"]

    @contextmanager
    def _client(self, container: Container, port: int) -> Iterator[httpx.Client]:
        address = f"http://{container.address(port)}"
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:

            def ready() -> bool:
                assert container.running, container.log()
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(ready, 60, 0.1)
            yield client


@pytest.fixture(scope="module")
def parts(images: Images, containers: Containers, tasks: Path) -> Parts:
    environment = {"WARREN_AMQP_HOST": "rabbitmq", "WARREN_AMQP_USERNAME": "warren"}
    return Parts(
        images=images,
        containers=containers,
        tasks=tasks,
        environment=environment | {"WARREN_AMQP_PASSWORD": containers.password},
    )


@pytest.fixture(scope="module")
def server(parts: Parts) -> Iterator[httpx.Client]:
    """A server that knows all tasks."""
    with parts.server(*parts.mount("image_tasks,my_tasks")) as (_, client):
        yield client


@pytest.fixture
def worker(parts: Parts, server: httpx.Client) -> Iterator[Container]:
    """A worker with the mounted tasks; nothing was built for it."""
    with parts.worker(*parts.mount()) as container:
        yield container


def submit(server: httpx.Client, task: str, **arguments: Any) -> str:
    answer = server.post("/v1/jobs", json={"task": task, "arguments": arguments})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def finished(server: httpx.Client, job: str) -> dict[str, Any]:
    """Return the job when it has ended."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = server.get(f"/v1/jobs/{job}", params={"wait": 5}).raise_for_status().json()
        return found if found["state"] in ("succeeded", "dead", "cancelled", "expired") else None

    return eventually(ended, 40) or {}


def test_mounted_tasks_run_with_nothing_writable_but_tmp(server: httpx.Client, worker: Container) -> None:
    job = finished(server, submit(server, "image.apart"))

    assert job["result"] == {"uid": 10001, "writable": ["/tmp"]}


def test_a_worker_is_process_1_finishes_its_job_at_a_stop_and_exits_0(server: httpx.Client, worker: Container) -> None:
    assert first_process(worker) == ["-m", "warren_worker"]
    job = submit(server, "image.slow", seconds=5)
    eventually(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "running", 20)

    ended = worker.stop(60)

    assert ended.exit_code == 0, worker.log()
    assert 3 < ended.seconds < 20
    record = finished(server, job)
    assert (record["state"], record["attempt"], record["result"]) == ("succeeded", 1, "done")


def test_a_server_is_process_1_answers_at_a_stop_and_exits_0(parts: Parts) -> None:
    with parts.server(*parts.mount()) as (container, client), ThreadPoolExecutor() as pool:
        assert first_process(container) == ["-m", "warren_server"]
        job = submit(client, "image.slow", seconds=0)
        # One connection is idle, the other is a request in the middle of its wait.
        idle = established(container)
        poll = pool.submit(httpx.get, f"{client.base_url}/v1/jobs/{job}?wait=10", timeout=60, trust_env=False)
        eventually(lambda: established(container) > idle, 10)

        ended = container.stop(60)

        assert poll.result().status_code == 200
        assert ended.exit_code == 0, container.log()
        assert ended.seconds < 30


@pytest.mark.parametrize("program", PROGRAMS)
def test_process_1_ends_by_sigterm_also_before_a_program_takes_it_over(parts: Parts, program: str) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    options = ["--entrypoint", "python"]
    with closing(parts.containers.run(parts.images[program], "-c", code, options=options)) as container:
        eventually(lambda: container.log() == "up\n", 20)

        ended = container.stop(60)

    assert ended.exit_code == 128 + signal.SIGTERM
    assert ended.seconds < 30


def first_process(container: Container) -> list[str]:
    """Return the arguments of the container's first process."""
    return container.execute("cat", "/proc/1/cmdline").stdout.split("\0")[1:3]


def established(container: Container) -> int:
    """Return how many connections to the server's port are open, by the kernel's table (state 01)."""
    table = container.execute("cat", "/proc/net/tcp").stdout
    return len(re.findall(r"^ *\d+: \w+:1F40 \w+:\w+ 01 ", table, re.MULTILINE))


def blocks() -> dict[str, str]:
    """Return the files that the guide shows, by their titles."""
    return dict(re.findall(r'```\w+ title="(.+?)"\n(.*?)```', GUIDE.read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.parametrize("title", ["Dockerfile", "Dockerfile.packages"])
def test_the_guides_images_run_their_own_tasks(parts: Parts, server: httpx.Client, tmp_path: Path, title: str) -> None:
    shown, images = blocks(), parts.images
    for name in ("my_tasks.py", "requirements.txt"):
        (tmp_path / name).write_text(shown[name])
    (tmp_path / "Dockerfile").write_text(shown[title].replace(f"warren-worker:{images.tag}", images["worker"]))
    tag = f"warren-test-extended:{title.lower()}"
    with_packages = title.endswith("packages")
    try:
        docker("build", *images.flags, "--tag", tag, tmp_path, timeout_seconds=600)
        with parts.worker(image=tag) as worker:
            job = finished(server, submit(server, "shout", text="hey"))

            assert job["result"] == "HEY"
            assert worker.execute("id", "-u").stdout.strip() == "10001"
            assert worker.execute("python", "-c", "import PIL").returncode == (0 if with_packages else 1)
    finally:
        run_docker("rmi", "--force", tag)
