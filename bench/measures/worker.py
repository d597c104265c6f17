"""Worker rates: no-op tasks, tasks that wait for 1 ms, tasks that compute for 5 ms; the same number of processes."""

from __future__ import annotations

from bench.contender import Contender
from bench.measures import cpu, memory
from bench.readings import Quantity, rate
from bench.sizes import Size
from bench.stage import Stage

_TITLES = {"noop": "no-op", "sleep": "1 ms sleep", "cpu": "5 ms CPU"}


def quantities(size: Size) -> list[Quantity]:
    """Return what is measured here."""
    beside = f"{size.processes} processes"
    return [
        *(rate(f"worker.{task}.rate", f"{title}, {beside}") for task, title in _TITLES.items()),
        rate("worker.noop.recorded", f"no-op, {beside}, until the last result is recorded"),
        Quantity(
            id="worker.cpu.busy",
            title=f"5 ms CPU, {beside}: cores busy with the task, less the broker's share",
            unit="%",
            better="higher",
        ),
    ]


def measure(stage: Stage) -> None:
    """Have each contender's workers empty a queue, for each task."""
    size = stage.size
    for task, jobs, among in (
        ("noop", size.jobs, ()),
        ("sleep", size.sleep_jobs, size.few),
        ("cpu", size.cpu_jobs, size.few),
    ):
        for number, contender in stage.turns("worker", among):
            if task in contender.tasks:
                stage.tell(f"  worker, {task}, round {number}: {contender.name}")
                with stage.guarded(f"worker, {task}", contender):
                    _drain(stage, contender, task, jobs, number)


def _drain(stage: Stage, contender: Contender, task: str, jobs: int, number: int) -> None:
    # What a task itself takes is the same for all.
    count = round(jobs * contender.pace) if task == "noop" else jobs
    drained = contender.drain(stage, task, count)
    stage.note(f"worker.{task}.rate", contender, drained.rate, number)
    if drained.busy is not None:
        stage.note("worker.cpu.busy", contender, drained.busy * 100, number)
    if task == "noop":
        if drained.recorded_rate is not None:
            stage.note("worker.noop.recorded", contender, drained.recorded_rate, number)
        cpu.note(stage, contender, drained, number)
        memory.note(stage, contender, drained, number)
