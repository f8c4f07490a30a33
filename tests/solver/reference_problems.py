"""Test problems with reference values of 15 digits and more.

DETEST's A, B, D and E classes; the stiff set of the IVP test set; values from closed forms, or from Taylor
series and Radau IIA in 40 digits that agree with each other.
"""

from __future__ import annotations

import math

import numpy as np

RHO_REFERENCE = {
    # rho: (state at t=1, state at t=10)
    0.5: (
        (0.0324364178158655455122, 0.0308674160677597338775, 0.000671576656067908428941),
        (4.50326423632626292959e-4, 4.28933112386499496060e-4, 1.12528529463636307911e-7),
    ),
    10.0: (
        (3.40760732084450511018785, 1.62622735896926246906151, 11.3201982063364410223244),
        (4.91577059628021754825252, 4.91965230786574911942776, 9.00543444972750400761058),
    ),
    21.0: (
        (-6.45057914731890700922674, -8.89521147866779262664533, 14.6491458666044449387654),
        (-7.87344107657096204019542, -6.71332085316544446306217, 22.1761596528342027016129),
    ),
}
ROBERTSON_40 = np.array([0.71582706871940509047, 9.1855347645577639039e-6, 0.28416374574583035176])
ROBERTSON_1E11 = np.array([2.08334014970129423e-8, 8.33336077033478341e-14, 0.999999979166515169])
VAN_DER_POL_1000 = np.array([1.70616773217046501, -0.892809701024816548e-3])
OREGONATOR_360 = np.array([1.0008148703185227, 1228.1785215498880, 132.05549428465083])
# IVP test set.
HIRES_321 = np.array(
    [
        0.7371312573325668e-3,
        0.1442485726316185e-3,
        0.5888729740967575e-4,
        0.1175651343283149e-2,
        0.2386356198831331e-2,
        0.6238968252742796e-2,
        0.2849998395185769e-2,
        0.2850001604814231e-2,
    ]
)
VAN_DER_POL_CROSSINGS = (
    2.1616949938686778113,
    5.4931558427235185081,
    8.8247939137408786958,
    12.156437186279472229,
)
LORENZ_21_CROSSING = 0.676307027255788944


def lorenz(t, y, p):
    return (10.0 * (y[1] - y[0]), y[0] * (p[0] - y[2]) - y[1], y[0] * y[1] - (8 / 3) * y[2])


def decay(t, y, p):
    return (-y[0],)


def cubic_decay(t, y, p):
    return (-(y[0] ** 3) / 2,)


def modulated(t, y, p):
    return (y[0] * math.cos(t),)


def logistic(t, y, p):
    return (y[0] / 4 * (1 - y[0] / 20),)


def spiral(t, y, p):
    return ((y[0] - t) / (y[0] + t),)


def predator(t, y, p):
    return (2 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1]))


def kepler(t, y, p):
    cube = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return (y[2], y[3], -y[0] / cube, -y[1] / cube)


def kepler_start(eccentricity):
    return [1 - eccentricity, 0.0, 0.0, math.sqrt((1 + eccentricity) / (1 - eccentricity))]


def van_der_pol(t, y, p):
    return (y[1], p[0] * (1 - y[0] ** 2) * y[1] - y[0])


def robertson(t, y, p):
    slow, fast, square = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return (fast - slow, slow - fast - square, square)


def oregonator(t, y, p):
    return (
        77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])),
        (y[2] - (1 + y[0]) * y[1]) / 77.27,
        0.161 * (y[0] - y[2]),
    )


def hires(t, y, p):
    return (
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
        1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -280 * y[5] * y[7] + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        280 * y[5] * y[7] - 1.81 * y[6],
        -280 * y[5] * y[7] + 1.81 * y[6],
    )


def arenstorf(t, y, p):
    """A satellite around earth and moon, in the frame in which both rest."""
    mu, rest = 0.012277471, 1 - 0.012277471
    earth = ((y[0] + mu) ** 2 + y[1] ** 2) ** 1.5
    moon = ((y[0] - rest) ** 2 + y[1] ** 2) ** 1.5
    return (
        y[2],
        y[3],
        y[0] + 2 * y[3] - rest * (y[0] + mu) / earth - mu * (y[0] - rest) / moon,
        y[1] - 2 * y[2] - rest * y[1] / earth - mu * y[1] / moon,
    )


ARENSTORF = ([0.994, 0.0, 0.0, -2.00158510637908252240537862224], 17.0652165601579625588917206249)
"""Start and period of an orbit that closes."""


def oscillator(t, y, p):
    return van_der_pol(t, y, (1,))


def first_state(t, y, p):
    return y[0]


def lorenz_reference(rhos, t):
    """Return reference states (3, n) for ``rhos`` among 0.5, 10, 21 at t = 1 or 10."""
    return np.array([RHO_REFERENCE[rho][int(t == 10)] for rho in rhos]).T


# By name: right-hand side, start, end time, solution there.
DETEST = {
    "A1": (decay, [1.0], 20.0, [2.06115362243855783e-9]),
    "A2": (cubic_decay, [1.0], 20.0, [0.218217890235992381]),
    "A3": (modulated, [1.0], 20.0, [2.49165027185041452]),
    "A4": (logistic, [1.0], 20.0, [17.7301664813148398]),
    "A5": (spiral, [4.0], 20.0, [-0.788782668896401423731]),
    "B1": (predator, [1.0, 3.0], 20.0, [0.676187600857660660725574, 0.186081609964002980075109]),
    "D1": (
        kepler,
        kepler_start(0.1),
        20.0,
        [0.219883535200839661, 0.942707684634181309, -0.978765984105817651, 0.328797799096203608],
    ),
    "D2": (
        kepler,
        kepler_start(0.3),
        20.0,
        [-0.177702735714041169, 0.946778471990589258, -1.03029416319296957, 0.121107489005395216],
    ),
    "D3": (
        kepler,
        kepler_start(0.5),
        20.0,
        [-0.578043295303536123, 0.863384000919419280, -0.959508373038072736, -0.0650491512671209017],
    ),
    "D5": (
        kepler,
        kepler_start(0.9),
        20.0,
        [-1.29526625098757437, 0.400393896379232153, -0.677539092470756589, -0.127083815427868619],
    ),
    "E2": (oscillator, [2.0, 0.0], 20.0, [2.00814976217494859201449, -0.0425088752732021469859251]),
}
