"""Files, sockets, shared memory and memory that tests leave, or seem to leave."""

from __future__ import annotations

import ctypes
import functools
import logging
import mmap
import os
import socket
import sqlite3
import tempfile
import time
from multiprocessing import shared_memory

import pytest

from benchmarks.leaks.planting import OWN_FAILURE, clean, keep, planted

MIB = 1 << 20


def libc():
    library = ctypes.CDLL(None, use_errno=True)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    library.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return library


@planted("shm", also=("fd", "process"))
def test_segment_left_open():
    segment = shared_memory.SharedMemory(create=True, size=MIB)
    keep(segment, lambda: (segment.close(), segment.unlink()))


@planted("shm", also=("process",))
def test_segment_closed_and_not_unlinked():
    segment = shared_memory.SharedMemory(create=True, size=MIB)
    segment.close()
    keep(segment, segment.unlink)


@pytest.fixture
def returns_a_segment():
    segment = shared_memory.SharedMemory(create=True, size=MIB)
    return keep(segment, lambda: (segment.close(), segment.unlink()))


@planted("shm", owner="returns_a_segment", also=("fd", "process"))
def test_segment_of_a_fixture(returns_a_segment):
    assert returns_a_segment.size >= MIB


@planted("fd")
def test_file_kept_open():
    keep(open(__file__))


@planted("fd")
def test_file_dropped_unclosed():
    open(__file__).read(1)


@planted("fd")
def test_socket_kept_open():
    keep(socket.create_server(("127.0.0.1", 0)))


@planted("fd")
def test_pipe_kept_open():
    ends = os.pipe()
    keep(ends, lambda: [os.close(end) for end in ends])


@planted("fd")
def test_database_kept_open(tmp_path):
    base = sqlite3.connect(tmp_path / "x.db")
    base.execute("create table t (x)")
    keep(base, base.close)


@pytest.fixture
def returns_a_file(tmp_path):
    return keep(open(tmp_path / "x", "w"))


@planted("fd", owner="returns_a_file")
def test_file_of_a_fixture(returns_a_file):
    assert returns_a_file.fileno() > 2


@planted("memory", also=("fd",))
def test_mapping_kept():
    mapping = mmap.mmap(-1, 64 * MIB)
    for offset in range(0, 64 * MIB, 4096):
        mapping[offset] = 1
    keep(mapping, mapping.close)


@planted("memory")
def test_malloc_never_freed():
    library = libc()
    block = library.malloc(64 * MIB)
    library.memset(block, 1, 64 * MIB)
    keep(block, functools.partial(library.free, block))


@planted("memory")
def test_cache_that_grows():
    keep(bytearray(b"x") * (64 * MIB))


@planted("memory", also=("fd",))
def test_locked_memory():
    mapping = mmap.mmap(-1, 16 * MIB)
    view = (ctypes.c_char * (16 * MIB)).from_buffer(mapping)
    if libc().mlock(ctypes.addressof(view), 16 * MIB):
        pytest.skip(f"mlock: {os.strerror(ctypes.get_errno())}")
    keep((view, mapping))


def test_bystander():
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@clean
def test_segment_closed_and_unlinked():
    segment = shared_memory.SharedMemory(create=True, size=MIB)
    segment.close()
    segment.unlink()


@clean
def test_file_in_a_with_block():
    with open(__file__) as file:
        assert file.read(1)


@clean
def test_temporary_folder():
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/x", "w") as file:
        file.write("x")


@clean
def test_socket_pair_that_is_closed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x")
        assert theirs.recv(1) == b"x"


@clean
def test_pipe_that_is_closed():
    for end in os.pipe():
        os.close(end)


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    handler = logging.FileHandler(tmp_path_factory.mktemp("log") / "log", delay=True)
    logging.getLogger("seeded").addHandler(handler)
    yield
    logging.getLogger("seeded").removeHandler(handler)
    handler.close()


@clean
def test_log_file_of_the_module_is_opened_late(log_file):
    logging.getLogger("seeded").error("x")


@clean
def test_log_file_of_the_module_stays_open(log_file):
    logging.getLogger("seeded").error("x")


@clean
def test_mapping_that_is_closed():
    with mmap.mmap(-1, 64 * MIB) as mapping:
        for offset in range(0, 64 * MIB, 4096):
            mapping[offset] = 1


@clean
def test_malloc_that_is_freed():
    library = libc()
    block = library.malloc(64 * MIB)
    library.memset(block, 1, 64 * MIB)
    library.free(block)


@clean
def test_big_local():
    assert len(bytearray(b"x") * (64 * MIB)) == 64 * MIB


@clean
def test_big_local_of_a_failing_test():
    big = bytearray(b"x") * (32 * MIB)
    pytest.fail(OWN_FAILURE if big else "")


@clean
def test_memory_of_a_cycle():
    cycle = [bytearray(b"x") * (64 * MIB)]
    cycle.append(cycle)


@functools.lru_cache
def squares(n):
    return [i * i for i in range(n)]


@clean
def test_small_cache():
    assert squares(50_000)[-1] == 49_999**2


@clean
def test_many_small_objects_that_go():
    assert len([object() for _ in range(300_000)]) == 300_000
