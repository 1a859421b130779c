"""The denoiser as a self-normalised importance mean.

The estimate is biased by O(1/m) and off by O(m^-1/2). With a flat guess the proposals are N(z /
alpha, (sigma / alpha)^2) for a scalar process, which is wide where there is much noise: the share
of draws that land where p has mass falls exponentially with the dimension, and `effective_draws`
says so. Source: Huang et al. 2024, arXiv 2307.02037, algorithm 3 (its initialisation); the guess
derived.
"""

import jax.numpy as jnp

from jaxgen.predictions.from_density._posterior import (
    check_draws,
    check_event,
    check_guess,
    heard,
    proposals,
    shares,
)


def importance(process, logdensity_fn, eps, *, guess=None):
    """The denoiser (z, t) -> [*event] by importance sampling of x0 given z with unit noise eps [m,
    *event]; m evaluations of the log-density, none of its gradient.

    Works under any linear process, z [*event] or [c, *event]. With eps and -eps among the draws and
    the exact guess of a Gaussian p it is exact.
    Args: guess: None, proposals from the channel alone; or (mean, variance), each [] or [*event],
        of a Gaussian like p, whose posterior proposes. Points where the log-density is NaN or +inf
        weigh nothing; where no point has weight, the proposals' mean is returned.
    Raises ValueError on fewer than two draws, a variance that is not positive, and (when traced) on
    draws of another event.
    Source: Huang et al. 2024, arXiv 2307.02037, section 3.3.
    """
    guess = check_guess("predictions.from_density.importance", guess)
    check_draws("predictions.from_density.importance", eps)

    def denoiser(z, t):
        gain, signal = heard(process, z, t)
        check_event("predictions.from_density.importance", eps, signal)
        noise = jnp.asarray(eps, z.dtype)
        points, log_weights = proposals(logdensity_fn, gain, signal, noise, guess)
        return jnp.tensordot(shares(log_weights), points, 1).astype(z.dtype)

    return denoiser


def effective_draws(process, logdensity_fn, eps, *, guess=None):
    """(z, t) -> [], (sum w)^2 / sum w^2 of the weights of `importance`, from 1 to m: below about 10
    its answer is one draw's.

    Args and errors as `importance`, eps [m, *event]. Source: Kong 1992.
    """
    guess = check_guess("predictions.from_density.effective_draws", guess)
    check_draws("predictions.from_density.effective_draws", eps)

    def effective(z, t):
        gain, signal = heard(process, z, t)
        check_event("predictions.from_density.effective_draws", eps, signal)
        noise = jnp.asarray(eps, z.dtype)
        return 1 / jnp.sum(shares(proposals(logdensity_fn, gain, signal, noise, guess)[1]) ** 2)

    return effective
