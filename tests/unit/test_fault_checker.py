"""The checker of the fault tests is shown histories in which each invariant is broken, and must say so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from faults.checker import INVARIANTS, Bounds, Ending, Verdict, attempts_burnt, judge, outcomes, redelivery_seconds
from faults.history import History, Kind, Line
from faults.report import Report, Row, render, write
from waiting import eventually


class Story:
    """Writes a history by hand; each line a second after the one before."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.states: dict[str, str] = {}
        self.depths: dict[str, int] = {"warren.q.faults": 0}

    def add(self, kind: Kind, key: str, job: str = "", **data: Any) -> Story:
        self.lines.append(Line(kind=kind, at=float(len(self.lines)), key=key, job=job, data=data))
        return self

    def submit(self, key: str, answer: Kind = "accepted", **data: Any) -> Story:
        self.add("sent", key, **{"expect": "succeeded", **data})
        return self.add(answer, key, job_of(key) if answer == "accepted" else "")

    def run(self, key: str, job: str = "", *, effect: bool = True, **data: Any) -> Story:
        job, run = job or job_of(key), f"run-{len(self.lines)}"
        self.add("start", key, job, **{"run": run, "pid": 1, "attempt": 1, "max_attempts": 3, **data})
        if effect:
            self.add("effect", key, job, run=run)
        return self.add("end", key, job, run=run, outcome="ok")

    def ends(self, key: str, state: str = "succeeded") -> Story:
        self.states[job_of(key)] = state
        return self

    def judge(self, *, recovery_seconds: float | None = None, **bounds: Any) -> Verdict:
        ending = Ending(depths=self.depths, states=self.states, recovery_seconds=recovery_seconds)
        return judge(self.lines, ending, Bounds(**bounds))


def job_of(key: str) -> str:
    return f"job-{key}"


def good() -> Story:
    """Two jobs that went well, one refused, one unknown that never ran."""
    story = Story().submit("a").run("a").ends("a").submit("b", expect="dead").run("b", effect=False).ends("b", "dead")
    return story.submit("c", "refused").submit("d", "unknown")


def broken(verdict: Verdict) -> set[str]:
    return {name for name, found in verdict.violations.items() if found}


def test_a_good_history_is_good() -> None:
    verdict = good().judge()

    assert verdict.ok
    assert str(verdict) == "all invariants hold"
    assert (verdict.sent, verdict.accepted, verdict.unknown, verdict.refused) == (4, 2, 1, 1)


def test_an_unknown_submit_may_have_run_and_one_never_answered_too() -> None:
    story = good().run("d").ends("d").add("sent", "e", expect="succeeded").run("e").ends("e")

    verdict = story.judge()

    assert verdict.ok
    assert (verdict.unknown, verdict.unknown_ran) == (2, 2)


def test_an_unknown_submit_may_be_recorded_without_having_run() -> None:
    assert good().ends("d", "expired").judge().ok


def test_a_job_accepted_and_gone_is_lost() -> None:
    verdict = good().submit("gone").judge()

    assert broken(verdict) == {"I1", "I2"}
    assert verdict.lost == 1
    assert "job-gone" in str(verdict)


def test_a_job_that_ran_and_has_no_end_is_lost() -> None:
    assert "I1" in broken(good().submit("gone").run("gone").judge())


def test_a_job_still_queued_in_the_store_is_lost() -> None:
    assert "I1" in broken(good().submit("gone").ends("gone", "queued").judge())


def test_two_terminal_states_are_one_too_many() -> None:
    story = good().add("terminal", "", job_of("a"), state="dead")

    assert broken(story.judge()) == {"I2"}


def test_the_same_terminal_state_seen_twice_is_one() -> None:
    story = (
        good().add("terminal", "", job_of("a"), state="succeeded").add("terminal", "", job_of("a"), state="succeeded")
    )

    assert story.judge().ok


def test_a_terminal_state_other_than_expected_is_wrong() -> None:
    verdict = good().submit("e").run("e").ends("e", "dead").judge()

    assert broken(verdict) == {"I2"}
    assert "job-e is dead, not succeeded" in str(verdict)


def test_an_unknown_job_that_ran_needs_an_end_too() -> None:
    assert broken(good().run("d").judge()) == {"I2"}


def test_a_run_nobody_submitted_is_unexpected() -> None:
    verdict = good().run("stranger").ends("stranger").judge()

    assert broken(verdict) == {"I3"}
    assert verdict.unexpected == 1


def test_a_run_of_a_refused_submit_is_unexpected() -> None:
    assert broken(good().run("c").ends("c").judge()) == {"I3"}


def test_one_submit_that_became_two_jobs_is_unexpected() -> None:
    story = good().run("a", "job-other")
    story.states["job-other"] = "succeeded"

    assert broken(story.judge()) == {"I3"}


def test_a_recorded_job_no_submit_can_have_made_is_unexpected() -> None:
    assert broken(good().ends("d", "expired").ends("stranger", "dead").judge()) == {"I3"}


def test_a_delayed_job_that_runs_early_is_a_violation() -> None:
    assert broken(good().submit("late", delay=60).run("late").ends("late").judge()) == {"I3"}
    assert good().submit("late", delay=2).run("late").ends("late").judge().ok


def test_a_success_without_effect_is_a_violation() -> None:
    assert broken(good().submit("e").run("e", effect=False).ends("e").judge()) == {"I4"}


def test_duplicates_above_the_bound_are_a_violation() -> None:
    story = good().run("a", redelivered=True).run("a", attempt=2)

    assert story.judge(faults=1, in_flight=2).ok
    assert story.judge(faults=1, in_flight=2).duplicates == 2
    assert broken(story.judge(faults=1, in_flight=1)) == {"I5"}


def test_a_guarded_effect_may_not_happen_again_at_all() -> None:
    verdict = good().run("a").judge(faults=1, in_flight=9, effects_once={job_of("a")})

    assert broken(verdict) == {"I5"}


def test_a_second_run_that_cannot_know_it_is_one_is_counted() -> None:
    assert good().run("a").judge(faults=1, in_flight=1).unmarked == 1
    assert good().run("a", redelivered=True).judge(faults=1, in_flight=1).unmarked == 0


def test_a_run_above_the_maximum_is_a_violation_unless_there_was_a_crash() -> None:
    story = good().submit("e", expect="dead").ends("e", "dead")
    for attempt in range(1, 5):
        story.run("e", effect=False, attempt=attempt)

    assert broken(story.judge()) == {"I6"}
    assert story.judge(crashes=1).ok


def test_runs_without_end_are_a_violation_though_their_attempt_never_rises() -> None:
    story = good().submit("e", expect="dead").ends("e", "dead")
    for _ in range(8):
        story.run("e", effect=False)

    assert broken(story.judge(crashes=1, faults=9, in_flight=9)) == {"I6"}
    assert story.judge(crashes=2, faults=9, in_flight=9).ok


def test_copies_of_a_job_count_to_the_bound_of_duplicates() -> None:
    story = good()
    for key in "ef":
        story.submit(key, expect="dead").ends(key, "dead")
        for attempt in (1, 2, 2, 3, 3):
            story.run(key, effect=False, attempt=attempt)

    assert story.judge(crashes=1, faults=1, in_flight=2).ok
    assert story.judge(crashes=1, faults=1, in_flight=2).copies == 2
    assert broken(story.judge(crashes=1, faults=1, in_flight=1)) == {"I6"}


@pytest.mark.parametrize("queue", ["warren.q.faults", "warren.delay.03", "warren.unroutable", "warren.dead"])
def test_a_message_left_in_any_queue_is_a_violation(queue: str) -> None:
    story = good()
    story.depths[queue] = 1

    verdict = story.judge()

    assert broken(verdict) == {"I7"}
    assert f"{queue}: 1" in str(verdict)


def test_late_recovery_is_a_violation_and_so_is_recovery_that_was_not_measured() -> None:
    assert good().judge(recovery_seconds=3.1).ok
    ending = Ending(depths={}, states=good().states, recovery_seconds=3.1)
    assert broken(judge(good().lines, ending, Bounds(recovery_seconds=3.0))) == {"I8"}
    assert judge(good().lines, ending, Bounds(recovery_seconds=3.2)).ok
    unmeasured = Ending(depths={}, states=good().states)
    assert broken(judge(good().lines, unmeasured, Bounds(recovery_seconds=3.0))) == {"I8"}


def test_many_violations_are_counted_and_some_shown() -> None:
    story = good()
    for number in range(9):
        story.submit(f"gone-{number}")

    assert "9 lost" in str(story.judge())
    assert "and 4 more" in str(story.judge())


def test_redelivery_is_timed_from_the_kill_to_the_slowest_start() -> None:
    story = Story().submit("a").submit("b").submit("c")
    story.run("a", pid=7)  # ended before the kill
    for key in "bc":
        story.add("start", key, job_of(key), run=f"first-{key}", pid=7)
    killed_at = float(len(story.lines))
    story.run("b", pid=8).run("c", pid=8).run("b", pid=8)

    assert redelivery_seconds(story.lines, 7, killed_at) == 3.0
    assert redelivery_seconds(story.lines[:-6], 7, killed_at) == float("inf")
    assert redelivery_seconds(story.lines, 99, killed_at) is None


def test_attempts_that_no_failure_explains_are_burnt() -> None:
    failed_once = Story().add("start", "a", job_of("a"), run="1", max_attempts=3, attempts_left=2)
    failed_once.add("end", "a", job_of("a"), run="1", outcome="RuntimeError").run("a", attempts_left=1)
    forgiven = Story().run("a", attempts_left=2).run("a", attempt=2, attempts_left=2)
    burnt = Story().run("a", attempts_left=2).run("a", attempts_left=1).run("b", attempts_left=0)

    assert attempts_burnt(failed_once.lines) == 0
    assert attempts_burnt(forgiven.lines) == 0
    assert attempts_burnt(burnt.lines) == 1 + 2


def test_a_run_is_written_with_its_start_and_its_end(tmp_path: Path) -> None:
    history = History(tmp_path / "history")

    with history.run("a", "job-a", attempt=1) as run:
        history.add("effect", "a", "job-a", run=run)
    with pytest.raises(ZeroDivisionError), history.run("b", "job-b"):
        _ = 1 / 0

    assert [line.kind for line in history.read()] == ["start", "effect", "end", "start", "end"]
    assert [line.data["outcome"] for line in history.read() if line.kind == "end"] == ["ok", "ZeroDivisionError"]
    assert history.count("end") == 2
    assert outcomes(history.read())["start"] == 2


def test_a_killed_writer_tears_no_line_of_another(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(str(history.path), number)) for number in range(3)]
    for writer in writers:
        writer.start()
    eventually(lambda: {line.key for line in history.lines()} == {"0", "1", "2"}, 30)

    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    history.add("fault", what="after the kills")

    assert history.read()[-1].data == {"what": "after the kills"}
    assert len(history.read()) == history.path.read_bytes().count(b"\n")


def test_a_line_still_being_written_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    assert history.read() == []
    assert history.count("sent") == 0
    history.add("sent", "a")
    with history.path.open("a") as file:
        file.write('{"kind":"sent"')

    assert [line.key for line in history.read()] == ["a"]


def test_the_report_keeps_the_rows_of_faults_that_were_not_run_again(tmp_path: Path) -> None:
    first, second = row("F10 duplicates"), row("F2 server", recovery_seconds=2.5)
    Report(tmp_path / "results").add(first)
    Report(tmp_path / "results").add(second)
    again = Report(tmp_path / "results")
    again.add(row("F2 server", lost=True))
    file = tmp_path / "report.md"

    write(again.rows(), file)

    text = file.read_text()
    assert text.index("| F2 server | 4.3.1 | ✘") < text.index("| F10 duplicates | 4.3.1 | ✔")
    assert all(meaning in text for meaning in INVARIANTS.values())
    assert "lost 1" in again.rows()[0].summary
    assert "recovered in 2.5 s" in second.summary


def test_a_report_of_nothing_says_so_and_one_without_folder_keeps_nothing(tmp_path: Path) -> None:
    report = Report(None)
    report.add(row("F1"))

    assert report.rows() == []
    assert "never run" in render([])


def row(fault: str, *, lost: bool = False, recovery_seconds: float | None = None) -> Row:
    story = good().submit("gone") if lost else good()
    return Row.of(fault, "4.3.1", story.judge(recovery_seconds=recovery_seconds), jobs_per_second=200.0, note="")


def _write_for_ever(path: str, number: int) -> None:
    history = History(path)
    while True:
        history.add("effect", str(number), "x" * 200)
        time.sleep(0.001)


def test_every_invariant_is_broken_by_a_test_above() -> None:
    stories: dict[str, Callable[[], Iterable[str]]] = {
        "I1": lambda: broken(good().submit("x").judge()),
        "I2": lambda: broken(good().add("terminal", "", job_of("a"), state="dead").judge()),
        "I3": lambda: broken(good().run("x").ends("x").judge()),
        "I4": lambda: broken(good().submit("x").run("x", effect=False).ends("x").judge()),
        "I5": lambda: broken(good().run("a").judge()),
        "I6": lambda: broken(good().run("b", effect=False).run("b", effect=False).run("b", effect=False).judge()),
        "I7": lambda: broken(judge(good().lines, Ending(depths={"warren.events": 1}, states=good().states), Bounds())),
        "I8": lambda: broken(judge(good().lines, Ending(depths={}, states=good().states), Bounds(recovery_seconds=1))),
    }

    assert {name for name, tell in stories.items() if name in tell()} == set(INVARIANTS)
