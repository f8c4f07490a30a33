"""The runs that there are, found by name; which of them still live; what is known of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard.report.alive import taken
from pytest_gpuguard.report.assemble import assemble
from pytest_gpuguard.report.places import ALIVE, HEAD, PLACE, REPORT
from pytest_gpuguard.report.reading import UnreadableError, read_report

if TYPE_CHECKING:
    from pytest_gpuguard.report.model import RunReport

__all__ = ["NoRunError", "find", "is_alive", "load", "runs_in"]


class NoRunError(Exception):
    """There is no such run."""


def is_alive(folder: Path) -> bool:
    """Return whether the run of ``folder`` goes on."""
    if not (folder / ALIVE).exists():
        return False
    try:
        with taken(folder / ALIVE) as free:
            return not free
    except OSError:  # somebody else's folder: nothing can be said
        return False


def runs_in(cache: Path) -> list[Path]:
    """Return the folders of the runs in a pytest cache, oldest first."""
    place = cache / PLACE
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def find(name: str, cache: Path) -> Path:
    """Return the run called ``name``.

    Parameters
    ----------
    name
        A file or folder; ``last``, ``last~1`` for the one before; or how a run in the cache begins.
    cache
        Folder of pytest's cache.

    Raises
    ------
    NoRunError
        Naming those that there are.
    """
    runs = runs_in(cache)
    head, tilde, back = name.partition("~")
    if head == "last" and (not tilde or back.isdigit()):
        number = int(back or 0)
        if number < len(runs):
            return runs[-1 - number]
        raise NoRunError(_none(f"no run {name}", runs, cache))
    if Path(name).exists():
        return Path(name)
    found = [run for run in runs if run.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    raise NoRunError(_none(f"{len(found) or 'no'} runs are called {name!r}", runs, cache))


def _none(what: str, runs: list[Path], cache: Path) -> str:
    if not runs:
        return f"{what}: there are none in {cache}; run pytest with --gpuguard first, or name a report.json"
    return f"{what}: in {cache} there are {', '.join(run.name for run in runs)}"


def load(path: Path) -> RunReport:
    """Return the record of a run: of a folder, a ``report.json``, or a page.

    A run that has none, because it goes on or was cut off, is put together from its journals.

    Raises
    ------
    UnreadableError, NoRunError
    """
    if path.is_dir():
        if (path / REPORT).is_file():
            path /= REPORT
        elif (path / HEAD).is_file():
            return assemble(path, alive=is_alive(path))
        else:
            message = f"{path} holds neither a record nor the journals of a run"
            raise NoRunError(message)
    try:
        encoded = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise UnreadableError(message) from None
    if encoded.lstrip()[:1] == b"<":
        from pytest_gpuguard.report.html import record_in

        found = record_in(encoded)
        if found is None:
            message = f"{path} is a page, but carries no record of a run"
            raise UnreadableError(message)
        encoded = found
    return read_report(encoded, str(path))
