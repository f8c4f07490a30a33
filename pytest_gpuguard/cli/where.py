"""Which pool a verb looks at: the same switches as in pytest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_gpuguard.ledger.places import check_pool, default_root, pools_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Where", "pool_options"]


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


def pool_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``verb`` the options ``--budget-dir`` and ``--pool``; it is called with ``root`` and ``pool``."""
    folder = click.option(
        "--budget-dir",
        "root",
        type=click.Path(path_type=Path),
        envvar="GPUGUARD_BUDGET_DIR",
        default=default_root,
        help="Where budgets live, as pytest's --gpuguard-budget-dir; the header of each run names it.",
    )
    name = click.option(
        "--pool",
        envvar="GPUGUARD_POOL",
        default="host",
        show_default=True,
        callback=_checked,
        help="Which budget, as pytest's --gpuguard-pool.",
    )
    return folder(name(verb))
