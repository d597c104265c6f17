"""The files and the commands of the tutorial's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tutorial" / "first-job.md"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the page with the output it promises; `...` stands for anything."""

    line: str
    expected: str
    exit_code: int


def files() -> Iterator[tuple[str, str]]:
    yield from re.findall(r'```python title="(.+?)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> Iterator[Command]:
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            status = re.search(r"^\[exit (\d)\]\n", output, re.MULTILINE)
            expected = re.sub(r"^\[exit \d\]\n", "", output, flags=re.MULTILINE)
            yield Command(line=line, expected=expected, exit_code=int(status[1]) if status else 0)


def matches(expected: str, output: str) -> bool:
    """Whether the promised words come in the output, in their order."""
    words = [re.escape(word) for word in re.split(r"\.\.\.|\s+", expected) if word]
    return re.search(r"[\s\S]*?".join(words), output) is not None
