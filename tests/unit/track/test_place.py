"""A wait stays in its place and shows no new line; whoever goes on does."""

from __future__ import annotations

from pytest_gpuguard.track.deaths import Place

# (frame, code, line), outermost first: eight frames of harness, a test, what it calls.
HARNESS = [(number, 100 + number, 1) for number in range(8)]


def _sample(*inner):
    return [*HARNESS, *inner]


def _feed(samples, start=0.0, step=1.0):
    place = Place(samples[0], start)
    for number, sample in enumerate(samples[1:], start=1):
        place.holds(sample, start + number * step)
    return place


def test_a_blocked_call_stays():
    place = _feed([_sample((50, 200, 7), (51, 201, 3))] * 5)
    assert place.since == 0.0


def test_a_poll_loop_stays_once_its_lines_are_known():
    sleeping, looking = _sample((50, 200, 7), (51, 201, 3)), _sample((50, 200, 8))
    place = _feed([sleeping, looking] + [sleeping, looking] * 4)
    assert place.since == 1.0  # when its second line was first seen
    assert len(place.frames) == len(HARNESS) + 1


def test_a_test_that_calls_one_helper_from_new_lines_goes_on_though_frames_are_reused():
    place = _feed([_sample((50, 200, line), (51, 201, 3)) for line in range(10)])
    assert place.since == 9.0


def test_recursion_goes_on():
    def deep(depth):
        return _sample(*[(50 + n, 200, 5) for n in range(depth)], (90 + depth, 300, 1))

    place = _feed([deep(depth) for depth in range(1, 10)])
    assert place.since == 8.0


def test_a_move_to_another_test_starts_anew():
    place = _feed([_sample(*[(50 + n, 200 + n, 1) for n in range(6)])] * 3)
    place.holds(HARNESS[:4], 10.0)
    assert (place.since, len(place.frames)) == (10.0, 4)


def test_a_loop_of_pauses_on_one_line_looks_like_a_poll_loop():
    """The known limit: a sampler cannot tell, so the suite must say that it expects the death."""
    place = _feed([_sample((50, 200, 7), (51, 201, 3)), _sample((50, 200, 7))] * 4)
    assert place.since == 0.0
