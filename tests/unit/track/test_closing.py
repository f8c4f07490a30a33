"""The closing method is read off the class: nothing of the suite runs, and what is no method is none."""

# ruff: noqa: D101, D102 - stand-ins whose names say it
from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from multiprocessing.pool import ThreadPool
from multiprocessing.shared_memory import SharedMemory

import pytest

from pytest_gpuguard.track.closing import advised_methods, closing_method, closing_methods


class Computing(type):
    """A metaclass that has every attribute."""

    def __getattr__(cls, name):
        raise AssertionError(name)


class Lazy:
    """A descriptor that computes."""

    def __get__(self, instance, owner):
        raise AssertionError(owner)


class Properties(metaclass=Computing):
    close = Lazy()

    @property
    def shutdown(self):
        raise AssertionError(self)


class Stops(Properties):
    def stop(self):
        raise AssertionError(self)


class Block:
    close = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


class Bound:
    @classmethod
    def shutdown(cls):
        return cls


class Graceful:
    """Like grpc's servers: by a call without arguments nothing is ended, it fails."""

    def stop(self, grace):
        return grace

    def shutdown(self, *, now):
        return now

    async def close(self):
        """Leave a coroutine that nobody awaits."""

    @staticmethod
    def terminate(which):
        return which


class Cancels(Graceful):
    def cancel(self, why="", *, now=True):
        return why, now


class ThreadedChildWatcher:
    """Newer versions of Python have none."""

    __module__ = "asyncio.unix_events"

    def close(self):
        """Leave the threads to their children."""


class Frees(Graceful):
    def free(self):
        """Take it from whoever still uses it."""


class Frame:
    def close(self):
        """Close one's own view."""

    def destroy(self):
        """Unlink it as well."""


class Own(subprocess.Popen):
    def stop(self):
        """End it in its own way."""


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Properties, None),
        (Graceful, None),
        (Cancels, "cancel"),
        (Stops, "stop"),
        (Block, "__exit__"),
        (Bound, "shutdown"),
        (ThreadPoolExecutor, "shutdown"),
        (threading.Timer, "cancel"),
        (threading.Thread, None),
        (threading.Lock().__class__, "__exit__"),
        (int, None),
        (dict, None),
        (type, None),
    ],
)
def test_closing_methods(cls, name):
    assert closing_method(cls) == name


def test_an_event_is_set_unless_its_class_knows_better():
    class Latch(threading.Event):
        def close(self):
            """Let go."""

    assert closing_method(threading.Event) == "set"
    assert closing_method(Latch) == "close"


@pytest.mark.parametrize(
    ("cls", "kind", "names"),
    [
        (subprocess.Popen, "process", ("terminate", "wait")),
        (Own, "process", ("stop",)),
        (multiprocessing.get_context("spawn").Process, "process", ("terminate", "join")),
        (ThreadPool, "thread", ("terminate", "join")),
        (ThreadingHTTPServer, "thread", ("shutdown", "server_close")),
        (ThreadingHTTPServer, "fd", ("server_close",)),
        (asyncio.SelectorEventLoop, "thread", ()),
        (asyncio.SelectorEventLoop, "fd", ("close",)),
        (ThreadedChildWatcher, "thread", ()),
        (Stops, "thread", ("stop",)),
    ],
)
def test_what_takes_more_than_one_call(cls, kind, names):
    assert closing_methods(cls, kind) == names


@pytest.mark.parametrize(
    ("cls", "kind", "names"),
    [
        (Frees, "thread", ("free",)),
        (Stops, "thread", ("stop",)),
        (Graceful, "thread", ()),
        (threading.Lock().__class__, "thread", ("__exit__",)),
        (Frame, "shm", ("destroy",)),
        (Frame, "thread", ("close",)),
        (SharedMemory, "shm", ("close", "unlink")),
        (SharedMemory, "memory", ("close",)),
    ],
)
def test_people_are_told_of_more_than_is_called_for_them(cls, kind, names):
    assert advised_methods(cls, kind) == names


def test_nobody_calls_for_them_what_may_take_it_from_others():
    assert closing_method(Frees) is None
