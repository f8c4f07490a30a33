"""Blocks that watch themselves, plugins that have a say, who holds what leaked, and threads that burn."""

from __future__ import annotations

BLOCKS = """
    import subprocess, threading
    from numba import cuda
    from watcher import Watcher

    KEPT = []

    def test_clean(leak_scope):
        with leak_scope():
            watcher = Watcher().start()
            watcher.close()
            cuda.stream()
            subprocess.run(["true"])

    def test_thread(leak_scope):
        with leak_scope(settle=0.1):
            Watcher().start()

    def test_stream(leak_scope):
        with leak_scope():
            KEPT.append(cuda.stream())

    def test_own_failure_comes_first(leak_scope):
        with leak_scope():
            Watcher().start()
            assert 1 == 2

    def test_what_was_there_before_is_not_the_blocks(leak_scope):
        KEPT.append(cuda.event())
        with leak_scope():
            pass

    def test_a_block_in_a_block(leak_scope):
        with leak_scope():
            with leak_scope():
                cuda.stream()
            cuda.event()

    def test_all_is_put_back():
        import _thread, os
        wrapped = [threading.Thread.start, _thread.start_new_thread, os.fork, cuda.pinned_array]
        assert "gpuguard" not in str([getattr(one, "__module__", "") for one in wrapped])
"""


def _blocks(run, *args):
    run.setenv("NUMBA_ENABLE_CUDASIM", "1")
    return run(*args, test_it=BLOCKS)


def test_a_block_fails_the_test_when_it_leaves_something_though_nothing_is_active(run):
    inner = _blocks(run)
    failed = {name for name, outcome in inner.outcomes.items() if outcome == "failed"}
    assert failed == {"test_thread", "test_stream", "test_own_failure_comes_first"}
    assert "left behind by the block: thread Watcher._loop" in inner.text("test_thread")
    assert "left behind by the block: stream" in inner.text("test_stream")
    assert "suspect   test_it.py:" in inner.text("test_stream")
    assert "left behind" not in inner.text("test_own_failure_comes_first")


def test_a_block_in_a_watched_run(run_plain):
    inner = _blocks(run_plain, "--gpuguard", "--gpuguard-settle=0.2s", "-k", "not put_back")
    failed = {name for name, outcome in inner.outcomes.items() if outcome == "failed"}
    assert failed == {"test_thread", "test_stream", "test_own_failure_comes_first"}


HOOKS = """
    import pytest
    from pytest_gpuguard.track.probe import Suspect

    HEARD = []

    def pytest_gpuguard_ignore_leak(leak):
        if "Kept" in leak["title"]:
            return "kept on purpose"

    def pytest_gpuguard_leak(leak):
        HEARD.append(leak["title"])
        print("heard", leak["title"], leak["known"] and leak["known"]["reason"])

    class Token(Suspect):
        kind, code, what, title = "token", "XYZ1", "token", "token"
        def __init__(self, birth):
            self.birth = birth
        def subject(self, places):
            return {"colour": "red"}

    class Tokens:
        kinds, unable, watching = frozenset({"token"}), None, ("tokens",)
        def __init__(self, scene):
            self.scene, self.births, self.at = scene, [], 0
        def install(self):
            import tokens
            tokens.made = lambda: self.births.append(self.scene.born("token", ()))
            return lambda: None
        def moved(self):
            return len(self.births) != self.at
        def sweep(self): pass
        def looked(self):
            self.at = len(self.births)
        def suspects(self):
            return [Token(birth) for birth in self.births if birth.owner.ended and not birth.reported]
        def abandoned(self):
            return []
        def known(self, suspect):
            return None
        def seen(self):
            return {"token": len(self.births)}
        def existed(self):
            return {}
        def stood(self):
            return {}

    def pytest_gpuguard_probes(config, scene):
        return [Tokens(scene)]
"""

HEARS = """
    import threading
    import tokens
    from watcher import Watcher

    class Kept(Watcher):
        def keep(self):
            self._over.wait()

    def test_kept():
        threading.Thread(target=Kept().keep, daemon=True).start()
    def test_left():
        Watcher().start()
    def test_token():
        tokens.made()
    def test_clean(): pass
"""


def test_plugins_add_probes_hear_of_leaks_and_tolerate_them(run):
    inner = run.watched(
        "--gpuguard-leaks=error",
        "--gpuguard-reap",
        "-s",
        conftest=HOOKS,
        tokens="def made(): raise AssertionError",
        test_it=HEARS,
    )
    status = {group.title: group.status for group in inner.report.groups}
    assert status == {"thread Kept.keep": "known", "thread Watcher._loop": "new", "token": "new"}
    assert {name for name, outcome in inner.outcomes.items() if outcome != "passed"} == {
        "test_left",
        "test_token",
    }
    reaped = {group.title: group.leaks[0].reaped for group in inner.report.groups}
    assert reaped["thread Kept.keep"] is None
    assert reaped["thread Watcher._loop"] == "stopped by Watcher.close()"
    if "2" not in run.way:  # a worker's output goes nowhere
        assert "heard thread Kept.keep kept on purpose" in inner.out
        assert "heard token None" in inner.out


HELD = """
    import threading, time
    from numba import cuda

    class Pool:
        def __init__(self):
            self.buffers = {"big": []}

    POOL = Pool()

    def test_view():
        POOL.buffers["big"].append(cuda.pinned_array(100)[2:])

    def test_closure():
        def make():
            event = cuda.event()
            return lambda: event
        POOL.keep = make()

    def test_burns(request):
        over = threading.Event()
        POOL.over = over
        def spin():
            while not over.is_set(): pass
        threading.Thread(target=spin, daemon=True).start()

    def test_end():
        POOL.over.set()
"""


def test_who_holds_it_is_said_when_asked(run_plain):
    run_plain.setenv("NUMBA_ENABLE_CUDASIM", "1")
    inner = run_plain.watched("--gpuguard-referrers", "--gpuguard-settle=1s", test_it=HELD)
    held = {group.title: group.leaks[0].subject for group in inner.report.groups}
    assert held["pinned buffer"].holders == ["module test_it: POOL.buffers['big'][0]"]
    assert held["event"].holders[0].startswith("module test_it: POOL.keep")
    assert "held by   module test_it: POOL.buffers['big'][0]" in "\n".join(inner.section)
    assert held["thread test_burns.<locals>.spin"].cpu > 0
    without = run_plain.watched("-k", "view", test_it=HELD)
    assert "held by" not in without.out


BROKEN = """
    class Broken:
        kinds, unable, watching = frozenset({"broken"}), None, ()
        asked = 0
        def install(self):
            return lambda: None
        def moved(self):
            self.asked += 1
            if self.asked > 3:
                raise RuntimeError("planted")
            return False
        def seen(self):
            return {"broken": 0}
        def existed(self):
            return {}
        def stood(self):
            return {}
        def abandoned(self):
            return []

    def pytest_gpuguard_probes(config, scene):
        return [Broken()]
"""


def test_a_detector_that_fails_says_so_and_takes_no_test_with_it(run):
    inner = run.watched(
        conftest=BROKEN,
        test_it="""
            import pytest
            @pytest.mark.parametrize("n", range(12))
            def test_it(n): pass
        """,
    )
    assert (inner.ret, set(inner.outcomes.values())) == (0, {"passed"})
    assert any("GPG901" in note and "planted" in note for note in inner.report.notes)
    assert "not watched: it failed with RuntimeError: planted" in " ".join(inner.out.split())
