"""The edit that mends a leak, in one sentence."""

from __future__ import annotations

import msgspec
import pytest

from pytest_gpuguard.report.model import FixtureRef
from pytest_gpuguard.report.remedy import remedy
from pytest_gpuguard.report.subjects import Frame, ProcessSubject
from tests.golden.record import read

LEAK = read().groups[0].leaks[0]
FIXTURE = FixtureRef("solver", "function", "t.py::test", "t.py", 3, False, "Solver", "close")
REPLACE = msgspec.structs.replace


@pytest.mark.parametrize(
    ("changes", "keeper", "said"),
    [
        (
            {},
            ("Watcher", "stop"),
            (
                "fixture `solver` returns a Solver and nobody closes it: "
                "write `yield` for `return`, and call its `close()` after the yield"
            ),
        ),
        (
            {"closing": "__exit__"},
            ("Watcher", "stop"),
            (
                "fixture `solver` returns a Solver and nobody closes it: "
                "write `yield` for `return`, and put a `with` around the yield"
            ),
        ),
        (
            {"closing": "terminate", "then": "wait"},
            (None, None),
            (
                "fixture `solver` returns a Solver and nobody closes it: "
                "write `yield` for `return`, and call its `terminate()` and `wait()` after the yield"
            ),
        ),
        (
            {"yields": True, "closing": "shutdown"},
            ("Watcher", "stop"),
            (
                "fixture `solver` yields a Solver but the thread lives on: "
                "call its `shutdown()` after the yield"
            ),
        ),
        (
            {"yields": True, "made": "Event", "closing": "set"},
            (None, None),
            "fixture `solver` yields an Event but the thread lives on: call its `set()` after the yield",
        ),
        (
            {"closing": "__exit__", "entered": True},
            (None, None),
            (
                "fixture `solver` returns a Solver and nobody closes it: write `yield` for `return`, "
                "and put a `with` around the yield, in place of its `__enter__()`"
            ),
        ),
        (
            {"yields": True, "closing": None, "closed": "close"},
            ("Watcher", "stop"),
            "fixture `solver` closes its Solver, but the thread lives on: call Watcher.stop() as well",
        ),
        (
            {"yields": True, "closing": None, "closed": "close"},
            ("Solver", "close"),
            (
                "fixture `solver` closes its Solver, but the thread lives on: "
                "let Solver.close() tell it to stop and join it"
            ),
        ),
        (
            {"yields": True, "closing": None, "closed": "__exit__"},
            (None, None),
            (
                "fixture `solver` closes its Solver, but the thread lives on: "
                "let the end of its `with` tell it to stop and join it"
            ),
        ),
        (
            {"made": None, "closing": None, "yields": True, "failed": True},
            ("Solver", "close"),
            (
                "fixture `solver` starts the thread and raises before its `yield`: "
                "call Solver.close() in an `except`, and raise again"
            ),
        ),
        (
            {"name": "setup_module", "made": None, "closing": None, "failed": True},
            (None, None),
            (
                "`setup_module` starts the thread and raises: "
                "tell it to stop and join it in an `except`, and raise again"
            ),
        ),
        (
            {"name": "setUpModule", "made": None, "closing": None},
            (None, None),
            (
                "`setUpModule` starts the thread and nobody ends it: "
                "tell it to stop and join it in `tearDownModule`"
            ),
        ),
        (
            {"made": None, "closing": None},
            ("Watcher", "stop"),
            "fixture `solver` starts the thread and nobody ends it: call Watcher.stop() after a `yield`",
        ),
        (
            {"made": None, "closing": None},
            (None, None),
            (
                "fixture `solver` starts the thread and nobody ends it: "
                "tell it to stop and join it after a `yield`"
            ),
        ),
        (
            {"name": "setup_module", "made": None},
            ("Watcher", "stop"),
            "`setup_module` starts the thread and nobody ends it: call Watcher.stop() in `teardown_module`",
        ),
        (
            {"name": "setUpClass", "made": None},
            ("Watcher", "stop"),
            "`setUpClass` starts the thread and nobody ends it: call Watcher.stop() in `tearDownClass`",
        ),
        (
            {"name": "teardown_method", "made": None, "ending": True},
            ("Watcher", "stop"),
            "`teardown_method` starts the thread and nobody ends it: call Watcher.stop() there",
        ),
        (
            {"yields": True, "ending": True},
            ("Watcher", "stop"),
            "the teardown of `solver` starts the thread and nobody ends it: call Watcher.stop() there",
        ),
        (
            {"name": "setup_solver", "made": None},
            ("Watcher", "stop"),
            (
                "fixture `setup_solver` starts the thread and nobody ends it: "
                "call Watcher.stop() after a `yield`"
            ),
        ),
        (None, ("Pool", "__exit__"), "use the Pool in a `with` statement"),
        (
            None,
            ("Watcher", "stop"),
            "call Watcher.stop() in a `finally`, or hand it out from a fixture that closes it",
        ),
        (None, ("Watcher", None), "tell it to stop and join it in a `finally`"),
        (None, (None, None), "tell it to stop and join it in a `finally`"),
    ],
)
def test_the_remedy_fits_how_the_thing_was_made(changes, keeper, said):
    fixture = None if changes is None else REPLACE(FIXTURE, **changes)
    leak = REPLACE(
        LEAK,
        origin=REPLACE(LEAK.origin, fixture=fixture),
        keeper=keeper[0],
        closing=keeper[1],
    )
    assert remedy(leak) == said


def test_a_loop_that_runs_in_a_thread_cannot_be_closed_before_it_is_stopped():
    leak = REPLACE(LEAK, what="asyncio.base_events:BaseEventLoop.run_forever", keeper="Loop", closing=None)
    leak = REPLACE(leak, origin=REPLACE(LEAK.origin, fixture=None))
    said = "call `loop.call_soon_threadsafe(loop.stop)`, join the thread and close the loop in a `finally`"
    assert remedy(leak) == said


def _of_the_test_itself(**changes):
    return REPLACE(
        LEAK, origin=REPLACE(LEAK.origin, fixture=None), **{"keeper": None, "closing": None} | changes
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kind": "process", "subject": ProcessSubject(7, "true", state="zombie")},
            "wait for it in a `finally`",
        ),
        (
            {"kind": "process", "subject": ProcessSubject(7, "true")},
            "terminate it and wait for it in a `finally`",
        ),
        ({"kind": "device"}, "drop the last reference to it in a `finally`"),
        ({"kind": "pinned"}, "drop the last reference to it in a `finally`"),
        ({"kind": "of a probe"}, "free it in a `finally`"),
        (
            {
                "what": "asyncio.unix_events:ThreadedChildWatcher._do_waitpid",
                "keeper": "ThreadedChildWatcher",
            },
            "end the child that it waits for, and await its `wait()` in a `finally`",
        ),
    ],
)
def test_a_thing_is_ended_in_its_own_way(changes, said):
    assert remedy(_of_the_test_itself(**changes)) == said


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("_callSetUp", "`setUp` starts the thread and nobody ends it: call Watcher.stop() in `tearDown`"),
        ("_callTearDown", "`tearDown` starts the thread and nobody ends it: call Watcher.stop() there"),
        ("run", "call Watcher.stop() in a `finally`, or hand it out from a fixture that closes it"),
    ],
)
def test_what_setup_of_a_unittest_makes_is_ended_in_its_teardown(function, said):
    frame = Frame("<stdlib>/unittest/case.py", 576, f"TestCase.{function}", "library")
    leak = _of_the_test_itself(created=[frame, *LEAK.created], keeper="Watcher", closing="stop")
    assert remedy(leak) == said


def test_who_closes_a_segment_is_told_that_it_has_to_be_unlinked():
    fixture = REPLACE(FIXTURE, made="Frame")
    leak = REPLACE(LEAK, kind="shm", origin=REPLACE(LEAK.origin, fixture=fixture))
    assert remedy(leak).endswith("call its `close()` after the yield, which has to unlink it")
    fixture = REPLACE(FIXTURE, made="Frame", closing="destroy")
    leak = REPLACE(LEAK, kind="shm", origin=REPLACE(LEAK.origin, fixture=fixture))
    assert remedy(leak).endswith("call its `destroy()` after the yield")


def test_what_the_instance_of_a_test_class_has_is_taken_from_it():
    leak = _of_the_test_itself(kind="device", attribute="buffer")
    assert (
        remedy(leak)
        == "set `self.buffer = None` in a `finally`, since pytest keeps the instance of the class"
    )
    fixture = REPLACE(FIXTURE, name="setup_method", made=None, closing=None)
    leak = REPLACE(leak, origin=REPLACE(leak.origin, fixture=fixture), what="device memory")
    assert remedy(leak) == (
        "`setup_method` makes the device memory and nobody ends it: set `self.buffer = None` "
        "in `teardown_method`, since pytest keeps the instance of the class"
    )
