"""What suites under test are made of: an owner of a background thread, as the solver's watcher is one."""

from __future__ import annotations

import threading


class Watcher:
    """Runs a thread until it is closed."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self) -> Watcher:
        """Start the thread."""
        self._thread.start()
        return self

    def _loop(self) -> None:
        self._over.wait()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    @property
    def stop(self) -> None:
        """Tells who looks where nobody may look."""
        message = "nobody may look at the properties of the suite"
        raise AssertionError(message)
