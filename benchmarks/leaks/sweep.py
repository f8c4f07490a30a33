"""False alarms elsewhere: well-known suites under the default kinds: ``python -m benchmarks.leaks.sweep``.

The source distributions come from the package index, into an environment of their own. What is reported is
printed with its line of creation; ``docs/concepts/false-alarms.md`` explains each entry.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".pytest_cache" / "d" / "sweep"
LIMIT = 900


class Project(NamedTuple):
    """A suite: release, the tests in its source distribution, further packages that it needs."""

    name: str
    tests: str
    needs: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


PROJECTS = (
    Project("tornado==6.6.1", "tornado/test"),
    Project("joblib==1.6.0", "joblib/test", ("numpy", "threadpoolctl")),
    Project("apscheduler==3.11.3", "tests", ("pytz", "anyio", "pytest-asyncio")),
    Project("watchdog==7.1.0", "tests", ("PyYAML", "flaky"), ("-o", "addopts=")),
)


def environment() -> Path:
    """Return the Python in which every project and its needs are installed, and this one."""
    python = PLACE / "venv" / "bin" / "python"
    ready = PLACE / ".ready"
    packages = [name for project in PROJECTS for name in (project.name, *project.needs)]
    if not ready.exists() or ready.read_text() != "\n".join(packages):
        venv.create(PLACE / "venv", with_pip=True, clear=True)
        pip = [str(python), "-m", "pip"]
        subprocess.run([*pip, "install", "-q", "-e", str(ROOT), "pytest-timeout", *packages], check=True)
        for project in PROJECTS:
            source = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", str(PLACE)]
            build = ["setuptools>=77", "wheel", "hatchling", "setuptools_scm"]
            subprocess.run([*pip, "install", "-q", *build], check=True)
            subprocess.run([*pip, "download", "-q", *source, project.name], check=True)
            with tarfile.open(PLACE / f"{project.name.replace('==', '-')}.tar.gz") as archive:
                archive.extractall(PLACE, filter="data")
        ready.write_text("\n".join(packages))
    return python


def watched(python: Path, project: Project) -> dict[str, Any]:
    """Run a project's suite; return our record of it."""
    folder = PLACE / project.name.replace("==", "-")
    with tempfile.TemporaryDirectory(prefix="sweep-") as report:
        given = ["--gpuguard", f"--gpuguard-report={report}", "-p", "no:cacheprovider", "--timeout=60"]
        command = [str(python), "-m", "pytest", "-q", *given, *project.args, project.tests]
        variables = os.environ | {"GPUGUARD_STALL_END": "2min"}
        log = PLACE / f"{project.name}.log"
        with log.open("wb") as out:
            subprocess.run(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=LIMIT,
                check=False,
            )
        path = Path(report) / "report.json"
        if not path.exists():
            raise SystemExit(f"{project.name}: no record; see {log}")
        return json.loads(path.read_text())  # type: ignore[no-any-return]


def said(group: dict[str, Any]) -> str:
    """Return a group of leaks on a few lines."""
    leak = group["leaks"][0]
    frames = [
        f"{frame['file']}:{frame['line']} {frame['function']}"
        for frame in leak["created"][:1] + leak["created"][-2:]
    ]
    owner = (leak["origin"]["fixture"] or {}).get("name") or "the test"
    what = f"{len(group['leaks'])} x {group['kind']}: {group['title']}"
    return (
        f"    {what}, of {owner}, {leak['origin']['certainty']}\n"
        f"        {leak['origin']['nodeid']}\n        " + "\n        ".join(frames)
    )


def main(names: list[str]) -> int:
    """Run all projects, or those whose names begin with what is given."""
    python = environment()
    for project in PROJECTS:
        if names and not project.name.startswith(tuple(names)):
            continue
        report = watched(python, project)
        outcomes = [test["outcome"] for test in report["tests"]]
        counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
        print(
            f"{project.name}: {counts}; {len(report['groups'])} groups of leaks, "
            f"{len(report['deaths'])} deaths, {report['verdict']['waits_broken']} waits broken",
            flush=True,
        )
        for group in report["groups"]:
            print(said(group), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
