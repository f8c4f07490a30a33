"""The edit that mends a leak, as far as it can be told from the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuguard.report.model import FixtureRef, Leak

__all__ = ["remedy"]


def _call(closing: str | None) -> str:
    if closing == "__exit__":
        return "put a `with` around the yield"
    return f"call its `{closing or 'close'}()` after the yield"


def _of_fixture(fixture: FixtureRef, leak: Leak) -> str:
    made, closing = fixture.made, fixture.closing
    if made is None:
        subject = leak.subject
        owner = f"{subject.keeper}.{subject.closing}()" if subject.keeper and subject.closing else "its stop"
        return f"fixture `{fixture.name}` starts the thread and nobody ends it: call {owner} after a yield"
    if not fixture.yields:
        return (
            f"fixture `{fixture.name}` returns a {made} and nobody closes it: "
            f"write `yield` for `return`, and {_call(closing)}"
        )
    return f"fixture `{fixture.name}` yields a {made} but the thread lives on: {_call(closing)}"


def remedy(leak: Leak) -> str:
    """Return what to do about a leaked thread, in one sentence."""
    fixture, subject = leak.origin.fixture, leak.subject
    if fixture is not None:
        return _of_fixture(fixture, leak)
    if subject.keeper and subject.closing == "__exit__":
        return f"use the {subject.keeper} in a `with` statement"
    if subject.keeper and subject.closing:
        call = f"{subject.keeper}.{subject.closing}()"
        return f"call {call} in a `finally`, or hand it out from a fixture that closes it"
    return "tell the thread to stop and join it in a `finally`"
