"""Turns, sizes and options of the benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import __main__ as program
from bench.broker import Broker, broker, management_of
from bench.contender import Command, Contender, Publisher
from bench.errors import BenchError
from bench.place import Place
from bench.results import Results
from bench.sizes import FULL, PARTS, SMOKE, scaled
from bench.stage import Stage, answer_in, pids
from bench.trees import cpu_seconds, memory


class Some(Contender):
    """A contender of a name."""

    title = "Some"
    environment = "warren"

    def __init__(self, name: str, *measures: str) -> None:
        self.name = name  # type: ignore[misc]
        self.measures = frozenset(measures)  # type: ignore[misc]

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        raise NotImplementedError

    def workers(self, place: Place, processes: int) -> list[Command]:
        return [Command(name=f"some-{number}", arguments=("-c", "input()")) for number in range(processes)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(
        size=FULL,
        broker=Broker(url="amqp://h", management_url="http://h"),
        folder=tmp_path,
        peers_python=Path("/nowhere/python"),
        results=Results(),
        tell=lambda _line: None,
    )
    for contender in (Some("a", "publish"), Some("b", "publish", "worker"), Some("c", "publish")):
        made.enter(contender)
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(amqp_url="amqp://h", management_url="http://h", folder=str(tmp_path))


def test_rounds_are_interleaved_and_each_begins_with_another(stage: Stage) -> None:
    turns = [(number, each.name) for number, each in stage.turns("publish")]

    assert turns == [(1, "a"), (1, "b"), (1, "c"), (2, "b"), (2, "c"), (2, "a"), (3, "c"), (3, "a"), (3, "b")]


def test_only_those_asked_who_take_part_have_a_turn(stage: Stage) -> None:
    assert {each.name for _, each in stage.turns("worker")} == {"b"}
    assert {each.name for _, each in stage.turns("publish", ["a", "z"])} == {"a"}
    assert list(stage.turns("backlog")) == []


def test_a_failure_is_kept_and_the_others_go_on(stage: Stage) -> None:
    with stage.guarded("worker", Some("a")):
        raise BenchError("it ended with status 3")

    assert stage.results.failures == ["worker, Some: it ended with status 3"]


def test_processes_of_a_contender_are_started_and_ended(stage: Stage, place: Place) -> None:
    contender = Some("a")
    script = Command(name="sleeper", arguments=("-c", "import time; time.sleep(60)"))

    with stage.running(contender, [script], place) as (child,):
        stage.wait(lambda: memory(pids([child])).resident > 1, [child], "there")
        found = memory(pids([child]))
        assert found.largest == found.resident > 1
        assert found.processes == 1
        assert cpu_seconds(pids([child])) >= 0

    assert not child.running
    assert memory(pids([child])).processes == 0


def test_a_process_that_ends_while_it_is_waited_for_is_told_with_its_log(stage: Stage, place: Place) -> None:
    script = Command(name="broken", arguments=("-c", "raise SystemExit('no such queue')"))

    with (
        stage.running(Some("a"), [script], place) as children,
        pytest.raises(BenchError, match=r"(?s)broken ended with status 1.*no such queue"),
    ):
        stage.wait(lambda: False, children, "ready", 10)


def test_what_does_not_come_in_time_is_told(stage: Stage) -> None:
    with pytest.raises(BenchError, match="not ready after 0 s"):
        stage.wait(lambda: False, [], "ready", 0)


def test_a_process_that_is_run_to_its_end_gives_what_it_printed(stage: Stage, place: Place) -> None:
    hello = Command(name="hello", arguments=("-c", "print('bench-answer:[1]')"))
    fails = Command(name="fails", arguments=("-c", "raise SystemExit(4)"))
    hangs = Command(name="hangs", arguments=("-c", "import time; time.sleep(60)"))
    other = Command(name="other", program=sys.executable, arguments=("--version",))

    assert answer_in(stage.finish(Some("a"), hello, stage.log("hello", place), 30, place)) == "[1]"
    assert stage.finish(Some("a"), other, stage.log("other"), 30).startswith("Python 3")
    with pytest.raises(BenchError, match="fails ended with status 4"):
        stage.finish(Some("a"), fails, stage.log("fails"), 30)
    with pytest.raises(BenchError, match=r"hangs took over 0\.2 s"):
        stage.finish(Some("a"), hangs, stage.log("hangs"), 0.2)


def test_a_process_without_an_answer_is_told() -> None:
    with pytest.raises(BenchError, match="no answer in 'nothing'"):
        answer_in("nothing")


def test_settings_from_outside_do_not_reach_the_contenders(
    stage: Stage, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARREN_WORKER_PREFETCH", "7")
    monkeypatch.setenv("dramatiq_queue_prefetch", "7")
    show = "import os; print([n for n in os.environ if n.startswith(('WARREN', 'dramatiq', 'BENCH', 'OWN'))])"
    command = Command(name="show", arguments=("-c", show), environment={"OWN": "1"})

    printed = stage.finish(Some("a"), command, stage.log("show"), 30, place)

    assert sorted(eval(printed)) == ["BENCH_PLACE", "OWN"]  # noqa: S307


@pytest.mark.parametrize("size", [FULL, SMOKE])
@pytest.mark.parametrize("share", [0.01, 0.3, 1, 7.7])
def test_a_scaled_size_can_still_be_cut_into_tenths(size: object, share: float) -> None:
    found = scaled(FULL if size is FULL else SMOKE, share)

    assert found.backlog % PARTS == 0
    assert min(found.jobs, found.cpu_jobs, found.sleep_jobs, found.backlog) >= 50
    assert found.latency_seconds >= 1


def test_the_full_size_is_the_issues_own() -> None:
    assert FULL.backlog == 1_000_000
    assert FULL.payloads == (64, 1024, 65536)
    assert FULL.latency_rate == SMOKE.latency_rate == 500


def test_the_management_api_is_guessed_from_the_brokers_url() -> None:
    assert management_of("amqp://u:p@h:6000/v") == "http://u:p@h:16000"
    assert management_of("amqp://h") == "http://guest:guest@h:15672"


def test_a_broker_that_is_given_is_used_and_none_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_BENCH_BROKER", "amqp://u:p@h:6000/v")

    with broker(tmp_path / "node") as guessed:
        assert (guessed.url, guessed.management_url, guessed.pids) == ("amqp://u:p@h:6000/v", "http://u:p@h:16000", ())
    monkeypatch.setenv("WARREN_BENCH_MANAGEMENT", "https://u:p@m")
    with broker(tmp_path / "node") as given:
        assert given.management_url == "https://u:p@m"
    assert not (tmp_path / "node").exists()


def test_quantities_have_names_of_their_own() -> None:
    ids = [one.id for measure in program.MEASURES.values() for one in measure.quantities(FULL)]

    assert len(set(ids)) == len(ids)
    assert {one.partition(".")[0] for one in ids} == set(program.MEASURES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--measures", "publish,speed"], "speed: must be some of publish"),
        (["--contenders", "celery,rq"], "rq: must be some of warren"),
        (["--scale", "0"], "0: must be above 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        program.main(options)

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
