"""One tree of errors whose messages say what, with which value and by which rule."""

from __future__ import annotations

import inspect
import pickle

import pytest

from warren import errors
from warren.errors import (
    EnvelopeError,
    InvalidArguments,
    NotAccepted,
    OutcomeUnknown,
    Problem,
    RequestFailed,
    Unavailable,
    WarrenError,
)

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, BaseException) and found.__module__ == errors.__name__
]
PLAIN = [found for found in CLASSES if found.__init__ is WarrenError.__init__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_one_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, WarrenError)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_in_the_documentation_has_every_error(kind: type[Exception]) -> None:
    assert f" {kind.__name__}" in f" {errors.__doc__}".replace("\n", " ")


@pytest.mark.parametrize("kind", PLAIN)
def test_the_first_line_of_the_docstring_is_the_default_message(kind: type[WarrenError]) -> None:
    first_line = (kind.__doc__ or "").split("\n")[0]

    assert str(kind()) == first_line
    assert str(kind("something else")) == "something else"


def test_whether_a_message_may_be_sent_again_is_told_by_its_class() -> None:
    assert issubclass(Unavailable, NotAccepted)
    assert not issubclass(OutcomeUnknown, NotAccepted)


def test_invalid_arguments_name_every_field() -> None:
    error = InvalidArguments("greet", [Problem(field="arguments.n", rule="int_type", message="must be an integer")])

    assert str(error) == "arguments of task 'greet' are invalid: arguments.n: must be an integer"


def test_an_envelope_error_keeps_the_message() -> None:
    raw = object()

    assert EnvelopeError("broken", raw).raw is raw


@pytest.mark.parametrize(("status", "text"), [(404, "404 unknown-job: no"), (0, "unknown-job: no")])
def test_a_failed_request_tells_its_status_only_when_there_is_one(status: int, text: str) -> None:
    assert str(RequestFailed(status, "unknown-job", "no")) == text


@pytest.mark.parametrize(
    "error",
    [
        InvalidArguments("greet", [Problem(field="a", rule="b", message="c")]),
        RequestFailed(429, "queue-full", "full", retry_after_seconds=5),
        EnvelopeError("broken", b"raw"),
        Unavailable(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling_so_that_it_can_leave_a_child_process(error: WarrenError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
