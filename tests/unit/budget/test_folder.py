"""Nothing that somebody planted is followed, opened for good, or deleted."""

from __future__ import annotations

import os
import stat
import time

import pytest

from pytest_gpuguard.budget import Budget
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.ledger.cleanup import IDLE_SECONDS
from pytest_gpuguard.ledger.entrance import open_pool
from pytest_gpuguard.ledger.errors import LedgerLost, LedgerUnsafe
from pytest_gpuguard.ledger.places import boot_id
from tests.processes.children import Child, at, die

USER = f"gpuguard-{os.geteuid()}"


def budget(root, said=None):
    return Budget({"u": 8}, root, say=(said if said is not None else []).append)


def pool(root, name="host"):
    return root / USER / boot_id() / name


def test_folders_and_files_are_ours_alone(tmp_path):
    with budget(tmp_path).acquire({"u": 1}):
        for folder in (tmp_path / USER, tmp_path / USER / boot_id(), pool(tmp_path)):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in pool(tmp_path).iterdir()} == {"ledger", "mutex", "r.u", "s.0", "w.0"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in pool(tmp_path).iterdir()} == {0o600}
        assert (pool(tmp_path) / "r.u").stat().st_size == 0


@pytest.mark.parametrize("level", [USER, f"{USER}/{boot_id()}", f"{USER}/{boot_id()}/host"])
@pytest.mark.parametrize("kind", ["link", "file", "world", "group"])
def test_a_planted_folder_is_refused(tmp_path, level, kind):
    path = tmp_path / "root" / level
    path.parent.mkdir(parents=True, mode=0o700)
    for parent in path.parents:
        if parent != tmp_path and tmp_path in parent.parents:
            parent.chmod(0o700)
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        path.write_text("")
    else:
        path.mkdir()
        path.chmod(0o777 if kind == "world" else 0o770)
    with pytest.raises(LedgerUnsafe, match="GPG306"):
        budget(tmp_path / "root").acquire({"u": 1})
    if kind == "link":
        assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to somebody else")
def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / USER).mkdir(mode=0o700)
    os.chown(tmp_path / USER, 12345, 12345)
    with pytest.raises(LedgerUnsafe, match="belongs to uid 12345"):
        budget(tmp_path).acquire({"u": 1})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_a_foreign_file_is_refused(tmp_path):
    budget(tmp_path).acquire({"u": 1}).release()
    os.chown(pool(tmp_path) / "r.u", 12345, 12345)
    with pytest.raises(LedgerUnsafe, match="belongs to uid 12345"):
        budget(tmp_path).acquire({"u": 1})


def test_a_root_that_everybody_may_rename_in_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(LedgerUnsafe, match="without the sticky bit"):
        budget(tmp_path).acquire({"u": 1})
    tmp_path.chmod(0o1777)
    budget(tmp_path).acquire({"u": 1}).release()


def plant(path, kind, victim):
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(victim, path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link", "folder"])
@pytest.mark.parametrize("name", ["ledger", "mutex", "r.u"])
def test_what_is_planted_for_a_file_is_refused(tmp_path, name, kind):
    first = budget(tmp_path)
    first.acquire({"u": 1}).release()
    first.close()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    plant(pool(tmp_path) / name, kind, victim)
    with pytest.raises((LedgerUnsafe, IsADirectoryError), match=r"GPG306|Is a directory"):
        budget(tmp_path).acquire({"u": 1})
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link", "folder", "plain"])
@pytest.mark.parametrize("name", ["w.0", "s.0", "w.1", "limits.json"])
def test_what_is_planted_for_a_hint_is_left_alone(tmp_path, name, kind):
    """Pipes, notes and the limits file only help: all goes on without, and nothing is written elsewhere."""
    first = budget(tmp_path)
    first.acquire({"u": 1}).release()
    first.close()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    if kind == "plain":
        (pool(tmp_path) / name).unlink(missing_ok=True)
        (pool(tmp_path) / name).write_text("[]")
    else:
        plant(pool(tmp_path) / name, kind, victim)
    one, two = budget(tmp_path), budget(tmp_path)
    with one.acquire({"u": 5}, label="one"), two.acquire({"u": 3}, label="two"):
        assert sum(holder.amounts["u"] for holder in one.snapshot().holders) == 8
        with pytest.raises(TimeoutError):
            budget(tmp_path).acquire({"u": 1}, timeout=0.02)
    assert victim.read_text() == "untouched"


def old(root, boot, name="host", idle=0.0):
    folder = root / USER / boot / name
    folder.mkdir(parents=True)
    for parent in (root / USER, root / USER / boot, folder):
        parent.chmod(0o700)
    for file in ("ledger", "mutex", "r.u", "s.0", "limits.json"):
        (folder / file).write_text("")
    os.mkfifo(folder / "w.0")
    now = (folder / "ledger").stat().st_mtime
    os.utime(folder / "ledger", (now - idle, now - idle))
    return folder


def test_what_other_boots_left_is_taken_away(tmp_path):
    left = old(tmp_path, "00000001")
    budget(tmp_path).acquire({"u": 1})
    assert not left.parent.exists()


def test_idle_pools_go_and_young_ones_stay(tmp_path):
    idle = old(tmp_path, boot_id(), "idle", idle=IDLE_SECONDS + 60)
    young = old(tmp_path, boot_id(), "young", idle=IDLE_SECONDS - 60)
    budget(tmp_path).acquire({"u": 1})
    assert not idle.exists()
    assert young.exists()


def test_a_pool_with_somebody_in_it_stays(tmp_path):
    idle = old(tmp_path, boot_id(), "idle", idle=IDLE_SECONDS + 60)
    inside = open_pool(tmp_path, "idle")
    os.utime(idle / "ledger", (0, 0))
    budget(tmp_path).acquire({"u": 1})
    assert idle.exists()
    inside.close()


def test_killed_while_cleaning_the_next_one_goes_on_with_it(tmp_path):
    left = old(tmp_path, "00000001")

    def body(_say, _hear):
        seam = at("clean: before unlink", die, times=3)
        Budget({"u": 8}, tmp_path, settings=Settings(seam=seam)).acquire({"u": 1})

    child = Child(body)
    assert child.hear() == ""
    child.wait()
    assert left.exists()
    # Whoever comes first cleans what nobody holds at that moment; what it could not have is left to the next.
    deadline = time.monotonic() + 60
    while left.parent.exists():
        assert time.monotonic() < deadline
        with budget(tmp_path) as next_one:
            next_one.acquire({"u": 8}, timeout=60.0)


def test_what_is_not_ours_stays(tmp_path):
    left = old(tmp_path, "00000001")
    (left / "notes.txt").write_text("mine")
    (tmp_path / USER / "readme").write_text("mine")
    (tmp_path / USER / "00000002").symlink_to(tmp_path)
    budget(tmp_path).acquire({"u": 1})
    assert [path.name for path in left.iterdir()] == ["notes.txt"]
    assert (tmp_path / USER / "readme").exists()
    assert (tmp_path / USER / "00000002").is_symlink()


def test_a_pool_emptied_while_somebody_is_in_is_not_made_anew(tmp_path):
    inside = open_pool(tmp_path, "host")
    (pool(tmp_path) / "ledger").unlink()
    with pytest.raises(LedgerLost, match="missing while somebody is in"):
        open_pool(tmp_path, "host", patience=0.05)
    inside.close()
    open_pool(tmp_path, "host", patience=0.05).close()


def test_two_kernels_never_share_a_folder(tmp_path):
    (tmp_path / "id").write_text("4a3737f8-12f9-49b3-87de-407df41f42fe\n")
    assert boot_id(tmp_path / "id") == "4a3737f8"
    assert boot_id(tmp_path / "missing") == "00000000"
