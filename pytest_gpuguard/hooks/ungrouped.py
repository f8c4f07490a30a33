"""Marks that keep tests together, and nobody who heeds them: said once, instead of nothing."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.hooks.plug import Plug

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ungrouped", "ignored_by", "tell"]

_KEY = "gpuguard_ungrouped"
#: Up to there xdist writes groups into node ids, which pytest 9.2 and later do not let through.
_LAST_BY_SUFFIX, _FIRST_WITHOUT = (3, 8, 0), (9, 2)


def ignored_by(dist: str, pytest_version: tuple[int, ...], xdist_version: tuple[int, ...]) -> str | None:
    """Return why xdist by itself does not keep groups together; None where it does, or none can be kept.

    Parameters
    ----------
    dist
        Its ``--dist``.
    pytest_version, xdist_version
        The first numbers of both.
    """
    if dist in {"no", "each"}:
        return None
    if dist != "loadgroup":
        return f"xdist heeds them under --dist loadgroup alone, not under {dist}"
    if pytest_version >= _FIRST_WITHOUT and xdist_version <= _LAST_BY_SUFFIX:
        shown = ".".join(map(str, xdist_version))
        return f"xdist {shown} does not on pytest {pytest.__version__}, though --dist is loadgroup"
    return None


def tell(node: Any, dist: str) -> None:
    """Let a worker look for marks of which xdist, which schedules alone, takes no notice."""
    why = ignored_by(dist, _numbers(pytest.__version__)[:2], _numbers(version("pytest-xdist")))
    if why is not None:
        node.workerinput[_KEY] = why


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


class Ungrouped(Plug):
    """The role of a worker that looks.

    Parameters
    ----------
    why
        Why nobody heeds the marks.
    say
        Tells people what they should know.
    """

    def __init__(self, why: str, say: Callable[[str], object]) -> None:
        self._why, self._say = why, say

    @classmethod
    def register(cls, config: pytest.Config, say: Callable[[str], object]) -> None:
        """Play the role, if the controller of this worker wants it."""
        why = getattr(config, "workerinput", {}).get(_KEY)
        if why:
            config.pluginmanager.register(cls(why, say), "gpuguard-ungrouped")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        marked = sum("xdist_group" in item.keywords for item in session.items)
        if marked:
            self._say(
                f"{marked} tests have marks xdist_group, and nothing keeps them together: {self._why}; "
                "gpuguard does with gpuguard_scheduler = auto"
            )
