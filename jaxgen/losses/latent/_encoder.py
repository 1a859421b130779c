"""What a latent-variable loss reads: draws from the encoder and their importance weights."""

import math

import jax
import jax.numpy as jnp

from jaxgen.types import Distribution

hold = jax.lax.stop_gradient


def gaussian_encoder(apply):
    """encoder(params, x0 [*event], **cond) -> `Distribution` of z [d], the Gaussian whose mean [d]
    and log_scale [d] are apply(params, x0, **cond); draws are reparametrised.

    Source: Kingma and Welling 2014, arXiv 1312.6114, equation 9.
    """

    def encoder(params, x0, **cond):
        mean, log_scale = apply(params, x0, **cond)

        def sample(key):
            return mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape, mean.dtype)

        def logdensity(z):
            square = jnp.sum(((z - mean) / jnp.exp(log_scale)) ** 2)
            return -(square + z.size * math.log(2 * math.pi)) / 2 - jnp.sum(log_scale)

        return Distribution(sample, logdensity)

    return encoder


def gaussian_divergence(apply):
    """divergence(params, x0 [*event], **cond) -> [] nats, KL(q(z | x0) || N(0, I)) for the Gaussian
    of `gaussian_encoder(apply)`.

    Source: Kingma and Welling 2014, arXiv 1312.6114, appendix B.
    """

    def divergence(params, x0, **cond):
        mean, log_scale = apply(params, x0, **cond)
        return jnp.sum(mean**2 + jnp.expm1(2 * log_scale) - 2 * log_scale) / 2

    return divergence


def check_draws(where, draws, least=1):
    """Raises ValueError unless draws is an integer, at least `least`."""
    if not isinstance(draws, int) or draws < least:
        raise ValueError(f"{where}: draws must be an integer, at least {least}; got {draws}")


def draw(encoder, params, key, x0, draws, cond):
    """zs [draws, *latent] from the encoder at x0."""
    law = encoder(params, x0, **cond)
    return jax.vmap(law.sample)(jax.random.split(key, draws))


def log_ratios(encoder, logdensity_fn, params, law_params, zs, x0, cond):
    """log p(x0, z) [n] at params, minus log q(z | x0) at law_params, for zs [n, *latent]."""
    law = encoder(law_params, x0, **cond)
    return jax.vmap(lambda z: logdensity_fn(params, z, x0, **cond) - law.logdensity(z))(zs)


def log_mean(values):
    """log of the mean of exp(values [n])."""
    return jax.nn.logsumexp(values) - math.log(len(values))
