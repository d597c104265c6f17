"""Settings, probes, and what a worker says when it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry

from waiting import eventually
from warren.errors import SettingsError
from warren.memory import MemoryTransport
from warren.probes import Health, Probes
from warren.settings import LifeSettings, load
from warren.task import Registry, task
from warren.topology import topology
from warren_worker import health
from warren_worker.__main__ import main
from warren_worker.health import Pulse
from warren_worker.runner import consumer_timeout_seconds
from warren_worker.settings import WorkerSettings
from warren_worker.timers import Timers


def test_the_defaults_are_those_that_are_documented() -> None:
    settings, life = load(WorkerSettings), load(LifeSettings)

    assert (settings.concurrency, settings.held, settings.queues) == (10, 13, "")
    assert settings.worker == f"{socket.gethostname()}-{os.getpid()}"
    assert (life.drain_seconds, life.probe_bind) == (30, "127.0.0.1:0")


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("WARREN_WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("WARREN_WORKER_CONCURRENCY", "many", "valid integer"),
        ("WARREN_WORKER_PREFETCH", "-1", "greater than or equal to 0"),
        ("WARREN_WORKER_QUEUES", "default,No Good", "must match"),
        ("WARREN_DRAIN_SECONDS", "-1", "greater than or equal to 0"),
        ("WARREN_PROBE_BIND", "9100", "must be host:port"),
        ("WARREN_TASKS", "no.such.module", "cannot be imported"),
        ("WARREN_TASKS", "", "there is nothing to work on"),
    ],
)
def test_a_wrong_setting_stops_the_worker_with_its_name_its_value_and_its_rule(
    variable: str, value: str, rule: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warren_worker"],
        env={**os.environ, "WARREN_LOG_LEVEL": "error", variable: value},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("warren worker: ")
    assert variable in done.stderr
    assert value in done.stderr
    assert rule in done.stderr
    assert "Traceback" not in done.stderr


def test_a_probe_address_that_is_taken_is_a_wrong_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        probes = Probes(address, _healthy(), CollectorRegistry())

        with pytest.raises(SettingsError, match=f"WARREN_PROBE_BIND is '{address}'"):
            probes.start()


def _healthy() -> Health:
    return Health(dead=lambda: None, unready=lambda: "draining")


@pytest.fixture
def probes() -> Iterator[Probes]:
    made = Probes("127.0.0.1:0", _healthy(), CollectorRegistry(), lambda: b'{"worker":"w"}')
    made.start()
    made.start()
    yield made
    made.stop()
    made.stop()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/healthz", 200, "ok\n"),
        ("/readyz?verbose", 503, "draining\n"),
        ("/metrics", 200, ""),
        ("/status", 200, '{"worker":"w"}'),
        ("/else", 404, "not found\n"),
    ],
)
def test_probes_answer_with_a_reason(probes: Probes, path: str, status: int, body: str) -> None:
    connection = HTTPConnection(*probes.address, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()

    assert (answer.status, text) == (status, body)


def test_a_short_loss_of_the_broker_keeps_a_worker_ready_and_a_long_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "BEAT_SECONDS", 0.01)
    transport, timers = MemoryTransport(), Timers()
    transport.start()
    transport.declare(topology(["default"])).result(5)
    timers.start()
    pulse = Pulse(transport, timers)
    before = pulse.unready()
    pulse.watch([transport.consume("warren.q.default", lambda _delivery: None, prefetch=1)])
    while_consuming = pulse.unready()
    transport.disconnect()
    short_loss = pulse.unready()

    monkeypatch.setattr(health, "UNREADY_AFTER_SECONDS", 0.05)
    eventually(lambda: pulse.unready() is not None)
    long_loss, dead = pulse.unready(), pulse.dead()
    pulse.drain()

    assert (before, while_consuming, short_loss) == ("not consuming yet", None, None)
    assert "not consuming for" in str(long_loss)
    assert dead is None
    assert pulse.unready() == "draining"
    timers.stop()
    transport.stop()


def test_a_loop_that_stands_still_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(MemoryTransport):
        loop_age_seconds = 61.0

    assert Pulse(Stuck(), Timers()).dead() == "an I/O loop has not turned for 61 s"


def test_the_consumer_timeout_is_above_any_attempt_and_its_wait() -> None:
    registry = Registry()
    shortest = consumer_timeout_seconds(registry)

    @task(registry=registry, timeout=1800)
    def long() -> None: ...

    assert (shortest, consumer_timeout_seconds(registry)) == (300, 3720)


def test_a_worker_for_one_job_holds_one_whatever_else_is_set() -> None:
    settings = load(WorkerSettings, once=True, concurrency=20, prefetch=40)

    assert (settings.slots, settings.held) == (1, 1)


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--twice"]) == 2
    assert "usage: python -m warren_worker [--once]" in capsys.readouterr().err
