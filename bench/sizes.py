"""How long and how much: the full run, and the short one that only shows that everything works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

PARTS: Final = 10
"""A backlog is looked at in tenths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        name: `full` or `smoke`.
        rounds: Interleaved rounds of each measure.
        payloads: Bytes of the payload argument, for publishes.
        publish_seconds: How long a publish is measured.
        jobs: No-op jobs in a drain, times a contender's pace.
        sleep_jobs: Jobs that sleep 1 ms.
        cpu_jobs: Jobs that compute for 5 ms.
        few: Only these contenders run the jobs that sleep and compute, and show their latency; empty means all.
        processes: Worker processes of every contender.
        latency_rate: Jobs a second at which end-to-end latency is measured.
        latency_seconds: For how long.
        http_seconds: How long each HTTP measure takes.
        http_rates: Requests a second at which the latency of single submits is measured.
        http_clients: Clients that submit single jobs at a time.
        batch: Jobs in a batch request.
        batch_clients: Clients that submit batches at a time.
        backlog: Jobs of the backlog.
        settle_seconds: How long an idle process is left alone before its memory is read.
    """

    name: str
    rounds: int
    payloads: tuple[int, ...]
    publish_seconds: float
    jobs: int
    sleep_jobs: int
    cpu_jobs: int
    few: tuple[str, ...] = ()
    processes: int = 2
    latency_rate: int = 500
    latency_seconds: float
    http_seconds: float
    http_rates: tuple[int, ...]
    http_clients: int = 32
    batch: int = 1000
    batch_clients: int = 4
    backlog: int
    settle_seconds: float


FULL: Final = Size(
    name="full",
    rounds=3,
    payloads=(64, 1024, 65536),
    publish_seconds=4,
    jobs=10_000,
    sleep_jobs=10_000,
    cpu_jobs=4_000,
    latency_seconds=20,
    http_seconds=8,
    http_rates=(100, 200, 400, 800),
    backlog=1_000_000,
    settle_seconds=5,
)

SMOKE: Final = Size(
    name="smoke",
    rounds=1,
    payloads=(64, 1024, 65536),
    publish_seconds=0.3,
    jobs=600,
    sleep_jobs=400,
    cpu_jobs=200,
    few=("warren", "celery"),
    latency_seconds=3,
    http_seconds=2,
    http_rates=(100,),
    backlog=5_000,
    settle_seconds=1,
)


def scaled(size: Size, share: float) -> Size:
    """Return a size with its times and numbers of jobs multiplied, for a quick look at something."""
    return replace(
        size,
        publish_seconds=size.publish_seconds * share,
        jobs=_part(size.jobs, share),
        sleep_jobs=_part(size.sleep_jobs, share),
        cpu_jobs=_part(size.cpu_jobs, share),
        latency_seconds=max(size.latency_seconds * share, 1.0),
        http_seconds=size.http_seconds * share,
        backlog=_part(size.backlog, share),
        settle_seconds=size.settle_seconds * share,
    )


def _part(jobs: int, share: float) -> int:
    """Return a number of jobs that can be halved and cut into tenths."""
    return max(round(jobs * share) // PARTS, 5) * PARTS
