"""Integrals and interpolation on intervals: Gauss-Legendre nodes, Lagrange bases, and roots of
monotone functions.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math._host import iterate, namespace


@functools.cache
def gauss_legendre(n):
    """Nodes [n] and weights [n] of Gauss-Legendre quadrature on [0, 1], exact to degree 2n - 1.

    Source: Golub and Welsch 1969, as computed by NumPy.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def lagrange(nodes, u):
    """Values and derivatives [..., k] at u [...] of the k Lagrange polynomials on nodes [..., k].

    Leading axes of nodes and u must broadcast. Source: definition.
    """
    xp = namespace(nodes, u)
    k = nodes.shape[-1]
    values, slopes = [], []
    for j in range(k):
        others = [m for m in range(k) if m != j]
        value, slope = xp.ones_like(u + nodes[..., 0]), xp.zeros_like(u + nodes[..., 0])
        for m in others:
            width = nodes[..., j] - nodes[..., m]
            factor = (u - nodes[..., m]) / width
            value, slope = value * factor, slope * factor + value / width
        values.append(value)
        slopes.append(slope)
    return xp.stack(values, -1), xp.stack(slopes, -1)


def invert(fn, target, lo, hi, *, rounds=64):
    """The u [...] in [lo, hi] with fn(u) = target [...], for a monotone fn that acts element by
    element.

    Bisection; `rounds` halvings reach the spacing of the dtype. Targets outside fn([lo, hi]) give
    the nearer end. Under JAX one Newton step at the end carries the derivative with respect to the
    target and to the numbers inside fn (implicit function theorem). Source: definition.
    """
    xp = namespace(target, lo, hi)
    lo, hi = (
        xp.broadcast_to(lo, xp.shape(target)) + 0.0 * target,
        xp.broadcast_to(hi, xp.shape(target)) + 0.0 * target,
    )
    if xp is np:
        falling = fn(lo) > fn(hi)
        return _bisect(fn, target, lo, hi, falling, rounds, xp)
    still = jax.lax.stop_gradient
    lo, hi = still(lo), still(hi)
    root = still(
        _bisect(lambda u: still(fn(u)), still(target), lo, hi, still(fn(lo) > fn(hi)), rounds, xp)
    )
    value, slope = jax.jvp(fn, (root,), (jnp.ones_like(root),))
    slope = still(slope)
    inside = (root > lo) & (root < hi) & (slope != 0)
    newton = root + (target - value) / jnp.where(inside, slope, 1.0)
    return jnp.where(inside, newton, root)


def _bisect(fn, target, lo, hi, falling, rounds, xp):
    def halve(bracket):
        lo, hi = bracket
        middle = (lo + hi) / 2
        right = (fn(middle) < target) != falling
        return xp.where(right, middle, lo), xp.where(right, hi, middle)

    lo, hi = iterate(halve, (lo, hi), rounds, xp)
    return (lo + hi) / 2
