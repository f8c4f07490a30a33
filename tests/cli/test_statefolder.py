"""``gpuguard doctor`` on state folders that are well, and on each that is not."""

from __future__ import annotations

import ctypes
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from pytest_gpuguard.budget import Budget, set_limits
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.cli import statefolder
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.where import Where
from pytest_gpuguard.ledger import selftest
from pytest_gpuguard.ledger.places import pools_path
from tests.processes.children import Child, at, freeze

LIMITS = {"u": 8}
USER = f"gpuguard-{os.geteuid()}"


def findings(root, pool="host"):
    found = list(statefolder.look_at_state_folder(Where(root, pool)))
    assert all(finding.do for finding in found if finding.level in {"warn", "fail"})
    return found


def bad(root):
    return [finding for finding in findings(root) if finding.level in {"warn", "fail"}]


def only(root):
    (finding,) = bad(root)
    return finding


def use(root, pool="host"):
    with Budget(LIMITS, root, pool) as budget:
        budget.acquire({"u": 1}).release()
        return budget.snapshot().directory


def test_a_folder_that_is_well_before_during_and_after_a_run(tmp_path):
    assert bad(tmp_path) == []
    with Budget(LIMITS, tmp_path).acquire({"u": 1}):
        assert bad(tmp_path) == []
        assert any("1 holding" in finding.text for finding in findings(tmp_path))
    assert bad(tmp_path) == []


def test_it_leaves_nothing_behind(tmp_path):
    bad(tmp_path)
    assert list(pools_path(tmp_path).iterdir()) == []


def test_a_missing_folder(tmp_path):
    assert only(tmp_path / "missing").level == "fail"


def test_a_folder_in_which_everybody_may_swap_files(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "sticky" in only(tmp_path / "open").text


def test_folders_that_are_not_ours_alone(tmp_path):
    use(tmp_path)
    (tmp_path / USER).chmod(0o777)
    finding = only(tmp_path)
    assert finding.level == "fail"
    assert "GPG306" in finding.text
    (tmp_path / USER).chmod(0o700)
    shutil.move(tmp_path / USER, tmp_path / "moved")
    (tmp_path / USER).symlink_to(tmp_path / "moved")
    assert "link" in only(tmp_path).text


def test_locks_that_do_not_exclude(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "any_locked", lambda *_: False)
    finding = only(tmp_path)
    assert (finding.level, finding.about) == ("fail", "locks")
    assert "one claim at a time" in finding.text
    assert list(pools_path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("lock", ["the mutex", "a range", "the folder"])
def test_locks_that_exclude_within_a_process_only(tmp_path, monkeypatch, lock):
    monkeypatch.setitem(selftest._LOCKS, lock, lambda _folder: True)
    assert f"another process does not see our lock on {lock}" in only(tmp_path).text


def test_a_file_system_that_was_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "filesystem_of", lambda _fd: "nfs4")
    finding = only(tmp_path)
    assert finding.level == "warn"
    assert "nfs4" in finding.text


def test_leftovers(tmp_path):
    folder = use(tmp_path)
    folder.parent.rename(folder.parent.with_name("00000001"))
    finding = only(tmp_path)
    assert "left by an earlier boot" in finding.text
    assert "gpuguard clean" in finding.do


@pytest.mark.parametrize("name", ["ledger", "r.u", "s.0", "w.0"])
def test_what_was_planted_in_a_pool(tmp_path, name):
    folder = use(tmp_path)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/null")
    assert any(name in finding.text for finding in bad(tmp_path))


def test_what_is_not_ours_is_only_noted(tmp_path):
    (use(tmp_path) / "notes.txt").write_text("mine")
    assert bad(tmp_path) == []
    assert any("notes.txt is not ours" in finding.text for finding in findings(tmp_path))


def test_files_deleted_under_a_run(tmp_path):
    with Budget(LIMITS, tmp_path) as budget, budget.acquire({"u": 1}):
        (budget.snapshot().directory / "ledger").unlink()
        assert "files were deleted while somebody is in" in only(tmp_path).text


def test_limits_that_differ_and_a_limits_file_that_cannot_be_read(tmp_path):
    with Budget(LIMITS, tmp_path).acquire({"u": 1}), Budget({"u": 5}, tmp_path).acquire({"u": 1}):
        folder = set_limits({"u": 4}, tmp_path)
        notes = [finding.text for finding in findings(tmp_path) if finding.about == "limits"]
        assert any("limits differ (5, 8)" in text for text in notes)
        assert any("limits.json" in text for text in notes)
        (folder / "limits.json").write_text("[]")
        assert any("is ignored" in finding.text for finding in findings(tmp_path))


def test_somebody_stopped(tmp_path):
    def body(say, hear):
        with Budget(LIMITS, tmp_path).acquire({"u": 1}, label="gw0 test_it"):
            say("has")
            hear()

    child = Child(body)
    assert child.hear() == "has"
    child.stop()
    finding = only(tmp_path)
    assert f"pid {child.pid}  gw0 test_it holds 1 u: stopped" in finding.text
    assert f"kill -CONT {child.pid}" in finding.do
    child.kill()


def test_somebody_stopped_inside_the_mutex(tmp_path):
    child = Child(
        lambda _say, _hear: Budget(
            LIMITS, tmp_path, settings=Settings(seam=at("begin: mutex held", freeze))
        ).acquire({"u": 1})
    )
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    finding = only(tmp_path)
    assert f"held by pid {child.pid} (stopped)" in finding.text
    child.kill()


def test_a_forked_child_that_keeps_what_a_dead_owner_held(tmp_path):
    def body(say, hear):
        Budget(LIMITS, tmp_path).acquire({"u": 1}, label="gw0 test_it")
        pid = ctypes.CDLL(None).fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        say(str(pid))
        hear()

    owner = Child(body)
    copy = int(owner.hear())
    try:
        owner.kill()
        assert only(tmp_path).do.endswith(f"kill {copy}")
    finally:
        os.kill(copy, 9)


def test_elsewhere_there_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert only(tmp_path).level == "warn"


def test_the_command_ends_with_findings(tmp_path):
    result = CliRunner().invoke(main, ["doctor", "--budget-dir", str(tmp_path / "missing")])
    assert result.exit_code == Exit.FINDINGS
