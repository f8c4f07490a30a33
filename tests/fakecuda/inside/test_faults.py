"""Faults surface as numba's own exceptions, where and as often as was asked."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

from tests.fakecuda.control import Fault
from tests.fakecuda.waiting import until


def test_the_second_query_fails_and_the_third_works(driver):
    event = cuda.event()
    with driver.failing(Fault("cuEventQuery", code=719, first=2, last=2)):
        assert event.query()
        with pytest.raises(CudaAPIError, match="LAUNCH_FAILED"):
            event.query()
        assert event.query()


def test_without_a_last_call_it_goes_on_failing(driver):
    with driver.failing(Fault("cuMemHostAlloc", code=2)):
        for _ in range(3):
            with pytest.raises(CudaAPIError, match="OUT_OF_MEMORY"):
                cuda.pinned_array(8)
    cuda.pinned_array(8)


def test_other_functions_are_left_alone(driver):
    with driver.failing(Fault("cuMemHostAlloc", code=2)):
        assert cuda.event().query()


def test_a_fault_that_cannot_be_read_is_an_error_and_changes_nothing(driver):
    with driver.failing(Fault("cuEventQuery", code=719)):
        with pytest.raises(ValueError, match="cannot read"):
            driver.fail(Fault("cuEventQuery"))
        with pytest.raises(CudaAPIError):
            cuda.event().query()


def test_an_unknown_setting_is_an_error(driver):
    with pytest.raises(ValueError, match="pinned_byte;"):
        driver.set(pinned_byte=3)


def test_a_slow_call_takes_its_time(driver):
    start = time.monotonic()
    with driver.failing(Fault("cuEventQuery", slow=0.1)):
        assert cuda.event().query()
    assert time.monotonic() - start >= 0.1


def test_a_call_that_hangs_leaves_other_threads_alone_and_ends_when_released(driver):
    event, answers = cuda.event(), []
    with driver.failing(Fault("cuEventQuery", hang=True, last=1)):
        caller = threading.Thread(target=lambda: answers.append(event.query()))
        caller.start()
        until(lambda: driver.hanging == 1)
        assert answers == []
        assert caller.is_alive()
        driver.release()
        caller.join(10)
    assert answers == [True]
    assert driver.hanging == 0


def test_a_kernel_or_copy_that_never_ends_is_released_too(driver):
    stream, event, source = cuda.stream(), cuda.event(), cuda.to_device(np.ones(4))
    target = cuda.pinned_array(4)
    with driver.failing(Fault("copy", hang=True, last=1)):
        source.copy_to_host(target, stream=stream)
        event.record(stream)
        until(lambda: driver.hanging == 1)
        assert not event.query()
        driver.release()
        event.synchronize()
    assert (target == 1).all()


def test_a_hang_ends_by_itself_at_its_limit(driver):
    start = time.monotonic()
    event, fault = cuda.event(), Fault("cuEventQuery", hang=True, code=999, last=1)
    with driver.setting(hang_limit=0.1), driver.failing(fault), pytest.raises(CudaAPIError, match="UNKNOWN"):
        event.query()
    assert 0.1 <= time.monotonic() - start < 5


def test_calls_are_logged_with_result_and_thread(driver):
    event = cuda.event()
    with driver.failing(Fault("cuEventQuery", code=719)), pytest.raises(CudaAPIError):
        event.query()
    call = driver.calls("cuEventQuery")[-1]
    assert (call.result, call.thread) == (719, threading.get_native_id())
    assert abs(time.monotonic() - call.when) < 5
