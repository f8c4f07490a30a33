"""Fixtures shared by all tests; helpers are imported from where they live."""

from __future__ import annotations

import os
import signal

# Read once, when numba is first imported: every lane of this suite without a driver runs in the simulator.
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

# What a shell starts in the background ignores interrupts, and so would all processes of these tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester", "tests.fakecuda.lanes"]
