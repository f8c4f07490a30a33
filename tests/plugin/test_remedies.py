"""The hint of a leak names what ends it, and not what merely stood beside it."""

from __future__ import annotations

from pytest_gpuguard.report.remedy import remedy

SUITE = """
    import queue, subprocess, sys, threading
    import pytest

    class Server:
        def __init__(self):
            self.over = threading.Event()
            threading.Thread(target=self.serve, daemon=True).start()
        def serve(self):
            self.over.wait()
        def stop(self):
            self.over.set()

    class Client:
        def close(self): pass

    def work(jobs):
        jobs.get()

    class Shares:
        def __init__(self):
            self.jobs = queue.Queue()
            threading.Thread(target=work, args=(self.jobs,), daemon=True).start()
        def close(self):
            self.jobs.put(None)

    class Holds:
        def __init__(self):
            self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        def close(self):
            self.process.kill()
            self.process.wait()

    @pytest.fixture
    def returns_a_client():
        Server()
        return Client()

    @pytest.fixture
    def closes_the_client():
        Server()
        client = Client()
        yield client
        client.close()

    @pytest.fixture(scope="module")
    def module_client():
        Server()
        client = Client()
        yield client
        client.close()

    class Quits:
        def quit(self): pass

    @pytest.fixture(scope="module")
    def module_that_quits():
        Server()
        yield Quits()

    @pytest.fixture
    def client_of_a_process():
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return Client()

    @pytest.fixture
    def server():
        return Server()

    @pytest.fixture
    def shares():
        return Shares()

    @pytest.fixture(scope="module")
    def module_shares():
        return Shares()

    @pytest.fixture
    def holds():
        return Holds()

    def test_before(module_that_quits): pass

    def test_all(
        returns_a_client, closes_the_client, module_client, client_of_a_process,
        server, shares, module_shares, holds,
    ): pass
"""

#: By the fixture: what it is told to close, and the first edit.
HINTS = {
    "returns_a_client": (None, "Server.stop"),
    "closes_the_client": (None, "Server.stop"),
    "module_client": (None, "Server.stop"),
    "module_that_quits": (None, "Server.stop"),
    "client_of_a_process": (None, None),
    "server": ("Server.stop", "Server.stop"),
    "shares": ("Shares.close", None),
    "module_shares": ("Shares.close", None),
    "holds": ("Holds.close", None),
}


def test_what_a_fixture_gave_is_told_to_be_closed_only_where_that_can_end_the_leak(run):
    inner = run.watched("--gpuguard-reap", test_it=SUITE)
    told = {}
    for leak in (leak for group in inner.report.groups for leak in group.leaks):
        fixture = leak.origin.fixture
        given = f"{fixture.made}.{fixture.closing}" if fixture.made else None
        told[fixture.name] = (given, f"{leak.keeper}.{leak.closing}" if leak.closing else None)
        assert bool(fixture.edit) == (given is not None)
    assert told == HINTS


CLOSED = """
    import contextlib, threading, unittest
    from multiprocessing import shared_memory
    import pytest

    class Half:
        def __init__(self):
            self.events = [threading.Event(), threading.Event()]
            for event in self.events:
                threading.Thread(target=self.run, args=(event,), daemon=True).start()
        def run(self, event):
            event.wait()
        def close(self):
            self.events[0].set()

    class Quits:
        def __init__(self):
            threading.Thread(target=self.run, daemon=True).start()
        def run(self):
            threading.Event().wait()
        def quit(self): pass

    class Sampler:
        def __enter__(self):
            self.over = threading.Event()
            threading.Thread(target=self.run, daemon=True).start()
            return self
        def run(self):
            self.over.wait()
        def __exit__(self, *exc):
            self.over.set()

    class Frame:
        def __init__(self):
            self.shm = shared_memory.SharedMemory(create=True, size=100)
        def close(self):
            self.shm.close()
        def destroy(self):
            self.close()
            self.shm.unlink()

    def later():
        timer = threading.Timer(60, print)
        timer.daemon = True
        timer.start()

    def setUpModule():
        later()

    def tearDownModule():
        later()

    @pytest.fixture
    def closed():
        half = Half()
        yield half
        half.close()

    @pytest.fixture
    def closed_by_a_with():
        with contextlib.closing(Half()) as half:
            yield half

    @pytest.fixture
    def quits():
        return Quits()

    @pytest.fixture
    def sampler():
        return Sampler().__enter__()

    @pytest.fixture
    def frame():
        frame = Frame()
        yield frame
        frame.close()

    @pytest.fixture
    def raises():
        Half()
        raise RuntimeError
        yield

    def test_all(closed, closed_by_a_with, quits, sampler, frame): pass

    def test_not_reached(raises): pass

    class Old(unittest.TestCase):
        def setUp(self):
            Quits()
        def test_old(self): pass
"""

NOBODY = "starts the thread and nobody ends it"
ALREADY = "closes its Half, but the thread lives on: let Half.close() tell it to stop and join it"
#: By the fixture.
TOLD = {
    "closed": ALREADY,
    "closed_by_a_with": ALREADY,
    "quits": (
        "returns a Quits and nobody closes it: write `yield` for `return`, "
        "and call its `quit()` after the yield"
    ),
    "sampler": (
        "returns a Sampler and nobody closes it: write `yield` for `return`, "
        "and put a `with` around the yield, in place of its `__enter__()`"
    ),
    "frame": "yields a Frame but the shared memory segment lives on: call its `destroy()` after the yield",
    "raises": (
        "starts the thread and raises before its `yield`: call Half.close() in an `except`, and raise again"
    ),
    "setUpModule": f"{NOBODY}: call Timer.cancel() in `tearDownModule`",
    "tearDownModule": f"{NOBODY}: call Timer.cancel() there",
    None: f"`setUp` {NOBODY}: call Quits.quit() in `tearDown`",
}


def test_a_hint_tells_what_is_not_done_yet(run):
    inner = run.watched("--gpuguard-reap", "--gpuguard-settle=0.3s", test_it=CLOSED)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    told = {}
    for leak in leaks:
        fixture = leak.origin.fixture
        named = fixture and fixture.name
        told[named] = remedy(leak).removeprefix("fixture ").removeprefix(f"`{named}` ")
    assert told == TOLD
    (quits,) = (leak for leak in leaks if leak.origin.fixture and leak.origin.fixture.name == "quits")
    assert quits.reaped == "left alone: nothing that closes it could be found"


ASYNC = {
    # As plugins for async fixtures do it: pytest gets a function of theirs.
    "conftest": """
        import sys
        sys.path.insert(0, SITE)
        from runs_async import pytest_fixture_setup
    """,
    "test_it": """
        import threading
        import pytest

        class Poller:
            def __init__(self):
                threading.Thread(target=self.run, daemon=True).start()
            def run(self):
                threading.Event().wait()
            def stop(self): pass

        @pytest.fixture
        async def returns():
            return Poller()

        @pytest.fixture
        async def yields():
            poller = Poller()
            yield poller

        @pytest.fixture(name="renamed")
        async def under_another_name():
            return Poller()

        def test_it(returns, yields, renamed): pass
    """,
}
RUNS_ASYNC = """
import asyncio, functools, inspect
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef):
    function = fixturedef.func
    if inspect.isasyncgenfunction(function):
        @functools.wraps(function)
        def runs(*args, **kwargs):
            async def first():
                return await function(*args, **kwargs).__anext__()
            return asyncio.run(first())
        fixturedef.func = runs
    elif inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        def runs(*args, **kwargs):
            yield asyncio.run(function(*args, **kwargs))
        fixturedef.func = runs
    yield
"""


def test_the_function_of_an_async_fixture_is_found_behind_what_runs_it(run, tmp_path):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "runs_async.py").write_text(RUNS_ASYNC)
    conftest = ASYNC["conftest"].replace("SITE", repr(str(site)))
    inner = run.watched("--gpuguard-settle=0.3s", conftest=conftest, test_it=ASYNC["test_it"])
    told = {}
    for leak in (leak for group in inner.report.groups for leak in group.leaks):
        fixture = leak.origin.fixture
        told[fixture.name] = (fixture.file, fixture.yields, fixture.made, fixture.edit[-1:])
    assert told == {
        "returns": ("test_it.py", False, "Poller", ["+ poller.stop()"]),
        "yields": ("test_it.py", True, "Poller", ["+ poller.stop()"]),
        "renamed": ("", False, None, []),
    }


LAZY = """
    import threading
    import pytest
    from numba import cuda

    class Lazy:
        # Is made when somebody asks what it is, which is too soon: as lazy settings of web frameworks.
        @property
        def __class__(self):
            raise RuntimeError("asked for its class")

    KEPT = []

    class Server:
        def __init__(self, lazy):
            self.over = threading.Event()
            self.lazy = lazy
            threading.Thread(target=self.over.wait, args=(60,), daemon=True).start()
        def close(self):
            self.over.set()

    @pytest.fixture(scope="module")
    def wide():
        yield Server(Lazy())

    @pytest.fixture
    def server():
        return Server(Lazy())

    def test_leaks(wide, server): pass

    def test_fails():
        lazy = Lazy()
        lazy.buffer = cuda.pinned_array(100)
        KEPT.append(lazy)
        assert 0
"""


def test_an_object_that_computes_its_class_is_not_asked_for_it(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched("--gpuguard-referrers", "--gpuguard-settle=1s", test_it=LAZY)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert sorted(leak.code for leak in leaks) == ["GPG101", "GPG101", "GPG201"]
    assert "GPG901" not in inner.out
    (buffer,) = (leak for leak in leaks if leak.code == "GPG201")
    assert [way.rpartition(" ")[2] for way in buffer.subject.holders] == ["lazy.buffer"]


OF_INSTANCES = """
    from numba import cuda

    class Solver:
        def __init__(self):
            self.buffer = cuda.pinned_array(100)

    KEPT = []

    class TestAttributes:
        def setup_method(self):
            self.of_setup = cuda.pinned_array(100)

        def test_attributes(self):
            self.of_test: object = cuda.pinned_array(100)
            self.solver = Solver()
            KEPT.append(cuda.pinned_array(100))
"""


def test_what_a_test_gives_its_instance_is_told_to_be_taken_back(run):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run.watched("--gpuguard-referrers", "--gpuguard-settle=0.3s", test_it=OF_INSTANCES)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    told = {(leak.attribute, *(way.rpartition(": ")[2] for way in leak.subject.holders)) for leak in leaks}
    assert told == {
        ("of_setup", "item._instance.of_setup"),
        ("of_test", "item._instance.of_test"),
        ("solver", "item._instance.solver.buffer"),
        (None, "KEPT[0]"),
    }
