"""What the samplers of the reverse-time family share: checks, noise levels, and rows."""

import functools

import numpy as np

from jaxgen.math import is_concrete, namespace
from jaxgen.solvers._tables import _options as options
from jaxgen.solvers._tables._frame import noiseless
from jaxgen.solvers._tables._noise import path_rows
from jaxgen.solvers._tables._table import TableRow, reading

choose = functools.partial(options.choose, door="sde")
whole_order = functools.partial(options.whole_order, door="sde")
number_in = functools.partial(options.number_in, door="sde")
planner = functools.partial(options.planner, door="sde", falling=True)


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
