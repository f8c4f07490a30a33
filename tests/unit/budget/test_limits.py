"""Limits from made-up hosts."""

from __future__ import annotations

import pytest

from pytest_gpuguard.budget.limits import (
    cgroup_limits,
    default_limits,
    device_limits,
    pinned_limit,
    usable_processors,
)
from pytest_gpuguard.budget.standing import set_limits

GIB, MIB = 1 << 30, 1 << 20


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def limits(tmp_path, membership, files, release="6.1.0", total=64 * GIB):
    own = tree(tmp_path, {"membership": membership, "release": release})
    return default_limits(
        total,
        cgroups=tree(tmp_path / "cgroup", files),
        membership=own / "membership",
        release=own / "release",
    )


def test_an_eighth_of_the_memory_in_whole_steps():
    assert pinned_limit(24 * GIB) == 3 * GIB
    assert pinned_limit(16 * GIB + 500 * MIB) == 2 * GIB
    assert pinned_limit(1024 * GIB) == 128 * GIB
    assert pinned_limit(100 * MIB) == 64 * MIB


def test_without_control_groups_the_host_counts(tmp_path):
    assert limits(tmp_path, "0::/\n", {}) == {"pinned": 8 * GIB, "pinned.regions": 32_000}


def test_every_group_up_to_the_root_counts(tmp_path):
    files = {"a/memory.max": "16\n", "a/b/memory.max": "max\n", "a/b/c/memory.max": str(16 * GIB)}
    assert cgroup_limits(tree(tmp_path / "cgroup", files), write(tmp_path, "0::/a/b/c\n")) == [16 * GIB, 16]


def write(tmp_path, text):
    path = tmp_path / "membership"
    path.write_text(text)
    return path


def test_version_two(tmp_path):
    found = limits(tmp_path, "0::/job\n", {"job/memory.max": str(8 * GIB)})
    assert found["pinned"] == GIB


def test_version_one(tmp_path):
    files = {
        "memory/job/memory.limit_in_bytes": str(4 * GIB),
        "memory/memory.limit_in_bytes": str((1 << 63) - 4096),
    }
    found = limits(tmp_path, "9:cpu,cpuacct:/x\n4:memory:/job\n0::/\n", files)
    assert found["pinned"] == 512 * MIB


def test_a_container_that_does_not_see_its_own_path(tmp_path):
    files = {"memory/memory.limit_in_bytes": str(2 * GIB)}
    assert limits(tmp_path, "4:memory:/docker/0123/nested\n", files)["pinned"] == 256 * MIB


def test_a_path_that_leads_out_of_the_tree_is_kept_inside(tmp_path):
    tree(tmp_path, {"memory.max": "4096"})
    assert (
        cgroup_limits(tree(tmp_path / "cgroup", {"x/memory.max": "max"}), write(tmp_path, "0::/../../x\n"))
        == []
    )


def test_what_is_no_number_counts_for_nothing(tmp_path):
    assert limits(tmp_path, "garbage\n0::/job\n", {"job/memory.max": "lots\n"})["pinned"] == 8 * GIB


def test_less_under_wsl2(tmp_path):
    assert limits(tmp_path, "", {}, release="5.15.90.1-microsoft-standard-WSL2")["pinned"] == 512 * MIB


def test_this_host_has_limits():
    found = default_limits()
    assert found["pinned"] % (64 * MIB) == 0
    assert found["pinned.regions"] == 32_000


def test_devices_are_named_by_lower_case_uuid():
    assert device_limits({"GPU-8C5A": 1000}) == {"gpu.gpu-8c5a": 900}


@pytest.mark.parametrize("bad", [{"pinned": -1}, {"pinned": 1 << 48}, {"no such name": 1}])
def test_limits_that_cannot_be_are_refused_and_change_nothing(tmp_path, bad):
    set_limits({"pinned": 5}, tmp_path)
    before = next(tmp_path.rglob("limits.json")).read_bytes()
    with pytest.raises(ValueError, match=r"must be|named by"):
        set_limits(bad, tmp_path)
    assert next(tmp_path.rglob("limits.json")).read_bytes() == before


def test_an_interrupted_change_leaves_the_old_limits(tmp_path):
    set_limits({"pinned": 5}, tmp_path)

    def interrupt(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        set_limits({"pinned": 6}, tmp_path, seam=interrupt)
    files = [path.name for path in tmp_path.rglob("limits*")]
    assert files == ["limits.json"]
    assert b"5" in next(tmp_path.rglob("limits.json")).read_bytes()


@pytest.mark.parametrize(
    ("membership", "files", "found"),
    [
        ("0::/", {}, 8),
        ("0::/a/b", {"a/cpu.max": "250000 100000", "a/b/cpu.max": "max 100000"}, 2.5),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/j", {"cpu/j/cpu.cfs_quota_us": "400000", "cpu/j/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu:/j", {"cpu/j/cpu.cfs_quota_us": "-1", "cpu/j/cpu.cfs_period_us": "100000"}, 8),
        ("0::/a", {"a/cpu.max": "3200000 100000"}, 8),
        ("0::/a", {"a/cpu.max": "nonsense"}, 8),
    ],
)
def test_processors_are_limited_by_affinity_and_every_group_up_to_the_root(
    tmp_path, membership, files, found
):
    cgroups = tree(tmp_path / "cgroup", files)
    assert usable_processors(8, cgroups=cgroups, membership=write(tmp_path, membership)) == found
