"""Hybrid energies: a density that is easy to fit, corrected by a learned residual; several of them
put on one scale and composed.

Source: Lafon et al. 2023, arXiv 2305.16966.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


def hybrid(base_logdensity_fn, residual_fn):
    """logdensity_fn(x [*event]) -> [] = log q(x) - residual_fn(x), nats, unnormalised.

    Trained by `losses.energy` with q fixed, the residual learns only what q misses: started at zero
    and with q the truth its expected gradient is zero. Args: base_logdensity_fn log q, and
    residual_fn(x) -> []. Source: Lafon et al. 2023, arXiv 2305.16966, equations 4-6.
    """
    return lambda x: base_logdensity_fn(x) - residual_fn(x)


def calibrated(energy_fn, xs):
    """energy_fn(x [*event]) -> [] shifted and scaled to mean 0, variance 1 over training data xs
    [n, *event].

    An energy that is constant there is only shifted. Raises ValueError on fewer than two points or
    energies that are not finite. Source: Lafon et al. 2023, arXiv 2305.16966, section 3.3.
    """
    if jnp.ndim(xs) < 1 or len(xs) < 2:
        raise ValueError(f"energies.calibrated: at least two points; got shape {jnp.shape(xs)}")
    values = jax.vmap(energy_fn)(xs)
    if is_concrete(values) and not np.all(np.isfinite(values)):
        raise ValueError("energies.calibrated: energies must be finite; got others")
    mean, spread = jnp.mean(values), jnp.std(values)
    scale = jnp.where(spread > 1e-12 * (1 + jnp.abs(mean)), spread, 1.0)
    return lambda x: (energy_fn(x) - mean) / scale


def composed(*energy_fns, beta=-1.0):
    """energy_fn(x [*event]) -> [] = (1 / beta) log sum_k exp(beta E_k(x)).

    beta -> +inf is the largest energy (all must accept x), -inf the smallest (one suffices), both
    taken as they are; beta = -1 the mixture of the densities. Put energies on one scale first:
    `calibrated`. Raises ValueError on no energies, or a beta of zero, where the limit is infinite.
    Source: Lafon et al. 2023, arXiv 2305.16966, equation 10.
    """
    if not energy_fns or (is_concrete(beta) and (beta == 0 or np.isnan(beta))):
        raise ValueError(
            "energies.composed: at least one energy and a beta other than zero; got "
            f"{len(energy_fns)} and {beta}"
        )

    def energy_fn(x):
        values = jnp.stack([fn(x) for fn in energy_fns])
        if is_concrete(beta) and np.isinf(beta):
            return jnp.max(values) if beta > 0 else jnp.min(values)
        return jax.nn.logsumexp(beta * values) / beta

    return energy_fn
