"""What a stall tells of each process."""

from __future__ import annotations

from pytest_gpuguard.report.dossier import dossier


def state(left):
    return {"worker": "gw0", "pid": 1, "nodeid": "", "leases": [], "left": left, "idle_s": 0.0, "place": ""}


def test_what_one_test_left_many_of_is_said_once_and_all_are_counted():
    left = ["thread a", *["pinned buffer b"] * 5, *(f"event {n}" for n in range(4))]
    text = dossier("headline", [state(left)], [])
    assert "holding what they hold: 10" in text
    assert text.count("pinned buffer b") == 1
    assert "pinned buffer b, 5 times" in text
    assert "thread a\n" in text
    assert "and 2 more" in text
