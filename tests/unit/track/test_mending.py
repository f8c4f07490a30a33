"""The edit that is proposed: the fixture's own lines, or nothing where that cannot be told."""

# ruff: noqa: RET504, D102 - the functions are what is looked at
from __future__ import annotations

import pytest

from pytest_gpuguard.track.mending import edit


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
