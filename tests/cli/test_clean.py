"""``gpuguard clean``: what nobody is in goes, what somebody is in stays, whatever its age."""

from __future__ import annotations

import os

import filelock
import msgspec
import pytest
from click.testing import CliRunner

from pytest_gpuguard.budget import Budget
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.clean import Cleaned
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.ledger.places import pools_path

LIMITS = {"u": 8}


def clean(root, *options):
    result = CliRunner().invoke(main, ["clean", "--budget-dir", str(root), *options])
    assert result.exit_code == Exit.FINE
    return result.output


def used(root, pool="host"):
    """Return the folder of a pool that somebody was in."""
    with Budget(LIMITS, root, pool) as budget:
        budget.acquire({"u": 1}).release()
        return budget.snapshot().directory


@pytest.fixture
def earlier_boot(tmp_path):
    folder = used(tmp_path)
    before = folder.parent.with_name("00000001")
    folder.parent.rename(before)
    return before


def test_nothing_to_clean(tmp_path):
    assert "nothing to clean" in clean(tmp_path)
    used(tmp_path)
    assert "nothing to clean" in clean(tmp_path)
    assert pools_path(tmp_path).is_dir()


def test_an_earlier_boot_goes(tmp_path, earlier_boot):
    assert "would remove" in clean(tmp_path, "--dry-run")
    assert earlier_boot.exists()
    assert f"removed {earlier_boot}/host (of an earlier boot)" in clean(tmp_path)
    assert not earlier_boot.exists()


def test_idle_ones_go_by_age(tmp_path):
    folder = used(tmp_path)
    eight_days = (folder / "ledger").stat().st_mtime - 8 * 86400
    os.utime(folder / "ledger", (eight_days, eight_days))
    record = msgspec.json.decode(clean(tmp_path, "--json"), type=Cleaned)
    assert [(pool.path, pool.gone, pool.idle_s // 86400) for pool in record.pools] == [(str(folder), True, 8)]
    assert not folder.exists()


def test_whoever_is_in_stays_in(tmp_path):
    with Budget(LIMITS, tmp_path) as budget, budget.acquire({"u": 8}):
        assert "nothing to clean" in clean(tmp_path, "--idle", "0s")
        assert [holder.amounts for holder in budget.snapshot().holders] == [{"u": 8}]
    assert "removed" in clean(tmp_path, "--idle", "0s")


def test_a_pool_that_is_held_as_a_whole_stays(tmp_path):
    """Where ranges do not work nobody locks the folder, but the lock of the pool is one."""
    folder = used(tmp_path)
    with filelock.FileLock(folder / "exclusive.lock"):
        assert f"kept {folder}" in clean(tmp_path, "--idle", "0s")
    assert f"removed {folder}" in clean(tmp_path, "--idle", "0s")


def test_what_is_not_ours_stays_and_is_named(tmp_path, earlier_boot):
    (earlier_boot / "host" / "notes.txt").write_text("mine")
    assert "notes.txt in it is not ours" in clean(tmp_path)
    assert [path.name for path in (earlier_boot / "host").iterdir()] == ["notes.txt"]


def test_a_link_is_not_followed(tmp_path, earlier_boot):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "ledger").write_text("")
    (earlier_boot / "linked").symlink_to(precious)
    clean(tmp_path)
    assert (precious / "ledger").exists()
