"""Random programs: when every hazard is ordered by events, no timing changes what they compute."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import cuda

STREAMS, BUFFERS, STEPS = 3, 4, 30
MODES = {
    "at once": {},
    "deferred": {"deferred": 1},
    "slow copies": {"h2d_seconds": 0.002, "compute_seconds": 0.0005},
    "slow device": {"compute_seconds": 0.003},
}


def _program(seed):
    """Steps of (stream, written buffer, source): the source is another buffer, or a new value."""
    chance = random.Random(seed)
    for step in range(STEPS):
        written, other = chance.sample(range(BUFFERS), 2)
        yield chance.randrange(STREAMS), written, other if chance.random() < 0.6 else 100.0 + step


def _expected(seed):
    buffers = [float(n) for n in range(BUFFERS)]
    for _, written, source in _program(seed):
        buffers[written] = buffers[source] if isinstance(source, int) else source
    return buffers


def _computed(seed, ordered):
    streams = [cuda.stream() for _ in range(STREAMS)]
    buffers = [cuda.to_device(np.full(64, float(n))) for n in range(BUFFERS)]
    # The last step that touched each buffer, by stream: an ordered program waits for them.
    touched = [{} for _ in range(BUFFERS)]
    kept = []
    for stream, written, source in _program(seed):
        used = [written, source] if isinstance(source, int) else [written]
        if ordered:
            for event in (e for n in used for s, e in touched[n].items() if s != stream):
                event.wait(streams[stream])
        if isinstance(source, int):
            buffers[written].copy_to_device(buffers[source], stream=streams[stream])
        else:
            kept.append(cuda.pinned_array(64))
            kept[-1][:] = source
            buffers[written].copy_to_device(kept[-1], stream=streams[stream])
        event = cuda.event(timing=False)
        event.record(streams[stream])
        for n in used:
            touched[n][stream] = event
    return [buffer.copy_to_host().tolist() for buffer in buffers]


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_orders_its_hazards_computes_the_same_in_any_timing(driver, mode):
    with driver.setting(**MODES[mode]):
        for seed in range(12):
            assert _computed(seed, ordered=True) == [[value] * 64 for value in _expected(seed)], seed


def test_programs_that_order_nothing_are_found_out(driver):
    driver.set(deferred=1)
    wrong = [s for s in range(12) if _computed(s, ordered=False) != [[value] * 64 for value in _expected(s)]]
    assert len(wrong) >= 6
