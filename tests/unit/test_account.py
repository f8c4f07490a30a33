"""Uses inside of a claim: counted, and refused beyond it with line, mark and numbers."""

from __future__ import annotations

import pytest

from pytest_gpuguard.budget.account import Account
from pytest_gpuguard.errors import GuardError


def test_what_is_given_back_can_be_used_again():
    account = Account({"pinned": 10}, lambda: "the mark at t.py:1")
    account.take({"pinned": 6}, "t.py:2")
    with pytest.raises(GuardError) as caught:
        account.take({"pinned": 5}, "t.py:3")
    assert str(caught.value).splitlines()[:2] == [
        "GPG308: t.py:3 allocates 5 B pinned: with 6 B in use that is more than the 10 B claimed",
        "  claimed by the mark at t.py:1",
    ]
    account.give({"pinned": 6})
    account.take({"pinned": 10}, "t.py:4")
    assert account.left("pinned") == 0
    assert account.covers("pinned")
    assert not account.covers("memory")
