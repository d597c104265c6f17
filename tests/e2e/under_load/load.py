"""Load on a cluster from a pod of its own, through the server's Service, and the judgement of what came of it.

A port-forward would die with the pod it leads to; a pod that submits meets what every client in a cluster meets. The
evidence is what the server tells of each job: its state and its attempts.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from e2e.namespaces import Namespace
from e2e.under_load.ends import followed
from waiting import eventually

SCRIPT = Path(__file__).with_name("submitting_pod.py")
TASKS = '''
"""Tasks of the load: nearly all return at once, some take seconds."""

import time

from warren import task


@task(name="load.quick", queue="default", timeout=30)
def quick() -> None:
    """Do nothing."""


@task(name="load.rest", queue="default", timeout=60)
def rest(seconds: float) -> float:
    """Take that long."""
    time.sleep(seconds)
    return seconds
'''
MIX = (
    {"task": "load.quick", "arguments": {}, "share": 97},
    *({"task": "load.rest", "arguments": {"seconds": seconds}, "share": 1} for seconds in (2, 3.5, 5)),
)
"""At 100 jobs a second these keep 10 slots busy on average."""
RATE = 100.0
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """What became of one submit.

    Attributes:
        key: Its Idempotency-Key.
        due: When it was to be sent, seconds since the epoch by the pod's clock.
        answered: When its last answer came.
        tries: Status of each answer, or name of the error.
        job: Id of the job, or None when it was not accepted.
        failure: Why not, or None.
    """

    key: str
    due: float
    answered: float
    tries: tuple[int | str, ...]
    job: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a load came to.

    Attributes:
        submits: Submits made.
        accepted: Those answered with 202.
        failed: Those that failed for good, with the reason.
        due_per_second: Submits a second that were to be sent.
        accepted_per_second: Submits a second that were accepted, from the first answer to the last.
        half_seconds: Within which half of the submits were accepted, from when they were due.
        slowest_seconds: The slowest of them.
        retried: Tries that were not the last of their submit, by status or error.
        longest_gap_seconds: Longest time without a 202.
        gap_began: When it began, seconds since the epoch.
        states: Final states of the accepted jobs, `missing` for those the server does not know.
        lost: Accepted jobs that did not succeed.
        strangers: Jobs on record that no answered submit explains: taken twice, or in spite of a refusal.
        numbers: Attempt numbers the jobs ended with.
        outcomes: Outcomes of all attempts but those of the first run of a job that succeeded.
        burnt: Jobs whose last attempt was not number 1, with their attempts.
    """

    submits: int
    accepted: int
    failed: tuple[str, ...]
    due_per_second: float
    accepted_per_second: float
    half_seconds: float
    slowest_seconds: float
    retried: Mapping[int | str, int]
    longest_gap_seconds: float
    gap_began: float
    states: Mapping[str, int]
    lost: tuple[str, ...]
    strangers: tuple[str, ...]
    numbers: Mapping[int, int]
    outcomes: Mapping[str, int]
    burnt: tuple[Mapping[str, Any], ...]

    @property
    def killed(self) -> int:
        """Attempts that ended with their worker."""
        return self.outcomes.get("lost", 0)

    def __str__(self) -> str:
        return (
            f"{self.submits} submits at {self.due_per_second:.0f}/s, {self.accepted} accepted at "
            f"{self.accepted_per_second:.0f}/s, half in {self.half_seconds:.2f} s, the slowest in "
            f"{self.slowest_seconds:.1f} s, {len(self.failed)} failed, retried {dict(self.retried)}, "
            f"longest time without a 202 {self.longest_gap_seconds:.1f} s; {len(self.lost)} lost, "
            f"{len(self.strangers)} strangers, {len(self.burnt)} burnt an attempt, {self.killed} killed, "
            f"states {dict(self.states)}, attempts {dict(self.numbers)}, other outcomes {dict(self.outcomes)}"
        )


def account(submits: Sequence[Submit], jobs: Iterable[Mapping[str, Any]]) -> Account:
    """Judge a load.

    Args:
        submits: All of it, at least two accepted.
        jobs: What the server tells of every job there is of the load's tasks since.
    """
    known = {job["id"]: job for job in jobs}
    accepted = [submit.job for submit in submits if submit.job is not None]
    ended = {job: known[job]["state"] if job in known else "missing" for job in accepted}
    ran = [known[job] for job in accepted if job in known]
    answers = sorted(submit.answered for submit in submits if submit.job is not None)
    due = [submit.due for submit in submits]
    took = [submit.answered - submit.due for submit in submits if submit.job is not None]
    gap, began = max(((after - before, before) for before, after in pairwise(answers)), default=(0.0, answers[0]))
    return Account(
        submits=len(submits),
        accepted=len(accepted),
        failed=tuple(f"{submit.key}: {submit.failure} after {submit.tries}" for submit in submits if submit.failure),
        due_per_second=len(submits) / (max(due) - min(due)),
        accepted_per_second=len(answers) / (answers[-1] - answers[0]),
        half_seconds=median(took),
        slowest_seconds=max(took),
        retried=Counter(one for submit in submits for one in submit.tries[:-1]),
        longest_gap_seconds=gap,
        gap_began=began,
        states=Counter(ended.values()),
        lost=tuple(job for job, state in ended.items() if state != "succeeded"),
        strangers=tuple(sorted(set(known) - set(accepted))),
        numbers=Counter(job["attempt"] for job in ran),
        outcomes=Counter(
            str(attempt["outcome"])
            for job in ran
            for attempt in job["attempts"]
            if (attempt["attempt"], attempt["outcome"]) != (1, "succeeded")
        ),
        burnt=tuple(
            {key: job[key] for key in ("id", "task", "attempt", "attempts")} for job in ran if job["attempt"] != 1
        ),
    )


class Load:
    """Submits from a pod until stopped; a context manager that leaves no pod behind.

    Args:
        namespace: Where.
        image: Image of the pod: one with our client.
        url: The server, as seen from a pod.
        token_secret: Secret with the token under the key `token`.
        name: Name of the pod, beginning of the keys.
        rate: Jobs a second.
        mix: Sorts of jobs: task, arguments, share.
        limit_seconds: When it stops by itself.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        image: str,
        url: str,
        token_secret: str,
        name: str = "load",
        rate: float = RATE,
        mix: Sequence[Mapping[str, Any]] = MIX,
        limit_seconds: float = 600,
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._accepted = 0
        self._stack = ExitStack()
        # A key that was used before would bring the old job.
        plan = {"name": f"{name}-{uuid.uuid4().hex[:8]}", "rate": rate, "mix": list(mix), "limit": limit_seconds}
        script = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        self._objects = [
            {**script, "data": {SCRIPT.name: SCRIPT.read_text(encoding="utf-8")}},
            _pod(name, image, url, token_secret, json.dumps(plan)),
        ]

    def __enter__(self) -> Load:
        with ExitStack() as stack:
            document = {"apiVersion": "v1", "kind": "List", "items": self._objects}
            self._namespace.kubectl("apply", "--filename", "-", stdin=json.dumps(document))
            stack.callback(self._remove)
            self._namespace.kubectl("wait", "--for=condition=Ready", f"pod/{self._name}", "--timeout=60s")
            stack.enter_context(followed(self._namespace.name, "logs", "--follow", self._name, take=self._count))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_accepted(self, count: int, timeout_seconds: float = 60) -> None:
        """Wait until that many submits more have been accepted."""
        wanted = self._accepted + count
        eventually(lambda: self._accepted >= wanted, timeout_seconds)

    def stop(self, timeout_seconds: float = 120) -> list[Submit]:
        """Submit no more, wait for the answers still to come, and return what became of all."""
        tell = "import os, signal; os.kill(1, signal.SIGUSR1)"
        self._namespace.kubectl("exec", self._name, "--", "python", "-c", tell)
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        self._namespace.kubectl(
            "wait", ended, f"pod/{self._name}", f"--timeout={timeout_seconds:.0f}s", timeout=timeout_seconds + 10
        )
        read = [json.loads(line) for line in self._namespace.kubectl("logs", self._name).splitlines()]
        return [Submit(**{**line, "tries": tuple(line["tries"])}) for line in read]

    def _count(self, line: str) -> None:
        self._accepted += '"job":' in line

    def _remove(self) -> None:
        self._namespace.kubectl("delete", "pod", self._name, "--grace-period=0", "--force")
        self._namespace.kubectl("delete", "configmap", self._name)


def settled(api: httpx.Client, submits: Sequence[Submit], timeout_seconds: float = 120) -> list[dict[str, Any]]:
    """Wait until every accepted job has ended, or the time is up, and return what the server tells of them all.

    Args:
        api: The server.
        submits: The load; older jobs are left out.
        timeout_seconds: How long at most; jobs still open then are returned as they are.
    """
    accepted = {submit.job for submit in submits if submit.job is not None}
    since = min(submit.due for submit in submits)
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = _jobs(api, since)
        ended = {job["id"] for job in found if job["finished_at"] is not None}
        if accepted <= ended or time.monotonic() > deadline:
            return found
        time.sleep(1)


def _jobs(api: httpx.Client, since: float) -> list[dict[str, Any]]:
    """Return the load's jobs that were submitted from then on."""
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"limit": PAGE}
    while True:
        page = api.get("/v1/jobs", params=asked).raise_for_status().json()
        found += [job for job in page["jobs"] if job["task"].startswith("load.") and _submitted(job) >= since - 1]
        if page["cursor"] is None:
            return found
        asked["cursor"] = page["cursor"]


def _submitted(job: Mapping[str, Any]) -> float:
    # A row that only events have filled so far does not know; then it is not an old one.
    told = job["submitted_at"]
    return time.time() if told is None else datetime.fromisoformat(told).timestamp()


def _pod(name: str, image: str, url: str, token_secret: str, plan: str) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": token_secret, "key": "token"}}
    container = {
        "name": "load",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", f"/load/{SCRIPT.name}"],
        "env": [
            {"name": "WARREN_URL", "value": url},
            {"name": "WARREN_TOKEN", "valueFrom": token},
            {"name": "PLAN", "value": plan},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "load", "mountPath": "/load"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "load", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
