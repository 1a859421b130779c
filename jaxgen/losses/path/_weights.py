"""The weight of a sampler's path, as a loss and as an estimate of the normaliser.

A sampler draws x_0 ... x_n with density q; the target, extended by a backward process, gives the
same path p(x_n) r(x_0 ... | x_n). log w = log p + log r - log q, so E_q w = Z and E_q[-log w] =
KL(q || p r / Z) - log Z: the loss falls to -log Z, where all weights are equal. Path integral
sampler: run `solvers.sde.foellmer` from the point 0. Denoising diffusion sampler: run `ancestral`,
`exponential_sde` or `frozen_score` from the prior with a learned denoiser, the target being the law
at the last stop. Controlled Monte Carlo diffusion: run `solvers.sde.controlled`.
Sources: Zhang and Chen 2022, arXiv 2111.15141; Vargas et al. 2023, arXiv 2302.13834; Vargas et al.
2024, arXiv 2307.01050.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class PathWeight(NamedTuple):
    """The end of one path and its weight. Source: definition."""

    x: Any  # [*event]
    log_weight: Any  # [], nats, unnormalised


class Normaliser(NamedTuple):
    """An estimate of log Z, the ends it came from, and how far to trust it. Source: definition."""

    log_normaliser: Any  # [] log mean exp of the weights; biased low by half their variance / n
    standard_error: Any  # [] of it, by the delta method; itself unreliable at few effective draws
    bound: Any  # [] mean log-weight: below log Z on average
    variance: Any  # [] of the log-weights; 0 at the exact drift
    effective_draws: Any  # [] from 1 to n
    x: Any  # [n, *event]
    log_weights: Any  # [n]


def weighted_path(run, prior, logdensity_fn):
    """weigh(params, key) -> PathWeight of one path: x [*event], log-weight [].

    Args: run(params, key, x) -> (x, infos with log_weight [n]), such as `lambda params, key, x:
        solve(key, make_solver(params), x, ts)`; prior, a Distribution of the start, whose
        log-density is 0 for a point; logdensity_fn(x) -> [], nats, unnormalised.
    Raises ValueError (when traced) when the solver reports no path weights, or more than one number
    comes back. Source: Vargas et al. 2023, arXiv 2302.13834, equation 9.
    """

    def weigh(params, key):
        key_start, key_path = jax.random.split(key)
        start = prior.sample(key_start)
        x, infos = run(params, key_path, start)
        steps = getattr(infos, "log_weight", None)
        if steps is None or jnp.ndim(steps) != 1:
            raise ValueError(
                "losses.path: run must return infos with log_weight [n]; got "
                f"{type(infos).__name__} with log_weight of shape "
                f"{None if steps is None else jnp.shape(steps)}"
            )
        ends = logdensity_fn(x), prior.logdensity(start)
        if jnp.shape(ends[0]) or jnp.shape(ends[1]):
            raise ValueError(
                "losses.path: log-densities must be one number []; got shapes "
                f"{jnp.shape(ends[0])} and {jnp.shape(ends[1])}"
            )
        return PathWeight(x, ends[0] + jnp.sum(steps) - ends[1])

    return weigh


def reverse_kl(run, prior, logdensity_fn):
    """loss_fn(params, key) -> [] = -log-weight of one path, nats: on average KL - log Z, and its
    gradient goes through the path.

    It seeks modes: one that no path reaches is never found. Args and errors as `weighted_path`; x
    [*event]. Source: Zhang and Chen 2022, arXiv 2111.15141, equation 8; Vargas et al. 2023, arXiv
    2302.13834, equation 12.
    """
    weigh = weighted_path(run, prior, logdensity_fn)
    return lambda params, key: -weigh(params, key).log_weight


def log_normaliser(run, prior, logdensity_fn, *, draws):
    """estimate(params, key) -> Normaliser of `draws` paths, ends [n, *event]: log Z with the drift
    as it is, right or wrong.

    Args and errors as `weighted_path`; draws >= 2, else ValueError. Source: Zhang and Chen 2022,
    arXiv 2111.15141, section 3.4.
    """
    if not isinstance(draws, int) or draws < 2:
        raise ValueError(f"losses.path.log_normaliser: draws must be at least 2; got {draws}")
    weigh = weighted_path(run, prior, logdensity_fn)

    def estimate(params, key):
        keys = jax.random.split(key, draws)
        x, logs = jax.vmap(lambda one: weigh(params, one))(keys)
        value = jax.nn.logsumexp(logs) - np.log(draws)
        weights = jnp.exp(logs - value)
        error = jnp.std(weights, ddof=1) / draws**0.5
        effective = draws**2 / jnp.sum(weights**2)
        mean, variance = jnp.mean(logs), jnp.var(logs, ddof=1)
        return Normaliser(value, error, mean, variance, effective, x, logs)

    return estimate
