"""The pipeline of production in virtual time: how long it takes is known exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import Depth, Stages
from solver.devices.rehearsal import RehearsalClock, Standstill
from solver.devices.virtual import Latency, VirtualEvent
from solver.pipeline.bound import bound, period
from solver.pipeline.feeder import Feeder
from tests.solver.pipelines import makespan, rehearse

UNIT = 2.0**-10
"""A millisecond, nearly; sums of whole ones are exact."""

CASES = {
    "balanced": (2, 2, 2, 2),
    "kernel-bound": (1, 8, 1, 1),
    "download-bound": (1, 2, 6, 4),
    "writeback-bound": (1, 2, 4, 8),
    "upload-bound": (7, 1, 2, 3),
    "no kernel": (3, 0, 3, 3),
}
DEPTHS = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1), (2, 3, 2), (3, 3, 1), (3, 4, 2), (4, 4, 3)]


def rehearsed(stages, depth, chunks, seed=None) -> float:
    stats = rehearse(Latency(*(UNIT * s for s in stages)), depth, chunks, RehearsalClock(seed))
    assert stats.depth == depth.needed(chunks)
    return stats.pipeline_seconds / UNIT


def whole_sets(stages: Stages, depth: Depth) -> float:
    """Return the period of a pipeline that holds a set's inputs and outputs both from upload to download."""
    h, k, d, w = stages.upload, stages.run, stages.download, stages.writeback
    return max(h, k, d, w / depth.writers, (h + k + d) / depth.sets, (d + w) / depth.copies)


@pytest.mark.parametrize("chunks", [1, 2, 13, 25])
@pytest.mark.parametrize("depth", DEPTHS, ids=str)
@pytest.mark.parametrize("stages", CASES.values(), ids=CASES)
def test_the_makespan_is_the_formula(stages, depth, chunks):
    # One more than a multiple of 1, 2, 3 and 4: the last group of buffers and sets is as full as the others.
    depth = Depth(*depth)
    assert rehearsed(stages, depth, chunks) == makespan(*stages, depth, chunks)
    # Fewer chunks than buffers take turns in fewer buffers, and need no more.
    assert makespan(*stages, depth, chunks) <= bound(Stages(*stages), depth.needed(chunks), chunks)
    if chunks > 2:
        assert rehearsed(stages, depth, chunks) == bound(Stages(*stages), depth, chunks)


@pytest.mark.parametrize("depth", DEPTHS, ids=str)
@pytest.mark.parametrize("stages", CASES.values(), ids=CASES)
def test_freeing_inputs_and_outputs_apart_is_never_slower_than_whole_sets(stages, depth):
    stages, depth = Stages(*stages), Depth(*depth)
    assert period(stages, depth) <= whole_sets(stages, depth)
    if (stages.upload + stages.run + stages.download) / depth.sets <= period(stages, depth):
        assert period(stages, depth) == whole_sets(stages, depth)


@pytest.mark.parametrize("stages", CASES.values(), ids=CASES)
def test_the_defaults_reach_what_the_hardware_can(stages):
    depth = Depth()
    hardware = sum(stages) + 24 * max(*stages[:3], stages[3] / depth.writers)
    assert rehearsed(stages, depth, 25) <= 1.05 * hardware


stage = st.integers(0, 12)


@settings(max_examples=60, deadline=None)
@given(
    stages=st.tuples(stage, stage, stage, stage),
    depth=st.builds(Depth, st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
    chunks=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_in_whatever_order_threads_meet_the_makespan_is_the_same(stages, depth, chunks, seed):
    took = rehearsed(stages, depth, chunks, seed)
    assert took == makespan(*stages, depth, chunks)
    assert took <= bound(Stages(*stages), depth.needed(chunks), chunks)


def test_overlap_is_one_when_nothing_waits_for_the_wrong_thing():
    stats = rehearse(Latency(*[UNIT] * 4), Depth(), 25, RehearsalClock())
    assert stats.stages == Stages(UNIT, UNIT, UNIT, UNIT)
    assert stats.overlap == 1.0


def test_a_writer_that_polls_is_seen(monkeypatch):
    def poll(self, timeout):
        self._device.clock.sleep(4 * UNIT)
        return self.query()

    monkeypatch.setattr(VirtualEvent, "wait", poll)
    assert rehearsed((1, 1, 1, 1), Depth(), 25) > 1.5 * makespan(1, 1, 1, 1, Depth(), 25)


def test_a_feeder_that_waits_for_a_buffer_before_it_queues_the_next_upload_is_seen(monkeypatch):
    def in_turn(self):
        for index in range(len(self._plan.bounds)):
            self._upload(index)
            self._compute(index)
            self._download(index)

    monkeypatch.setattr(Feeder, "run", in_turn)
    depth = Depth(2, 1, 1)
    assert rehearsed((3, 3, 2, 2), depth, 25) > makespan(3, 3, 2, 2, depth, 25)


def test_uploads_that_wait_for_the_last_kernel_are_seen(monkeypatch):
    upload = Feeder._upload

    def wait_too_much(self, index):
        if self._runs:
            self._device.after("in", self._runs[-1][1])
        upload(self, index)

    monkeypatch.setattr(Feeder, "_upload", wait_too_much)
    assert rehearsed((2, 2, 2, 2), Depth(), 25) > makespan(2, 2, 2, 2, Depth(), 25)


def test_virtual_time_passes_only_when_all_wait():
    clock = RehearsalClock()
    seen = []

    def sleeper(seconds):
        clock.sleep(seconds)
        seen.append((seconds, clock.now()))

    for seconds in (3.0, 1.0, 2.0):
        clock.start(sleeper, (seconds,), f"sleeps {seconds}")
    assert clock.now() == 0.0
    assert len(clock.alive()) == 3
    clock.sleep(2.5)
    assert seen == [(1.0, 1.0), (2.0, 2.0)]
    clock.sleep(1.0)
    assert seen[-1] == (3.0, 3.0)
    assert (clock.now(), clock.alive()) == (3.5, [])


@pytest.mark.parametrize("seed", range(8))
def test_a_lost_wake_up_is_a_standstill(seed):
    clock = RehearsalClock(seed)
    changed = clock.condition()

    def forgets_to_notify():
        with changed:
            pass

    clock.start(forgets_to_notify, (), "forgetful")
    with pytest.raises(Standstill, match="wait for ever"), changed:
        changed.wait()


@pytest.mark.parametrize("seed", range(8))
def test_a_condition_is_a_lock_under_every_seed(seed):
    clock = RehearsalClock(seed)
    changed, inside, most = clock.condition(), [], []

    def enter():
        with changed, changed:
            inside.append(1)
            clock.sleep(1.0)
            most.append(len(inside))
            inside.pop()

    for number in range(4):
        clock.start(enter, (), f"thread {number}")
    clock.sleep(10.0)
    assert most == [1, 1, 1, 1]
    assert math.isclose(clock.now(), 10.0)
