"""The proximal map of the total variation of a line, exactly, in O(n).

Let m_k(b) = min over y_0..y_{k-1} of what stands before y_k, given y_k = b. Its derivative is
increasing and piecewise linear, and the minimisation over the next point clips it:

    m_0' = 0,   m_{k+1}'(b) = clip(m_k'(b) + b - x_k, -w, w),   w = weight * step

so a sorted list of knots holds it. The clip takes knots off both ends and adds one to each: 2 n
knots come in all, whence O(n). Where m_k'(b) + b - x_k is -w is low_k, where it is w is high_k.
From the last point, which is the zero of m_{n-1}' + b - x_{n-1}, one walks back:
y_k = clip(y_{k+1}, low_k, high_k).

That tells where y jumps, and how. Between jumps y is constant, and the zero of its derivative says
    v = mean(x) + w (jump behind - jump before) / length,   jumps in {-1, 0, 1},
which is how the values are computed: to rounding, and differentiable in x and w. The derivative is
exact away from the set, of measure zero, where a jump is about to appear.

Source: Johnson 2013, A dynamic programming algorithm for the fused lasso and l0-segmentation,
section 2. Deviation: the values are computed anew from the jumps.
"""

import jax
import jax.numpy as jnp

from jaxgen.mcmc._checks import positive


def tv_1d(weight=1.0):
    """prox(x [..., n], step []) of g(x) = weight sum_i |x_{i+1} - x_i| along the last axis.

    Exact, in O(n) operations one after another; each row of the leading axes on its own. Its
    derivatives in x, step and weight are exact wherever they exist, one-sided elsewhere. A line
    that is not finite becomes NaN.

    Args: weight [], > 0. Raises ValueError otherwise; `prox` on a leaf without an axis.
    Source: Johnson 2013, section 2.
    """
    positive("mcmc.prox.tv_1d", weight=weight)

    def leaf(x, step):
        if jnp.ndim(x) == 0 or jnp.shape(x)[-1] == 0:
            raise ValueError(f"mcmc.prox.tv_1d: x must be [..., n], n >= 1; got {jnp.shape(x)}")
        w = jnp.asarray(weight, x.dtype) * jnp.asarray(step, x.dtype)
        rows = x.reshape(-1, x.shape[-1])
        return jax.vmap(lambda row: _values(row, w))(rows).reshape(x.shape)

    return lambda x, step: jax.tree.map(lambda a: leaf(a, step), x)


def _values(x, w):
    """The minimiser y [n] from its jumps, for x [n] and w []."""
    n = len(x)
    jump = jax.lax.stop_gradient(_jumps(*jax.lax.stop_gradient((x, w))))
    piece = jnp.cumsum(jnp.append(0, jump != 0))
    total, ones = (jnp.zeros(n, x.dtype).at[piece].add(a) for a in (x, jnp.ones_like(x)))
    jump = jump.astype(x.dtype)
    pull = jnp.zeros(n, x.dtype).at[piece[:-1]].add(jump).at[piece[1:]].add(-jump)
    return ((total + w * pull) / jnp.maximum(ones, 1))[piece]


def _jumps(x, w):
    """Signs [n - 1] of y_{k+1} - y_k, for x [n] and w []."""
    n = len(x)
    bounds = _bounds(x - jnp.mean(x), w)

    def backward(later, row):
        low, high = row
        return jnp.clip(later, low, high), (later > high).astype(int) - (later < low)

    # A NaN is in no order: then there are no jumps, and all is one mean.
    _, jump = jax.lax.scan(backward, bounds[-1, 0], tuple(bounds[:-1].T), reverse=True)
    return jump[: n - 1]


def _bounds(x, w):
    """(low_k, high_k) [n, 2], for x [n] and w []; equal for the last k, the zero.

    A knot is (place, slope, offset): behind its place the derivative's line changes by so much.
    `left` and `right` are the line (slope, offset) before the first knot and behind the last one.
    Each turn takes one knot off, or clips and goes on to the next x: 3 n turns do. A turn costs
    O(1), also under `vmap`: the knots are written first, then read for the next turn, so that they
    are never copied; what is not to be written goes to the spare place 2 n.
    """
    n = len(x)
    one = jnp.ones_like(x[0])

    def turn(held, _):
        knots, first, last, lowest, highest, left, right, k = held
        after = jnp.where(k < n - 1, w, 0)
        some = (first <= last) & (k < n)
        below = some & (left[0] * lowest[0] + left[1] <= -after)
        above = some & ~below & (right[0] * highest[0] + right[1] >= after)
        push = (k < n) & ~below & ~above
        low, high = (-after - left[1]) / left[0], (after - right[1]) / right[0]
        start = jnp.stack([low, left[0], left[1] + after])
        end = jnp.stack([high, -right[0], after - right[1]])
        first, last = first + below - push, last - above + push
        knots = knots.at[jnp.where(push, first, 2 * n)].set(start, mode="promise_in_bounds")
        knots = knots.at[jnp.where(push, last, 2 * n)].set(end, mode="promise_in_bounds")
        following = x[jnp.minimum(k + 1, n - 1)]
        left = jnp.where(push, jnp.stack([one, -w - following]), left + below * lowest[1:])
        right = jnp.where(push, jnp.stack([one, w - following]), right - above * highest[1:])
        held = (knots, first, last, knots[first], knots[last], left, right, k + push)
        return held, (jnp.where(push, k, n), jnp.stack([low, high]))

    line, knots = jnp.stack([one, -x[0]]), jnp.zeros((2 * n + 1, 3), x.dtype)
    start = (jnp.asarray(n), jnp.asarray(n - 1), knots[0], knots[0], line, line, jnp.asarray(0))
    _, (k, bounds) = jax.lax.scan(turn, (knots, *start), None, length=3 * n)
    return jnp.zeros((n, 2), x.dtype).at[k].set(bounds, mode="drop")
