"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
import sys
from difflib import unified_diff
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_docs", ROOT / "tools" / "reference_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_docs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "metrics.md", "errors.md", "cli.md", "http-api.md", "findings.md"])
def test_a_reference_page_is_what_the_code_would_write(page: str) -> None:
    expected = _tool().WRITERS[page]().rstrip().splitlines()

    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8").splitlines()

    difference = "\n".join(unified_diff(written, expected, lineterm="", n=0))
    assert not difference, f"docs/reference/{page} is stale, run make docs:\n{difference}"


def test_every_page_has_a_writer_and_a_place_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))

    assert [page for page in pages if page not in navigation] == []
