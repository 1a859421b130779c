"""Noise that does not depend on the grid: the increments of one Brownian path."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import apply, is_concrete, namespace, on_host, total, working_dtype
from jaxgen.processes import is_diagonal, mean_log_snr
from jaxgen.solvers._tables._table import TableRow, noise_like
from jaxgen.solvers.sde._options import choose
from jaxgen.types import Solver

DEPTH = 22  # places are whole numbers up to 2^DEPTH, which float32 holds


class BrownianRow(NamedTuple):
    """One step, and its stretch of the path. Source: definition."""

    t: Any  # []
    t_next: Any  # []
    row: Any  # the solver's own row, without noise
    noise: Any  # [] or [c, c]
    start: Any  # [] places on the path, from 0 at t_max to 2^DEPTH at t_min
    end: Any  # []


class BrownianState(NamedTuple):
    """The solver's own state, and where the path is. Source: definition."""

    x: Any  # [*event] or [c, *event]
    state: Any  # the solver's own, its x outdated
    height: Any  # the path at the last stop, shaped as x


def brownian(solver, process, key, *, clock="log_snr"):
    """The Solver of a stochastic table with the increments of one Brownian path for noise: with the
    same key, the same path whatever the grid; z [*event] or [c, *event].

    The noise of a step from a to b is (W(u_b) - W(u_a)) / sqrt(u_b - u_a), with u the share of the
    clock, "log_snr" or "t", that has passed since t_max. Refining a grid then converges path by
    path, for additive noise with strong order 1. The key is the path's; that of `solve` is not
    used. The path is a dyadic tree of 2^22 intervals that is never stored: 22 normal draws for each
    row. No path weights are reported. Raises ValueError on another clock; and, from plan, when the
    rows are not those of one noisy table, or two stops fall into one interval.
    Source: derived (Lévy's construction, 1940); Li et al. 2020, arXiv 2001.01328 (virtual Brownian
    tree).
    """
    choose("brownian", "clock", clock, ("log_snr", "t"))
    entries = is_diagonal(process)

    def plan(ts):
        rows = solver.plan(ts)
        if not isinstance(rows, TableRow) or rows.noise is None:
            raise ValueError(
                "solvers.sde.brownian: the solver must be a table with noise; "
                f"got rows of {type(rows).__name__}"
            )
        start, end = (
            on_host(lambda process, t: _place(process, t, clock), process, t)
            for t in (rows.t, rows.t_next)
        )
        if is_concrete(rows, start):
            loud = np.any(np.asarray(rows.noise).reshape(len(start), -1) != 0, 1)
            if np.any(loud & (np.asarray(start) >= np.asarray(end))):
                raise ValueError(
                    "solvers.sde.brownian: stops must be apart on a path of 2^22 intervals; "
                    f"got {len(start)} rows"
                )
        return BrownianRow(
            rows.t, rows.t_next, rows._replace(noise=None, path=None), rows.noise, start, end
        )

    def init(x, ts):
        wide = _wide(x)
        first = on_host(lambda process, t: _place(process, t, clock), process, ts[0])
        return BrownianState(x, solver.init(x, ts), _height(key, wide, first))

    def step(_, state, row):
        inner, info = solver.step(None, state.state._replace(x=state.x), row.row)
        height = _height(key, state.height, row.end)
        gap = (row.end - row.start) / 2.0**DEPTH
        scale = jnp.where(gap > 0, 1 / jnp.sqrt(jnp.where(gap > 0, gap, 1.0)), 0.0)
        noise = jax.tree.map(
            lambda new, old, like: (scale * (new - old)).astype(like.dtype),
            height,
            state.height,
            inner.x,
        )
        x = total([inner.x, apply(row.noise, noise, entries=entries)])
        return BrownianState(x, inner, height), info

    return Solver(plan, init, step, solver.order, solver.evaluations)


def _place(process, t, clock):
    """The place of times t [...] on the path, whole numbers from 0 to 2^DEPTH."""
    xp = namespace(process, t)
    passed = (lambda t: -t) if clock == "t" else (lambda t: mean_log_snr(process, t))
    ends = (xp.asarray(process.t_max, t.dtype), xp.asarray(process.t_min, t.dtype))
    first, last = passed(ends[0]), passed(ends[1])
    return xp.round(xp.clip((passed(t) - first) / (last - first), 0.0, 1.0) * 2.0**DEPTH)


def _height(key, like, place):
    """W at a place [] on the path, shaped as the tree `like`; W is 0 at the start."""
    place = jnp.asarray(place).astype(jnp.int32)
    join = lambda a, b, factor: jax.tree.map(
        lambda a, b: a + b * jnp.asarray(factor, b.dtype), a, b
    )

    def descend(_, bracket):
        left, length, low, high = bracket
        half = length // 2
        draw = noise_like(jax.random.fold_in(key, left + half), like)
        middle = join(join(low, join(high, low, -1.0), 0.5), draw, _spread(half))
        right = place >= left + half
        pick = lambda yes, no: jax.tree.map(lambda a, b: jnp.where(right, a, b), yes, no)
        return jnp.where(right, left + half, left), half, pick(middle, low), pick(high, middle)

    whole = noise_like(jax.random.fold_in(key, 0), like)
    start = jnp.zeros((), jnp.int32), jnp.asarray(2**DEPTH, jnp.int32)
    bottom = jax.tree.map(jnp.zeros_like, whole)
    left, _, low, high = jax.lax.fori_loop(0, DEPTH, descend, (*start, bottom, whole))
    return jax.tree.map(lambda a, b: jnp.where(place > left, b, a), low, high)


def _spread(half):
    """The standard deviation [] of the middle of an interval of 2 half places, given its ends."""
    return jnp.sqrt(half / 2.0 ** (DEPTH + 1))


def _wide(x):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(working_dtype(leaf)), x)
