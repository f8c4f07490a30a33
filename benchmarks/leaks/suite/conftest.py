"""The seeded suite: see ``benchmarks/leaks/planting.py``."""

from __future__ import annotations

from benchmarks.leaks.planting import end_what_was_left


def pytest_configure(config):
    config.addinivalue_line("markers", "planted(kind, owner, also): a leak is planted here")
    config.addinivalue_line("markers", "clean: only looks like a leak")


def pytest_unconfigure():
    end_what_was_left()
