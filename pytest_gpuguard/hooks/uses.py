"""What is used of what is claimed: by a test, by a wide fixture while it is set up, by a block of a test."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.budget.account import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_gpuguard.budget import Lease

__all__ = ["Uses"]


class _Entry(NamedTuple):
    account: Account
    wide: bool = False
    block: bool = False


class Uses:
    """The accounts in force, innermost last.

    Parameters
    ----------
    claim
        Claims amounts that no account covers, given what for.
    give
        Gives such a lease back.
    """

    def __init__(
        self, claim: Callable[[Mapping[str, int], str], Lease | None], give: Callable[[Lease | None], None]
    ) -> None:
        self._claim, self._give = claim, give
        self._accounts: list[_Entry] = []
        self._late: list[Callable[[], None]] = []
        #: Whether the running test has used anything.
        self.any = False
        self._now = Counter[str]()
        #: The most that the running test had of each resource, whether claimed beforehand or not.
        self.peak: dict[str, int] = {}
        #: Told of each use: amounts by resource, and where.
        self.saw: Callable[[Mapping[str, int], str], None] = lambda _amounts, _line: None

    def open(self, account: Account) -> None:
        """Use ``account`` until the running test ends."""
        self.any = True
        self._accounts.append(_Entry(account))

    @contextmanager
    def during(self, account: Account | None) -> Iterator[None]:
        """Use the account of a wide fixture while that is set up; None for any other."""
        if account is None:
            yield
            return
        entry = _Entry(account, wide=True)
        self._accounts.append(entry)
        try:
            yield
        finally:
            self._accounts.remove(entry)

    def end(self) -> None:
        """Close every account: the test is over."""
        late, self._late, self._accounts = self._late, [], []
        self._now, self.peak, self.any = Counter(), {}, False
        for end in late:
            end()

    def take(
        self, uses: Mapping[str, int], line: str, *, wide: bool = False, block: bool = False
    ) -> Callable[[], None]:
        """Use some of what is claimed, or claim it; return how to end that.

        Parameters
        ----------
        uses
            Amounts by resource. Each is taken from the innermost claim that has some of that resource.
        line
            Where that happens.
        wide
            Whether it lasts longer than the running test, whose claim it then cannot be part of.
        block
            Whether it is a claim itself: part of the test's, but not of another block's.

        Raises
        ------
        GuardError
            GPG308, when more of a resource is used than was claimed of it.
        """
        __tracebackhide__ = True
        self.any = True
        self.saw(uses, line)
        taken: list[tuple[Account, dict[str, int]]] = []

        def give_back() -> None:
            for account, amounts in taken:
                account.give(amounts)

        rest: dict[str, int] = {}
        try:
            for name, amount in uses.items():
                account = self._covering(name, amount, wide, block)
                if account is None:
                    rest[name] = amount
                else:
                    account.take({name: amount}, line)
                    taken.append((account, {name: amount}))
            lease = self._claim(rest, line) if rest else None
        except BaseException:
            give_back()
            raise
        fresh = {} if wide else self._fresh(uses, taken)
        self._note(fresh)

        def end() -> None:
            give_back()
            self._now.subtract(fresh)
            self._give(lease)

        return end

    def _fresh(self, uses: Mapping[str, int], taken: list[tuple[Account, dict[str, int]]]) -> dict[str, int]:
        """Return of ``uses`` what no block has been counted for already."""
        blocks = [entry.account for entry in self._accounts if entry.block]
        inside = {name for account, amounts in taken if account in blocks for name in amounts}
        return {name: amount for name, amount in uses.items() if name not in inside}

    def _note(self, fresh: Mapping[str, int]) -> None:
        self._now.update(fresh)
        for name in fresh:
            self.peak[name] = max(self.peak.get(name, 0), self._now[name])

    @contextmanager
    def block(self, amounts: Mapping[str, int], line: str) -> Iterator[None]:
        """Hold ``amounts`` for a block of a test; what is used in it is part of them."""
        end = self.take(amounts, line, block=True)
        entry = _Entry(Account(amounts, lambda: f"gpu_lease at {line}"), block=True)
        self._accounts.append(entry)
        try:
            yield
        finally:
            self._accounts.remove(entry)
            if any(entry.account.used.values()):
                self._late.append(end)  # an array of a fixture lives on: to the end of the test
            else:
                end()

    def _covering(self, name: str, amount: int, wide: bool, block: bool) -> Account | None:
        """Return the innermost account of a resource that the use belongs to."""
        if name.endswith(".slots"):
            return None  # a place is shared by all claims of a process
        for entry in reversed(self._accounts):
            account = entry.account
            if account.covers(name) and entry.wide >= wide and not (block and entry.block):
                # One buffer is claimed where nothing is said of buffers: more of them are no error.
                return account if name != "pinned.regions" or account.left(name) >= amount else None
        return None
