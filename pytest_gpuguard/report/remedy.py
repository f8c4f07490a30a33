"""The edit that mends a leak, as far as it can be told from the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuguard.report.model import FixtureRef, Leak

__all__ = ["remedy"]


#: Functions of the xunit style, which has no yield, and where what they start is ended.
_XUNIT = {
    "setup_module": "teardown_module",
    "setup_class": "teardown_class",
    "setup_method": "teardown_method",
    "setup_function": "teardown_function",
    "setUpClass": "tearDownClass",
}


def _call(fixture: FixtureRef) -> str:
    if fixture.closing == "__exit__":
        return "put a `with` around the yield"
    then = f" and `{fixture.then}()`" if fixture.then else ""
    return f"call its `{fixture.closing or 'close'}()`{then} after the yield"


_ENDS = {
    "thread": "tell it to stop and join it",
    "process": "terminate it and wait for it",
    "fd": "close it",
    "memory": "give it back",
    "shm": "close and unlink it",
    "stream": "drop the last reference to it",
    "event": "drop the last reference to it",
}
#: What takes more than to be told to end, by what a thread runs.
_ENDED_BY = {
    "asyncio.base_events:BaseEventLoop.run_forever": (
        "call `loop.call_soon_threadsafe(loop.stop)`, join the thread and close the loop"
    ),
}


def _thing(leak: Leak) -> str:
    return leak.kind if leak.kind in {"thread", "process"} else leak.what


def _makes(leak: Leak) -> str:
    return f"{'starts' if leak.kind in {'thread', 'process'} else 'makes'} the {_thing(leak)}"


def _closes(leak: Leak) -> str:
    if leak.keeper and leak.closing == "__exit__":
        return f"use the {leak.keeper} in a `with` statement"
    if leak.keeper and leak.closing:
        return f"call {leak.keeper}.{leak.closing}()"
    return _ENDED_BY.get(leak.what) or _ENDS.get(leak.kind, "free it")


def _of_fixture(fixture: FixtureRef, leak: Leak) -> str:
    made = fixture.made
    if fixture.ending:
        place = (
            f"`{fixture.name}`" if fixture.name in _XUNIT.values() else f"the teardown of `{fixture.name}`"
        )
        return f"{place} {_makes(leak)} and nobody ends it: {_closes(leak)} there"
    if made is None:
        twin = _XUNIT.get(fixture.name)
        if twin:
            return f"`{fixture.name}` {_makes(leak)} and nobody ends it: {_closes(leak)} in `{twin}`"
        place = "its `yield`" if fixture.yields else "a `yield`"
        return f"fixture `{fixture.name}` {_makes(leak)} and nobody ends it: {_closes(leak)} after {place}"
    if not fixture.yields:
        return (
            f"fixture `{fixture.name}` returns a {made} and nobody closes it: "
            f"write `yield` for `return`, and {_call(fixture)}"
        )
    return f"fixture `{fixture.name}` yields a {made} but the {_thing(leak)} lives on: {_call(fixture)}"


def remedy(leak: Leak) -> str:
    """Return what to do about a leak, in one sentence."""
    fixture = leak.origin.fixture
    if fixture is not None:
        return _of_fixture(fixture, leak)
    if leak.keeper and leak.closing and leak.closing != "__exit__":
        return f"{_closes(leak)} in a `finally`, or hand it out from a fixture that closes it"
    return _closes(leak) if leak.closing else f"{_closes(leak)} in a `finally`"
