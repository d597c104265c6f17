"""Judges a history, offline: the invariants I1 to I8, in the manner of Jepsen's `total-queue` checker. Pure.

What was accepted must come out; what comes out must have gone in; duplicates are tolerated up to a bound; afterwards
every queue is empty (https://github.com/jepsen-io/jepsen, `jepsen.checker/total-queue`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from faults.history import Line

INVARIANTS: Final = {
    "I1": "no accepted job is lost",
    "I2": "every job has exactly one terminal state, the right one",
    "I3": "nothing runs that was not submitted, or was refused, and nothing before its time",
    "I4": "every success has an effect",
    "I5": "duplicates <= faults x in flight",
    "I6": "attempts <= max, plus one per crash, for each copy of a job; copies <= faults x in flight",
    "I7": "queues, ladder and unroutable are empty at the end",
    "I8": "recovered in time",
}
EARLY_SECONDS: Final = 1.0
"""How early a delayed job may start: one tick of the ladder."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a fault may do.

    Attributes:
        faults: How often the fault struck.
        in_flight: Jobs it can hit at a time: those that run, and those whose confirm or ack is under way.
        crashes: Crashes that one job may meet; each is a run above its maximum, or a second copy of it.
        recovery_seconds: Longest time to recover, or None when the fault has none.
        effects_once: Jobs whose effect is guarded and must happen once, by id.
    """

    faults: int = 0
    in_flight: int = 0
    crashes: int = 0
    recovery_seconds: float | None = None
    effects_once: Set[str] = frozenset()

    @property
    def duplicates(self) -> int:
        """How many effects may happen again."""
        return self.faults * self.in_flight


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What was found after the run.

    Attributes:
        depths: Messages left in each queue, by the broker's names.
        states: The store's state of each job it knows, by id.
        recovery_seconds: How long recovery took, or None when it was not measured.
    """

    depths: Mapping[str, int]
    states: Mapping[str, str]
    recovery_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement.

    Attributes:
        violations: What is wrong, by invariant; each a sentence.
        sent: Submits.
        accepted: Submits answered with 202.
        unknown: Submits whose outcome the client does not know.
        unknown_ran: Those of them that became jobs and ran.
        refused: Submits that were certainly not accepted.
        lost: Jobs accepted and gone.
        unexpected: Jobs that ran or are recorded and were not submitted.
        duplicates: Effects that happened again.
        duplicates_bound: How many may.
        unmarked: Second runs that could not know they are: attempt 1 and not redelivered.
        wrong_states: Jobs without exactly one terminal state, or with another than expected.
        early: Delayed jobs that ran before their time.
        copies: Jobs with more runs than their attempts and the crashes explain: a fault made two of one.
        left: Messages left in queues.
        recovery_seconds: How long recovery took, or None.
    """

    violations: Mapping[str, tuple[str, ...]]
    sent: int
    accepted: int
    unknown: int
    unknown_ran: int
    refused: int
    lost: int
    unexpected: int
    duplicates: int
    duplicates_bound: int
    unmarked: int
    wrong_states: int
    early: int
    copies: int
    left: int
    recovery_seconds: float | None

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return not any(self.violations.values())

    def __str__(self) -> str:
        told = [f"{name} ({INVARIANTS[name]}): {'; '.join(found)}" for name, found in self.violations.items() if found]
        return "\n".join(told) or "all invariants hold"


FINAL: Final = frozenset({"succeeded", "dead", "cancelled", "expired"})


@dataclass(slots=True)
class _Job:
    """What a history tells of one job."""

    starts: list[Line] = field(default_factory=list)
    effects: int = 0
    terminal: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Facts:
    """A history, sorted by submit and by job."""

    sent: dict[str, Line] = field(default_factory=dict)
    accepted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    unknown: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    jobs: dict[str, _Job] = field(default_factory=lambda: defaultdict(_Job))
    key_of: dict[str, str] = field(default_factory=dict)

    @property
    def accepted_jobs(self) -> set[str]:
        return {job for jobs in self.accepted.values() for job in jobs}

    def data(self, job: str) -> Mapping[str, Any]:
        """What was sent, for a job."""
        line = self.sent.get(self.key_of.get(job, ""))
        return line.data if line else {}

    @property
    def outcome_unknown(self) -> set[str]:
        """Submits of which the client only knows that they may have been accepted; also those never answered."""
        return (set(self.sent) - set(self.accepted) - self.refused) | (self.unknown - set(self.accepted))


def judge(lines: Iterable[Line], ending: Ending, bounds: Bounds) -> Verdict:
    """Judge a history.

    Args:
        lines: The history.
        ending: What was found after the run.
        bounds: What the fault may do.
    """
    facts = _sort(lines)
    for job, state in ending.states.items():
        facts.jobs[job].terminal.update({state} & FINAL)
    lost = _lost(facts)
    wrong = _wrong_states(facts, lost)
    unexpected = _unexpected(facts)
    early = _early(facts)
    duplicates = {job: facts.jobs[job].effects - 1 for job in facts.jobs if facts.jobs[job].effects > 1}
    left = {queue: count for queue, count in ending.depths.items() if count}
    violations = {
        "I1": _many("lost", lost),
        "I2": _many("terminal states", wrong),
        "I3": _many("unexpected", unexpected) + _many("early", early),
        "I4": _many("succeeded without effect", _without_effect(facts)),
        "I5": _duplicates_over(facts, duplicates, bounds),
        "I6": _attempts_over(facts, bounds),
        "I7": _many("not empty", [f"{queue}: {count}" for queue, count in left.items()]),
        "I8": _late(ending.recovery_seconds, bounds.recovery_seconds),
    }
    return Verdict(
        violations=violations,
        sent=len(facts.sent),
        accepted=len(facts.accepted),
        unknown=len(facts.outcome_unknown),
        unknown_ran=len(facts.outcome_unknown & {facts.key_of[job] for job, seen in facts.jobs.items() if seen.starts}),
        refused=len(facts.refused - set(facts.accepted)),
        lost=len(lost),
        unexpected=len(unexpected),
        duplicates=sum(duplicates.values()),
        duplicates_bound=bounds.duplicates,
        unmarked=sum(_unmarked(job) for job in facts.jobs.values()),
        wrong_states=len(wrong),
        early=len(early),
        copies=_copies(facts, bounds),
        left=sum(left.values()),
        recovery_seconds=ending.recovery_seconds,
    )


def redelivery_seconds(lines: Iterable[Line], pid: int, killed_at: float) -> float | None:
    """Say how long the jobs that a killed process ran took to start elsewhere, the slowest of them.

    Args:
        lines: The history.
        pid: The process that was killed.
        killed_at: When, seconds of the monotonic clock.

    Returns:
        Seconds, infinite when one never started again; None when it ran nothing at the time.
    """
    running: dict[str, str] = {}
    again: dict[str, float] = {}
    for line in lines:
        if line.kind == "start" and line.data["pid"] == pid:
            running[line.data["run"]] = line.job
        elif line.kind == "end":
            running.pop(line.data["run"], None)
        elif line.kind == "start" and line.at >= killed_at:
            again.setdefault(line.job, line.at - killed_at)
    return max((again.get(job, float("inf")) for job in running.values()), default=None)


def attempts_burnt(lines: Iterable[Line]) -> int:
    """Count attempts used up without a run that failed: those a job's last run has no more, beyond the failures.

    Not by the numbers of runs: a run that is forgiven has one too.
    """
    failed: dict[str, int] = defaultdict(int)
    job_of_run: dict[str, str] = {}
    burnt: dict[str, int] = {}
    for line in lines:
        if line.kind == "start":
            job_of_run[line.data["run"]] = line.job
            used = line.data["max_attempts"] - 1 - line.data["attempts_left"]
            burnt[line.job] = used - failed[line.job]
        elif line.kind == "end" and line.data["outcome"] != "ok":
            failed[line.job] += 1
    return sum(burnt.values())


def _sort(lines: Iterable[Line]) -> _Facts:
    facts = _Facts()
    for line in lines:
        match line.kind:
            case "sent":
                facts.sent.setdefault(line.key, line)
            case "accepted":
                facts.accepted[line.key].add(line.job)
                facts.key_of[line.job] = line.key
            case "unknown":
                facts.unknown.add(line.key)
            case "refused":
                facts.refused.add(line.key)
            case "start":
                facts.jobs[line.job].starts.append(line)
                facts.key_of.setdefault(line.job, line.key)
            case "effect":
                facts.jobs[line.job].effects += 1
            case "terminal":
                facts.jobs[line.job].terminal.add(line.data["state"])
    return facts


def _lost(facts: _Facts) -> list[str]:
    """Accepted jobs of which there is no end."""
    return sorted(job for job in facts.accepted_jobs if not facts.jobs[job].terminal)


def _wrong_states(facts: _Facts, lost: list[str]) -> list[str]:
    wrong = []
    for job, seen in facts.jobs.items():
        expected = facts.data(job).get("expect", "any")
        states = sorted(seen.terminal)
        if job in lost:
            wrong.append(f"{job} has none")
        elif not states and seen.starts:
            wrong.append(f"{job} ran and has none")
        elif len(states) > 1:
            wrong.append(f"{job} had {' and '.join(states)}")
        elif states and expected not in ("any", states[0]):
            wrong.append(f"{job} is {states[0]}, not {expected}")
    return wrong


def _unexpected(facts: _Facts) -> list[str]:
    found = []
    by_key: dict[str, set[str]] = defaultdict(set)
    for job, seen in facts.jobs.items():
        for start in seen.starts:
            by_key[start.key].add(job)
            if start.key not in facts.sent:
                found.append(f"{job} ran for {start.key!r}, which nobody submitted")
            elif start.key in facts.refused and start.key not in facts.accepted and start.key not in facts.unknown:
                found.append(f"{job} ran for {start.key!r}, which was refused")
    for key, jobs in facts.accepted.items():
        by_key[key] |= jobs
    found += [f"{key!r} became {len(jobs)} jobs" for key, jobs in by_key.items() if len(jobs) > 1]
    # A recorded job that never ran can only be joined to a submit by number: there must be one that may have made it.
    strangers = [job for job in facts.jobs if job not in facts.key_of]
    free = facts.outcome_unknown - {facts.key_of[job] for job in facts.jobs if job in facts.key_of}
    found += [f"{job} is recorded and was not submitted" for job in strangers[len(free) :]]
    return sorted(set(found))


def _early(facts: _Facts) -> list[str]:
    found = []
    for job, seen in facts.jobs.items():
        sent = facts.sent.get(facts.key_of.get(job, ""))
        delay = sent.data.get("delay") if sent else None
        if sent is None or not delay or not seen.starts:
            continue
        early = sent.at + delay - min(start.at for start in seen.starts)
        if early > EARLY_SECONDS:
            found.append(f"{job} ran {early:.1f} s before its time")
    return found


def _without_effect(facts: _Facts) -> list[str]:
    return sorted(job for job, seen in facts.jobs.items() if "succeeded" in seen.terminal and not seen.effects)


def _duplicates_over(facts: _Facts, duplicates: Mapping[str, int], bounds: Bounds) -> tuple[str, ...]:
    count = sum(duplicates.values())
    over: tuple[str, ...] = ()
    if count > bounds.duplicates:
        ran = [f"{job} ran {_runs(facts.jobs[job])}" for job in sorted(duplicates)]
        over = (f"{count} effects happened again, {bounds.duplicates} may", *_many("jobs", ran))
    guarded = sorted(set(duplicates) & set(bounds.effects_once))
    return over + _many("guarded effects that happened again", guarded)


def _attempts_over(facts: _Facts, bounds: Bounds) -> tuple[str, ...]:
    """Judge attempts.

    A fault between the confirm of a job's next attempt and the ack of this one leaves two copies of the job, for
    nothing makes these two steps one. Each copy has its attempts, so such a job is a duplicate and counts as one.

    Runs are counted, not the numbers they bear: brokers before 4.3 count what a drain hands back, so numbers skip.
    """
    over, copied = [], []
    for job, seen in facts.jobs.items():
        most = max((start.data.get("max_attempts", 0) for start in seen.starts), default=0)
        runs = len(seen.starts)
        if not most:
            continue
        if runs > (most + 1) * (1 + bounds.crashes) - 1:
            over.append(f"{job} ran {runs} times, of {most}")
        elif runs > most + bounds.crashes:
            copied.append(f"{job} ran {runs} times, of {most}")
    too_many = copied if len(copied) > bounds.duplicates else []
    return _many("too many runs", over) + _many(f"copies, {bounds.duplicates} may", too_many)


def _copies(facts: _Facts, bounds: Bounds) -> int:
    """Count the jobs of which there was more than one copy."""
    return sum(
        len(seen.starts) > max(start.data.get("max_attempts", 0) for start in seen.starts) + bounds.crashes
        for seen in facts.jobs.values()
        if seen.starts and seen.starts[0].data.get("max_attempts")
    )


def _unmarked(job: _Job) -> int:
    firsts = sum(start.data.get("attempt", 1) == 1 and not start.data.get("redelivered") for start in job.starts)
    return max(firsts - 1, 0)


def _late(seconds: float | None, most: float | None) -> tuple[str, ...]:
    if most is None:
        return ()
    if seconds is None:
        return ("recovery was not measured",)
    return (f"recovery took {seconds:.1f} s, {most:g} s may",) if seconds > most else ()


def _runs(job: _Job) -> str:
    """Tell when and where a job ran, to look it up in the logs."""
    return " and ".join(f"as attempt {run.data['attempt']} at {run.at:.3f} in {run.data['pid']}" for run in job.starts)


def _many(what: str, found: list[str]) -> tuple[str, ...]:
    if not found:
        return ()
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (f"{len(found)} {what}: {', '.join(found[:_SHOWN])}{more}",)


def outcomes(lines: Iterable[Line]) -> Counter[str]:
    """Count the lines of each kind, for a look at a history."""
    return Counter(line.kind for line in lines)
