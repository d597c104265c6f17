"""What the doctor says of one thing, and the rules it says it by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Level: TypeAlias = Literal["ok", "note", "unknown", "broken"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the doctor looked at.

    Attributes:
        check: What was looked at.
        level: `ok`; `note` for what works but could be better; `unknown` for what could not be seen; `broken` for what
            does not work.
        message: What was found.
        fix: What to do about it.
    """

    check: str
    level: Level
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that can be wrong, with its fix; `docs/reference/findings.md` lists all rules.

    Attributes:
        check: What is looked at.
        level: How bad it is.
        wrong: What is wrong, for the list.
        fix: What to do about it; names in braces are filled in.
    """

    check: str
    level: Level
    wrong: str
    fix: str

    def found(self, message: str, **values: object) -> Finding:
        """Say that the rule is broken.

        Args:
            message: What was found, with names and numbers.
            **values: What fills the fix.
        """
        return Finding(check=self.check, level=self.level, message=message, fix=self.fix.format(**values))


def ok(check: str, message: str) -> Finding:
    """Say that a thing is well."""
    return Finding(check=check, level="ok", message=message)


def some(names: Iterable[str]) -> str:
    """List names, the first few."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
