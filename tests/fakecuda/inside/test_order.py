"""Asynchrony: what has landed when, and who waits for whom."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from numba import cuda

from tests.fakecuda.waiting import until

N = 1024


def _device(value):
    return cuda.to_device(np.full(N, value))


def _pinned(value=0.0):
    array = cuda.pinned_array(N)
    array[:] = value
    return array


def test_a_pinned_buffer_that_is_read_too_early_shows_poison(driver):
    driver.set(deferred=1)
    stream, source, target = cuda.stream(), _device(7.0), _pinned()
    source.copy_to_host(target, stream=stream)
    early = target.copy()
    assert np.isnan(early).all()
    stream.synchronize()
    assert (target == 7.0).all()


def test_a_buffer_whose_event_was_waited_for_holds_its_data(driver):
    driver.set(deferred=1)
    stream, event, source, target = cuda.stream(), cuda.event(), _device(7.0), _pinned()
    source.copy_to_host(target, stream=stream)
    event.record(stream)
    event.synchronize()
    assert (target == 7.0).all()


def test_an_event_recorded_before_the_copy_says_nothing_about_it(driver):
    driver.set(deferred=1)
    stream, event, source, target = cuda.stream(), cuda.event(), _device(7.0), _pinned()
    event.record(stream)
    source.copy_to_host(target, stream=stream)
    event.synchronize()
    assert np.isnan(target).all()


@pytest.mark.parametrize("waits", [False, True])
def test_a_source_that_is_overwritten_too_early_is_seen(driver, waits):
    driver.set(deferred=1)
    stream, source, device = cuda.stream(), _pinned(1.0), cuda.device_array(N)
    device.copy_to_device(source, stream=stream)
    if waits:
        stream.synchronize()
    source[:] = 2.0
    assert (device.copy_to_host() == (1.0 if waits else 2.0)).all()


def test_pageable_memory_is_staged_on_its_way_in_and_waited_for_on_its_way_out(driver):
    driver.set(deferred=1)
    stream, source, device, target = cuda.stream(), np.ones(N), cuda.device_array(N), np.zeros(N)
    device.copy_to_device(source, stream=stream)
    source[:] = 2.0
    device.copy_to_host(target, stream=stream)
    assert (target == 1.0).all()


def test_polling_an_event_gets_there_one_operation_at_a_time(driver):
    driver.set(deferred=1)
    stream, event, source, target = cuda.stream(), cuda.event(), _device(7.0), _pinned()
    for _ in range(3):
        source.copy_to_host(target, stream=stream)
    event.record(stream)
    assert not event.query()
    assert until(event.query) >= 2
    assert (target == 7.0).all()


def test_a_poller_that_records_anew_each_time_gets_there_too(driver):
    driver.set(deferred=1)
    stream, source, target = cuda.stream(), _device(7.0), _pinned()
    source.copy_to_host(target, stream=stream)

    class Anew:
        def query(self):
            event = cuda.event()
            event.record(stream)
            return event.query()

    assert not Anew().query()
    until(Anew().query)
    assert (target == 7.0).all()


def test_an_event_that_was_never_recorded_has_happened(driver):
    assert cuda.event().query()


def test_an_event_turns_true_when_the_latency_is_over(driver):
    driver.set(d2h_seconds=0.5)
    stream, event, source, target = cuda.stream(), cuda.event(), _device(7.0), _pinned()
    start = time.monotonic()
    source.copy_to_host(target, stream=stream)
    event.record(stream)
    assert not event.query()
    assert np.isnan(target).all()
    until(event.query)
    assert time.monotonic() - start >= 0.5
    assert (target == 7.0).all()


@pytest.mark.parametrize("name", ["d2h_seconds", "d2h_unit_seconds"])
def test_events_measure_the_latency_between_them(driver, name):
    stream, first, second, source = cuda.stream(), cuda.event(), cuda.event(), _device(7.0)
    target = _pinned()
    with driver.setting(**{name: 0.3 if name == "d2h_seconds" else 0.3 / target.nbytes}):
        # All is queued behind the first copy: how quickly this thread gets on does not matter.
        source.copy_to_host(target, stream=stream)
        first.record(stream)
        source.copy_to_host(target, stream=stream)
        second.record(stream)
        second.synchronize()
    assert cuda.event_elapsed_time(first, second) == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize("waits", [False, True])
def test_a_stream_that_does_not_wait_for_another_copies_what_is_not_there_yet(driver, waits):
    first, second, done, finished = cuda.stream(), cuda.stream(), cuda.event(), cuda.event()
    source, middle, target = _pinned(3.0), _device(0.0), _pinned()
    driver.set(deferred=1)
    middle.copy_to_device(source, stream=first)
    done.record(first)
    if waits:
        done.wait(second)
    middle.copy_to_host(target, stream=second)
    finished.record(second)
    finished.synchronize()
    assert (target == (3.0 if waits else 0.0)).all()


@pytest.mark.parametrize("same", [False, True])
def test_copies_of_two_directions_overlap_and_those_of_one_do_not(driver, same):
    up, other, host, device = cuda.stream(), cuda.stream(), _pinned(1.0), cuda.device_array(N)
    second, target, events = cuda.device_array(N), _pinned(), [cuda.event(), cuda.event()]
    with driver.setting(h2d_seconds=0.4, d2h_seconds=0.4):
        device.copy_to_device(host, stream=up)
        events[0].record(up)
        if same:
            second.copy_to_device(host, stream=other)
        else:
            second.copy_to_host(target, stream=other)
        events[1].record(other)
        cuda.synchronize()
    apart = cuda.event_elapsed_time(*events)
    assert apart >= 399 if same else apart < 300


def test_the_default_stream_waits_for_the_others_and_they_for_it(driver):
    stream, source, middle, target = cuda.stream(), _pinned(5.0), _device(0.0), _pinned()
    driver.set(deferred=1)
    middle.copy_to_device(source, stream=stream)
    assert (middle.copy_to_host() == 5.0).all()
    middle.copy_to_device(np.full(N, 6.0))
    middle.copy_to_host(target, stream=stream)
    stream.synchronize()
    assert (target == 6.0).all()


def test_many_watchers_of_one_event_all_see_it(driver):
    driver.set(d2h_seconds=0.05)
    stream, event, source, target = cuda.stream(), cuda.event(), _device(7.0), _pinned()
    source.copy_to_host(target, stream=stream)
    event.record(stream)
    seen = []

    def watch():
        until(event.query)
        seen.append((target == 7.0).all())

    watchers = [threading.Thread(target=watch) for _ in range(8)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(20)
    assert seen == [True] * 8


def test_one_watcher_per_stream_sees_its_own_data(driver):
    driver.set(deferred=1)
    results = {}

    def watch(number):
        with cuda.gpus[0]:
            stream, event, source, target = cuda.stream(), cuda.event(), _device(float(number)), _pinned()
            for _ in range(10):
                source.copy_to_host(target, stream=stream)
                event.record(stream)
                until(event.query)
                results.setdefault(number, []).append(bool((target == number).all()))

    watchers = [threading.Thread(target=watch, args=(number,)) for number in range(4)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(30)
    assert results == {number: [True] * 10 for number in range(4)}


def test_a_stream_is_refused_after_its_end(driver):
    from cuda.bindings import driver as binding

    _, handle = binding.cuStreamCreate(0)
    assert binding.cuStreamQuery(handle) == (0,)
    assert binding.cuStreamDestroy(handle) == (0,)
    (code,) = binding.cuStreamQuery(handle)
    assert code == binding.CUresult.CUDA_ERROR_INVALID_HANDLE


def test_work_of_a_stream_that_was_destroyed_is_still_done(driver):
    source, target = _device(7.0), _pinned()
    driver.set(d2h_seconds=0.2)
    stream = cuda.stream()
    source.copy_to_host(target, stream=stream)
    del stream
    cuda.current_context().deallocations.clear()
    cuda.synchronize()
    assert (target == 7.0).all()
