"""What is called around a fork, and when."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading, traceback

sys.version_info = VERSION
from pytest_gpuguard.forks import around_each_fork, in_each_parent

class Watch:
    def before(self):
        print("before", flush=True)

    def parent(self):
        print("parent")

    def fails(self):
        raise OSError("planted")

    def after(self):
        inside = any(frame.name == "_ends" for frame in traceback.extract_stack())
        print("after", "inside" if inside else "outside", threading.current_thread().name)

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

watch = Watch()
# What fails, or was replaced by a test, stops nobody else.
around_each_fork(watch.fails, watch.fails)
in_each_parent(watch.fails)
around_each_fork(watch.before, watch.after)
in_each_parent(watch.parent)
threading.main_thread = None
fork()
thread = threading.Thread(target=fork, name="other")
thread.start()
thread.join()
del watch
fork()
print("over")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize(
    ("version", "where"), [((3, 12), "inside"), ((3, 13), "outside")], ids=["hooks last", "count last"]
)
def test_the_last_calls_are_made_when_the_threads_have_been_counted(version, where):
    script = SCRIPT.replace("VERSION", str(version))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [
        *["before", "parent", f"after {where} MainThread"],
        *["before", "parent", "after inside other"],
        "over",
    ], done.stderr
