"""Whose is it: threads of class, module and session scope are judged when it ends, and blamed on it."""

from __future__ import annotations

import re
import textwrap

LEAKY = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    from watcher import Watcher

    @pytest.fixture(scope="module")
    def of_module():
        return Watcher().start()

    @pytest.fixture(scope="class")
    def of_class():
        return Watcher().start()

    @pytest.fixture(scope="session")
    def of_session():
        return Watcher().start()

    @pytest.fixture(scope="session", params=["a", "b"])
    def of_parameter(request):
        return Watcher().start()

    @pytest.fixture(scope="module")
    def by_name():
        return Watcher().start()

    @pytest.fixture(scope="module")
    def broken():
        Watcher().start()
        raise OSError("planted")

    class Spawner(Watcher):
        def _loop(self):
            Watcher().start()

    @pytest.fixture(scope="module")
    def inherited():
        yield Spawner().start()

    KEPT = []  # a pool that nobody refers to any more ends its threads by itself

    @pytest.fixture(scope="session")
    def pool():
        KEPT.append(ThreadPoolExecutor(1))
        return KEPT[0]

    @pytest.fixture(scope="module")
    def in_its_teardown():
        yield
        Watcher().start()

    def test_first(of_module): pass
    def test_second(of_module): pass

    class TestClass:
        def test_in_class(self, of_class): pass
        def test_last_of_class(self, of_class): pass

    def test_session(of_session): pass
    def test_parameter(of_parameter): pass
    def test_by_name(request):
        request.getfixturevalue("by_name")
    @pytest.mark.xfail(raises=OSError)
    def test_broken(broken): pass
    def test_inherited(inherited): pass
    def test_pool(pool):
        assert pool.submit(int).result() == 0
    def test_of_teardown(in_its_teardown): pass
    def test_after_all(): pass
"""

XUNIT = """
    from watcher import Watcher

    def setup_module():
        Watcher().start()

    class TestXunit:
        @classmethod
        def setup_class(cls):
            Watcher().start()
        def test_xunit(self): pass

    def test_xunit_last(): pass
"""

INNOCENT = """
    import threading, time
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    from watcher import Watcher

    class Lazy:
        # Starts its thread when it is first needed, deep inside, as a solver starts its watcher.
        def __init__(self):
            self.parts = {"watchers": []}
        def solve(self):
            if not self.parts["watchers"]:
                self.parts["watchers"].append(Watcher().start())
        def close(self):
            for watcher in self.parts["watchers"]:
                watcher.close()

    class Spawner(Watcher):
        def __init__(self):
            super().__init__()
            self.child = Watcher()
        def _loop(self):
            self.child.start()
            super()._loop()
        def close(self):
            super().close()
            self.child.close()

    def closed(made):
        yield made
        made.close()

    @pytest.fixture(scope="session")
    def session_pool():
        with ThreadPoolExecutor(4) as pool:
            yield pool

    @pytest.fixture(scope="module")
    def lazy():
        yield from closed(Lazy())

    @pytest.fixture(scope="session")
    def session_watcher():
        yield from closed(Watcher().start())

    @pytest.fixture(scope="module")
    def spawner():
        yield from closed(Spawner().start())

    @pytest.fixture(scope="module")
    def has_the_config(request):
        return {"config": request.config, "request": request}

    @pytest.fixture(scope="module")
    def later(request):
        return request.addfinalizer

    @pytest.mark.parametrize("n", range(4))
    def test_ended_by_the_finaliser_of_a_module_fixture(later, n):
        later(Watcher().start().close)

    @pytest.mark.parametrize("n", range(3))
    def test_pool_and_lazy(session_pool, lazy, n):
        lazy.solve()
        assert session_pool.submit(int).result() == 0

    @pytest.mark.parametrize("n", range(2))
    def test_others(session_watcher, spawner, n):
        while not spawner.child._thread.is_alive():
            time.sleep(0.001)
"""

CULPRIT = """
    import pytest
    from watcher import Watcher

    @pytest.fixture(scope="session")
    def has_the_config(request):
        return {"config": request.config, "request": request}

    @pytest.fixture(scope="session")
    def other():
        yield Watcher()

    @pytest.fixture
    def leaky():
        return Watcher().start()

    def test_leaks_beside_wide_fixtures(has_the_config, other, leaky): pass
"""


TEARDOWN = """
    import unittest
    from watcher import Watcher

    def teardown_module():
        Watcher().start()

    class TestMethods:
        @classmethod
        def teardown_class(cls):
            Watcher().start()
        def teardown_method(self):
            Watcher().start()
        def test_method(self): pass

    class TestCase(unittest.TestCase):
        @classmethod
        def tearDownClass(cls):
            Watcher().start()
        def test_case(self): pass
"""


def test_what_the_second_half_of_a_pair_makes_is_told_by_its_name(run):
    inner = run.watched("-v", test_xunit=TEARDOWN)
    assert _owners(inner) == {
        "teardown_module": "module",
        "teardown_class": "class",
        "teardown_method": "function",
        "tearDownClass": "class",
    }
    said = re.sub(r"\s+", " ", "\n".join(inner.section))
    assert "`teardown_method` starts the thread and nobody ends it: call Watcher.close() there" in said


RULES = """
    import threading, unittest
    import pytest
    from watcher import Watcher

    def closed(made):
        yield made
        made.close()

    @pytest.fixture(autouse=True)
    def closed_for_each():
        yield from closed(Watcher().start())

    @pytest.fixture(scope="module", autouse=True)
    def kept_for_all():
        return Watcher().start()

    @pytest.fixture(scope="class")
    def closed_by_class():
        yield from closed(Watcher().start())

    @pytest.fixture(scope="module")
    def closed_by_name():
        yield from closed(Watcher().start())

    @pytest.fixture(scope="module", params=["closes", "forgets"])
    def sometimes(request):
        watcher = Watcher().start()
        yield
        if request.param == "closes":
            watcher.close()

    def start():
        return Watcher().start()

    @pytest.fixture(scope="module", params=[start])
    def made_by_its_parameter(request):
        return request.param()

    class Late(Watcher):
        # Its own thread goes at the end; what that starts when it is told to stays, or goes with it.
        def __init__(self, keep):
            super().__init__()
            self.told, self.done, self.keep = threading.Event(), threading.Event(), keep
        def _loop(self):
            self.told.wait(60)
            child = Watcher().start()
            self.done.set()
            super()._loop()
            if not self.keep:
                child.close()
        def tell(self):
            self.told.set()
            self.done.wait(60)
        def close(self):
            self.tell()
            super().close()

    @pytest.fixture(scope="module")
    def late_and_kept():
        yield from closed(Late(True).start())

    @pytest.fixture(scope="module")
    def late_and_closed():
        yield from closed(Late(False).start())

    def test_other(late_and_kept, late_and_closed): pass
    def test_late(late_and_kept, late_and_closed):
        late_and_kept.tell()
        late_and_closed.tell()
    def test_parameter(sometimes): pass
    def test_made(made_by_its_parameter): pass
    def test_made_before(made_by_its_parameter): pass
    def test_by_name(request):
        request.getfixturevalue("closed_by_name")
    def test_by_name_again(request):
        request.getfixturevalue("closed_by_name")

    class TestClass:
        def test_in_class(self, closed_by_class): pass
        def test_last_of_class(self, closed_by_class): pass

    def test_last(): pass
"""

PAIRS = """
    from watcher import Watcher

    def setup_module(module):
        module.watcher = Watcher().start()
    def teardown_module(module):
        module.watcher.close()

    def setup_function(function):
        function.watcher = Watcher().start()
        if "forgets" in function.__name__:
            Watcher().start()
    def teardown_function(function):
        function.watcher.close()

    def test_closes(): pass
    def test_forgets(): pass

    class TestPairs:
        @classmethod
        def setup_class(cls):
            cls.watcher = Watcher().start()
        @classmethod
        def teardown_class(cls):
            cls.watcher.close()
        def setup_method(self, method):
            self.own = Watcher().start()
            if "forgets" in method.__name__:
                Watcher().start()
        def teardown_method(self):
            self.own.close()
        def test_closes(self): pass
        def test_forgets(self): pass
"""


def test_every_way_to_a_fixture_leads_to_its_owner_and_who_closes_is_left_alone(run):
    inner = run.watched("--gpuguard-leaks=error", test_it=RULES, test_pairs=PAIRS)
    assert {name: said for name, said in inner.outcomes.items() if said != "passed"} == dict.fromkeys(
        ("test_forgets", "TestPairs::test_forgets"), "passed, teardown failed"
    )
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {
        (leak.origin.fixture.name, leak.judged_at, leak.origin.phase, leak.origin.certainty) for leak in leaks
    } == {
        ("kept_for_all", "module", "setup", "exact"),
        ("sometimes", "module", "setup", "exact"),
        ("made_by_its_parameter", "module", "setup", "exact"),
        ("late_and_kept", "module", "setup", "inherited"),
        ("setup_function", "function", "setup", "exact"),
        ("setup_method", "function", "setup", "exact"),
    }


FINALIZERS = """
    import pytest
    from watcher import Watcher

    @pytest.fixture(scope="module")
    def by_function(request):
        def end():
            Watcher().start()
        request.addfinalizer(end)

    @pytest.fixture(scope="module")
    def by_method(request):
        request.addfinalizer(Watcher().start)

    @pytest.fixture
    def of_function(request):
        request.addfinalizer(Watcher().start)

    def made(leaks):
        @pytest.fixture
        def ends():
            yield
            if leaks:
                Watcher().start()
        return ends

    good, bad = made(False), made(True)

    def test_made_alike(good, bad): pass

    @pytest.fixture(scope="module", params=[1, 2])
    def parametrised(request):
        yield
        if request.param == 1:
            Watcher().start()

    @pytest.fixture(scope="module")
    def clean(request):
        def end():
            Watcher().start().close()
        request.addfinalizer(end)

    def test_own(of_function): pass

    def test_by_request(request):
        request.addfinalizer(Watcher().start)

    def test_parameter(parametrised): pass

    class TestOuter:
        @classmethod
        def teardown_class(cls): pass
        def test_outer(self): pass
        class TestInner:
            @classmethod
            def teardown_class(cls):
                Watcher().start()
            def test_inner(self): pass
        def test_outer_again(self): pass

    def test_last(by_function, by_method, clean): pass
"""


def test_what_a_finalizer_makes_is_its_fixture_s_and_not_of_the_test_that_comes_last_or_next(run):
    inner = run.watched("--gpuguard-leaks=error", test_it=FINALIZERS)
    assert {name: said for name, said in inner.outcomes.items() if said != "passed"} == dict.fromkeys(
        ("test_own", "test_by_request", "test_made_alike"), "passed, teardown failed"
    )
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {
        (leak.origin.fixture and leak.origin.fixture.name, leak.judged_node, leak.origin.phase)
        for leak in leaks
    } == {
        ("of_function", "test_it.py::test_own", "teardown"),
        ("bad", "test_it.py::test_made_alike", "teardown"),
        (None, "test_it.py::test_by_request", "teardown"),
        ("parametrised", "test_it.py", "teardown"),
        ("teardown_class", "test_it.py::TestOuter::TestInner", "teardown"),
        ("by_function", "test_it.py", "teardown"),
        ("by_method", "test_it.py", "teardown"),
    }
    assert len(leaks) == 7


REARMED = """
    import threading, time
    import pytest

    OVER = threading.Event()

    def timer(pause, function):
        timer = threading.Timer(pause, function)
        timer.daemon = True
        timer.start()

    def tick():
        timer(0.02, tick)

    def slow_tick():
        timer(0.15, slow_tick)

    def test_quick():
        tick()

    def test_slow():
        slow_tick()

    @pytest.mark.parametrize("n", range(4))
    def test_others(n):
        time.sleep(0.1)

    def test_a_few_times():
        left = [1, 2, 3]
        def tock():
            if left:
                left.pop()
                timer(0.01, tock)
        tock()
"""


def test_a_timer_that_starts_itself_anew_is_one_leak_and_keeps_no_other_test_waiting(run):
    inner = run.watched(test_it=REARMED)
    assert set(inner.outcomes.values()) == {"passed"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert sorted((leak.origin.nodeid, leak.what) for leak in leaks) == [
        ("test_it.py::test_quick", "test_it:tick"),
        ("test_it.py::test_slow", "test_it:slow_tick"),
    ]


POLICY = """
    import asyncio, atexit, os, warnings
    import pytest

    @pytest.fixture(scope="session")
    def policy():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return asyncio.get_event_loop_policy()

    # Since 3.13 nothing of the policy does so.
    KEPT = []

    @pytest.mark.parametrize("n", range(6))
    def test_leaves_a_child(policy, n):
        loop = asyncio.new_event_loop()
        KEPT.append(loop)
        start = asyncio.create_subprocess_exec("sleep", "1000")
        atexit.register(os.kill, loop.run_until_complete(start).pid, 9)
"""


def test_a_child_that_the_policy_of_asyncio_looks_after_is_not_the_policy_s_fixture_s(run):
    inner = run.watched(test_it=POLICY)
    assert set(inner.outcomes.values()) == {"passed"}
    assert len(inner.leaking) == 6
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {(leak.judged_at, leak.origin.fixture) for leak in leaks} == {("function", None)}


LOOKED_AFTER = """
    import asyncio
    from multiprocessing.managers import SharedMemoryManager
    import pytest

    @pytest.fixture(scope="module")
    def children():
        loop, made = asyncio.new_event_loop(), []
        yield loop, made
        for child in made:
            child.kill()
            loop.run_until_complete(child.wait())
        loop.close()

    @pytest.fixture(scope="module")
    def manager():
        with SharedMemoryManager() as manager:
            yield manager

    def test_child(children):
        loop, made = children
        made.append(loop.run_until_complete(asyncio.create_subprocess_exec("sleep", "1000")))

    def test_segments(manager):
        manager.SharedMemory(100).close()
        manager.ShareableList([1, 2, 3]).shm.close()

    def test_last(children, manager): pass
"""


def test_a_module_s_children_and_segments_have_who_looks_after_them(run):
    inner = run.watched(test_it=LOOKED_AFTER)
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.report.groups == [], inner.out


LEFT_TO_A_MANAGER = """
    from multiprocessing.managers import SharedMemoryManager
    from multiprocessing.shared_memory import SharedMemory
    import pytest

    KEPT = []

    @pytest.fixture(scope="module")
    def manager():
        with SharedMemoryManager() as manager:
            yield manager
        KEPT.append(SharedMemoryManager())
        KEPT[-1].start()
        KEPT[-1].SharedMemory(200).close()

    def test_one_of_each(manager):
        manager.SharedMemory(100)
        SharedMemory(create=True, size=300).close()

    def test_last(manager): pass
"""


def test_of_a_manager_are_only_the_segments_that_it_was_asked_for_and_not_for_ever(run):
    inner = run.watched("--gpuguard-leak-kinds=shm", "--gpuguard-reap", test_it=LEFT_TO_A_MANAGER)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {(leak.judged_at, leak.nbytes) for leak in leaks} == {("function", 300), ("module", 200)}


def _owners(inner):
    found = {}
    for group in inner.report.groups:
        for leak in group.leaks:
            name = leak.origin.fixture.name if leak.origin.fixture else leak.origin.nodeid.rpartition("::")[2]
            found[name] = leak.judged_at
    return found


BY_NAME = """
    import unittest
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    import wide

    class Named(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.pool = ThreadPoolExecutor(1)
            cls.addClassCleanup(cls.close)
        @classmethod
        def close(cls):
            cls.pool.shutdown()
        def test_first(self):
            assert self.pool.submit(int).result() == 0
        def test_second(self):
            assert self.pool.submit(int).result() == 0

    class Forgotten(Named):
        @classmethod
        def close(cls): pass

    class TestNamed:
        pool = None
        @classmethod
        def setup_class(cls):
            cls.pool = ThreadPoolExecutor(1)
        @classmethod
        def teardown_class(cls):
            cls.pool.shutdown()
        def test_first(self):
            assert self.pool.submit(int).result() == 0
        def test_second(self):
            assert self.pool.submit(int).result() == 0

    class TestForgotten(TestNamed):
        @classmethod
        def teardown_class(cls): pass
        def test_of_its_own(self):
            type(self).made_by_the_test = ThreadPoolExecutor(1)
            assert self.made_by_the_test.submit(int).result() == 0

    class TestOnce:
        @classmethod
        def setup_class(cls):
            cls.pool = ThreadPoolExecutor(1)
        def test_it(self):
            assert self.pool.submit(int).result() == 0

    @pytest.fixture(scope="class")
    def given():
        yield ThreadPoolExecutor(1)

    class TestGiven:
        def test_it(self, given):
            KEPT.append(given)
            assert given.submit(int).result() == 0

    KEPT = []

    def setup_module():
        global POOL
        POOL = ThreadPoolExecutor(1)
    def teardown_module():
        POOL.shutdown()
    def test_of_the_module():
        assert POOL.submit(int).result() == 0

    @pytest.fixture(scope="class")
    def in_another_module():
        wide.ANOTHER = ThreadPoolExecutor(1)
        yield
        wide.ANOTHER.shutdown()

    @pytest.mark.usefixtures("in_another_module")
    class TestInAnotherModule:
        def test_first(self):
            assert wide.ANOTHER.submit(int).result() == 0
        def test_second(self): pass

    @pytest.fixture(scope="class")
    def on_the_class(request):
        request.cls.pool = ThreadPoolExecutor(1)
        yield
        request.cls.pool.shutdown()

    @pytest.mark.usefixtures("on_the_class")
    class TestOnTheClass:
        def test_first(self):
            assert self.pool.submit(int).result() == 0
        def test_second(self):
            assert self.pool.submit(int).result() == 0

    def test_of_the_session(of_the_session):
        assert wide.pool().submit(int).result() == 0
"""

WIDE = """
    from concurrent.futures import ThreadPoolExecutor
    import pytest

    def pool():
        return POOL

    @pytest.fixture(scope="session", autouse=True)
    def of_the_session():
        global POOL
        POOL = ThreadPoolExecutor(1)
        yield
        POOL.shutdown()
"""


AT_IMPORT = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing.managers import SharedMemoryManager
    from watcher import Watcher

    FORK = multiprocessing.get_context("fork")
    class Unhashable(ThreadPoolExecutor):
        def __eq__(self, other):
            raise RuntimeError("like nobody")

    THREADS, PROCESSES, KEPT = Unhashable(2), ProcessPoolExecutor(1, mp_context=FORK), []
    MANAGER = SharedMemoryManager(ctx=FORK)
    MANAGER.start()

    def test_uses_them():
        assert THREADS.submit(int).result() == PROCESSES.submit(int).result() == 0
    def test_asks_the_manager_for_a_segment():
        MANAGER.SharedMemory(100).close()
    def test_uses_them_again():
        assert THREADS.submit(int).result() == PROCESSES.submit(int).result() == 0
    def test_keeps_its_own():
        KEPT.append(ThreadPoolExecutor(1))
        assert KEPT[0].submit(int).result() == 0
    def test_gives_it_what_leaks():
        assert [*THREADS.map(lambda _: Watcher().start().close(), range(3))] == [None] * 3
        THREADS.submit(lambda: Watcher().start()).result()
"""


def test_what_a_pool_starts_that_was_there_before_the_tests_is_no_test_s(run):
    inner = run.watched(test_it=AT_IMPORT)
    assert _owners(inner) == {"test_keeps_its_own": "function", "test_gives_it_what_leaks": "function"}


def test_what_starts_late_is_of_the_fixture_that_left_it_under_a_name(run):
    inner = run.watched("-v", wide=WIDE, conftest="from wide import of_the_session", test_it=BY_NAME)
    assert _owners(inner) == {
        "setup_class": "class",
        "setUpClass": "class",
        "given": "class",
        "test_of_its_own": "function",
    }
    assert {
        leak.origin.fixture and leak.origin.fixture.node for g in inner.report.groups for leak in g.leaks
    } == {
        "test_it.py::TestForgotten",
        "test_it.py::Forgotten",
        "test_it.py::TestOnce",
        "test_it.py::TestGiven",
        None,
    }


def test_wide_leaks_fail_the_run_and_no_test(run):
    inner = run.watched(
        "-v", "--gpuguard-leaks=error", test_leaky=LEAKY, test_xunit=XUNIT, test_innocent=INNOCENT
    )
    assert {name: said for name, said in inner.outcomes.items() if said not in {"passed", ""}} == {
        "test_broken": "setup skipped"
    }
    assert _owners(inner) == {
        "of_module": "module",
        "of_class": "class",
        "of_session": "session",
        "of_parameter": "session",
        "by_name": "module",
        "broken": "module",
        "inherited": "module",
        "pool": "session",
        "in_its_teardown": "module",
        "setup_module": "module",
        "setup_class": "class",
    }
    assert inner.ret == 1
    assert re.search(r"leaks of class, module and session scope make the run fail: \d+", inner.out)
    said = re.sub(r"\s+", " ", "\n".join(inner.section))
    assert "fixture `of_session` (session) test_leaky.py:14" in said
    assert (
        "`setup_module` starts the thread and nobody ends it: call Watcher.close() in `teardown_module`"
        in said
    )
    assert "the session" in said
    assert "test_innocent" not in said
    assert "_xunit_setup" not in said
    assert "_pytest/" not in said
    certainty = {
        leak.origin.fixture.name: leak.origin.certainty for g in inner.report.groups for leak in g.leaks
    }
    assert certainty["inherited"] == "inherited"
    assert certainty["of_module"] == "exact"


def test_report_leaves_the_run_alone_and_a_held_config_hides_nothing(run):
    inner = run.watched(test_xunit=XUNIT, test_culprit=CULPRIT)
    assert inner.ret == 0
    assert _owners(inner) == {"setup_module": "module", "setup_class": "class", "leaky": "function"}
    assert "make the run fail" not in inner.out


PARCEL = {
    "__init__": "",
    "conftest": """
        import pytest
        from watcher import Watcher

        @pytest.fixture(scope="package")
        def of_package():
            return Watcher().start()

        @pytest.fixture(scope="package")
        def closed():
            watcher = Watcher().start()
            yield watcher
            watcher.close()
    """,
    "test_one": "def test_one(of_package, closed): pass",
    "test_two": "def test_two(of_package, closed): assert of_package._thread.is_alive()",
}


def test_a_package_owns_what_its_fixtures_make_until_its_last_test(run):
    folder = run.pytester.mkdir("parcel")
    for name, text in PARCEL.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    inner = run.watched("--gpuguard-leaks=error", test_last="def test_last(): pass")
    assert set(inner.outcomes.values()) == {"passed"}
    assert inner.ret == 1
    assert _owners(inner) == {"of_package": "package"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {leak.judged_node for leak in leaks} == {"parcel"}
    assert "leaks of class, module and session scope make the run fail" in inner.out


def test_what_a_stopped_run_leaves_standing_is_judged(run):
    inner = run.watched(
        "--gpuguard-leaks=error",
        "-x",
        test_it="""
            import pytest
            from watcher import Watcher

            @pytest.fixture(scope="module")
            def of_module():
                return Watcher().start()

            @pytest.fixture(scope="session")
            def of_session():
                return Watcher().start()

            @pytest.fixture(scope="session")
            def closed_late():
                watcher = Watcher().start()
                yield
                watcher.close()

            def test_fails(of_module, of_session, closed_late):
                assert 0
            def test_never_run(of_module): pass
        """,
    )
    assert _owners(inner) == {"of_module": "module", "of_session": "session"}
    assert inner.outcomes["test_fails"] == "failed"


def test_wide_leaks_found_after_the_last_test_fail_the_run(run):
    """A plugin's stop after a passed test leaves wide fixtures to the end of the session."""
    inner = run.watched(
        "--gpuguard-leaks=error",
        conftest="""
            import pytest

            @pytest.hookimpl(wrapper=True, tryfirst=True)
            def pytest_runtest_protocol(item, nextitem):
                result = yield
                item.session.shouldstop = "enough"
                return result
        """,
        test_it="""
            import pytest
            from watcher import Watcher

            @pytest.fixture(scope="module")
            def of_module():
                return Watcher().start()

            def test_passes(of_module): pass
            def test_never_run(of_module): pass
        """,
    )
    assert "of_module" in _owners(inner)
    assert inner.report.run.exit_status == inner.ret != 0


SUBTESTS = """
    import threading, time, unittest
    import pytest
    from watcher import Watcher

    def test_fixture(subtests):
        for n in range(3):
            with subtests.test(n=n):
                assert n != 1
                Watcher().start()

    class Case(unittest.TestCase):
        def test_method(self):
            for n in range(3):
                with self.subTest(n=n):
                    self.assertNotEqual(n, 1)
                    Watcher().start()

    def test_hangs(subtests):
        for n in range(2):
            with subtests.test(n=n):
                time.sleep(30 * n)

    @pytest.fixture
    def late():
        yield
        Watcher().start()

    def test_late(subtests, late):
        with subtests.test():
            pass
"""


def test_a_test_is_in_its_call_after_a_subtest_too(run):
    inner = run.watched("--gpuguard-stall-end=1s", test_it=SUBTESTS)
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    phases = {(leak.origin.nodeid.rpartition("::")[2], leak.origin.phase) for leak in leaks}
    assert phases == {("test_fixture", "call"), ("test_method", "call"), ("test_late", "teardown")}
    assert len(leaks) == 5
    (stall,) = inner.report.stalls
    assert (stall.nodeid, stall.phase, stall.how) == (
        "test_it.py::test_hangs",
        "call",
        "its wait was interrupted",
    )
