"""One claimant: a thread of a process with a seat in the lock table.

Every step is a method that never sleeps (:meth:`Claimant.begin`, :meth:`Claimant.look`,
:meth:`Claimant.withdraw`, :meth:`Claimant.release`); sleeping between looks is
:mod:`pytest_gpuguard.budget.waiting`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_gpuguard.budget import admission, refusals, survey, waiting
from pytest_gpuguard.budget.people import mutex_holder
from pytest_gpuguard.budget.settings import Settings
from pytest_gpuguard.budget.signboard import Signboard
from pytest_gpuguard.budget.turns import Turns
from pytest_gpuguard.ledger.errors import LedgerBusy
from pytest_gpuguard.ledger.member import Member
from pytest_gpuguard.ledger.mutex import Mutex
from pytest_gpuguard.ledger.selftest import check_mutex
from pytest_gpuguard.ledger.wakeup import ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_gpuguard.budget.claims import OnWait
    from pytest_gpuguard.budget.model import Snapshot
    from pytest_gpuguard.budget.patience import Patience
    from pytest_gpuguard.ledger.folder import Folder

__all__ = ["Claimant"]


class Claimant:
    """Claims for one thread.

    Parameters
    ----------
    folder
        The pool; owned from now on.
    limits
        What this participant was configured with.
    label
        Who we are, for others' messages.
    say
        Told in one line what people should know.

    Attributes
    ----------
    late
        Grants that nothing but the safety poll found; 0 unless a wake-up was lost.
    """

    def __init__(
        self,
        folder: Folder,
        limits: Mapping[str, int],
        label: str,
        say: Callable[[str], None],
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings = settings or Settings()
        self.late = 0
        self._waits = self._closed = False
        self.member = Member(folder, say, settings.seam)
        self.mutex = Mutex(
            self.member.mutex_fd,
            folder.path,
            timeout=settings.mutex_timeout,
            describe=mutex_holder,
            monotonic=settings.monotonic,
            sleep=settings.sleep,
        )
        self._where = folder.path
        self._turns = Turns()
        self._first_seen: dict[tuple[int, int], float] = {}
        self._signboard = Signboard(self.member, label, settings.boot_clock)
        try:
            self._join(limits)
        except BaseException:
            self.member.close()
            raise
        for line in survey.differences(self.member):
            say(line)

    def _join(self, limits: Mapping[str, int]) -> None:
        with self.mutex.hold():
            self.member.join(limits)
            check_mutex(self.member.folder)
            told = admission.told_on_join(self.member.waiting())
        self._signboard.show()
        ring(self.member.folder, told)

    # What a lease needs

    def acquire(
        self,
        wants: Mapping[str, int],
        patience: Patience,
        label: str,
        lease: int | None = None,
        on_wait: OnWait | None = None,
    ) -> int:
        """Wait until ``wants`` are ours, all or nothing; return the number of the lease on our note.

        Parameters
        ----------
        lease
            The lease that grows by this, instead of a new one.
        on_wait
            Told once if this has to wait.

        Raises
        ------
        BudgetTooLarge
            When they never fit.
        BudgetDeadlock
            When waiting for them would never end.
        BudgetTimeout
            When patience ends.
        """
        grants = self.member.grants
        try:
            if not self.begin(wants, label):
                self._waits = True
                if on_wait is not None:
                    on_wait(self.snapshot())
                waiting.wait(self, patience)
            return self._signboard.add(label) if lease is None else lease
        except BaseException:
            # Interrupted after the grant, nobody has the lease in hand: nobody would ever give it back.
            self.withdraw(wants if self.member.grants != grants else {})
            raise
        finally:
            self._stop_waiting()

    def open(self, label: str) -> int:
        """Note one more lease, of amounts that are held already; return its number."""
        with self._turns.take():
            return self._signboard.add(label)

    def try_take(self, wants: Mapping[str, int]) -> bool:
        """Take ``wants`` if that fits beside everything held and reserved; never wait."""
        with self._step():
            self.member.check_alive()
            table = self.member.read()
            if not admission.fits(wants, admission.decide(table).left):
                return False
            self.member.take(wants)
        ring(self.member.folder, admission.told_on_overtaking(table))
        return True

    def release(self, amounts: Mapping[str, int], lease: int | None = None) -> None:
        """Give ``amounts`` back and wake whoever may have them now."""
        if self._turns.put_off(lambda: self.release(amounts, lease)):
            return
        with self._turns.take():
            if self._gone:
                return
            try:
                self.member.repair()
                self.member.give(amounts)
                self.settings.seam("release: given")
                if lease is not None:
                    self._signboard.remove(lease)
            finally:
                # Whatever interrupts us, what went back may be what somebody waits for.
                self.member.repair()
                told = self._whom_to_tell()
                self.settings.seam("release: before ring")
                ring(self.member.folder, told)

    def progress(self) -> None:
        """Show those who wait behind us that we got a step further."""
        with self._turns.take():
            if not self._gone:
                self.member.beat()

    def snapshot(self) -> Snapshot:
        """Return the whole budget, for people."""
        with self._turns.take():
            return survey.survey(self.member, self.mutex, self.settings.boot_clock())

    # The steps

    def begin(self, wants: Mapping[str, int], label: str = "") -> bool:
        """Take ``wants`` if nobody waits and they fit, else get in line; return whether we have them."""
        member = self.member
        with self._step():
            self.settings.seam("begin: mutex held")
            member.repair()
            member.check_alive()
            rooms = {name: member.room(name) for name in wants}
            refusals.refuse_too_large(member, wants, {name: limit for name, (limit, _) in rooms.items()})
            if not member.someone_waits() and all(amount <= rooms[name][1] for name, amount in wants.items()):
                member.take(wants)
                return True
            member.queue(wants)
            try:
                table = member.read()
                refusals.refuse_circle(member, table, self.settings.boot_clock())
            except BaseException:
                member.unqueue()
                raise
            told = admission.told_on_queue(table, member.slot)
        self._signboard.show_waiting(label)
        self.settings.seam("begin: before ring")
        ring(member.folder, told)
        return False

    def look(self) -> admission.View:
        """Look at the table once, and take what we wait for if it is our turn.

        Raises
        ------
        BudgetTooLarge, BudgetDeadlock
            When a limit was lowered so far that waiting on would never end.
        """
        member = self.member
        with self._step():
            self.settings.seam("look: mutex held")
            member.check_alive()
            table = member.read()
            self.settings.seam("look: table read")
            refusals.refuse_too_large(member, member.wants, table.limits)
            refusals.give_up_for_others(member, table, self.settings.boot_clock())
            now = self.settings.monotonic()
            seen = admission.view(table, member.slot, self._stalled(now))
            self._first_seen = {key: self._first_seen.get(key, now) for key in seen.grantable}
            if seen.granted:
                member.take(member.wants)
                member.unqueue()
                self._first_seen = {}
        self.settings.seam("look: before ring")
        ring(member.folder, seen.tell)
        return seen

    def withdraw(self, granted: Mapping[str, int] | None = None) -> None:
        """Leave the line, and give back what was ``granted`` to nobody."""
        with self._turns.take():
            if self._gone or not (granted or self.member.unsettled()):
                return
            try:
                self.member.unqueue()
            finally:
                self._first_seen = {}
                self.member.give(granted or {})
                told = self._whom_to_tell()
                self.settings.seam("withdraw: before ring")
                ring(self.member.folder, told)
        self._signboard.show()

    def leave(self) -> None:
        """Give everything back and go; our pipe hangs up, which tells whoever watches us."""
        with self._turns.take():
            if self._gone:
                return
            if not self._waits:
                self.member.leave()
                return
            # A thread waits with our descriptors: closed under it, their numbers could be a stranger's before
            # it wakes. It is told, finds us closed, and closes them on its way out.
            self._closed = True
            self.member.unqueue()
            self.member.give(dict(self.member.held))
            ring(self.member.folder, (*self._whom_to_tell(), self.member.slot))

    def _stop_waiting(self) -> None:
        with self._turns.take():
            self._waits = False
            if self._closed and self.member.slot >= 0:
                self.member.leave()

    @property
    def _gone(self) -> bool:
        return self._closed or self.member.slot < 0

    def forget(self) -> None:
        """Be nobody in a forked child, where the member's own descriptors are closed already."""
        self._turns = Turns()

    def idle(self) -> bool:
        """Return whether nothing is held and nothing waited for."""
        return self.member.ticket is None and not any(self.member.held.values())

    def stall_in(self, now: float) -> float:
        """Return the seconds until a waiter that could take and does not is to be passed over."""
        ours = (self.member.ticket, self.member.slot)
        ends = (seen + self.settings.grace - now for key, seen in self._first_seen.items() if key != ours)
        return min((end for end in ends if end > 0), default=float("inf"))

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Be alone in this process and in the pool."""
        with self._turns.take():
            if self._gone:
                message = f"the budget in {self._where} was closed, by another thread if this one waited"
                raise RuntimeError(message)
            with self.mutex.hold():
                yield

    def _stalled(self, now: float) -> frozenset[tuple[int, int]]:
        ours = (self.member.ticket, self.member.slot)
        grace = self.settings.grace
        return frozenset(key for key, seen in self._first_seen.items() if key != ours and now - seen >= grace)

    def _whom_to_tell(self) -> tuple[int, ...]:
        if not self.member.someone_waits():
            return ()
        try:
            with self.mutex.hold():
                return admission.told_on_release(self.member.read())
        except LedgerBusy:
            # Bytes go back in any case; who may have them is then found out by whoever waits.
            return tuple(self.member.waiting())
