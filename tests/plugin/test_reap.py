"""Stopping what leaked: through its owner, bounded, and nothing that is somebody's."""

from __future__ import annotations

import re

SUITE = """
    import asyncio, functools, threading, time
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    from watcher import Watcher

    KEPT = {}

    @pytest.fixture
    def leaky():
        KEPT["close"] = Watcher().start()
        return KEPT["close"]

    class Server(Watcher):
        close = None
        def shutdown(self):
            Watcher.close(self)

    class Own(threading.Thread):
        def __init__(self):
            super().__init__(daemon=True)
            self.over = threading.Event()
        def run(self):
            self.over.wait()
        def stop(self):
            self.over.set()

    class Called:
        def __init__(self):
            self.over = threading.Event()
        def __call__(self):
            self.over.wait()
        def terminate(self):
            self.over.set()

    class Hanging(Watcher):
        def close(self):
            time.sleep(60)

    class Raising(Watcher):
        def close(self):
            super().close()
            raise OSError("planted")

    class Block(Watcher):
        close = None
        def __enter__(self):
            return self
        def __exit__(self, *exc):
            Watcher.close(self)

    def test_close(leaky): pass
    def test_shutdown():
        KEPT["shutdown"] = Server().start()
    def test_thread_class():
        KEPT["thread"] = Own()
        KEPT["thread"].start()
    def test_executor():
        KEPT["executor"] = ThreadPoolExecutor(2)
        assert sum(KEPT["executor"].map(int, "123")) == 6
    def test_timer():
        KEPT["timer"] = threading.Timer(60, int)
        KEPT["timer"].start()
    def test_callable():
        KEPT["callable"] = Called()
        threading.Thread(target=KEPT["callable"], daemon=True).start()
    def test_partial():
        KEPT["partial"] = Watcher()
        threading.Thread(target=functools.partial(KEPT["partial"]._loop), daemon=True).start()
        KEPT["partial"]._thread = threading.Thread(target=int)
        KEPT["partial"]._thread.start()
    def test_with_block():
        KEPT["with"] = Block().start()
    def test_close_that_hangs():
        KEPT["hangs"] = Hanging().start()
    def test_close_that_raises():
        KEPT["raises"] = Raising().start()
    def test_event():
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    def test_event_of_others():
        KEPT["event"] = threading.Event()
        threading.Thread(target=functools.partial(KEPT["event"].wait), daemon=True).start()
    def test_event_in_a_closure():
        ready = threading.Event()
        KEPT["is ready"] = ready.is_set
        threading.Thread(target=ready.wait, daemon=True).start()
    def test_no_owner():
        KEPT["none"] = threading.Event()
        threading.Thread(target=lambda: KEPT["none"].wait(), name="alone", daemon=True).start()

    # Whose method the thread runs is no help: the object that its fixture gave is what ends it.
    class Poller:
        def __init__(self):
            self.over = threading.Event()
            self.start()
        def start(self):
            self.thread = threading.Thread(target=self.over.wait, daemon=True)
            self.thread.start()
        def close(self):
            self.over.set()

    class Loop(Poller):
        def start(self):
            threading.Thread(target=poll, args=(self,), daemon=True).start()

    def poll(loop):
        loop.over.wait()

    @pytest.fixture
    def poller():
        KEPT["poller"] = Poller()
        return KEPT["poller"]
    @pytest.fixture
    def loop():
        return Loop()

    def test_running_loop():
        KEPT["loop"] = loop = asyncio.SelectorEventLoop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
    def test_given_by_its_fixture(poller): pass
    def test_given_and_held_by_the_thread(loop): pass

    @pytest.fixture(scope="session")
    def pool():
        with ThreadPoolExecutor(1) as pool:
            yield pool

    class Shared(Watcher):
        closed = False
        def spawn(self):
            threading.Thread(target=self._loop, name="of a shared server", daemon=True).start()
        def close(self):
            self.closed = True
            super().close()

    @pytest.fixture(scope="module")
    def shared():
        shared = Shared().start()
        yield shared
        assert not shared.closed
        shared.close()

    def test_living_owners(pool, shared):
        pool.submit(int).result()
        shared.spawn()
        assert not shared.closed
    def test_living_owners_are_left_alone(pool, shared):
        pool.submit(int).result()
        assert not shared.closed

    def test_at_last():
        names = [thread.name for thread in threading.enumerate()]
        assert "alone" in names
        assert not KEPT["event"].is_set() and not KEPT["is ready"]()
"""

EXPECTED = {
    "test_close": r"stopped by Watcher\.close\(\)",
    "test_shutdown": r"stopped by Server\.shutdown\(\)",
    "test_thread_class": r"stopped by Own\.stop\(\)",
    "test_executor": r"stopped (by ThreadPoolExecutor\.shutdown\(\)|before its turn: .*)",
    "test_timer": r"stopped by Timer\.cancel\(\)",
    "test_callable": r"stopped by Called\.terminate\(\)",
    "test_partial": r"stopped by Watcher\.close\(\)",
    "test_with_block": r"stopped by Block\.__exit__\(\)",
    "test_close_that_hangs": r"still alive after Hanging\.close\(\), which did not return within 1 s",
    "test_close_that_raises": r"stopped by Raising\.close\(\), which raised OSError: planted",
    "test_event": r"stopped by Event\.set\(\)",
    "test_event_of_others": r"left alone: others have its Event as well",
    "test_event_in_a_closure": r"left alone: others have its Event as well",
    "test_running_loop": r"stopped by _UnixSelectorEventLoop\.stop\(\)",
    "test_given_by_its_fixture": r"stopped by Poller\.close\(\)",
    "test_given_and_held_by_the_thread": r"stopped by Loop\.close\(\)",
    "test_no_owner": r"left alone: nothing that closes it could be found",
}


def test_what_leaked_is_stopped_and_the_report_says_how(run):
    way = (
        ["--dist=loadfile"] if run.way == ["-n", "2"] else []
    )  # one process: the last test looks at its threads
    inner = run.watched("--gpuguard-reap", "-vv", *way, test_it=SUITE)
    assert set(inner.outcomes.values()) == {"passed"}
    done = {}
    for group in inner.report.groups:
        for leak in group.leaks:
            done.setdefault(leak.origin.nodeid.partition("::")[2], set()).add(leak.reaped)
    assert done.keys() == EXPECTED.keys()
    for name, pattern in EXPECTED.items():
        assert all(re.fullmatch(pattern, said) for said in done[name]), (name, done[name])
    assert "reaped    1 of 1: stopped by Watcher.close()" in "\n".join(inner.section)


def test_without_being_asked_nothing_is_stopped(run_plain):
    inner = run_plain.watched(
        test_it="""
            from watcher import Watcher
            KEPT = []
            def test_leaks():
                KEPT.append(Watcher().start())
            def test_next():
                assert KEPT[0]._thread.is_alive()
        """
    )
    assert set(inner.outcomes.values()) == {"passed"}
    assert [leak.reaped for leak in inner.report.groups[0].leaks] == [None]


UNWILLING = """
    import mmap, os, subprocess
    from pathlib import Path
    import pytest

    KEPT = []
    NAME = Path(f"/dev/shm/seen-by-looking-{os.getpid()}")

    def mapped():
        # Nobody tells of it, as of what native code makes.
        with NAME.open("w+b") as file:
            file.truncate(4096)
            return mmap.mmap(file.fileno(), 4096)

    def test_segment_that_goes():
        mapped().close()
        NAME.unlink()

    def test_segment_that_was_only_seen():
        KEPT.append(mapped())

    def test_it_was_left_alone():
        NAME.unlink()

    def test_child_that_goes_on():
        words = "trap '' TERM; echo; exec sleep 1000"
        KEPT.append(subprocess.Popen(["sh", "-c", words], stdout=subprocess.PIPE))
        KEPT[-1].stdout.readline()

    def test_it_is_over():
        with pytest.raises(ProcessLookupError):
            os.kill(KEPT[-1].pid, 0)
"""


def test_who_does_not_want_to_end_is_made_to_and_what_was_only_seen_is_left_alone(run_plain):
    inner = run_plain.watched("--gpuguard-reap", test_it=UNWILLING)
    assert set(inner.outcomes.values()) == {"passed"}
    leaks = [leak for group in inner.report.groups for leak in group.leaks]
    assert {(leak.kind, leak.origin.certainty): leak.reaped for leak in leaks} == {
        ("process", "exact"): "stopped: killed, as it went on for 1 s after SIGTERM",
        ("shm", "inferred"): "left alone: it was not seen being created here",
    }
    assert len(leaks) == 2
