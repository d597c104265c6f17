"""What workers tell of themselves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.status import WorkerStatus, decode_status, encode_status

TOLD = {"worker": "w", "concurrency": 2, "running": 1, "waiting": 3, "oldest_job_seconds": 4, "draining": True}


@settings(deadline=None)
@given(
    st.builds(
        WorkerStatus,
        worker=st.text(),
        concurrency=st.integers(1, 1000),
        running=st.integers(0, 1000),
        waiting=st.integers(0, 1000),
        oldest_job_seconds=st.floats(0, 1e6),
        draining=st.booleans(),
        ended=st.integers(0, 10**9),
        ended_seconds=st.floats(0, 1e9),
    )
)
def test_a_status_survives_the_wire(status: WorkerStatus) -> None:
    assert decode_status(encode_status(status)) == status


def test_fields_of_a_newer_release_are_passed_over() -> None:
    assert decode_status(json.dumps({**TOLD, "mood": "fine"}).encode()).held == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"running": "1"},
        {"running": True},
        {"worker": 7},
        {"draining": None},
        {"oldest_job_seconds": "old"},
        {"ended": 1.5},
    ],
)
def test_a_status_with_a_wrong_field_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        decode_status(json.dumps(TOLD | wrong).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{}", b"\xff", b"not found\n"])
def test_what_is_no_status_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a worker's status"):
        decode_status(body)


@pytest.mark.parametrize(
    ("running", "waiting", "draining", "drained"),
    [(0, 0, True, True), (0, 0, False, False), (1, 0, True, False), (0, 1, True, False)],
)
def test_a_drained_worker_holds_nothing_and_takes_nothing(
    running: int, waiting: int, draining: bool, drained: bool
) -> None:
    status = WorkerStatus(
        worker="w", concurrency=1, running=running, waiting=waiting, oldest_job_seconds=0, draining=draining
    )

    assert status.drained is drained
