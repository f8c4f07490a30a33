"""Limits of a pool while runs go on: looking at them, and setting them from outside."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuguard.budget.wording import is_device
from pytest_gpuguard.ledger.places import check_pool, default_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuguard.ledger.reader import Reader

__all__ = ["Standing", "change_limits", "set_limits", "standing_limits"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The limit of one resource.

    Parameters
    ----------
    limit
        The one in force: the smallest of all below.
    set_to
        What was set from outside, if anything.
    stated
        What the participants are configured with, smallest first, each value once.
    """

    name: str
    limit: int
    set_to: int | None
    stated: tuple[int, ...]


def standing_limits(directory: Path | str | None = None, pool: str = "host") -> tuple[Standing, ...]:
    """Return the limits in a pool, by name; none when nobody ever took part in it.

    Parameters
    ----------
    directory, pool
        As for :class:`pytest_gpuguard.Budget`.
    """
    from pytest_gpuguard.ledger.entrance import look_into
    from pytest_gpuguard.ledger.reader import Reader

    folder = look_into(Path(directory or default_root()), check_pool(pool))
    if folder is None:
        return ()
    with closing(Reader(folder, lambda _: None)) as reader:
        return _standing(reader)


def _standing(reader: Reader) -> tuple[Standing, ...]:
    stated, set_to = reader.stated_limits(), reader.set_limits()
    return tuple(
        Standing(
            name,
            min([*stated.get(name, {}).values(), *([set_to[name]] if name in set_to else [])]),
            set_to.get(name),
            tuple(sorted(set(stated.get(name, {}).values()))),
        )
        for name in sorted(stated.keys() | set_to.keys())
    )


def set_limits(
    limits: Mapping[str, int],
    directory: Path | str | None = None,
    pool: str = "host",
    *,
    seam: Callable[[str], None] = lambda _: None,
) -> Path:
    """Limit everybody in a pool, from now on and until the host restarts; runs that go on obey too.

    Limits set here only ever lower what participants are configured with. Lowering revokes nothing: no more
    is granted until enough came back, and claims that no longer fit at all are refused.

    Parameters
    ----------
    limits
        Absolute amounts, instead of all that were set before; an empty mapping removes those.
    directory, pool
        As for :class:`pytest_gpuguard.Budget`.

    Returns
    -------
    Path
        The folder of the pool.
    """
    return _replace(lambda _: limits, directory, pool, seam)


def change_limits(
    changes: Mapping[str, int | None], directory: Path | str | None = None, pool: str = "host"
) -> Path:
    """Set some limits and leave others as they were set before; see :func:`set_limits`.

    Parameters
    ----------
    changes
        Absolute amounts; None removes what was set. ``gpu`` stands for every device of the pool.

    Raises
    ------
    ValueError
        When a name or an amount cannot be, or there are no devices.
    """

    def changed(reader: Reader) -> dict[str, int]:
        limits: dict[str, int | None] = dict(reader.set_limits())
        for name, limit in changes.items():
            limits |= dict.fromkeys(_named(name, reader), limit)
        return {name: limit for name, limit in limits.items() if limit is not None}

    return _replace(changed, directory, pool, lambda _: None)


def _named(name: str, reader: Reader) -> list[str]:
    if name != "gpu":
        return [name.lower()]
    devices = [known.name for known in _standing(reader) if is_device(known.name)]
    if not devices:
        message = f"no run in {reader.folder.path} counts a device: name it as in gpu.UUID"
        raise ValueError(message)
    return devices


def _replace(
    new: Callable[[Reader], Mapping[str, int]],
    directory: Path | str | None,
    pool: str,
    seam: Callable[[str], None],
) -> Path:
    from pytest_gpuguard.budget.people import mutex_holder
    from pytest_gpuguard.ledger.entrance import open_pool
    from pytest_gpuguard.ledger.limitsfile import replace_limits
    from pytest_gpuguard.ledger.mutex import Mutex
    from pytest_gpuguard.ledger.reader import Reader
    from pytest_gpuguard.ledger.wakeup import ring

    folder = open_pool(Path(directory or default_root()), check_pool(pool))
    path = folder.path
    with closing(Reader(folder, lambda _: None)) as reader:
        # Two who change limits at once see each other's.
        with Mutex(reader.mutex_fd, path, describe=mutex_holder).hold():
            replace_limits(folder, new(reader), seam)
        # A higher limit may be what somebody waits for; a lower one may leave somebody without hope.
        ring(folder, reader.participants())
    return path
