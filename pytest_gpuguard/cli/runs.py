"""Which run a verb looks at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_gpuguard.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pytest_gpuguard.report.model import RunReport

__all__ = ["cache_option", "leave", "load_run"]


def _nearest_cache() -> Path:
    """Return pytest's cache of the suite that we are in: ours, or that of a folder above."""
    here = Path.cwd()
    caches = [folder / ".pytest_cache" for folder in (here, *here.parents)]
    return next((cache for cache in caches if cache.is_dir()), caches[0])


_cache = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=_nearest_cache,
    help="Pytest's cache, where the last five runs are kept; by default the nearest .pytest_cache.",
)


def cache_option(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``verb`` the option ``--cache``."""
    return _cache(verb)


def leave(status: Exit, why: str) -> NoReturn:
    """End the command with words on stderr."""
    click.secho(why, fg="red", err=True)
    sys.exit(status)


def load_run(name: str, cache: Path) -> RunReport:
    """Return the record of a run, or end the command with 3 (no such run) or 4 (unreadable)."""
    from pytest_gpuguard.report.reading import UnreadableError
    from pytest_gpuguard.report.runs import NoRunError, find, load

    try:
        return load(find(name, cache))
    except NoRunError as error:
        leave(Exit.NOTHING, str(error))
    except UnreadableError as error:
        leave(Exit.UNREADABLE, str(error))
