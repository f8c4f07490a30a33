"""What is learnt of tests, and what of it the scheduler and people get."""

from __future__ import annotations

from pytest_gpuguard.plan.history import (
    History,
    Measured,
    read_history,
    stored,
    suggestions,
    with_peaks,
    wrong_claims,
)
from pytest_gpuguard.plan.suite import Need, Suite

MIB = 1 << 20


def test_the_last_run_counts_as_much_as_all_before_it():
    history = History()
    used = {"a": Measured({}, {"pinned": 7}), "b": Measured({"pinned": 5}, {"pinned": 6})}
    history.learn({"a": 1.0, "b": 2.0}, used)
    history.learn({"a": 2.0}, {}, ["device"])
    assert history.seconds == {"a": 1.5, "b": 2.0}
    assert history.peaks == {"b": {"pinned": 5}}
    assert history.claims == {"b": {"pinned": 6}}
    assert history.shared == ["device"]
    assert history.known(["b", "c", "a"]) == {0: 2.0, 2: 1.5}


def test_what_is_not_understood_is_nothing():
    assert read_history(b'{"seconds": {"a": "long"}}') == History()
    assert read_history(b"") == History()
    assert read_history(b'{"later": ' + b"[" * 100_000) == History()
    assert read_history(b'{"seconds": {"\xff": 1}}') == History()
    assert read_history(b'{"seconds": {"a": 1.0}, "of later versions": 1}').seconds == {"a": 1.0}


def test_what_is_kept_is_read_again_but_for_names_that_are_no_text():
    history = History({"a": 1.0, "caf\xe9": 2.0}, {"a": {"pinned": 1}}, {"a": {"pinned": 2}}, ["device"])
    assert read_history(stored(history)) == history
    torn = History({**history.seconds, "\udcff": 3.0}, history.peaks, history.claims, history.shared)
    assert read_history(stored(torn)) == history


def test_tests_that_say_nothing_have_the_need_that_was_measured():
    suite, needs = Suite(5, needs={0: 0}), [Need({"pinned": 7})]
    ids = ["a", "b", "c", "d", "e"]
    peaks = {"a": {"pinned": 500}, "b": {"pinned": 500}, "c": {"pinned": 510}, "d": {"pinned": 1}, "x": {}}
    limits = {"pinned": 640}
    suite, needs = with_peaks(suite, needs, ids, peaks, limits)
    # Marks are believed; what is nearly the same is the same; little is nothing.
    assert suite.needs == {0: 0, 1: 1, 2: 2}
    assert [need.amounts["pinned"] for need in needs] == [7, 500, 520]


def test_claims_far_above_what_was_used_or_under_it_are_told():
    run = {
        "above": Measured({"pinned": 10 * MIB}, {"pinned": 50 * MIB, "pinned.regions": 1}),
        "well": Measured({"pinned": 10 * MIB}, {"pinned": 40 * MIB}),
        "under": Measured({"pinned": 10 * MIB}, {"pinned": 9 * MIB}),
        "unmeasured": Measured({}, {"pinned": 50 * MIB}),
    }
    assert wrong_claims(run) == [
        "above claims 50.0 MiB pinned, and used only 10.0 MiB",
        "under claims 9.0 MiB pinned, and used 10.0 MiB",
    ]


def test_marks_are_suggested_by_function_with_the_most_of_its_parameters():
    run = {
        "t.py::test_a[1]": Measured({"pinned": 10 * MIB + 1, "gpu.sim": MIB, "gpu.sim.slots": 1}),
        "t.py::test_a[2]": Measured({"pinned": 3 * MIB}, {"pinned": 64 * MIB}),
        "t.py::test_b": Measured({"pinned.regions": 1}),
        "t.py::test_c": Measured(),
    }
    lines = [line for line in suggestions(run).splitlines() if not line.startswith("#")]
    assert lines == [
        't.py::test_a: @pytest.mark.gpu(memory="1 MiB", pinned="11 MiB")  # claims 64.0 MiB pinned'
    ]
