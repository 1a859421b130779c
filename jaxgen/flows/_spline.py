"""Monotone rational-quadratic splines on [-bound, bound], the identity outside.

With w, h the width and height of a bin, s = h / w, d0 and d1 the slopes at its ends and u in [0, 1]
the place in it, the height above the bin's floor is

    f(u) = h (s u^2 + d0 u (1 - u)) / q(u),     q(u) = s + (d0 + d1 - 2 s) u (1 - u),

whose slope s^2 (d1 u^2 + 2 s u (1 - u) + d0 (1 - u)^2) / q^2 is positive when d0, d1 and s are.
f(u) = r is a u^2 + b u + c = 0 with, for p = d0 + d1 - 2 s, a = h (s - d0) + r p,
b = h d0 - r p, c = -s r. As b is at least zero on the branch that rises from u = 0 and c <= 0, the
root is u = 2 c / (-b - sqrt(b^2 - 4 a c)), which cancels nowhere.
Source: Gregory and Delbourgo 1982; Durkan et al. 2019, arXiv 1906.04032, section 3.1 and appendix
A.
"""

import math

import jax
import jax.numpy as jnp

LEAST = 1e-3  # of a bin's share of the interval, and of a slope


def numbers(bins):
    """How many numbers describe one spline: widths, heights, slopes at the inner knots."""
    return 3 * bins - 1


def knots(raw, bins, bound):
    """Places and heights of the knots and slopes there, each [..., bins + 1], of raw numbers
    [..., 3 bins - 1]; all zero is the identity.
    """
    widths, heights, slopes = jnp.split(raw, (bins, 2 * bins), -1)
    # softplus(x + shift) is 1 - LEAST at x = 0, so that raw zeros give slope one.
    shift = math.log(math.expm1(1 - LEAST))
    inner = LEAST + jax.nn.softplus(slopes + jnp.asarray(shift, raw.dtype))
    ends = jnp.ones((*raw.shape[:-1], 1), raw.dtype)
    slopes = jnp.concatenate([ends, inner, ends], -1)
    return _places(widths, bins, bound), _places(heights, bins, bound), slopes


def _places(raw, bins, bound):
    shares = LEAST + (1 - LEAST * bins) * jax.nn.softmax(raw, -1)
    # A product with a triangle of ones is a cumulative sum that compiles in no time.
    inner = 2 * bound * (shares @ jnp.triu(jnp.ones((bins, bins), raw.dtype))[:, :-1]) - bound
    end = jnp.full((*raw.shape[:-1], 1), bound, raw.dtype)
    return jnp.concatenate([-end, inner, end], -1)


def forward(x, spline):
    """(y, log dy/dx), each [...], of x [...] through the splines of `knots`."""
    inside, x0, w, y0, h, d0, d1, place = _bin(x, spline[0], spline)
    u = (place - x0) / w
    y, log_slope = _value(u, y0, w, h, d0, d1)
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)


def inverse(y, spline):
    """(x, log dx/dy), each [...], of y [...]: the stable root of the quadratic equation."""
    inside, x0, w, y0, h, d0, d1, place = _bin(y, spline[1], spline)
    s, r = h / w, place - y0
    p = d0 + d1 - 2 * s
    a, b, c = h * (s - d0) + r * p, h * d0 - r * p, -s * r
    root = jnp.sqrt(jnp.maximum(b * b - 4 * a * c, jnp.finfo(y.dtype).tiny))
    u = jnp.clip(2 * c / (-b - root), 0.0, 1.0)
    _, log_slope = _value(u, y0, w, h, d0, d1)
    return jnp.where(inside, x0 + u * w, y), jnp.where(inside, -log_slope, 0.0)


def _value(u, y0, w, h, d0, d1):
    s, v = h / w, u * (1 - u)
    q = s + (d0 + d1 - 2 * s) * v
    y = y0 + h * (s * u * u + d0 * v) / q
    slope = d1 * u * u + 2 * s * v + d0 * (1 - u) ** 2
    return y, 2 * jnp.log(s) + jnp.log(slope) - 2 * jnp.log(q)


def _bin(place, edges, spline):
    """Whether a place lies inside, the corner and size of its bin, its slopes, and the place or,
    outside, the nearest end: values that are thrown away there keep finite gradients.
    """
    xs, ys, slopes = spline
    inside = (place >= edges[..., 0]) & (place <= edges[..., -1])
    place = jnp.clip(place, edges[..., 0], edges[..., -1])
    # A bin is picked by a mask: gathers are slow to compile and to differentiate.
    passed = (place[..., None] >= edges[..., 1:-1]).astype(place.dtype)
    ends = jnp.ones((*passed.shape[:-1], 1), place.dtype)
    mask = jnp.concatenate([ends, passed], -1) - jnp.concatenate([passed, 0 * ends], -1)
    pick = lambda table: jnp.sum(table * mask, -1)
    x0, w, y0, h, d0, d1 = map(
        pick,
        (
            xs[..., :-1],
            jnp.diff(xs),
            ys[..., :-1],
            jnp.diff(ys),
            slopes[..., :-1],
            slopes[..., 1:],
        ),
    )
    return inside, x0, w, y0, h, d0, d1, place
