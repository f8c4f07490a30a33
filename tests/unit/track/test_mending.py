"""The edit that is proposed: the fixture's own lines, or nothing where that cannot be told."""

# ruff: noqa: RET504, D102 - the functions are what is looked at
from __future__ import annotations

import contextlib

import pytest

from pytest_gpuguard.track.mending import edit, ended, enters


def make(*_args):
    """Return something."""


def returns_a_call():
    return make(
        1,
        "two",
    )


def returns_a_name(
    request,
):
    solver = make(request)

    return solver


def yields_a_name():
    solver = make()
    yield solver


def yields_a_call():
    yield make()


def ends_it_already():
    solver = make()
    yield solver
    solver.flush()


def returns_twice(flag):
    if flag:
        return make(flag)
    return make()


def returns_nothing():
    make()


def uses_the_name(chunked_solver):
    return make(chunked_solver)


def returns_it_or_none(flag):
    return make(flag) if flag else None


class Suite:
    """A fixture of a class is indented."""

    def inside(self):
        return make(self)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            returns_a_call,
            [
                "- return make(1, 'two')",
                "+ chunked_solver = make(1, 'two')",
                "+ yield chunked_solver",
                "+ chunked_solver.close()",
            ],
        ),
        (returns_a_name, ["- return solver", "+ yield solver", "+ solver.close()"]),
        (yields_a_name, ["  yield solver", "+ solver.close()"]),
        (
            Suite.inside,
            [
                "- return make(self)",
                "+ chunked_solver = make(self)",
                "+ yield chunked_solver",
                "+ chunked_solver.close()",
            ],
        ),
        (
            uses_the_name,
            [
                "- return make(chunked_solver)",
                "+ chunked_solver_ = make(chunked_solver)",
                "+ yield chunked_solver_",
                "+ chunked_solver_.close()",
            ],
        ),
        (returns_it_or_none, []),
        (yields_a_call, []),
        (ends_it_already, []),
        (returns_twice, []),
        (returns_nothing, []),
    ],
)
def test_an_edit_in_the_fixtures_own_words(function, expected):
    assert edit(function.__code__, "ChunkedSolver", ("close",)) == expected


def test_a_context_manager_is_put_around_the_yield():
    found = edit(returns_a_name.__code__, "Solver", ("__exit__",))
    assert found == ["- return solver", "+ with solver:", "+     yield solver"]
    assert edit(yields_a_name.__code__, "Solver", ("__exit__",)) == []


def test_what_takes_two_calls_gets_both():
    found = edit(returns_a_name.__code__, "Popen", ("terminate", "wait"))
    assert found == ["- return solver", "+ yield solver", "+ solver.terminate()", "+ solver.wait()"]
    found = edit(yields_a_name.__code__, "Popen", ("terminate", "wait"))
    assert found == ["  yield solver", "+ solver.terminate()", "+ solver.wait()"]


def test_a_word_of_the_language_is_no_name():
    assert edit(returns_a_call.__code__, "Global", ("close",))[2] == "+ yield global_"


def test_without_the_source_there_is_no_edit():
    code = compile("def fixture():\n    return 1\n", "<nowhere>", "exec").co_consts[0]
    assert edit(code, "Solver", ("close",)) == []


def enters_what_it_makes():
    return make().__enter__()


def enters_and_returns():
    solver = make()
    solver.__enter__()
    return solver


def enters_early():
    solver = make()
    solver.__enter__()
    make(solver)
    return solver


def keeps_what_it_entered():
    solver = make().__enter__()
    return solver


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            enters_what_it_makes,
            ["- return make().__enter__()", "+ with make() as solver:", "+     yield solver"],
        ),
        (
            enters_and_returns,
            ["- solver.__enter__()", "- return solver", "+ with solver:", "+     yield solver"],
        ),
        (enters_early, []),
        (keeps_what_it_entered, []),
    ],
)
def test_what_is_entered_already_is_entered_once(function, expected):
    assert enters(function.__code__)
    assert edit(function.__code__, "Solver", ("__exit__",)) == expected


def closes_after_the_yield():
    solver = make()
    yield solver
    solver.close()


def closes_whatever_happens():
    solver = make()
    try:
        yield solver
    finally:
        solver.close()


def closes_by_a_finalizer(request):
    solver = make()
    request.addfinalizer(solver.close)
    return solver


def closes_in_a_function(request):
    solver = make()

    def end():
        solver.close()

    request.addfinalizer(end)
    return solver


def closes_by_closing():
    with contextlib.closing(make()) as solver:
        yield solver


def hands_it_to_closing():
    solver = make()
    with contextlib.closing(solver):
        yield solver


def leaves_it_to_a_with():
    with make() as solver:
        yield solver


def puts_a_with_around_it():
    solver = make()
    with solver:
        yield solver


def leaves_it_to_a_stack():
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(make())


def gives_it_to_a_stack():
    with contextlib.ExitStack() as stack:
        solver = make()
        stack.enter_context(solver)
        yield solver


def is_closed_by_ours(gpu_closing):
    return gpu_closing(make())


def closes_another(request):
    solver, other = make(), make(request)
    with other:
        yield solver
    other.close()


def begins_anew():
    solver = make()
    solver.close()
    yield solver


def gives_up():
    solver = make()
    try:
        solver.connect()
    except OSError:
        solver.close()
        raise
    yield solver


def gives_a_function_too():
    solver = make()
    other = make()

    def again():
        return other

    yield solver, again
    other.close()


CLOSE, EXIT = {"close"}, {"close", "__exit__"}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (closes_after_the_yield, CLOSE),
        (closes_whatever_happens, CLOSE),
        (closes_by_a_finalizer, CLOSE),
        (closes_in_a_function, CLOSE),
        (closes_by_closing, CLOSE),
        (hands_it_to_closing, CLOSE),
        (leaves_it_to_a_with, EXIT),
        (puts_a_with_around_it, EXIT),
        (leaves_it_to_a_stack, EXIT),
        (gives_it_to_a_stack, EXIT),
        (is_closed_by_ours, CLOSE),
        (closes_another, set()),
        (begins_anew, set()),
        (gives_up, set()),
        (gives_a_function_too, set()),
        (ends_it_already, set()),
        (returns_a_name, set()),
    ],
)
def test_what_a_fixture_closes_already(function, expected):
    assert ended(function.__code__, ("close",)) == expected


def test_of_two_calls_the_missing_one_is_left():
    assert ended(closes_after_the_yield.__code__, ("close", "unlink")) == {"close"}
    # It closes the socket of a server, which serves on.
    assert ended(leaves_it_to_a_with.__code__, ("shutdown", "server_close")) == {"server_close", "__exit__"}
    assert ended(is_closed_by_ours.__code__, ("terminate", "wait")) == {"terminate", "wait"}
