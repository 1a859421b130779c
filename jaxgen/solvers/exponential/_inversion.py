"""An exactly reversible Solver: leapfrog on a pair of states.

With y = U^-1 z the flow is dy = dV x0hat(t), where U = R and V = R^-1 Phi_0. Two states take turns:
while one rests at stop i and is evaluated, the other leaps from stop i - 1 to stop i + 1,

    z' = U(i + 1) U(i - 1)^-1 z + U(i + 1) (V(i + 1) - V(i - 1)) x0hat_i,

with half leaps at both ends. Along the reversed stops the same leaps undo each other. (So they
would with noise predictions, but R^-1 multiplies rounding: on blocks nothing is left of the round
trip.) Source: derived; the two-step midpoint rule and its smoothing are Gragg's 1965. Of the family
of Wang et al. 2024, arXiv 2410.07273 (BELM), it is the one without a share of the resting state.
"""

from typing import Any, NamedTuple

import jax

from jaxgen.math import apply, namespace, total
from jaxgen.processes import is_diagonal
from jaxgen.solvers._solve import guarded
from jaxgen.solvers._tables._frame import frame
from jaxgen.solvers._tables._moments import carry
from jaxgen.solvers._tables._options import planner
from jaxgen.solvers._tables._table import TableInfo
from jaxgen.types import Solver


class Pair(NamedTuple):
    """Two copies of one state that take turns; the first is evaluated, the second moved.

    Source: definition.
    """

    first: Any  # [*event] or [c, *event]
    second: Any  # as first


class LeapRow(NamedTuple):
    """One evaluation and one leap. Source: definition."""

    t: Any  # [] where the denoiser is evaluated
    t_next: Any  # [] where the other state arrives
    propagate: Any  # [] or [c, c]
    weight: Any  # [] or [c]
    turn: Any  # [] 1 where the states change their roles; 0 at the end


class PairState(NamedTuple):
    """The running state of `reversible`. Source: definition."""

    x: Any  # what `solve` hands back: [*event], [c, *event] or a `Pair`
    pair: Any  # the `Pair`


def reversible(process, denoiser):
    """A second-order Solver that can be run back exactly; n + 1 evaluations for n steps; z is
    [*event] or [c, *event].

    Give `solve` a `Pair(z, z)` and it returns a `Pair`; that pair run along the reversed stops
    (`ts[::-1]`, rising or falling) returns the one it came from, to rounding and whatever the
    number of steps and the denoiser. Given a z alone it returns the mean of the two, and each row
    reports the state that moved. Raises ValueError on stops outside the process.
    Source: derived, see the head of the file; cf. Wallace et al. 2023, arXiv 2211.12446 (EDICT).
    """
    denoiser, entries = guarded(process, denoiser), is_diagonal(process)

    def build(process, ts):
        xp = namespace(process, ts)
        parts = frame(process, ts, hold="x0", clock="t")
        step, force = parts.step, parts.force
        both = step[1:] * step[:-1] if step.ndim == 1 else step[1:] @ step[:-1]
        hops = xp.concatenate([step[:1], both, step[-1:]])
        force = xp.concatenate([force[:1], force[1:] + force[:-1], force[-1:]])
        arrival = xp.concatenate([parts.base[1:], parts.base[-1:]])
        weight = carry(arrival, force[:, None])[:, 0]
        turn = xp.concatenate([xp.ones_like(ts[1:]), 0 * ts[-1:]])
        return LeapRow(ts, xp.concatenate([ts[1:], ts[-1:]]), hops, weight, turn)

    def init(x, ts):
        return PairState(x, x if isinstance(x, Pair) else Pair(x, x))

    def step(key, state, row):
        rest, moved = state.pair
        x0 = denoiser(rest, row.t)
        leap = apply(row.propagate, moved, entries=entries)
        moved = total([leap, apply(row.weight, x0, entries=entries)])
        pick = lambda a, b: jax.tree.map(lambda a, b: jax.numpy.where(row.turn > 0, a, b), a, b)
        pair = Pair(pick(moved, rest), pick(rest, moved))
        if isinstance(state.x, Pair):
            return PairState(pair, pair), TableInfo(row.t_next, None)
        mean = jax.tree.map(lambda a, b: (a + b) / 2, moved, rest)
        return PairState(pick(moved, mean), pair), TableInfo(row.t_next, None)

    return Solver(planner("reversible", process, build), init, step, 2, lambda n: n + 1)
