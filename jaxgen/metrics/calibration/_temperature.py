"""One number that sharpens or softens all predictions: softmax(logits / T).

In b = 1 / T the log loss is convex, with slope mean (E z - z_y) and curvature mean var z under
softmax(b z); a root of the slope is bracketed and found by Newton steps.

Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._clouds import finite
from jaxgen.metrics.calibration._outcomes import labels as check_labels

Array = jax.Array


def temperature(
    logits: Array, outcomes: Array, *, least: float = 0.01, most: float = 100.0, rounds: int = 40
) -> Array:
    """The temperature T [] for which softmax(logits / T) has the least log loss.

    Where the loss falls without end (all top classes right: T -> 0; worse than uniform: T ->
    infinity) the nearer of `least` and `most` comes back; for logits that are all alike, `most`.
    The derivative with respect to the logits is that of the optimum (implicit function theorem).

    Args:
        logits: [n, k], or [n] for events: sigmoid(logits / T).
        outcomes: classes 0 .. k - 1, or 0 and 1, [n].
        least: the smallest temperature allowed.
        most: the largest.
        rounds: Newton steps, each replaced by halving the bracket where it leaves it.

    Raises ValueError on wrong shapes, non-finite logits, bad outcomes or 0 < least < most broken.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2; Newton's method.
    """
    logits, outcomes = jnp.asarray(logits), jnp.asarray(outcomes)
    if logits.ndim not in (1, 2) or logits.size == 0 or outcomes.shape != logits.shape[:1]:
        raise ValueError(
            "temperature: logits must be [n] or [n, k] and outcomes [n], n >= 1; "
            f"got {logits.shape} and {outcomes.shape}"
        )
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"temperature: logits must be of a floating dtype; got {logits.dtype}")
    if not 0 < least < most:
        raise ValueError(f"temperature: 0 < least < most must hold; got {least}, {most}")
    finite("temperature", "logits", logits)
    check_labels("temperature", outcomes, 2 if logits.ndim == 1 else logits.shape[1])
    if logits.ndim == 1:
        logits = jnp.stack([jnp.zeros_like(logits), logits], axis=1)
    mean = jnp.mean(logits, axis=1, keepdims=True)
    return _root(logits - mean, outcomes.astype(int), least, most, rounds)


def _root(z, came, least, most, rounds):
    right = jnp.take_along_axis(z, came[:, None], axis=1)[:, 0]

    def slopes(b, z, right):
        p = jax.nn.softmax(b * z, axis=1)
        mean = jnp.sum(p * z, axis=1)
        return jnp.mean(mean - right), jnp.mean(jnp.sum(p * z**2, axis=1) - mean**2)

    def step(_, state):
        b, low, high = state
        slope, curve = slopes(b, still, still_right)
        low, high = jnp.where(slope < 0, b, low), jnp.where(slope < 0, high, b)
        newton = b - slope / jnp.where(curve > 0, curve, 1)
        inside = (curve > 0) & (newton >= low) & (newton <= high)
        return jnp.where(inside, newton, jnp.sqrt(low * high)), low, high

    still, still_right = jax.lax.stop_gradient((z, right))
    low, high = jnp.asarray(1 / most, z.dtype), jnp.asarray(1 / least, z.dtype)
    b, _, _ = jax.lax.fori_loop(
        0, rounds, step, (jnp.clip(jnp.ones_like(low), low, high), low, high)
    )
    # An end whose slope points outward is the answer; elsewhere one more step has the derivative.
    b = jnp.where(slopes(low, still, still_right)[0] >= 0, low, b)
    b = jnp.where(slopes(high, still, still_right)[0] <= 0, jnp.where(b == low, low, high), b)
    slope, curve = slopes(b, z, right)
    curve = jax.lax.stop_gradient(curve)
    moved = b - slope / jnp.where(curve > 0, curve, 1)
    return 1 / jnp.where((b > low) & (b < high) & (curve > 0), moved, b)
