"""Threads that tests and function fixtures leave, or seem to leave."""

from __future__ import annotations

import _thread
import asyncio
import ctypes
import logging
import logging.handlers
import queue
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.leaks.planting import OWN_FAILURE, Stoppable, clean, keep, left, planted

# Before the first test: nobody's.
AT_IMPORT = left()


@planted("thread")
def test_daemon_thread():
    left()


@planted("thread")
def test_thread_that_is_no_daemon():
    watcher = Stoppable(daemon=False).start()
    keep(watcher, watcher.close)


@pytest.fixture
def returns_a_watcher():
    return left()


@planted("thread", owner="returns_a_watcher")
def test_fixture_that_returns(returns_a_watcher):
    assert returns_a_watcher.thread.is_alive()


@pytest.fixture
def forgets_to_close():
    watcher = left()
    yield watcher
    del watcher


@planted("thread", owner="forgets_to_close")
def test_fixture_that_yields_and_forgets(forgets_to_close):
    assert forgets_to_close.thread.is_alive()


@pytest.fixture
def inner_of_two():
    return left()


@pytest.fixture
def outer_of_two(inner_of_two):
    yield inner_of_two


@planted("thread", owner="inner_of_two")
def test_fixture_behind_a_fixture(outer_of_two):
    assert outer_of_two.thread.is_alive()


@pytest.fixture
def starts_in_its_teardown():
    yield
    left()


@planted("thread", owner="starts_in_its_teardown")
def test_thread_of_a_teardown(starts_in_its_teardown):
    pass


@planted("thread")
def test_pool_left_open():
    pool = ThreadPoolExecutor(2)
    pool.submit(int).result()
    keep(pool, pool.shutdown)


@planted("thread", also=("fd",))
def test_event_loop_in_a_thread():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    keep(loop, lambda: loop.call_soon_threadsafe(loop.stop))


@planted("thread")
def test_thread_started_by_a_thread():
    def parent():
        left()

    thread = threading.Thread(target=parent)
    thread.start()
    thread.join()


@planted("thread")
def test_raw_thread():
    over = _thread.allocate_lock()
    over.acquire()
    _thread.start_new_thread(over.acquire, ())
    keep(over, over.release)
    time.sleep(0.01)


@planted("thread")
def test_native_thread():
    libc = ctypes.CDLL(None)
    ident = ctypes.c_ulong()
    libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
    sleep = ctypes.cast(libc.sleep, ctypes.c_void_p)
    assert libc.pthread_create(ctypes.byref(ident), None, sleep, 1000) == 0


@planted("thread")
def test_thread_stuck_on_a_lock():
    lock = threading.Lock()
    lock.acquire()
    threading.Thread(target=lock.acquire, daemon=True).start()
    keep(lock, lock.release)


@planted("thread")
def test_thread_that_burns():
    over = threading.Event()

    def burn():
        while not over.is_set():
            time.sleep(0.001)

    threading.Thread(target=burn, daemon=True).start()
    keep(over, over.set)


@planted("thread")
def test_timer_far_ahead():
    timer = threading.Timer(1000, int)
    timer.daemon = True
    timer.start()
    keep(timer, timer.cancel)


@planted("thread")
def test_log_listener():
    listener = logging.handlers.QueueListener(queue.Queue())
    listener.start()
    keep(listener, listener.stop)


@planted("thread", also=("fd",))
def test_server():
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keep(server, server.shutdown)


@planted("thread")
def test_leaks_and_fails():
    left()
    pytest.fail(OWN_FAILURE)


@planted("thread")
@pytest.mark.xfail(reason="known")
def test_leaks_and_xfails():
    left()
    pytest.fail(OWN_FAILURE)


@planted("thread")
def test_leaks_and_skips():
    left()
    pytest.skip("halfway")


@pytest.fixture
def breaks_after_its_start():
    left()
    raise RuntimeError(OWN_FAILURE)


@planted("thread", owner="breaks_after_its_start")
def test_fixture_that_breaks_after_its_start(breaks_after_its_start):
    pass


@planted("thread")
@pytest.mark.parametrize("name", ["x" * 300, "a b\n[c]::d"])
def test_leaks_under_a_strange_name(name):
    left()


class TestWithSetupMethod:
    """Of the xunit kind."""

    def setup_method(self):
        self.watcher = left()

    @planted("thread", owner="setup_method")
    def test_leaks(self):
        pass


def test_bystander():
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@clean
def test_thread_that_ends_soon():
    threading.Thread(target=time.sleep, args=(0.05,), daemon=True).start()


@clean
def test_thread_that_ends_later():
    threading.Thread(target=time.sleep, args=(0.6,), daemon=True).start()


@clean
def test_joined_thread():
    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    thread.join()


@clean
def test_many_short_threads():
    for _ in range(200):
        threading.Thread(target=int).start()


@pytest.fixture
def closes():
    watcher = Stoppable().start()
    yield watcher
    watcher.close()


@clean
def test_fixture_that_closes(closes):
    assert closes.thread.is_alive()


@clean
def test_fails_and_closes(closes):
    pytest.fail(OWN_FAILURE)


@pytest.fixture
def tells_only(request):
    watcher = Stoppable().start()
    request.addfinalizer(watcher.thread.join)
    request.addfinalizer(watcher._over.set)
    return watcher


@clean
def test_fixture_with_a_finaliser(tells_only):
    assert tells_only.thread.is_alive()


@clean
def test_pool_in_a_with_block():
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(str, range(4))) == ["0", "1", "2", "3"]


@clean
def test_pool_that_is_dropped():
    assert ThreadPoolExecutor(1).submit(int).result() == 0


@clean
def test_to_thread():
    assert asyncio.run(asyncio.to_thread(int)) == 0


@clean
def test_executor_of_a_loop():
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(loop.run_in_executor(None, int)) == 0
    loop.close()


@clean
def test_cancelled_timer():
    timer = threading.Timer(1000, int)
    timer.start()
    timer.cancel()


@clean
def test_monitor_of_tqdm():
    from tqdm import tqdm

    assert list(tqdm(range(3), disable=False, mininterval=0.01)) == [0, 1, 2]


@clean
def test_raw_thread_that_ends():
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(done.release, ())
    done.acquire()


@clean
def test_native_thread_that_is_joined():
    libc = ctypes.CDLL(None)
    ident = ctypes.c_ulong()
    libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
    libc.pthread_join.argtypes = [ctypes.c_ulong, ctypes.c_void_p]
    work = ctypes.cast(libc.usleep, ctypes.c_void_p)
    assert libc.pthread_create(ctypes.byref(ident), None, work, 1000) == 0
    assert libc.pthread_join(ident, None) == 0


@clean
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_that_dies():
    def work():
        raise OSError(OWN_FAILURE)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@clean
def test_thread_of_a_forgotten_cycle():
    class Owner:
        def __init__(self):
            # No event: were the collector to run in a thread that holds its lock, to set it would never end.
            self.over = threading.Lock()
            self.over.acquire()
            self.me = self
            threading.Thread(target=self.over.acquire, daemon=True).start()

        def __del__(self):
            self.over.release()

    Owner()


@clean
def test_first_import_of_numpy():
    import numpy as np

    assert np.ones((50, 50)).dot(np.ones((50, 50))).sum() == 50**3
