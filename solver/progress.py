"""Who is told how many chunks are home."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "progress_to"]

Progress = Callable[[int, int], None]
"""Called with the chunks that are home and those there are, by the thread that solves."""


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def progress_to(progress: bool | Progress, name: str) -> Iterator[Progress]:
    """Give what to call: for true a bar on standard error, but none where nobody looks.

    Parameters
    ----------
    progress
        Whether to show a bar, or a function to call instead.
    name
        What is solved.

    Raises
    ------
    ModuleNotFoundError
        When a bar is wanted and tqdm is not installed.
    """
    if callable(progress):
        yield progress
    elif progress and not os.environ.get("CI"):
        with _bar(name) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show
    else:
        yield _silent


def _bar(name: str) -> Any:
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError as error:
        message = "progress=True needs tqdm: pip install tqdm, or pass a function of (done, total)"
        raise ModuleNotFoundError(message, name="tqdm") from error
    # Without its monitor: a thread for all bars of the process, which outlives the last of them.
    return type("Bar", (tqdm,), {"monitor_interval": 0})(desc=name, unit="chunk")
