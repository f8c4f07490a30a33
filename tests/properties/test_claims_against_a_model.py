"""Claimants with real kernel locks and pipes, in one process, against a perfect model.

A "process" is a claimant with its own open file descriptions; killing it is closing them without unlocking.
No waiter ever polls: it looks again only when its own pipe was rung or a pipe it watches hung up.
"""

# ruff: noqa: D101, D102 - rules and invariants say what they are by name

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from pytest_gpuguard.budget import admission
from pytest_gpuguard.budget.claimant import Claimant
from pytest_gpuguard.budget.errors import BudgetDeadlock, BudgetTooLarge
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.budget.standing import set_limits
from pytest_gpuguard.ledger.entrance import open_pool
from pytest_gpuguard.ledger.reader import Reader
from pytest_gpuguard.ledger.wakeup import Wake, Watches, drain

LIMITS = {"a": 8, "b": 4}
AMOUNTS = st.fixed_dictionaries({"a": st.integers(0, 8), "b": st.integers(0, 4)}).map(
    lambda amounts: {name: amount for name, amount in amounts.items() if amount}
)


class Process:
    """A claimant, what the model says it holds and wants, and its sleep."""

    def __init__(self, claimant, limits):
        self.claimant = claimant
        self.limits = limits
        self.held = dict.fromkeys(LIMITS, 0)
        self.wants = None
        self.watches = None
        self.awake = False

    @property
    def slot(self):
        return self.claimant.member.slot


class Claims(RuleBasedStateMachine):
    processes = Bundle("processes")

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.said = []
        self.line = []
        self.everybody = []
        self.ever = []  # also those who left: none may owe its end to the garbage collector
        self.file_limits = {}
        self.auditor = Reader(open_pool(self.root, "host"), self.said.append)

    def teardown(self):
        for process in list(self.everybody):
            self._close(process)
        assert self.auditor.participants() == []
        assert self.auditor.read().held == {}
        self.auditor.close()
        shutil.rmtree(self.root)

    # What people do

    @precondition(lambda self: len(self.everybody) < 5)
    @rule(target=processes, low=st.sampled_from([None, None, None, 5]))
    def join(self, low):
        limits = LIMITS if low is None else {"a": low, "b": 4}
        still = Settings(monotonic=lambda: 0.0)
        claimant = Claimant(open_pool(self.root, "host"), limits, "test", self.said.append, still)
        process = Process(claimant, limits)
        self.everybody.append(process)
        self.ever.append(process)
        return process

    @rule(process=processes, wants=AMOUNTS)
    def claim(self, process, wants):
        if process.wants is not None or process not in self.everybody or not wants:
            return
        limits = self.limits()
        too_large = any(amount > limits[name] for name, amount in wants.items())
        at_once = not self.line and all(amount <= self.free()[name] for name, amount in wants.items())
        circle = not too_large and not at_once and self.never_served(process, wants)
        try:
            granted = process.claimant.begin(wants)
        except BudgetTooLarge:
            assert too_large
        except BudgetDeadlock:
            assert circle
        else:
            assert not too_large
            assert not circle
            assert granted == at_once
            if granted:
                self._grant(process, wants)
            else:
                process.wants = wants
                process.watches = Watches(process.claimant.member.folder, process.claimant.member.bell)
                self.line.append(process)
                self._look(process)

    @rule(process=processes, share=st.one_of(st.just(LIMITS), AMOUNTS))
    def release(self, process, share):
        if process not in self.everybody:
            return
        share = {name: min(amount, process.held[name]) for name, amount in share.items()}
        share = {name: amount for name, amount in share.items() if amount}
        process.claimant.release(share)
        for name, amount in share.items():
            process.held[name] -= amount

    @rule(process=processes, target_amounts=AMOUNTS)
    def grow_without_waiting(self, process, target_amounts):
        if process not in self.everybody or process.wants is not None or not target_amounts:
            return
        before = self.free()
        if process.claimant.try_take(target_amounts):
            assert all(amount <= before[name] for name, amount in target_amounts.items())
            self._grant(process, target_amounts)
        else:
            assert self.line or any(amount > before[name] for name, amount in target_amounts.items())

    @rule(process=processes)
    def lose_patience(self, process):
        if process in self.line:
            self._withdraw(process)

    @rule(process=consumes(processes))
    def kill(self, process):
        if process in self.everybody:
            self._close(process)

    @rule(process=consumes(processes))
    def leave(self, process):
        if process in self.everybody and process.wants is None:
            process.claimant.leave()
            self.everybody.remove(process)
            assert process.slot < 0

    @rule(limits=st.one_of(st.just({}), st.fixed_dictionaries({"a": st.integers(1, 8)})))
    def set_limits(self, limits):
        self.file_limits = limits
        set_limits(limits, self.root)

    @rule(data=st.binary(max_size=100))
    def scribble(self, data):
        folder = self.auditor.folder.path
        for name in ("ledger", "mutex", "r.a", "s.0"):
            if (folder / name).exists():
                (folder / name).write_bytes(data)

    @rule()
    def wake_up(self):
        """Everybody who was told something looks, in an order that differs from the line's."""
        for process in [process for process in reversed(self.line) if process.awake]:
            if process in self.line:
                self._look(process)

    # What must hold

    @invariant()
    def the_kernel_and_the_model_agree(self):
        table = self.auditor.read()
        held = {process.slot: {n: a for n, a in process.held.items() if a} for process in self.everybody}
        assert table.held == {slot: amounts for slot, amounts in held.items() if amounts}
        assert [waiter.slot for waiter in table.waiters] == [process.slot for process in self.line]
        assert [dict(waiter.wants) for waiter in table.waiters] == [process.wants for process in self.line]
        if table.limits and self.everybody:
            assert dict(table.limits) == self.limits()

    @invariant()
    def nobody_sleeps_who_could_go_on(self):
        for process in self.line:
            process.awake = process.awake or process.watches.sleep(0) is not Wake.TIMER
            if not process.awake:
                table = process.claimant.member.read()
                assert not admission.view(table, process.slot).granted
                assert not admission.hopeless(table.waiter(process.slot), table)

    # How

    def limits(self):
        stated = [process.limits for process in self.everybody] or [LIMITS]
        lowest = {name: min(limits[name] for limits in stated) for name in LIMITS}
        return {name: min(limit, self.file_limits.get(name, limit)) for name, limit in lowest.items()}

    def free(self):
        return {
            name: limit - sum(process.held[name] for process in self.everybody)
            for name, limit in self.limits().items()
        }

    def never_served(self, newcomer, wants):
        """Try every order in which the line could be served once all who do not wait have released."""
        limits = self.limits()
        line = [
            (process.held, process.wants)
            for process in self.line
            if all(amount <= limits[name] for name, amount in process.wants.items())
        ]
        line.append((newcomer.held, wants))
        for order in itertools.permutations(line):
            free = {name: limit - sum(held[name] for held, _ in line) for name, limit in limits.items()}
            for held, want in order:
                if any(amount > free[name] for name, amount in want.items()):
                    break
                if want is wants and held is newcomer.held:
                    return False
                free = {name: free[name] + held[name] for name in free}
        return True

    def _grant(self, process, wants):
        for name, amount in wants.items():
            assert amount <= self.free()[name]
            process.held[name] += amount

    def _look(self, process):
        """One turn of the waiting loop, until it sleeps or has what it wants."""
        process.awake = False
        while True:
            drain(process.claimant.member.bell)
            try:
                seen = process.claimant.look()
            except (BudgetTooLarge, BudgetDeadlock):
                self._withdraw(process)
                return
            if seen.granted:
                wants = process.wants
                self._leave_line(process)
                self._grant(process, wants)
                return
            if not process.watches.aim(seen.watch):
                return

    def _withdraw(self, process):
        self._leave_line(process)
        process.claimant.withdraw()

    def _leave_line(self, process):
        self.line.remove(process)
        process.wants = None
        process.watches.close()
        process.watches = None

    def _close(self, process):
        if process in self.line:
            self._leave_line(process)
        self.everybody.remove(process)
        process.claimant.member.close()
        os.sched_yield()


Claims.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestClaims = Claims.TestCase


real_view = admission.view


def without_holders(table, slot, stalled=frozenset()):
    seen = real_view(table, slot, stalled)
    return seen if seen.granted else replace(seen, watch=frozenset())


def without_limits(table, slot, stalled=frozenset()):
    return real_view(replace(table, binding=frozenset()), slot, stalled)


def with_too_much(table, slot, stalled=frozenset()):
    return real_view(replace(table, held={}), slot, stalled)


def a_release(machine):
    one, two = machine.join(None), machine.join(None)
    machine.claim(one, {"a": 8})
    machine.claim(two, {"a": 3})
    machine.release(one, {"a": 8})


def a_death(machine):
    one, two = machine.join(None), machine.join(None)
    machine.claim(one, {"a": 8})
    machine.claim(two, {"a": 3})
    machine.kill(one)


def a_leave_after_a_wait(machine):
    one, two = machine.join(None), machine.join(None)
    machine.claim(one, {"a": 8})
    machine.claim(two, {"a": 3})
    machine.release(one, {"a": 8})
    machine.nobody_sleeps_who_could_go_on()
    machine.wake_up()
    assert two.held["a"] == 3
    machine.leave(two)


def a_nested_wait(machine):
    one, two, three = machine.join(None), machine.join(None), machine.join(None)
    machine.claim(one, {"b": 1})
    machine.claim(two, {"b": 4})
    machine.claim(three, {"b": 1})
    machine.claim(one, {"b": 3})


def the_end_of_a_low_limit(machine):
    low, one, two = machine.join(5), machine.join(None), machine.join(None)
    machine.claim(one, {"a": 5})
    machine.claim(two, {"a": 3})
    machine.kill(low)


SCRIPTS = [a_release, a_death, a_leave_after_a_wait, a_nested_wait, the_end_of_a_low_limit]


def play(script):
    machine = Claims()
    try:
        script(machine)
        machine.the_kernel_and_the_model_agree()
        machine.nobody_sleeps_who_could_go_on()
    finally:
        for process in list(machine.everybody):
            machine._close(process)
        machine.teardown()


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_model_is_content_with_the_real_rules(script):
    play(script)


@pytest.mark.parametrize(
    ("script", "name", "broken"),
    [
        (a_release, "told_on_release", lambda _table: ()),
        (a_release, "view", with_too_much),
        (a_death, "view", without_holders),
        (a_nested_wait, "told_on_queue", lambda _table, _slot: ()),
        (the_end_of_a_low_limit, "view", without_limits),
    ],
)
def test_the_model_notices_a_broken_rule(monkeypatch, script, name, broken):
    monkeypatch.setattr(admission, name, broken)
    with pytest.raises(AssertionError):
        play(script)
