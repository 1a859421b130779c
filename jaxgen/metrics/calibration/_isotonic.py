"""The nearest rising function: pool adjacent violators.

Sources: Ayer et al. 1955, An empirical distribution function for sampling with incomplete
information; Zadrozny and Elkan 2002, Transforming classifier scores into accurate multiclass
probability estimates.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._clouds import finite

Array = jax.Array


def isotonic(xs: Array, ys: Array) -> Array:
    """The values [n] of the non-decreasing function of x that is nearest to y in squares.

    Equal x have one value. At new points, interpolate: jnp.interp(new, sorted xs, sorted values).
    The derivative with respect to y is that of the pools found.

    Args:
        xs: [n], for instance predicted probabilities.
        ys: [n], for instance outcomes 0 and 1.

    Raises ValueError on unequal shapes, no points, no floating xs or concrete non-finite values.
    Source: Ayer et al. 1955 (pool adjacent violators).
    """
    xs, ys = jnp.asarray(xs), jnp.asarray(ys)
    if xs.ndim != 1 or xs.shape != ys.shape or xs.size == 0:
        raise ValueError(f"isotonic: xs and ys must be [n], n >= 1; got {xs.shape} and {ys.shape}")
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(f"isotonic: xs must be of a floating dtype; got {xs.dtype}")
    finite("isotonic", "xs", xs)
    finite("isotonic", "ys", ys)
    n, ys = xs.size, ys.astype(jnp.result_type(xs, ys))
    order = jnp.argsort(xs)
    new = jnp.diff(xs[order], prepend=-jnp.inf) > 0
    group = jnp.cumsum(new) - 1  # equal x are one point
    gather = lambda values, place: jnp.zeros(n, ys.dtype).at[place].add(values)
    weights = gather(jnp.ones(n, ys.dtype), group)
    sums = gather(jax.lax.stop_gradient(ys[order]), group)
    pool = _pools(sums, weights, group[-1] + 1)[group]
    size = gather(jnp.ones(n, ys.dtype), pool)
    fitted = (gather(ys[order], pool) / jnp.maximum(size, 1))[pool]
    return jnp.zeros(n, ys.dtype).at[order].set(fitted)


def _pools(sums, weights, count):
    """The pool, [n], of each of the first `count` points with these sums and weights [n]."""
    n = sums.shape[0]

    def falls(state):
        _, top, total, weight, _ = state
        left, right = jnp.maximum(top - 2, 0), jnp.maximum(top - 1, 0)
        # Means compared without dividing; a tie is pooled, which changes nothing.
        return (top > 1) & (total[left] * weight[right] >= total[right] * weight[left])

    def step(state):
        return jax.lax.cond(falls(state), merge, push, state)

    def merge(state):
        i, top, total, weight, start = state
        total = total.at[top - 2].add(total[top - 1])
        weight = weight.at[top - 2].add(weight[top - 1])
        return i, top - 1, total, weight, start

    def push(state):
        i, top, total, weight, start = state
        total, weight = total.at[top].set(sums[i]), weight.at[top].set(weights[i])
        return i + 1, top + 1, total, weight, start.at[top].set(i)

    empty = jnp.zeros_like(sums)
    zero = jnp.zeros_like(count)
    state = (zero, zero, empty, empty, jnp.zeros(n, count.dtype))
    _, top, _, _, start = jax.lax.while_loop(
        lambda state: (state[0] < count) | falls(state), step, state
    )
    used = jnp.arange(n) < top
    starts = jnp.zeros(n, int).at[jnp.where(used, start, 0)].max(used.astype(int))
    return jnp.cumsum(starts) - 1
