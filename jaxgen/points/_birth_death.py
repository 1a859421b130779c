"""Metropolis and Hastings on patterns: a point is born, dies or moves.

Source: Geyer and Moller 1994; Moller and Waagepetersen 2004, algorithms 7.4 and 7.5.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.points._pattern import (
    Pattern,
    checked_capacity,
    checked_dimension,
    count,
    uniform,
    volume,
    within,
)
from jaxgen.types import sampling_algorithm

BIRTH, DEATH, MOVE = 0, 1, 2


class BirthDeathState(NamedTuple):
    """Where the chain is. Source: definition."""

    position: Any  # a Pattern, points [capacity, d]


class BirthDeathInfo(NamedTuple):
    """What a step tells a person. Source: definition."""

    acceptance_rate: Any  # [], probability of acceptance
    is_accepted: Any  # []
    is_divergent: Any  # [], the ratio was NaN, or the intensity +inf
    kind: Any  # [], 0 a birth, 1 a death, 2 a move
    row: Any  # [], the row of the point in question
    point: Any  # [d], the point proposed by a birth or a move


def birth_death(process, window, *, moves=1 / 3):
    """Metropolis-Hastings on patterns [capacity, d] of a `Gibbs` process in a window; as a
    `SamplingAlgorithm`.

    A step proposes a uniform point, or the death of a point, equally often, or (with probability
    `moves`) a uniform new place for a point. With the conditional intensity c the ratios are
    c(x) |W| / (n + 1), n / (c(x) |W|) and c(new) / c(old). Births into a full pattern are rejected:
    the law is that given at most `capacity` points.

    Raises ValueError on moves outside [0, 1); `init` on points of another dimension than the
    window's and, where concrete, outside it, or of a log-density that is not finite.
    Source: Geyer and Moller 1994; Moller and Waagepetersen 2004, algorithm 7.5.
    """
    where = "points.birth_death"
    if is_concrete(moves) and not 0 <= moves < 1:
        raise ValueError(f"{where}: moves must lie in [0, 1); got {moves}")

    def init(position, rng_key=None):
        del rng_key
        position = Pattern(*map(jnp.asarray, position))
        checked_dimension(where, position.points, window.low.size)
        lost = position.mask & ~within(position.points, window)
        if is_concrete(lost) and np.any(lost):
            raise ValueError(
                f"{where}: all points must lie in the window at the start; got {int(np.sum(lost))} "
                f"of {int(np.sum(position.mask))} that do not"
            )
        value = process.logdensity(position)
        if is_concrete(value) and not np.isfinite(value):
            raise ValueError(f"{where}: the log-density must be finite at the start; got {value}")
        return BirthDeathState(position)

    def step(rng_key, state):
        key_kind, key_row, key_point, key_accept = jax.random.split(rng_key, 4)
        points, mask = state.position
        dtype, n = points.dtype, count(state.position)
        u = jax.random.uniform(key_kind, (), dtype)
        stay = (1 - jnp.asarray(moves, dtype)) / 2
        kind = jnp.where(u < stay, BIRTH, jnp.where(u < 2 * stay, DEATH, MOVE))
        row = _one_of(key_row, mask)
        row = jnp.where(kind == BIRTH, jnp.argmin(mask), row)
        old, new = points[row], uniform(key_point, window, 1)[0].astype(dtype)
        rest = Pattern(points, mask & (jnp.arange(mask.size) != row))
        up, down = process.log_intensity(new, rest), process.log_intensity(old, rest)
        area = jnp.log(volume(window)).astype(dtype)
        many = n.astype(dtype)
        ratio = jnp.where(
            kind == BIRTH,
            up + area - jnp.log(many + 1),
            jnp.where(kind == DEATH, jnp.log(jnp.maximum(many, 1)) - down - area, up - down),
        )
        possible = jnp.where(kind == BIRTH, n < mask.size, n > 0)
        divergent = possible & (jnp.isnan(ratio) | ((kind != DEATH) & (up == jnp.inf)))
        ratio = jnp.where(possible & ~divergent, ratio, -jnp.inf)
        taken = jnp.log(jax.random.uniform(key_accept, (), dtype)) < ratio
        placed = points.at[row].set(jnp.where(kind == DEATH, old, new))
        changed = Pattern(placed, mask.at[row].set(kind != DEATH))
        position = jax.tree.map(lambda a, b: jnp.where(taken, a, b), changed, state.position)
        rate = jnp.exp(jnp.minimum(ratio, 0))
        return BirthDeathState(position), BirthDeathInfo(rate, taken, divergent, kind, row, new)

    return sampling_algorithm(init, step)


def _one_of(key, mask):
    """The row [] of a uniformly chosen point, 0 of none."""
    present = jnp.cumsum(mask)
    order = jax.random.randint(key, (), 0, jnp.maximum(present[-1], 1))
    return jnp.argmax(present > order)


def simulate(key, process, window, *, capacity, steps, moves=1 / 3):
    """A `Pattern` with points [capacity, d] after some steps of `birth_death` from nothing: nearly
    a draw of a `Gibbs` process.

    Some tens of steps for each point one expects are the least to try; `perfect` needs no such
    choice. Divergences are counted by `birth_death`, not here: where traced numbers are none of a
    process, nothing is ever born. Raises ValueError on capacity or steps < 1.
    Source: Geyer and Moller 1994.
    """
    where = "points.simulate"
    checked_capacity(where, capacity)
    if steps < 1:
        raise ValueError(f"{where}: steps must be at least 1; got {steps}")
    d, dtype = window.low.size, window.low.dtype
    algorithm = birth_death(process, window, moves=moves)
    empty = Pattern(jnp.zeros((capacity, d), dtype), jnp.zeros(capacity, bool))

    def body(state, i):
        return algorithm.step(jax.random.fold_in(key, i), state)[0], None

    return jax.lax.scan(body, BirthDeathState(empty), jnp.arange(steps))[0].position
