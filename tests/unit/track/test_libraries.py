"""What hangs on a name under which a library keeps things, and on nothing else."""

from __future__ import annotations

import sys
import types
from enum import Enum
from types import SimpleNamespace

import pytest

from pytest_gpuguard.track.libraries import kept_fd, kept_for_good

LOKY = "joblib.externals.loky.reusable_executor"
TRACKER = "joblib.externals.loky.backend.resource_tracker"
THREAD, CHILD, PIPE, OTHER = (SimpleNamespace(name=name) for name in ("thread", "child", "pipe", "other"))


class Hashable(Enum):
    """Workers as trio has them are keys of a dictionary."""

    IDLE = 1
    BUSY = 2


class Strange:
    """Whoever asks for its attributes runs code of the suite."""

    def __getattribute__(self, name):
        message = f"{name} is nobody's business"
        raise RuntimeError(message)


@pytest.fixture
def executor(monkeypatch):
    found = SimpleNamespace(
        _manager=THREAD,
        _processes={1: CHILD},
        _queue=SimpleNamespace(_reader=PIPE),
        _initargs=(Strange(),),
        _initializer=Strange(),
        _flags=SimpleNamespace(shutdown=False),
    )
    module = types.ModuleType(LOKY)
    module._executor = found
    monkeypatch.setitem(sys.modules, LOKY, module)
    return found


@pytest.mark.parametrize("thing", [THREAD, CHILD, PIPE], ids=lambda thing: thing.name)
def test_the_parts_of_the_reusable_executor_are_known_until_it_is_shut_down(executor, thing):
    suspect = SimpleNamespace(things=[OTHER, thing])
    assert kept_for_good(suspect) == "loky (joblib) keeps one reusable executor"
    executor._flags.shutdown = True
    assert kept_for_good(suspect) is None


def test_nothing_else_is_known(executor):
    assert executor
    assert kept_for_good(SimpleNamespace(things=[OTHER])) is None
    assert kept_for_good(SimpleNamespace(things=[])) is None


def test_where_there_is_no_executor_nothing_is_looked_for(monkeypatch):
    module = types.ModuleType(LOKY)
    module._executor = None
    monkeypatch.setitem(sys.modules, LOKY, module)
    assert kept_for_good(SimpleNamespace()) is None  # it is not even asked what it is


def test_a_thread_of_trio_is_known_while_it_has_nothing_to_do(monkeypatch):
    module = types.ModuleType("trio._core._thread_cache")
    module.THREAD_CACHE = SimpleNamespace(_idle_workers=dict.fromkeys([Hashable.IDLE]))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert (
        kept_for_good(SimpleNamespace(things=[OTHER, Hashable.IDLE])) == "trio keeps idle threads for a while"
    )
    assert kept_for_good(SimpleNamespace(things=[OTHER, Hashable.BUSY])) is None


def test_the_pipe_of_a_tracker_is_known_by_its_number(monkeypatch):
    module = types.ModuleType(TRACKER)
    module._resource_tracker = SimpleNamespace(_fd=1234)
    monkeypatch.setitem(sys.modules, TRACKER, module)
    assert kept_fd(1234) == "loky (joblib) keeps one resource tracker"
    assert kept_fd(1235) is None
