"""The form that retries a dead job, with changes if so typed, and what else its dead letter tells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from warren_server.api.dead_letter_requests import RetryRequest
from warren_server.api.problems import Refusal, refusal_for
from warren_server.api.requests import validate
from warren_server.api.strict_json import load_object
from warren_server.dashboard.forms import given, numbers, wrong
from warren_server.store.fold import Row

EDITABLE_BYTES: Final = 64 * 1024
"""Arguments larger than this are edited elsewhere: a form is no place for them."""
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_FIELDS: Final = ("arguments", "queue", "delay", "max_attempts", "timeout")


def editing(letter: Row, form: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form to retry a dead letter shows: what was typed into it, else how the job is."""
    text = arguments_text(letter)
    usual = {**dict.fromkeys(_FIELDS, ""), "arguments": text}
    typed = {name: form[name] for name in _FIELDS if name in form}
    return {**usual, **typed, "original": text, "editable": text is not None}


def arguments_text(letter: Row) -> str | None:
    """Return a job's arguments for people to read and edit; None for those that are too large, or are none."""
    if len(letter["body"]) > EDITABLE_BYTES:
        return None
    try:
        return json.dumps(json.loads(letter["body"]), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def retry_request(form: Mapping[str, str], letter: Row | None) -> RetryRequest:
    """Read the form to retry a job; a field left empty, or arguments left alone, leave the job as it was.

    Args:
        form: What was typed in.
        letter: The dead letter that it was about.

    Raises:
        Refusal: A field breaks its rule.
    """
    typed = given(form, ("queue", "delay", "max_attempts", "timeout"))
    document = numbers(typed, whole=("delay", "max_attempts"), decimal=("timeout",))
    # Browsers end lines as mail does.
    text = form.get("arguments", "").replace("\r\n", "\n").strip()
    if text and (letter is None or text != arguments_text(letter)):
        try:
            document["arguments"] = load_object(text.encode("utf-8", "surrogatepass"))
        except Refusal as refusal:
            raise wrong("arguments", "json", refusal.detail) from refusal
    return validate(RetryRequest, document)


def editing_failed(error: Exception) -> bool:
    """Whether an error is for whoever filled in the form to mend, who would lose what was typed otherwise."""
    return 400 <= refusal_for(error).status < 500 and refusal_for(error).status != 404


def trace_link(letter: Row, address: str | None) -> str | None:
    """Return the address of the trace that a dead job belongs to, if it has one and there is a place to look at it."""
    headers = json.loads(letter["message"]).get("headers", {})
    traced = _TRACE.fullmatch(str(headers.get("traceparent", "")))
    if address is None or traced is None:
        return None
    return address.replace("{trace_id}", traced[1])
