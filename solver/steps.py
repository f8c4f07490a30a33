"""The text of one integration step, straight-line for a given number of states.

Text, because a compiled kernel wants neither loops over states nor arrays for stages: every state is a name
of its own and stays in a register. The same text is interpreted by the simulator.
"""

from __future__ import annotations

__all__ = ["METHODS", "rk4_step"]


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)},)"


def rk4_step(n_states: int) -> list[str]:
    """Return the lines that advance ``s0 ... sn`` by the classical Runge-Kutta method of order 4.

    The lines use the names ``rhs``, ``p``, ``t``, ``h``, ``half`` (``h / 2``), ``sixth`` (``h / 6``) and
    ``TWO``, all in the precision of the states.
    """

    def shifted(width: str, stage: str) -> str:
        return _tuple([f"s{i} + {width} * {stage}[{i}]" for i in range(n_states)])

    return [
        f"a = rhs(t, {_tuple([f's{i}' for i in range(n_states)])}, p)",
        f"b = rhs(t + half, {shifted('half', 'a')}, p)",
        f"c = rhs(t + half, {shifted('half', 'b')}, p)",
        f"d = rhs(t + h, {shifted('h', 'c')}, p)",
        *(f"s{i} = s{i} + sixth * (a[{i}] + TWO * (b[{i}] + c[{i}]) + d[{i}])" for i in range(n_states)),
    ]


METHODS = {"rk4": rk4_step}
"""Fixed-step methods by name."""
