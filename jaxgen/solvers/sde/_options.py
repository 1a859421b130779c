"""What the samplers of the reverse-time family share: checks, noise levels, and rows."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, namespace, on_host
from jaxgen.solvers._solve import check_inside
from jaxgen.solvers.exponential import _options as options
from jaxgen.solvers.exponential._frame import noiseless
from jaxgen.solvers.exponential._noise import path_rows
from jaxgen.solvers.exponential._table import TableRow, reading

choose = functools.partial(options.choose, door="sde")


def whole_order(name, option, value, low, high):
    """Raises ValueError unless low <= value <= high is an integer. Source: definition."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(
            f"solvers.sde.{name}: {option} must be an integer from {low} to {high}; got {value!r}"
        )


def number_in(name, option, value, low=0.0, high=math.inf, *, door="sde"):
    """Raises ValueError unless a concrete number [] is finite and lies in [low, high].

    Source: definition.
    """
    if not is_concrete(value):
        return
    if np.ndim(value) or not low <= float(value) <= high or np.isinf(float(value)):
        wanted = f"from {low}" + (f" to {high}" if high < math.inf else " and finite")
        raise ValueError(
            f"solvers.{door}.{name}: {option} must be a number {wanted}; got {value!r}"
        )


def check_level(name, tau):
    """Raises ValueError unless a noise level is a function of time, or a number [] from 0.

    Source: definition.
    """
    if not callable(tau):
        number_in(name, "tau", tau)


def claimed(order, tau):
    """The weak order of a method that follows the mean with `order`: 2 at most where there is
    noise.

    Source: derived.
    """
    still = not callable(tau) and noiseless(tau)
    return order if still else min(order, 2)


def planner(name, process, build, *numbers, door="sde"):
    """plan(ts [n + 1]) -> rows: checks that the stops fall inside the process, and computes
    build(process, ts, *numbers) on the host. Numbers [] may be traced, or functions of t.

    Source: definition.
    """
    where = [i for i, number in enumerate(numbers) if not callable(number)]
    given = [numbers[i] for i in where]

    def plan(ts):
        check_inside(f"solvers.{door}.{name}", process, ts, falling=True)

        def whole(process, ts, given):
            filled = list(numbers)
            for i, number in zip(where, given, strict=True):
                filled[i] = number
            if not is_concrete(given):
                ts = jnp.asarray(ts)
            return build(process, ts, *filled)

        return on_host(whole, process, ts, given)

    return plan


def levels(tau, ts):
    """The noise level of each step along ts [n + 1]: tau [] itself, or a function of t [] at the
    steps' starts, [n].

    Source: definition.
    """
    if not callable(tau):
        return tau
    xp = namespace(ts)
    return xp.stack([xp.asarray(tau(t), ts.dtype) for t in ts[:-1]])


def rows(process, ts, parts, weights, hold, tau):
    """`TableRow`s along ts [n + 1] of a frame's steps and noise, and the weights [n, k, ...] of
    held predictions; with path weights where there is noise throughout.

    Source: definition.
    """
    read = reading(process, parts.phi[:-1], parts.root[:-1]) if hold == "eps" else None
    row = TableRow(ts[:-1], ts[1:], read, parts.step, weights, parts.noise)
    return with_path(process, ts, row, tau)


def with_path(process, ts, row, tau):
    """`TableRow`s of one evaluation a step that also weigh their steps, unless a noise level tau []
    or [n] is 0.

    Source: definition.
    """
    silent = noiseless(tau) or (is_concrete(tau) and not np.all(np.asarray(tau) > 0))
    if silent:
        return row
    return row._replace(path=path_rows(process, ts, row.propagate, row.weights, row.noise))


def scaled(leaf, factors):
    """Leaf [n, ...] times factors [n]. Source: definition."""
    return leaf * factors.reshape((-1,) + (1,) * (leaf.ndim - 1))
