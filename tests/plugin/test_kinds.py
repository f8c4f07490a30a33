"""Every kind of leak has a planted defect that is found and a clean twin that is not."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

SIMULATED = """
    import numpy as np, pytest
    from numba import cuda
    from numba.cuda import event, stream

    KEPT = []

    def everything():
        registered = cuda.pinned(np.zeros(100, "u1"))
        registered.__enter__()
        return [
            stream(), event(), cuda.pinned_array(200, "u1"), cuda.mapped_array(300, "u1"),
            cuda.device_array(400, "u1"), cuda.to_device(np.zeros(500, "u1")), registered,
        ]

    @pytest.fixture
    def leaky():
        KEPT.append(everything())

    @pytest.fixture
    def clean():
        things = everything()
        yield things
        things[-1].__exit__(None, None, None)

    def test_leaks(leaky): pass

    def test_is_clean(clean): pass

    def test_a_default_stream_is_nobodys():
        KEPT.append([cuda.default_stream(), cuda.per_thread_default_stream()])
        assert isinstance(KEPT[-1][0], cuda.stream)

    def test_a_view_keeps_its_buffer():
        KEPT.append([cuda.pinned_array(700, "u1")[3:5], cuda.to_device(np.zeros(800, "u1"))[3:5]])

    class Solver:
        def __init__(self):
            self.buffers = {}
        def solve(self, n):
            self.buffers[n] = (cuda.pinned_array(n, "u1"), cuda.to_device(np.zeros(n)), cuda.stream())

    @pytest.fixture(scope="module")
    def solver():
        solver = Solver()
        yield solver
        solver.buffers.clear()

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_module_fixture_allocates_late(solver, n):
        solver.solve(n)

    def test_threads_of_a_kernel_are_left_to_numba():
        @cuda.jit
        def kernel(a):
            a[cuda.grid(1)] += 1
        a = np.zeros(8)
        kernel[2, 4](a)
        assert a.sum() == 8
"""


def left(inner):
    """Return how many of what were left by which test, with their bytes."""
    number, nbytes = Counter(), Counter()
    for group in inner.report.groups:
        for leak in group.leaks:
            key = (leak.origin.nodeid.partition("::")[2], leak.what)
            number[key] += 1
            nbytes[key] += leak.nbytes
    return {key: (number[key], nbytes[key]) for key in number}


def test_what_the_simulator_makes(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched("-v", test_it=SIMULATED)
    assert set(inner.outcomes.values()) == {"passed"}
    assert left(inner) == {
        ("test_leaks", "stream"): (1, 0),
        ("test_leaks", "event"): (1, 0),
        ("test_leaks", "pinned buffer"): (1, 200),
        ("test_leaks", "mapped buffer"): (1, 300),
        ("test_leaks", "registered memory"): (1, 100),
        ("test_leaks", "device memory"): (2, 900),
        ("test_a_view_keeps_its_buffer", "pinned buffer"): (1, 700),
        ("test_a_view_keeps_its_buffer", "device memory"): (1, 800),
    }
    probes = {probe.kind: probe for probe in inner.report.probes}
    assert probes["event"].seen == 2
    assert probes["thread"].seen == probes["thread"].known  # of a library that was loaded, if any
    assert "gpuguard: seen by threading, " in inner.out
    assert all("numba simulator" in worker.watching for worker in inner.report.workers)


LATE = """
    import sys

    def test_imports_by_itself():
        assert "numba" not in sys.modules
        from numba import cuda
        test_imports_by_itself.kept = cuda.pinned_array(10)
"""


def test_numba_is_seen_when_a_test_imports_it_and_never_imported_first(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(test_it=LATE)
    assert left(inner) == {("test_imports_by_itself", "pinned buffer"): (1, 80)}


IMPORTED_BEFORE = """
    from numba.cuda import device_array, mapped_array, pinned as register, pinned_array as locked, stream
    from numba.cuda import default_stream

    MAKERS = {
        "pinned": lambda: locked(10, "u1"), "mapped": lambda: mapped_array(20, "u1"),
        "device": lambda: device_array(30, "u1"),
        "stream": lambda: stream(), "none": lambda: default_stream(),
    }

    def registered(array):
        kept = register(array)
        kept.__enter__()
        return kept
"""

NAMES_OF_BEFORE = """
    import numpy as np, pytest
    import imported_before

    KEPT = []

    @pytest.mark.parametrize("kind", imported_before.MAKERS)
    def test_makes(kind):
        KEPT.append(imported_before.MAKERS[kind]())

    def test_registers():
        KEPT.append(imported_before.registered(np.zeros(40, "u1")))
"""


def test_names_that_were_imported_before_anybody_watched(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(
        conftest="import imported_before", imported_before=IMPORTED_BEFORE, test_it=NAMES_OF_BEFORE
    )
    assert left(inner) == {
        ("test_makes[pinned]", "pinned buffer"): (1, 10),
        ("test_makes[mapped]", "mapped buffer"): (1, 20),
        ("test_makes[device]", "device memory"): (1, 30),
        ("test_makes[stream]", "stream"): (1, 0),
        ("test_registers", "registered memory"): (1, 40),
    }


LOADS_ITSELF = """
    import sys, types
    from numba.cuda import pinned_array

    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            if name == "__dict__":
                print("loads", "itself")
            return super().__getattribute__(name)

    sys.modules["lazy"] = Lazy("lazy")
    unwrapped = [pinned_array]

    def pytest_configure(config):
        # Added first, it runs last.
        config.add_cleanup(lambda: print("gave it back", pinned_array is unwrapped[0]))
"""


def test_nothing_loads_itself_because_names_are_replaced_and_all_are_given_back(run_plain):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    used = "import conftest\n\ndef test_it(): assert conftest.pinned_array is not conftest.unwrapped[0]"
    inner = run_plain.watched("-s", conftest=LOADS_ITSELF, test_it=used)
    assert inner.outcomes == {"test_it": "passed"}, inner.out
    assert "gave it back True" in inner.out
    assert "loads itself" not in inner.out


def test_only_the_kinds_that_are_asked_for_are_watched(run_plain):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run_plain.watched("--gpuguard-leak-kinds=stream,event", test_it=SIMULATED)
    assert {what for _, what in left(inner)} == {"stream", "event"}, inner.out
    assert [probe.kind for probe in inner.report.probes] == ["stream", "event"]


def test_a_kind_that_is_none_is_refused_with_those_that_are(run_plain):
    inner = run_plain.watched("--gpuguard-leak-kinds=thread,fds", test_it="def test_it(): pass")
    assert inner.ret == 4
    assert "'thread,fds' is no list of kinds; there are device, event, fd, memory" in inner.err + inner.out


HOST = """
    import _thread, ctypes, multiprocessing, os, subprocess, threading, time
    from multiprocessing import shared_memory
    import pytest

    KEPT = []
    FORK, SPAWN = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")

    def sleeper():
        KEPT.append(subprocess.Popen(["sleep", "1000"]))
        return KEPT[-1]

    def test_raw_thread():
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.acquire, ())

    def test_raw_thread_that_asks_who_it_is():
        def work(lock):
            threading.current_thread()
            lock.acquire()
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(work, (lock,))

    def test_raw_thread_that_ends():
        _thread.start_new_thread(int, ())

    def test_thread_of_a_raw_thread():
        over = threading.Event()
        KEPT.append(over)
        def work():
            threading.Thread(target=over.wait, daemon=True).start()
        _thread.start_new_thread(work, ())
        while threading.active_count() == 0:
            time.sleep(0.01)

    def create(function, argument):
        libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
        libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
        libc.pthread_join.argtypes = [ctypes.c_ulong, ctypes.c_void_p]
        code = ctypes.cast(getattr(libc, function), ctypes.c_void_p)
        assert libc.pthread_create(ctypes.byref(ident), None, code, argument) == 0
        return lambda: libc.pthread_join(ident, None)

    def test_native_thread():
        create("sleep", 1000)

    def test_native_thread_that_is_joined():
        assert create("usleep", 1000)() == 0

    def test_first_import_of_a_library_with_threads():
        import numpy as np
        assert np.ones((300, 300)).dot(np.ones((300, 300)))[0, 0] == 300

    def test_running_child():
        sleeper()

    def test_zombie():
        child = subprocess.Popen(["true"])
        KEPT.append(child)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    def test_child_of_a_thread():
        thread = threading.Thread(target=sleeper)
        thread.start()
        thread.join()

    def test_forked_worker():
        process = FORK.Process(target=time.sleep, args=(1000,), daemon=True)
        process.start()
        KEPT.append(process)

    def test_spawned_worker():
        process = SPAWN.Process(target=time.sleep, args=(1000,), daemon=True)
        process.start()
        KEPT.append(process)

    @pytest.fixture(scope="module", autouse=True)
    def was_left_alone():
        yield
        for pid in (one for one in KEPT if isinstance(one, int)):
            os.kill(pid, 9)
            assert os.waitpid(pid, 0)[1] == 9

    def test_child_of_native_code():
        libc, pid = ctypes.CDLL(None), ctypes.c_int()
        words = (ctypes.c_char_p * 3)(b"sleep", b"1000")
        assert libc.posix_spawnp(ctypes.byref(pid), b"sleep", None, None, words, None) == 0
        KEPT.append(pid.value)

    def test_child_of_native_code_that_is_waited_for():
        libc, pid = ctypes.CDLL(None), ctypes.c_int()
        words = (ctypes.c_char_p * 2)(b"true")
        assert libc.posix_spawnp(ctypes.byref(pid), b"true", None, None, words, None) == 0
        os.waitpid(pid.value, 0)

    def test_spawned_worker_that_is_waited_for():
        process = SPAWN.Process(target=int)
        process.start()
        process.join()

    def test_children_that_are_waited_for():
        subprocess.run(["true"])
        process = FORK.Process(target=int)
        process.start()
        process.join()

    def test_segment():
        KEPT.append(shared_memory.SharedMemory(create=True, size=5000))

    def test_segment_that_is_closed_only():
        shared_memory.SharedMemory(create=True, size=6000).close()

    def test_segment_that_is_unlinked():
        segment = shared_memory.SharedMemory(create=True, size=7000)
        segment.close()
        segment.unlink()
"""


def test_what_the_host_has(run):
    inner = run.watched("-v", "--gpuguard-reap", test_it=HOST)
    assert set(inner.outcomes.values()) == {"passed"}
    found = left(inner)
    assert {(test, what.partition(":")[0]) for test, what in found if test != "test_native_thread"} == {
        ("test_raw_thread", "_thread"),
        ("test_raw_thread_that_asks_who_it_is", "test_it"),
        ("test_thread_of_a_raw_thread", "threading"),
        ("test_running_child", "process sleep"),
        ("test_zombie", "process true"),
        ("test_child_of_a_thread", "process sleep"),
        ("test_forked_worker", f"process {_own_name(found)}"),
        ("test_spawned_worker", f"process {Path(sys.executable).name[:15]}"),
        ("test_child_of_native_code", "process sleep"),
        ("test_segment", "shared memory segment"),
        ("test_segment_that_is_closed_only", "shared memory segment"),
    }
    assert [what.partition(":")[0] for test, what in found if test == "test_native_thread"] == ["native"]
    assert found["test_segment", "shared memory segment"] == (1, 5000)
    leaks = {
        leak.origin.nodeid.partition("::")[2]: leak for group in inner.report.groups for leak in group.leaks
    }
    assert {test: leak.origin.certainty for test, leak in leaks.items() if leak.kind == "process"} == {
        "test_running_child": "exact",
        "test_zombie": "exact",
        "test_child_of_a_thread": "inherited",
        "test_forked_worker": "exact",
        "test_spawned_worker": "exact",
        "test_child_of_native_code": "inferred",
    }
    assert leaks["test_running_child"].created[-1].function == "sleeper"
    assert leaks["test_running_child"].reaped == "stopped: terminated"
    assert leaks["test_spawned_worker"].reaped == "stopped: terminated"
    assert leaks["test_spawned_worker"].created[0].function == "test_spawned_worker"
    assert leaks["test_child_of_native_code"].reaped == "left alone: it was not seen being started here"
    assert leaks["test_zombie"].reaped == "stopped: waited for"
    assert leaks["test_segment"].reaped == "stopped: unlinked"
    assert leaks["test_thread_of_a_raw_thread"].origin.certainty == "inherited"


def _own_name(found):
    """Return the name that the system gives to a worker that pytest's process forked: its own."""
    return next(what for test, what in found if test == "test_forked_worker").removeprefix("process ")


WIDE = """
    import ctypes, subprocess, threading
    from multiprocessing import shared_memory
    import pytest
    from watcher import Watcher

    KEPT = []

    def sleeper():
        return subprocess.Popen(["sleep", "1000"])

    @pytest.fixture(scope="module")
    def child():
        return sleeper()

    @pytest.fixture(scope="session")
    def segment():
        return shared_memory.SharedMemory(create=True, size=4096)

    @pytest.fixture(scope="class")
    def native():
        libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
        libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
        code = ctypes.cast(libc.sleep, ctypes.c_void_p)
        assert libc.pthread_create(ctypes.byref(ident), None, code, 1000) == 0

    @pytest.mark.parametrize("n", [1, 2])
    def test_bystander(child, segment, native, n): pass

    @pytest.fixture(scope="module")
    def closed_child():
        child = sleeper()
        yield child
        child.kill()
        child.wait()

    @pytest.fixture(scope="module")
    def closed_segment():
        segment = shared_memory.SharedMemory(create=True, size=4096)
        yield segment
        segment.close()
        segment.unlink()

    @pytest.fixture(scope="module")
    def late():
        children = []
        yield lambda: children.append(sleeper())
        for child in children:
            child.kill()
            child.wait()

    @pytest.mark.parametrize("n", [1, 2])
    def test_user(closed_child, closed_segment, late, n):
        late()

    def test_own_child_before_a_wide_fixture(request):
        KEPT.append(sleeper())
        request.getfixturevalue("after")

    @pytest.fixture(scope="module")
    def after():
        yield
"""


def test_whose_it_is_when_a_wider_fixture_made_it(run):
    inner = run.watched("--gpuguard-leaks=error", "--gpuguard-reap", test_it=WIDE)
    owners = {
        (leak.kind, leak.judged_at, leak.origin.fixture and leak.origin.fixture.name)
        for group in inner.report.groups
        for leak in group.leaks
    }
    assert owners == {
        ("process", "module", "child"),
        ("shm", "session", "segment"),
        ("thread", "class", "native"),
        ("process", "function", None),
    }
    assert {test for test, outcome in inner.outcomes.items() if outcome != "passed"} == {
        "test_own_child_before_a_wide_fixture"
    }


ON_REQUEST = """
    import ctypes, gc, logging, mmap, os, socket
    import pytest

    KEPT = []
    MIB = 1 << 20

    def test_file(tmp_path):
        KEPT.append(open(tmp_path / "x", "w"))

    def test_socket():
        KEPT.append(socket.create_server(("127.0.0.1", 0)))

    def test_pipe():
        KEPT.append(os.pipe())

    def test_closed(tmp_path):
        with open(tmp_path / "x", "w"): pass
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.close()

    def test_dropped(tmp_path):
        open(tmp_path / "it's \\"x\\"", "w").write("x")

    def test_dropped_by_a_cycle():
        ring = [socket.socket()]
        ring.append(ring)

    def test_dropped_as_expected(tmp_path):
        with pytest.warns(ResourceWarning):
            open(tmp_path / "x", "w").write("x")

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_dropped_and_ignored(tmp_path):
        open(tmp_path / "x", "w").write("x")

    @pytest.mark.xfail(strict=True)
    def test_held_by_its_traceback(tmp_path):
        file = open(tmp_path / "x", "w")
        raise AssertionError(file.name)

    @pytest.mark.xfail(strict=True)
    def test_held_by_its_error(tmp_path):
        raise OSError(open(tmp_path / "x", "w"))

    @pytest.mark.xfail(strict=True)
    def test_held_by_an_error_that_is_kept(tmp_path):
        KEPT.append(OSError(open(tmp_path / "x", "w")))
        raise ValueError

    @pytest.fixture(scope="module")
    def server():
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server

    def test_of_the_module(server): pass
    def test_of_the_module_again(server): pass

    @pytest.fixture(scope="module")
    def opens_late(tmp_path_factory):
        files = []
        yield lambda: files.append(open(tmp_path_factory.mktemp("late") / "x", "w"))
        for file in files:
            file.close()

    def test_late(opens_late):
        opens_late()
    def test_later(opens_late): pass

    @pytest.fixture(scope="module")
    def log():
        handler = logging.FileHandler("log", delay=True)
        logging.getLogger("late").addHandler(handler)
        yield
        logging.getLogger("late").removeHandler(handler)
        handler.close()

    def test_log_of_the_module_is_opened_late(log):
        logging.getLogger("late").error("x")

    @pytest.fixture
    def returns_a_file(tmp_path):
        KEPT.append(open(tmp_path / "y", "w"))

    def test_file_of_a_fixture(returns_a_file): pass

    @pytest.fixture(scope="module")
    def big():
        with mmap.mmap(-1, 64 * MIB) as mapping:
            for offset in range(0, 64 * MIB, 4096):
                mapping[offset] = 1
            yield

    @pytest.mark.parametrize("n", [1, 2])
    def test_big_of_the_module(big, n): pass

    def test_mapping():
        KEPT.append(mmap.mmap(-1, 64 * MIB))
        for offset in range(0, 64 * MIB, 4096):
            KEPT[-1][offset] = 1

    def test_malloc():
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        libc.memset(libc.malloc(64 * MIB), 1, 64 * MIB)

    def test_given_back():
        with mmap.mmap(-1, 64 * MIB) as mapping:
            for offset in range(0, 64 * MIB, 4096):
                mapping[offset] = 1

    def test_cycle():
        ring = [bytearray(b"x") * (64 * MIB)]
        ring.append(ring)

    def test_many_small():
        assert len([object() for _ in range(300_000)]) == 300_000
"""


LOADED = """
    import mmap, sys, types
    import pytest

    KEPT = []

    @pytest.mark.parametrize("n", range(4))
    def test_loads(n):
        sys.modules |= {f"part_{n}_{part}": types.ModuleType("part") for part in range(30)}

    @pytest.mark.parametrize("n", range(4))
    def test_keeps(n):
        mapping = mmap.mmap(-1, 64 << 20)
        for offset in range(0, 64 << 20, 4096):
            mapping[offset] = 1
        KEPT.append(mapping)
"""


def test_what_earlier_tests_have_loaded_is_no_reason_for_memory_that_grows(run):
    inner = run.watched("--gpuguard-leak-kinds=memory", test_it=LOADED)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.leaking == {f"test_keeps[{n}]" for n in range(4)}


DROPPED = """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    import pytest

    @pytest.fixture
    def pool():
        pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
        assert pool.submit(int).result() == 0
        return pool

    @pytest.mark.parametrize("n", range(6))
    def test_pool_goes_with_its_last_reference(pool, n): pass
"""


def test_who_looks_keeps_nothing_alive(run):
    """An executor that is dropped ends its thread; with that go its pipes, if nobody keeps the thread."""
    inner = run.watched("--gpuguard-leak-kinds=all", test_it=DROPPED)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.groups == []


def test_what_a_test_keeps_is_not_hidden_by_what_a_wider_fixture_gives_back_then(run):
    inner = run.watched(
        "--gpuguard-leak-kinds=memory",
        test_it="""
            import mmap
            import pytest

            KEPT = []

            def filled():
                mapping = mmap.mmap(-1, 64 << 20)
                for offset in range(0, 64 << 20, 4096):
                    mapping[offset] = 1
                return mapping

            @pytest.fixture(scope="module")
            def big():
                with filled():
                    yield

            def test_keeps_as_much(big):
                KEPT.append(filled())
        """,
    )
    assert list(left(inner)) == [("test_keeps_as_much", "host memory that grew and stayed")]
    (group,) = inner.report.groups
    assert group.leaks[0].origin.fixture is None


WIDE_ON_REQUEST = """
    import mmap, os, socket
    import pytest

    KEPT = []
    MIB = 1 << 20

    def filled():
        mapping = mmap.mmap(-1, 64 * MIB)
        for offset in range(0, 64 * MIB, 4096):
            mapping[offset] = 1
        return mapping

    @pytest.fixture(scope="module")
    def keeps_a_mapping():
        KEPT.append(filled())

    @pytest.fixture(scope="module")
    def keeps_a_socket():
        KEPT.append(socket.create_server(("127.0.0.1", 0)))

    @pytest.fixture(scope="module")
    def opens_in_its_teardown():
        yield
        KEPT.append(open(__file__))

    @pytest.fixture(scope="class")
    def opens_in_a_finalizer(request):
        request.addfinalizer(lambda: KEPT.append(os.pipe()))

    @pytest.fixture(scope="module")
    def closes_in_its_teardown():
        mapping = filled()
        yield
        with open(__file__), mapping:
            pass

    @pytest.fixture(scope="module")
    def gives_what_is_dropped():
        return bytearray(b"x") * (40 * MIB)

    class TestClass:
        def test_finalizer(self, opens_in_a_finalizer): pass

    def test_drops(gives_what_is_dropped): pass

    def test_cache():
        KEPT.append(bytearray(b"x") * (64 * MIB))

    def test_big_local():
        assert len(bytearray(b"x") * (64 * MIB)) == 64 * MIB

    def test_wide(keeps_a_mapping, keeps_a_socket, opens_in_its_teardown, closes_in_its_teardown): pass
"""


ONE_BY_ONE = """
    import os, select, socket, tempfile
    import pytest

    KEPT = []

    def keep_data():
        KEPT.append(open(__file__))

    def use(path):
        file = open(path, "w")
        file.write("x")

    @pytest.fixture
    def gives_a_socket():
        KEPT.append(socket.socket())

    def test_data(): keep_data()
    def test_data_again(): keep_data()
    def test_socket_of_a_fixture(gives_a_socket): pass
    def test_socket(): KEPT.append(socket.socket())
    def test_another_socket(): KEPT.append(socket.socket())
    def test_file(tmp_path): KEPT.append(open(tmp_path / "x7.txt", "w"))
    def test_temporary(): KEPT.append(tempfile.mkstemp(".log"))
    def test_unnamed(): KEPT.append(tempfile.TemporaryFile())
    @pytest.mark.parametrize("n", range(2))
    def test_epoll(n): KEPT.append(select.epoll())

    def test_drops(tmp_path):
        file = open(tmp_path / "x", "w")
        file.write("x")

    def test_drops_another(tmp_path):
        file = open(tmp_path / "y", "w")
        file.write("y")

    def test_drops_in_a_function(tmp_path):
        use(tmp_path / "z")
"""


def _told(inner):
    found = {}
    for group in inner.report.groups:
        names = frozenset(leak.origin.nodeid.partition("::")[2] for leak in group.leaks)
        found[group.title, names] = group.fingerprint, group.suspect and group.suspect.function
    return found


def test_each_file_and_socket_is_told_apart_and_known_again(run):
    inner = run.watched("--gpuguard-leak-kinds=fd", "-v", test_it=ONE_BY_ONE)
    assert set(inner.outcomes.values()) == {"passed"}
    first, in_net = _told(inner), "open socket (AF_INET, SOCK_STREAM)"
    assert {key: suspect for key, (_, suspect) in first.items()} == {
        ("open file test_it.py", frozenset({"test_data", "test_data_again"})): None,
        (in_net, frozenset({"test_socket_of_a_fixture"})): None,
        (in_net, frozenset({"test_socket"})): None,
        (in_net, frozenset({"test_another_socket"})): None,
        ("open file <tmp_path>/test_fileN/xN.txt", frozenset({"test_file"})): None,
        ("open file <tmp>/*.log", frozenset({"test_temporary"})): None,
        ("open file <tmp>/* (deleted)", frozenset({"test_unnamed"})): None,
        ("open eventpoll", frozenset({"test_epoll[0]", "test_epoll[1]"})): None,
        ("dropped file <tmp_path>/test_dropsN/x", frozenset({"test_drops"})): "test_drops",
        (
            "dropped file <tmp_path>/test_drops_anotherN/y",
            frozenset({"test_drops_another"}),
        ): "test_drops_another",
        (
            "dropped file <tmp_path>/test_drops_in_a_functionN/z",
            frozenset({"test_drops_in_a_function"}),
        ): "test_drops_in_a_function",
    }
    assert re.search(r"open +\d+: <tmp_path>/test_file0/x7.txt", inner.out)
    (inner.folder / ".pytest_cache").rename(inner.folder / "first")
    assert _told(run("--gpuguard", "--gpuguard-leak-kinds=fd")) == first


LATE_FILES = """
    import time
    from multiprocessing import get_context
    from multiprocessing.shared_memory import SharedMemory
    import pytest

    FORK, SPAWN = get_context("fork"), get_context("spawn")
    KEPT = []

    class Late:
        def get(self, make):
            self.made = make()

    @pytest.fixture(scope="module")
    def late_pool():
        yield (late := Late())
        late.made.terminate()
        late.made.join()

    @pytest.fixture(scope="module")
    def late_children():
        yield (late := Late())
        for child in late.made:
            child.terminate()
            child.join()
            child.close()

    @pytest.fixture(scope="module")
    def late_segment():
        yield (late := Late())
        late.made.close()
        late.made.unlink()

    def children():
        made = [one.Process(target=time.sleep, args=(1000,), daemon=True) for one in (FORK, SPAWN)]
        for child in made:
            child.start()
        return made

    def segment():
        return SharedMemory(create=True, size=100)

    def test_pool(late_pool):
        late_pool.get(lambda: FORK.Pool(1))
    def test_children(late_children):
        late_children.get(children)
    def test_segment(late_segment):
        late_segment.get(segment)
    def test_its_own_child():
        KEPT.append(FORK.Process(target=time.sleep, args=(1000,), daemon=True))
        KEPT[-1].start()
    def test_its_own_segment():
        KEPT.append(segment())
        KEPT[-1].unlink()
    def test_last(late_pool, late_children, late_segment): pass
"""


def test_the_files_of_a_wider_fixture_s_children_and_segments_are_its_own(run):
    way = ["--dist=loadfile"] if run.way == ["-n", "2"] else []
    inner = run.watched("--gpuguard-leak-kinds=fd,process", "-v", *way, test_it=LATE_FILES)
    assert set(inner.outcomes.values()) == {"passed"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert Counter((leak.origin.nodeid.partition("::")[2], leak.kind) for leak in leaks) == {
        ("test_its_own_child", "process"): 1,
        ("test_its_own_child", "fd"): 2,
        # Its mapping has a number too.
        ("test_its_own_segment", "fd"): 2,
    }


def test_what_wider_fixtures_keep_on_request(run):
    inner = run.watched("--gpuguard-leak-kinds=fd,memory", "--gpuguard-leaks=error", test_it=WIDE_ON_REQUEST)
    assert {name for name, said in inner.outcomes.items() if said != "passed"} == {"test_cache"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {
        (leak.what, leak.judged_at, leak.origin.fixture and leak.origin.fixture.name) for leak in leaks
    } == {
        ("host memory that grew and stayed", "function", None),
        ("host memory that grew and stayed", "module", "keeps_a_mapping"),
        ("open socket (AF_INET, SOCK_STREAM)", "module", "keeps_a_socket"),
        ("open file test_it.py", "module", "opens_in_its_teardown"),
        ("open pipe", "class", "opens_in_a_finalizer"),
    }
    # The two ends of the pipe are one each.
    assert len(leaks) == 6


def test_what_is_watched_on_request(run):
    inner = run.watched("-v", "--gpuguard-leak-kinds=fd,memory", test_it=ON_REQUEST)
    assert set(inner.outcomes.values()) == {"passed", "xskipped"}
    found = left(inner)
    assert found.keys() == {
        ("test_file", "open file <tmp_path>/test_fileN/x"),
        ("test_file_of_a_fixture", "open file <tmp_path>/test_file_of_a_fixtureN/y"),
        ("test_held_by_an_error_that_is_kept", "open file <tmp_path>/test_held_by_an_error_that_is_N/x"),
        ("test_socket", "open socket (AF_INET, SOCK_STREAM)"),
        ("test_pipe", "open pipe"),
        ("test_dropped", 'dropped file <tmp_path>/test_droppedN/it\'s "x"'),
        ("test_dropped_by_a_cycle", "dropped socket"),
        ("test_mapping", "host memory that grew and stayed"),
        ("test_malloc", "host memory that grew and stayed"),
    }
    assert found["test_pipe", "open pipe"][0] == 2
    fixtures = {
        leak.origin.fixture.name for g in inner.report.groups for leak in g.leaks if leak.origin.fixture
    }
    assert fixtures == {"returns_a_file"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    # Nobody's frame is left that had it.
    assert {
        leak.origin.nodeid: [frame.function for frame in leak.created]
        for leak in leaks
        if leak.title.startswith("dropped")
    } == {f"test_it.py::{name}": [name] for name in ("test_dropped", "test_dropped_by_a_cycle")}
    grown = found["test_malloc", "host memory that grew and stayed"][1]
    assert 60 << 20 < grown < 80 << 20
    assert [probe.kind for probe in inner.report.probes] == ["fd", "memory"]


LIBRARIES = {
    "cupy": """
        from types import SimpleNamespace
        POOL = SimpleNamespace(used=0, used_bytes=lambda: POOL.used, free_all_blocks=lambda: None)
        get_default_memory_pool = lambda: POOL
        get_default_pinned_memory_pool = lambda: POOL
        def take(n): POOL.used += n
    """,
    "torch": """
        from types import SimpleNamespace
        HELD = {"device": 0, "pinned": 0}
        cuda = SimpleNamespace(
            is_initialized=lambda: True, device_count=lambda: 1, empty_cache=lambda: None,
            memory_allocated=lambda device: HELD["device"],
            host_memory_stats=lambda: {"allocated_bytes.current": HELD["pinned"]},
        )
        def take(kind, n): HELD[kind] += n
    """,
    "rmm": """
        from types import SimpleNamespace
        TRACKING = SimpleNamespace(held=0, get_allocated_bytes=lambda: TRACKING.held)
        mr = SimpleNamespace(get_current_device_resource=lambda: TRACKING)
        def take(n): TRACKING.held += n
    """,
}

READ = """
    import pytest

    def test_cupy():
        import cupy
        cupy.take(1000)

    def test_torch():
        import torch
        torch.take("device", 2000)
        torch.take("pinned", 3000)

    def test_rmm():
        import rmm
        rmm.take(4000)

    def test_given_back():
        import cupy, torch, rmm
        cupy.take(500)
        cupy.take(-500)
        for kind in ("device", "pinned"):
            torch.take(kind, 500)
            torch.take(kind, -500)
        rmm.take(500)
        rmm.take(-500)

    @pytest.fixture(scope="module")
    def wide():
        import cupy
        cupy.take(7000)
        yield
        cupy.take(-7000)

    def test_of_the_module(wide): pass
    def test_of_the_module_again(wide): pass
"""


def test_other_libraries_are_read_when_they_are_loaded(run):
    inner = run.watched("-v", **LIBRARIES, test_it=READ)
    assert set(inner.outcomes.values()) == {"passed"}
    assert left(inner) == {
        ("test_cupy", "CuPy's device memory"): (1, 1000),
        ("test_torch", "torch's device memory"): (1, 2000),
        ("test_torch", "torch's pinned memory"): (1, 3000),
        ("test_rmm", "RMM's device memory"): (1, 4000),
    }
    names = {name for worker in inner.report.workers for name in worker.watching}
    assert any("(unverified on devices)" in name for name in names)


FAILING = """
    import pytest
    from numba import cuda

    KEPT = []

    class Solver:
        def __init__(self):
            self.buffers = {"out": cuda.pinned_array(100)}

    def test_fails():
        solver = Solver()
        raise AssertionError(str(type(solver)))

    def test_bystander(): pass

    @pytest.fixture
    def leaky():
        KEPT.append(cuda.pinned_array(200))
        return KEPT[-1]

    def test_fails_and_leaks(leaky):
        raise AssertionError(str(type(leaky)))

    @pytest.mark.parametrize("n", range(5))
    def test_bystanders(n): pass

    def test_last_fails():
        stream = cuda.stream()
        raise AssertionError(str(type(stream)))
"""

ERRORS = """
    import unittest
    import pytest
    from numba import cuda

    KEPT = []

    class Mine(Exception):
        pass

    @pytest.fixture
    def broken():
        raise Mine(cuda.pinned_array(100))

    def test_broken_fixture(broken): pass

    def test_argument():
        raise Mine({"buffer": cuda.pinned_array(100)[3:]})

    def test_attribute():
        error = Mine()
        error.buffer = cuda.pinned_array(100)
        raise error

    def test_handled_when_it_was_raised():
        try:
            raise Mine(cuda.pinned_array(100))
        except Mine:
            raise ValueError

    def test_group():
        raise ExceptionGroup("all", [Mine(cuda.pinned_array(100))])

    class Case(unittest.TestCase):
        def test_of_unittest(self):
            raise Mine(cuda.pinned_array(100))

    def test_kept_as_well():
        KEPT.append(cuda.pinned_array(200))
        raise Mine(KEPT[-1])

    def test_of_an_error_that_is_kept():
        KEPT.append(Mine(cuda.pinned_array(300)))
        raise ValueError

    def test_of_an_error_that_was_caught_and_is_kept():
        try:
            raise Mine(cuda.pinned_array(400))
        except Mine as error:
            KEPT.append(error)
        raise ValueError

    def test_passes(): pass
"""


def test_what_a_traceback_holds_is_no_leak_unless_somebody_else_does_too(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched("--gpuguard-leaks=error", test_it=FAILING)
    assert left(inner) == {("test_fails_and_leaks", "pinned buffer"): (1, 1600)}
    assert inner.leaking == {"test_fails_and_leaks"}


def test_what_the_error_of_a_failed_test_holds_is_no_leak_unless_somebody_else_does_too(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(test_it=ERRORS)
    assert left(inner) == {
        ("test_kept_as_well", "pinned buffer"): (1, 1600),
        ("test_of_an_error_that_is_kept", "pinned buffer"): (1, 2400),
        ("test_of_an_error_that_was_caught_and_is_kept", "pinned buffer"): (1, 3200),
    }
    assert {leak.verified for group in inner.report.groups for leak in group.leaks} == {False}


SESSIONS = """
    import pytest
    from numba import cuda

    KEPT = []

    @pytest.fixture(scope="session")
    def starved():
        buffer = cuda.pinned_array(100)
        raise MemoryError(str(type(buffer)))
        yield buffer

    @pytest.fixture(scope="session")
    def starved_and_kept():
        KEPT.append(cuda.pinned_array(200))
        raise MemoryError
        yield

    def test_starves(starved): pass
    def test_passes(): pass
    def test_starves_and_keeps(starved_and_kept): pass
    def test_fails(): assert not KEPT
    def test_passes_again(): pass
"""


def test_what_the_error_of_a_wider_fixture_holds_is_no_leak_unless_somebody_else_does_too(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(test_it=SESSIONS)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {(leak.origin.fixture.name, leak.what, leak.nbytes) for leak in leaks} == {
        ("starved_and_kept", "pinned buffer", 1600)
    }


def test_what_a_thread_let_go_of_and_a_traceback_holds_is_no_leak(run_plain):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run_plain.watched(
        "--gpuguard-settle=3s",
        test_it="""
            import threading, time
            from numba import cuda

            def hold(buffer):
                time.sleep(0.5)

            def test_fails_before_its_thread_ends():
                buffer = cuda.pinned_array(100)
                threading.Thread(target=hold, args=(buffer,)).start()
                raise AssertionError(str(type(buffer)))
        """,
    )
    assert left(inner) == {}
    assert "not judged: 1 held by the traceback of a failed test" in inner.out


def test_the_timer_of_faulthandler_is_nobody_s(run_plain):
    inner = run_plain.watched(
        test_it="""
            import faulthandler

            def test_arms_it():
                faulthandler.dump_traceback_later(600)

            def test_arms_it_anew():
                faulthandler.dump_traceback_later(600)
        """,
    )
    assert left(inner) == {}
    assert (inner.report.probes[0].kind, inner.report.probes[0].seen) == ("thread", 0)


MONITOR_FIRST = """
    import threading
    from pytest_gpuguard.track.monitor import Monitor

    start = Monitor.start

    def start_and_let_it_look_first(self):
        looks, looked = self._looks, threading.Event()
        def look(now):
            try:
                return looks(now)
            finally:
                looked.set()
        self._looks = look
        start(self)
        assert looked.wait(60)

    Monitor.start = start_and_let_it_look_first
"""


def test_what_came_before_the_first_test_is_nobody_s_whoever_looks_first(run):
    inner = run.watched(
        "--gpuguard-leak-kinds=all",
        conftest=MONITOR_FIRST,
        test_it="""
            import subprocess
            from multiprocessing import shared_memory

            FILE = open(__file__)
            CHILD = subprocess.Popen(["sleep", "1000"])
            SEGMENT = shared_memory.SharedMemory(create=True, size=4096)

            def test_first(): pass

            def test_last():
                CHILD.kill()
                CHILD.wait()
                SEGMENT.close()
                SEGMENT.unlink()
        """,
    )
    assert set(inner.outcomes.values()) == {"passed"}
    assert left(inner) == {}


EVERYTHING = """
    import _thread, atexit, ctypes, mmap, socket, subprocess, threading
    from multiprocessing import shared_memory
    from numba import cuda

    LOCK, OVER = _thread.allocate_lock(), threading.Event()
    LOCK.acquire()
    _thread.start_new_thread(LOCK.acquire, ())
    threading.Thread(target=OVER.wait, daemon=True).start()

    libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
    libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
    assert libc.pthread_create(ctypes.byref(ident), None, ctypes.cast(libc.sleep, ctypes.c_void_p), 1000) == 0

    CHILD = subprocess.Popen(["sleep", "1000"])
    atexit.register(CHILD.kill)
    SEGMENT = shared_memory.SharedMemory(create=True, size=4096)
    atexit.register(SEGMENT.unlink)
    SOCKET, MAPPING = socket.socket(), mmap.mmap(-1, 64 << 20)
    for offset in range(0, 64 << 20, 4096):
        MAPPING[offset] = 1
    BUFFERS = [cuda.pinned_array(10), cuda.to_device(range(10)), cuda.stream(), cuda.event()]

    def is_left_alone():
        return CHILD.poll() is None and not OVER.is_set() and SOCKET.fileno() > 2
"""
EVERY_CODE = {f"GPG{number}" for number in (*range(101, 107), *range(201, 205))}


STANDING = """
    import _thread, subprocess, sys, threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()
    gate = _thread.allocate_lock()
    gate.acquire()
    _thread.start_new_thread(gate.acquire, ())
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def pytest_unconfigure():
        child.kill()
        child.wait()
"""


def test_what_stood_there_before_the_tests_is_counted_apart(run):
    inner = run.watched("-v", conftest=STANDING, test_it="def test_nothing(): pass")
    assert inner.report.groups == []
    stood = {probe.kind: probe.stood for probe in inner.report.probes if probe.stood and not probe.seen}
    workers = len(inner.report.workers)
    # xdist has some of its own.
    assert stood.pop("thread") >= 2 * workers
    assert stood == {"process": workers}
    assert "there before the tests, and nobody's: " in " ".join(inner.out.split())


@pytest.mark.parametrize("where", ["conftest", "module", "test", "fixture", "teardown"])
def test_what_an_import_makes_is_its_test_s_or_fixture_s_and_before_the_tests_nobody_s(run_plain, where):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    places = ("conftest", "module", "test", "fixture", "teardown")
    here = {place: "import everything" if place == where else "pass" for place in places}
    inner = run_plain.watched(
        "--gpuguard-leak-kinds=all",
        everything=EVERYTHING,
        conftest=here["conftest"],
        test_it=f"""
            import sys, numba.cuda, pytest
            {here["module"]}

            @pytest.fixture(scope="class")
            def wide():
                {here["fixture"]}
                yield
                {here["teardown"]}

            class TestIt:
                def test_before(self): pass

                def test_makes(self, wide):
                    {here["test"]}

            def test_next():
                assert sys.modules["everything"].is_left_alone()
        """,
    )
    assert set(inner.outcomes.values()) == {"passed"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    before = where in {"conftest", "module"}
    assert {leak.code for leak in leaks} == (set() if before else EVERY_CODE)
    owners = {
        (leak.judged_at, leak.judged_node, leak.origin.fixture and leak.origin.fixture.name) for leak in leaks
    }
    its = ("function", "test_it.py::TestIt::test_makes", None)
    assert owners == (
        set() if before else {its if where == "test" else ("class", "test_it.py::TestIt", "wide")}
    )


BLIND = """
    from pathlib import Path
    from pytest_gpuguard.track import procfs

    there = Path.exists, Path.is_dir

    procfs.exists = lambda: False
    Path.exists = lambda self: not str(self).startswith("/proc") and there[0](self)
    Path.is_dir = lambda self: str(self) != "/dev/shm" and there[1](self)
"""


def test_where_the_system_tells_nothing_the_rest_is_watched_and_it_is_said(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched(
        "--gpuguard-leak-kinds=all",
        conftest=BLIND,
        test_it="""
            from numba import cuda
            from watcher import Watcher

            KEPT = []

            def test_thread():
                Watcher().start()

            def test_buffer():
                KEPT.append(cuda.pinned_array(10))

            def test_clean(): pass
        """,
    )
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.leaking == {"test_thread", "test_buffer"}
    said = " ".join(inner.out.split())
    assert "process not watched: this system does not list the children of a process" in said
    assert "shm not watched: there is no /dev/shm" in said
    assert "fd not watched: this system does not list what a process has open" in said
    assert "memory not watched: this system does not tell how a process uses its memory" in said
    assert "GPG901" not in said


STRANGE = """
    import sys, types

    def stand_in(name, **content):
        sys.modules[name] = module = types.ModuleType(name)
        vars(module).update(content)

    for name in ("numba", "numba.cuda", "numba.cuda.cudadrv"):
        stand_in(name)
"""


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (
            "stand_in('numba.cuda.cudadrv.driver', driver=object())",
            "this numba binds its driver in another way",
        ),
        ("", "this numba cannot be watched: KeyError: 'numba.cuda.cudadrv.driver'"),
    ],
)
def test_of_a_numba_that_is_like_none_it_is_said_that_it_is_not_watched(run_plain, driver, why):
    inner = run_plain.watched("-v", conftest=f"{STRANGE}\n    {driver}", test_it="def test_it(): pass")
    assert inner.outcomes == {"test_it": "passed"}
    unable = {probe.kind: probe.unable for probe in inner.report.probes if probe.unable}
    assert unable == dict.fromkeys(("pinned", "device", "stream", "event"), why)
    assert "numba" not in str([worker.watching for worker in inner.report.workers])


HARDLY_BEGUN = """
    from pytest_gpuguard.track import natives

    library_of, asked = natives.library_of, set()

    def running_at_first(tid):
        # As on a busy machine, where a thread that was started has not come to its first wait.
        if tid not in asked:
            asked.add(tid)
            return None
        return library_of(tid)

    natives.library_of = running_at_first
"""


def test_a_native_thread_that_has_hardly_begun_is_not_taken_for_that_of_a_pool(run):
    inner = run.watched(
        conftest=HARDLY_BEGUN,
        test_it="""
            import ctypes

            def test_loads_a_library_with_a_pool_and_starts_a_thread_of_its_own():
                import numpy
                libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
                libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
                code = ctypes.cast(libc.sleep, ctypes.c_void_p)
                assert libc.pthread_create(ctypes.byref(ident), None, code, 1000) == 0
        """,
    )
    assert [leak.code for group in inner.report.groups for leak in group.leaks] == ["GPG102"]


HIDDEN = """
    import ctypes
    import pytest

    libc, gate = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.sem_init(gate, 0, 0)
    libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
    libc.pthread_join.argtypes = [ctypes.c_ulong, ctypes.c_void_p]
    first = ctypes.c_ulong()

    def create(ident, function, argument):
        code = ctypes.cast(function, ctypes.c_void_p)
        assert libc.pthread_create(ctypes.byref(ident), None, code, argument) == 0

    def test_starts_one():
        create(first, libc.sem_wait, ctypes.cast(gate, ctypes.c_void_p))

    @pytest.mark.parametrize("n", range(QUIET))
    def test_nothing(n):
        pass

    def test_lets_it_end_and_starts_another():
        libc.sem_post(gate)
        if first.value:  # another worker may have started it
            libc.pthread_join(first, None)
        create(ctypes.c_ulong(), libc.sleep, 1000)

    def test_nothing_more():
        pass
"""


HIDING = {"test_it.py::test_starts_one", "test_it.py::test_lets_it_end_and_starts_another"}


def _leaking_tests(inner):
    return {leak.origin.nodeid for group in inner.report.groups for leak in group.leaks}


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/ns_last_pid").exists(),
    reason="this kernel does not tell which number it gave last (no /proc/sys/kernel/ns_last_pid)",
)
def test_a_native_thread_does_not_hide_behind_one_that_ended(run):
    inner = run.watched(test_it=HIDDEN.replace("QUIET", "9"))
    assert _leaking_tests(inner) == HIDING


NOBODY_TELLS = """
    import os

    original = os.open

    def refusing(path, *args, **kwargs):
        if "ns_last_pid" in str(path):
            raise FileNotFoundError(path)
        return original(path, *args, **kwargs)

    os.open = refusing
"""


def test_where_the_kernel_does_not_tell_threads_are_listed_for_some_tests_after_a_change(run):
    inner = run.watched(conftest=NOBODY_TELLS, test_it=HIDDEN.replace("QUIET", "1"))
    assert _leaking_tests(inner) == HIDING


BESIDE_THE_TIMER = """
    import ctypes, faulthandler, time

    start = faulthandler.dump_traceback_later

    def start_and_somebody_else_does_too(timeout, **kwargs):
        if timeout != 700:
            return start(timeout, **kwargs)
        libc, ident = ctypes.CDLL(None), ctypes.c_ulong()
        libc.pthread_create.argtypes = [ctypes.c_void_p] * 4
        code = ctypes.cast(libc.sleep, ctypes.c_void_p)
        assert libc.pthread_create(ctypes.byref(ident), None, code, 1000) == 0
        start(timeout, **kwargs)

    faulthandler.dump_traceback_later = start_and_somebody_else_does_too
"""


def test_a_native_thread_that_is_started_while_the_timer_is_armed_is_not_taken_for_it(run):
    inner = run.watched(
        conftest=BESIDE_THE_TIMER,
        test_it="""
            import faulthandler

            def test_arms_it():
                faulthandler.dump_traceback_later(700)

            def test_arms_it_alone():
                faulthandler.dump_traceback_later(800)
        """,
    )
    assert [leak.origin.nodeid for group in inner.report.groups for leak in group.leaks] == [
        "test_it.py::test_arms_it"
    ]
