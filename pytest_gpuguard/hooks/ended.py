"""The exception that ends a test's wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

__all__ = ["TestEnded"]

if TYPE_CHECKING:

    class _Failed(BaseException):
        """Stands for pytest's failure, which is an attribute of a function and unknown to type checkers."""

else:
    _Failed = pytest.fail.Exception


class TestEnded(_Failed):
    """Raised in the main thread to end a wait.

    Derived from pytest's own failure: a ``BaseException``, so that a poll loop's ``except Exception`` does
    not swallow it, and one that pytest keeps for a wide fixture as it keeps any failed set-up.
    """

    __test__ = False
    __module__ = "builtins"  # as pytest's own: people read "TestEnded: ...", not where it is written

    #: Stacks of the other threads at that time, for the report of the test; its own is the traceback.
    stacks = ""
