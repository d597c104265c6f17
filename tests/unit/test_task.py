"""Tasks: what their signatures allow, and the registry that knows them."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from pydantic import BaseModel, ConfigDict

from warren.context import Context
from warren.errors import DuplicateTask, InvalidArguments, SettingsError, TaskError, UnknownTask
from warren.retry import Retry
from warren.task import Registry, Task, load_tasks, task


class Size(BaseModel):
    """A model of the author's: how strict it is, is its own choice."""

    model_config = ConfigDict(strict=True)

    width: int
    height: int = 1


class Picture(BaseModel):
    path: str
    sizes: list[Size] = []


@pytest.fixture
def registry() -> Registry:
    return Registry()


def problems(of: Task[..., Any], body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArguments) as caught:
        of.validate(body)
    return [(problem.field, problem.rule) for problem in caught.value.problems]


def test_a_bare_decorator_takes_everything_from_the_function(registry: Registry) -> None:
    @task(registry=registry)
    def greet(name: str) -> str:
        """Say hello.

        More text.
        """
        return f"hello {name}"

    assert (greet.name, greet.queue, greet.isolation, greet.description) == ("greet", "default", "thread", "Say hello.")
    assert greet("Ada") == "hello Ada"
    assert list(registry) == [greet]


def test_options_are_kept(registry: Registry) -> None:
    policy = Retry(max_attempts=1)

    @task(name="a.b", queue="q", timeout=5, retry=policy, isolation="process", memory_limit_mb=128, registry=registry)
    def work() -> None: ...

    assert (work.name, work.queue, work.timeout_seconds, work.retry) == ("a.b", "q", 5.0, policy)
    assert (work.isolation, work.memory_limit_mb) == ("process", 128)


def test_the_larger_queue_of_a_task_is_one_of_its_queues(registry: Registry) -> None:
    @task(
        name="a",
        isolation="process",
        memory_limit_mb=128,
        oom_queue="large",
        oom_memory_limit_mb=512,
        registry=registry,
    )
    def a() -> None: ...

    @task(name="b", isolation="process", oom_queue="huge", registry=registry)
    def b() -> None: ...

    assert (a.oom_queue, a.oom_memory_limit_mb, b.oom_memory_limit_mb) == ("large", 512, None)
    assert registry.oom_queues() == ["huge", "large"]
    assert registry.queues() == ["default", "huge", "large"]


def test_an_async_def_runs_on_the_event_loop_and_called_directly_gives_its_coroutine(registry: Registry) -> None:
    @task(registry=registry)
    async def double(n: int) -> int:
        return 2 * n

    assert double.isolation == "asyncio"
    assert asyncio.run(double(4)) == 8


def test_defaults_fill_what_is_not_given(registry: Registry) -> None:
    @task(registry=registry)
    def thumbnail(path: str, width: int = 256) -> None: ...

    assert thumbnail.validate(b'{"path":"a"}') == {"path": "a", "width": 256}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"n":true}', [("arguments.n", "int_type")]),
        (b'{"n":1.0}', [("arguments.n", "int_type")]),
        (b'{"n":"1"}', [("arguments.n", "int_type")]),
        (b'{"n":null}', [("arguments.n", "int_type")]),
        (b"{}", [("arguments.n", "missing")]),
        (b'{"n":1,"m":2}', [("arguments.m", "extra_forbidden")]),
        (b'{"n":1,"__class__":2}', [("arguments.__class__", "extra_forbidden")]),
        (b"[]", [("arguments", "model_type")]),
        (b"null", [("arguments", "model_type")]),
        (b"", [("arguments", "json_invalid")]),
        (b"\xff", [("arguments", "json_invalid")]),
        (b'{"n":1} x', [("arguments", "json_invalid")]),
        (b"[" * 100_000, [("arguments", "json_invalid")]),
    ],
)
def test_arguments_are_checked_strictly(registry: Registry, body: bytes, expected: list[tuple[str, str]]) -> None:
    @task(registry=registry)
    def work(n: int) -> None: ...

    assert problems(work, body) == expected


def test_literals_optionals_and_nested_models_are_checked_and_built(registry: Registry) -> None:
    @task(registry=registry)
    def render(
        picture: Picture,
        kind: Literal["png", "jpeg"] = "png",
        title: Optional[str] = None,  # noqa: UP045 - the old spelling must work too
    ) -> None: ...

    arguments = render.validate(b'{"picture":{"path":"a","sizes":[{"width":2}]},"title":null}')

    assert arguments == {"picture": Picture(path="a", sizes=[Size(width=2)]), "kind": "png", "title": None}
    assert problems(render, b'{"picture":{"path":"a"},"kind":"gif"}') == [("arguments.kind", "literal_error")]
    assert problems(render, b'{"picture":{"path":"a","sizes":[{"width":"2"}]}}') == [
        ("arguments.picture.sizes.0.width", "int_type")
    ]


def test_types_that_json_has_no_word_for_are_read_from_text(registry: Registry) -> None:
    @task(registry=registry)
    def work(at: datetime, path: Path, pair: tuple[int, int] = (1, 2)) -> None: ...

    arguments = work.validate(b'{"at":"2030-01-01T00:00:00Z","path":"/a","pair":[3,4]}')

    assert arguments["at"].year == 2030
    assert arguments["path"] == Path("/a")
    assert arguments["pair"] == (3, 4)


@pytest.mark.parametrize("name", ["ctx", "context"])
def test_the_context_is_no_argument(registry: Registry, name: str) -> None:
    if name == "ctx":

        @task(name="one", registry=registry)
        def work(ctx, n: int) -> None: ...  # type: ignore[no-untyped-def]
    else:

        @task(name="one", registry=registry)
        def work(context: Context, n: int) -> None: ...

    assert work.takes_context
    assert work.validate(b'{"n":1}') == {"n": 1}
    assert list(work.schema["properties"]) == ["n"]


def test_a_task_without_parameters_takes_an_empty_object(registry: Registry) -> None:
    @task(registry=registry)
    def tick() -> None: ...

    assert not tick.takes_context
    assert tick.validate(b"{}") == {}


@pytest.mark.parametrize(
    "name",
    ["self", "schema", "copy", "json", "dict", "model_config", "model_fields", "model_dump", "validate", "_hidden"],
)
def test_a_parameter_may_have_any_name(registry: Registry, name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def work({name}: int, other: str = 'x'): ...", namespace)  # noqa: S102 - makes a function with that name

    declared = task(registry=registry)(namespace["work"])

    assert declared.validate(f'{{"{name}":1}}'.encode()) == {name: 1, "other": "x"}
    assert name in declared.schema["properties"]


def test_the_schema_names_types_requirements_and_defaults(registry: Registry) -> None:
    @task(registry=registry)
    def thumbnail(path: str, width: int = 256) -> None: ...

    schema = thumbnail.schema

    assert schema["required"] == ["path"]
    assert schema["properties"]["width"]["default"] == 256
    assert schema["additionalProperties"] is False


def test_a_body_is_compact_json_in_utf_8(registry: Registry) -> None:
    @task(registry=registry)
    def greet(name: str) -> None: ...

    assert greet.body({"name": "Zoë"}) == '{"name":"Zoë"}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800", timedelta(1)])
def test_arguments_that_cannot_be_written_are_refused(registry: Registry, value: object) -> None:
    @task(registry=registry)
    def work(value: Any) -> None: ...

    with pytest.raises(InvalidArguments, match="not JSON"):
        work.body({"value": value})


@pytest.mark.parametrize("signature", ["*args", "**kwargs", "a, /"])
def test_parameters_that_have_no_name_on_the_wire_are_refused(registry: Registry, signature: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def work({signature}): ...", namespace)  # noqa: S102 - makes a function with that signature

    with pytest.raises(TaskError, match="cannot be passed by keyword"):
        task(registry=registry)(namespace["work"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "../x"}, r"'\.\./x' must be 1 to 100"),
        ({"name": "Greet"}, "must be 1 to 100"),
        ({"name": "x\n"}, "must be 1 to 100"),
        ({"queue": "a.b"}, r"queue 'a\.b' must match"),
        ({"timeout": 0}, "above 0 s and at most 30 days"),
        ({"timeout": float("nan")}, "above 0 s"),
        ({"timeout": 31 * 86400}, "at most 30 days"),
        ({"memory_limit_mb": 128}, "needs isolation='process'"),
        ({"memory_limit_mb": 1, "isolation": "process"}, "64 MiB or more"),
        ({"isolation": "asyncio"}, "needs an async def"),
        ({"isolation": "process", "oom_queue": "a.b"}, r"oom_queue 'a\.b' must match"),
        ({"isolation": "process", "oom_queue": ""}, "oom_queue '' must match"),
        ({"isolation": "process", "queue": "q", "oom_queue": "q"}, "oom_queue 'q' is the task's own queue"),
        ({"oom_queue": "large"}, "oom_queue needs isolation='process'"),
        ({"oom_memory_limit_mb": 512}, "oom_memory_limit_mb=512 needs oom_queue"),
        ({"isolation": "process", "memory_limit_mb": 128, "oom_queue": "large"}, "needs oom_memory_limit_mb"),
        (
            {"isolation": "process", "memory_limit_mb": 128, "oom_queue": "large", "oom_memory_limit_mb": 128},
            "oom_memory_limit_mb=128 must be 64 MiB or more, and above memory_limit_mb=128",
        ),
        ({"isolation": "process", "oom_queue": "large", "oom_memory_limit_mb": 63}, "must be 64 MiB or more"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused(registry: Registry, options: dict[str, Any], complaint: str) -> None:
    def work() -> None: ...

    with pytest.raises(TaskError, match=complaint):
        task(registry=registry, **options)(work)


def test_an_async_def_cannot_run_in_a_thread(registry: Registry) -> None:
    async def work() -> None: ...

    with pytest.raises(TaskError, match="cannot have isolation='thread'"):
        task(registry=registry, isolation="thread")(work)


def test_two_functions_cannot_have_one_name(registry: Registry) -> None:
    @task(name="same", registry=registry)
    def first() -> None: ...

    def second() -> None: ...

    with pytest.raises(DuplicateTask, match=r"first and .*second"):
        task(name="same", registry=registry)(second)
    assert registry.get("same") is first


def test_the_registry_lists_tasks_by_name_and_their_queues(registry: Registry) -> None:
    for name, queue in (("b", "slow"), ("a", "fast"), ("c", "fast")):
        task(name=name, queue=queue, registry=registry)(lambda: None)

    assert [known.name for known in registry] == ["a", "b", "c"]
    assert registry.queues() == ["fast", "slow"]
    assert len(registry) == 3
    assert "a" in registry
    with pytest.raises(UnknownTask, match=r"'d' is not known here; known: "):
        registry.get("d")


def test_modules_are_loaded_and_one_that_fails_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good_tasks.py").write_text("import warren\n@warren.task(name='loaded.here')\ndef f(): ...\n")
    (tmp_path / "bad_tasks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    loaded = load_tasks(" good_tasks, ")

    assert "loaded.here" in loaded
    with pytest.raises(SettingsError, match=r"WARREN_TASKS names 'bad_tasks'.*ZeroDivisionError"):
        load_tasks("good_tasks,bad_tasks")
    del sys.modules["good_tasks"]
    del loaded._tasks["loaded.here"]
