"""Every interleaving of a few claimants, at the grain of system calls, with deaths at any point.

The steps model :mod:`pytest_gpuguard.budget.claimant` and ``waiting``; who may take, who is told and who is
watched is decided by the production functions themselves, handed in as :class:`Rules` so that a test can
break one. There is no safety poll in here: a lost wake-up shows as a state from which nobody moves.

Pipes are modelled as the kernel keeps them: a hang-up is a *level* (no writer now, one since the watch was
opened), so a newcomer that takes over a dead one's slot makes a pending hang-up disappear.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuguard.budget import admission
from pytest_gpuguard.budget.waitgraph import stuck, victim
from pytest_gpuguard.ledger.table import Table, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

Amounts = tuple[int, ...]
# A claimant's program: a step with a positive amount is claimed in one piece, any other is released.
Program = tuple[Amounts, ...]

# No limit is stated by who is gone, who comes in, and who has given everything back on its way out.
_WITHOUT_LIMIT = {"dead", "join: wait for mutex", "join: pipe", "leave: hang up", "gone"}


class Process(NamedTuple):
    """One claimant."""

    at: str
    alive: bool = True
    rung: bool = False
    ticket: int | None = None
    held: Amounts = ()
    wants: Amounts | None = None
    watched: frozenset[tuple[int, bool]] = frozenset()  # (whom, whether it can hang up)
    todo: tuple[int, ...] = ()
    step: int = 0
    read: tuple[Amounts, ...] = ()


class State(NamedTuple):
    """Everybody, who has the mutex, and how many deaths and rebirths are left."""

    mutex: int | None
    processes: tuple[Process, ...]
    deaths: int
    births: int


@dataclass(frozen=True)
class Rules:
    """The production functions, each replaceable by a broken one."""

    view: Callable[[Table, int], admission.View] = admission.view
    told_on_queue: Callable[[Table, int], tuple[int, ...]] = admission.told_on_queue
    told_on_release: Callable[[Table], tuple[int, ...]] = admission.told_on_release
    told_on_join: Callable[[list[int]], tuple[int, ...]] = admission.told_on_join
    stuck: Callable[[Table], tuple[Waiter, ...]] = stuck
    victim: Callable[[Table], Waiter | None] = victim
    look_again: bool = True  # R1
    one_table: bool = True  # R2


@dataclass
class Result:
    """What was found."""

    states: int = 0
    over: int = 0
    stuck: int = 0
    refused: int = 0
    examples: list[str] = field(default_factory=list)


class Explorer:
    """Runs all interleavings of ``programs``.

    Parameters
    ----------
    limits
        The limit of each claimant, by resource; the smallest of those alive counts.
    programs
        What each of them does.
    deaths, births
        How many may die, and how many of the dead are followed by a newcomer in their slot, who claims
        nothing.
    leaves
        Who goes at the end of its program. The others stay, idle: nobody is woken by their pipes hanging up.
    torn
        Read holders one by one, with releases and deaths in between, instead of all in one step.
    """

    def __init__(
        self,
        limits: tuple[Amounts, ...],
        programs: tuple[Program, ...],
        *,
        deaths: int = 0,
        births: int = 0,
        leaves: frozenset[int] = frozenset(),
        torn: bool = False,
        rules: Rules | None = None,
    ) -> None:
        self.limits, self.programs, self.torn, self.rules = limits, programs, torn, rules or Rules()
        self.leaves = leaves
        self.names = [f"r{index}" for index in range(len(limits[0]))]
        self.nothing: Amounts = (0,) * len(self.names)
        start = tuple(Process("begin: wait for mutex", held=self.nothing) for _ in programs)
        self.start = State(None, start, deaths, births)
        self._decide = lru_cache(maxsize=None)(self._decide_uncached)
        self.refused = self.over = 0

    def run(self, most: int = 2_000_000) -> Result:
        """Visit every state once."""
        result = Result()
        seen = {self.start}
        todo = deque(seen)
        while todo:
            state = todo.popleft()
            result.states += 1
            moves = [move for index in range(len(state.processes)) for move in self.moves(state, index)]
            self._judge(state, bool(moves), result)
            for after in (*moves, *self._deaths(state), *self._births(state)):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
            assert len(seen) <= most, f"more than {most} states"
        result.refused, result.over = self.refused, self.over
        return result

    def _judge(self, state: State, moved: bool, result: Result) -> None:
        waiting = [process for process in state.processes if process.at not in {"dead", "done", "gone"}]
        if not moved and waiting:
            result.stuck += 1
            if len(result.examples) < 2:
                result.examples.append("; ".join(f"{p.at}, holds {p.held}, wants {p.wants}" for p in waiting))

    def _granted(self, state: State, me: int, held: Amounts) -> None:
        """Check a grant as it is made: against what everybody holds and the limits in force just now."""
        others = [process.held for i, process in enumerate(state.processes) if i != me]
        sums = (sum(column) for column in zip(held, *others, strict=True))
        self.over += any(total > limit for total, limit in zip(sums, self._limit(state), strict=True))

    # What everybody sees

    def _limit(self, state: State) -> Amounts:
        stated = [
            own
            for own, process in zip(self.limits, state.processes, strict=True)
            if process.at not in _WITHOUT_LIMIT
        ]
        return tuple(min(column) for column in zip(*stated, strict=True)) if stated else self.limits[0]

    def _key(self, state: State, held: tuple[Amounts, ...] | None = None) -> tuple[object, ...]:
        processes = state.processes
        stated = tuple(process.at not in _WITHOUT_LIMIT for process in processes)
        held = held or tuple(process.held for process in processes)
        waiters = tuple(
            sorted(
                (p.ticket, i, p.wants or self.nothing)
                for i, p in enumerate(processes)
                if p.ticket is not None
            )
        )
        return stated, held, waiters

    def _table(self, key: tuple[object, ...], me: int) -> Table:
        stated, held, waiters = key
        live = [own for own, lives in zip(self.limits, stated, strict=True) if lives] or [self.limits[0]]
        limits = {name: min(own[r] for own in live) for r, name in enumerate(self.names)}
        lower = frozenset(
            i
            for i, lives in enumerate(stated)
            if lives
            and any(mine > other for mine, other in zip(self.limits[me], self.limits[i], strict=True))
        )
        return Table(
            limits,
            {i: self._named(amounts) for i, amounts in enumerate(held) if any(amounts)},
            tuple(Waiter(ticket, i, self._named(wants)) for ticket, i, wants in waiters),
            lower,
        )

    def _named(self, amounts: Amounts) -> dict[str, int]:
        return {name: amount for name, amount in zip(self.names, amounts, strict=True) if amount}

    def _decide_uncached(self, what: str, key: tuple[object, ...], me: int) -> object:
        table = self._table(key, me)
        if what == "view":
            if admission.hopeless(table.waiter(me), table):
                return None
            newest = self.rules.victim(table)
            return None if newest is not None and newest.slot == me else self.rules.view(table, me)
        if what == "queue":
            refused = any(waiter.slot == me for waiter in self.rules.stuck(table))
            return None if refused else self.rules.told_on_queue(table, me)
        if what == "fits":
            return table
        return self.rules.told_on_release(table)

    # The steps of one claimant

    def moves(self, state: State, me: int) -> list[State]:
        """Return what the claimant ``me`` may do next; it has at most one thing to do."""
        process = state.processes[me]
        action = _ACTIONS.get(process.at)
        after = action(self, state, me, process) if action else None
        return [] if after is None else [after]

    def _put(self, state: State, me: int, process: Process, mutex: int | str | None = "as it is") -> State:
        processes = (*state.processes[:me], process, *state.processes[me + 1 :])
        return State(state.mutex if mutex == "as it is" else mutex, processes, state.deaths, state.births)

    def _next_operation(self, me: int, process: Process) -> Process:
        step = process.step + 1
        if step == len(self.programs[me]):
            at = "leave: unlock" if me in self.leaves else "done"
            return process._replace(at=at, step=step, todo=())
        positive = any(amount > 0 for amount in self.programs[me][step])
        at = "begin: wait for mutex" if positive else "release: unlock"
        return process._replace(at=at, step=step, todo=())

    def _operation(self, me: int, process: Process) -> Amounts:
        return self.programs[me][process.step]

    def _deaths(self, state: State) -> list[State]:
        if not state.deaths:
            return []
        after = []
        for me, process in enumerate(state.processes):
            if not process.alive:
                continue
            mutex = None if state.mutex == me else state.mutex
            dead = Process("dead", alive=False, held=self.nothing)
            processes = (*state.processes[:me], dead, *state.processes[me + 1 :])
            after.append(State(mutex, processes, state.deaths - 1, state.births))
        return after

    def _births(self, state: State) -> list[State]:
        if not state.births:
            return []
        newcomer = Process("join: wait for mutex", alive=False, held=self.nothing)
        return [
            State(
                state.mutex,
                (*state.processes[:me], newcomer, *state.processes[me + 1 :]),
                state.deaths,
                state.births - 1,
            )
            for me, process in enumerate(state.processes)
            if process.at == "dead"
        ]


def _lock(following: str):
    def step(explorer: Explorer, state: State, me: int, process: Process) -> State | None:
        if state.mutex is not None:
            return None
        return explorer._put(state, me, process._replace(at=following), me)

    return step


def _unlock(following: str):
    def step(explorer: Explorer, state: State, me: int, process: Process) -> State:
        return explorer._put(state, me, process._replace(at=following), None)

    return step


def _ring(finish: Callable[[Explorer, int, Process], Process]):
    """Wake those in ``todo`` one by one; the dead hear nothing."""

    def step(explorer: Explorer, state: State, me: int, process: Process) -> State:
        if not process.todo:
            return explorer._put(state, me, finish(explorer, me, process))
        told, rest = process.todo[0], process.todo[1:]
        if told != me and state.processes[told].alive:
            state = explorer._put(state, told, state.processes[told]._replace(rung=True))
        return explorer._put(state, me, state.processes[me]._replace(todo=rest))

    return step


def _to(at: str):
    return lambda _explorer, _me, process: process._replace(at=at, todo=())


def _begin(explorer: Explorer, state: State, me: int, process: Process) -> State:
    wants = explorer._operation(me, process)
    key = explorer._key(state)
    table = explorer._decide("fits", key, me)
    if any(want > table.limits[name] for want, name in zip(wants, explorer.names, strict=True)):
        explorer.refused += 1
        return explorer._put(state, me, process._replace(at="refused: unlock"))
    free = table.free()
    if not table.waiters and all(
        want <= free[name] for want, name in zip(wants, explorer.names, strict=True)
    ):
        held = tuple(a + b for a, b in zip(process.held, wants, strict=True))
        explorer._granted(state, me, held)
        return explorer._put(state, me, process._replace(at="begin: taken", held=held))
    return explorer._put(state, me, process._replace(at="queue: ticket", wants=wants))


def _queue(explorer: Explorer, state: State, me: int, process: Process) -> State:
    tickets = [other.ticket for other in state.processes if other.ticket is not None]
    queued = process._replace(ticket=max(tickets, default=-1) + 1)
    told = explorer._decide("queue", explorer._key(explorer._put(state, me, queued)), me)
    if told is None:
        explorer.refused += 1
        return explorer._put(state, me, process._replace(at="refused: unlock", wants=None))
    return explorer._put(state, me, queued._replace(at="queue: unlock", todo=told))


def _look(explorer: Explorer, state: State, me: int, process: Process) -> State:
    if explorer.torn and len(process.read) < len(state.processes):
        read = (*process.read, state.processes[len(process.read)].held)
        return explorer._put(state, me, process._replace(read=read))
    key = explorer._key(state, process.read or None)
    process = process._replace(read=())
    view = explorer._decide("view", key, me)
    if view is None:
        explorer.refused += 1
        return explorer._put(state, me, process._replace(at="withdraw: from look"))
    if view.granted:
        return explorer._put(state, me, process._replace(at="granted: take", todo=view.tell))
    return explorer._put(state, me, process._replace(at="watch: unlock", todo=tuple(sorted(view.watch))))


def _take(explorer: Explorer, state: State, me: int, process: Process) -> State:
    held = tuple(a + b for a, b in zip(process.held, process.wants, strict=True))
    explorer._granted(state, me, held)
    return explorer._put(state, me, process._replace(at="granted: unqueue", held=held))


def _unqueue(following: str):
    def step(explorer: Explorer, state: State, me: int, process: Process) -> State:
        return explorer._put(state, me, process._replace(at=following, ticket=None))

    return step


def _drop_wants(following: str):
    def step(explorer: Explorer, state: State, me: int, process: Process) -> State:
        return explorer._put(state, me, process._replace(at=following, wants=None))

    return step


def _watch(explorer: Explorer, state: State, me: int, process: Process) -> State:
    needed = set(process.todo)
    if not explorer.rules.one_table:
        # The defect: whom to watch comes from a second, later read.
        needed &= {
            i for i, other in enumerate(state.processes) if any(other.held) or other.ticket is not None
        }
    kept = {(whom, can) for whom, can in process.watched if whom in needed}
    new = needed - {whom for whom, _ in kept}
    opened = {(whom, state.processes[whom].alive) for whom in new}
    again = bool(new) and explorer.rules.look_again
    at = "wait: drain" if again else "wait: sleep"
    return explorer._put(state, me, process._replace(at=at, watched=frozenset(kept | opened), todo=()))


def _sleep(explorer: Explorer, state: State, me: int, process: Process) -> State | None:
    hung_up = {(whom, can) for whom, can in process.watched if can and not state.processes[whom].alive}
    if not process.rung and not hung_up:
        return None
    return explorer._put(state, me, process._replace(at="wait: drain", watched=process.watched - hung_up))


def _drain(explorer: Explorer, state: State, me: int, process: Process) -> State:
    return explorer._put(state, me, process._replace(at="look: wait for mutex", rung=False))


def _release(explorer: Explorer, state: State, me: int, process: Process) -> State:
    steps = explorer._operation(me, process)
    held = tuple(a + b for a, b in zip(process.held, steps, strict=True))
    return explorer._put(state, me, process._replace(at="release: anybody?", held=held))


def _release_all(explorer: Explorer, state: State, me: int, process: Process) -> State:
    last = len(explorer.programs[me]) - 1
    return explorer._put(
        state, me, process._replace(at="release: anybody?", held=explorer.nothing, step=last)
    )


def _anybody(explorer: Explorer, state: State, me: int, process: Process) -> State:
    if any(other.ticket is not None for other in state.processes):
        return explorer._put(state, me, process._replace(at="release: wait for mutex"))
    return explorer._put(state, me, explorer._next_operation(me, process))


def _tell(explorer: Explorer, state: State, me: int, process: Process) -> State:
    told = explorer._decide("release", explorer._key(state), me)
    return explorer._put(state, me, process._replace(at="release: unlock mutex", todo=told))


def _join(explorer: Explorer, state: State, me: int, process: Process) -> State:
    """Open the pipe: from now on nobody sees the hang-up of the slot's last owner, but may see ours."""
    processes = list(state.processes)
    for i, other in enumerate(processes):
        if any(whom == me for whom, _ in other.watched):
            armed = frozenset((whom, True) if whom == me else (whom, can) for whom, can in other.watched)
            processes[i] = other._replace(watched=armed)
    waiting = [i for _, i in sorted((p.ticket, i) for i, p in enumerate(processes) if p.ticket is not None)]
    told = explorer.rules.told_on_join(waiting)
    processes[me] = process._replace(at="join: unlock", alive=True, todo=told)
    return State(state.mutex, tuple(processes), state.deaths, state.births)


def _hang_up(explorer: Explorer, state: State, me: int, process: Process) -> State:
    return explorer._put(state, me, Process("gone", alive=False, held=explorer.nothing))


def _give_up_limit(explorer: Explorer, state: State, me: int, process: Process) -> State:
    return explorer._put(state, me, process._replace(at="leave: hang up", held=explorer.nothing))


_ACTIONS = {
    "begin: wait for mutex": _lock("begin: mutex"),
    "begin: mutex": _begin,
    "begin: taken": lambda e, s, me, p: e._put(s, me, e._next_operation(me, p), None),
    "refused: unlock": _unlock("release all"),
    "queue: ticket": _queue,
    "queue: unlock": _unlock("queue: ring"),
    "queue: ring": _ring(_to("wait: drain")),
    "wait: drain": _drain,
    "look: wait for mutex": _lock("look: mutex"),
    "look: mutex": _look,
    "granted: take": _take,
    "granted: unqueue": _unqueue("granted: drop wants"),
    "granted: drop wants": _drop_wants("granted: unlock"),
    "granted: unlock": lambda e, s, me, p: e._put(
        s, me, p._replace(at="granted: ring", watched=frozenset(), rung=False), None
    ),
    "granted: ring": _ring(lambda e, me, p: e._next_operation(me, p)),
    "watch: unlock": _unlock("watch: open"),
    "watch: open": _watch,
    "wait: sleep": _sleep,
    "withdraw: from look": _unlock("withdraw: ticket"),
    "withdraw: ticket": _unqueue("withdraw: wants"),
    "withdraw: wants": _drop_wants("release all"),
    "release all": _release_all,
    "release: unlock": _release,
    "release: anybody?": _anybody,
    "release: wait for mutex": _lock("release: mutex"),
    "release: mutex": _tell,
    "release: unlock mutex": _unlock("release: ring"),
    "release: ring": _ring(lambda e, me, p: e._next_operation(me, p)),
    "leave: unlock": _give_up_limit,
    "leave: hang up": _hang_up,
    "join: wait for mutex": _lock("join: pipe"),
    "join: pipe": _join,
    "join: unlock": _unlock("join: ring"),
    "join: ring": _ring(_to("done")),
}
