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

    In NumPy Chandrupatla's method, to the last digits; in JAX bisection (`rounds` of them) and one
    Newton step, which squares the error. Targets that fn does not reach give the nearer end. The
    Newton step carries the derivative with respect to the target and to the numbers inside fn
    (implicit function theorem). Source: definition; Chandrupatla 1997.
    """
    xp = namespace(target, lo, hi)
    shape = np.broadcast_shapes(np.shape(target), np.shape(lo), np.shape(hi))
    target, lo, hi = (xp.broadcast_to(xp.asarray(end), shape) for end in (target, lo, hi))
    ends = fn(lo), fn(hi)
    target = xp.clip(target, xp.minimum(*ends), xp.maximum(*ends))
    if xp is np:
        flat = [part.ravel() for part in (target, lo, hi, *np.broadcast_arrays(lo, *ends)[1:])]
        return _chandrupatla(fn, *flat).reshape(shape)
    still = jax.lax.stop_gradient

    def halve(bracket):
        a, b = bracket
        middle = (a + b) / 2
        right = (still(fn(middle)) < still(target)) != falling
        return xp.where(right, middle, a), xp.where(right, b, middle)

    falling = still(ends[0] > ends[1])
    a, b = iterate(halve, (still(lo), still(hi)), rounds, xp)
    root = _newton(fn, target, still(_newton(fn, target, a)))
    return xp.clip(root, xp.minimum(lo, hi), xp.maximum(lo, hi))


def _chandrupatla(fn, target, x1, x2, f1, f2, most=100):
    """The roots [m] of fn - target between x1 and x2, where fn is f1 and f2: inverse quadratic
    steps where they are safe, else halves of the bracket. Roots that are found drop out.
    """
    roots, left = np.array(x1, float), np.arange(len(x1))
    f1, f2, share = f1 - target, f2 - target, np.full(len(x1), 0.5)
    for _ in range(most):
        x = x1 + share * (x2 - x1)
        f = fn(x) - target
        same = np.sign(f) == np.sign(f1)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        best, width = np.where(np.abs(f1) < np.abs(f2), x1, x2), np.abs(x2 - x1)
        with np.errstate(all="ignore"):
            least = 2 * np.finfo(float).eps * np.abs(best) / width
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            quadratic = f1 / (f2 - f1) * f3 / (f2 - f3)
            quadratic += (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
        roots[left] = np.where(f1 == 0, x1, best)
        more = (least < 0.5) & (f1 != 0)
        if not np.any(more):
            break
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & np.isfinite(quadratic)
        share = np.clip(np.where(safe, quadratic, 0.5), least, 1 - least)
        left, target, share = left[more], target[more], share[more]
        x1, x2, f1, f2 = x1[more], x2[more], f1[more], f2[more]
    return roots


def _newton(fn, target, u):
    value, slope = jax.jvp(fn, (u,), (jnp.ones_like(u),))
    slope = jax.lax.stop_gradient(slope)
    return u + (target - value) / jnp.where(slope == 0, jnp.inf, slope)
