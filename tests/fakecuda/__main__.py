"""``python -m tests.fakecuda COMMAND...``: run any command in the fake lane, by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fakecuda.build import UnavailableError, build
from tests.fakecuda.lanes import ROOT, fake_environment


def main(command: list[str]) -> int:
    """Run the command and return its exit status."""
    if not command or shutil.which(command[0]) is None:
        print("usage: python -m tests.fakecuda COMMAND [ARGUMENT...]")
        return 2
    try:
        libraries = build(ROOT / ".pytest_cache" / "d" / "fakecuda")
    except UnavailableError as error:
        print(f"no fake driver: {error}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="fakecuda-") as folder:
        environment = {**os.environ, **fake_environment(libraries, Path(folder))}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
