"""Learning a noise schedule: its interior by the variance of the bound, its ends by the bound."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.likelihoods._elbo import elbo_integrands
from jaxgen.losses.score import likelihood_weight, uniform_time
from jaxgen.math import working_dtype
from jaxgen.processes import scalar


class Schedule(NamedTuple):
    """The numbers of `processes.scalar.monotone`, to be learned. Source: definition."""

    logits: Any  # [m]
    log_snr_max: Any  # []
    log_snr_min: Any  # []


def schedule_loss(denoiser_of, *, prior=None, decoder_of=None):
    """loss_fn(schedule, key, x0 [*event], t=None) -> []: one draw of -ELBO, nats, whose gradient
    fits the ends of a `Schedule` by the bound and its interior by the bound's variance.

    The interior does not move the bound in continuous time, so the gradient of the squared
    diffusion term at one uniform t is that of the variance; to the logits goes this gradient alone,
    divided by the squared number of entries. Fit it by `training.trainer(schedule_loss(...),
    optimiser)`, or add it to a network's loss.
    Args: denoiser_of(process) -> denoiser(z, t), for a `scalar.monotone` process on [0, 1]: a
        network of z and log-SNR, or an exact denoiser; prior: a `Distribution` of z_1, N(0, 1) when
        None; decoder_of(process) -> decoder(x, z), `gaussian_decoder` when None.
    Source: Kingma et al. 2021, arXiv 2107.00630, section 5.1 and appendix I.2.
    """

    def loss_fn(schedule, key, x0, t=None):
        key_time, key_noise, key_decoder = jax.random.split(key, 3)
        still, dtype = jax.lax.stop_gradient, working_dtype(x0)
        inside = scalar.monotone(schedule.logits, *map(still, schedule[1:]))
        ends = scalar.monotone(still(schedule.logits), *schedule[1:])
        u = jax.random.uniform(key_time, (), dtype)
        t = uniform_time(ends)(u) if t is None else jnp.asarray(t, dtype)
        eps = jax.random.normal(key_noise, x0.shape, x0.dtype)

        def parts(process):
            decoder = None if decoder_of is None else decoder_of(process)
            return elbo_integrands(process, denoiser_of(process), prior=prior, decoder=decoder)

        def diffusion(process):
            squares = parts(process).squared_error(x0, eps, t)
            return likelihood_weight(process)(t) * jnp.sum(squares)

        rest = parts(ends)
        known = rest.reconstruction(x0, jax.random.normal(key_decoder, x0.shape, x0.dtype))
        bound = diffusion(ends) - known - rest.prior(x0, eps)
        squared = (diffusion(inside) / x0.size) ** 2
        return bound + squared - still(squared)

    loss_fn.time = lambda u: u
    return loss_fn
