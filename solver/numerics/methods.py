"""The integration methods as data: tableaus, embedded errors and interpolants, each with its source.

Every explicit method here ends with a stage at the new state (its last row of ``a`` are the weights ``b``),
so the last derivative of an accepted step is the first of the next one, also for `rk4` and `heun2` whose
textbook form does not say so: it costs nothing when the step is accepted and gives both ends of a Hermite
interpolant.

The interpolant of a step is the cubic that has the values and derivatives of both ends, and for methods of
order 5 ``theta**2 (1-theta)**2 h sum_i quartic[i] k_i`` besides: so Hairer writes that of Dormand and Prince
(``dopri5.f``), and Tsitouras' has the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["METHODS", "Method", "Rosenbrock", "RungeKutta", "method_named"]

Row = tuple[float, ...]


class Quartic(NamedTuple):
    """The coefficient of theta**4 by what is at hand: ``sum_i quartic[i] k_i`` in fewer terms.

    It is ``increment`` times the new state less the old, over h, ``first`` and ``last`` times the slopes of
    both ends, and ``inner`` times ``sum_i weights[i] k_i``.
    """

    increment: float
    first: float
    last: float
    inner: float
    weights: Row


@dataclass(frozen=True)
class RungeKutta:
    """An explicit Runge-Kutta method whose last stage is the derivative at the new state.

    Attributes
    ----------
    name, source
        How users call it; where the numbers come from.
    order
        Order of the solution that is carried on.
    c, a
        Stage times and lower-triangular stage weights; ``a[-1]`` advances the solution.
    error
        Weights of the stages in the embedded error estimate; empty for a method of fixed steps.
    quartic
        Weights of the stages in the coefficient of theta**4 of the interpolant; empty where it is a cubic.
    error_order
        The error estimate is of size h ** error_order.
    """

    name: str
    source: str
    order: int
    c: Row
    a: tuple[Row, ...]
    error: Row
    quartic: Row
    error_order: int

    @property
    def stages(self) -> int:
        """Number of stages, the one at the new state included."""
        return len(self.c)

    @property
    def adaptive(self) -> bool:
        """Whether it estimates its own error."""
        return bool(self.error)

    @property
    def quartic_parts(self) -> Quartic:
        """The weights of `quartic` in other words; there have to be some.

        A multiple of the increment stands for the inner stage that has the largest weight. The sum over the
        others is scaled so that the largest of them is 1.
        """
        inner = range(1, self.stages - 1)
        spared = max(inner, key=lambda q: abs(self.quartic[q]))
        share = self.quartic[spared] / self.a[-1][spared]
        first, *rest = (w - share * b for w, b in zip(self.quartic, self.a[-1], strict=False))
        rest[spared - 1] = 0.0
        scale = max(rest, key=abs)
        weights = (0.0, *(w / scale for w in rest), 0.0)
        return Quartic(share, first, self.quartic[-1], scale, weights)


@dataclass(frozen=True)
class Rosenbrock:
    """A linearly implicit method in the transformed form without matrix products.

    Stage i solves ``(I/(h*gamma) - J) u_i = f(t + alpha_i h, y + sum a_ij u_j) + sum c_ij/h u_j + h gamma_i
    df/dt``. The last two stages start from the stage value before them, the new state is the last stage value
    plus the last u, and that u is the error estimate. Interpolant: ``(1-th) y + th (y_new + (1-th)(sum d0_i
    u_i + th sum d1_i u_i))``.
    """

    name: str
    source: str
    order: int
    gamma: float
    alpha: Row
    gammas: Row
    a: tuple[Row, ...]
    c: tuple[Row, ...]
    dense: tuple[Row, Row]
    error_order: int

    @property
    def stages(self) -> int:
        """Number of linear solves per attempt."""
        return len(self.alpha)

    @property
    def adaptive(self) -> bool:
        """Rosenbrock methods here always estimate their error."""
        return True


Method = RungeKutta | Rosenbrock


def _rk4() -> RungeKutta:
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6, 0.0)
    return RungeKutta(
        name="rk4",
        source="Kutta (1901); Hermite interpolant",
        order=4,
        c=(0.0, 0.5, 0.5, 1.0, 1.0),
        a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0), weights[:-1]),
        error=(),
        quartic=(),
        error_order=0,
    )


def _heun2() -> RungeKutta:
    weights = (0.5, 0.5, 0.0)
    return RungeKutta(
        name="heun2",
        source="Heun (1900) with Euler's step embedded; Hermite interpolant",
        order=2,
        c=(0.0, 1.0, 1.0),
        a=((), (1.0,), weights[:-1]),
        error=(-0.5, 0.5, 0.0),
        quartic=(),
        error_order=2,
    )


def _bs3() -> RungeKutta:
    weights = (2 / 9, 1 / 3, 4 / 9, 0.0)
    return RungeKutta(
        name="bs3",
        source="Bogacki and Shampine, Appl. Math. Lett. 2 (1989) 321; Hermite interpolant",
        order=3,
        c=(0.0, 0.5, 0.75, 1.0),
        a=((), (0.5,), (0.0, 0.75), weights[:-1]),
        error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
        quartic=(),
        error_order=3,
    )


def _dp5() -> RungeKutta:
    return RungeKutta(
        name="dp5",
        source="Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19; "
        "interpolant: Shampine, Math. Comp. 46 (1986) 135",
        order=5,
        c=(0.0, 0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0),
        a=(
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
        quartic=(
            -12715105075 / 11282082432,
            0.0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ),
        error_order=5,
    )


def _tsit5() -> RungeKutta:
    return RungeKutta(
        name="tsit5",
        source="Tsitouras, Comput. Math. Appl. 62 (2011) 770, with its free fourth-order interpolant",
        order=5,
        c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
        a=(
            (),
            (0.161,),
            (-0.008480655492356989, 0.335480655492357),
            (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
            (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
            (
                5.86145544294642,
                -12.92096931784711,
                8.159367898576159,
                -0.071584973281401,
                -0.028269050394068383,
            ),
            (
                0.09646076681806523,
                0.01,
                0.4798896504144996,
                1.379008574103742,
                -3.290069515436081,
                2.324710524099774,
            ),
        ),
        error=(
            -0.00178001105222577714,
            -0.0008164344596567469,
            0.007880878010261995,
            -0.1447110071732629,
            0.5823571654525552,
            -0.45808210592918697,
            1 / 66,
        ),
        quartic=(
            -1.0530884977290216,
            0.1017,
            2.490627285651253,
            -16.548102889244902,
            47.37952196281928,
            -34.87065786149661,
            2.5,
        ),
        error_order=5,
    )


def _rodas4() -> Rosenbrock:
    return Rosenbrock(
        name="rodas4",
        source="Hairer and Wanner, Solving Ordinary Differential Equations II (1996), IV.7, RODAS",
        order=4,
        gamma=0.25,
        alpha=(0.0, 0.386, 0.21, 0.63, 1.0, 1.0),
        gammas=(0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0),
        a=(
            (),
            (1.544,),
            (0.9466785280815826, 0.2557011698983284),
            (3.314825187068521, 2.896124015972201, 0.9986419139977817),
            (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895),
            (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895, 1.0),
        ),
        c=(
            (),
            (-5.6688,),
            (-2.430093356833875, -0.2063599157091915),
            (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
            (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
            (
                8.083246795921522,
                -7.981132988064893,
                -31.52159432874371,
                16.31930543123136,
                -6.058818238834054,
            ),
        ),
        dense=(
            (
                10.12623508344586,
                -7.487995877610167,
                -34.80091861555747,
                -7.992771707568823,
                1.025137723295662,
                0.0,
            ),
            (
                -0.6762803392806898,
                6.087714651680015,
                16.43084320892478,
                24.76722511418386,
                -6.594389125716872,
                0.0,
            ),
        ),
        error_order=4,
    )


METHODS: dict[str, Method] = {m.name: m for m in (_rk4(), _heun2(), _bs3(), _dp5(), _tsit5(), _rodas4())}
"""All methods by the name users give."""


def method_named(name: str) -> Method:
    """Return the method called ``name``.

    Raises
    ------
    ValueError
        When there is none; the message lists those there are.
    """
    if name not in METHODS:
        message = f"there is no method {name!r}; choose one of {', '.join(METHODS)}"
        raise ValueError(message)
    return METHODS[name]
