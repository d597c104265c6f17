"""What a running task is told, and how it talks back."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import Any

import pytest

from warren.context import Context
from warren.envelope import MAX_STATE_BYTES

JOB_ID = "0190c8a4-5b1e-7c3a-9f00-0123456789ab"


def context(**fields: Any) -> Context:
    return Context(job_id=JOB_ID, task="greet", **fields)


def test_a_context_made_in_a_test_needs_only_id_and_task() -> None:
    ctx = context()

    ctx.progress(0.5, "half")
    ctx.checkpoint({"page": 1})
    ctx.logger.info("works")

    assert ctx.state == {"page": 1}
    assert ctx.cancelled is False
    assert ctx.deadline.tzinfo is UTC
    assert isinstance(ctx.logger, logging.LoggerAdapter)


def test_progress_is_told_to_whoever_listens() -> None:
    told: list[tuple[float, str | None]] = []
    ctx = context(on_progress=lambda fraction, message: told.append((fraction, message)))

    ctx.progress(0)
    ctx.progress(1, "done")

    assert told == [(0.0, None), (1.0, "done")]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_progress_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        context().progress(fraction)


def test_a_checkpoint_is_kept_as_json() -> None:
    saved: list[str] = []
    ctx = context(on_checkpoint=saved.append)

    ctx.checkpoint({"name": "Zoë", "pages": [1, 2]})

    assert saved == ['{"name":"Zoë","pages":[1,2]}']
    assert ctx.state == {"name": "Zoë", "pages": [1, 2]}


def test_a_checkpoint_may_have_32_kib_and_not_one_byte_more() -> None:
    ctx = context()

    ctx.checkpoint("x" * (MAX_STATE_BYTES - 2))

    with pytest.raises(ValueError, match="checkpoint has 32769 bytes, the limit is 32768"):
        ctx.checkpoint("y" * (MAX_STATE_BYTES - 1))
    assert ctx.state[0] == "x"


@pytest.mark.parametrize("state", [object(), float("nan"), "\ud800"])
def test_a_checkpoint_that_is_not_json_is_refused_as_a_value_error(state: object) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|JSON|surrogates"):
        context().checkpoint(state)


def test_cancelled_asks_anew_each_time() -> None:
    answers = iter([False, True])
    ctx = context(is_cancelled=lambda: next(answers))

    assert [ctx.cancelled, ctx.cancelled] == [False, True]


def test_an_idempotency_key_is_the_same_in_every_attempt_and_differs_by_step_and_job() -> None:
    first, second = context(attempt=1), context(attempt=2)
    other = Context(job_id="0190c8a4-5b1e-7c3a-9f00-0123456789ac", task="greet")

    assert first.idempotency_key("charge") == second.idempotency_key("charge")
    assert first.idempotency_key("charge") != first.idempotency_key("mail")
    assert first.idempotency_key("charge") != other.idempotency_key("charge")
