"""Whether xdist by itself heeds the marks that keep tests together."""

from __future__ import annotations

import pytest

from pytest_gpuguard.hooks.ungrouped import ignored_by


@pytest.mark.parametrize(
    ("dist", "on", "with_", "why"),
    [
        ("load", (9, 1), (3, 8, 0), "under --dist loadgroup alone, not under load"),
        ("worksteal", (9, 2), (3, 9, 0), "alone, not under worksteal"),
        ("loadscope", (9, 2), (3, 8, 0), "alone, not under loadscope"),
        ("loadgroup", (9, 2), (3, 8, 0), "xdist 3.8.0 does not on pytest"),
        ("loadgroup", (9, 1), (3, 8, 0), None),
        ("loadgroup", (9, 2), (3, 8, 1), None),
        ("each", (9, 2), (3, 8, 0), None),
        ("no", (9, 2), (3, 8, 0), None),
    ],
)
def test_who_heeds_them(dist, on, with_, why):
    said = ignored_by(dist, on, with_)
    assert (said is None) if why is None else (why in said)
