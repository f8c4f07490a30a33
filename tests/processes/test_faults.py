"""Death, stops, interrupts, errors and forks at every step: nothing leaks and nobody waits for ever."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from pytest_gpuguard.budget import Budget, BudgetTimeout, set_limits
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.ledger.cleanup import OURS
from pytest_gpuguard.ledger.errors import LedgerBusy
from tests.processes.children import Child, at, die, freeze

LIMITS = {"u": 8, "v": 8}
SHARE = {"u": 5, "v": 2}
LONG = 90.0

JOINING = [
    "join: folder made",
    "join: folder locked",
    "join: files made",
    "join: pipe made",
    "join: slot locked",
    "join: limit locked",
    "join: note made",
    "note written",
]
AT_ONCE = [
    "begin: mutex held",
    "take: before a resource",
    "take: resource held",
    "take: all held",
    "give: resource given",
    "release: given",
    "release: before ring",
]
IN_LINE = [
    "queue: want locked",
    "queue: ticket locked",
    "begin: before ring",
    "wait: watching",
    "look: mutex held",
    "look: table read",
    "unqueue: ticket dropped",
    "unqueue: want dropped",
    "look: before ring",
]
GIVING_UP = ["withdraw: before ring"]
STEPS = [*JOINING, *AT_ONCE, *IN_LINE, *GIVING_UP]
# The second time is another place: the second resource of a vector, the grant in line, the withdrawal.
AGAIN = [
    "join: limit locked",
    "begin: mutex held",
    "take: before a resource",
    "take: resource held",
    "take: all held",
    "give: resource given",
    "release: given",
    "release: before ring",
    "queue: want locked",
    "queue: ticket locked",
    "begin: before ring",
    "unqueue: ticket dropped",
    "unqueue: want dropped",
]
POINTS = [*((step, 1) for step in STEPS), *((step, 2) for step in AGAIN)]


def budget_with(root, seam=lambda _: None, **settings):
    # Without a safety poll: whoever is not woken runs out of time.
    return Budget(LIMITS, root, settings=Settings(safety=600.0, seam=seam, **settings), label="child")


def life(root, seam, say, hear, errors=()):
    """Claim at once, claim in line, give up a claim; ``say`` after each; go on after ``errors``."""
    budget = budget_with(root, seam)

    def claim(expected=(), **options):
        lease = None
        try:
            lease = budget.acquire(SHARE, **options)
            lease.release()
        except expected:
            pass
        except errors as error:
            say(f"{type(error).__name__}")
            if lease is not None:
                lease.release()

    claim()
    say("claimed")
    hear()
    claim()
    say("waited")
    hear()
    claim(expected=BudgetTimeout, timeout=0.03)
    say("gave up")
    hear()


@contextmanager
def living(root, seam_of, errors=(), **settings):
    """Drive one life from outside; yield the child and a budget that saw all of it."""

    def body(say, hear):
        life(root, seam_of(say), say, hear, errors)

    child = Child(body)
    outside = budget_with(root, **settings)
    try:
        yield child, outside
    finally:
        child.kill()
        outside.close()


def hear_until(child, *lines):
    while (line := child.hear()) not in (*lines, ""):
        pass
    return line


def drive(child, outside):
    """Take the child through its life, or to where it dies."""
    if hear_until(child, "claimed"):
        lease = outside.acquire(LIMITS, timeout=LONG)
        child.say()
        wait_until(lambda: outside.snapshot().waiters or child.has_said())
        lease.release()
        if hear_until(child, "waited"):
            with outside.acquire(LIMITS, timeout=LONG):
                child.say()
                hear_until(child, "gave up")


def gone(child):
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_until(condition, seconds=LONG):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def assert_all_is_there(outside):
    with outside.acquire(LIMITS, timeout=LONG):
        snapshot = outside.snapshot()
        assert [holder.amounts for holder in snapshot.holders] == [LIMITS]
        assert snapshot.waiters == ()
    assert outside.late == 0


def test_a_whole_life_makes_every_step(tmp_path):
    def seam_of(say):
        return lambda step: say(f"step {step}")

    with living(tmp_path, seam_of) as (child, outside):
        made = Counter()
        original = child.hear
        child.hear = lambda: made.update([line := original()]) or line
        drive(child, outside)
        steps = {
            line.removeprefix("step "): times for line, times in made.items() if line.startswith("step ")
        }
        assert steps.keys() == set(STEPS)
        assert [step for step in AGAIN if steps[step] < 2] == []


@pytest.mark.parametrize(("step", "times"), POINTS)
def test_killed_at_any_step_gives_everything_back(tmp_path, step, times):
    with living(tmp_path, lambda _say: at(step, die, times)) as (child, outside):
        drive(child, outside)
        assert gone(child)
        assert_all_is_there(outside)
        assert outside.snapshot().participants == 1


def interrupt(_step):
    raise KeyboardInterrupt


def fail(_step):
    raise OSError(errno.ENOSPC, "no space left")


@pytest.mark.parametrize("action", [interrupt, fail])
@pytest.mark.parametrize(("step", "times"), POINTS)
def test_interrupted_at_any_step_leaks_nothing_while_it_lives_on(tmp_path, step, times, action):
    seam = at(step, action, times)
    with living(tmp_path, lambda _say: seam, (KeyboardInterrupt, OSError)) as (child, outside):
        drive(child, outside)
        assert not gone(child)
        assert_all_is_there(outside)


@pytest.mark.parametrize("step", STEPS)
def test_forked_at_any_step_the_copy_keeps_nothing(tmp_path, step):
    copies = []

    def seam_of(say):
        def fork(_step):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            say(f"forked {pid}")

        return at(step, fork)

    with living(tmp_path, seam_of) as (child, outside):
        original = child.hear

        def hear():
            line = original()
            if line.startswith("forked "):
                copies.append(int(line.split()[1]))
            return line

        child.hear = hear
        try:
            drive(child, outside)
            assert copies
            child.kill()
            assert_all_is_there(outside)
            # The copy closes its descriptors in its own time.
            wait_until(lambda: outside.snapshot().participants == 1)
        finally:
            for pid in copies:
                os.kill(pid, 9)


@pytest.mark.parametrize(("step", "times"), POINTS)
def test_stopped_at_any_step_and_going_on_nothing_is_lost(tmp_path, step, times):
    def seam_of(say):
        def stop(_step):
            stopped = os.getpid()
            helper = os.fork()
            if helper == 0:
                while state(stopped) not in "TX":
                    time.sleep(0.001)
                os.kill(stopped, signal.SIGCONT)
                os._exit(0)
            os.kill(stopped, signal.SIGSTOP)
            os.waitpid(helper, 0)
            say("was stopped")

        return at(step, stop, times)

    with living(tmp_path, seam_of) as (child, outside):
        original, said = child.hear, []
        child.hear = lambda: said.append(line := original()) or line
        drive(child, outside)
        assert "was stopped" in said
        assert_all_is_there(outside)


def test_killed_while_limits_are_set_the_old_ones_stand(tmp_path):
    folder = set_limits({"u": 7}, tmp_path)
    child = Child(lambda _say, _hear: set_limits({"u": 3}, tmp_path, seam=at("limits: before rename", die)))
    assert child.hear() == ""
    child.wait()
    with budget_with(tmp_path) as outside, outside.acquire({"u": 7}, timeout=LONG):
        assert outside.snapshot().limits["u"] == 7
        set_limits({"u": 2}, tmp_path)
        assert outside.snapshot().limits["u"] == 2
    assert {path.name for path in folder.iterdir() if not OURS.fullmatch(path.name)} == set()


@pytest.mark.parametrize("step", ["begin: mutex held", "take: all held"])
def test_stopped_inside_the_mutex_others_fail_in_time_and_are_told_who(tmp_path, step):
    with living(tmp_path, lambda _say: at(step, freeze), mutex_timeout=0.5) as (child, outside):
        wait_until(lambda: state(child.pid) == "T")
        with pytest.raises(LedgerBusy, match=rf"GPG304.*pid {child.pid} \(stopped\)"):
            outside.acquire({"u": 1}, timeout=LONG)
        child.go_on()
        assert hear_until(child, "claimed")
    with budget_with(tmp_path) as patient:
        assert_all_is_there(patient)


def state(pid):
    """Return the letter of a process's state, X when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"
