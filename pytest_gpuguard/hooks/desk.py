"""Where a process claims: asks the budget, waits without being a stall, and hands out only what is free."""

from __future__ import annotations

from collections import ChainMap, Counter
from typing import TYPE_CHECKING, Any

from pytest_gpuguard import clock
from pytest_gpuguard.budget.wording import amounts_text
from pytest_gpuguard.devices.bounded import within
from pytest_gpuguard.devices.discovery import free_bytes
from pytest_gpuguard.devices.trim import trim
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.hooks.blockers import blockers
from pytest_gpuguard.ledger.places import default_root
from pytest_gpuguard.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from pytest_gpuguard.budget import Budget, Lease, Snapshot
    from pytest_gpuguard.hooks.host import Host
    from pytest_gpuguard.hooks.settings import Settings
    from pytest_gpuguard.plan.declared import Asked
    from pytest_gpuguard.track.scope import Scene

__all__ = ["Desk"]

_FREE_WITHIN = 5.0


class Desk:
    """Claims of one process.

    Parameters
    ----------
    config, settings, scene
        The run, its switches, and what is running.
    worker, run
        Who claims, in others' messages.
    started
        The run's start in monotonic seconds.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, scene: Scene, worker: str, run: str, started: float
    ) -> None:
        self._config, self._settings, self._scene = config, settings, scene
        self._who, self._worker, self._run, self._started = f"{worker} {run}", worker, run, started
        self._host: Host | None = None
        self._budget: Budget | None = None
        self._contexts: dict[str, Lease] = {}
        self._looks_at_free = True
        self._held: dict[Lease, float] = {}
        self._waiting: tuple[str, float] | None = None
        self._notes: list[str] = []
        #: Waits of the running test, oldest first: plain values of the record.
        self.waits: list[dict[str, Any]] = []
        self._levels: list[tuple[str, str, float, int]] = []
        self._level: dict[str, int] = {}

    @property
    def directory(self) -> Path:
        """Where budgets live."""
        return self._settings.budget_dir or default_root()

    @property
    def host(self) -> Host:
        """What there is; looked for when first asked."""
        if self._host is None:
            from pytest_gpuguard.hooks.host import Host

            self._host = Host(self._settings.budget)
        return self._host

    @property
    def notes(self) -> list[str]:
        """What people should know of the budget, each once."""
        return self._notes + (self._host.notes if self._host else [])

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell: asked after every test."""
        return not (self.waits or self._levels or self._notes or (self._host and self._host.notes))

    def ask(self, wants: Mapping[str, int], what: str) -> Lease | None:
        """Return a lease, waiting for it as long as somebody ahead gets further.

        None when there is nothing to claim: places on devices that this process has already.

        Parameters
        ----------
        what
            The test or fixture that needs it.

        Raises
        ------
        BudgetError, LedgerError
            When it cannot be had.
        """
        wants = self._beside_what_is_held(wants)
        if not wants:
            return None
        self._refuse_beside_contexts(wants)
        contexts = {
            name: size for name, size in self._contexts_for(wants).items() if name not in self._contexts
        }
        lease = self._acquire({name: amount + contexts.get(name, 0) for name, amount in wants.items()}, what)
        for device, amount in contexts.items():
            self._contexts[device] = lease.split({device: amount}, f"{self._who} its CUDA context")
        self._held[lease] = clock.monotonic()
        self._note_levels()
        self._trim()
        self._wait_until_free(wants)
        return lease

    def forecast(self, asked: Asked) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """Return what a test will claim here, and by name what is then kept to the end of this process."""
        amounts = self.host.amounts(asked.own) if asked.own is not None else {}
        kept = {
            f"fixture {declared.name} at {declared.file}:{declared.line}": self.host.amounts(declared.demand)
            for declared in asked.kept
        }
        contexts = self._contexts_for(dict(ChainMap(amounts, *kept.values())))
        return amounts, kept | {f"context on {device}": {device: size} for device, size in contexts.items()}

    def beyond(self, wants: Mapping[str, int]) -> set[str]:
        """Return the resources of which ``wants`` are more than this host has in all."""
        contexts = self._contexts_for(wants)
        return {
            name
            for name, amount in wants.items()
            if amount + contexts.get(name, 0) > self.host.limits.get(name, 0)
        }

    def part(self, lease: Lease, amounts: Mapping[str, int], what: str) -> Lease:
        """Return a lease of its own for part of one that is held."""
        held = lease.amounts
        part = lease.split(
            {name: min(amount, held.get(name, 0)) for name, amount in amounts.items()}, f"{self._who} {what}"
        )
        self._held[part] = self._held[lease]
        return part

    def give(self, lease: Lease | None) -> None:
        """Give a lease back, and before that what libraries keep of it."""
        if lease is None:
            return
        self._held.pop(lease, None)
        try:
            self._trim()
        finally:
            # Before it is free: by then another may have it, and both together would seem to be too much.
            self._note_levels()
            lease.release()

    def take_levels(self) -> list[tuple[str, str, float, int]]:
        """Return how what is held has changed since the last time, as the record has it."""
        taken, self._levels = self._levels, []
        return taken

    @property
    def limits_used(self) -> dict[str, int]:
        """The whole of each resource that was claimed so far."""
        return {name: self.host.limits[name] for name in self._level if name in self.host.limits}

    @property
    def devices_used(self) -> list[dict[str, Any]]:
        """The devices on which something was claimed so far, as the record has them."""
        from pytest_gpuguard.hooks.host import slots_of

        if not self._level:
            return []
        return [
            entry | {"workers": [self._worker]}
            for resource, entry in self.host.described.items()
            if resource in self._level or slots_of(resource) in self._level
        ]

    def _note_levels(self) -> None:
        """Note what is held from now on, contexts included."""
        at, now = clock.monotonic() - self._started, Counter[str]()
        for lease in (*self._held, *self._contexts.values()):
            now.update(lease.amounts)
        for name in now.keys() | self._level.keys():
            if now[name] != self._level.get(name, 0):
                self._level[name] = now[name]
                self._levels.append((self._worker, name, at, now[name]))

    def progress(self) -> None:
        """Show who waits for us that a phase has ended."""
        if self._budget is not None:
            self._budget.progress()

    def close(self) -> None:
        """Give everything back."""
        if self._budget is not None:
            self._budget.close()

    def described(self) -> list[str]:
        """Return what is held and waited for, for people; may be asked by another thread."""
        now = clock.monotonic()
        held = [
            f"holds {amounts_text(lease.amounts)} for {lease.label.removeprefix(self._who).strip()}"
            f" since {format_seconds(now - since)}"
            for lease, since in list(self._held.items())
            if any(lease.amounts.values())
        ]
        waiting = self._waiting
        return held + (
            [f"waits for {waiting[0]} since {format_seconds(now - waiting[1])}"] if waiting else []
        )

    def edges(self) -> list[tuple[str, str, str, int]]:
        """Return who waits for whom, of all that share the budget; may be asked by another thread."""
        from pytest_gpuguard.budget.edges import edges

        budget = self._budget
        if budget is None:
            return []
        try:
            found = within(2.0, lambda: edges(budget.snapshot()))
        except (GuardError, OSError):
            return []
        own = f" {self._run} "
        return [(edge.waiter.replace(own, "  "), edge.holder.replace(own, "  "), *edge[2:]) for edge in found]

    def snapshot(self) -> Snapshot | None:
        """Return who holds and waits, of all that share the budget; None where nothing was claimed so far."""
        budget = self._budget
        return within(2.0, budget.snapshot) if budget is not None else None

    def _opened(self) -> Budget:
        if self._budget is None:
            # A folder that was named is made, wherever it is; /tmp is there.
            self.directory.mkdir(parents=True, exist_ok=True)
            from pytest_gpuguard.budget import Budget

            self._budget = Budget(
                self.host.limits,
                self.directory,
                self._settings.pool,
                label=self._who,
                say=self._say,
            )
        return self._budget

    def _say(self, line: str) -> None:
        if line not in self._notes:
            self._notes.append(line)

    def _beside_what_is_held(self, wants: Mapping[str, int]) -> dict[str, int]:
        """Return ``wants`` less the places on devices that this process has already."""
        from pytest_gpuguard.hooks.host import slots_of

        left = dict(wants)
        for device in self.host.devices:
            slots = slots_of(device)
            if slots in left:
                left[slots] -= sum(lease.amounts.get(slots, 0) for lease in self._held)
        return {name: amount for name, amount in left.items() if amount > 0}

    def _contexts_for(self, wants: Mapping[str, int]) -> dict[str, int]:
        """Return what the contexts take that whoever wants this much of devices has there."""
        used = [device for device in self.host.devices if self.host.real and device in wants]
        return dict.fromkeys(used, self._settings.context) if self._settings.context else {}

    def _refuse_beside_contexts(self, wants: Mapping[str, int]) -> None:
        from pytest_gpuguard.budget import BudgetTooLarge
        from pytest_gpuguard.budget.messages import too_large

        for device, size in self._contexts_for(wants).items():
            amount, limit = wants[device] + size, self.host.limits[device]
            if amount > limit:
                text = too_large(device, amount, limit, limit, ())
                context = (
                    f"  {format_bytes(size)} of it for the CUDA context of this worker (gpuguard_context)"
                )
                raise BudgetTooLarge(f"{text}\n{context}")

    def _acquire(self, wants: Mapping[str, int], what: str) -> Lease:
        from pytest_gpuguard.budget import BudgetDeadlock, BudgetTimeout

        budget, began = self._opened(), clock.monotonic()
        timed, end = self._scene.progress is not None, "interrupted"
        seen: list[Snapshot | None] = []

        def on_wait(snapshot: Snapshot) -> None:
            # No stall: whoever watches this process sees what it waits for instead.
            self._waiting, self._scene.progress = (amounts_text(wants), began), None
            seen.append(snapshot)

        try:
            lease = budget.acquire(
                wants, patience=self._settings.wait, label=f"{self._who} {what}", on_wait=on_wait
            )
            end = "granted"
            return lease
        except (BudgetTimeout, BudgetDeadlock) as refused:
            end = "timeout" if isinstance(refused, BudgetTimeout) else "deadlock"
            seen.append(refused.snapshot)
            raise
        finally:
            self._waiting = None
            if seen:
                self._scene.progress = clock.monotonic() if timed else None
                self._note_wait(what, wants, began, end, next(filter(None, reversed(seen)), None))

    def _note_wait(
        self, what: str, wants: Mapping[str, int], began: float, end: str, snapshot: Snapshot | None
    ) -> None:
        in_the_way = blockers(snapshot, wants, self._run)
        self.waits.append(
            {
                "nodeid": what,
                "worker": self._worker,
                "amounts": dict(wants),
                "from": began - self._started,
                "to": clock.monotonic() - self._started,
                "end": end,
                "blocked_by": list(dict.fromkeys(entry["who"] for entry in in_the_way)),
                "blockers": in_the_way if end in {"timeout", "deadlock"} else [],
            }
        )

    def _trim(self) -> None:
        try:
            trim()
            self._config.hook.pytest_gpuguard_trim(config=self._config)
        except Exception as error:  # noqa: BLE001 - libraries' and the suite's own code: a test goes on without it
            self._say(f"kept memory could not be given back: {type(error).__name__}: {error}")

    def _wait_until_free(self, wants: Mapping[str, int]) -> None:
        """Look a second time at what is free on devices: the budget knows its participants only.

        It never refuses: a pool of this very process may hold what is missing, for this very test.
        """
        if not (self.host.real and self._looks_at_free):
            return
        end = clock.monotonic() + _FREE_WITHIN
        for device, uuid in self.host.devices.items():
            while (free := free_bytes(uuid)) is not None and free < wants.get(device, 0):
                if clock.monotonic() > end:
                    self._looks_at_free = False
                    self._say(
                        f"{uuid} had {format_bytes(free)} free for a lease of {format_bytes(wants[device])}: "
                        "the rest is held by a pool, or outside of the budget; not looked at again"
                    )
                    return
                clock.sleep(0.1)
