"""Explicit Runge-Kutta steps for dx/dt = field(x, t), x any tree of arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import working_dtype
from jaxgen.types import Row, Solver


class OdeState(NamedTuple):
    """The running state of a one-step method. Source: definition."""

    x: Any  # [*event], or a tree of arrays


class OdeInfo(NamedTuple):
    """What a step reports. Source: definition."""

    t: Any  # [] the time reached
    evaluations: Any  # [] how often the field was evaluated


def euler(field):
    """The explicit Euler Solver, order 1, one evaluation a step, for x [*event] or a tree.

    Source: Euler 1768.
    """
    return _explicit(field, 1, ((),), (1.0,))


def heun(field):
    """Heun's Solver, order 2, two evaluations a step, for x [*event] or a tree.

    Source: Heun 1900.
    """
    return _explicit(field, 2, ((), (1.0,)), (0.5, 0.5))


def rk4(field):
    """The classical Runge-Kutta Solver, order 4, four evaluations a step, for x [*event] or a tree.

    Source: Kutta 1901.
    """
    return _explicit(
        field, 4, ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
    )


def _explicit(field, order, stages, weights):
    def step(key, state, row):
        h = row.t_next - row.t
        slopes = []
        for stage in stages:
            x = advance(state.x, h, stage, slopes)
            slopes.append(field(x, row.t + sum(stage) * h))
        count = jnp.full((), len(stages))
        return OdeState(advance(state.x, h, weights, slopes)), OdeInfo(row.t_next, count)

    return Solver(plan_ends, lambda x, ts: OdeState(x), step, order, lambda n: len(stages) * n)


def plan_ends(ts):
    """Rows that hold nothing but the ends of each of the n steps of ts [n + 1].

    Source: definition.
    """
    return Row(ts[:-1], ts[1:])


def advance(x, h, weights, slopes):
    """X + h sum_j weights_j slopes_j, summed in at least float32 and handed back in the dtype of
    each leaf [...] of x.

    Source: definition.
    """

    def move(leaf, *slopes):
        dtype = working_dtype(leaf)
        terms = [
            slope.astype(dtype) * (h * w).astype(dtype)
            for w, slope in zip(weights, slopes, strict=True)
            if w != 0
        ]
        return sum(terms, jnp.asarray(leaf, dtype)).astype(leaf.dtype)

    return jax.tree.map(move, x, *slopes)
