"""Is this predictor calibrated? Outcomes drawn from its own probabilities say what to expect.

Sources: Bröcker and Smith 2007, Increasing the reliability of reliability diagrams; Vaicenavicius
et al. 2019, arXiv:1902.06977, section 4.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.metrics.calibration._errors import kolmogorov_smirnov_error
from jaxgen.metrics.calibration._outcomes import read

Array = jax.Array


class CalibrationTest(NamedTuple):
    """A statistic and how often chance reaches it. Source: Bröcker and Smith 2007."""

    statistic: Array  # [], of the outcomes that came
    p_value: Array  # [], in (0, 1]
    resampled: Array  # [r], the statistic of outcomes drawn from the probabilities


def calibration_test(
    key: Array,
    probs: Array,
    outcomes: Array,
    *,
    statistic: Callable[[Array, Array], Array] = kolmogorov_smirnov_error,
    resamples: int = 999,
) -> CalibrationTest:
    """The test of "events come as often as said", a CalibrationTest of [], [] and [resamples].

    The p-value (1 + #{resampled >= statistic}) / (1 + resamples) is valid at every n: under
    calibration it is below a with probability at most a.

    Args:
        key: for the resampling.
        probs: [n] in [0, 1], or [n, k] of sum 1.
        outcomes: [n] of 0 and 1, or classes 0 .. k - 1.
        statistic: (probs, outcomes [n]) -> [], large where calibration is bad.
        resamples: draws of all n outcomes.

    Raises ValueError on bad probabilities or outcomes or resamples < 1.
    Source: Bröcker and Smith 2007; Vaicenavicius et al. 2019, arXiv:1902.06977, section 4.
    """
    probs, outcomes = read("calibration_test", probs, outcomes)
    if resamples < 1:
        raise ValueError(f"calibration_test: resamples must be >= 1; got {resamples}")

    def draw(key):
        if probs.ndim == 1:
            return jax.random.bernoulli(key, probs).astype(outcomes.dtype)
        return jax.random.categorical(key, jnp.log(probs), axis=-1).astype(outcomes.dtype)

    again = lambda i: statistic(probs, draw(jax.random.fold_in(key, i)))
    value = statistic(probs, outcomes)
    resampled = jax.lax.map(again, jnp.arange(resamples), batch_size=min(resamples, 64))
    # Statistics that differ by rounding are equal.
    slack = 64 * jnp.finfo(value.dtype).eps * jnp.abs(value)
    p_value = (1 + jnp.sum(resampled >= value - slack)) / (1 + resamples)
    return CalibrationTest(value, p_value.astype(value.dtype), resampled)
