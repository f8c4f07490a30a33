"""Every test once, groups together, never more than there is: over random suites, in virtual time."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gpuguard.plan.rehearsal import Rehearsal, lower_bound
from pytest_gpuguard.plan.scheduler import Scheduler
from pytest_gpuguard.plan.suite import Need, Suite

LIMITS = {"pinned": 100, "gpu.0": 10}


NOTHING = st.just({})
KEPT = NOTHING | st.sampled_from(
    [{"context": {"gpu.0": 1}}, {"pool": {"pinned": 30}}, {"large": {"pinned": 80}}]
)


@st.composite
def suites(draw, kept=NOTHING):
    """A suite with its needs; every second test or so has one, some are in groups, some share things."""
    size = draw(st.integers(1, 40))
    amounts = st.fixed_dictionaries({}, optional={"pinned": st.integers(1, 120), "gpu.0": st.integers(1, 10)})
    needs = [Need(*parts) for parts in draw(st.lists(st.tuples(amounts, kept), min_size=1, max_size=4))]
    tests = range(size)
    kinds = draw(st.dictionaries(st.sampled_from(tests), st.integers(0, len(needs) - 1)))
    names = draw(st.lists(st.sampled_from(["", "", "", "a", "b", "c"]), min_size=size, max_size=size))
    keys = draw(st.lists(st.sampled_from(["", "", "x", "y"]), min_size=size, max_size=size))
    suite = Suite(
        size,
        groups={name: [test for test in tests if names[test] == name] for name in set(names) - {""}},
        affinity={key: [test for test in tests if keys[test] == key] for key in set(keys) - {""}},
        needs=kinds,
        last=draw(st.lists(st.sampled_from(tests), unique=True, max_size=3)),
    )
    seconds = draw(st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.5, 3.0]), min_size=size, max_size=size))
    return suite, needs, seconds


@given(suites(KEPT), st.integers(1, 6), st.booleans(), st.data())
@settings(max_examples=400, deadline=None)
def test_every_test_runs_once_and_groups_stay_together(given_suite, workers, known, data):
    suite, needs, seconds = given_suite
    deaths = data.draw(st.sets(st.sampled_from(range(suite.size)), max_size=3), label="deadly tests")
    run = Rehearsal(
        suite,
        needs,
        LIMITS,
        seconds,
        workers,
        dict(enumerate(seconds)) if known else {},
        delay=data.draw(st.sampled_from([0.0, 0.05]), label="delay"),
        dies=lambda test: test in deaths,
    ).run()
    assert run.left == 0
    assert run.ran == dict.fromkeys(range(suite.size), 1)
    assert sorted(run.crashed) == sorted(deaths)
    # Whoever dies takes the group that it was at with it, to one other.
    for members in suite.groups.values():
        assert len({run.where[test] for test in members}) <= 1 + len(deaths)


@given(suites(), st.integers(1, 6), st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_is_held_at_once_never_passes_a_limit(given_suite, workers, known):
    suite, needs, seconds = given_suite
    run = Rehearsal(suite, needs, LIMITS, seconds, workers, dict(enumerate(seconds)) if known else {}).run()
    assert run.left == 0
    # What is more than there ever is is refused by the lease at once: it holds nothing.
    refused = [need for need in needs if need.amounts.get("pinned", 0) > 100]
    if not any(needs[number] in refused for number in suite.needs.values()):
        assert all(run.peak[name] <= limit for name, limit in LIMITS.items())
    for members in suite.groups.values():
        assert len({run.where[test] for test in members}) == 1


def test_what_workers_keep_to_their_end_counts_as_long_as_they_live():
    needs = [Need({"gpu.0": 2}, {"context": {"gpu.0": 4}})]
    suite = Suite(20, needs=dict.fromkeys(range(0, 20, 2), 0))
    run = Rehearsal(suite, needs, {"gpu.0": 10}, [0.1] * 20, 4).run()
    assert run.left == 0
    # Two contexts and one test, or one context and one test: three contexts would leave nothing to run with.
    assert run.peak["gpu.0"] <= 10


def test_a_run_ends_although_what_is_kept_leaves_no_room():
    needs = [Need({"pinned": 1}, {name: {"pinned": 60}}) for name in ("one", "other")]
    suite = Suite(8, needs={test: test % 2 for test in range(8)})
    run = Rehearsal(suite, needs, {"pinned": 100}, [0.1] * 8, 2).run()
    assert run.left == 0
    assert run.ran.total() == 8


def order_of(suite, needs, limits, workers, seconds=0.1):
    """Run a suite, of which no test may be held up; return its tests in the order in which they began."""
    order = []

    class Ordered(Rehearsal):
        def _hold(self, worker, test):
            order.append(test)
            super()._hold(worker, test)
            assert all(self._held[name] <= limit for name, limit in limits.items())

    assert Ordered(suite, needs, limits, [seconds] * suite.size, workers).run().left == 0
    return order


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_what_leaves_no_room_for_others_once_it_is_set_up_comes_after_them(workers):
    # Beside the session fixture there is never room for the large ones.
    fixture = {"fixture pool": {"pinned": 40}}
    needs = [Need({}, fixture), Need({"pinned": 70}), Need({"pinned": 20}), Need({"pinned": 10}, fixture)]
    suite = Suite(24, needs={test: test % 4 for test in range(24)})
    order = order_of(suite, needs, {"pinned": 100}, workers)
    large = [order.index(test) for test in range(24) if test % 4 == 1]
    first = min(order.index(test) for test in range(24) if test % 4 in {0, 3})
    assert max(large) < first


def test_users_of_one_session_fixture_line_up_where_there_is_room_for_one_alone():
    needs = [Need({"pinned": 10}, {"fixture pool": {"pinned": 60}})]
    suite = Suite(24, needs=dict.fromkeys(range(0, 24, 3), 0))
    run = Rehearsal(suite, needs, {"pinned": 100}, [0.1] * 24, 4).run()
    assert run.left == 0
    assert run.peak["pinned"] == 70
    assert len({run.where[test] for test in suite.needs}) == 1


def test_a_fixture_that_leaves_no_room_for_its_own_test_is_the_lease_s_to_refuse():
    needs = [Need({"pinned": 60}, {"fixture pool": {"pinned": 60}}), Need({"pinned": 90})]
    suite = Suite(8, needs={test: test % 2 for test in range(8)})
    assert Rehearsal(suite, needs, {"pinned": 100}, [0.1] * 8, 2).run().left == 0


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_fixtures_that_have_no_room_beside_each_other_are_all_set_up(workers, seconds):
    needs = [Need({}, {"pool": {"pinned": 30}}), Need({}, {"large": {"pinned": 80}})]
    for kinds in (
        {0: 0, 1: 1},
        {0: 1, 1: 0},
        {0: 0, 1: 1, 2: 0, 3: 1},
        {test: test % 2 for test in range(9)},
    ):
        suite = Suite(len(kinds) + 1, needs=kinds)
        run = Rehearsal(suite, needs, {"pinned": 100}, [seconds] * suite.size, workers).run()
        assert run.left == 0


EXCLUSIVE, SHARED, ELSEWHERE = Need({"gpu.0.slots": 64}), Need({"gpu.0.slots": 1}), Need({"gpu.1.slots": 64})


@given(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1, max_size=30), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_an_exclusive_device_has_one_test_and_a_shared_one_has_many(kinds, workers):
    suite = Suite(len(kinds), needs={test: kind for test, kind in enumerate(kinds) if kind < 3})
    spans = {}

    class Timed(Rehearsal):
        def _hold(self, worker, test):
            super()._hold(worker, test)
            spans[test] = (self._now, self._now + 0.1)

    run = Timed(
        suite,
        [EXCLUSIVE, SHARED, ELSEWHERE],
        {"gpu.0.slots": 64, "gpu.1.slots": 64},
        [0.1] * len(kinds),
        workers,
    ).run()
    assert run.left == 0
    alone = [test for test, kind in enumerate(kinds) if kind == 0]
    for test in alone:
        others = (other for other, kind in enumerate(kinds) if kind in {0, 1} and other != test)
        assert all(
            spans[other][1] <= spans[test][0] + 1e-9 or spans[other][0] >= spans[test][1] - 1e-9
            for other in others
        )


def test_tests_that_share_a_device_run_together():
    run = Rehearsal(
        Suite(16, needs=dict.fromkeys(range(16), 0)), [SHARED], {"gpu.0.slots": 64}, [0.1] * 16, 4
    )
    assert run.run().span == pytest.approx(0.4)


def test_an_exclusive_test_runs_beside_what_its_own_worker_keeps_of_the_device():
    kept = {"fixture pool": {"gpu.0.slots": 1}}
    needs = [Need({}, kept), EXCLUSIVE]
    suite = Suite(6, needs={test: test % 2 for test in range(6)})
    order = order_of(suite, needs, {"gpu.0.slots": 64}, 1)
    assert sorted(order) == list(range(6))


def contention():
    """Six long tests that exclude each other, among thirty short ones without a need."""
    suite = Suite(36, needs=dict.fromkeys(range(0, 36, 6), 0))
    seconds = [0.5 if test in suite.needs else 0.1 for test in range(36)]
    return suite, [Need({"pinned": 60})], {"pinned": 100}, seconds


@pytest.mark.parametrize("known", [False, True], ids=["unknown durations", "known durations"])
def test_contenders_line_up_on_one_worker_and_the_other_takes_all_else(known):
    suite, needs, limits, seconds = contention()
    run = Rehearsal(
        suite, needs, limits, seconds, 2, dict(enumerate(seconds)) if known else {}, delay=0.002
    ).run()
    assert run.peak == {"pinned": 60}
    assert run.span <= 3.1
    assert len({run.where[test] for test in suite.needs}) == 1


def workload(seed, workers):
    """A fifth of the tests need a fifth of the budget up to all of it; one group."""
    draw, scale = random.Random(seed), max(1, workers // 4)
    tests = list(range(130 * scale + 20))
    draw.shuffle(tests)
    needs = [Need({"pinned": amount}) for amount in range(20, 101, 10)]
    suite = Suite(
        len(tests),
        groups={"group": sorted(tests[30 * scale : 30 * scale + 20])},
        needs={test: draw.randrange(len(needs)) for test in tests[: 30 * scale]},
    )
    return suite, needs, {"pinned": 100 * scale}, [draw.uniform(0.01, 0.3) for _ in tests]


@pytest.mark.parametrize("workers", [2, 4, 8, 16])
@pytest.mark.parametrize(("known", "factor"), [(False, 1.10), (True, 1.05)], ids=["unknown", "known"])
def test_random_workloads_come_close_to_what_no_scheduler_can_beat(workers, known, factor):
    ratios = []
    for seed in range(5):
        suite, needs, limits, seconds = workload(seed, workers)
        run = Rehearsal(
            suite, needs, limits, seconds, workers, dict(enumerate(seconds)) if known else {}, delay=0.002
        ).run()
        assert run.peak["pinned"] <= limits["pinned"]
        ratios.append(run.span / lower_bound(suite, needs, limits, seconds, workers))
    assert median(ratios) <= factor


def test_tests_that_share_something_go_to_one_worker_where_that_costs_nothing():
    keys = {f"set {number}": list(range(number, 80, 4)) for number in range(4)}
    run = Rehearsal(Suite(80, affinity=keys), [], {}, [0.1] * 80, 2).run()
    changes = {key: len({run.where[test] for test in members}) for key, members in keys.items()}
    # One set may be helped with at the end.
    assert sorted(changes.values())[:3] == [1, 1, 1]


def test_what_comes_last_does():
    needs = [Need({"pinned": 60})]
    suite = Suite(20, needs={3: 0, 4: 0, 10: 0}, last=[0, 3])
    assert set(order_of(suite, needs, {"pinned": 100}, 2)[-2:]) == {0, 3}


def test_a_long_queue_behind_a_long_test_is_taken_back():
    # Nothing is known: a chunk of short tests goes out, the first of which turns out to be long.
    seconds = [2.0] + [0.001] * 600
    run = Rehearsal(Suite(601, groups={"g": [600]}), [], {}, seconds, 2).run()
    assert run.left == 0
    assert run.span == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("free", range(3, 12))
def test_nothing_stays_behind_a_long_test_but_what_its_worker_has_in_its_hand(free):
    seconds = [9.0] + [0.05] * free
    run = Rehearsal(Suite(free + 1), [], {}, seconds, 2, delay=0.001).run()
    assert run.left == 0
    assert sum(worker == run.where[0] for worker in run.where.values()) <= 2


def test_what_is_rehearsed_is_the_same_each_time():
    # The plan that is shown is the one of the run: nothing in it may hang on where objects are in memory.
    suite, needs, limits, seconds = workload(7, 8)
    keep, places = [], []
    for _ in range(4):
        run = Rehearsal(suite, needs, limits, seconds, 8, delay=0.002).run()
        keep.append(bytearray(12345))
        places.append((run.span, run.where))
    assert places == [places[0]] * 4


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_no_more_is_sent_at_once_than_xdist_was_told(chunk):
    sent = []

    class Told:
        def send(self, worker, tests):
            sent.append(len(tests))

        def steal(self, worker, tests): ...

        def end(self, worker): ...

    suite = Suite(200, groups={"group": list(range(100, 200))})
    scheduler = Scheduler(suite, [], {}, dict.fromkeys(range(200), 0.001), 2, Told(), lambda: 0.0, chunk)
    for worker in range(2):
        scheduler.ready(worker)
    scheduler.go()
    assert max(sent) == (max(2, chunk) if chunk else 100), sent
