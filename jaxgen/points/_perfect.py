"""Exact draws of repulsive processes: dominated coupling from the past.

A Poisson process of intensity `bound` is kept stationary by births at that rate and deaths at rate
1 a point. Those births that a repulsive process would refuse are thinned, once against too few
neighbours (an upper pattern) and once against too many (a lower one). When the two agree at time 0
they are an exact draw; if not, one starts twice as long ago with the same births and deaths.

Source: Kendall and Moller 2000. Points are drawn by their time of death, unit of time by unit of
time, so that an older start needs no backward simulation (derived here: a stationary process of
births and deaths is a Poisson process of deaths with exponential lifetimes).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.points._pattern import Pattern, checked_capacity
from jaxgen.points._poisson import poisson


class Perfect(NamedTuple):
    """An exact draw, if it coalesced. Source: definition."""

    pattern: Any  # Pattern, points [capacity, d]
    coalesced: Any  # [], whether the draw is exact; else the lower pattern is returned. Never where
    # an intensity met on the way was NaN or above the bound
    horizon: Any  # [], units of time looked back


def perfect(key, process, bound, window, *, capacity, horizon=16):
    """An exact draw, a `Pattern` with points [capacity, d], of a repulsive `Gibbs` process whose
    conditional intensity never rises when points are added and never exceeds `bound` [].

    Strauss' process has bound = beta. The capacity must hold the Poisson process of intensity
    `bound`: its tail above is cut. Time is in mean lifetimes; the time to coalesce grows with
    bound times the area of interaction, and work with horizon squared.

    Args: horizon, the longest look back, a power of 2. Raises ValueError on another, on a bound
    that is not positive, or (where concrete) below the intensity that an empty pattern has in the
    middle of the window, or capacity < 1. Source: Kendall and Moller 2000.
    """
    where = "points.perfect"
    checked_capacity(where, capacity)
    if horizon < 1 or horizon & (horizon - 1):
        raise ValueError(f"{where}: horizon must be a power of 2; got {horizon}")
    if is_concrete(bound) and not (np.isfinite(bound) and bound > 0):
        raise ValueError(f"{where}: bound must be positive and finite; got {bound}")
    middle = (window.low + window.high) / 2
    nothing = Pattern(middle[None], jnp.zeros(1, bool))
    alone = process.log_intensity(middle, nothing)
    if is_concrete(alone, bound) and not alone <= np.log(bound) + 1e-5:
        raise ValueError(
            f"{where}: bound must be at least the intensity of the empty pattern; got {bound} and "
            f"{float(np.exp(alone))}"
        )
    past = _past(key, poisson(bound, window, capacity=capacity), capacity, horizon)
    log_bound = jnp.log(jnp.asarray(bound, window.low.dtype))

    def undecided(carry):
        back, upper, lower, _ = carry
        return (back == 0) | (jnp.any(upper != lower) & (2 * back <= horizon))

    def earlier(carry):
        back = jnp.maximum(2 * carry[0], 1)
        return back, *_forward(past, process.log_intensity, log_bound, back)

    none = jnp.zeros(past.mask.shape, bool)
    start = 0, none, none, jnp.asarray(True)
    back, upper, lower, bounded = jax.lax.while_loop(undecided, earlier, start)
    last = slice(0, capacity)  # only they outlive time 0
    exact = bounded & jnp.all(upper == lower)
    return Perfect(Pattern(past.points[last], lower[last]), exact, back)


class Past(NamedTuple):
    """All points of the dominating process since the horizon. Source: definition."""

    points: Any  # [m, d]
    mask: Any  # [m]
    birth: Any  # [m], < death; time 0 is now
    death: Any  # [m]; the first `capacity` live now
    log_mark: Any  # [m], logs of uniform numbers


def _past(key, law, capacity, horizon):
    """Points alive at 0, then those that died in each unit of time before."""

    def unit(i):
        key_points, key_death, key_life, key_mark = jax.random.split(jax.random.fold_in(key, i), 4)
        points, mask = law.sample(key_points)
        dtype = points.dtype
        death = -(i - 1) - jax.random.uniform(key_death, (capacity,), dtype)
        death = jnp.where(i == 0, 1.0, death)  # at some time after 0: which one does not matter
        birth = jnp.minimum(death, 0) - jax.random.exponential(key_life, (capacity,), dtype)
        log_mark = -jax.random.exponential(key_mark, (capacity,), dtype)
        return Past(points, mask, birth, death, log_mark)

    blocks = jax.vmap(unit)(jnp.arange(horizon + 1))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), blocks)


def _forward(past, log_intensity, log_bound, back):
    """(upper [m], lower [m], bounded []) at time 0, begun with all and with none at time -back;
    whether all intensities met were within the bound.
    """
    m, start = past.mask.size, -back.astype(past.birth.dtype)
    upper = past.mask & (past.birth < start) & (past.death > start)
    times = jnp.concatenate([past.birth, past.death])
    times = jnp.where(jnp.concatenate([past.mask, past.mask]), times, 2.0)  # never
    order = jnp.argsort(times)
    first = jnp.searchsorted(times, start, sorter=order)
    last = jnp.searchsorted(times, 0.0, sorter=order)

    def body(place, held):
        event = order[place]
        i, born = event % m, event < m
        upper, lower, bounded = held
        odds = [
            log_intensity(past.points[i], Pattern(past.points, others)) - log_bound
            for others in (lower, upper)  # few neighbours for the upper one, many for the lower
        ]
        upper, lower = (
            each.at[i].set(born & (past.log_mark[i] < odd))
            for each, odd in zip((upper, lower), odds, strict=True)
        )
        # NaN is not within; rounding may be above
        return upper, lower, bounded & (odds[0] <= 1e-5) & (odds[1] <= 1e-5)

    start = upper, jnp.zeros_like(upper), jnp.asarray(True)
    return jax.lax.fori_loop(first, last, body, start)
