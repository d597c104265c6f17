"""A form for a task's arguments, made from their schema: a field for each that is simple, JSON for the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from warren.errors import InvalidArguments, Problem
from warren_server.api.problems import Refusal
from warren_server.api.strict_json import load_object
from warren_server.dashboard import forms

PREFIX: Final = "argument."
Kind = Literal["text", "integer", "number", "boolean", "choice", "json"]
_KINDS: Final[Mapping[str, Kind]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the form.

    Attributes:
        name: Name of the argument.
        kind: How it is typed in.
        required: It has to be given.
        value: What is typed in at first.
        description: What it is, by its schema.
        choices: What may be chosen, as JSON.
    """

    name: str
    kind: Kind
    required: bool
    value: str = ""
    description: str = ""
    choices: tuple[str, ...] = field(default_factory=tuple)

    @property
    def key(self) -> str:
        """Its name in the form."""
        return PREFIX + self.name


def fields(schema: Mapping[str, Any], typed: Mapping[str, str]) -> list[Field]:
    """Return the fields for a schema, with what was typed before."""
    required = schema.get("required", ())
    return [
        _field(name, rule if isinstance(rule, dict) else {}, typed, required=name in required)
        for name, rule in schema.get("properties", {}).items()
    ]


def read(task: str, schema: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    """Read the arguments that were typed in; whether they fit the task is for the task to say.

    A field left empty is an argument not given, but for a text that has to be.

    Args:
        task: Name of the task.
        schema: Schema of its arguments.
        typed: The form.

    Raises:
        InvalidArguments: A field cannot be read.
    """
    read: dict[str, Any] = {}
    problems: list[Problem] = []
    for each in fields(schema, {}):
        text = typed.get(each.key, "")
        if not text.strip() and not (each.kind == "text" and each.required):
            continue
        try:
            read[each.name] = _value(each, text)
        except Refusal as refusal:
            problems += refusal.problems
    if problems:
        raise InvalidArguments(task, problems)
    return read


def _field(name: str, rule: Mapping[str, Any], typed: Mapping[str, str], *, required: bool) -> Field:
    kind, choices = _kind(rule)
    value = typed.get(PREFIX + name)
    if value is None:
        default = rule.get("default")
        value = (
            "" if default is None else default if kind == "text" and isinstance(default, str) else json.dumps(default)
        )
    description = str(rule.get("description", ""))
    return Field(name=name, kind=kind, required=required, value=value, description=description, choices=choices)


def _kind(rule: Mapping[str, Any]) -> tuple[Kind, tuple[str, ...]]:
    if isinstance(rule.get("enum"), list):
        return "choice", tuple(json.dumps(choice, ensure_ascii=False) for choice in rule["enum"])
    # `int | None`: the argument may be left out, and then nothing has to be typed for the null.
    others = [each for each in rule.get("anyOf", ()) if isinstance(each, dict) and each.get("type") != "null"]
    if len(others) == 1:
        return _kind(others[0])
    return _KINDS.get(str(rule.get("type")), "json"), ()


def _value(known: Field, text: str) -> Any:
    name = known.name
    match known.kind:
        case "text":
            return text
        case "integer":
            return forms.integer(name, text.strip())
        case "number":
            return forms.number(name, text.strip())
        case "boolean":
            if text not in _BOOLEANS:
                raise forms.wrong(name, "bool_parsing", "must be true or false")
            return _BOOLEANS[text]
        case _:
            return _json(name, text)


def _json(name: str, text: str) -> Any:
    try:
        # In an object, for the strict reader reads objects.
        found = load_object(f'{{"value":{text}}}'.encode("utf-8", "surrogatepass"))
    except Refusal as refusal:
        raise forms.wrong(name, "json", f"must be JSON: {refusal.detail}") from refusal
    if len(found) != 1:
        raise forms.wrong(name, "json", "must be one JSON value")
    return found["value"]
