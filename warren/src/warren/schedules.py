"""Files that declare schedules: TOML, a table for each schedule.

```toml
[schedules.nightly-report]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
task = "report.build"
arguments = { days = 1 }
```

Read by the server (`WARREN_SCHEDULES`) and by `warren schedules apply`; what the keys mean is the server's to check.
"""

from __future__ import annotations

import math
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from warren.errors import SettingsError


def read_schedules(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file's schedules, by name, as documents of the HTTP API.

    Raises:
        SettingsError: The file cannot be read, or is not of this form; the message names file, schedule and rule.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as TOML: {error}") from error
    declared = found.pop("schedules", {})
    if found or not isinstance(declared, dict):
        stray = ", ".join(sorted(found)) or "schedules"
        raise SettingsError(f"{path}: {stray}: must hold tables [schedules.<name>] and nothing else")
    for name, schedule in declared.items():
        if not isinstance(schedule, dict):
            raise SettingsError(f"{path}: schedule {name!r}: must be a table, [schedules.{name}]")
    return {name: _plain(schedule, f"{path}: schedule {name!r}") for name, schedule in declared.items()}


def _plain(value: Any, where: str) -> Any:
    """Turn what TOML has and JSON has not into what the API takes."""
    match value:
        case dict():
            return {key: _plain(item, where) for key, item in value.items()}
        case list():
            return [_plain(item, where) for item in value]
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case datetime() | date() | time():
            raise SettingsError(f"{where}: {value.isoformat()} has no time zone; write it like 2030-01-31T12:00:00Z")
        case float() if not math.isfinite(value):
            raise SettingsError(f"{where}: {value} is no number that JSON can write")
        case _:
            return value
