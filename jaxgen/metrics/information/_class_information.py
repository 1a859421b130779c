"""What a classifier's output tells about its input beyond the class: I(x; ŷ | y).

    I = Σ_y P(y) E[KL(p_x || q_y) | y] = Σ_y P(y) (H(q_y) - E[H(p_x) | y]),    q_y = E[p_x | y].

With running means r_y in place of q_y the mean divergence is I + Σ_y P(y) KL(q_y || r_y), never
below I and equal to it at r_y = q_y: running means can be held fixed while p is trained.

Source: Ye et al. 2024, arXiv:2401.08732, section 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._points import finite, mean_of

Array = jax.Array


class ClassMeans(NamedTuple):
    """Sums of class probabilities seen so far: a running E[p_x | y]."""

    total: Array  # [num_classes, c]
    count: Array  # [num_classes]


def _check(where, probs, labels, num_classes):
    probs, labels = jnp.asarray(probs), jnp.asarray(labels)
    if probs.ndim != 2 or labels.shape != probs.shape[:1] or probs.size == 0:
        raise ValueError(
            f"{where}: probs [n, c] and labels [n] must fit; got {probs.shape} and {labels.shape}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{where}: labels must be integers; got {labels.dtype}")
    if not jnp.issubdtype(probs.dtype, jnp.floating):
        raise ValueError(f"{where}: probs must be of a floating dtype; got {probs.dtype}")
    finite(where, "probs", probs)
    if not isinstance(probs, jax.core.Tracer):
        known = np.asarray(probs)
        worst = float(np.max(np.abs(np.sum(known, axis=1) - 1)))
        if worst > 1e-3 or np.any(known < 0):
            raise ValueError(f"{where}: rows of probs must be probabilities; got a sum off {worst}")
    known = None if isinstance(labels, jax.core.Tracer) else np.asarray(labels)
    if known is not None and not np.all((known >= 0) & (known < num_classes)):
        raise ValueError(f"{where}: labels must lie in 0 .. {num_classes - 1}; got {labels}")
    return probs, labels


def _log(p):
    """log p where p > 0, else 0: it is only ever multiplied by p."""
    return jnp.log(jnp.where(p > 0, p, 1))


def class_means(num_classes: int, num_outputs: int) -> ClassMeans:
    """Empty ClassMeans(total [num_classes, num_outputs], count [num_classes]).

    Source: Ye et al. 2024, arXiv:2401.08732, section 4.
    """
    return ClassMeans(jnp.zeros((num_classes, num_outputs)), jnp.zeros(num_classes))


def add_to_class_means(
    means: ClassMeans, probs: Array, labels: Array, *, decay: float = 1.0
) -> ClassMeans:
    """ClassMeans(total [num_classes, c], count [num_classes]) after another batch.

    Args:
        means: so far.
        probs: [n, c], rows that sum to one.
        labels: [n] integers in 0 .. num_classes - 1.
        decay: of what was seen, in [0, 1]; 1 is the mean over everything.

    Raises ValueError on shapes that do not fit, or rows that are not probabilities.
    Source: Ye et al. 2024, arXiv:2401.08732, section 4.
    """
    num_classes = means.count.shape[0]
    probs, labels = _check("add_to_class_means", probs, labels, num_classes)
    hot = jax.nn.one_hot(labels, num_classes, dtype=probs.dtype)
    return ClassMeans(
        decay * means.total + jnp.matmul(hot.T, probs, precision="highest"),
        decay * means.count + jnp.sum(hot, axis=0),
    )


def cmi_classes(
    probs: Array, labels: Array, num_classes: int, *, means: ClassMeans | None = None
) -> Estimate:
    """The information I(x; ŷ | y) in nats, an Estimate of two [], of a classifier's outputs.

    Differentiable. Zero when outputs are constant in every class. Too small by about the number
    of outputs less one over 2 n for each class when q_y comes from the batch itself.

    Args:
        probs: [n, c], p(ŷ | x_i); rows that sum to one, zeros allowed.
        labels: [n] integers in 0 .. num_classes - 1.
        num_classes: a positive integer; classes without points count nothing.
        means: running class means, held fixed: then the value is at least the batch's own.

    Raises ValueError on shapes that do not fit, labels out of range, or rows that do not sum to
    one.
    Source: Ye et al. 2024, arXiv:2401.08732, section 4.
    """
    probs, labels = _check("cmi_classes", probs, labels, num_classes)
    if means is None:
        means = add_to_class_means(
            ClassMeans(
                *(jnp.zeros(s, probs.dtype) for s in ((num_classes, probs.shape[1]), num_classes))
            ),
            probs,
            labels,
        )
    else:
        means = jax.lax.stop_gradient(means)
    centre = means.total / jnp.where(means.count > 0, means.count, 1)[:, None]
    # What a running mean has never seen is read as the smallest number, not as impossible.
    centre = jnp.maximum(centre, jnp.finfo(probs.dtype).tiny).astype(probs.dtype)
    terms = jnp.sum(probs * (_log(probs) - jnp.log(centre[labels])), axis=1)
    return mean_of(terms)
