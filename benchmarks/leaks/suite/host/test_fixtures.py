"""Things of module, class and session fixtures: judged when the fixture ends, and not before."""

from __future__ import annotations

import mmap
import queue
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory

import pytest

from benchmarks.leaks.planting import Stoppable, clean, keep, left, planted

MIB = 1 << 20


def setup_module():
    left()


@planted("thread", owner="setup_module")
def test_of_setup_module():
    pass


@pytest.fixture(scope="module")
def module_watcher():
    return left()


@planted("thread", owner="module_watcher")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_module_fixture(module_watcher, n):
    assert module_watcher.thread.is_alive()


@pytest.fixture(scope="session")
def session_watcher():
    return left()


@planted("thread", owner="session_watcher")
@pytest.mark.parametrize("n", [1, 2])
def test_session_fixture(session_watcher, n):
    assert session_watcher.thread.is_alive()


@pytest.fixture(scope="session", params=["stops", "forgets"])
def sometimes_forgets(request):
    watcher = Stoppable().start()
    keep(watcher, watcher.close)
    yield watcher
    if request.param == "stops":
        watcher.close()


@planted("thread", owner="sometimes_forgets")
def test_session_fixture_with_parameters(sometimes_forgets):
    assert sometimes_forgets.thread.is_alive()


@pytest.fixture(scope="class")
def class_watcher():
    return left()


@pytest.fixture(scope="class")
def closing_class_watcher():
    watcher = Stoppable().start()
    yield watcher
    watcher.close()


class TestClassFixture:
    """A fixture of the class."""

    @classmethod
    def setup_class(cls):
        left()

    @planted("thread", owner="setup_class")
    def test_of_setup_class(self):
        pass

    @planted("thread", owner="class_watcher")
    @pytest.mark.parametrize("n", [1, 2])
    def test_class_fixture(self, class_watcher, n):
        assert class_watcher.thread.is_alive()

    @clean
    @pytest.mark.parametrize("n", [1, 2])
    def test_class_fixture_that_closes(self, closing_class_watcher, n):
        assert closing_class_watcher.thread.is_alive()


@pytest.fixture(scope="module")
def asked_for_by_name():
    return left()


@planted("thread", owner="asked_for_by_name")
def test_module_fixture_asked_for_by_name(request):
    request.getfixturevalue("asked_for_by_name")


@pytest.fixture(scope="module")
def starts_a_thread_in_a_thread():
    thread = threading.Thread(target=left)
    thread.start()
    thread.join()


@planted("thread", owner="starts_a_thread_in_a_thread")
def test_thread_of_a_thread_of_a_module_fixture(starts_a_thread_in_a_thread):
    pass


@pytest.fixture(scope="module")
def module_child():
    return keep_child()


def keep_child():
    child = subprocess.Popen(["sleep", "1000"])
    return keep(child, lambda: (child.kill(), child.wait()))


@planted("process", owner="module_child")
def test_child_of_a_module_fixture(module_child):
    assert module_child.poll() is None


@pytest.fixture(scope="module")
def module_segment():
    segment = shared_memory.SharedMemory(create=True, size=4096)
    return keep(segment, lambda: (segment.close(), segment.unlink()))


@planted("shm", owner="module_segment", also=("fd", "process"))
def test_segment_of_a_module_fixture(module_segment):
    assert module_segment.size >= 4096


@pytest.fixture(scope="module")
def module_socket():
    return keep(socket.create_server(("127.0.0.1", 0)))


@planted("fd", owner="module_socket")
def test_socket_of_a_module_fixture(module_socket):
    assert module_socket.fileno() >= 0


def test_bystander(module_watcher, session_watcher):
    time.sleep(0.01)


def test_another_bystander():
    pass


# Clean.


@pytest.fixture(scope="session")
def closing_session_watcher():
    watcher = Stoppable().start()
    yield watcher
    watcher.close()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_session_fixture_that_closes(closing_session_watcher, n):
    assert closing_session_watcher.thread.is_alive()


@pytest.fixture(scope="module")
def closing_module_watcher():
    watcher = Stoppable().start()
    yield watcher
    watcher.close()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_module_fixture_that_closes(closing_module_watcher, n):
    assert closing_module_watcher.thread.is_alive()


@pytest.fixture(scope="session")
def session_pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@clean
def test_pool_of_the_session_starts_its_threads_late(session_pool):
    assert session_pool.submit(int).result() == 0


@clean
def test_pool_of_the_session_starts_more(session_pool):
    assert sum(session_pool.map(int, range(20))) == 190


@pytest.fixture(scope="module")
def spawner():
    """A thread that starts threads in whatever test is running when it is asked."""
    asked, threads, over = queue.Queue(), [], threading.Event()

    def work():
        while asked.get():
            threads.append(threading.Thread(target=over.wait, daemon=True))
            threads[-1].start()

    parent = threading.Thread(target=work)
    parent.start()
    yield asked
    asked.put(None)
    parent.join()
    over.set()
    for thread in threads:
        thread.join()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_threads_of_a_thread_of_a_module_fixture(spawner, n):
    spawner.put("please")
    time.sleep(0.05)


@pytest.fixture(scope="module")
def closing_module_child():
    child = subprocess.Popen(["sleep", "1000"])
    yield child
    child.terminate()
    child.wait()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_child_of_a_module_fixture_that_ends_it(closing_module_child, n):
    assert closing_module_child.poll() is None


@pytest.fixture(scope="module")
def closing_module_socket():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_socket_of_a_module_fixture_that_closes_it(closing_module_socket, n):
    assert closing_module_socket.fileno() >= 0


@pytest.fixture(scope="module")
def closing_module_segment():
    segment = shared_memory.SharedMemory(create=True, size=4096)
    yield segment
    segment.close()
    segment.unlink()


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_segment_of_a_module_fixture_that_unlinks_it(closing_module_segment, n):
    assert closing_module_segment.size >= 4096


@pytest.fixture(scope="module")
def closing_module_mapping():
    with mmap.mmap(-1, 64 * MIB) as mapping:
        for offset in range(0, 64 * MIB, 4096):
            mapping[offset] = 1
        yield mapping


@clean
@pytest.mark.parametrize("n", [1, 2])
def test_memory_of_a_module_fixture_that_closes_it(closing_module_mapping, n):
    assert closing_module_mapping[0] == 1


@pytest.fixture(scope="module")
def late_module_child():
    """Starts its child when it is asked, in whatever test that is."""
    children = []

    def start():
        children.append(subprocess.Popen(["sleep", "1000"]))

    yield start
    for child in children:
        child.kill()
        child.wait()


@clean
def test_module_fixture_starts_its_child_late(late_module_child):
    late_module_child()


@clean
def test_child_of_a_module_fixture_that_started_it_late(late_module_child):
    pass
