"""The edit that mends a leak, in one sentence."""

from __future__ import annotations

import msgspec
import pytest

from pytest_gpuguard.report.model import FixtureRef
from pytest_gpuguard.report.remedy import remedy
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
