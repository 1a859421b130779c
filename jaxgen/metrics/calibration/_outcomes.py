"""What every calibration metric asks of its probabilities and outcomes.

Source: Guo, Pleiss, Sun and Weinberger 2017, arXiv:1706.04599, section 2 (top-label confidence).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.metrics._clouds import finite

Array = jax.Array


def read(where: str, probs: Array, outcomes: Array) -> tuple[Array, Array]:
    """Probabilities [n] or [n, k] as they are, and outcomes [n] as integers.

    Raises ValueError unless both have n >= 1 rows, the probabilities are floating, finite, within
    [0, 1] and, as [n, k], of sum 1, and the outcomes 0 or 1 or, for [n, k], in 0 .. k - 1. Values
    are looked at where they are concrete.
    """
    probs, outcomes = probabilities(where, probs), jnp.asarray(outcomes)
    if outcomes.shape != probs.shape[:1]:
        raise ValueError(
            f"{where}: outcomes must be [n] with n = {probs.shape[0]}; got {outcomes.shape}"
        )
    labels(where, outcomes, 2 if probs.ndim == 1 else probs.shape[1])
    return probs, outcomes.astype(int)


def probabilities(where: str, probs: Array) -> Array:
    """Probabilities [n] or [n, k], checked; raises ValueError as `read` says."""
    probs = jnp.asarray(probs)
    if probs.ndim not in (1, 2) or probs.size == 0:
        raise ValueError(f"{where}: probabilities must be [n] or [n, k], n >= 1; got {probs.shape}")
    if not jnp.issubdtype(probs.dtype, jnp.floating):
        raise ValueError(f"{where}: probabilities must be of a floating dtype; got {probs.dtype}")
    finite(where, "probabilities", probs)
    if not is_concrete(probs):
        return probs
    values = np.asarray(probs)  # also inside a traced function, where jnp would trace a constant
    low, high = float(values.min()), float(values.max())
    slack = 8 * float(jnp.finfo(probs.dtype).eps)  # softmax may round to just above 1
    if low < 0 or high > 1 + slack:
        raise ValueError(f"{where}: probabilities must be in [0, 1]; got {low} to {high}")
    if probs.ndim == 2:
        off = float(np.abs(values.sum(axis=1) - 1).max())
        if off > 1e3 * probs.shape[1] * float(jnp.finfo(probs.dtype).eps):
            raise ValueError(f"{where}: each row [k] of probabilities must sum to 1; off by {off}")
    return probs


def labels(where: str, outcomes: Array, count: int) -> None:
    """Nothing; raises ValueError unless concrete outcomes [n] are whole and in 0 .. count - 1."""
    if not is_concrete(outcomes):
        return
    values = np.asarray(outcomes)
    part = values.astype(float) % 1
    if not bool(np.all(part == 0)):
        raise ValueError(f"{where}: outcomes must be whole numbers; got parts up to {part.max()}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= count:
        raise ValueError(f"{where}: outcomes must be in 0 .. {count - 1}; got {low} to {high}")


def top_label(probs: Array, labels: Array) -> tuple[Array, Array]:
    """The confidence [n] in the likeliest class, and whether it was right, [n] of 0 and 1.

    Args:
        probs: [n, k], rows of sum 1; of equal ones the first class counts as the likeliest.
        labels: the classes that came, [n] in 0 .. k - 1.

    Every metric here reads [n, k] probabilities so. Raises ValueError on bad probabilities or
    labels. Source: Guo et al. 2017, arXiv:1706.04599, section 2.
    """
    probs, labels = read("top_label", probs, labels)
    if probs.ndim != 2:
        raise ValueError(f"top_label: probs must be [n, k]; got {probs.shape}")
    return _top(probs, labels)


def _top(probs, labels):
    return jnp.max(probs, axis=1), (jnp.argmax(probs, axis=1) == labels).astype(int)


def events(where: str, probs: Array, outcomes: Array) -> tuple[Array, Array]:
    """Probabilities [n] of one event each, and whether it came, [n] of the same dtype."""
    probs, outcomes = read(where, probs, outcomes)
    if probs.ndim == 2:
        probs, outcomes = _top(probs, outcomes)
    return probs, outcomes.astype(probs.dtype)
