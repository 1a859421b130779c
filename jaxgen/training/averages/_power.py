"""Power-function averages and their synthesis after training.

Karras et al. 2024, arXiv 2312.02696, section 3 and appendix C. The average of profile
p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t] has relative width
sigma_rel = sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3))).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.training.averages._average import Average, running

WIDEST = 12**-0.5


class Snapshot(NamedTuple):
    """A power-function average as it was at one step of training. Source: definition."""

    params: Any
    step: int  # updates made when it was taken, from 1
    sigma_rel: float


def power(sigma_rel: float) -> Average:
    """Return the average with weights growing as `tau^gamma` over training; it forgets its start.

    `a <- beta a + (1 - beta) params` with `beta = (1 - 1/step)^(gamma + 1)`: after n steps the
    parameters of step k weigh `(k^(gamma+1) - (k-1)^(gamma+1)) / n^(gamma+1)`.

    Args:
      sigma_rel: standard deviation of the profile, in units of the training so far.

    Raises:
      ValueError: sigma_rel outside (0, 12^-1/2).

    Source: Karras et al. 2024, arXiv 2312.02696, section 3.1.
    """
    exponent = power_exponent(sigma_rel) + 1

    def weight(step):
        step = jnp.asarray(step, jnp.result_type(float))
        return -jnp.expm1(exponent * jnp.log1p(-1 / step))

    return running(weight)


def power_exponent(sigma_rel: float) -> float:
    """Return gamma > 0, the exponent of the profile whose relative standard deviation is sigma_rel.

    The largest root of `g^3 + 7 g^2 + (16 - s) g + (12 - s) = 0` with `s = sigma_rel^-2`.

    Raises:
      ValueError: sigma_rel outside (0, 12^-1/2).

    Source: Karras et al. 2024, arXiv 2312.02696, section 3.1 and appendix C.
    """
    if not 0 < sigma_rel < WIDEST:
        raise ValueError(
            f"averages.power: sigma_rel must be in (0, {WIDEST:.4f}), relative to the length of "
            f"training; got {sigma_rel}"
        )
    s = float(sigma_rel) ** -2
    return float(np.roots([1, 7, 16 - s, 12 - s]).real.max())


def posthoc(snapshots: Sequence[Snapshot], sigma_rel: float, *, step: int | None = None) -> Any:
    """Return the parameters of the average of another width, made from snapshots after training.

    Inside the band of the tracked widths the profile is off by about one per cent with 8 snapshots
    each of 0.05 and 0.10; outside, several times worse. `posthoc_weights` gives the combination.

    Args:
      snapshots: averages by `power`, of at least one width, along one training.
      sigma_rel: the width wanted.
      step: the end of the average; the last snapshot's by default.

    Raises:
      ValueError: no snapshots, steps below 1 or after `step`, twice the same one, sigma_rel outside
        (0, 12^-1/2).

    Source: Karras et al. 2024, arXiv 2312.02696, section 3.2.
    """
    steps = [int(s.step) for s in snapshots]
    widths = [float(s.sigma_rel) for s in snapshots]
    step = max(steps, default=0) if step is None else step
    weights = posthoc_weights(steps, widths, step, sigma_rel)

    def combine(*leaves):
        total = sum(
            w * np.asarray(leaf, np.float64) for w, leaf in zip(weights, leaves, strict=True)
        )
        return jnp.asarray(total.astype(leaves[0].dtype))

    return jax.tree.map(combine, *[s.params for s in snapshots])


def posthoc_weights(
    steps: Sequence[int], sigma_rels: Sequence[float], step: int, sigma_rel: float
) -> np.ndarray:
    """Return the weights [n], of sum 1, of n snapshots in the average of width sigma_rel at `step`.

    They minimise the L2 distance between the profiles, in float64.

    Raises:
      ValueError: as `posthoc`.

    Source: Karras et al. 2024, arXiv 2312.02696, section 3.2 and appendix C.
    """
    pairs = list(zip(steps, sigma_rels, strict=True))
    if not pairs or min(steps) < 1 or len(set(pairs)) != len(pairs):
        raise ValueError(
            "averages.posthoc: snapshots must be distinct pairs (step >= 1, sigma_rel), at least "
            f"one; got {pairs}"
        )
    if step < max(steps):
        raise ValueError(
            f"averages.posthoc: step must not precede a snapshot ({max(steps)}); got {step}"
        )
    t = np.asarray(steps, np.float64)
    g = np.asarray([power_exponent(s) for s in sigma_rels])
    gram = profile_product(t[:, None], g[:, None], t[None], g[None])
    wanted = profile_product(t, g, float(step), power_exponent(sigma_rel))
    weights = np.linalg.lstsq(gram, wanted, rcond=1e-14)[0]
    return weights / weights.sum()


def profile_product(t_a, gamma_a, t_b, gamma_b) -> np.ndarray:
    """Return the integral of the product of two profiles that end at t_a and t_b; broadcasts."""
    with np.errstate(under="ignore"):
        log = (gamma_a + gamma_b + 1) * np.log(np.minimum(t_a, t_b))
        log = log - (gamma_a + 1) * np.log(t_a) - (gamma_b + 1) * np.log(t_b)
        return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * np.exp(log)
