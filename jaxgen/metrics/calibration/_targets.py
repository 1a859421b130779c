"""Calibrated probability estimation: train towards the frequencies of like predictions.

A network that has been stopped early is calibrated but coarse; trained on, it says 0 or 1. So
epochs take turns: one towards empirical probabilities, frequencies of the outcomes of predictions
nearby, made anew from the predictions of the moment; then some towards the outcomes.

Source: Liu et al. 2022, arXiv:2111.10734, algorithm 1.
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics.calibration._bins import assign, means
from jaxgen.metrics.calibration._outcomes import read

Array = jax.Array


def _events(where, probs, outcomes):
    probs, outcomes = read(where, probs, outcomes)
    if probs.ndim != 1:
        raise ValueError(f"{where}: probs must be [n]; got {probs.shape}")
    return probs, outcomes.astype(probs.dtype)


def bin_targets(probs: Array, outcomes: Array, *, bins: int = 10, spacing: str = "mass") -> Array:
    """The frequency of the event among the predictions in one's own bin, [n].

    Args:
        probs: predictions on the training set, [n] in [0, 1].
        outcomes: [n] of 0 and 1.
        bins: their number; 1 gives the overall frequency, n the outcomes.
        spacing: "mass" or "width".

    Raises ValueError on bad probabilities, outcomes, spacing or bins.
    Source: Liu et al. 2022, arXiv:2111.10734 (CaPE, bin).
    """
    probs, outcomes = _events("bin_targets", probs, outcomes)
    place = assign("bin_targets", probs, bins, spacing)
    return means(outcomes, place, bins)[place]


def kernel_targets(
    probs: Array, outcomes: Array, *, bandwidth: float = 0.1, chunk: int = 1024
) -> Array:
    """The frequency of the event among predictions nearby, [n], weighted by a normal kernel.

    Args:
        probs: predictions on the training set, [n] in [0, 1].
        outcomes: [n] of 0 and 1.
        bandwidth: of the kernel, in probability.
        chunk: rows of the n x n weights made at a time.

    Raises ValueError on bad probabilities or outcomes or bandwidth <= 0.
    Source: Liu et al. 2022, arXiv:2111.10734 (CaPE, kernel). Deviation: all predictions
    have a weight, where the authors' code leaves out those beyond 500 ranks.
    """
    probs, outcomes = _events("kernel_targets", probs, outcomes)
    if not bandwidth > 0:
        raise ValueError(f"kernel_targets: bandwidth must be positive; got {bandwidth}")

    def row(p):
        weights = jnp.exp(-(((p - probs) / bandwidth) ** 2) / 2)
        return weights @ outcomes / jnp.sum(weights)

    if probs.size <= chunk:
        return jax.vmap(row)(probs)
    return jax.lax.map(row, probs, batch_size=chunk)


def target_loss(logits: Array, targets: Array) -> Array:
    """The mean cross-entropy, [] in nats, of sigmoid(logits) to targets in [0, 1].

    With outcomes for targets it is the discrimination loss, with empirical probabilities the
    calibration loss. Its gradient is mean (sigmoid(logits) - targets).

    Args:
        logits: [n].
        targets: [n] in [0, 1], held fixed.

    Raises ValueError on unequal shapes.
    Source: Liu et al. 2022, arXiv:2111.10734 (discrimination and calibration losses).
    """
    logits, targets = jnp.asarray(logits), jax.lax.stop_gradient(jnp.asarray(targets))
    if logits.ndim != 1 or logits.shape != targets.shape:
        raise ValueError(
            f"target_loss: logits and targets must be [n]; got {logits.shape} and {targets.shape}"
        )
    return jnp.mean(jax.nn.softplus(logits) - targets.astype(logits.dtype) * logits)


def is_calibration_epoch(epoch: Array, *, discriminations: int = 5) -> Array:
    """Whether an epoch [] goes towards empirical probabilities, a boolean [].

    The first does, then every (discriminations + 1)-th; make the targets anew in each of them.

    Args:
        epoch: [], 0 and up, counted from where training was stopped early.
        discriminations: epochs towards the outcomes after each.

    Raises ValueError on discriminations < 0.
    Source: Liu et al. 2022, arXiv:2111.10734, algorithm 1 and the authors' code.
    """
    if discriminations < 0:
        raise ValueError(
            f"is_calibration_epoch: discriminations must be >= 0; got {discriminations}"
        )
    return jnp.asarray(epoch) % (discriminations + 1) == 0
