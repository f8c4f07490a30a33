"""What is compared: each tool with the arguments that switch it on, and nothing else of the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OURS", "PACKAGES", "TOOLS", "Tool"]

#: What the benchmark's own environment holds beside this project.
PACKAGES = ("pytest-threadleak", "pyleak", "pytest-memray", "distributed", "tqdm")

_OFF = ("-p", "no:memray", "-p", "no:threadleak", "-p", "no:pyleak", "-p", "no:asyncio", "-p", "no:anyio")


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table.

    Attributes
    ----------
    args
        Arguments of pytest.
    mark
        Name, arguments and keywords of the mark that every test needs.
    ours
        Whether its findings are read from our record, with kind and owner, instead of from failures.
    blind
        Kinds that it is not asked for in this row: they are not counted as planted there.
    """

    name: str
    args: Sequence[str]
    mark: tuple[str, tuple[object, ...], Mapping[str, object]] | None = None
    ours: bool = False
    blind: frozenset[str] = frozenset()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its runs need."""
        return {"SEEDED_MARK": json.dumps(self.mark)} if self.mark else {}


def _without(name: str) -> tuple[str, ...]:
    """Return the arguments that switch every plugin off but ``name``."""
    pairs = zip(_OFF[::2], _OFF[1::2], strict=True)
    kept = [part for pair in pairs if pair[1] != f"no:{name}" for part in pair]
    return (*kept, *(() if name == "gpuguard" else ("-p", "no:gpuguard")))


def _ours(name: str, *args: str, blind: frozenset[str] = frozenset()) -> Tool:
    given = (*_without("gpuguard"), "--gpuguard", "--gpuguard-leaks=error", *args)
    return Tool(name, given, ours=True, blind=blind)


_PYLEAK = {"tasks": True, "threads": True, "blocking": False}
_DASK = (*_without(""), "-p", "distributed.pytest_resourceleaks", "--leaks-fail")

OURS = (
    _ours("pytest-gpuguard, default kinds", blind=frozenset({"fd", "memory"})),
    _ours("pytest-gpuguard, all kinds", "--gpuguard-leak-kinds=all"),
)

TOOLS = (
    Tool("bare pytest", _without("")),
    Tool("pytest-threadleak", (*_without("threadleak"), "--threadleak")),
    Tool("pyleak, as it comes", _without("pyleak"), ("no_leaks", (), _PYLEAK)),
    Tool(
        "pyleak, daemons too",
        _without("pyleak"),
        ("no_leaks", (), _PYLEAK | {"exclude_daemon_threads": False}),
    ),
    Tool(
        "pytest-memray, limit_leaks 1 MB", (*_without("memray"), "--memray"), ("limit_leaks", ("1 MB",), {})
    ),
    Tool("dask's leaks: threads, fds, processes", (*_DASK, "--leaks=threads,fds,processes")),
    Tool("dask's leaks: all", (*_DASK, "--leaks=all")),
    *OURS,
)
