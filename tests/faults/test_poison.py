"""F7 and F8: handlers that hang, and jobs that take down what runs them. Neighbours finish, poison ends dead."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from faults.checker import Bounds
from faults.load import Sort
from faults.stage import PREFETCH, Stage, sizes
from waiting import eventually
from warren.amqp import connect
from warren.envelope import Envelope, Message, encode, new_job_id
from warren.topology import JOBS
from warren.transport import Publication

pytestmark = pytest.mark.timeout(600)
POISON = ("fault.segfault", "fault.hungry", "fault.looping", "fault.hanging")
MAX_ATTEMPTS = 3


@pytest.mark.parametrize("each", sizes(1, 3))
def test_poison_ends_dead_with_its_reason_and_its_neighbours_finish(stage: Stage, each: int) -> None:
    stage.start_server()
    worker = stage.start_worker()

    with stage.load():
        for task in POISON:
            stage.submit(Sort(task=task, expect="dead"), [f"{task}-{number}" for number in range(each)])
        put_bad_payloads(stage)
        for task in POISON:
            wait_states(stage, "dead", task, each)

    reasons = {task: dead_reasons(stage, task) for task in POISON}
    undecodable = [letter for letter in dead_letters(stage) if letter["job"] is None]
    invalid = [letter for letter in dead_letters(stage) if letter["task"] == "fault.sleeping"]
    assert worker.poll() is None
    stage.finish(
        "F7, F8 poison in child processes",
        bounds=Bounds(faults=0),
        note=f"{each} each of segfault, out of memory, endless loop, hang; 3 bad payloads",
    )
    assert all("SIGSEGV" in reason for reason in reasons["fault.segfault"])
    assert all("MemoryError" in reason for reason in reasons["fault.hungry"])
    assert all("time" in reason.lower() for reason in reasons["fault.looping"] + reasons["fault.hanging"])
    assert all(len(found) == each for found in reasons.values())
    assert all(runs(stage, f"{task}-{number}") == MAX_ATTEMPTS for task in POISON for number in range(each))
    assert len(undecodable) == 2
    assert len(invalid) == 1


@pytest.mark.full
def test_a_thread_that_ignores_its_time_limit_holds_up_nobody_else(stage: Stage) -> None:
    stage.start_server()
    stage.start_worker()

    with stage.load():
        stage.submit(Sort(task="fault.deaf", expect="any", arguments={"seconds": 5}), ["deaf-1", "deaf-2"])
        stage.wait_start("deaf-1")
        stage.wait_more_effects(800)

    stage.finish("F7 a thread that ignores its time limit", bounds=Bounds(faults=0))


@pytest.mark.full
def test_a_job_that_kills_its_worker_stops_after_its_attempts(stage: Stage) -> None:
    stage.start_server()

    with restarted(stage) as deaths, stage.load():
        stage.wait_more_effects(100)
        stage.submit(Sort(task="fault.murder", expect="dead"), ["murder"])
        wait_states(stage, "dead", "fault.murder", 1)
        stage.wait_more_effects(200)

    stage.finish(
        "F8 a job that kills its worker",
        bounds=Bounds(faults=len(deaths), in_flight=PREFETCH, crashes=1),
        note=f"killed {len(deaths)} workers",
    )
    assert MAX_ATTEMPTS <= len(deaths) <= MAX_ATTEMPTS + 1
    assert len(deaths) == runs(stage, "murder")


def put_bad_payloads(stage: Stage) -> None:
    """Publish what no server would: no job at all, a job of no version, arguments that do not fit."""
    good = encode(Envelope(id=new_job_id(), task="fault.sleeping", queue="faults", body=b'{"seconds":"x"}'))
    transport = connect(stage.settings)
    transport.start()
    assert transport.wait_ready(20)
    for message in (Message(body=b"\xff\x00garbage"), Message(body=b"{}", headers={"warren-v": "one"}), good):
        transport.publish(Publication(exchange=JOBS, routing_key="faults", message=message), wait_seconds=5).result(10)
        if message.message_id is not None:
            stage.history.add("sent", message.message_id, expect="dead")
            stage.history.add("accepted", message.message_id, message.message_id)
    transport.stop()


@contextmanager
def restarted(stage: Stage) -> Iterator[list[int]]:
    """Keep one worker running, as a Deployment does; yields the ids of those that died."""
    deaths: list[int] = []
    ending = threading.Event()
    current: list[subprocess.Popen[bytes]] = [stage.start_worker()]

    def watch() -> None:
        while not ending.wait(0.05):
            if current[0].poll() is not None:
                deaths.append(current[0].pid)
                stage.fault("a worker died of its job")
                current[0] = stage.start_worker()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield deaths
    finally:
        ending.set()
        thread.join()


def wait_states(stage: Stage, state: str, task: str, count: int) -> None:
    """Wait until so many jobs of a task are in a state."""
    eventually(lambda: len(ask(stage, "/v1/jobs", state=state, task=task)["jobs"]) == count, 90, 0.2)


def dead_letters(stage: Stage) -> list[dict[str, str]]:
    letters = ask(stage, "/v1/dead-letters", limit="500")
    found: list[dict[str, str]] = letters["dead_letters"]
    return found


def dead_reasons(stage: Stage, task: str) -> list[str]:
    """Return what is said of each dead job of a task."""
    letters = [letter for letter in dead_letters(stage) if letter["task"] == task]
    return [f"{letter['reason']} {letter['error']}" for letter in letters]


def runs(stage: Stage, key: str) -> int:
    return sum(line.kind == "start" and line.key == key for line in stage.history.lines())


def ask(stage: Stage, path: str, **parameters: str):  # type: ignore[no-untyped-def]
    answer = httpx.get(f"{stage.stack.url}{path}", params=parameters, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()
