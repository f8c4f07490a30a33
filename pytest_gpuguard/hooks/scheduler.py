"""xdist's contract for schedulers, around the one of :mod:`pytest_gpuguard.plan`.

Which tests there are is known only after xdist has asked for a scheduler. So this one takes down what it is
told until the first :meth:`~GpuguardScheduling.schedule`. If there is nothing to be scheduled by needs or
groups it makes xdist's own, tells it everything, and steps aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard import clock
from pytest_gpuguard.hooks.gathering import gathered_suite
from pytest_gpuguard.hooks.history import remembered
from pytest_gpuguard.hooks.office import Nodes
from pytest_gpuguard.plan.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuguard.hooks.office import Office
    from pytest_gpuguard.plan.suite import Need, Offer

__all__ = ["GpuguardScheduling"]


class GpuguardScheduling:
    """A scheduler of xdist's.

    Parameters
    ----------
    config
        Of the controller.
    office
        What it has to know beside what xdist tells it.
    """

    def __init__(self, config: pytest.Config, office: Office) -> None:
        self._office = office
        #: Plugins that rerun tests look here.
        self.config = config
        self._ids: dict[Any, list[str] | None] = {}
        self._collection: list[str] | None = None
        self._offers: dict[Any, Offer] = {}
        self._scheduler: Scheduler[Any] | None = None
        self._inner: Any = None
        # Workers that collected and were gone before all had; a worker with nothing to do does not wait.
        self._gone = 0
        self._nothing = False
        self._more: list[Need] = []

    # Asked at every event.

    @property
    def nodes(self) -> list[Any]:
        return list(self._inner.nodes) if self._inner is not None else list(self._ids)

    @property
    def collection_is_completed(self) -> bool:
        if self._inner is not None:
            return bool(self._inner.collection_is_completed)
        known = sum(ids is not None for ids in self._ids.values())
        return self._collection is not None or known + self._gone >= self._office.workers

    @property
    def tests_finished(self) -> bool:
        # Not when each has but one left, as xdist's own say: xdist then ends all workers at once, and what
        # they have in their hands would begin together.
        if self._inner is not None:
            return bool(self._inner.tests_finished)
        return self._nothing or (self._scheduler is not None and not self._scheduler.left)

    @property
    def has_pending(self) -> bool:
        if self._inner is not None:
            return bool(self._inner.has_pending)
        return self._scheduler is not None and self._scheduler.left > 0

    @property
    def counts_crashes(self) -> bool:
        """Whether a crash counts for ``--maxfail``; of xdist's own schedulers none does."""
        return self._inner is None

    # Workers come and go.

    def add_node(self, node: Any) -> None:
        if self._inner is not None:
            self._inner.add_node(node)
        else:
            self._ids[node] = None

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        if self._inner is not None:
            self._inner.add_node_collection(node, collection)
            return
        if self._collection is not None and list(collection) != self._collection:
            self._refuse(node)
            return
        self._ids[node] = list(collection)
        offer = self._office.offer(node.gateway.id)
        if offer is not None:
            self._offers[node] = offer
        if self._scheduler is not None:
            self._scheduler.ready(node, self._needs(node))

    def _refuse(self, node: Any) -> None:
        # Indexes would mean other tests to it.
        text = f"worker {node.gateway.id} has collected other tests than those before it; it is not used"
        report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=text, result=[])
        self.config.hook.pytest_collectreport(report=report)
        node.shutdown()
        if not any(self._ids.values()) and self._scheduler is not None:
            self._office.say(
                f"{self._scheduler.left} tests were not run: no worker is left that collected them"
            )
            self._scheduler.stop()

    def remove_node(self, node: Any) -> str | None:
        """Return the test in which a worker died, for xdist to report: once, and it is not run again."""
        if self._inner is not None:
            crashed: str | None = self._inner.remove_node(node)
            return None if crashed in self._office.leaving else crashed
        self._gone += self._ids.pop(node) is not None
        if self._scheduler is None or self._collection is None:
            return None
        ids = self._collection
        test = self._scheduler.remove(node, lambda test: ids[test] in self._office.begun)
        crashed = ids[test] if test is not None else None
        left = crashed in self._office.leaving
        if crashed is not None:
            self._office.begun.discard(crashed)
            if not left:
                self._stop_after(self.config.getoption("maxfail"))
        self._scheduler.go()
        return None if left else crashed

    def _stop_after(self, most: int) -> None:
        # xdist counts the failures that workers report: a crash is none of them.
        if most and self._office.failures + 1 >= most:
            assert self._scheduler is not None
            self._scheduler.stop()
            self._office.say(
                f"stopping after {self._office.failures + 1} failures, of which the last was a crash"
            )

    # Tests.

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        if self._inner is not None:
            self._inner.mark_test_complete(node, item_index, duration)
            return
        assert self._scheduler is not None
        assert self._collection is not None
        self._office.begun.discard(self._collection[item_index])
        self._scheduler.complete(node, item_index, duration)

    def mark_test_pending(self, item: str) -> None:
        """Run a test again: asked for by plugins that rerun what crashed."""
        if self._inner is not None:
            self._inner.mark_test_pending(item)
            return
        assert self._scheduler is not None
        assert self._collection is not None
        self._scheduler.again(self._collection.index(item))

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        if self._inner is not None:
            self._inner.remove_pending_tests_from_node(node, indices)
        elif self._scheduler is not None:
            self._scheduler.give_back(node, indices)

    # The beginning.

    def schedule(self) -> None:
        if self._inner is not None:
            self._inner.schedule()
            return
        if not any(self._ids.values()):
            self._nothing = True
            return
        if self._scheduler is None and not self._take_over():
            self._step_aside()
            return
        assert self._scheduler is not None
        self._scheduler.go()

    def _take_over(self) -> bool:
        """Begin to schedule, if there is what we are for and all workers agree on it."""
        lists = [ids for ids in self._ids.values() if ids is not None]
        offers = [self._offers.get(node) for node, ids in self._ids.items() if ids is not None]
        if not lists or not lists[0] or any(ids != lists[0] for ids in lists):
            return False
        history = remembered(self.config)
        plan = gathered_suite(
            self.config.getoption("dist"), lists[0], offers, history, self._office.limits, self._office.say
        )
        if plan is None:
            return False
        suite, limits, self._more = plan.suite, plan.limits, plan.more
        self._collection = lists[0]
        self._scheduler = Scheduler(
            suite,
            self._needs(next(node for node, ids in self._ids.items() if ids is not None)),
            limits,
            history.known(lists[0]),
            len(lists),
            Nodes(),
            clock.monotonic,
            self.config.getoption("maxschedchunk", None),
        )
        for node, ids in self._ids.items():
            if ids is not None:
                self._scheduler.ready(node, self._needs(node))
        return True

    def _needs(self, node: Any) -> Sequence[Need]:
        offer = self._offers.get(node) or next(iter(self._offers.values()), None)
        return [*(offer.needs if offer is not None else ()), *self._more]

    def _step_aside(self) -> None:
        self._inner = self._office.another()
        # Called for every test: no way round it.
        self.mark_test_complete = self._inner.mark_test_complete  # type: ignore[method-assign]
        for node in self._ids:
            self._inner.add_node(node)
        for node, ids in self._ids.items():
            if ids is not None:
                self._inner.add_node_collection(node, ids)
        self._inner.schedule()
