"""Reverse steps that are mixtures of Gaussians: what one Gaussian cannot be at few steps.

Where data have modes, q(z_s | z_t) of a long step is a mixture: the posterior of the earlier state,
q(z_s | z_t, x0), averaged over x0 given z_t. So each step draws a latent, then x0hat from it, then
the Gaussian step for that x0hat. With latents that make x0hat a draw of x0 given z_t the chain is
exact at any number of steps. Source: Li et al. 2024, arXiv 2309.14068; derived.
"""

import jax

from jaxgen.solvers._tables._table import TableState
from jaxgen.solvers.sde._ancestral import ancestral
from jaxgen.types import Solver


def soft_mixture(process, denoiser, *, latent):
    """The soft mixture denoising Solver: each step draws a latent afresh and is the ancestral step
    of its x0hat; z is [*event] or [c, *event], one evaluation a step, weak order 1.

    Args: latent(key, z, t) -> any tree; denoiser(z, t, latent) -> x0hat [*event]. Latents that make
    x0hat a draw of x0 given z (`gaussian_components` of the exact ones) make the chain exact; one
    that is ignored makes it `ancestral`. Raises ValueError (from plan) on rising stops, or stops
    outside the process. Source: Li et al. 2024, arXiv 2309.14068, with the variance of the
    posterior, equation 7 of Ho et al. 2020, arXiv 2006.11239.
    """
    base = ancestral(process, None)

    def init(x, ts):
        # The history of a table of width 1 is empty: no evaluation shapes it.
        return TableState(x, (), ())

    def step(key, state, row):
        key_latent, key_step = jax.random.split(key)
        chosen = latent(key_latent, state.x, row.t)
        given = ancestral(process, lambda z, t: denoiser(z, t, chosen))
        state, info = given.step(key_step, state, row)
        return state, info._replace(log_weight=None)  # that of a path and its latents: not known

    return Solver(base.plan, init, step, 1, base.evaluations)


def gaussian_components(components):
    """(denoiser, latent) for `soft_mixture`, whose x0hat is a draw from a mixture of Gaussians.

    Args: components(z, t) -> (logits [k], means [k, *event], roots): what is known of x0 given z,
    such as `densities.posterior_components` or a network's heads; roots are deviations
    [k, *event], or square roots [k, d, d] of covariances for events [d].
    Source: Li et al. 2024, arXiv 2309.14068.
    """

    def latent(key, z, t):
        key_component, key_noise = jax.random.split(key)
        logits, means, _ = components(z, t)
        noise = jax.random.normal(key_noise, means.shape[1:], means.dtype)
        return jax.random.categorical(key_component, logits), noise

    def denoiser(z, t, latent):
        _, means, roots = components(z, t)
        index, noise = latent
        mean, root = means[index], roots[index]
        return mean + (root * noise if root.ndim == mean.ndim else root @ noise)

    return denoiser, latent
