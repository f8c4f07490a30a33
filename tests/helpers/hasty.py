"""A plugin of the inner runs (``-p hasty``): what ends a process that nothing else ends waits less before it.

The order stays: a process tries by itself, then whoever watches it ends it, then its timer does. The waits
that everybody has are seen in the long runs (``-m soak``).
"""

from __future__ import annotations

import pytest

#: Between two attempts to interrupt, of which there are six.
_AGAIN = 0.3
#: Beyond the limit, until the controller and the timer end a process.
_WATCHER, _TIMER = 3.0, 5.0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    from pytest_gpuguard.hooks import lifeline, watching
    from pytest_gpuguard.track import stall

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(stall, "_AGAIN_AFTER", _AGAIN)
    patch.setattr(watching, "WATCHER_LATER", _WATCHER)
    patch.setattr(lifeline, "TIMER_LATER", _TIMER)
