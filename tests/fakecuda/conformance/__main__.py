"""``python -m tests.fakecuda.conformance [PYTEST ARGUMENT...]``: the whole suite, on the fake driver."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fakecuda.conformance.suite import arguments, missing, write_suite


def main(extra: list[str]) -> int:
    """Run pytest in the fake lane and return its exit status."""
    lacking = missing()
    if lacking:
        print(lacking, file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        write_suite(folder)
        command = [
            sys.executable,
            "-m",
            "tests.fakecuda",
            sys.executable,
            "-m",
            "pytest",
            *arguments(folder),
            *extra,
        ]
        return subprocess.run(command, check=False, timeout=1800).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
