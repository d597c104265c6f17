"""The scenarios: each takes worker sets that are at work, and returns the figures of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, TypeVar

from e2e.autoscaling.fleet import MOST, Fleet
from e2e.autoscaling.jobs import (
    FINAL,
    Jobs,
    Record,
    first_starts,
    interrupted,
    moment,
    redelivered,
    runs_at,
)
from e2e.autoscaling.watching import Watch
from e2e.namespaces import Namespace
from waiting import eventually
from warren.simulation.report import quantile

T = TypeVar("T")
BURST = 400
BURST_SECONDS = 2.0
LONG_SECONDS = 60.0
HALF = 20
APART_SECONDS = 6.0
"""Between the jobs of the second half: ten of `LONG_SECONDS` run at a time."""
AWAKE_SECONDS = 30.0
"""How long before a fleet without work is put to sleep a job comes that keeps it awake."""
DOWN_SECONDS = 60.0
HELD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of a scenario, in seconds from its first submit unless they say otherwise."""

    def as_json(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst(Figures):
    """What a burst came to.

    Attributes:
        accepted: When the answer to the submit was there.
        asked: When the first worker was asked for.
        running: When `MOST` pods ran.
        ready: When they were ready.
        wait_p50: How long half of the jobs waited for their start at most.
        wait_p95: How long 95 of 100 did.
        done: When the last job ended.
        start: From a pod's creation to the start of its first job, on average over the pods.
        start_longest: The same of the slowest pod.
        replicas: What the Deployment was told, in turn.
        redelivered: Jobs handed out again.
    """

    accepted: float
    asked: float
    running: float | None
    ready: float | None
    wait_p50: float
    wait_p95: float
    done: float
    start: float
    start_longest: float
    replicas: list[int]
    redelivered: int


def burst(fleet: Fleet, jobs: Jobs) -> Burst:
    """Submit 400 jobs of 2 s at once to no worker."""
    with fleet.watch() as watch:
        eventually(lambda: watch.replicas)
        fleet.between_polls()
        began = time.time()
        submitted = jobs.submit(fleet.queue, BURST, BURST_SECONDS)
        accepted = time.time()
        # One record is cheap to ask for, and the node has two cores for all of it.
        eventually(lambda: jobs.record(submitted[-1])["state"] in FINAL, 400, 2)
        records = jobs.finished(fleet.queue, submitted, 120)
        waits = [job["wait_seconds"] for job in records]
        asked = watch.first_change(began)
        assert asked is not None
        starts = first_starts(records)
        delays = [at - watch.pods[pod].seen for pod, at in starts.items()]
        running, ready = watch.reached(MOST), watch.reached_ready(MOST)
        return Burst(
            accepted=accepted - began,
            asked=asked - began,
            running=None if running is None else running - began,
            ready=None if ready is None else ready - began,
            wait_p50=quantile(waits, 0.5),
            wait_p95=quantile(waits, 0.95),
            done=max(moment(job["finished_at"]) for job in records) - began,
            start=fmean(delays),
            start_longest=max(delays),
            replicas=watch.values(began),
            redelivered=len(redelivered(records)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrink(Figures):
    """What became of long jobs while their fleet shrank.

    Attributes:
        jobs: How many there were.
        interrupted: Those of which a run was cut short.
        redelivered: Those that were handed out again.
        deleted: Pods deleted before the last job had ended.
        deleted_busy: Those of them that ran a job then.
        killed: Those that did not end by themselves.
        shrank_at: When the Deployment was first told a lower number.
        running_then: Jobs that ran at that moment.
        done: When the last job ended.
        replicas: What the Deployment was told until then, in turn.
    """

    jobs: int
    interrupted: int
    redelivered: int
    deleted: int
    deleted_busy: int
    killed: int
    shrank_at: float | None
    running_then: int
    done: float
    replicas: list[int]


def shrink(fleet: Fleet, jobs: Jobs) -> Shrink:
    """Submit 20 jobs of a minute at once, and another 20 one by one, so that ten run when the fleet may shrink."""
    with fleet.watch() as watch:
        eventually(lambda: watch.replicas)
        began = time.time()
        submitted = jobs.submit(fleet.queue, HALF, LONG_SECONDS)
        jobs.finished(fleet.queue, submitted, 300)
        emptied = time.time()
        for at in second_half(fleet.window_seconds, fleet.cooldown_seconds):
            _pause_until(emptied + at)
            submitted.append(jobs.submit_one(fleet.queue, LONG_SECONDS))
        records = jobs.finished(fleet.queue, submitted, 400)
        ended = max(moment(job["finished_at"]) for job in records)
        gone = {name: pod for name, pod in watch.pods.items() if pod.deleted is not None and pod.deleted < ended}
        shrank = _first_fall(watch)
        busy = [name for name, pod in gone.items() if pod.deleted and runs_at(records, name, pod.deleted)]
        return Shrink(
            jobs=len(records),
            interrupted=len(interrupted(records)),
            redelivered=len(redelivered(records)),
            deleted=len(gone),
            deleted_busy=len(busy),
            killed=sum(bool(pod.exit_code) for pod in gone.values()),
            shrank_at=None if shrank is None else shrank - began,
            running_then=0 if shrank is None else sum(runs_at(records, name, shrank) for name in watch.pods),
            done=ended - began,
            replicas=[value for at, value in watch.replicas if at <= ended],
        )


def second_half(window_seconds: float, cooldown_seconds: float) -> list[float]:
    """Say when each job of the second half comes, in seconds after the first half.

    Ten of them run when a window that began with the end of the first half ends. Where a fleet would be put to sleep
    before, a job comes in time to keep it awake.

    Args:
        window_seconds: How long fewer workers must have been enough before some are let go.
        cooldown_seconds: How long a fleet without any work is left alone.
    """
    begin = window_seconds - LONG_SECONDS
    early = [cooldown_seconds - AWAKE_SECONDS] if begin > cooldown_seconds else []
    return early + [begin + number * APART_SECONDS for number in range(HALF - len(early))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind(Figures):
    """What a fleet did while the management API was away.

    Attributes:
        before: Replicas when it went.
        meanwhile: Every number the Deployment had until it was back.
        down: How long it was away.
        idle: When the last job ended, in seconds since it went: nobody had work from then on.
        interrupted: Jobs of which a run was cut short.
    """

    before: int
    meanwhile: list[int]
    down: float
    idle: float
    interrupted: int

    @property
    def held(self) -> bool:
        """Whether the number stayed."""
        return self.meanwhile == [self.before]


def blind(fleets: Mapping[Fleet, float], jobs: Jobs, namespace: Namespace) -> dict[str, Blind]:
    """Take the management API away for a minute from fleets of ten, whose jobs end meanwhile.

    Args:
        fleets: The worker sets, all struck at once, and how long the jobs of each run; the first ones are up first.
        jobs: The server.
        namespace: Where the broker is.
    """
    with ExitStack() as stack:
        watches = {fleet.mode: stack.enter_context(fleet.watch()) for fleet in fleets}
        submitted = {}
        for fleet, seconds in fleets.items():
            submitted[fleet.mode] = jobs.submit(fleet.queue, HELD, seconds)
            _wait_running(fleet, jobs, submitted[fleet.mode])
        before = {fleet.mode: fleet.replicas() for fleet in fleets}
        with management_away(namespace):
            went = time.time()
            assert not answers(namespace)
            _pause_until(went + DOWN_SECONDS)
            assert not answers(namespace)
            back = time.time()
        found = {}
        for fleet in fleets:
            records = jobs.finished(fleet.queue, submitted[fleet.mode], 120)
            found[fleet.mode] = _was_blind(before[fleet.mode], watches[fleet.mode], records, went, back)
        return found


def _wait_running(fleet: Fleet, jobs: Jobs, submitted: Sequence[str]) -> None:
    eventually(lambda: all(one["state"] == "running" for one in jobs.records(fleet.queue, submitted)), 120, 1)


def _was_blind(before: int, watch: Watch, records: Sequence[Record], went: float, back: float) -> Blind:
    known = [value for at, value in watch.replicas if at < went][-1:]
    return Blind(
        before=before,
        meanwhile=known + [value for at, value in watch.replicas if went <= at <= back],
        down=back - went,
        idle=max(moment(job["finished_at"]) for job in records) - went,
        interrupted=len(interrupted(records)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Last(Figures):
    """What became of the worker with the last job.

    Attributes:
        job_seconds: How long the job ran.
        kept: Its pod was there to its end.
        interrupted: Jobs of which a run was cut short.
        gone: When its pod was deleted, in seconds after the job's end; None while it is still there.
        replicas: What the Deployment was told, in turn.
        guarded: How long after its start the pod was marked as not to be disrupted; None when it was not.
        unguarded: How long after the job's end that mark was taken away.
    """

    job_seconds: float
    kept: bool
    interrupted: int
    gone: float | None
    replicas: list[int]
    guarded: float | None
    unguarded: float | None


def last(fleet: Fleet, jobs: Jobs, seconds: float, timeout_seconds: float) -> Last:
    """Let one long job run on while the queue is empty, and its worker go afterwards.

    Args:
        fleet: The worker set.
        jobs: The server.
        seconds: How long the job runs.
        timeout_seconds: How long its worker may take to go.
    """
    with fleet.watch() as watch:
        job = jobs.submit_one(fleet.queue, seconds)
        (record,) = jobs.finished(fleet.queue, [job], seconds + 120)
        eventually(lambda: fleet.replicas() == 0, timeout_seconds, 1)
        (pod,) = first_starts([record])
        life = watch.pods[pod]
        eventually(lambda: life.deleted, 30)
        began, ended = moment(record["started_at"]), moment(record["finished_at"])
        return Last(
            job_seconds=ended - began,
            kept=life.deleted is not None and life.deleted >= ended - 1,
            interrupted=len(interrupted([record])),
            gone=None if life.deleted is None else life.deleted - ended,
            replicas=watch.values(),
            guarded=None if life.guarded is None else life.guarded - began,
            unguarded=None if life.unguarded is None else life.unguarded - ended,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake(Figures):
    """How long a single job waited for its worker, from its 202.

    Attributes:
        asked: Until a pod was there for it.
        pod: From then until the pod's container ran.
        program: From then until the job ran.
        total: All of it.
    """

    asked: float
    pod: float
    program: float
    total: float


def wake(fleet: Fleet, jobs: Jobs) -> Wake:
    """Submit one job to no worker."""
    with fleet.watch() as watch:
        eventually(lambda: watch.replicas)
        fleet.between_polls()
        job = jobs.submit_one(fleet.queue, 0.1)
        accepted = time.time()
        (record,) = jobs.finished(fleet.queue, [job], 120)
        ((pod, began),) = first_starts([record]).items()
        life = watch.pods[pod]
        # The kubelet tells of a container some time after its start, a short job may end before.
        running = eventually(lambda: life.running, 15)
        assert running is not None
        return Wake(
            asked=life.seen - accepted,
            pod=running - life.seen,
            program=began - running,
            total=began - accepted,
        )


def together(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Make calls at the same time, and return what each returned."""
    with ThreadPoolExecutor(max(len(calls), 1)) as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
    return {name: future.result() for name, future in futures.items()}


@contextmanager
def management_away(namespace: Namespace) -> Iterator[None]:
    """Stop the broker's management API while the block runs; AMQP goes on."""
    plugins = ("exec", "warren-rabbitmq-server-0", "--container", "rabbitmq", "--", "rabbitmq-plugins", "--quiet")
    namespace.kubectl(*plugins, "disable", "rabbitmq_management")
    try:
        yield
    finally:
        namespace.kubectl(*plugins, "enable", "rabbitmq_management")


def answers(namespace: Namespace) -> bool:
    """Say whether the management API can be reached from a pod."""
    program = (
        "import socket\n"
        "try: socket.create_connection(('warren-rabbitmq', 15672), 3).close()\n"
        "except OSError: print('away')\n"
        "else: print('there')"
    )
    said = namespace.kubectl("exec", "deployment/warren-server", "--", "python", "-c", program).strip()
    assert said in ("there", "away"), said
    return said == "there"


def _pause_until(at: float) -> None:
    time.sleep(max(at - time.time(), 0.0))


def _first_fall(watch: Watch) -> float | None:
    pairs = zip(watch.replicas, watch.replicas[1:], strict=False)
    return next((at for (_, before), (at, after) in pairs if after < before), None)
