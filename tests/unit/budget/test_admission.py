"""Who may take: a pure function, so its promises are checked over any table there can be."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pytest_gpuguard.budget.admission import decide, fits, hopeless, view
from pytest_gpuguard.budget.reasons import reason
from pytest_gpuguard.budget.waitgraph import stuck, victim
from pytest_gpuguard.ledger.table import Table, Waiter


def table(limit, held, waiters):
    """Return a table of one resource; ``waiters`` as (slot, amount) in order."""
    return Table(
        {"u": limit},
        {slot: {"u": amount} for slot, amount in held.items()},
        tuple(Waiter(ticket, slot, {"u": amount}) for ticket, (slot, amount) in enumerate(waiters)),
    )


def granted(table, **options):
    return [waiter.slot for waiter in decide(table, **options).grantable]


AMOUNTS = st.fixed_dictionaries({"a": st.integers(0, 5), "b": st.integers(0, 5)})


@st.composite
def tables(draw):
    limits = {"a": 5, "b": 5}
    holders = draw(st.dictionaries(st.integers(0, 5), AMOUNTS, max_size=4))
    held, left = {}, dict(limits)
    for slot, amounts in holders.items():
        held[slot] = {name: min(amount, left[name]) for name, amount in amounts.items()}
        left = {name: left[name] - held[slot][name] for name in left}
    slots = draw(st.lists(st.integers(0, 7), unique=True, max_size=5))
    waiters = tuple(Waiter(ticket, slot, draw(AMOUNTS)) for ticket, slot in enumerate(slots))
    return Table(limits, held, waiters)


@settings(deadline=None)
@given(tables())
def test_grants_together_never_exceed_what_is_free(table):
    free = table.free()
    for waiter in decide(table).grantable:
        free = {name: free[name] - waiter.wants[name] for name in free}
    assert min(free.values()) >= 0


@settings(deadline=None)
@given(tables())
def test_a_later_grant_never_takes_what_an_earlier_one_could_have(table):
    before = granted(table)
    for waiter in table.waiters:
        earlier = Table(table.limits, table.held, tuple(w for w in table.waiters if w.ticket < waiter.ticket))
        # Those behind may suspend somebody by holding what it needs, so only additions are possible.
        assert set(granted(earlier)) - decide(table).suspended <= set(before)


@settings(deadline=None)
@given(tables())
def test_when_every_holder_waits_and_none_is_stuck_somebody_may_go_on(table):
    waiting = {waiter.slot for waiter in table.waiters}
    if not table.waiters or any(hopeless(waiter, table) for waiter in table.waiters) or stuck(table):
        return
    if {slot for slot, amounts in table.held.items() if any(amounts.values())} <= waiting:
        assert decide(table).grantable


@settings(deadline=None)
@given(tables())
def test_the_stuck_are_exactly_those_that_no_order_serves(table):
    waiters = [waiter for waiter in table.waiters if not hopeless(waiter, table)]
    served = set()
    free = dict(table.limits)
    for waiter in waiters:
        held = table.held.get(waiter.slot, {})
        free = {name: free[name] - held.get(name, 0) for name in free}
    for _ in waiters:
        for waiter in waiters:
            if waiter.slot not in served and fits(waiter.wants, free):
                served.add(waiter.slot)
                held = table.held.get(waiter.slot, {})
                free = {name: free[name] + held.get(name, 0) for name in free}
    assert {waiter.slot for waiter in stuck(table)} == {waiter.slot for waiter in waiters} - served


def test_first_come_first_served():
    assert granted(table(8, {}, [(1, 5), (2, 5)])) == [1]


def test_a_large_request_is_not_starved_by_small_ones_behind_it():
    assert granted(table(8, {9: 1}, [(1, 8), (2, 1), (3, 1)])) == []


def test_a_small_request_passes_beside_what_is_reserved():
    assert granted(table(8, {9: 2}, [(1, 7), (2, 1)])) == []
    assert granted(table(8, {9: 2}, [(1, 6), (2, 1)])) == [1]
    assert granted(
        Table({"u": 8, "v": 8}, {9: {"u": 8}}, (Waiter(0, 1, {"u": 8}), Waiter(1, 2, {"v": 8})))
    ) == [2]


def test_one_that_needs_what_somebody_behind_it_holds_keeps_nothing_back():
    decision = decide(table(3, {1: 1}, [(2, 3), (1, 2)]))
    assert decision.suspended == {2}
    assert [waiter.slot for waiter in decision.grantable] == [1]


def test_one_that_does_not_take_for_long_is_passed_over():
    line = table(8, {}, [(1, 6), (2, 4)])
    assert granted(line) == [1]
    assert granted(line, stalled={(0, 1)}) == [2]
    assert granted(line, stalled={(5, 1)}) == [1]


def test_two_that_need_each_other_are_stuck_and_the_newest_gives_up():
    circle = table(2, {1: 1, 2: 1}, [(1, 1), (2, 1)])
    assert [waiter.slot for waiter in stuck(circle)] == [1, 2]
    assert victim(circle).slot == 2
    assert stuck(table(3, {1: 1, 2: 1}, [(1, 1), (2, 1)])) == ()
    assert victim(table(3, {1: 1}, [(1, 1)])) is None


def test_what_those_ahead_do_shows_in_the_standing():
    def standing(held, line):
        return view(table(8, held, line), 5).standing

    waiting = [(3, 8), (5, 4)]
    assert standing({1: 8}, waiting) == standing({1: 8}, waiting)
    assert standing({1: 8}, waiting) != standing({1: 7}, waiting)
    assert standing({1: 8}, waiting) != standing({1: 8}, [(5, 4)])


@pytest.mark.parametrize(
    ("line", "slot", "words"),
    [
        (table(8, {9: 6}, [(1, 4)]), 1, "2 u more must come free"),
        (table(8, {9: 2}, [(1, 8), (2, 1)]), 2, "kept for slot 1"),
        (table(3, {2: 1}, [(1, 3), (2, 3)]), 1, "behind it hold: slot 2"),
        (table(8, {}, [(1, 8)]), 1, "may take it now"),
        (table(4, {}, [(1, 8)]), 1, "more than the limit"),
    ],
)
def test_each_waiter_is_told_why(line, slot, words):
    assert words in reason(line.waiter(slot), line, decide(line), lambda slot: f"slot {slot}")
