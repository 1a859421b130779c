"""Samplers of unnormalised targets whose drift is given or learned, with weights of their paths.

Both run along rising stops in [0, 1]: t rises from the start to the target, as exponents do. The
sum of the infos' log-weights makes target(x_n) + sum - start(x_0) the log-weight of a path, the
mean of whose exponential is the normaliser of the target, whatever the drift and the stops.
With `along`, a second drift draws the path, which then is held fixed, and the log-weight is that of
the first drift on it: what losses need that look at a path but not through it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.types import Solver


class ControlRow(NamedTuple):
    """One step. Source: definition."""

    t: Any  # []
    t_next: Any  # []


class PointState(NamedTuple):
    """Where a Föllmer process is. Source: definition."""

    x: Any  # [*event]


class ControlState(NamedTuple):
    """Where a controlled annealing is, and its drifts there. Source: definition."""

    x: Any  # [*event]
    slope: Any  # [*event], gradient of the path's log-density at t
    control: Any  # [*event]
    lead: Any = None  # [*event] the control that draws the path, or None: the same


class ControlInfo(NamedTuple):
    """What a step reports. Source: definition."""

    t: Any  # [] reached
    log_weight: Any  # [] log of backward over forward, nats


def foellmer(drift, *, along=None):
    """The Euler Solver of dU = drift(U, t) dt + dB, x [*event] from 0 along stops that rise from 0
    to at most 1, with path weights against Brownian motion.

    The start is the point 0 with log-density 0; logdensity_fn(x_n) + sum of the infos' log_weight
    is the log-weight of a path. With the drift of `predictions.from_density.foellmer` it samples
    the target; trained by `losses.path` it is the path integral sampler. With along(x, t) -> drift
    [*event], that one draws the path, through which no gradient goes. Raises ValueError (from plan)
    on stops that do not rise from 0 to at most 1.
    Source: Zhang and Chen 2022, arXiv 2111.15141, equations 8-12; Föllmer 1985.
    """

    def step(key, state, row):
        x, h = state.x, row.t_next - row.t
        xi = jax.random.normal(key, x.shape, x.dtype)
        push = _fitting("foellmer", drift(x, row.t), x)
        if along is None:
            after = x + h * push + jnp.sqrt(h) * xi
        else:
            lead = _fitting("foellmer", along(x, row.t), x)
            after = jax.lax.stop_gradient(x + h * lead + jnp.sqrt(h) * xi)
            xi = (after - x - h * push) / jnp.sqrt(h)
        # Brownian motion backwards in time is the bridge, of density N(x) bridge = N(x') forward
        girsanov = -jnp.sqrt(h) * jnp.sum(push * xi) - h * jnp.sum(push**2) / 2
        change = _brownian(x, row.t) - _brownian(after, row.t_next)
        return PointState(after), ControlInfo(row.t_next, girsanov + change)

    plan = _planner("foellmer", from_zero=True)
    return Solver(plan, lambda x, ts: PointState(x), step, 1, lambda n: n)


def _brownian(x, t):
    """log N(x; 0, t) [], nats; 0 at t = 0, where x is the point 0."""
    safe = jnp.where(t > 0, t, 1.0)
    value = -jnp.sum(x**2) / (2 * safe) - x.size * jnp.log(2 * jnp.pi * safe) / 2
    return jnp.where(t > 0, value, 0.0)


def controlled(path, control=None, *, speed=1.0, along=None):
    """The Solver of dx = (speed grad log path(t)(x) + control(x, t)) dt + sqrt(2 speed) dB, x
    [*event] from a draw of path(0) along stops that rise in [0, 1], with path weights.

    The weights are against the same Langevin dynamics run backwards with minus the control. With
    control None they are those of unadjusted annealed importance sampling; the right control makes
    x follow path(t) and all weights equal. One gradient a step, and one more.
    Args: path(exponent) -> logdensity_fn, such as `energies.geometric_path`; control(x, t) ->
        [*event]; speed, how much Langevin time passes, a positive number [] or speed(t) -> [];
        along(x, t) -> [*event], one that draws the path, through which no gradient goes.
    Raises ValueError on a speed that is not positive, and (from plan) on stops that do not rise in
    [0, 1].
    Source: Vargas et al. 2024, arXiv 2307.01050, algorithm 1 and proposition 3.3.
    """
    if not callable(speed) and is_concrete(speed) and not (np.ndim(speed) == 0 and speed > 0):
        raise ValueError(f"solvers.sde.controlled: speed must be a positive number; got {speed}")
    pace = speed if callable(speed) else lambda t: speed

    def look(x, t):
        slope = jax.grad(path(t))(x)
        push = jnp.zeros_like(x) if control is None else control(x, t)
        lead = None if along is None else _fitting("controlled", along(x, t), x)
        return ControlState(x, slope, _fitting("controlled", push, x), lead)

    def init(x, ts):
        return look(x, jnp.asarray(ts[0], x.dtype))

    def step(key, state, row):
        x, h = state.x, row.t_next - row.t
        speed = jnp.asarray(pace(row.t), x.dtype)
        xi = jax.random.normal(key, x.shape, x.dtype)
        scale = jnp.sqrt(2 * speed * h)
        mean = x + h * (speed * state.slope + state.control)
        after = mean + scale * xi
        if along is not None:
            moved = x + h * (speed * state.slope + state.lead) + scale * xi
            after = jax.lax.stop_gradient(moved)
            xi = (after - mean) / scale
        new = look(after, row.t_next)
        back = (x - new.x - h * (speed * new.slope - new.control)) / scale
        return new, ControlInfo(row.t_next, (jnp.sum(xi**2) - jnp.sum(back**2)) / 2)

    return Solver(_planner("controlled"), init, step, 1, lambda n: n + 1)


def _fitting(name, push, x):
    if jnp.shape(push) != jnp.shape(x):
        raise ValueError(
            f"solvers.sde.{name}: the drift must have the shape of x, {jnp.shape(x)}; "
            f"got {jnp.shape(push)}"
        )
    return push


def _planner(name, *, from_zero=False):
    """plan(ts) -> `ControlRow`s; ValueError unless concrete stops rise in [0, 1]."""

    def plan(ts):
        if is_concrete(ts):
            ts = np.asarray(ts)
            rises, inside = ts[0] < ts[-1], ts[0] >= 0 and ts[-1] <= 1
            if not rises or not inside or (from_zero and ts[0] != 0):
                first = "from 0 to at most 1" if from_zero else "inside [0, 1]"
                raise ValueError(
                    f"solvers.sde.{name}: stops must rise {first}; got {ts[0]} to {ts[-1]}"
                )
        return ControlRow(ts[:-1], ts[1:])

    return plan
