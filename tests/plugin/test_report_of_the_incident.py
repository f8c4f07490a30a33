"""The incident and its remedy, compared by the command as its users would."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner

from pytest_gpuguard.cli.app import main
from pytest_gpuguard.cli.exits import Exit

EXAMPLES = Path(__file__).parents[2] / "examples"


def _diff(*args):
    result = CliRunner().invoke(main, ["diff", *map(str, args)], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_mended_incident_has_one_leak_less_and_two_equal_runs_differ_in_nothing(run_two):
    folder = run_two.pytester.path
    shutil.copytree(EXAMPLES, folder / "examples")
    reports = {}
    for name in ("leaking", "mended", "again"):
        if name == "mended":
            remedy = folder / "examples/incident_fixed/conftest.py"
            shutil.copy(remedy, folder / "examples/incident/conftest.py")
        run_two.watched("--gpuguard-reap", f"--gpuguard-report={name}", "examples/incident")
        reports[name] = folder / name / "report.json"
    status, said = _diff(reports["leaking"], reports["mended"])
    assert status == Exit.FINE
    assert "GONE   thread WritebackWatcher" in said
    assert "NEW" not in said
    status, said = _diff(reports["mended"], reports["leaking"])
    assert status == Exit.FINDINGS
    assert "NEW    thread WritebackWatcher" in said
    assert _diff(reports["mended"], reports["again"]) == (Exit.FINE, "")
    assert _diff(reports["leaking"], reports["leaking"]) == (Exit.FINE, "")
