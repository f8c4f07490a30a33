"""Limits as a switch has them."""

from __future__ import annotations

import pytest

from pytest_gpuguard.units import parse_amounts


def test_amounts_by_name():
    assert parse_amounts("pinned=2GiB, pinned.regions=32000") == {"pinned": 2 << 30, "pinned.regions": 32000}


@pytest.mark.parametrize("text", ["pinned", "=3", "pinned=", "pinned=1,pinned=2", "pinned=50%", ""])
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"NAME=AMOUNT|twice|percentage|amount"):
        parse_amounts(text)
