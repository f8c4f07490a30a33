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
    "setUpModule": "tearDownModule",
}


def _call(fixture: FixtureRef) -> str:
    if fixture.closing == "__exit__":
        return "put a `with` around the yield" + (
            ", in place of its `__enter__()`" if fixture.entered else ""
        )
    then = f" and `{fixture.then}()`" if fixture.then else ""
    return f"call its `{fixture.closing or 'close'}()`{then} after the yield"


_ENDS = {
    "thread": "tell it to stop and join it",
    "process": "terminate it and wait for it",
    "fd": "close it",
    "memory": "give it back",
    "shm": "close and unlink it",
    # Nothing else frees what a library counts the references of.
    **dict.fromkeys(("pinned", "device", "stream", "event"), "drop the last reference to it"),
}
#: What takes more than to be told to end, by what a thread runs.
_ENDED_BY = {
    "asyncio.base_events:BaseEventLoop.run_forever": (
        "call `loop.call_soon_threadsafe(loop.stop)`, join the thread and close the loop"
    ),
    **{
        f"asyncio.unix_events:{name}._do_waitpid": "end the child that it waits for, and await its `wait()`"
        for name in ("ThreadedChildWatcher", "_ThreadedChildWatcher")
    },
}


def _thing(leak: Leak) -> str:
    return leak.kind if leak.kind in {"thread", "process"} else leak.what


def _makes(leak: Leak) -> str:
    return f"{'starts' if leak.kind in {'thread', 'process'} else 'makes'} the {_thing(leak)}"


def _ends(leak: Leak) -> str:
    if leak.kind == "process" and getattr(leak.subject, "state", "") == "zombie":
        return "wait for it"
    return _ENDED_BY.get(leak.what) or _ENDS.get(leak.kind, "free it")


def _closes(leak: Leak) -> str:
    if leak.attribute:
        return f"set `self.{leak.attribute} = None`"
    if leak.keeper and leak.closing == "__exit__":
        return f"use the {leak.keeper} in a `with` statement"
    if leak.keeper and leak.closing:
        return f"call {leak.keeper}.{leak.closing}()"
    return _ends(leak)


def _a(name: str) -> str:
    return f"{'an' if name[:1] in {*'AEIOUaeiou'} else 'a'} {name}"


def _lives_on(fixture: FixtureRef, leak: Leak) -> str:
    """Return what to do where the fixture closes already what it gave."""
    by = "the end of its `with`" if fixture.closed == "__exit__" else f"{fixture.made}.{fixture.closed}()"
    if leak.keeper and leak.closing and leak.keeper != fixture.made:
        todo = f"{_closes(leak)} as well"
    else:
        todo = f"let {by} {_ends(leak)}"
    return f"fixture `{fixture.name}` closes its {fixture.made}, but the {_thing(leak)} lives on: {todo}"


def _of_fixture(fixture: FixtureRef, leak: Leak) -> str:
    made, named = fixture.made, f"fixture `{fixture.name}`"
    if fixture.name in {*_XUNIT, *_XUNIT.values()}:
        named = f"`{fixture.name}`"
    if fixture.ending:
        place = named if fixture.name in _XUNIT.values() else f"the teardown of `{fixture.name}`"
        return f"{place} {_makes(leak)} and nobody ends it: {_closes(leak)} there"
    if fixture.failed:
        before = " before its `yield`" if fixture.yields else ""
        return f"{named} {_makes(leak)} and raises{before}: {_closes(leak)} in an `except`, and raise again"
    if made is None:
        place = "after its `yield`" if fixture.yields else "after a `yield`"
        if twin := _XUNIT.get(fixture.name):
            place = f"in `{twin}`"
        return f"{named} {_makes(leak)} and nobody ends it: {_closes(leak)} {place}"
    if fixture.closed:
        return _lives_on(fixture, leak)
    call = _call(fixture)
    if leak.kind == "shm" and not {fixture.closing, fixture.then} & {"unlink", "destroy"}:
        call += ", which has to unlink it"
    if not fixture.yields:
        return f"{named} returns {_a(made)} and nobody closes it: write `yield` for `return`, and {call}"
    return f"{named} yields {_a(made)} but the {_thing(leak)} lives on: {call}"


def _of_unittest(leak: Leak) -> str | None:
    """Return what to do about what ``setUp`` or ``tearDown`` made: these run inside of the test."""
    by = {frame.function for frame in leak.created if frame.file == "<stdlib>/unittest/case.py"}
    if "TestCase._callSetUp" in by:
        return f"`setUp` {_makes(leak)} and nobody ends it: {_closes(leak)} in `tearDown`"
    if "TestCase._callTearDown" in by:
        return f"`tearDown` {_makes(leak)} and nobody ends it: {_closes(leak)} there"
    return None


def _of(leak: Leak) -> str:
    fixture = leak.origin.fixture
    if fixture is not None:
        return _of_fixture(fixture, leak)
    if (told := _of_unittest(leak)) is not None:
        return told
    if leak.keeper and leak.closing and leak.closing != "__exit__":
        return f"{_closes(leak)} in a `finally`, or hand it out from a fixture that closes it"
    return _closes(leak) if leak.closing else f"{_closes(leak)} in a `finally`"


def remedy(leak: Leak) -> str:
    """Return what to do about a leak, in one sentence."""
    return _of(leak) + (", since pytest keeps the instance of the class" if leak.attribute else "")
