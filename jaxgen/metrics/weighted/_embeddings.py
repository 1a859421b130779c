"""Kernels whose averages over a base law are known: the mean embedding in closed form.

The base law is what a simulator's inputs follow, in standard form: uniform on [0, 1]^d, or N(0, I).
Any box or Gaussian becomes one of them by an affine map of the inputs. Kernels are products over
axes, so that averages are products of integrals on a line.

Sources: Rasmussen and Ghahramani 2003, Bayesian Monte Carlo (rbf and Gaussian); Briol et al. 2019,
arXiv:1512.00933, table 1 (the others; here derived by parts from polynomial times exponential).
"""

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

Array = jax.Array
BASES = ("uniform", "normal")
# Matérn kernels are p(a r) exp(-a r) with a = sqrt(2 order) / bandwidth: the coefficients of p.
POLYNOMIALS = {0.5: (1.0,), 1.5: (1.0, 1.0), 2.5: (1.0, 1.0, 1 / 3)}


class Embedding(NamedTuple):
    """A kernel on the inputs and its averages over their law U; a pytree. Source: definition."""

    kernel: Callable  # (u [d], v [d]) -> []
    mean: Callable  # u [d] -> E k(u, V) [], V from U
    energy: Callable  # u [d] -> E k(U, V) [], U and V independent; reads only d and the dtype of u


def _check(where, bandwidth, base):
    if base not in BASES:
        raise ValueError(f"weighted.{where}: base must be one of {BASES}; got {base!r}")
    if jnp.ndim(bandwidth) > 1:
        raise ValueError(
            f"weighted.{where}: bandwidth must be [] or [d]; got shape {jnp.shape(bandwidth)}"
        )
    if isinstance(bandwidth, jax.core.Tracer):
        return
    numbers = np.asarray(bandwidth)
    if not np.all((numbers > 0) & np.isfinite(numbers)):
        raise ValueError(
            f"weighted.{where}: bandwidth must be positive and finite; got {bandwidth}"
        )


def _axes(bandwidth, u):
    """The bandwidth [d] in the dtype of u [d]."""
    return jnp.broadcast_to(jnp.asarray(bandwidth, jnp.result_type(u, float)), u.shape)


def _each(line, bandwidth, *points):
    """The product over axes of line(bandwidth [d], *points [d]) [d]."""
    return jnp.prod(line(_axes(bandwidth, points[0]), *points))


def rbf(bandwidth=1.0, *, base: str = "uniform") -> Embedding:
    """The kernel exp(-|(u - v) / bandwidth|² / 2) [] with its averages over the base law.

    Args:
        bandwidth: [] or [d], in units of the inputs.
        base: "uniform" on [0, 1]^d, or "normal" for N(0, I).

    Raises ValueError on a wrong name or a bandwidth that is not positive.
    Source: definition, Gaussian integrals.
    """
    _check("rbf", bandwidth, base)
    mean, energy = (
        (_rbf_box, _rbf_box_energy) if base == "uniform" else (_rbf_normal, _rbf_normal_energy)
    )
    lines = (_rbf_line, mean, energy)
    return Embedding(*(Partial(Partial(_each, line), bandwidth) for line in lines))


def _rbf_line(h, u, v):
    return jnp.exp(-0.5 * ((u - v) / h) ** 2)


def _rbf_box(h, u):
    scale = h * jnp.sqrt(2.0).astype(h.dtype)
    erf = jax.scipy.special.erf
    return jnp.sqrt(jnp.pi / 2).astype(h.dtype) * h * (erf((1 - u) / scale) + erf(u / scale))


def _rbf_box_energy(h, u):
    scale = jnp.sqrt(2.0).astype(h.dtype) * h
    wide = jnp.sqrt(2 * jnp.pi).astype(h.dtype) * h * jax.scipy.special.erf(1 / scale)
    return wide + 2 * h**2 * jnp.expm1(-0.5 / h**2)


def _rbf_normal(h, u):
    return h / jnp.sqrt(h**2 + 1) * jnp.exp(-0.5 * u**2 / (h**2 + 1))


def _rbf_normal_energy(h, u):
    return h / jnp.sqrt(h**2 + 2)


def matern(bandwidth=1.0, *, order: float = 2.5, base: str = "uniform") -> Embedding:
    """The product over axes of Matérn kernels, [], with its averages over the base law.

    Args:
        bandwidth: [] or [d], in units of the inputs.
        order: 0.5, 1.5 or 2.5; functions it models have about `order` derivatives.
        base: "uniform" on [0, 1]^d, or "normal" for N(0, I).

    Raises ValueError on a wrong name or order, or a bandwidth that is not positive. With the normal
    base the averages lose about (2 order / bandwidth²)^(order - 1/2) times the dtype's eps: in
    float32 keep the bandwidth above 0.5, or 1 for order 2.5.
    Source: Rasmussen and Williams 2006, section 4.2. Deviation: a product over axes, not a function
    of the Euclidean distance, which has no such averages.
    """
    _check("matern", bandwidth, base)
    if order not in POLYNOMIALS:
        raise ValueError(
            f"weighted.matern: order must be one of {tuple(POLYNOMIALS)}; got {order!r}"
        )
    mean, energy = (
        (_matern_box, _matern_box_energy)
        if base == "uniform"
        else (_matern_normal, _matern_normal_energy)
    )
    at = _MATERN[order]
    lines = (_matern_line, mean, energy)
    return Embedding(*(Partial(at, Partial(line), bandwidth) for line in lines))


def _matern_each(order, line, bandwidth, *points):
    rate = jnp.asarray((2 * order) ** 0.5, points[0].dtype)
    coefficients = POLYNOMIALS[order]
    return _each(lambda h, *p: line(coefficients, rate / h, *p), bandwidth, *points)


def _matern_each_1(line, bandwidth, *points):
    return _matern_each(0.5, line, bandwidth, *points)


def _matern_each_3(line, bandwidth, *points):
    return _matern_each(1.5, line, bandwidth, *points)


def _matern_each_5(line, bandwidth, *points):
    return _matern_each(2.5, line, bandwidth, *points)


_MATERN = {0.5: _matern_each_1, 1.5: _matern_each_3, 2.5: _matern_each_5}


def _horner(coefficients, x):
    total = jnp.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def _by_parts(coefficients):
    """q with the integral of p(s) exp(-s) from r to infinity equal to q(r) exp(-r)."""
    return tuple(
        sum(factorial(i) / factorial(j) * coefficients[i] for i in range(j, len(coefficients)))
        for j in range(len(coefficients))
    )


def _matern_line(p, a, u, v):
    r = a * jnp.abs(u - v)
    return _horner(p, r) * jnp.exp(-r)


def _matern_box(p, a, u):
    q = _by_parts(p)
    part = lambda r: q[0] - _horner(q, r) * jnp.exp(-r)
    return (part(a * u) + part(a * (1 - u))) / a


def _matern_box_energy(p, a, u):
    q = _by_parts(p)
    s = _by_parts(q)
    return 2 * (q[0] / a - (s[0] - _horner(s, a) * jnp.exp(-a)) / a**2)


def _half_line(p, a, u, scale):
    """The integral over t > 0 of p(a t) exp(-a t) times the density of N(-u, scale²) at t."""
    centre = -(u + a * scale**2)
    edge = scale * jnp.exp(-0.5 * (u / scale) ** 2) / jnp.sqrt(2 * jnp.pi).astype(a.dtype)
    log_mass = jax.scipy.special.log_ndtr(centre / scale)
    before, now = jnp.zeros_like(u), jnp.exp(a * u + 0.5 * (a * scale) ** 2 + log_mass)
    total = p[0] * now
    for j in range(1, len(p)):
        before, now = now, centre * now + (j - 1) * scale**2 * before + (edge if j == 1 else 0)
        total = total + p[j] * a**j * now
    return total


def _normal_average(p, a, u, scale):
    return _half_line(p, a, u, scale) + _half_line(p, a, -u, scale)


def _matern_normal(p, a, u):
    return _normal_average(p, a, u, jnp.ones((), a.dtype))


def _matern_normal_energy(p, a, u):  # U - V is normal of variance two
    return _normal_average(p, a, jnp.zeros_like(u), jnp.sqrt(2.0).astype(a.dtype))
