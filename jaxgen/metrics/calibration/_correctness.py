"""A confidence that is aware of whether the prediction is right.

A calibrator trained by cross-entropy makes the true class likelier, and so raises the confidence in
a wrong top class that leads narrowly. The squared distance of the confidence to "is it right?" does
not; its optimum is the probability of being right given what the calibrator sees.

Source: Liu et al. 2024, arXiv:2404.13016.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import finite

Array = jax.Array


def correctness_loss(confidence: Array, correct: Array) -> Array:
    """The mean of (confidence - correct)², [].

    Its optimum over functions of some features is E[correct | features].

    Args:
        confidence: [n] in [0, 1].
        correct: [n] of 0 and 1, whether the prediction was right.

    Raises ValueError on unequal shapes or concrete values outside [0, 1].
    Source: Liu et al. 2024, arXiv:2404.13016 (the correctness-aware objective).
    """
    confidence, correct = jnp.asarray(confidence), jnp.asarray(correct)
    if confidence.ndim != 1 or confidence.shape != correct.shape or confidence.size == 0:
        raise ValueError(
            "correctness_loss: confidence and correct must be [n], n >= 1; "
            f"got {confidence.shape} and {correct.shape}"
        )
    for name, x in (("confidence", confidence), ("correct", correct)):
        finite("correctness_loss", name, x)
        if not isinstance(x, jax.core.Tracer) and not np.all(
            (np.asarray(x) >= 0) & (np.asarray(x) <= 1)
        ):
            raise ValueError(
                f"correctness_loss: {name} must be in [0, 1]; got {x.min()}, {x.max()}"
            )
    return jnp.mean((confidence - correct.astype(confidence.dtype)) ** 2)


def view_features(probs: Array, *, top: int = 4) -> Array:
    """What a calibrator sees of one example, [views · top]: its leading classes in every view.

    The `top` likeliest classes of the first view, in falling order, are read from all views, so
    that a class that leads in one transformation and not in another shows.

    Args:
        probs: class probabilities of one example under several transformations, [views, k]; the
            first is the example itself.
        top: classes read, at most k.

    Raises ValueError on a wrong shape or top outside 1 .. k.
    Source: Liu et al. 2024, arXiv:2404.13016 (four classes of each transformed image).
    """
    probs = jnp.asarray(probs)
    if probs.ndim != 2 or probs.shape[0] < 1:
        raise ValueError(f"view_features: probs must be [views, k]; got {probs.shape}")
    if not 1 <= top <= probs.shape[1]:
        raise ValueError(f"view_features: top must be in 1 .. {probs.shape[1]}; got {top}")
    leading = jax.lax.top_k(jax.lax.stop_gradient(probs[0]), top)[1]
    return probs[:, leading].reshape(-1)
