"""Any linear diffusion with constant matrices: the kernel follows, nothing is analysed by hand."""

import functools

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import doublings_for, factor_of_rows, is_concrete, linear_transition, namespace
from jaxgen.processes._record import check_positive, check_snr, check_times
from jaxgen.processes.augmented._constant import times
from jaxgen.types import LinearForward


def linear(
    matrix, impulse, start=(), *, beta_min=1.0, beta_max=None, t_min=1e-3, t_max=1.0, name="linear"
):
    """Any linear diffusion dz = beta(t) A z dt + sqrt(beta(t)) C dw on z [c, *event]; coefficients
    [c, c].

    Args: A = matrix [c, c]; C = impulse [c, m]; start [c - 1], the positive variances with which
        the auxiliaries begin, independent of the data; beta rises linearly from beta_min at t = 0
        to beta_max at t_max (constant when None). All of them can be learned.
    The transition is exact for any A, defective or not, and its factor L has full relative accuracy
    at small t in float32 as well. With c = 1 it is a scalar process on [1, *event]: A = -1/2 and C
    = 1 make `scalar.vp`.
    Raises ValueError on shapes that do not fit, numbers that are not positive, times out of order,
    or noise that does not reach the data. Source: Singhal et al. 2023, arXiv 2302.07261, section
    3.3 (any linear diffusion by matrix exponentials); the factored form is derived.
    """
    name = f"processes.augmented.{name}"
    check_times(name, t_min, t_max)
    beta_max = beta_min if beta_max is None else beta_max
    c = np.shape(matrix)[0] if np.ndim(matrix) == 2 else 0
    shapes = np.shape(matrix), np.shape(impulse), np.shape(start)
    if (
        not 1 <= c <= 14
        or shapes[0] != (c, c)
        or shapes[1][:1] != (c,)
        or len(shapes[1]) != 2
        or shapes[2] != (c - 1,)
    ):
        raise ValueError(
            f"{name}: matrix [c, c], impulse [c, m], start [c - 1] with c at most 14 must fit; "
            f"got shapes {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
    check_positive(name, beta_min=beta_min, beta_max=beta_max, start=start)
    if is_concrete(matrix, impulse, start):
        matrix, impulse, start = (np.asarray(part, float) for part in (matrix, impulse, start))
    largest = np.maximum(beta_min, beta_max) if is_concrete(beta_min, beta_max) else beta_max
    doublings = doublings_for(matrix, largest * t_max)
    clock = (beta_min, (beta_max - beta_min) / t_max)
    process = LinearForward(
        Partial(_drift, matrix, *clock),
        Partial(_diffusion, impulse, *clock),
        Partial(_transition_of(doublings), matrix, impulse, start, *clock),
        t_min,
        t_max,
    )
    check_snr(name, process)
    return process


def _namespace(t, *numbers):
    """Python's t means JAX, although concrete matrices are NumPy's."""
    return jnp if namespace(t) is jnp else namespace(t, *numbers)


def _rate(xp, first, slope, t):
    return first + slope * xp.asarray(t)


def _drift(matrix, first, slope, t):
    xp = _namespace(t, matrix, first, slope)
    rate = _rate(xp, first, slope, t)
    return times(xp, matrix, rate)


def _diffusion(impulse, first, slope, t):
    xp = _namespace(t, impulse, first, slope)
    rate = _rate(xp, first, slope, t)
    return times(xp, _square(xp.asarray(impulse)), xp.sqrt(rate))


def _square(impulse):
    """A [c, c] matrix with the same C C^T as impulse [c, m]."""
    xp = namespace(impulse)
    c, m = impulse.shape
    if m <= c:
        return xp.concatenate([xp.zeros((c, c - m), impulse.dtype), impulse], 1)
    return factor_of_rows(impulse.T)


@functools.cache
def _transition_of(doublings):
    """The transition of a record; kept, since jit compiles anew for each new function."""
    return functools.partial(_transition, doublings)


def _transition(doublings, matrix, impulse, start, first, slope, t):
    xp = _namespace(t, matrix, impulse, start, first, slope)
    t = xp.asarray(t)
    clock = first * t + slope * t**2 / 2
    matrix, impulse, start = (xp.asarray(part, clock.dtype) for part in (matrix, impulse, start))
    begun = xp.concatenate([xp.zeros_like(matrix[:1, 1:]), xp.diag(xp.sqrt(start))])
    return linear_transition(matrix, impulse, begun, clock, doublings=doublings)
