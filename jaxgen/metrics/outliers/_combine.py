"""From scores to a detector: the nudge that spreads scores, layers combined, the threshold.

Sources: Liang, Li and Srikant 2018, arXiv:1706.02690 (the nudge); Lee et al. 2018,
arXiv:1807.03888, algorithm 1 and section 2.2; Rippel et al. 2020, arXiv:2005.14140 (the threshold).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.math import invert, is_concrete
from jaxgen.metrics._clouds import flat

Array = jax.Array


def nudge(score: Callable[[Array], Array], x: Array, size: float) -> Array:
    """The input x [*event] moved by `size` in every entry, down the score's gradient.

    x - size · sign(grad score(x)): the score of an inlier falls more than that of an outlier. It is
    the score of the nudged input that is then thresholded.

    Args:
        score: x [*event] -> [], large means outlying; a network may be inside.
        x: [*event].
        size: in units of x.

    Source: Lee et al. 2018, arXiv:1807.03888, algorithm 1; Liang et al. 2018, arXiv:1706.02690.
    """
    return x - size * jnp.sign(jax.grad(score)(x))


def combination(
    inside: Array, outside: Array, *, ridge: float = 1e-3, rounds: int = 30
) -> tuple[Array, Array]:
    """Weights [l] and offset [] with which scores [l] of several layers say "outlier".

    weights @ scores + offset is the log-odds of a logistic regression of outside against inside,
    with a penalty ridge / 2 · |weights · sd|² per point, so that separable scores have an answer
    too. A score that does not vary has weight 0.

    Args:
        inside: the layers' scores of inliers, [n, l].
        outside: those of outliers, [m, l].
        ridge: positive.
        rounds: Newton steps, each halved until the loss falls.

    Raises ValueError on unequal l, no points, non-finite scores or ridge <= 0.
    Source: Lee et al. 2018, arXiv:1807.03888, section 2.2; Newton's method. Deviation: a ridge.
    """
    inside, outside = flat("combination", inside, outside)
    if is_concrete(ridge) and not ridge > 0:
        raise ValueError(f"combination: ridge must be positive; got {ridge}")
    scores = jnp.concatenate([inside, outside])
    n, dtype = scores.shape[0], scores.dtype
    out = (jnp.arange(n) >= inside.shape[0]).astype(dtype)
    middle, sd = jnp.mean(scores, axis=0), jnp.std(scores, axis=0)
    some = sd > 64 * jnp.finfo(dtype).eps * jnp.abs(middle)
    scale = jnp.where(some, 1 / jnp.where(some, sd, 1), 0)
    rows = jnp.concatenate([(scores - middle[None]) * scale[None], jnp.ones((n, 1), dtype)], 1)
    pull = jnp.full(rows.shape[1], ridge, dtype).at[-1].set(1e-6)  # the offset's: for one class

    def loss(w):
        odds = rows @ w
        return jnp.mean(jax.nn.softplus(odds) - out * odds) + jnp.sum(pull * w**2) / 2

    def step(_, w):
        p = jax.nn.sigmoid(rows @ w)
        slope = rows.T @ (p - out) / n + pull * w
        curve = (rows * (p * (1 - p))[:, None]).T @ rows / n + jnp.diag(pull)
        move = jnp.linalg.solve(curve, slope)
        sizes = 0.5 ** jnp.arange(12, dtype=dtype)
        losses = jax.vmap(lambda size: loss(w - size * move))(sizes)
        best = jnp.argmin(losses)
        return jnp.where(losses[best] < loss(w), w - sizes[best] * move, w)

    w = jax.lax.fori_loop(0, rounds, step, jnp.zeros(rows.shape[1], dtype))
    weights = w[:-1] * scale
    return weights, w[-1] - weights @ middle


def distance_threshold(rate: Array, dims: int) -> Array:
    """The squared distance [] that a share `rate` of inliers exceeds: a chi-squared quantile.

    Args:
        rate: the false-positive rate wanted, [] in (0, 1).
        dims: degrees of freedom, >= 1: the number of directions kept.

    Exact for features that are Gaussian, of known mean and covariance; with fitted ones inliers
    that were not fitted exceed it somewhat more often. The derivative with respect to `rate` is
    that of the quantile.
    Raises ValueError on dims < 1 or a concrete rate outside (0, 1).
    Source: Rippel et al. 2020, arXiv:2005.14140; Wilson and Hilferty 1931 (the bracket).
    """
    if dims < 1:
        raise ValueError(f"distance_threshold: dims must be >= 1; got {dims}")
    if is_concrete(rate) and not 0 < float(rate) < 1:
        raise ValueError(f"distance_threshold: rate must be in (0, 1); got {rate}")
    rate = jnp.asarray(rate, jnp.result_type(float, rate))
    half = jnp.asarray(dims / 2, rate.dtype)
    # In the logarithm of the quantile, whose range for any rate of the dtype is bounded.
    logs = lambda y: jnp.log(jax.scipy.special.gammaincc(half, jnp.exp(y)))
    low = jnp.log(half) - 2 * jnp.log(1 / (1 - rate) + 1) / dims - 40 / dims - 1
    high = jnp.log(half + 2 * jnp.sqrt(half * (1 - jnp.log(rate))) + 2 * (1 - jnp.log(rate)))
    return 2 * jnp.exp(invert(logs, jnp.log(rate), low, high, rounds=48))
