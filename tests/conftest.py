"""Fixtures shared by all tests; helpers are imported from where they live."""

from __future__ import annotations

import os

# Read once, when numba is first imported: every lane of this suite without a driver runs in the simulator.
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

pytest_plugins = ["pytester", "tests.fakecuda.lanes"]
