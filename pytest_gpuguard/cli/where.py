"""Which pool a verb looks at: the same switches as in pytest."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_gpuguard.ledger.errors import LedgerUnsafe
from pytest_gpuguard.ledger.places import check_pool, default_root, pools_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuguard.budget import Snapshot
    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["Where", "pool_options", "pools_in_use", "root_option", "snapshot_of"]

# Whoever looks from outside has no time for somebody who is stuck.
_MUTEX_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Where:
    """One pool: the folder below which pools live, and its name there."""

    root: Path
    pool: str

    @property
    def path(self) -> Path:
        """Folder of the pool."""
        return pools_path(self.root) / self.pool


def _checked(_ctx: click.Context, _parameter: click.Parameter, pool: str) -> str:
    try:
        return check_pool(pool)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


#: ``--budget-dir``; the verb is called with ``root``.
root_option = click.option(
    "--budget-dir",
    "root",
    type=click.Path(path_type=Path),
    envvar="GPUGUARD_BUDGET_DIR",
    default=default_root,
    help="Where budgets live, as pytest's --gpuguard-budget-dir; the header of each run names it.",
)

_pool_option = click.option(
    "--pool",
    envvar="GPUGUARD_POOL",
    default="host",
    show_default=True,
    callback=_checked,
    help="Which budget, as pytest's --gpuguard-pool.",
)


def pool_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``verb`` the options ``--budget-dir`` and ``--pool``; it is called with ``root`` and ``pool``."""
    return root_option(_pool_option(verb))


def snapshot_of(where: Where, say: Callable[[str], None]) -> Snapshot:
    """Return who holds what in a pool; takes no part in it and makes nothing.

    Parameters
    ----------
    say
        Told in one line what people should know.
    """
    from pytest_gpuguard.budget import Budget
    from pytest_gpuguard.budget.settings import Settings

    settings = Settings(mutex_timeout=_MUTEX_TIMEOUT)
    return Budget({}, where.root, where.pool, say=say, settings=settings).snapshot()


def pools_in_use(root: Path) -> list[str]:
    """Return the names of the pools that somebody takes part in."""
    if sys.platform != "linux":
        return []
    from pytest_gpuguard.ledger.entrance import look_around

    with look_around(root) as boot:
        generation = boot.generation if boot else None
        if generation is None:
            return []
        return [name for name in sorted(generation.names()) if _is_used(generation, name)]


def _is_used(generation: Folder, pool: str) -> bool:
    from pytest_gpuguard.ledger.entrance import state_of

    with suppress(OSError, LedgerUnsafe), closing(generation.enter(pool, create=False)) as folder:
        return state_of(folder) != "empty"
    return False
