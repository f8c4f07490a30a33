"""The hint of a leak names what ends it, and not what merely stood beside it."""

from __future__ import annotations

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

    def test_all(
        returns_a_client, closes_the_client, module_client, client_of_a_process, server, shares,
        module_shares, holds,
    ): pass
"""

#: By the fixture: what it is told to close, and the first edit.
HINTS = {
    "returns_a_client": (None, "Server.stop"),
    "closes_the_client": (None, "Server.stop"),
    "module_client": (None, "Server.stop"),
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
