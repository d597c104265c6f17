"""The small parts of the dashboard, each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from letter_kit import row
from server_kit import database
from warren.envelope import new_job_id
from warren.errors import InvalidArguments, SettingsError
from warren.events import Event, State
from warren.settings import load
from warren_server.api.problems import Refusal
from warren_server.dashboard import arguments, forms, text
from warren_server.dashboard.charts import chart
from warren_server.dashboard.history import MOST_QUEUES, SAMPLES, History
from warren_server.dashboard.paging import page
from warren_server.dashboard.rates import MINUTES, Rates
from warren_server.dashboard.remembered import Remembered
from warren_server.errors import StoreDown
from warren_server.queues import QueueState
from warren_server.settings import OfferSettings
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.jobs import JobStore
from warren_server.store.rates import MINUTE_MS, RateStore

SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "string", "description": "what to say"},
        "note": {"type": "string", "default": 'a "b"'},
        "count": {"type": "integer"},
        "share": {"type": "number", "default": 0.5},
        "loud": {"type": "boolean", "default": False},
        "size": {"enum": ["small", 2, None]},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "tags": {"type": "array"},
        "any": True,
    },
    "required": ["text", "count"],
}


def test_a_schema_becomes_a_field_for_each_argument() -> None:
    made = {field.name: field for field in arguments.fields(SCHEMA, {"argument.count": "typed"})}

    assert {name: field.kind for name, field in made.items()} == {
        "text": "text",
        "note": "text",
        "count": "integer",
        "share": "number",
        "loud": "boolean",
        "size": "choice",
        "limit": "integer",
        "either": "json",
        "tags": "json",
        "any": "json",
    }
    assert [name for name, field in made.items() if field.required] == ["text", "count"]
    values = {name: field.value for name, field in made.items() if field.value}
    assert values == {"note": 'a "b"', "count": "typed", "share": "0.5", "loud": "false"}
    assert made["size"].choices == ('"small"', "2", "null")
    assert made["text"].description == "what to say"
    assert arguments.fields({}, {}) == []


def test_fields_are_read_as_their_arguments() -> None:
    typed = {
        "argument.text": "",
        "argument.count": " 7 ",
        "argument.share": "1e-2",
        "argument.loud": "true",
        "argument.size": "null",
        "argument.tags": ' ["a", {"b": 1}] ',
        "argument.unknown": "x",
        "other": "x",
    }

    assert arguments.read("t", SCHEMA, typed) == {
        "text": "",
        "count": 7,
        "share": 0.01,
        "loud": True,
        "size": None,
        "tags": ["a", {"b": 1}],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", "1.5"),
        ("count", "9" * 50),
        ("share", "nan"),
        ("loud", "yes"),
        ("tags", "[1"),
        ("tags", '1,"value":2'),
        ("tags", '1,"x":2'),
        ("tags", "NaN"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        arguments.read("t", SCHEMA, {f"argument.{name}": value})

    assert [problem.field for problem in refused.value.problems] == [name]


def test_empty_fields_of_a_form_say_nothing() -> None:
    assert forms.given({"a": " x ", "b": " ", "d": "y"}, ("a", "b", "c")) == {"a": "x"}
    assert forms.numbers({"a": "1", "c": "x"}, whole=("a", "b")) == {"a": 1, "c": "x"}
    with pytest.raises(Refusal, match="b: must be a number"):
        forms.numbers({"b": "1,5"}, decimal=("b",))


def test_values_are_written_for_people() -> None:
    assert [text.seconds(value) for value in (None, 0.0215, 1.25, 61, 3600, 90_061)] == [
        "–",
        "22 ms",
        "1.2 s",
        "1 min 1 s",
        "1 h",
        "1 d 1 h",
    ]
    assert [text.number(value) for value in (None, 1234567, 0.25, 12345.6)] == ["–", "1,234,567", "0.25", "12,346"]
    assert text.moment("2030-01-31T12:00:00.123Z") == (
        '<time datetime="2030-01-31T12:00:00.123Z">2030-01-31 12:00:00</time>'
    )
    assert text.moment(None) == "–"
    assert [text.short(value, 5) for value in (None, "ab\ncd", "abcdefg")] == ["–", "ab", "abcd…"]
    assert text.cut("abc", 3) == "abc"
    assert text.cut("abcdef", 2) == "… 4 characters before this are left out …\nef"
    assert text.document({"a": "é"}) == '{\n  "a": "é"\n}'
    assert text.document("x" * 30_000).endswith("10,002 characters more …")


def test_a_chart_is_a_line_for_each_series_with_gaps_where_nothing_is_known() -> None:
    drawn = chart([("a", [0, 5, None, 10]), ("b", [None, None, None, None])], "a while")

    assert drawn is not None
    assert [line.points for line in drawn.lines] == [["2.0,34.0 54.0,18.0", "158.0,2.0"], []]
    assert drawn.label == "a 10, b unknown now; at most 10 in a while"
    assert chart([("a", [1])], "a while") is None
    assert chart([("a", [None, None])], "a while") is None
    assert chart([], "a while") is None
    flat = chart([("a", [0, 0])], "a while")
    assert flat is not None
    assert flat.lines[0].points == ["2.0,34.0 158.0,34.0"]


@pytest.mark.parametrize(
    ("asked", "number"), [(None, 1), ("2", 2), ("3", 3), ("4", 3), ("0", 1), ("-1", 1), ("x", 1), ("9" * 5000, 1)]
)
def test_a_list_has_pages(asked: str | None, number: int) -> None:
    made = page(range(101), asked)

    assert (made.number, made.last, made.total) == (number, 3, 101)
    assert list(made.items) == list(range(101))[(number - 1) * 50 : number * 50]
    assert (page([], "5").number, page([], "5").last) == (1, 1)


def test_an_answer_is_remembered_for_a_moment_and_so_is_that_there_is_none() -> None:
    now = [0.0]
    answers: list[int | StoreDown] = [1, StoreDown("gone"), 3]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, StoreDown):
            raise answer
        return answer

    remembered = Remembered(2, ask, lambda: now[0])

    assert [remembered.get(), remembered.get()] == [1, 1]
    now[0] = 2.0
    for _ in range(3):
        with pytest.raises(StoreDown, match="gone"):
            remembered.get()
    assert len(answers) == 1
    now[0] = 4.0
    assert remembered.get() == 3


def test_a_history_keeps_the_last_samples_of_some_queues() -> None:
    now = [0]
    states = {f"q{number:03}": QueueState(ready=number, unacked=1, consumers=None) for number in range(MOST_QUEUES + 5)}
    history = History(lambda: states, lambda queue: 3 if queue == "q001" else None, lambda: now[0])
    assert history.total() == []

    for tick in range(SAMPLES + 10):
        now[0] = tick
        history.look()

    samples = history.of("q001")
    assert (len(samples), samples[0].at_ms, samples[-1].at_ms) == (SAMPLES, 10, SAMPLES + 9)
    assert (samples[0].ready, samples[0].unacked, samples[0].workers, samples[0].desired) == (1, 1, None, 3)
    assert history.of(f"q{MOST_QUEUES:03}") == []
    total = history.total()[-1]
    assert (total.ready, total.workers, total.desired) == (sum(range(MOST_QUEUES)), None, 3)
    states.clear()
    history.look()
    assert history.of("q001") == []


def test_jobs_and_dead_letters_are_counted_by_the_minute(tmp_path: Path) -> None:
    base = database(tmp_path)
    jobs, letters, now = JobStore(base), DeadLetterStore(base), [100 * MINUTE_MS]
    rates = Rates(RateStore(base), lambda: now[0])

    def end(*minutes: float) -> None:
        told = {"task": "t", "queue": "q", "enqueued_ms": 1, "attempt": 1, "state": State.SUCCEEDED}
        jobs.project([Event(job=new_job_id(), at_ms=int(minute * MINUTE_MS), **told) for minute in minutes])

    end(69.9, 70, 98.5, 99, 99.99, 100)
    letters.add([row(dead_ms=99 * MINUTE_MS + 1), row(dead_ms=50 * MINUTE_MS)])

    first = rates.minutes()
    # Events that came late still count, but no longer for minutes that were settled.
    end(71, 99.5)
    now[0] += MINUTE_MS
    second = rates.minutes()

    assert len(first.ended) == len(first.died) == MINUTES
    assert (first.ended[0], list(first.ended[-3:]), sum(first.ended)) == (1, [0, 1, 2], 4)
    assert (first.died[-1], sum(first.died)) == (1, 1)
    assert (second.ended[0], list(second.ended[-3:])) == (0, [1, 3, 1])
    base.close()


@pytest.mark.parametrize(
    "value", ["javascript:alert(1)//{trace_id}", "https://x.example/", "https://{trace_id}/{trace_id}"]
)
def test_the_address_of_a_trace_is_an_address_with_a_place_for_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_TRACE_URL", value)

    with pytest.raises(SettingsError, match="WARREN_TRACE_URL"):
        load(OfferSettings)
