"""``gpuguard demo`` where there is nothing to demonstrate, and what its judges accept."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pytest_gpuguard.cli import demo as module
from pytest_gpuguard.cli.acts import ACTS, UnexpectedError
from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.cli.watched import Outcome, run_pytest


def test_outside_a_checkout_the_demo_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == Exit.NOTHING
    assert "clone" in result.output
    assert "make demo" in result.output


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.title)
def test_no_act_is_content_with_nothing(act):
    with pytest.raises(UnexpectedError):
        act.judge(Outcome(status=0))


def test_a_run_is_followed_and_killed_at_its_limit_with_its_children(tmp_path):
    suite = tmp_path / "test_hang.py"
    suite.write_text(
        "import os, pathlib, threading\n"
        "def test_fine(): pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\n"
        "def test_hangs(): threading.Event().wait()\n"
    )
    seen = []
    outcome = run_pytest(
        tmp_path,
        ["-n", "1", "-p", "no:cacheprovider", str(suite)],
        tmp_path,
        6.0,
        lambda now: seen.append(len(now.finished)),
    )
    assert outcome.killed
    assert outcome.total == 2
    assert [name.rpartition("::")[2] for name in outcome.finished] == ["test_fine"]
    assert max(seen) == 1
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(pid)


def _wait_until_gone(pid):
    import os
    import time

    end = time.monotonic() + 5
    while time.monotonic() < end:
        os.kill(pid, 0)
        time.sleep(0.02)
