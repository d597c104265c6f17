"""What `import warren` offers."""

from __future__ import annotations

import pytest

import warren


def test_the_names_are_sorted_and_each_leads_somewhere() -> None:
    assert warren.__all__ == sorted(warren.__all__)
    for name in warren.__all__:
        assert getattr(warren, name).__module__.startswith("warren.")


def test_the_names_are_exactly_those_that_are_loaded_on_use() -> None:
    assert set(warren.__all__) == set(warren._HOMES)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        warren.nothing  # noqa: B018 - looking it up is the act
