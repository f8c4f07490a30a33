"""The public face: leases, limits, refusals and what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

import pytest

import pytest_gpuguard
from pytest_gpuguard import Budget, BudgetDeadlock, BudgetTimeout, BudgetTooLarge, Lease
from pytest_gpuguard.budget import set_limits
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.errors import CATALOGUE

MIB = 1 << 20


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(tmp_path, said):
    """Make budgets that share a folder and are closed at the end."""
    made = []

    def make(limits=None, **options):
        budget = Budget(limits or {"pinned": 1024 * MIB, "slots": 4}, tmp_path, say=said.append, **options)
        made.append(budget)
        return budget

    yield make
    for budget in made:
        budget.close()


def test_what_is_acquired_is_held_until_the_block_ends(make):
    budget = make()
    with budget.acquire({"pinned": "256 MiB", "slots": 1}, label="upload") as lease:
        assert isinstance(lease, Lease)
        assert lease.amounts == {"pinned": 256 * MIB, "slots": 1}
        assert budget.snapshot().free == {"pinned": 768 * MIB, "slots": 3}
    assert budget.snapshot().free == {"pinned": 1024 * MIB, "slots": 4}
    lease.release()
    assert lease.amounts == {}


def test_nothing_is_created_before_the_first_claim(make, tmp_path):
    budget = make()
    assert budget.snapshot().holders == ()
    assert list(tmp_path.iterdir()) == []
    budget.acquire({})
    assert list(tmp_path.iterdir()) == [tmp_path / f"gpuguard-{os.geteuid()}"]


def test_claims_of_one_thread_add_up(make):
    budget = make()
    with budget.acquire({"slots": 2}), budget.acquire({"slots": 2}):
        assert budget.snapshot().free["slots"] == 0
    assert budget.snapshot().free["slots"] == 4


def test_a_lease_shrinks_and_grows(make):
    budget, other = make(), make()
    lease = budget.acquire({"slots": 2, "pinned": 10}, label="resized")
    lease.resize({"slots": 1, "pinned": 20})
    assert lease.amounts == {"slots": 1, "pinned": 20}
    assert other.snapshot().free == {"slots": 3, "pinned": 1024 * MIB - 20}
    assert lease.try_grow({"slots": 4})
    assert not lease.try_grow({"slots": 4, "pinned": 1024 * MIB + 1})
    with pytest.raises(BudgetTooLarge):
        lease.resize({"slots": 1, "pinned": 4096 * MIB})
    assert lease.amounts == {"slots": 4, "pinned": 20}
    lease.release()
    assert other.snapshot().holders == ()
    with pytest.raises(ValueError, match="was released"):
        lease.resize({"slots": 1})


def test_growing_waits_and_a_release_from_another_thread_ends_it(make):
    budget, other = make(), make()
    mine = budget.acquire({"slots": 1})
    theirs = other.acquire({"slots": 3})
    threading.Timer(0.05, theirs.release).start()
    mine.resize({"slots": 4}, timeout=60.0)
    assert mine.amounts == {"slots": 4}
    assert budget.late == 0


def test_it_never_grows_past_somebody_who_waits(make):
    budget, other = make(), make()
    lease = budget.acquire({"slots": 2})
    thread = threading.Thread(target=lambda: other.acquire({"slots": 3}, timeout=60.0).release())
    thread.start()
    while not budget.snapshot().waiters:
        time.sleep(0.002)
    assert not lease.try_grow({"slots": 3})
    lease.release()
    thread.join(60)


def test_a_timeout_names_everybody_and_says_what_to_do(make):
    budget, other = make(), make()
    held = budget.acquire({"pinned": 768 * MIB}, label="gw0 tests/test_solve.py::test_stiff")
    waiting = threading.Thread(
        target=lambda: budget.acquire({"pinned": 512 * MIB}, timeout=60.0, label="gw2").release()
    )
    waiting.start()
    while not other.snapshot().waiters:
        time.sleep(0.002)
    with pytest.raises(BudgetTimeout) as caught:
        other.acquire({"pinned": 300 * MIB}, timeout=0.1, label="gw1")
    held.release()
    waiting.join(60)
    text = str(caught.value)
    assert re.match(r"GPG301: asked for 300\.0 MiB pinned, gave up after \d+\.\d s", text)
    assert "pinned: 1.00 GiB budget, 768.0 MiB held, 256.0 MiB free" in text
    assert f"pid {os.getpid()}  gw0 tests/test_solve.py::test_stiff" in text
    assert "1 request is ahead of this one" in text
    assert "\n  ahead\n" in text
    assert "gw2" in text
    assert "hint:" in text
    assert [holder.amounts for holder in caught.value.snapshot.holders] == [{"pinned": 768 * MIB}]
    assert isinstance(caught.value, TimeoutError)


def test_a_claim_that_waits_for_itself_is_refused_at_once(make):
    budget = make()
    with budget.acquire({"slots": 3}, label="fixture"):
        with pytest.raises(BudgetDeadlock, match=r"GPG302.*own claimant holds(?s:.*)hint") as caught:
            budget.acquire({"slots": 2}, timeout=60.0)
        assert "holds 3 slots" in str(caught.value)
        assert "wants 2 slots" in str(caught.value)


def test_a_circle_of_two_is_refused_at_once_and_names_both(make):
    budget, other = make(), make()
    first, second = budget.acquire({"slots": 2}, label="first"), other.acquire({"slots": 2}, label="second")
    done = threading.Event()

    def wait():
        budget.acquire({"slots": 1}, timeout=60.0)

    # The claim below is that of another thread, so the circle is closed by the main threads of two budgets.
    def nested():
        first.resize({"slots": 3}, timeout=60.0)
        done.set()

    thread = threading.Thread(target=nested)
    thread.start()
    while not other.snapshot().waiters:
        time.sleep(0.002)
    with pytest.raises(BudgetDeadlock, match="2 claimants would wait for one another") as caught:
        second.resize({"slots": 3}, timeout=60.0)
    assert "first" in str(caught.value)
    assert "second" in str(caught.value)
    second.release()
    assert done.wait(5)
    thread.join(60)
    first.release()
    wait()


def test_more_than_there_is_is_refused_at_once(make):
    with pytest.raises(
        BudgetTooLarge, match=r"GPG303: asked for 2.00 GiB pinned; the whole budget is 1.00 GiB"
    ):
        make().acquire({"pinned": 2048 * MIB})


def test_a_resource_without_a_budget_is_refused(make):
    with pytest.raises(BudgetTooLarge, match="of which there is no budget"):
        make().acquire({"gpu.0": 1})


def test_the_smallest_limit_of_all_counts_and_is_said_once(make, said):
    budget = make()
    budget.acquire({"slots": 1}).release()
    assert said == []
    small = make({"slots": 2}, label="small")
    small.acquire({"slots": 1}).release()
    assert [line for line in said if "slots: limits differ (2, 4)" in line] == said
    assert len(said) == 1
    with pytest.raises(
        BudgetTooLarge, match=r"the whole budget is 2(?s:.*)configured here are 4(?s:.*)small"
    ):
        budget.acquire({"slots": 3})
    assert budget.snapshot().limits["slots"] == 2
    assert budget.snapshot().differences == tuple(said)
    small.close()
    with budget.acquire({"slots": 3}):
        pass


def test_a_bad_limits_file_is_ignored_and_said_once(make, said):
    budget = make()
    budget.acquire({"slots": 1}).release()
    (budget.snapshot().directory / "limits.json").write_text('{"slots": "many"}')
    for _ in range(3):
        budget.acquire({"slots": 4}).release()
    assert len(said) == 1
    assert "limits.json is ignored" in said[0]


def test_limits_set_from_outside_hold_at_once(make, tmp_path):
    budget = make()
    budget.acquire({"slots": 4}).release()
    folder = set_limits({"slots": 3}, tmp_path)
    assert folder == budget.snapshot().directory
    with pytest.raises(BudgetTooLarge, match=r"limits.json"):
        budget.acquire({"slots": 4})
    set_limits({}, tmp_path)
    budget.acquire({"slots": 4}).release()


def test_patience_starts_anew_with_every_step_of_those_ahead(make):
    budget, other = make(), make()
    lease = budget.acquire({"slots": 4})
    stop = threading.Event()

    def step():
        while not stop.wait(0.05):
            budget.progress()

    thread = threading.Thread(target=step)
    thread.start()
    started = time.monotonic()
    with pytest.raises(BudgetTimeout, match=r"gave up after ([3-9]|[1-9]\d)"):
        other.acquire({"slots": 1}, patience=2.0, timeout=3.0)
    assert time.monotonic() - started >= 3.0
    stop.set()
    thread.join()
    with pytest.raises(BudgetTimeout, match="without progress of anybody ahead"):
        other.acquire({"slots": 1}, patience=0.1)
    lease.release()


def test_closing_ends_the_waits_of_other_threads(make):
    budget, other = make(), make()
    errors = []

    def wait():
        try:
            other.acquire({"slots": 1}, timeout=60.0)
        except RuntimeError as error:
            errors.append(str(error))

    with budget.acquire({"slots": 4}):
        thread = threading.Thread(target=wait)
        thread.start()
        while not budget.snapshot().waiters:
            time.sleep(0.002)
        other.close()
        thread.join(60)
        assert "was closed" in errors[0]
        assert budget.snapshot().waiters == ()


def test_a_budget_closed_between_two_looks_of_a_waiter_leaves_it_its_descriptors(make):
    def seam(step):
        if step == "look: before ring" and not closing:
            closing.append(threading.Thread(target=other.close))
            closing[0].start()
            closing[0].join(60)

    closing = []
    budget, other = make(), make(settings=Settings(seam=seam))
    with budget.acquire({"slots": 4}):
        # Not "bad file descriptor", and above all not somebody else's file under the same number.
        with pytest.raises(RuntimeError, match="was closed"):
            other.acquire({"slots": 1}, timeout=60.0)
        assert closing
        assert budget.snapshot().waiters == ()


def test_a_wait_without_any_bound_is_refused(make):
    with pytest.raises(ValueError, match="every wait is bounded"):
        make().acquire({"slots": 1}, timeout=None, patience=None)


def test_snapshot_tells_why_each_waits(make):
    budget, other = make(), make()
    with budget.acquire({"slots": 3}, label="holder"):
        thread = threading.Thread(
            target=lambda: other.acquire({"slots": 2}, timeout=60.0, label="asks").release()
        )
        thread.start()
        while not (waiters := budget.snapshot().waiters):
            time.sleep(0.002)
        assert waiters[0].person.label == "asks"
        assert waiters[0].reason == "1 slots more must come free"
        holder = budget.snapshot().holders[0]
        assert (holder.person.label, holder.person.state, holder.person.pid) == (
            "holder",
            "running",
            os.getpid(),
        )
        assert 0 <= holder.seconds < 60
    thread.join(60)


def test_an_outsider_may_look_without_joining(make, tmp_path):
    with make().acquire({"slots": 3}, label="holder"):
        outsider = Budget({"slots": 1}, tmp_path)
        assert outsider.snapshot().limits["slots"] == 4
        assert outsider.snapshot().participants == 1


def test_labels_cannot_reach_the_terminal(make):
    with make().acquire({"slots": 1}, label="\x1b[31mred\nrow" + "x" * 9000) as _:
        label = make().snapshot().holders[0].person.label
    assert label.isprintable()
    assert len(label) <= 512


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "é"])
def test_names_that_cannot_be_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="a resource is named by"):
        Budget({name: 1}, tmp_path)
    if name != "é":
        with pytest.raises(ValueError, match="a pool is named by"):
            Budget({"u": 1}, tmp_path, pool=name)


def test_a_finaliser_may_release_in_the_middle_of_a_claim(tmp_path):
    leases = []

    def seam(step):
        if step == "take: all held" and leases:
            leases.pop().release()

    budget = Budget({"u": 8}, tmp_path, settings=Settings(seam=seam))
    leases.append(budget.acquire({"u": 3}))
    with budget.acquire({"u": 2}):
        assert leases == []
        assert budget.snapshot().free == {"u": 6}
    assert budget.snapshot().free == {"u": 8}


def test_a_budget_nobody_holds_any_more_gives_everything_back(tmp_path):
    budget = Budget({"u": 8}, tmp_path)
    lease = budget.acquire({"u": 8})
    del budget, lease
    import gc

    gc.collect()
    Budget({"u": 8}, tmp_path).acquire({"u": 8}, timeout=60.0).release()


def test_no_clock_of_the_wall_and_no_pid_decides_anything(tmp_path, monkeypatch):
    import psutil

    def forbidden(*_args, **_kwargs):
        raise AssertionError("a decision looked at the wall clock or at processes")

    monkeypatch.setattr(time, "time", forbidden)
    monkeypatch.setattr(time, "time_ns", forbidden)
    monkeypatch.setattr(os, "kill", forbidden)
    for name in ("Process", "pid_exists", "process_iter", "pids"):
        monkeypatch.setattr(psutil, name, forbidden)
    one = Budget({"u": 8}, tmp_path, settings=Settings(safety=20.0))
    two = Budget({"u": 8}, tmp_path, settings=Settings(safety=20.0))
    lease = one.acquire({"u": 8})
    threading.Timer(0.05, lease.release).start()
    with two.acquire({"u": 8}, timeout=60.0), pytest.raises(BudgetTimeout):
        one.acquire({"u": 1}, timeout=0.01)
    with one.acquire({"u": 5}), pytest.raises(BudgetDeadlock):
        one.acquire({"u": 5})


def test_every_code_is_in_the_catalogue():
    assert {f"GPG30{digit}" for digit in range(1, 8)} <= CATALOGUE.keys()


def test_the_public_names_are_loaded_only_when_asked_for():
    code = (
        "import sys, pytest_gpuguard\n"
        "heavy = {'filelock', 'psutil', 'msgspec', 'pytest_gpuguard.budget', 'logging'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "from pytest_gpuguard import Budget, Lease, BudgetTimeout, BudgetTooLarge, BudgetDeadlock\n"
        "assert 'pytest' not in sys.modules and 'psutil' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], check=True
    )
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = pytest_gpuguard.Nothing


def test_who_has_to_wait_is_told_once_who_is_in_the_way(make):
    first, second, told = make(label="first"), make(label="second"), []
    lease = first.acquire({"slots": 4}, label="all of it")
    assert second.acquire({"pinned": 1}, on_wait=told.append)
    assert told == []

    def seen(snapshot):
        told.append(snapshot)
        lease.release()

    with second.acquire({"slots": 1}, timeout=60.0, on_wait=seen):
        (snapshot,) = told
        assert [holder.person.label for holder in snapshot.holders] == ["all of it", "second"]
        assert [waiter.amounts for waiter in snapshot.waiters] == [{"slots": 1}]


def test_who_is_told_and_fails_leaves_the_line(make):
    first, second = make(), make()
    lease = first.acquire({"slots": 4})

    def fail(_snapshot):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        second.acquire({"slots": 1}, on_wait=fail)
    assert first.snapshot().waiters == ()
    lease.release()
    second.acquire({"slots": 4}, timeout=60.0).release()
