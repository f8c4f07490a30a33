"""One lease per test: claimed whole before its clock starts, given back after its teardown.

What its fixtures need is claimed with it, as far as that can be foreseen; the rest when a fixture is really
set up. The part of a fixture of wider scope is handed over to a lease of its own then, which lives until the
fixture's finaliser.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.hooks.markers import (
    anything_declared,
    asked_by,
    carriers,
    demand_of,
    is_skipped,
    marked_at,
    names_in_force,
    site_of,
)
from pytest_gpuguard.hooks.needs import lacking
from pytest_gpuguard.hooks.plug import Plug
from pytest_gpuguard.hooks.settings import only_shows
from pytest_gpuguard.hooks.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pytest_gpuguard.budget import Lease
    from pytest_gpuguard.budget.account import Account
    from pytest_gpuguard.hooks.desk import Desk
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.declared import Asked, Declared
    from pytest_gpuguard.plan.demand import Demand

__all__ = ["LEASING", "Leasing"]

#: Where fixtures find the leases of this process; missing where the plugin is not active.
LEASING = pytest.StashKey["Leasing"]()
_DEMAND = pytest.StashKey["Demand | None"]()
_WRONG = pytest.StashKey[pytest.UsageError]()

# The last one: sums beyond what can be counted.
_REFUSALS = (GuardError, OSError, ValueError)
_WAITED = "gpuguard.waited_s"


def _part(declared: Declared, node: str) -> str:
    return f"fixture {declared.name} of {node or 'the session'}"


def _fixture_at(declared: Declared) -> str:
    return f"fixture `{declared.name}` at {declared.file}:{declared.line}"


class Leasing(Plug):
    """What the running test and the wide fixtures of this process hold.

    Parameters
    ----------
    config, settings
        The run and its switches.
    desk
        Where claims are made.
    """

    def __init__(self, config: pytest.Config, settings: Settings, desk: Desk) -> None:
        self._config, self._settings, self.desk = config, settings, desk
        self._names: tuple[str, ...] = ()
        self._modules: frozenset[str] = frozenset()
        #: Whether anybody has asked the desk for anything, or will: without that there is nothing to be done.
        self.attended = False
        #: Called when that begins, such as in the midst of a test.
        self.roused: Callable[[], object] = lambda: None
        #: Returns the running test; what is claimed for one, it waits for before it runs.
        self.running: Callable[[], pytest.Item | None] = lambda: None
        self._item: pytest.Item | None = None
        self._lease: Lease | None = None
        self._refusal: tuple[Exception, Mapping[str, int]] | None = None
        # Parts that were foreseen for the running test and not taken by their fixtures so far.
        self._foreseen: list[Declared] = []
        self._wide: dict[pytest.FixtureDef[Any], tuple[Declared, Lease | None]] = {}
        self._account: Account | None = None
        self._late: list[Lease | None] = []
        #: What is used of all that is claimed.
        self.uses = Uses(self.claim_more, desk.give)

    # Before anything runs.

    # When every other hook, of whatever conftest, has added its marks; and before tests are shared out.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        config, items, asked = session.config, session.items, False
        self._names = names_in_force(config)
        for item in carriers(session, self._names):
            asked = True
            try:
                item.stash[_DEMAND] = demand_of(item, self._names)
            except pytest.UsageError as error:
                # Raised in a worker it would end the run as a fault of xdist's: there the test fails.
                if not hasattr(config, "workerinput"):
                    raise
                item.stash[_WRONG] = error
        if anything_declared():
            asked = True
            self._modules = frozenset(str(item.path) for item in items)
            config.pluginmanager.register(_Parts(self), "gpuguard-parts")
        if asked and not only_shows(config):
            self._attend()

    def _attend(self) -> None:
        if self.attended:
            return
        self.attended = True
        plugins = self._config.pluginmanager
        plugins.register(_Claims(self), "gpuguard-claims")
        if self.running() is not None:
            plugins.register(_Parting(plugins, self.free), "gpuguard-parting")
        self.roused()

    # One test.

    def claim(self, item: pytest.Item) -> None:
        """Claim everything that ``item`` is known to need; errors are kept for its set-up."""
        self._item = item
        wrong = item.stash.get(_WRONG, None)
        self._refusal = (wrong, {}) if wrong is not None else None
        own = item.stash.get(_DEMAND, None)
        self._foreseen = self._foresee(item) if anything_declared() else []
        if own is None and not self._foreseen:
            return
        parts = [*filter(None, [own]), *(declared.demand for declared in self._foreseen)]
        if is_skipped(item):
            self._foreseen = []
            return
        self._claim(item, parts)

    def foresee(self, item: pytest.Item) -> Asked | None:
        """Return all that ``item`` is known to need, also by its fixtures; None where that is nothing."""
        asked = asked_by(item, item.stash.get(_DEMAND, None), self._modules)
        return None if asked is None or lacking(asked.whole) else asked

    def _foresee(self, item: pytest.Item) -> list[Declared]:
        standing = [declared for declared, _ in self._wide.values()]
        from pytest_gpuguard.plan.declared import foresee

        found = foresee(getattr(item, "fixturenames", ()), site_of(item, self._modules))
        return [declared for declared in found if declared not in standing]

    def _claim(self, item: pytest.Item, parts: list[Demand]) -> None:
        from pytest_gpuguard.budget.account import Account
        from pytest_gpuguard.plan.demand import merge

        whole = merge(parts)
        amounts = self.desk.host.amounts(whole)
        if not amounts or lacking(whole):
            self._foreseen = []
            return
        try:
            self._lease = self._ask(amounts, item.nodeid)
        except _REFUSALS as error:
            self._refusal, self._foreseen = (error, amounts), []
            return
        self._account = Account(amounts, partial(self._claimed_at, item))
        self.uses.open(self._account)

    def _claimed_at(self, item: pytest.Item) -> str:
        marked = [f"the mark at {marked_at(item, self._names)}"] if item.stash.get(_DEMAND, None) else []
        return " and ".join([*marked, *map(_fixture_at, self._foreseen)])

    def refuse(self) -> None:
        """Fail or skip the running test in its set-up, if what it needs cannot be had."""
        if self._refusal is not None:
            raise self._outcome(*self._refusal)

    def free(self) -> None:
        """Give back what the running test held; what wide fixtures hold stays."""
        leases = [*self._late, self._lease]
        self._item = self._lease = self._refusal = self._account = None
        self._foreseen, self._late = [], []
        self.uses.end()
        for lease in leases:
            self.desk.give(lease)

    def _ask(self, amounts: Mapping[str, int], what: str) -> Lease | None:
        self._attend()
        before = len(self.desk.waits)
        try:
            return self.desk.ask(amounts, what)
        finally:
            self._note_waits(before)

    def _note_waits(self, before: int) -> None:
        waited = sum(wait["to"] - wait["from"] for wait in self.desk.waits[before:])
        item = self._item or self.running()
        if waited and item is not None:
            properties = item.user_properties
            waited += sum(float(str(value)) for name, value in properties if name == _WAITED)
            properties[:] = [entry for entry in properties if entry[0] != _WAITED]
            properties.append((_WAITED, round(waited, 3)))

    def _outcome(self, error: Exception, amounts: Mapping[str, int]) -> BaseException:
        from pytest_gpuguard.budget import BudgetTooLarge

        text = str(error)
        if isinstance(error, OSError) and not isinstance(error, GuardError):
            text = f"the budget in {self.desk.directory} cannot be used: {text}"
        if isinstance(error, BudgetTooLarge) and self._skips(amounts):
            return pytest.skip.Exception(text)
        return pytest.fail.Exception(text, pytrace=False)

    def _skips(self, amounts: Mapping[str, int]) -> bool:
        if self._settings.oversize is not None:
            return self._settings.oversize == "skip"
        beyond = self.desk.beyond(amounts)
        # Within our own limits it was another's lower one: that was set by somebody.
        return bool(beyond) and not beyond & self.desk.host.stated

    # Fixtures.

    def take_part(self, fixturedef: pytest.FixtureDef[Any], declared: Declared, node: str) -> Account | None:
        """Take a fixture's part out of the test's lease, or claim it; return where uses of it are counted.

        That is nowhere else but in the test's own account for a part that is as short-lived as the test.
        """
        from pytest_gpuguard.budget.account import Account

        amounts = self.desk.host.amounts(declared.demand)
        foreseen = declared in self._foreseen and self._lease is not None
        if fixturedef.scope == "function" and foreseen:
            return None
        lease = self._hand_over(declared, amounts, node) if foreseen else None
        lease = lease or self.claim_more(amounts, _part(declared, node))
        account = Account(amounts, partial(_fixture_at, declared))
        if fixturedef.scope != "function":
            self._wide[fixturedef] = declared, lease
            return account
        self._late.append(lease)
        self.uses.open(account)
        return None

    def _hand_over(self, declared: Declared, amounts: Mapping[str, int], node: str) -> Lease:
        assert self._lease is not None
        assert self._account is not None
        self._foreseen.remove(declared)
        lease = self.desk.part(self._lease, amounts, _part(declared, node))
        self._account.amounts.subtract(lease.amounts)
        return lease

    def give_part(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Give back the part of a fixture of wider scope that is finished."""
        _, lease = self._wide.pop(fixturedef, (None, None))
        self.desk.give(lease)

    def claim_more(self, amounts: Mapping[str, int], what: str) -> Lease | None:
        """Claim beside what is held; a refusal fails or skips the running test."""
        try:
            return self._ask(amounts, what)
        except _REFUSALS as error:
            refusal = error
        raise self._outcome(refusal, amounts)

    # The run.

    @property
    def any(self) -> bool:
        """Whether there is anything to be known of the budget since the last time."""
        if self.uses.any or self._account is not None:
            return True
        return self.attended and not self.desk.quiet

    def payload(self) -> dict[str, Any]:
        """Return what is to be known of the budget since the last time, and forget it."""
        if not self.any:
            return {}
        waits, self.desk.waits = self.desk.waits, []
        account = self._account
        facts = {"reserved": dict(account.amounts) if account is not None else {}, "peak": self.uses.peak}
        return {
            "waits": waits,
            "notes": self.desk.notes,
            "levels": self.desk.take_levels(),
            "limits": self.desk.limits_used,
            "facts": {name: amounts for name, amounts in facts.items() if amounts},
            "devices": self.desk.devices_used,
        }


class _Claims(Plug):
    """What happens to tests that claim; its hooks are there only where any does."""

    def __init__(self, leasing: Leasing) -> None:
        self._leasing = leasing

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        # First of all: neither our clock nor that of any other plugin counts the wait for a lease.
        self._leasing.claim(item)
        try:
            return (yield)
        finally:
            self._leasing.free()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._leasing.refuse()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        # At the end of each phase: whoever waits for us waits on.
        self._leasing.desk.progress()


class _Parting(Plug):
    """The end of a test in the midst of which the first claim of all was made: its protocol is under way."""

    def __init__(self, plugins: pytest.PytestPluginManager, free: Callable[[], None]) -> None:
        self._plugins, self._free = plugins, free

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        self._plugins.unregister(self)
        self._free()


class _Parts(Plug):
    """What fixtures say that they need; its hooks are there only where any fixture says so."""

    def __init__(self, leasing: Leasing) -> None:
        self._leasing = leasing

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self,
        fixturedef: pytest.FixtureDef[Any],
        request: Any,  # the type that pytest gives it is private
    ) -> Generator[None, object, object]:
        from pytest_gpuguard.plan.declared import declared_by

        declared = declared_by(fixturedef.func)
        if declared is None:
            return (yield)
        try:
            account = self._leasing.take_part(fixturedef, declared, request.node.nodeid)
        except (pytest.skip.Exception, pytest.fail.Exception) as refusal:
            # Kept as pytest keeps the error of a fixture; without it the fixture could not be finished.
            fixturedef.cached_result = (None, fixturedef.cache_key(request), (refusal, refusal.__traceback__))
            raise
        with self._leasing.uses.during(account):
            return (yield)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._leasing.give_part(fixturedef)
