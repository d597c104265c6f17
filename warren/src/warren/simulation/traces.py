"""Arrivals to replay, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A job that comes.

    Attributes:
        at_seconds: When.
        run_seconds: How long one run of it takes.
        failures: Runs that fail before one succeeds; each comes again after a delay that doubles from one second.
    """

    at_seconds: float
    run_seconds: float
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What comes, and for how long it is watched.

    Attributes:
        name: Its name.
        says: What it is like, for people.
        arrivals: The jobs, earliest first.
        horizon_seconds: When the replay ends, at the latest.
        prefetches: Workers hold more than they run. Not with jobs so long that whatever is held waits for minutes, for
            which every manual says to turn it off.
    """

    name: str
    says: str
    arrivals: tuple[Arrival, ...]
    horizon_seconds: float
    prefetches: bool = True


def burst(_rng: Random) -> Trace:
    """400 jobs of 2 s at once, on a fleet of none."""
    jobs = tuple(Arrival(at_seconds=0.0, run_seconds=2.0) for _ in range(400))
    return Trace(name="burst", says="400 jobs of 2 s at once", arrivals=jobs, horizon_seconds=900)


def wave(rng: Random) -> Trace:
    """Two hours of two daily waves, from none to six jobs a second, of 2 s or so each."""
    period, hours = 3600.0, 2
    jobs, at = [], 0.0
    while (at := at + rng.expovariate(6.0)) < period * hours:
        # Thinning (Lewis and Shedler 1979): draw at the highest rate, keep by the rate of the moment.
        if rng.random() < (1 - math.cos(2 * math.pi * at / period)) / 2:
            jobs.append(Arrival(at_seconds=at, run_seconds=rng.lognormvariate(math.log(1.7), 0.6)))
    says = "two waves of 0 to 6 jobs a second in 2 h, 2 s each on average"
    return Trace(name="wave", says=says, arrivals=tuple(jobs), horizon_seconds=period * hours + 1200)


def long(rng: Random) -> Trace:
    """200 jobs of 2 s, and among them ten of 20 minutes, then nothing: the fleet shrinks while they run."""
    short = [Arrival(at_seconds=rng.uniform(0, 60), run_seconds=2.0) for _ in range(200)]
    slow = [Arrival(at_seconds=rng.uniform(0, 60), run_seconds=1200.0) for _ in range(10)]
    jobs = tuple(sorted(short + slow, key=lambda job: job.at_seconds))
    says = "200 jobs of 2 s and 10 of 20 min in 1 min, no prefetch"
    return Trace(name="long", says=says, arrivals=jobs, horizon_seconds=4200, prefetches=False)


def poison(rng: Random) -> Trace:
    """A job a second, and after five minutes 300 that fail four times of five before they go through."""
    steady = [Arrival(at_seconds=float(at), run_seconds=rng.uniform(0.5, 1.5)) for at in range(1200)]
    storm = [Arrival(at_seconds=300.0, run_seconds=5.0, failures=4) for _ in range(300)]
    jobs = tuple(sorted(steady + storm, key=lambda job: job.at_seconds))
    says = "1 job of 1 s a second, and at 300 s a storm of 300 that fail four times, 5 s each"
    return Trace(name="poison", says=says, arrivals=jobs, horizon_seconds=2400)


TRACES: Final[Mapping[str, Callable[[Random], Trace]]] = MappingProxyType(
    {"burst": burst, "wave": wave, "long": long, "poison": poison}
)
