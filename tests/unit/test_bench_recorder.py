"""Counts that the tasks of the benchmarks keep."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import recorder, work
from bench.place import Place, here
from bench.recorder import Recorder, latencies_ns, totals


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place that this process' tasks record at."""
    made = Place(amqp_url="amqp://x", management_url="http://x", folder=str(tmp_path))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(recorder, "_mine", None)
    return made


def test_a_place_travels_by_the_environment(place: Place) -> None:
    assert here() == place


def test_counts_of_several_processes_add_up(tmp_path: Path) -> None:
    one, other = Recorder(tmp_path / "1.records"), Recorder(tmp_path / "2.records")
    Recorder(tmp_path / "3.records")
    before_ns = time.monotonic_ns()

    one.note(cpu_ns=7)
    one.note(cpu_ns=3)
    other.note()

    found = totals(tmp_path)
    assert (found.processes, found.jobs, found.cpu_ns) == (2, 3, 10)
    assert before_ns <= found.first_ns <= found.last_ns <= time.monotonic_ns()


def test_a_folder_without_records_has_no_jobs(tmp_path: Path) -> None:
    found = totals(tmp_path)

    assert (found.processes, found.jobs, found.first_ns) == (0, 0, 0)


def test_latencies_of_all_processes_come_in_order(tmp_path: Path) -> None:
    one, other = Recorder(tmp_path / "1.records"), Recorder(tmp_path / "2.records")

    one.note(latency_ns=300)
    other.note(latency_ns=100)
    other.note()
    one.note(latency_ns=-5)

    assert latencies_ns(tmp_path) == [-5, 100, 300]
    assert totals(tmp_path).jobs == 4


def test_latencies_beyond_the_room_are_left_out_and_their_jobs_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LATENCIES", 2)
    one = Recorder(tmp_path / "1.records")

    for latency in (1, 2, 3):
        one.note(latency_ns=latency)

    assert latencies_ns(tmp_path) == [1, 2]
    assert totals(tmp_path).jobs == 3


def test_threads_lose_no_count(tmp_path: Path) -> None:
    one = Recorder(tmp_path / "1.records")
    threads = [threading.Thread(target=lambda: [one.note() for _ in range(500)]) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert totals(tmp_path).jobs == 2000


@pytest.mark.usefixtures("place")
def test_a_forked_child_has_counts_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "from bench.recorder import recorder\n"
        "recorder().note()\n"
        "child = os.fork()\n"
        "recorder().note()\n"
        "if child: os.waitpid(child, 0)\n"
    )
    root = Path(work.__file__).parent.parent

    subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True)

    found = totals(tmp_path / "records")
    assert (found.processes, found.jobs) == (2, 3)


def test_every_task_counts_itself(place: Place) -> None:
    work.noop("x")
    work.sleep()
    work.cpu()
    work.stamp(time.monotonic_ns() - 1_000_000)

    found = totals(place.records)
    assert found.jobs == 4
    assert found.cpu_ns >= work.CPU_NS
    (latency,) = latencies_ns(place.records)
    assert latency >= 1_000_000


def test_example_tasks_do_what_they_say(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 32)).save(tmp_path / "in.png")
    (tmp_path / "in.txt").write_text("to be or not to be\n")

    assert work.wordcount(str(tmp_path / "in.txt"))["words"] == 6
    assert work.thumbnail(str(tmp_path / "in.png"), str(tmp_path / "out.png"), 16)["size"] == ([16, 8])
    assert work.greet("hey") == "hey there"
    assert "good evening" in work.greet("good evening")
    with pytest.raises(ConnectionError):
        work.flaky()
    with pytest.raises(RuntimeError):
        work.doomed()
