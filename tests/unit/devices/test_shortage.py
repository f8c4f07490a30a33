"""Which errors say that memory ran out, and which memory."""

from __future__ import annotations

import pytest

from pytest_gpuguard.devices.shortage import ran_out


def made(name, module, text, **attributes):
    error = type(name, (RuntimeError,), {"__module__": module})(text)
    vars(error).update(attributes)
    return error


def caused(by):
    try:
        raise RuntimeError("could not solve") from by
    except RuntimeError as error:
        return error


def in_the_handler_of(by):
    try:
        try:
            raise by
        except RuntimeError:
            raise KeyError("x")  # noqa: B904 - as suites do
    except KeyError as error:
        return error


def apart_from(by):
    try:
        try:
            raise by
        except RuntimeError:
            raise KeyError("x") from None
    except KeyError as error:
        return error


NUMBA = made("CudaAPIError", "numba.cuda.cudadrv.driver", "[2] Call to cuMemAlloc results in error", code=2)
PINNED = made("CudaAPIError", "numba.cuda.cudadrv.driver", "[2] Call to cuMemHostAlloc results in", code=2)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (NUMBA, "device"),
        (PINNED, "pinned"),
        (made("OutOfMemoryError", "torch", "Tried to allocate 20.00 GiB."), "device"),
        (made("OutOfMemoryError", "cupy.cuda.memory", "Out of memory allocating 512 bytes"), "device"),
        (RuntimeError("CUDA error: cudaErrorMemoryAllocation in cudaHostAlloc"), "pinned"),
        (MemoryError("std::bad_alloc: out_of_memory: CUDA error at: pool.hpp"), "device"),
        (caused(NUMBA), "device"),
        (in_the_handler_of(PINNED), "pinned"),
        (apart_from(PINNED), None),
        (MemoryError("of the host"), None),
        (made("OutOfMemoryError", "theirs", "no"), None),
        (made("CudaAPIError", "numba.cuda.cudadrv.driver", "[700] Call to x", code=700), None),
        (made("CudaAPIError", "numba.cuda.cudadrv.driver", "?", code="none"), None),
    ],
)
def test_an_error_says_which_memory(error, memory):
    assert ran_out(error) == memory


def test_neither_circles_nor_errors_without_words_do_harm():
    class MuteError(RuntimeError):
        def __str__(self):
            raise ValueError

    error = MuteError()
    error.__cause__ = second = RuntimeError("x")
    second.__cause__ = error
    assert ran_out(error) is None
