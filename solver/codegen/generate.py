"""The life of one run as program text, in five pieces that every backend shares word for word.

``load`` and ``start`` begin a run, ``step`` makes one attempt without branching, ``after`` does what is
rarely due (save points, events) and ``finish`` writes the result. Plain code strings them together for one
run (`run_source`); SIMD lanes interleave many runs (`solver.codegen.lanes`, `solver.codegen.strips`), and
evaluate save points of several at once (``together``). What lives from one piece to the next has a name
listed in `Pieces`, so lanes know what to store.
"""

from __future__ import annotations

from dataclasses import dataclass

from solver.codegen.attempt import attempt_call, attempt_source, local_arrays
from solver.codegen.controller import FINITE_RETRIES, STRETCH, control_source, far
from solver.codegen.events import crossings, first_signs, settled_events
from solver.codegen.savepoints import Manner, finished_points, first_points, points, way
from solver.codegen.stages import dense_names, drive_arguments, slope_call, tolerances
from solver.codegen.text import Vectors, indent
from solver.numerics.drivers import drive_source
from solver.numerics.methods import Rosenbrock
from solver.numerics.recipe import ARGUMENTS, Recipe
from solver.numerics.status import RUNNING, Status

__all__ = ["Pieces", "functions_source", "pieces", "run_source"]


@dataclass(frozen=True)
class Pieces:
    """The text of a run, and the names that live between its pieces.

    Attributes
    ----------
    once
        Lines of code that come before all runs.
    load, start, step, after, finish
        Lines of code; they use the arguments of the program and the run's number ``r``.
    together
        Lines for the save points that the last step of several runs has passed; empty where ``after`` sees to
        them.
    read
        Real numbers that ``step`` reads only.
    reals, counters
        Numbers that every attempt reads and changes.
    handed_reals, handed_counters
        Numbers that ``step`` hands to ``after``. ``todo`` says whether ``after`` is due, which also decides
        whether the run is over.
    kept_reals, kept_counters, kept_indexes
        Numbers that only ``after`` and ``together`` change; while a run goes on, they change no others.
    tile
        Whether save points go to row ``home`` of a ``tile``, see `solver.codegen.tiles`.
    """

    once: list[str]
    load: list[str]
    start: list[str]
    step: list[str]
    after: list[str]
    finish: list[str]
    together: list[str]
    read: list[str]
    reals: list[str]
    counters: list[str]
    handed_reals: list[str]
    handed_counters: list[str]
    kept_reals: list[str]
    kept_counters: list[str]
    kept_indexes: list[str]
    tile: bool


def pieces(recipe: Recipe, manner: Manner = "alone") -> Pieces:
    """Return the pieces of a run for ``recipe``, for programs of this manner.

    Runs that are made in strips begin together: how many attempts there were is known of all at once.
    """
    state = Vectors(recipe.n_states, recipe.looped)
    dense = dense_names(recipe)
    events = range(len(recipe.events))
    save = way(recipe, state, manner)
    counted = manner != "strips"
    # An event may end a run inside its last step, of which `points` sees the whole.
    watched = ["told", "lag0", "reached", *state.passed("o"), *(f"x{e}" for e in events)] if events else []
    return Pieces(
        once=[f"{name} = {text}" for name, text in tolerances(recipe).items() if name != text],
        load=_load(recipe, state),
        start=[*_start(recipe, state, save.place), *save.begun],
        step=[
            *_step(recipe, state, counted=counted),
            *(save.due() if recipe.points else []),
            _STUCK,
        ],
        after=[
            *_after(recipe, state),
            *(points(recipe, state, save.place) if recipe.points and not save.together else []),
        ],
        finish=[*save.ended, *_finish(recipe, state, save.place)],
        together=save.together,
        read=["t1", *(f"p{j}" for j in range(recipe.n_params))],
        reals=["t", "lag", "h", *state.items("s"), *state.items("f"), *(f"g{e}" for e in events)],
        counters=[*(["tries"] if counted else []), "accepted", "row"],
        handed_reals=["err", "hh", *(["rate"] if save.together else []), *state.passed(*dense), *watched],
        handed_counters=["todo"],
        kept_reals=[*(["due"] if recipe.points else []), *save.reals],
        kept_counters=["status"],
        kept_indexes=save.indexes,
        tile="home" in save.place,
    )


def functions_source(recipe: Recipe) -> list[str]:
    """Return the functions that a run calls: right-hand side, inputs, events, controller, attempt."""
    drive = drive_arguments(recipe)
    outputs = [f"d{i}" for i in range(recipe.n_states)]
    call = "rhs(t, y, p, drive(t, samples, grid_start, grid_rate))" if drive else "rhs(t, y, p)"
    lines = [
        f"def slope({', '.join(['t', 'y', 'p', *drive])}):",
        f"    {', '.join(outputs)}, = {call}",
        f"    return {', '.join(f'real({name})' for name in outputs)},",
        *(drive_source(recipe) if drive else []),
    ]
    for e in range(len(recipe.events)):
        lines += [f"def watch{e}(t, y, p):", f"    return real(event{e}(t, y, p))"]
    if not recipe.fixed:
        lines += control_source(recipe.scheme.error_order)
    return [*lines, *attempt_source(recipe)]


def run_source(recipe: Recipe, allocate: str) -> list[str]:
    """Return ``one(r, ...)``, a whole run in plain code.

    Parameters
    ----------
    recipe
        What to generate for.
    allocate
        Name of the function that makes a local array of a shape and a dtype.
    """
    text = pieces(recipe)
    lines = []
    if recipe.looped:
        lines += [f"{name} = {allocate}({shape}, real)" for name, shape in local_arrays(recipe).items()]
        if isinstance(recipe.scheme, Rosenbrock):
            lines.append(f"pivot = {allocate}({recipe.n_states}, int32)")
    lines += [
        *text.once,
        *text.load,
        *text.start,
        "while status < 0:",
        *indent(text.step),
        "    if todo != 0:",
        *indent(text.after, 2),
        *text.finish,
    ]
    return [f"def one(r, {', '.join(ARGUMENTS)}):", *indent(lines)]


def _load(recipe: Recipe, state: Vectors) -> list[str]:
    lines = ["column = r if y0.shape[1] > 1 else 0", *state.each_at("s@ = y0[#, column]")]
    if recipe.n_params:
        lines.append("column = r if params.shape[1] > 1 else 0")
        lines += [f"p{j} = params[{j}, column]" for j in range(recipe.n_params)]
    return [
        *lines,
        "column = r if span.shape[1] > 1 else 0",
        "t = span[0, column]",
        "t1 = span[1, column]",
    ]


def _start(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    lines = [
        f"{state.targets('f')} = {slope_call(recipe, 't', state.tuple('s'))}",
        "h = h0",
        *([] if recipe.fixed else _first_step(state)),
        "lag = 0.0",
        "tries = whole(0)",
        "accepted = whole(0)",
        "row = whole(0)",
        f"status = whole({RUNNING})",
    ]
    return [
        *lines,
        *first_signs(recipe, state),
        *(first_points(recipe, state, place) if recipe.points else []),
    ]


def _first_step(state: Vectors) -> list[str]:
    """Return lines that choose the first step from state and slope (Hairer, Norsett, Wanner I, II.4)."""
    return [
        "if not h > 0.0:",
        *indent(
            [
                "a = 0.0",
                "b = 0.0",
                *state.each(
                    "c = atol + rtol*abs(s@)",
                    "a = a + (s@/c)*(s@/c)",
                    "b = b + (f@/c)*(f@/c)",
                ),
                "h = 1e-6*(1.0 + abs(t))",
                "if a > 1e-10 and b > 1e-10 and a <= HUGE and b <= HUGE:",
                "    h = 0.01*math.sqrt(a/b)",
            ]
        ),
    ]


def _step(recipe: Recipe, state: Vectors, *, counted: bool) -> list[str]:
    return [
        "told = t",
        *(["lag0 = lag"] if recipe.events else []),
        "hh = (t1 - t) + lag",
        f"final = hh <= h*{STRETCH!r}",
        "hh = hh if final else h",
        attempt_call(recipe, state),
        "ok = err <= 1.0",
        *([] if recipe.fixed else ["h = hh*control(err, row)"]),
        # Time is summed with its rounding error carried along: no drift, also in float32.
        "a = hh - lag",
        "b = t + a",
        "lag = (b - t) - a if ok else lag",
        "b = t1 if final else b",
        "t = b if ok else t",
        "row = whole(0 if ok else row + 1)",
        *(["tries = whole(tries + 1)"] if counted else []),
        "accepted = whole(accepted + 1 if ok else accepted)",
        *state.each("s@ = v@ if ok else s@"),
        *([] if isinstance(recipe.scheme, Rosenbrock) else state.each("f@ = w@ if ok else f@")),
        *(["reached = t", *state.each("o@ = s@")] if recipe.events else []),
        *_due(recipe),
        *crossings(recipe, state),
    ]


def _due(recipe: Recipe) -> list[str]:
    """Return lines that say cheaply whether `_verdict` or something else has to look at this attempt."""
    bound = "HUGE" if recipe.fixed else repr(far(recipe.scheme.error_order))
    return [
        "todo = 1 if tries >= max_steps else 0",
        # The bound is the controller's: one comparison for both.
        f"todo = todo if err <= {bound} else 1",
        "todo = 1 if t >= t1 else todo",
    ]


_STUCK = "todo = todo if b > told else 2"
"""The line that says that time did not move, whatever else is due."""


def _verdict(recipe: Recipe) -> list[str]:
    patience = 1 if recipe.fixed else FINITE_RETRIES
    return [
        "if t >= t1:",
        f"    status = whole({Status.OK:d})",
        f"elif not err <= HUGE and (row >= {patience} or todo == 2):",
        f"    status = whole({Status.NON_FINITE:d})",
        "elif todo == 2:",
        f"    status = whole({Status.STEP_UNDERFLOW:d})",
        "elif tries >= max_steps:",
        f"    status = whole({Status.MAX_STEPS:d})",
    ]


def _after(recipe: Recipe, state: Vectors) -> list[str]:
    return _verdict(recipe) + (settled_events(recipe, state) if recipe.events else [])


def _finish(recipe: Recipe, state: Vectors, place: str) -> list[str]:
    lines = [
        "counts[0, r] = accepted",
        "counts[1, r] = tries - accepted",
        "t_end[r] = t",
        "a = 0.0",
        *state.each("a = a + 0.0*s@"),
        f"status_out[r] = status if a == 0.0 else {Status.NON_FINITE:d}",
    ]
    if recipe.points:
        return [*lines, *finished_points(recipe, state, place)]
    return [*lines, *state.each_at("ys[0, #, r] = s@")]
