"""The sheet of times: what a killed process leaves, and what a forked child must not touch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from pytest_gpuguard.report.sheet import Sheet, columns, times_in


def test_what_was_written_is_there_though_the_process_was_killed(tmp_path):
    program = f"""
        import os, signal
        from pathlib import Path
        from pytest_gpuguard.report.sheet import Sheet

        sheet = Sheet(Path({str(tmp_path / "a.times")!r}), 3)
        sheet.times[0], sheet.times[1], sheet.times[2] = 0.5, 1.5, 1.75
        os.kill(os.getpid(), signal.SIGKILL)
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert columns(times_in(tmp_path / "a.times")) == ([0.5, 1.75, 0.0], [1.5, 0.0, 0.0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_goes_on_without_writing_into_the_file_of_its_parent(tmp_path):
    sheet = Sheet(tmp_path / "a.times", 1)
    sheet.times[0] = 0.5
    pid = os.fork()
    if not pid:
        try:
            inherited = list(sheet.times)
            sheet.times[1] = 9.0
            os._exit(inherited != [0.5, 0.0] or sheet.times[1] != 9.0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(sheet.times) == list(times_in(tmp_path / "a.times")) == [0.5, 0.0]


def test_without_a_file_it_is_memory_alone(tmp_path):
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / "a.times", tmp_path / "nowhere" / "a.times"):
        sheet = Sheet(path, 1)
        sheet.times[1] = 2.0
        assert columns(sheet.times) == ([0.0], [2.0])
    assert columns(Sheet(tmp_path / "none.times", 0).times) == ([], [])
    assert not (tmp_path / "none.times").exists()


def test_a_file_that_is_gone_or_ends_within_a_row_is_read_as_far_as_it_goes(tmp_path):
    assert columns(times_in(tmp_path / "gone.times")) == ([], [])
    Sheet(tmp_path / "a.times", 2).times[0] = 1.0
    (tmp_path / "a.times").write_bytes((tmp_path / "a.times").read_bytes()[:20])
    assert columns(times_in(tmp_path / "a.times")) == ([1.0], [0.0])
