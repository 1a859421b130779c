"""Kernels of the difference x - y: rbf, laplace, imq.

Each has its value 1 at x = y and is bounded and positive definite in every dimension.
Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 4.2 (rbf,
laplace); Gorham and Mackey 2017, arXiv:1703.01717, section 3 (imq).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

Array = jax.Array


def positive(where: str, name: str, number) -> None:
    """Nothing; raises ValueError when `number` is concrete and not a positive scalar []."""
    if jnp.ndim(number) != 0:
        raise ValueError(f"{where}: {name} must be a scalar []; got shape {jnp.shape(number)}")
    if not isinstance(number, jax.core.Tracer) and not (0 < float(number) < float("inf")):
        raise ValueError(f"{where}: {name} must be positive and finite; got {number}")


def _like(number, x):
    """The number in the working dtype of the points, so that a kernel never changes it."""
    return jnp.asarray(number, jnp.result_type(x, float))


def _rbf(bandwidth, x, y):
    return jnp.exp(-0.5 * jnp.sum(((x - y) / _like(bandwidth, x)) ** 2))


def rbf(bandwidth=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> exp(-|x - y|² / (2 bandwidth²)) [].

    Raises ValueError unless the bandwidth, in units of x, is positive.
    Source: Rasmussen and Williams 2006, equation 4.9.
    """
    positive("rbf", "bandwidth", bandwidth)
    return Partial(_rbf, bandwidth)


def _laplace(bandwidth, x, y):
    return jnp.exp(-jnp.sum(jnp.abs(x - y)) / _like(bandwidth, x))


def laplace(bandwidth=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> exp(-|x - y|_1 / bandwidth) [], a product over axes.

    Raises ValueError unless the bandwidth, in units of x, is positive.
    Source: Rahimi and Recht 2007, Random features for large-scale kernel machines, figure 1.
    Deviation from the Matérn-1/2 kernel: the sum of absolute differences, not the Euclidean norm.
    """
    positive("laplace", "bandwidth", bandwidth)
    return Partial(_laplace, bandwidth)


def _imq(bandwidth, power, x, y):
    square = jnp.sum(((x - y) / _like(bandwidth, x)) ** 2)
    return (1 + square) ** -_like(power, x)


def imq(bandwidth=1.0, power=0.5) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> (1 + |x - y|² / bandwidth²)^-power [].

    Raises ValueError unless bandwidth (in units of x) and power are positive.
    Source: Gorham and Mackey 2017, arXiv:1703.01717, section 3 (power in (0, 1) there).
    """
    positive("imq", "bandwidth", bandwidth)
    positive("imq", "power", power)
    return Partial(_imq, bandwidth, power)
