"""Write the reference pages that follow from the code: settings, metrics, errors, command line and HTTP API.

Run by `make docs`; `tests/unit/test_reference_docs.py` fails when a page is not what this would write.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from pydantic_core import PydanticUndefined

from warren import errors
from warren.cli.finding import Rule
from warren.metrics import VOCABULARY
from warren.settings import Settings, variable

PAGES = Path(__file__).parent.parent / "docs" / "reference"
GENERATED = "<!-- Written by `make docs` from the code; change the code instead. -->\n"
_SETTINGS_INTRO = """\
Read from the environment once, at start. A value that breaks its rule stops the program with exit status 2 and a line
that names the variable, the value and the rule. An empty variable counts as not set.
"""
_METRICS_INTRO = """\
Prometheus text at `/metrics` of the server, and of each worker's and scaler's probe port. The server's processes are
added up; processes that ended leave no gauge behind. Labels are bounded: task names that are not known to the component
fold into `unknown`.
"""
_FINDINGS_INTRO = """\
What [`warren doctor`](../how-to/doctor.md) may say, with the fix it tells. `broken` ends it with exit status 1:
something does not work. `unknown` could not be looked at. `note` works but could be better. Words in braces are filled
in.
"""
_HTTP_INTRO = """\
The machine-readable contract is `/openapi.json` of any server. Errors are [problems](errors.md#over-http).
"""


def settings_page() -> str:
    """List every settings group with its variables."""
    for member in ("warren.sql", "warren_scaler", "warren_server", "warren_worker"):
        importlib.import_module(f"{member}.settings")
    parts = [
        "# Settings\n",
        GENERATED,
        _SETTINGS_INTRO,
    ]
    groups = sorted(_subclasses(Settings), key=lambda group: (group.__module__, group.__name__))
    for group in groups:
        parts.append(f"## {group.__name__.removesuffix('Settings')}\n")
        parts.append(f"{_first_line(group)} (`{group.__module__}`)\n")
        rows = (
            (f"`{variable(group, name)}`", _default(field.default), _one_line(field.description or ""))
            for name, field in group.model_fields.items()
        )
        parts.append(_table(("variable", "default", "meaning"), rows))
    return "\n".join(parts)


def metrics_page() -> str:
    """List the metrics vocabulary."""
    rows = (
        (f"`{metric.name}`", metric.kind, ", ".join(metric.labels) or "–", metric.component, metric.help)
        for metric in VOCABULARY
    )
    return "\n".join(
        [
            "# Metrics\n",
            GENERATED,
            _METRICS_INTRO,
            _table(("name", "type", "labels", "component", "meaning"), rows),
        ]
    )


def errors_page() -> str:
    """List the error tree and the problems of the HTTP API."""
    from warren_server.api.problems import PROBLEMS

    tree = (inspect.getdoc(errors) or "").split("```")[1].strip("\n")
    problems = ((f"`{kind}`", str(problem.status), problem.title) for kind, problem in sorted(PROBLEMS.items()))
    classes = (
        (f"`{name}`", _first_line(found))
        for name, found in sorted(vars(errors).items())
        if inspect.isclass(found) and issubclass(found, errors.WarrenError)
    )
    return "\n".join(
        [
            "# Errors\n",
            GENERATED,
            "## In Python\n",
            "All in `warren.errors`, one tree:\n",
            f"```\n{tree}\n```\n",
            _table(("class", "means"), classes),
            "## Over HTTP\n",
            "Every error is a problem (RFC 9457), `application/problem+json`, with `type` ending in the kind:\n",
            _table(("kind", "status", "means"), problems),
        ]
    )


def findings_page() -> str:
    """List the doctor's rules."""
    parts = ["# Findings of the doctor\n", GENERATED, _FINDINGS_INTRO]
    for title, modules in _DOCTOR.items():
        found = [rule for module in modules for rule in vars(importlib.import_module(module)).values()]
        rules = {rule: None for rule in found if isinstance(rule, Rule)}
        rows = ((rule.check, rule.level, _one_line(rule.wrong), _one_line(rule.fix)) for rule in rules)
        parts += [f"## {title}\n", _table(("check", "level", "what is wrong", "fix"), rows)]
    return "\n".join(parts)


def cli_page() -> str:
    """Print the help of every command."""
    from warren.cli import main

    parts = ["# Command line\n", GENERATED]
    for path, command in _commands(main, ("warren",)):
        # The names of the help option are the root's; click remembers them on the command at first use.
        names = main.context_settings["help_option_names"]
        context = click.Context(
            command, info_name=" ".join(path), terminal_width=100, max_content_width=100, help_option_names=names
        )
        parts.append(f"{'#' * min(len(path) + 1, 4)} `{' '.join(path)}`\n")
        parts.append(f"```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def http_page() -> str:
    """List the routes of the OpenAPI document."""
    from warren_server.api.openapi import document

    described = document()
    rows = []
    for path, operations in sorted(described["paths"].items()):
        for method, operation in operations.items():
            answers = ", ".join(sorted(operation["responses"]))
            rows.append((f"`{method.upper()} {path}`", operation.get("summary", ""), answers))
    schemas = "\n".join(
        f"### {name}\n\n```json\n{json.dumps(schema, indent=2)}\n```\n"
        for name, schema in sorted(described["components"]["schemas"].items())
    )
    return "\n".join(
        [
            "# HTTP API\n",
            GENERATED,
            _HTTP_INTRO,
            _table(("route", "does", "answers"), rows),
            "## Schemas\n",
            schemas,
        ]
    )


_CLUSTER = "warren.cli.cluster"
_DOCTOR = {
    "Settings, broker, server and tasks": ("warren.cli.findings", "warren.cli.broker_findings"),
    "Workloads and pods, with `--kubernetes`": (f"{_CLUSTER}.workload_findings", f"{_CLUSTER}.pod_findings"),
    "Autoscalers, with `--kubernetes`": (f"{_CLUSTER}.scaling_findings",),
    "Operators and the broker's objects, with `--kubernetes`": (f"{_CLUSTER}.operator_findings",),
    "What could not be looked at, with `--kubernetes`": (f"{_CLUSTER}.examine",),
}
WRITERS: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "errors.md": errors_page,
    "findings.md": findings_page,
    "cli.md": cli_page,
    "http-api.md": http_page,
}


def main() -> None:
    """Write all pages."""
    for name, write in WRITERS.items():
        (PAGES / name).write_text(write().rstrip() + "\n", encoding="utf-8")
        print(f"docs/reference/{name}", file=sys.stderr)


def _subclasses(parent: type[Settings]) -> Iterator[type[Settings]]:
    for child in parent.__subclasses__():
        # Only what its module says it has: not a test's own class, nor one of a module that was imported anew.
        if child.__module__.startswith("warren") and vars(sys.modules[child.__module__]).get(child.__name__) is child:
            yield child
        yield from _subclasses(child)


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            if child is not None:
                yield from _commands(child, (*path, name))


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined:
        return "–"
    return f"`{value}`" if value != "" else "empty"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n", 1)[0]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
