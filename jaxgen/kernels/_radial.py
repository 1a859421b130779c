"""Kernels of the difference x - y: rbf, laplace, imq, rational_quadratic, matern.

Each has its value 1 at x = y and is bounded and positive definite in every dimension. So is minus
the distance, on weights that sum to zero.
Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 4.2 (rbf,
laplace, rational quadratic, Matérn); Gorham and Mackey 2017, arXiv:1703.01717, section 3 (imq).
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.kernels._pairs import over_axes, rows, squares

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


def _over(square, bandwidth):
    """square / bandwidth², where neither the square of a tiny bandwidth nor its inverse exists."""
    inverse = 1 / _like(bandwidth, square)
    return (square * inverse) * inverse


@functools.partial(jax.tree_util.register_dataclass, data_fields=["profile"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Radial:
    """A kernel of |x - y|²; `matrix` makes all pairs by a matrix product."""

    profile: Callable[[Array], Array]  # |x - y|² [...] -> [...], elementwise

    def __call__(self, x: Array, y: Array) -> Array:
        """The value [] at one pair of points [*event]."""
        return self.profile(jnp.sum((x - y) ** 2))

    def matrix(self, xs: Array, ys: Array) -> Array:
        """The values [n, m] at all pairs of xs [n, *event] and ys [m, *event]."""
        return self.profile(squares(rows(xs), rows(ys)))


def _rbf(bandwidth, square):
    return jnp.exp(-0.5 * _over(square, bandwidth))


def rbf(bandwidth=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> exp(-|x - y|² / (2 bandwidth²)) [].

    Raises ValueError unless the bandwidth, in units of x, is positive.
    Source: Rasmussen and Williams 2006, equation 4.9.
    """
    positive("rbf", "bandwidth", bandwidth)
    return Radial(Partial(_rbf, bandwidth))


def _power(u, power):
    """(1 + u)^-power; a logarithm and an exponential are several times faster than a power."""
    return jnp.exp(-power * jnp.log(1 + u))


def _imq(bandwidth, power, square):
    return _power(_over(square, bandwidth), _like(power, square))


def imq(bandwidth=1.0, power=0.5) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> (1 + |x - y|² / bandwidth²)^-power [].

    Raises ValueError unless bandwidth (in units of x) and power are positive.
    Source: Gorham and Mackey 2017, arXiv:1703.01717, section 3 (power in (0, 1) there).
    """
    positive("imq", "bandwidth", bandwidth)
    positive("imq", "power", power)
    return Radial(Partial(_imq, bandwidth, power))


def _rational_quadratic(bandwidth, mixture, square):
    mixture = _like(mixture, square)
    return _power(_over(square, bandwidth) / (2 * mixture), mixture)


def rational_quadratic(bandwidth=1.0, mixture=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> (1 + |x - y|² / (2 mixture bandwidth²))^-mixture [].

    A mixture of rbf kernels whose inverse squared bandwidths are gamma distributed; rbf as mixture
    grows.
    Raises ValueError unless bandwidth (in units of x) and mixture are positive.
    Source: Rasmussen and Williams 2006, equation 4.19.
    """
    positive("rational_quadratic", "bandwidth", bandwidth)
    positive("rational_quadratic", "mixture", mixture)
    return Radial(Partial(_rational_quadratic, bandwidth, mixture))


# Matérn profiles of u = a², each the derivative of the next up to a factor. Their own rules of
# differentiation keep a = sqrt(u) out of the slopes, which are finite at u = 0 but for the first.
@jax.custom_jvp
def _half(u):
    return jnp.exp(-jnp.sqrt(u))


@_half.defjvp
def _half_slope(primals, tangents):
    (u,), (du,) = primals, tangents
    apart = u > 0
    root = jnp.sqrt(jnp.where(apart, u, 1))  # the slope at 0 is infinite: left out, by symmetry 0
    return _half(u), jnp.where(apart, -jnp.exp(-root) / (2 * root), 0) * du


@jax.custom_jvp
def _three_halves(u):
    a = jnp.sqrt(u)
    return (1 + a) * jnp.exp(-a)


@_three_halves.defjvp
def _three_halves_slope(primals, tangents):
    return _three_halves(*primals), -0.5 * _half(*primals) * tangents[0]


@jax.custom_jvp
def _five_halves(u):
    a = jnp.sqrt(u)
    return (1 + a + u / 3) * jnp.exp(-a)


@_five_halves.defjvp
def _five_halves_slope(primals, tangents):
    return _five_halves(*primals), -_three_halves(*primals) / 6 * tangents[0]


_MATERN = {0.5: _half, 1.5: _three_halves, 2.5: _five_halves}


def _matern(order, bandwidth, square):
    return _MATERN[order](2 * order * _over(square, bandwidth))


@functools.cache
def _matern_of(order):
    return functools.partial(_matern, order)


def matern(order: float = 2.5, bandwidth=1.0) -> Callable[[Array, Array], Array]:
    """A Matérn kernel (x [*event], y [*event]) -> [], of order 1/2, 3/2 or 5/2.

    With a = sqrt(2 order) |x - y| / bandwidth: exp(-a), (1 + a) exp(-a) or
    (1 + a + a²/3) exp(-a). Order 1/2 has no slope at x = y, where its gradient is given as 0.
    Raises ValueError on another order or a bandwidth (in units of x) that is not positive.
    Source: Rasmussen and Williams 2006, equations 4.14 and 4.17.
    """
    if isinstance(order, jax.core.Tracer) or order not in _MATERN:
        raise ValueError(f"matern: order must be 0.5, 1.5 or 2.5; got {order!r}")
    positive("matern", "bandwidth", bandwidth)
    return Radial(Partial(_matern_of(float(order)), bandwidth))


def _minus_root(square):
    apart = square > 0
    return -jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def minus_distance() -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> -|x - y| [], with slope 0 at x = y.

    Positive definite on weights that sum to zero only, which is all that a maximum mean discrepancy
    asks.
    Source: Sejdinovic et al. 2013, arXiv:1207.6076, section 3.
    """
    return Radial(Partial(_minus_root))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["bandwidth"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Laplace:
    """A kernel of the sum of absolute differences, which no matrix product makes."""

    bandwidth: Array  # []

    def __call__(self, x: Array, y: Array) -> Array:
        """The value [] at one pair of points [*event]."""
        return jnp.exp(-jnp.sum(jnp.abs(x - y)) / _like(self.bandwidth, x))

    def matrix(self, xs: Array, ys: Array) -> Array:
        """The values [n, m] at all pairs of xs [n, *event] and ys [m, *event]."""
        return jnp.exp(-over_axes(jnp.abs, rows(xs), rows(ys)) / _like(self.bandwidth, xs))


def laplace(bandwidth=1.0) -> Callable[[Array, Array], Array]:
    """A kernel (x [*event], y [*event]) -> exp(-|x - y|_1 / bandwidth) [], a product over axes.

    Raises ValueError unless the bandwidth, in units of x, is positive.
    Source: Rahimi and Recht 2007, Random features for large-scale kernel machines, figure 1.
    Deviation from the Matérn-1/2 kernel: the sum of absolute differences, not the Euclidean norm.
    """
    positive("laplace", "bandwidth", bandwidth)
    return Laplace(bandwidth)
