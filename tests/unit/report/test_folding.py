"""Faults of one cause are told once."""

from __future__ import annotations

from pytest_gpuguard.report.folding import folded
from pytest_gpuguard.report.model import Fault


def fault(kind, code, nodeid, at, state=""):
    return Fault(kind, code, "gw0", nodeid, "error", at, state=state)


def test_the_first_shortage_with_a_dossier_takes_all_others_of_its_kind():
    faults = [
        fault("oom", "GPG404", "early", 1.0),
        fault("oom", "GPG404", "first", 1.5, "stacks/gw0-1.txt"),
        fault("crash", "GPG602", "crash", 2.0),
        fault("oom", "GPG405", "pinned", 3.0, "stacks/gw0-1.txt"),
        fault("oom", "GPG404", "late", 4.0),
        fault("oom", "GPG404", "late", 5.0),
        fault("oom", "GPG404", "first", 6.0),
        fault("crash", "GPG602", "crash2", 7.0),
    ]
    found = [(entry.code, entry.nodeid, entry.followers) for entry in folded(faults)]
    assert found == [
        ("GPG404", "first", ["early", "late"]),
        ("GPG602", "crash", []),
        ("GPG405", "pinned", []),
        ("GPG602", "crash2", []),
    ]


def test_without_a_dossier_the_earliest_is_first():
    faults = [fault("oom", "GPG404", "b", 2.0), fault("oom", "GPG404", "a", 1.0)]
    assert [(entry.nodeid, entry.followers) for entry in folded(faults)] == [("a", ["b"])]
    assert folded([]) == []
