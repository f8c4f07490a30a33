"""What the scheduler says at single events: taken back, put back, kept free, ended."""

from __future__ import annotations

from collections import defaultdict

from pytest_gpuguard.plan.rehearsal import Rehearsal
from pytest_gpuguard.plan.scheduler import Scheduler
from pytest_gpuguard.plan.suite import Need, Suite

LIMITS = {"pinned": 100}
LARGE = Need({"pinned": 60})


class Told:
    """Takes down what workers are told."""

    def __init__(self):
        self.sent, self.stolen, self.ended = defaultdict(list), [], []

    def send(self, worker, tests):
        """Note what is sent."""
        self.sent[worker] += tests

    def steal(self, worker, tests):
        """Note what is asked for."""
        self.stolen.append((worker, list(tests)))

    def end(self, worker):
        """Note who is ended."""
        self.ended.append(worker)


def scheduling(suite, needs, workers, seconds):
    """Return a scheduler that has begun, and what it says."""
    told = Told()
    known = dict.fromkeys(range(suite.size), seconds)
    scheduler = Scheduler(suite, needs, LIMITS, known, len(workers), told, lambda: 0.0)
    for worker in workers:
        scheduler.ready(worker, needs)
    scheduler.go()
    return scheduler, told


def test_a_test_that_had_not_begun_is_nobody_s_and_is_sent_to_another():
    suite = Suite(3, groups={"group": [0, 1, 2]})
    scheduler, told = scheduling(suite, [], ["a"], 0.001)
    assert scheduler.remove("a", lambda test: False) is None
    assert scheduler.left == 3
    scheduler.ready("b")
    scheduler.go()
    assert told.sent["b"] == [0, 1, 2]


def test_the_test_in_which_a_worker_died_is_over():
    scheduler, told = scheduling(Suite(3, groups={"group": [0, 1, 2]}), [], ["a"], 0.001)
    assert scheduler.remove("a", lambda test: test == 0) == 0
    assert scheduler.left == 2
    scheduler.ready("b")
    scheduler.go()
    assert told.sent["b"] == [1, 2]


def test_an_idle_worker_is_given_all_but_what_the_other_has_in_its_hand():
    scheduler, told = scheduling(Suite(40), [], ["a", "b"], 0.001)
    queue, asked = told.sent["b"], 0
    assert len(told.sent["a"]) > 4
    while len(queue) > 1 or len(told.stolen) > asked:
        if len(told.stolen) > asked:
            # One question at a time.
            scheduler.go()
            assert len(told.stolen) == asked + 1
            worker, tests = told.stolen[asked]
            assert worker == "a"
            assert not set(tests) & set(told.sent["a"][:2])
            asked += 1
            told.sent["a"] = [test for test in told.sent["a"] if test not in tests]
            scheduler.give_back("a", tests)
        else:
            scheduler.complete("b", queue.pop(0), 0.001)
    assert len(told.sent["a"]) == 2
    assert told.ended == ["b"]


def test_tests_of_a_group_and_such_as_have_no_room_elsewhere_are_not_taken_back():
    scheduler, told = scheduling(Suite(7, groups={"group": [0, 1, 2, 3, 4]}), [], ["a", "b"], 0.001)
    assert told.sent["a"] == [0, 1, 2, 3, 4]
    scheduler.complete("b", 5, 0.001)
    assert told.stolen == []
    scheduler, told = scheduling(Suite(5, needs=dict.fromkeys(range(3), 0)), [LARGE], ["a", "b"], 0.001)
    assert told.sent["a"] == [0, 1, 2]
    scheduler.complete("b", 3, 0.001)
    assert told.stolen == []


def test_what_a_dead_worker_kept_free_is_free():
    suite = Suite(40, needs=dict.fromkeys(range(8), 0))
    scheduler, told = scheduling(suite, [LARGE], ["a", "b", "c"], 0.3)
    assert set(told.sent["a"]) <= set(range(8))
    assert not set(told.sent["b"]) & set(range(8))
    assert scheduler.remove("a", lambda test: True) == told.sent["a"][0]
    scheduler.go()
    scheduler.complete("b", told.sent["b"][0], 0.3)
    assert told.sent["b"][-1] in suite.needs


def test_what_comes_last_does_not_come_while_others_wait_for_room():
    order = []

    class Ordered(Rehearsal):
        def _hold(self, worker, test):
            order.append(test)
            super()._hold(worker, test)

    suite = Suite(6, needs=dict.fromkeys(range(5), 0), last=[5])
    assert Ordered(suite, [LARGE], LIMITS, [0.1] * 6, 2).run().left == 0
    assert order.index(5) >= 3, order
