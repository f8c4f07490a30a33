"""The closing method is read off the class: nothing of the suite runs, and what is no method is none."""

# ruff: noqa: D101, D102 - stand-ins whose names say it
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_gpuguard.track.closing import closing_method


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


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Properties, None),
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
