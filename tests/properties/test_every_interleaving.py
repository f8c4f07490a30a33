"""No interleaving over-commits, and none gets stuck; and each rule that this rests on is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_gpuguard.budget import admission
from tests.properties.explorer import Explorer, Rules


def program(*steps):
    return tuple((step,) for step in steps)


def explorer(limits, programs, **options):
    return Explorer(
        tuple((limit,) for limit in limits), tuple(program(*steps) for steps in programs), **options
    )


FLAT = ((2, 2, 2), ((2, -2), (1, -1), (2, -2)))
NESTED = ((3, 3, 3), ((1, 1, -2), (3, -3), (1, -1)))
NESTED_WAITS = ((3, 3, 3), ((1, 2, -3), (3, -3), (1, -1)))
PAIR = ((2, 2), ((2, -2), (2, -2)))
# The second has the lowest limit, claims nothing and goes; the first keeps what it has.
LOW_LIMIT_GOES = ((3, 2, 3), ((2,), (0,), (1,)), {"leaves": frozenset({1})})


@pytest.mark.parametrize(
    ("limits", "programs", "options"),
    [
        pytest.param(*FLAT, {"deaths": 2}, id="flat, two deaths"),
        pytest.param((2, 2, 2), ((2, -2), (1, -1), (1, -1)), {"deaths": 2}, id="one large, two small"),
        pytest.param(*FLAT, {"deaths": 1, "torn": True}, id="holders read one by one"),
        pytest.param(*NESTED, {"deaths": 2}, id="nested, two deaths"),
        pytest.param(*NESTED_WAITS, {"deaths": 1}, id="a holder waits"),
        pytest.param((3, 3), ((1, 2, -3), (1, 2, -3)), {"deaths": 2}, id="two that need each other"),
        pytest.param((2, 2), ((2, -2), (2, -2)), {"deaths": 2, "births": 2}, id="slots taken over"),
        pytest.param(
            (2, 2, 2), ((2, -2), (2, -2), (1, -1)), {"deaths": 1, "births": 1}, id="a slot taken over"
        ),
        pytest.param((3, 2, 3), ((2, -2), (1, -1), (2, -2)), {"deaths": 2}, id="limits differ"),
        pytest.param(*LOW_LIMIT_GOES[:2], {**LOW_LIMIT_GOES[2], "deaths": 1}, id="a limit rises"),
        pytest.param(
            (3, 2, 3), ((2, -2), (0,), (3, -3)), {"deaths": 1, "births": 1}, id="a low limit goes and comes"
        ),
        pytest.param((3, 2, 3), ((1, 1, -2), (1, -1), (1, -1)), {"deaths": 1}, id="nested, limits differ"),
    ],
)
def test_no_interleaving_over_commits_or_gets_stuck(limits, programs, options):
    result = explorer(limits, programs, **options).run()
    assert (result.over, result.stuck) == (0, 0), result
    assert result.states > 200


@pytest.mark.soak
@pytest.mark.parametrize(
    ("limits", "programs", "options"),
    [
        pytest.param(*NESTED, {"deaths": 1, "births": 1}, id="nested, a slot taken over"),
        pytest.param(
            *NESTED_WAITS, {"deaths": 2, "torn": True}, id="a holder waits, holders read one by one"
        ),
        pytest.param((4, 4, 4), ((2, 2, -4), (2, 1, -3), (3, -3)), {"deaths": 2}, id="two nested, one large"),
        pytest.param((3, 3, 3), ((1, 1, -2), (1, 1, -2), (1, 1, -2)), {"deaths": 2}, id="three nested"),
        pytest.param(
            (2, 2, 2), ((2, -2), (2, -2), (1, -1)), {"deaths": 2, "births": 2}, id="slots taken over"
        ),
    ],
)
def test_no_larger_interleaving_does_either(limits, programs, options):
    result = explorer(limits, programs, **options).run(most=20_000_000)
    assert (result.over, result.stuck) == (0, 0), result


def test_two_resources_are_granted_together_or_not_at_all():
    programs = (((1, 2), (-1, -2)), ((2, 0), (-2, 0)), ((0, 1), (0, -1)))
    result = Explorer(((2, 2),) * 3, programs, deaths=1).run()
    assert (result.over, result.stuck) == (0, 0), result


def test_a_circle_is_refused_and_the_rest_goes_on():
    result = explorer((3, 3), ((1, 2, -3), (1, 2, -3))).run()
    assert result.refused > 0
    assert result.stuck == 0


def view_that_tells_nobody_overtaken(table, slot):
    seen = admission.view(table, slot)
    grantable = {granted for _, granted in seen.grantable}
    return replace(seen, tell=tuple(told for told in seen.tell if told in grantable))


def view_blind_to_limits(table, slot):
    return admission.view(replace(table, binding=frozenset()), slot)


def view_that_reserves_for_nobody(table, slot):
    mine = table.waiter(slot)
    return admission.view(replace(table, held={}, waiters=(mine,)), slot)


@pytest.mark.parametrize(
    ("rules", "limits", "programs", "options"),
    [
        pytest.param(Rules(look_again=False), *PAIR, {"deaths": 1}, id="R1 no second look after a new watch"),
        pytest.param(Rules(one_table=False), *PAIR, {"deaths": 1}, id="R2 watches from another read"),
        pytest.param(Rules(told_on_queue=lambda _t, _s: ()), *NESTED_WAITS, {}, id="R3 waiting tells nobody"),
        pytest.param(
            Rules(view=view_that_tells_nobody_overtaken),
            *NESTED,
            {"deaths": 1},
            id="R4 overtaking silently",
        ),
        pytest.param(
            Rules(told_on_join=lambda _w: ()), *PAIR, {"deaths": 1, "births": 1}, id="R7 joining silently"
        ),
        pytest.param(Rules(view=view_blind_to_limits), *LOW_LIMIT_GOES, id="R8 limits not watched"),
        pytest.param(Rules(told_on_release=lambda _t: ()), *PAIR, {}, id="a release tells nobody"),
        pytest.param(
            Rules(stuck=lambda _t: (), victim=lambda _t: None),
            (3, 3),
            ((1, 2, -3), (1, 2, -3)),
            {},
            id="no door check",
        ),
    ],
)
def test_without_any_one_rule_somebody_gets_stuck(rules, limits, programs, options):
    assert explorer(limits, programs, rules=rules, **options).run().stuck > 0


def test_an_over_commit_is_seen():
    broken = Rules(view=view_that_reserves_for_nobody)
    assert explorer(*PAIR, rules=broken).run().over > 0
