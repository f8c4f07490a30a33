"""``python -m solver.offline``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from solver.offline.compile import Compiled, compile_kernel, unavailable
from solver.offline.matrix import complaints, matrix
from solver.offline.table import put


def main(arguments: list[str]) -> int:
    """Compile the matrix and print what the compiler says; 1: not as asked, 3: impossible here."""
    parser = argparse.ArgumentParser(prog="python -m solver.offline", description=main.__doc__)
    parser.add_argument("--only", default="", help="regular expression that selects kernels by name")
    parser.add_argument("--json", action="store_true", help="one JSON object per kernel and architecture")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page, too")
    options = parser.parse_args(arguments)
    if reason := unavailable():
        print(f"kernels cannot be compiled here: {reason}", file=sys.stderr)  # noqa: T201 - a command
        return 3
    wrong, made = [], []
    for name, recipe in matrix():
        if re.search(options.only, name):
            for result in compile_kernel(name, recipe):
                print(json.dumps(asdict(result)) if options.json else _line(result), flush=True)  # noqa: T201
                wrong += [f"{name} {result.capability}: {what}" for what in complaints(result, recipe)]
                made.append(result)
    if options.write:
        put(made, options.write)
    print("\n".join(wrong) or f"{len(made)} kernels as asked", file=sys.stderr)  # noqa: T201
    return bool(wrong)


def _line(result: Compiled) -> str:
    return (
        f"{result.kernel:28} {result.capability:7} {result.registers:4} registers {result.stack:5} B stack "
        f"{result.spill_stores:4}/{result.spill_loads:<4} B spilled {result.doubles:5} f64 "
        f"{result.calls:2} calls {result.cubin:7} B {result.seconds:5.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
