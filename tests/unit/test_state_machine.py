"""Jobs, faults and people in any order: whatever happens, every accepted job ends once, and nothing is left behind.

A Hypothesis state machine over `stepped.World`: the real worker on the in-memory broker, without threads and clocks, so
that a failure is found again from the printed steps. The invariants are I1 to I4, I6 and I7 of
`docs/explanation/guarantees.md`; I5 is the bound on runs.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stepped import QUEUE, Story, World, world
from warren.control import CancelJobs, CancelMatching
from warren.events import State
from warren.topology import DEAD, EVENTS, level_name, queue_name

EXAMPLES = int(os.environ.get("WARREN_TEST_EXAMPLES", "200"))
WORDS = ["ok", "ok", "ok", "fail", "fail", "later", "crash", "discard", "kill"]
scripts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)


class Jobs(RuleBasedStateMachine):
    """What may happen to jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.world: World = self._open.enter_context(world())

    @initialize(workers=st.sampled_from([0, 1, 1, 2, 2]))
    def begin(self, workers: int) -> None:
        for _ in range(workers):
            self.world.start_worker()
        self.world.pump()

    # -- Jobs ----------------------------------------------------------------------------------------------------

    @rule(
        tasks=st.lists(
            st.sampled_from(["work"] * 6 + ["late", "never", "mangled", "newer-work"]), min_size=1, max_size=3
        ),
        script=scripts,
        delay_seconds=st.sampled_from([0, 0, 0, 1, 3, 70]),
        max_attempts=st.none() | st.integers(1, 4),
        expires_seconds=st.sampled_from([None] * 4 + [1, 9, 90]),
        priority=st.integers(0, 9),
        tracked=st.booleans(),
    )
    def submit(self, tasks: list[str], expires_seconds: int | None, **fields: Any) -> None:
        expires_ms = None if expires_seconds is None else self.world.now_ms() + expires_seconds * 1000
        for task in tasks:
            self.world.submit(task, **fields, expires_ms=expires_ms)
        self.world.pump()

    @precondition(lambda self: self.world.runs())
    @rule(choices=st.lists(st.integers(0, 99), min_size=1, max_size=4))
    def end_runs(self, choices: list[int]) -> None:
        for choice in choices:
            if self.world.runs():
                self.world.end_run(*_chosen(self.world.runs(), choice))
                self.world.pump()

    @precondition(lambda self: self.world.runs())
    @rule(choice=st.integers(0, 99))
    def end_a_run_and_stop_the_world_at_that_instant(self, choice: int) -> None:
        self.world.end_run(*_chosen(self.world.runs(), choice))

    @rule(seconds=st.sampled_from([0.005, 1, 2, 8, 40, 400]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance_to(self.world.clock.now + seconds)

    @precondition(lambda self: self.world.stories)
    @rule(choice=st.integers(0, 99))
    def cancel_a_job(self, choice: int) -> None:
        story = _chosen(list(self.world.stories.values()), choice)
        self.world.cancel(CancelJobs(jobs=(story.envelope.id,)), [story])

    @rule(task=st.sampled_from(["late", "late", "never", "work"]), waiting_only=st.booleans())
    def cancel_all_of_a_task_so_far(self, task: str, waiting_only: bool) -> None:
        order = CancelMatching(before_ms=self.world.now_ms(), queue=QUEUE, task=task, waiting_only=waiting_only)
        meant = [story for story in self.world.stories.values() if story.envelope.task == task]
        self.world.cancel(order, meant)
        # A job submitted within the same millisecond is meant as well.
        self.world.advance_to(self.world.clock.now + 0.001)

    @rule(choice=st.integers(0, 99))
    def the_store_catches_up_and_a_dead_letter_is_redriven(self, choice: int) -> None:
        self.world.pump()
        self.world.project_all()
        if letters := _redrivable(self.world):
            self.world.redrive(_chosen(letters, choice))
            self.world.pump()

    # -- Workers -------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule(knows_late=st.booleans())
    def start_a_worker(self, knows_late: bool) -> None:
        self.world.start_worker(knows=("work", "late") if knows_late else ("work",))
        self.world.pump()

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 99))
    def kill_a_worker(self, choice: int) -> None:
        self.world.kill(_chosen(self.world.workers, choice))
        self.world.pump()

    @precondition(lambda self: any(not process.draining for process in self.world.workers))
    @rule(choice=st.integers(0, 99))
    def begin_to_drain_a_worker(self, choice: int) -> None:
        ready = [process for process in self.world.workers if not process.draining]
        self.world.begin_drain(_chosen(ready, choice))
        self.world.pump()

    @precondition(lambda self: any(process.draining for process in self.world.workers))
    @rule(choice=st.integers(0, 99))
    def end_a_drain(self, choice: int) -> None:
        draining = [process for process in self.world.workers if process.draining]
        self.world.end_drain(_chosen(draining, choice))
        self.world.pump()

    # -- The broker ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.workers)
    @rule(choice=st.integers(0, 99))
    def a_worker_loses_its_connection(self, choice: int) -> None:
        self.world.cut_off(_chosen(self.world.workers, choice))
        self.world.pump()

    @rule(
        kind=st.sampled_from(["server cut off", "blocked", "slow confirms"]),
        choice=st.integers(0, 99),
        seconds=st.sampled_from([0, 1, 30]),
        ends=st.sampled_from([True, True, False]),
    )
    def the_broker_is_troubled(self, kind: str, choice: int, seconds: int, ends: bool) -> None:
        if kind == "server cut off":
            self.world.cut_off_server()
        elif kind == "blocked":
            self.world.block()
        else:
            processes = [process.transport for process in self.world.workers]
            _chosen([self.world.server, *processes], choice).hold_confirms()
        self.world.advance_to(self.world.clock.now + seconds)
        if ends:
            self.world.recover()

    @rule()
    def the_broker_recovers(self) -> None:
        self.world.recover()

    @precondition(lambda self: _waiting(self.world))
    @rule(choice=st.integers(0, 99))
    def a_message_comes_twice(self, choice: int) -> None:
        self.world.duplicate(_chosen(_waiting(self.world), choice))
        self.world.pump()

    @rule(queue=st.sampled_from([EVENTS, DEAD]))
    def the_store_takes_a_message_and_dies_before_the_ack(self, queue: str) -> None:
        self.world.project(queue, crash=True)

    # -- The end -------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        with self._open:
            self.world.settle()
            assert self.world.left() == {}
            judge(self.world)


def judge(world: World) -> None:
    """Hold every job to what may become of it."""
    for event in world.store.events:
        assert event.job in world.stories
        story = world.stories[event.job]
        if event.state.final and event not in story.terminal:
            story.terminal.append(event)
    for job, story in world.stories.items():
        row = world.store.jobs.get(job)
        assert row is not None or not story.accepted, f"lost: {story}"
        if row is None:
            continue
        assert story.accepted is not False, f"runs though it was refused: {story}"
        assert State(row["state"]).final, f"{row['state']} for ever: {story}"
        _judge_state(story, State(row["state"]))
        _judge_runs(story)
        _judge_letters(world, story, State(row["state"]))


def _judge_state(story: Story, state: State) -> None:
    words = {word for _, _, word in story.runs}
    match state:
        case State.SUCCEEDED:
            assert "ok" in words, f"succeeded without work done: {story}"
        case State.CANCELLED:
            assert story.cancel_asked, f"cancelled unasked: {story}"
        case State.EXPIRED:
            assert story.envelope.expires_ms is not None, f"expired without a limit: {story}"
        case _:
            unfit = story.envelope.task in ("never", "mangled") or story.newer or story.parked_out
            assert unfit or story.lost or words - {"ok"}, f"dead for no reason: {story}"
    free = story.cancel_asked or story.parked_out or story.envelope.expires_ms is not None
    if not story.disturbed and not free:
        expected, runs = plain_course(story)
        assert state is expected, f"{state} instead of {expected}: {story}"
        assert len(story.runs) == runs, f"{len(story.runs)} runs instead of {runs}: {story}"
    if story.must_be_cancelled and not (story.newer or story.copies or story.overtaken):
        assert state is State.CANCELLED, f"{state} though it was cancelled while it waited: {story}"
    if not story.disturbed:
        assert all(event.outcome != "lost" for event in story.terminal), f"put down to a worker's end: {story}"
        # Once for each time it was set on its way.
        assert len(story.terminal) == 1 + story.redrives, f"{len(story.terminal)} ends: {story}"


def _judge_runs(story: Story) -> None:
    """Each message of a job makes its attempts; a run in vain is made again, and a first one that was lost is free."""
    messages = 1 + story.redrives + story.copies
    most = (story.limit + bool(story.lost)) * messages + story.interrupted + story.overtaken
    assert len(story.runs) <= most, f"{len(story.runs)} runs, at most {most}: {story}"
    if story.most_runs is not None and not (story.copies or story.overtaken):
        assert len(story.runs) <= story.most_runs, f"ran after it was cancelled: {story}"
    if not story.disturbed:
        runs = [(round_, attempt) for round_, attempt, _ in story.runs]
        assert len(set(runs)) == len(runs), f"an attempt ran twice: {story}"


def _judge_letters(world: World, story: Story, state: State) -> None:
    letters = [letter for letter in world.store.letters.values() if letter["job"] == story.envelope.id]
    assert len(letters) <= 1
    if state is State.DEAD and not story.newer:
        assert letters, f"dead without a dead letter: {story}"
        assert letters[0]["id"] not in world.store.gone or story.disturbed, f"dead, and its letter gone: {story}"


def plain_course(story: Story) -> tuple[State, int]:
    """Return the end of a job to which nothing out of the ordinary happens, and how often its code runs."""
    if story.newer or story.envelope.task == "never":
        return State.DEAD, 0
    if story.envelope.task == "mangled":
        return State.DEAD, 0
    import json

    script = json.loads(story.envelope.body)["script"]
    attempt = 0
    for _ in range(1 + story.redrives):
        for _ in range(story.limit):
            attempt += 1
            word = script[min(attempt, len(script)) - 1]
            if word == "ok":
                return State.SUCCEEDED, attempt
            if word == "discard":
                break
    return State.DEAD, attempt


def _chosen(candidates: Any, choice: int) -> Any:
    return candidates[choice % len(candidates)]


def _redrivable(world: World) -> list[Any]:
    if world.blocked or not world.server.status.connected or world.server._holding:
        return []
    letters = world.store.letters.values()
    return [letter for letter in letters if letter["job"] is not None and letter["id"] not in world.store.gone]


def _waiting(world: World) -> list[str]:
    names = [queue_name(QUEUE), *(level_name(level) for level in range(22))]
    return [name for name in names if world.broker.ready(name)]


PHASES = (Phase.generate, Phase.shrink) if "WARREN_TEST_SHRINK" in os.environ else (Phase.generate,)
"""Shrinking takes minutes; a failure is there again with the same steps when it is asked for."""
Jobs.TestCase.settings = settings(
    phases=PHASES,
    max_examples=EXAMPLES,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestJobs = pytest.mark.timeout(300)(Jobs.TestCase)
