"""The block of memory that `csrc/page.h` lays out, for Python. The two change together."""

from __future__ import annotations

import ctypes

__all__ = ["CALLS", "ENGINES", "KINDS", "LAUNCHES", "VERSION", "LaunchStruct", "Page"]

KINDS = ("device", "pinned", "mapped", "registered", "managed", "pool", "stream", "event", "module")
ENGINES = ("h2d", "d2h", "compute", "host")

VERSION = 2
DEVICES, CALLS, LAUNCHES, NAME = 16, 4096, 1024, 48


class CounterStruct(ctypes.Structure):
    """Counts of one kind."""

    _fields_ = (
        ("live", ctypes.c_int64),
        ("total", ctypes.c_int64),
        ("bytes", ctypes.c_uint64),
        ("peak", ctypes.c_uint64),
    )


class CallStruct(ctypes.Structure):
    """An entry of the call log."""

    _fields_ = (
        ("name", ctypes.c_char * NAME),
        ("result", ctypes.c_int32),
        ("thread", ctypes.c_uint32),
        ("number", ctypes.c_uint64),
        ("when", ctypes.c_double),
    )


class LaunchStruct(ctypes.Structure):
    """A launch as the driver records it and hands it to a kernel's body."""

    _fields_ = (
        ("name", ctypes.c_char * 256),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared", ctypes.c_uint32),
        ("device", ctypes.c_int32),
        ("stream", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
    )


class Page(ctypes.Structure):
    """Settings and findings of one process."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("pid", ctypes.c_int32),
        ("devices", ctypes.c_int32),
        ("device_bytes", ctypes.c_uint64),
        ("pinned_bytes", ctypes.c_uint64),
        ("pinned_regions", ctypes.c_uint64),
        ("op_seconds", ctypes.c_double * len(ENGINES)),
        ("unit_seconds", ctypes.c_double * len(ENGINES)),
        ("pin_seconds", ctypes.c_double),
        ("pin_byte_seconds", ctypes.c_double),
        ("hang_limit", ctypes.c_double),
        ("deferred", ctypes.c_int32),
        ("shared", ctypes.c_int32),
        ("poison", ctypes.c_int32),
        ("spare", ctypes.c_int32),
        ("released", ctypes.c_int64),
        ("sticky", ctypes.c_int32),
        ("hanging", ctypes.c_int32),
        ("stalls", ctypes.c_int64),
        ("counters", CounterStruct * len(KINDS)),
        ("device_used", ctypes.c_uint64 * DEVICES),
        ("contexts", ctypes.c_int32 * DEVICES),
        ("gpus", ctypes.c_int32 * DEVICES),
        ("migs", ctypes.c_int32 * DEVICES),
        ("calls", ctypes.c_uint64),
        ("launches", ctypes.c_uint64),
        ("call_log", CallStruct * CALLS),
        ("launch_log", LaunchStruct * LAUNCHES),
    )
