"""Schedules declared in a file (`WARREN_SCHEDULES`), and how they get into the store when a server starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from warren.errors import InvalidArguments, Problem, SettingsError
from warren.schedules import read_schedules
from warren_server.api.problems import Refusal
from warren_server.api.requests import validate
from warren_server.api.schedule_requests import SCHEDULE_NAME, ScheduleRequest
from warren_server.schedules.job import check_job
from warren_server.schedules.schedule import Definition, Schedule, change, put
from warren_server.store.schedules import ScheduleStore
from warren_server.tasks import KnownTasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSchedules:
    """What a file declares.

    Attributes:
        file: The file.
        definitions: Its schedules by name.
    """

    file: str
    definitions: Mapping[str, Definition]


def read_declared(path: Path, tasks: KnownTasks) -> DeclaredSchedules:
    """Read a file of schedules, and check each.

    Raises:
        SettingsError: A schedule breaks a rule; the message names file, schedule and rule.
    """
    definitions = {}
    try:
        documents = read_schedules(path)
    except SettingsError as error:
        raise SettingsError(f"WARREN_SCHEDULES is {str(path)!r}: {error}") from error
    for name, document in documents.items():
        try:
            if not SCHEDULE_NAME.fullmatch(name):
                raise Refusal("invalid-request", f"is no name of a schedule: must match {SCHEDULE_NAME.pattern}")
            definitions[name] = validate(ScheduleRequest, document).definition()
            check_job(definitions[name], tasks)
        except (Refusal, InvalidArguments) as error:
            raise SettingsError(f"WARREN_SCHEDULES is {str(path)!r}: schedule {name!r:.120}: {_told(error)}") from error
    return DeclaredSchedules(file=str(path), definitions=definitions)


def apply_declared(declared: DeclaredSchedules, store: ScheduleStore, now_ms: int) -> None:
    """Bring the store's file schedules to what the file says; those made by the API are left alone.

    Any number of processes may do it at a time.

    Raises:
        StoreDown: The store is away; some may have been changed, doing it again is harmless.
    """
    for name, definition in declared.definitions.items():

        def declare(old: Schedule | None, name: str = name, definition: Definition = definition) -> Schedule | None:
            if old is not None and old.file is None:
                return old
            return put(old, name, definition, declared.file, now_ms)

        old, new = store.edit(name, declare)
        if new is None or new.file is None:
            logger.error(
                "schedule %s of %s was made by the API and stays as it is; delete it there first",
                name,
                declared.file,
                extra={"event": "schedule_conflict", "schedule": name},
            )
        elif new != old:
            logger.info(
                "schedule %s %s", name, change(old, new), extra={"event": "schedule_declared", "schedule": name}
            )
    for schedule in store.all():
        if schedule.file is not None and schedule.name not in declared.definitions:
            store.edit(schedule.name, lambda old: None if old is not None and old.file is not None else old)
            logger.info(
                "schedule %s is no longer declared",
                schedule.name,
                extra={"event": "schedule_removed", "schedule": schedule.name},
            )


def _told(error: Refusal | InvalidArguments) -> str:
    problems: tuple[Problem, ...] = error.problems
    if not problems:
        return error.detail if isinstance(error, Refusal) else str(error)
    return "; ".join(
        f"{problem.field}: {problem.message}" if problem.field else problem.message for problem in problems
    )
