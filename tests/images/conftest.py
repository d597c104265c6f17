"""The images, built once a session from this tree, and a network with a broker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from containers import IMAGE_PREFIX, PROGRAMS, RABBITMQ, ROOT, Containers, Images, missing_engine, run_docker

# Read before the environment is cleared for each test. The host's network reaches what the host reaches.
BUILD_FLAGS = os.environ.get("WARREN_TEST_IMAGE_FLAGS", "--network host")


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where no container can be run."""
    if reason := missing_engine():
        pytest.skip(f"no container engine: {reason}")


@pytest.fixture(scope="session")
def images(engine: None) -> Iterator[Images]:
    """The images of this tree, built as users build them; their layers stay in the engine's build cache."""
    settings = [f"IMAGE_PREFIX={IMAGE_PREFIX}", f"IMAGE_FLAGS={BUILD_FLAGS}"]
    built = subprocess.run(["make", "images", *settings], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr[-4000:]
    version = subprocess.run(["make", "version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    made = Images(tag=version, revision=head.stdout.strip(), flags=BUILD_FLAGS.split())
    yield made
    run_docker("rmi", "--force", *(made[program] for program in PROGRAMS))


@pytest.fixture(scope="module")
def containers(engine: None) -> Iterator[Containers]:
    """A network with a broker, named `rabbitmq`."""
    with Containers() as made:
        login = {"RABBITMQ_DEFAULT_USER": "warren", "RABBITMQ_DEFAULT_PASS": made.password}
        made.run(RABBITMQ, name="rabbitmq", environment=login)
        yield made
