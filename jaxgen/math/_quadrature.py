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


def invert(fn, target, lo, hi, *, rounds=32):
    """The u [...] between lo and hi with fn(u) = target [...], for a monotone fn of single numbers.

    Bisection, then one secant (NumPy) or Newton (JAX) step, which squares the error. Targets that
    fn does not reach give the nearer end. The Newton step carries the derivative with respect to
    the target and to the numbers inside fn (implicit function theorem). Source: definition.
    """
    xp = namespace(target, lo, hi)
    shape = np.broadcast_shapes(np.shape(target), np.shape(lo), np.shape(hi))
    target, lo, hi = (xp.broadcast_to(xp.asarray(end), shape) for end in (target, lo, hi))
    ends = fn(lo), fn(hi)
    target = xp.clip(target, xp.minimum(*ends), xp.maximum(*ends))
    still = (lambda u: u) if xp is np else jax.lax.stop_gradient

    def halve(bracket):
        a, b = bracket
        middle = (a + b) / 2
        right = (still(fn(middle)) < still(target)) != falling
        return xp.where(right, middle, a), xp.where(right, b, middle)

    falling = still(ends[0] > ends[1])
    a, b = iterate(halve, (still(lo), still(hi)), rounds, xp)
    if xp is np:
        low, high = fn(a), fn(b)
        slope = np.where(low == high, np.inf, (high - low) / np.where(a == b, 1.0, b - a))
        root = a + (target - low) / slope
    else:
        root = _newton(fn, target, still(_newton(fn, target, a)))
    return xp.clip(root, xp.minimum(lo, hi), xp.maximum(lo, hi))


def _newton(fn, target, u):
    value, slope = jax.jvp(fn, (u,), (jnp.ones_like(u),))
    slope = jax.lax.stop_gradient(slope)
    return u + (target - value) / jnp.where(slope == 0, jnp.inf, slope)
