"""Logs: JSON lines with a stable event key, one line each whatever the values hold."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from warren.logs import configure_logs
from warren.settings import LogSettings, load


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    written = capsys.readouterr()
    assert written.out == ""
    return [json.loads(line) for line in written.err.splitlines()]


def test_a_line_has_event_message_level_time_and_the_fields_given(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings), worker="pod-1")

    logging.getLogger("warren.test").info("job %s begins", "j1", extra={"event": "job_started", "job": "j1"})

    (line,) = lines(capsys)
    assert (line["event"], line["message"], line["level"]) == ("job_started", "job j1 begins", "info")
    assert (line["job"], line["worker"]) == ("j1", "pod-1")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None


def test_without_an_event_the_loggers_name_is_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))

    logging.getLogger("somebody.else").warning("hm")

    assert lines(capsys)[0]["event"] == "somebody.else"


def test_values_with_line_breaks_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))
    forged = 'x\r\n{"event":"forged"}\u2028\x1b[31m'

    logging.getLogger("warren.test").info("task %s", forged, extra={"event": "refused", "task": forged})

    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "\r" not in written
    line = json.loads(written)
    assert (line["event"], line["task"]) == ("refused", forged)


def test_an_exception_is_a_field_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))

    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        logging.getLogger("warren.test").exception("failed", extra={"event": "failed"})

    (line,) = lines(capsys)
    assert (line["event"], line["level"]) == ("failed", "error")
    assert "ValueError: bad\nvalue" in line["exception"]
    assert "Traceback" in line["exception"]


def test_values_that_json_cannot_write_do_not_lose_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))

    logging.getLogger("warren.test").info("odd", extra={"event": "odd", "thing": object(), "text": "\udcff"})

    (line,) = lines(capsys)
    assert line["event"] == "odd"


def test_warnings_come_out_as_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    (line,) = lines(capsys)
    assert line["level"] == "warning"
    assert "DeprecationWarning: old" in line["message"]


def test_a_level_below_the_chosen_one_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings, level="warning"))

    logging.getLogger("warren.test").info("quiet")
    logging.getLogger("warren.test").warning("loud")

    assert [line["message"] for line in lines(capsys)] == ["loud"]


def test_for_people_there_is_text_with_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings, format="console"))

    logging.getLogger("warren.test").info("job begins", extra={"event": "job_started", "job": "j1"})

    written = capsys.readouterr().err
    assert "job begins" in written
    assert "job_started" in written
    assert not written.startswith("{")


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load(LogSettings))
    configure_logs(load(LogSettings))

    logging.getLogger("warren.test").info("once")

    assert len(lines(capsys)) == 1
    assert sys.stderr is not None
