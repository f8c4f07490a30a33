"""What the scheduler asks of the role that it belongs to, and its door to the nodes of xdist."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.plan.suite import Offer

__all__ = ["Nodes", "Office"]


class Office(Protocol):
    """What the scheduler asks of the role it belongs to."""

    #: How many workers the run begins with.
    workers: int
    #: Tests that have begun and are not over, by node id.
    begun: set[str]
    #: Tests whose worker ended on purpose after their failure was reported: no second failure.
    leaving: set[str]
    #: Failures that were reported.
    failures: int

    def offer(self, worker: str) -> Offer | None:
        """Return what a worker has published."""

    def limits(self) -> dict[str, int]:
        """Return the limits of the budget on this host."""

    def another(self) -> Any:
        """Return xdist's own scheduler."""

    def say(self, note: str) -> None:
        """Tell people."""


class Nodes:
    """The door to xdist's nodes; one that is gone is heard of later, its tests are taken back then."""

    @staticmethod
    def send(node: Any, tests: Sequence[int]) -> None:
        with contextlib.suppress(OSError):
            node.send_runtest_some(list(tests))

    @staticmethod
    def steal(node: Any, tests: Sequence[int]) -> None:
        with contextlib.suppress(OSError):
            node.send_steal(list(tests))

    @staticmethod
    def end(node: Any) -> None:
        node.shutdown()
